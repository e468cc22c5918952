//! What happens in the scenario, in the order of time. People, parties and cases are made up.

use crate::command::{CaseCommand, DecisionCommand, PartyCommand};
use crate::facts::{
    CURRENT_POLICY, CaseId, DecisionId, Evidence, PartyId, RiskBand, SensitivityLevel, TeamId,
    VisibilityScope,
};
use diptych::prelude::*;
use std::collections::BTreeMap;

/// One command, by whom and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Who gives it.
    pub actor: &'static str,
    /// When.
    pub at: Timestamp,
    /// The version of its stream after it.
    pub version: Version,
    /// What is asked.
    pub action: Action,
}

/// What is asked, and of whom.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Of a case.
    Case(CaseId, CaseCommand),
    /// Of a decision.
    Decision(DecisionId, DecisionCommand),
    /// Of a party.
    Party(PartyId, PartyCommand),
}

impl Step {
    /// The category and key of the stream that it is for.
    #[must_use]
    pub fn target(&self) -> (&'static str, &str) {
        match &self.action {
            Action::Case(id, _) => ("case", id.as_str()),
            Action::Decision(id, _) => ("decision", id.as_str()),
            Action::Party(id, _) => ("party", id.as_str()),
        }
    }
}

/// Every command of the scenario, in the order of time.
#[must_use]
pub fn steps() -> Vec<Step> {
    let mut story = Story::default();
    parties(&mut story);
    quarry(&mut story);
    review(&mut story);
    haulage(&mut story);
    fisheries(&mut story);
    // The sort is stable, so what is told in order stays in order.
    story.steps.sort_by_key(|step| step.at);
    story.steps
}

fn parties(story: &mut Story) {
    let mut register = |day, id, name: &str| {
        story.party("user-301", day, id, PartyCommand::Register { display_name: name.to_owned() });
    };
    register("2026-05-11T08:30:00Z", "PARTY-4711", "Acme Trading Ltd");
    register("2026-05-11T08:42:00Z", "PARTY-4712", "Example Quarries Ltd");
    register("2026-05-12T09:05:00Z", "PARTY-4713", "Sample and Sons Haulage");
    register("2026-05-12T09:11:00Z", "PARTY-4714", "Imaginary Fisheries");
    let reason = "the register of cooperatives has the full name".to_owned();
    let display_name = "Imaginary Fisheries Cooperative".to_owned();
    let correct = PartyCommand::CorrectName { display_name, reason };
    story.party("user-301", "2026-06-19T14:20:00Z", "PARTY-4714", correct);
}

/// The case that is done: one decision, approved.
fn quarry(story: &mut Story) {
    let (case, decision) = ("CASE-2026-00087", "DEC-2026-00098");
    story.open("2026-05-13T10:00:00Z", case, "Late safety reports of a quarry", "PARTY-4712", RiskBand::Low);
    let draft = draft(case, "PARTY-4712", "TEAM-7", "a warning for two late safety reports");
    story.decision("user-042", "2026-05-18T11:15:00Z", decision, draft);
    story.decision(
        "user-042",
        "2026-05-19T09:30:00Z",
        decision,
        attach("EV-2026-0440", "register of reports"),
    );
    story.decision("user-042", "2026-05-20T16:00:00Z", decision, ready("2026-06-03T09:00:00Z"));
    story.decision("user-204", "2026-05-28T13:45:00Z", decision, approve("Warning is proportionate"));
}

/// The case that the scenario is about: one decision that waits at version 8, another in draft.
fn review(story: &mut Story) {
    let (case, decision) = ("CASE-2026-00091", "DEC-2026-00112");
    story.open("2026-05-20T08:15:00Z", case, "Regional enforcement review", "PARTY-4711", RiskBand::Medium);
    let mut on = |actor, day, command| story.decision(actor, day, decision, command);
    on(
        "user-031",
        "2026-06-08T09:12:00Z",
        draft(case, "PARTY-4711", "TEAM-3", "a fine for unlicensed trade"),
    );
    on("user-031", "2026-06-09T10:40:00Z", attach("EV-2026-0512", "inspection report of 28 May"));
    on("user-031", "2026-06-11T15:05:00Z", revise("a fine for unlicensed trade at two sites"));
    let (team_id, reason) = (TeamId::from("TEAM-7"), "the second site is in the region of TEAM-7".to_owned());
    on("user-055", "2026-06-15T08:50:00Z", DecisionCommand::Reassign { team_id, reason });
    on("user-042", "2026-06-17T11:20:00Z", attach("EV-2026-0533", "photographs of the second site"));
    on("user-042", "2026-06-19T09:00:00Z", revise("a fine for unlicensed trade at two sites, and closure"));
    on("user-042", "2026-06-22T13:30:00Z", attach("EV-2026-0547", "statement of the party"));
    on("user-042", "2026-06-23T16:10:00Z", ready("2026-07-07T09:00:00Z"));
    let (risk_band, reason) = (RiskBand::High, "a second site without a licence".to_owned());
    let change = CaseCommand::ChangeRiskBand { risk_band, reason };
    story.case("user-055", "2026-06-16T08:00:00Z", case, change);
    let draft = DecisionCommand::Draft {
        case_id: case.into(),
        party_id: "PARTY-4711".into(),
        team_id: "TEAM-3".into(),
        visibility_scope: VisibilityScope::Organisation,
        sensitivity_level: SensitivityLevel::Restricted,
        summary: "whether to refer the case to the public prosecutor".to_owned(),
    };
    story.decision("user-031", "2026-06-24T10:00:00Z", "DEC-2026-00121", draft);
}

/// A case with a decision that is overdue and one in draft.
fn haulage(story: &mut Story) {
    let (case, party) = ("CASE-2026-00095", "PARTY-4713");
    let title = "Overloaded vehicles on the coast road";
    story.open("2026-05-27T09:40:00Z", case, title, party, RiskBand::Medium);
    let overdue = "DEC-2026-00105";
    story.decision("user-031", "2026-06-02T12:00:00Z", overdue, draft(case, party, "TEAM-3", "a fine"));
    story.decision(
        "user-031",
        "2026-06-03T12:30:00Z",
        overdue,
        attach("EV-2026-0499", "weighbridge records"),
    );
    story.decision("user-031", "2026-06-04T17:00:00Z", overdue, ready("2026-06-18T09:00:00Z"));
    let second = draft(case, party, "TEAM-7", "a ban for the vehicle that was stopped twice");
    story.decision("user-042", "2026-06-12T10:10:00Z", "DEC-2026-00109", second);
}

/// A case with a decision that waits and one that was turned down.
fn fisheries(story: &mut Story) {
    let (case, party) = ("CASE-2026-00102", "PARTY-4714");
    story.open("2026-06-01T14:00:00Z", case, "Missing records of catches", party, RiskBand::High);
    let refused = "DEC-2026-00115";
    story.decision("user-031", "2026-06-10T09:00:00Z", refused, draft(case, party, "TEAM-3", "a seizure"));
    story.decision("user-031", "2026-06-10T16:00:00Z", refused, ready("2026-06-24T09:00:00Z"));
    let reason = "Not proportionate while the records can still be handed in".to_owned();
    let reject = DecisionCommand::Reject { reason, policy_version: CURRENT_POLICY.into() };
    story.decision("user-204", "2026-06-12T15:25:00Z", refused, reject);
    let waiting = "DEC-2026-00117";
    let order = draft(case, party, "TEAM-7", "an order to hand in the records of May");
    story.decision("user-042", "2026-06-16T10:30:00Z", waiting, order);
    story.decision("user-042", "2026-06-17T09:45:00Z", waiting, attach("EV-2026-0530", "landing records"));
    story.decision("user-042", "2026-06-18T09:00:00Z", waiting, ready("2026-07-10T09:00:00Z"));
}

/// Steps, and how far each stream has come by them.
#[derive(Default)]
struct Story {
    steps: Vec<Step>,
    versions: BTreeMap<&'static str, u64>,
}

impl Story {
    fn open(&mut self, at: &str, id: &'static str, title: &str, party: &str, risk_band: RiskBand) {
        let open = CaseCommand::Open { title: title.to_owned(), party_id: party.into(), risk_band };
        self.case("user-055", at, id, open);
    }

    fn case(&mut self, actor: &'static str, at: &str, id: &'static str, command: CaseCommand) {
        self.step(actor, at, id, Action::Case(id.into(), command));
    }

    fn decision(&mut self, actor: &'static str, at: &str, id: &'static str, command: DecisionCommand) {
        self.step(actor, at, id, Action::Decision(id.into(), command));
    }

    fn party(&mut self, actor: &'static str, at: &str, id: &'static str, command: PartyCommand) {
        self.step(actor, at, id, Action::Party(id.into(), command));
    }

    /// Ids of different categories begin differently, so an id names its stream.
    fn step(&mut self, actor: &'static str, at: &str, id: &'static str, action: Action) {
        let version = self.versions.entry(id).or_default();
        *version += 1;
        let at = at.parse().expect("times of the scenario are RFC 3339");
        self.steps.push(Step { actor, at, version: Version(*version), action });
    }
}

fn draft(case: &str, party: &str, team: &str, summary: &str) -> DecisionCommand {
    DecisionCommand::Draft {
        case_id: case.into(),
        party_id: party.into(),
        team_id: team.into(),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level: SensitivityLevel::Confidential,
        summary: summary.to_owned(),
    }
}

fn attach(reference: &str, description: &str) -> DecisionCommand {
    let evidence = Evidence { reference: reference.to_owned(), description: description.to_owned() };
    DecisionCommand::AttachEvidence { evidence }
}

fn revise(summary: &str) -> DecisionCommand {
    DecisionCommand::ReviseSummary { summary: summary.to_owned() }
}

fn ready(due_at: &str) -> DecisionCommand {
    DecisionCommand::MarkReady { due_at: due_at.parse().expect("times of the scenario are RFC 3339") }
}

fn approve(reason: &str) -> DecisionCommand {
    DecisionCommand::Approve { reason: reason.to_owned(), policy_version: CURRENT_POLICY.into() }
}
