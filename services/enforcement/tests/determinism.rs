//! However the facts are cut into batches and delivered again, every projection makes the same rows: over the
//! scenario, and over histories drawn at random, whose queue and whose sums are also held against the
//! aggregates.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]

use diptych::command::References;
use diptych::core::{CommandId, StreamId};
use diptych::prelude::*;
use diptych::testing::{GivenFact, GivenFacts, given_facts, on};
use enforcement::command::{
    Case, CaseCommand, Decision, DecisionCommand, Fine, FineCommand, Party, PartyCommand,
};
use enforcement::facts::{
    Balance, CURRENT_POLICY, DecisionStatus, Evidence, RiskBand, SensitivityLevel, Settlement,
    VisibilityScope,
};
use enforcement::query::{
    CaseSearch, CaseTimeline, CaseTitle, DecisionDetail, DecisionWorkQueue, FineBalance, FinesByStatus,
    PartyName,
};
use enforcement::scenario::{Action, steps};
use std::collections::BTreeMap;
use std::time::Duration;

/// What commands have made of three kinds of aggregates, and the facts in the order of their positions.
#[derive(Default)]
struct History {
    facts: Vec<GivenFact>,
    cases: BTreeMap<String, Case>,
    decisions: BTreeMap<String, Decision>,
    parties: BTreeMap<String, Party>,
    /// How many events each stream has, and the position of the last.
    streams: BTreeMap<String, (u64, u64)>,
}

impl History {
    /// Decides a command on the aggregate as it is; a rejection leaves nothing.
    fn give(&mut self, actor: &str, at: Timestamp, action: Action) -> usize {
        let before = self.facts.len();
        match action {
            Action::Case(id, command) => {
                let events = decided(&mut self.cases, ("case", id.as_str()), (actor, at), command);
                events.into_iter().for_each(|event| self.record(id.as_str(), on(id.as_str(), event)));
            }
            Action::Decision(id, command) => {
                let events = decided(&mut self.decisions, ("decision", id.as_str()), (actor, at), command);
                events.into_iter().for_each(|event| self.record(id.as_str(), on(id.as_str(), event)));
            }
            Action::Party(id, command) => {
                let events = decided(&mut self.parties, ("party", id.as_str()), (actor, at), command);
                events.into_iter().for_each(|event| self.record(id.as_str(), on(id.as_str(), event)));
            }
        }
        self.facts.len() - before
    }

    fn record(&mut self, key: &str, fact: GivenFact) {
        self.facts.push(fact);
        let (version, last) = self.streams.entry(key.to_owned()).or_default();
        (*version, *last) = (*version + 1, self.facts.len() as u64);
    }

    fn given(&self) -> GivenFacts {
        given_facts(self.facts.iter().cloned())
    }

    /// The queue as the aggregates have it: what the projection must show, reached without any projection.
    fn queue(&self) -> Vec<DecisionWorkQueue> {
        let waiting = self.decisions.iter().filter_map(|(key, decision)| {
            let status = decision.status?;
            let waits = matches!(status, DecisionStatus::Draft | DecisionStatus::ReadyForApproval);
            waits.then(|| self.row(key, decision, status))
        });
        waiting.collect()
    }

    fn row(&self, key: &str, decision: &Decision, status: DecisionStatus) -> DecisionWorkQueue {
        let (case_id, party_id) = (decision.case_id.clone().unwrap(), decision.party_id.clone().unwrap());
        let case = self.cases.get(case_id.as_str());
        let party = self.parties.get(party_id.as_str());
        let last = |key: &str| self.streams.get(key).map_or(0, |(_, position)| *position);
        let touched = [last(key), last(case_id.as_str()), last(party_id.as_str())];
        DecisionWorkQueue {
            decision_id: key.into(),
            case_title: case.and_then(|case| case.title.clone()),
            risk_band: case.and_then(|case| case.risk_band),
            party_display_name: party.and_then(|party| party.display_name.clone()),
            case_id,
            party_id,
            status,
            assigned_team_id: decision.team_id.clone().unwrap(),
            due_at: decision.due_at,
            last_activity_at: time(last(key)),
            visibility_scope: VisibilityScope::Team,
            sensitivity_level: SensitivityLevel::Normal,
            updated_at: time(touched.into_iter().max().unwrap()),
            version: Version(self.streams[key].0),
        }
    }
}

/// Decides a command and lets the aggregate evolve.
fn decided<D: Decider>(
    aggregates: &mut BTreeMap<String, D>,
    (category, key): (&str, &str),
    (actor, time): (&str, Timestamp),
    command: D::Command,
) -> Vec<D::Event> {
    let context = Context {
        command: CommandId::new("drawn").unwrap(),
        principal: Principal::new("test", actor).unwrap(),
        stream: StreamId::new(category, key).unwrap(),
        time,
        correlation: None,
        causation: None,
        references: References::default(),
    };
    let aggregate = aggregates.entry(key.to_owned()).or_default();
    let events = aggregate.decide(command, &context).unwrap_or_default();
    *aggregate = events.iter().fold(std::mem::take(aggregate), D::evolve);
    events
}

/// The time that the test kit gives the fact at a position.
fn time(position: u64) -> Timestamp {
    let start: Timestamp = "2026-07-07T09:00:00Z".parse().unwrap();
    start.plus(Duration::from_secs(position - 1))
}

#[track_caller]
fn check_every_projection(history: &History) {
    history.given().then_deterministic::<CaseTitle>();
    history.given().then_deterministic::<PartyName>();
    history.given().then_deterministic::<DecisionDetail>();
    history.given().then_deterministic::<DecisionWorkQueue>();
    history.given().then_deterministic::<CaseTimeline>();
    history.given().then_deterministic::<CaseSearch>();
}

/// Commands drawn at random until there are that many facts; most are taken, some rejected. Nothing checks
/// that a case or a party exists before a decision names it, as in the service.
fn drawn(facts: usize, seed: u64) -> History {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut history = History::default();
    while history.facts.len() < facts {
        let action = action(&mut random, facts as u64);
        let now = time(history.facts.len() as u64 + 1);
        history.give("user-117", now, action);
    }
    history
}

fn action(random: &mut fastrand::Rng, facts: u64) -> Action {
    let text = |random: &mut fastrand::Rng| format!("text {}", random.u8(..8));
    let risk_band =
        |random: &mut fastrand::Rng| [RiskBand::Low, RiskBand::Medium, RiskBand::High][random.usize(..3)];
    let (case, party) = (format!("CASE-{}", random.u8(..5)), format!("PARTY-{}", random.u8(..4)));
    let team = format!("TEAM-{}", random.u8(..3));
    // A decided decision stays as it is, so a long history needs many.
    let decision = format!("DEC-{}", random.u64(..4 + facts / 8));
    let reason = "drawn".to_owned();
    match random.u8(..17) {
        0 => Action::Case(
            case.into(),
            CaseCommand::Open { title: text(random), party_id: party.into(), risk_band: risk_band(random) },
        ),
        1 | 2 => {
            let risk_band = risk_band(random);
            Action::Case(case.into(), CaseCommand::ChangeRiskBand { risk_band, reason })
        }
        3 => Action::Party(party.into(), PartyCommand::Register { display_name: text(random) }),
        4 | 5 => {
            let display_name = text(random);
            Action::Party(party.into(), PartyCommand::CorrectName { display_name, reason })
        }
        6..9 => Action::Decision(
            decision.into(),
            DecisionCommand::Draft {
                case_id: case.into(),
                party_id: party.into(),
                team_id: team.into(),
                visibility_scope: VisibilityScope::Team,
                sensitivity_level: SensitivityLevel::Normal,
                summary: text(random),
            },
        ),
        kind => Action::Decision(decision.into(), change(kind, team, text(random), random)),
    }
}

fn change(kind: u8, team: String, text: String, random: &mut fastrand::Rng) -> DecisionCommand {
    let policy_version = CURRENT_POLICY.into();
    match kind {
        9 => DecisionCommand::Reassign { team_id: team.into(), reason: text },
        10 => DecisionCommand::AttachEvidence {
            evidence: Evidence { reference: text.clone(), description: text },
        },
        11 => DecisionCommand::ReviseSummary { summary: text },
        12 | 13 => DecisionCommand::MarkReady { due_at: time(1 + random.u64(..1_000_000)) },
        14 => DecisionCommand::Approve { reason: text, policy_version },
        15 => DecisionCommand::Reject { reason: text, policy_version },
        _ => DecisionCommand::Withdraw { reason: text },
    }
}

#[test]
fn the_scenario_makes_the_same_rows_however_it_is_cut() {
    let mut history = History::default();
    for step in steps() {
        let (version, key) = (step.version, step.target().1.to_owned());
        assert_eq!(history.give(step.actor, step.at, step.action), 1, "a step of the scenario was rejected");
        assert_eq!(Version(history.streams[&key].0), version, "the steps of {key} are not in order");
    }
    check_every_projection(&history);
}

#[test]
fn a_short_random_history_leaves_the_queue_that_the_aggregates_have() {
    let mut seeds = fastrand::Rng::new();
    let (mut waiting, mut titled) = (0, 0);
    for _ in 0..6 {
        let seed = seeds.u64(..);
        eprintln!("a short history of seed {seed}");
        let history = drawn(60, seed);
        let queue = history.queue();
        waiting += queue.len();
        titled += queue.iter().filter(|row| row.case_title.is_some()).count();
        history.given().then_rows(queue);
    }
    assert!(waiting > 0 && titled > 0, "nothing waited in any history");
}

#[test]
fn a_long_random_history_makes_the_same_rows_however_it_is_cut() {
    let seed = fastrand::u64(..);
    eprintln!("a long history of seed {seed}");
    check_every_projection(&drawn(400, seed));
}

/// What commands drawn at random have made of a few fines: the facts, and the aggregates. Most commands are
/// rejected, because most steps come once.
fn drawn_fines(facts: usize, seed: u64) -> (Vec<GivenFact>, BTreeMap<String, Fine>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut given, mut fines) = (Vec::new(), BTreeMap::new());
    while given.len() < facts {
        let key = format!("F-{}", random.usize(..3 + facts / 8));
        let now = time(given.len() as u64 + 1);
        let command = fine_command(&mut random);
        let events = decided(&mut fines, ("fine", &key), ("collector", now), command);
        given.extend(events.into_iter().map(|event| on(&key, event)));
    }
    (given, fines)
}

fn fine_command(random: &mut fastrand::Rng) -> FineCommand {
    let mut euros = |most: i64| Money::from_thousandths(10 * random.i64(0..most), Currency::EUR).unwrap();
    let (amount, expense, penalty, part) = (euros(4_000), euros(1_500), euros(9_000), euros(5_000));
    match random.u8(..14) {
        0 | 1 => FineCommand::Create {
            amount,
            article: "157".into(),
            officer_id: "561".into(),
            vehicle_class: "A".into(),
            points: random.i64(0..5),
            dismissal: None,
        },
        2 | 3 => FineCommand::Send { expense },
        4 | 5 => FineCommand::InsertNotification { notification: "P".into(), last_sent: None },
        6 => FineCommand::AddPenalty { amount: penalty },
        7 | 8 => FineCommand::Pay { amount: part, recorded_total: Some(part) },
        9 => FineCommand::InsertAppealDate,
        10 => FineCommand::SendAppeal { dismissal: Some("#".into()) },
        11 => FineCommand::ReceiveAppealResult,
        12 => FineCommand::AppealToJudge { dismissal: None },
        _ => FineCommand::SendForCreditCollection,
    }
}

/// The sums as the aggregates have them, reached without any projection.
fn sums(fines: &BTreeMap<String, Fine>) -> Vec<FinesByStatus> {
    let mut sums: BTreeMap<&str, FinesByStatus> = BTreeMap::new();
    let zero = Money::zero(Currency::EUR);
    for fine in fines.values().filter(|fine| !fine.steps.is_empty()) {
        let (balance, status) = (fine.balance, fine.status);
        let row = sums.entry(status.name()).or_insert_with(|| FinesByStatus {
            status,
            fines: 0,
            unpaid: 0,
            partly_paid: 0,
            paid_exactly: 0,
            overpaid: 0,
            due: zero,
            paid: zero,
            outstanding: zero,
        });
        let is = |settlement: Settlement| i64::from(balance.settlement() == settlement);
        row.fines += 1;
        row.unpaid += is(Settlement::Unpaid);
        row.partly_paid += is(Settlement::PartlyPaid);
        row.paid_exactly += is(Settlement::Paid);
        row.overpaid += is(Settlement::Overpaid);
        row.due = row.due.plus(balance.due()).unwrap();
        row.paid = row.paid.plus(balance.paid).unwrap();
        row.outstanding = row.outstanding.plus(balance.outstanding()).unwrap();
    }
    sums.into_values().collect()
}

#[test]
fn a_short_random_history_of_fines_leaves_the_sums_that_the_aggregates_have() {
    let mut seeds = fastrand::Rng::new();
    for _ in 0..6 {
        let seed = seeds.u64(..);
        eprintln!("a short history of fines of seed {seed}");
        let (facts, fines) = drawn_fines(60, seed);
        assert!(fines.values().any(|fine| fine.balance != Balance::default()), "no fine has any money");
        given_facts(facts).then_rows(sums(&fines));
    }
}

#[test]
fn a_long_random_history_of_fines_makes_the_same_rows_however_it_is_cut() {
    let seed = fastrand::u64(..);
    eprintln!("a long history of fines of seed {seed}");
    let (facts, _) = drawn_fines(600, seed);
    given_facts(facts.clone()).then_deterministic::<FineBalance>();
    given_facts(facts).then_deterministic::<FinesByStatus>();
}
