//! Random histories against the oracle: commands, repetitions, batch cuts, redeliveries, crashes and clock
//! jumps.
//!
//! After every step the two answers are compared, and at the end the logs, the ledgers and every row. Absent
//! here, on purpose: concurrency, which the cases bring; a history that fails must fail again.

use crate::drive::{self, EVERYTHING};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{
    Account, AccountCommand, AccountId, Balance, Brittle, CaseEvent, DecisionEvent, Desk, Level, OpenAccount,
    Party, PartyEvent, Total, UNREADABLE_TITLE, WorkEvent, group, work_group,
};
use crate::random::play_all;
use crate::{Harness, Outcome, Stores};
use diptych_command::{Commands, HandleError, Outcome as Ledger, Receipt, Request};
use diptych_core::{Clock, Fault, Position, Principal, RawFact, Timestamp, Version};
use diptych_memory::{INLINE_CATCH_UP_EVENTS_MAX, ManualClock, MemoryStore};
use diptych_query::{Categories, Fold, Group};
use proptest::prelude::{Just, Strategy, any};
use std::sync::Arc;

/// The longest history.
const STEPS_MAX: usize = 60;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A command under an id of its own.
    Ask(Asked),
    /// A command under an id that another may have.
    AskUnder(u8, Asked),
    /// A fact of the languages that a group of three tables joins, by a command of its own.
    Tell(Told),
    /// An earlier command once more.
    Repeat(prop::Index),
    /// A batch for one group.
    Drain { group: u8, positions_max: u8 },
    /// Old positions once more for one group.
    Redeliver { group: u8, after: u8, positions: u8 },
    /// The process is killed.
    Crash,
    /// The process is stopped.
    Stop,
    /// The clock jumps, forwards or backwards, in milliseconds.
    Jump(i32),
}

mod prop {
    pub(super) use proptest::sample::Index;
}

/// A command to an account of a tenant.
#[derive(Clone, Debug)]
struct Asked {
    tenant: u8,
    account: u8,
    command: AccountCommand,
    if_version: Option<u8>,
}

/// A fact of a case, a party or a decision of a tenant.
#[derive(Clone, Debug)]
struct Told {
    tenant: u8,
    key: u8,
    event: WorkEvent,
}

/// Plays random histories over stores that `make` makes, and holds them against the memory store.
///
/// `PROPTEST_RNG_SEED` fixes the seed; without it one is drawn and named with every failure.
///
/// # Errors
/// The shortest history found that the store and the oracle tell differently, with its seed.
pub fn histories<H: Harness>(make: impl Fn() -> H, count: u32) -> Outcome {
    let steps = proptest::collection::vec(step(), 1..STEPS_MAX);
    play_all((count, 400), steps, async |steps: Vec<Step>| play(&make(), &steps).await)
}

fn step() -> impl Strategy<Value = Step> {
    proptest::prop_oneof![
        12 => asked().prop_map(Step::Ask),
        3 => (0_u8..4, asked()).prop_map(|(id, asked)| Step::AskUnder(id, asked)),
        12 => told().prop_map(Step::Tell),
        3 => any::<prop::Index>().prop_map(Step::Repeat),
        6 => (any::<u8>(), 1_u8..9).prop_map(|(group, positions_max)| Step::Drain { group, positions_max }),
        3 => (any::<u8>(), any::<u8>(), 1_u8..20)
            .prop_map(|(group, after, positions)| Step::Redeliver { group, after, positions }),
        1 => Just(Step::Crash),
        1 => Just(Step::Stop),
        2 => (-5_000..10_000).prop_map(Step::Jump),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let owner = proptest::prop_oneof![
        8 => "[a-c ä]{0,3}",
        1 => Just(Brittle::BREAKS.to_owned()),
    ];
    let amount = || (1_i64..6).prop_filter_map("an amount", |amount| drive::pounds(amount).ok());
    let command = proptest::prop_oneof![
        4 => owner.clone().prop_map(|owner| AccountCommand::Open { owner }),
        6 => amount().prop_map(|amount| AccountCommand::Deposit { amount }),
        3 => amount().prop_map(|amount| AccountCommand::Withdraw { amount }),
        3 => (0_u8..4, amount())
            .prop_map(|(to, amount)| AccountCommand::Transfer { to: name(to), amount }),
        2 => owner.prop_map(|owner| AccountCommand::Rename { owner }),
        2 => Just(AccountCommand::Close {}),
    ];
    let if_version = proptest::prop_oneof![4 => Just(None), 1 => (0_u8..6).prop_map(Some)];
    (0_u8..2, 0_u8..4, command, if_version).prop_map(|(tenant, account, command, if_version)| Asked {
        tenant,
        account,
        command,
        if_version,
    })
}

fn told() -> impl Strategy<Value = Told> {
    let case = || (0_u8..3).prop_map(name);
    let party = || (0_u8..2).prop_map(name);
    let title = proptest::prop_oneof![
        9 => "[a-b]".prop_map(|title| title),
        1 => Just(UNREADABLE_TITLE.to_owned()),
    ];
    let level = proptest::prop_oneof![Just(Level::Low), Just(Level::Medium), Just(Level::High)];
    let event = proptest::prop_oneof![
        3 => (title, party())
            .prop_map(|(title, party)| WorkEvent::Case(CaseEvent::CaseOpened { title, party })),
        3 => level.prop_map(|risk| WorkEvent::Case(CaseEvent::CaseRiskBandChanged { risk })),
        1 => Just(WorkEvent::Case(CaseEvent::CaseClosed {})),
        2 => "[a-b]".prop_map(|name| WorkEvent::Party(PartyEvent::PartyRegistered { name })),
        2 => "[a-b]".prop_map(|name| WorkEvent::Party(PartyEvent::PartyRenamed { name })),
        1 => Just(WorkEvent::Party(PartyEvent::PartyForgotten {})),
        4 => case().prop_map(|case| WorkEvent::Decision(DecisionEvent::DecisionDrafted { case })),
        3 => case().prop_map(|case| WorkEvent::Decision(DecisionEvent::DecisionMoved { case })),
        2 => case().prop_map(|case| WorkEvent::Decision(DecisionEvent::DecisionReopened { case })),
        2 => Just(WorkEvent::Decision(DecisionEvent::DecisionApproved {})),
    ];
    let tenant = proptest::prop_oneof![4 => Just(0_u8), 1 => Just(1)];
    (tenant, 0_u8..3, event).prop_map(|(tenant, key, event)| Told { tenant, key, event })
}

/// The store under test, the oracle, and what both were asked.
struct World<'a> {
    harness: &'a dyn Harness,
    stores: Stores,
    commands: Commands,
    oracle: Stores,
    oracle_commands: Commands,
    groups: Vec<Arc<Group>>,
    /// Where each group stood last: it must never go back.
    reached: Vec<Position>,
    asked: Vec<(String, Asked)>,
}

async fn play(harness: &dyn Harness, steps: &[Step]) -> Outcome {
    let mut world = World::open(harness).await?;
    for (number, step) in steps.iter().enumerate() {
        world.take(number, step).await?;
        world.stand_still_or_move_on().await?;
    }
    world.compare().await?;
    let World { stores, .. } = world;
    Ok(harness.stop(stores).await?)
}

fn inline(harness: &dyn Harness) -> Vec<Arc<Group>> {
    vec![group::<Desk>(harness), group::<Brittle>(harness), work_group::<true>(harness)]
}

fn groups(harness: &dyn Harness) -> Vec<Arc<Group>> {
    let mut groups = vec![
        group::<Balance>(harness),
        group::<Party>(harness),
        group::<OpenAccount>(harness),
        group::<Total>(harness),
        work_group::<false>(harness),
    ];
    groups.extend(inline(harness));
    groups
}

/// The oracle as a harness: it is opened once and lives as long as the history.
struct Oracle;

impl Harness for Oracle {
    fn open(&self, inline: Vec<Arc<Group>>) -> diptych_core::BoxFuture<'_, Result<Stores, Fault>> {
        Box::pin(async move {
            let clock = Arc::new(ManualClock::at(Timestamp::EPOCH));
            let store = Arc::new(MemoryStore::open(Arc::clone(&clock) as Arc<dyn Clock>, inline)?);
            Ok(Stores {
                events: Arc::clone(&store) as _,
                intake: Arc::clone(&store) as _,
                feed: Arc::clone(&store) as _,
                restore: Arc::clone(&store) as _,
                registry: Arc::clone(&store) as _,
                queue: Arc::clone(&store) as _,
                progress: store.progress(),
                models: store,
                clock,
            })
        })
    }

    fn stop(&self, _: Stores) -> diptych_core::BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }

    fn crash(&self, stores: Stores) -> diptych_core::BoxFuture<'_, Result<(), Fault>> {
        self.stop(stores)
    }

    fn inline_catch_up_events_max(&self) -> u64 {
        INLINE_CATCH_UP_EVENTS_MAX
    }
}

impl<'a> World<'a> {
    async fn open(harness: &'a dyn Harness) -> Outcome<Self> {
        let stores = harness.open(inline(harness)).await?;
        let oracle = Oracle.open(inline(&Oracle)).await?;
        oracle.clock.set(stores.clock.now());
        let (groups, own) = (groups(harness), groups(&Oracle));
        for (group, own) in groups.iter().zip(&own) {
            stores.models.attach(group).await?;
            oracle.models.attach(own).await?;
        }
        Ok(Self {
            harness,
            commands: drive::commands(&stores),
            stores,
            oracle_commands: drive::commands(&oracle),
            oracle,
            reached: vec![Position::START; groups.len()],
            groups,
            asked: Vec::new(),
        })
    }

    async fn take(&mut self, number: usize, step: &Step) -> Outcome {
        match step {
            Step::Ask(asked) => self.ask(format!("own {number}"), asked.clone()).await,
            Step::AskUnder(id, asked) => self.ask(format!("shared {id}"), asked.clone()).await,
            Step::Tell(told) => {
                let theirs = tell(&self.stores, told).await;
                let ours = tell(&self.oracle, told).await;
                ensure_eq!(theirs.is_ok(), ours.is_ok(), "what became of {told:?}: {theirs:?}, {ours:?}");
                Ok(())
            }
            Step::Repeat(index) if !self.asked.is_empty() => {
                let (id, asked) = index.get(&self.asked).clone();
                self.ask(id, asked).await
            }
            Step::Repeat(_) => Ok(()),
            Step::Drain { group, positions_max } => {
                let group = &self.groups[usize::from(*group) % self.groups.len()];
                drive::advance_once(&self.stores, group, usize::from(*positions_max)).await?;
                Ok(())
            }
            Step::Redeliver { group, after, positions } => self.redeliver(*group, *after, *positions).await,
            Step::Crash => {
                self.harness.crash(self.stores.clone()).await?;
                self.reopen().await
            }
            Step::Stop => {
                self.harness.stop(self.stores.clone()).await?;
                self.reopen().await
            }
            Step::Jump(millis) => {
                let now = self.stores.clock.now().as_micros() + i64::from(*millis) * 1_000;
                let now = Timestamp::from_micros(now)?;
                self.stores.clock.set(now);
                self.oracle.clock.set(now);
                Ok(())
            }
        }
    }

    async fn reopen(&mut self) -> Outcome {
        self.stores = self.harness.open(inline(self.harness)).await?;
        self.commands = drive::commands(&self.stores);
        for group in &self.groups {
            self.stores.models.attach(group).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, id: String, asked: Asked) -> Outcome {
        let theirs = self.commands.handle::<Account>(request(&id, &asked)?).await;
        let ours = self.oracle_commands.handle::<Account>(request(&id, &asked)?).await;
        ensure_eq!(answer(theirs), answer(ours), "the answer to `{id}`, {asked:?}");
        self.asked.push((id, asked));
        Ok(())
    }

    async fn redeliver(&self, group: u8, after: u8, positions: u8) -> Outcome {
        let group = &self.groups[usize::from(group) % self.groups.len()];
        let checkpoint = self.stores.models.checkpoint(group).await?;
        let reached = checkpoint.mark.position();
        let after = Position(u64::from(after) % (reached.0 + 1));
        let most = usize::from(positions).min(usize::try_from(after.lag_to(reached)).unwrap_or(0));
        let block = self.stores.feed.read(after, group.categories(), most).await?;
        let mut fold = Fold::redelivery(group, checkpoint.mark);
        fold.plan_facts(&block.facts, block.through)?;
        let advanced = self.stores.models.advance(group, fold).await?;
        ensure_eq!(advanced.rows, 0, "the rows that {group:?} wrote for old facts");
        Ok(())
    }

    /// No checkpoint goes back or beyond the head, and an inline one stands at it.
    async fn stand_still_or_move_on(&mut self) -> Outcome {
        for (group, reached) in self.groups.iter().zip(&mut self.reached) {
            let checkpoint = self.stores.models.checkpoint(group).await?;
            let position = checkpoint.mark.position();
            let head = self.stores.feed.head().await?.position();
            ensure!(position >= *reached, "{group:?} went back from {reached} to {position}");
            ensure!(position <= head, "{group:?} stands at {position}, beyond the head at {head}");
            let follows = group.mode() != diptych_query::Mode::Inline || position == head;
            ensure!(follows, "{group:?} stands at {position}, the head at {head}");
            *reached = position;
        }
        Ok(())
    }

    async fn compare(&self) -> Outcome {
        ensure_eq!(log(&self.stores).await?, log(&self.oracle).await?, "the log");
        for (id, asked) in &self.asked {
            let found = (ledger(&self.stores, id, asked).await?, ledger(&self.oracle, id, asked).await?);
            ensure_eq!(found.0, found.1, "the ledger under `{id}`");
        }
        for (group, own) in self.groups.iter().zip(groups(&Oracle)) {
            drive::advance_to_head(&self.stores, group, 16).await?;
            drive::advance_to_head(&self.oracle, &own, EVERYTHING).await?;
            let theirs = drive::all_contents(&self.stores, group).await?;
            ensure_eq!(theirs, drive::all_contents(&self.oracle, &own).await?, "the rows of {group:?}");
            for table in 0..group.models().len() {
                let theirs = drive::digest_in(&self.stores, group, table).await?;
                let ours = drive::digest_in(&self.oracle, &own, table).await?;
                ensure_eq!(theirs, ours, "the digest of table {table} of {group:?}");
            }
        }
        let [balance, .., work, desk, _, work_desk] = self.groups.as_slice() else {
            return Ok(());
        };
        for (inline, plain) in [(desk, balance), (work_desk, work)] {
            let inline = drive::all_contents(&self.stores, inline).await?;
            let plain = drive::all_contents(&self.stores, plain).await?;
            ensure_eq!(inline, plain, "inline and asynchronous rows");
        }
        Ok(())
    }
}

fn name(account: u8) -> String {
    format!("account {account}")
}

fn tenant(number: u8) -> &'static str {
    if number == 0 { drive::MAIN } else { "other" }
}

fn asker(asked: &Asked) -> Outcome<Principal> {
    drive::principal(tenant(asked.tenant))
}

async fn tell(stores: &Stores, told: &Told) -> Outcome {
    let (tenant, key) = (tenant(told.tenant), name(told.key));
    match told.event.clone() {
        WorkEvent::Case(event) => drive::tell(stores, tenant, &key, event).await,
        WorkEvent::Party(event) => drive::tell(stores, tenant, &key, event).await,
        WorkEvent::Decision(event) => drive::tell(stores, tenant, &key, event).await,
    }
}

fn request(id: &str, asked: &Asked) -> Outcome<Request<AccountCommand>> {
    let account = AccountId(name(asked.account));
    let request = Request::by(&asker(asked)?).to(&account, asked.command.clone()).command_id(id);
    Ok(match asked.if_version {
        Some(version) => request.if_version(Version(version.into())),
        None => request,
    })
}

/// An answer without what may differ between two logs: the fingerprints.
fn answer<E: std::fmt::Debug, R: std::fmt::Debug>(answer: Result<Receipt<E>, HandleError<R>>) -> String {
    match answer {
        Ok(receipt) => {
            let Receipt { stream, version, token, events, replayed, .. } = receipt;
            format!("{stream} at {version}, {}: {events:?}, replayed {replayed}", token.position)
        }
        Err(HandleError::Rejected(rejection)) => format!("rejected: {rejection:?}"),
        Err(HandleError::Conflict(conflict)) => format!("conflict: {conflict}"),
        Err(HandleError::Refused(refusal)) => format!("refused: {refusal:?}"),
        Err(HandleError::Fault(fault)) => format!("fault: {}", fault.code()),
    }
}

/// The log without the store's own times, which must only never go back.
async fn log(stores: &Stores) -> Outcome<Vec<RawFact>> {
    let block = stores.feed.read(Position::START, &Categories::All, EVERYTHING).await?;
    let ordered = block.facts.windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at);
    ensure!(ordered, "the times of the log go back");
    let facts = block.facts.iter().map(|fact| RawFact { recorded_at: Timestamp::EPOCH, ..(**fact).clone() });
    Ok(facts.collect())
}

type LedgerRow = (Ledger, Version, Position, diptych_command::CommandHeader);

async fn ledger(stores: &Stores, id: &str, asked: &Asked) -> Outcome<Option<LedgerRow>> {
    let tenant = asker(asked)?.tenant;
    let row = stores.events.recorded(&tenant, &drive::command_id(id)?).await?;
    Ok(row.map(|row| (row.outcome, row.version, row.token.position, row.header)))
}
