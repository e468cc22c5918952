//! Random lives of a read model whose rows cannot always take their facts: poison for random keys,
//! retries and skips in random order, broken and mended code, resets and processes that die.
//!
//! What is expected comes from a fold that knows no batches, no guards and no stored rows: fact by fact,
//! row by row. After every step rows, digest and parked keys are held against it, and the model verifies.

use crate::drive;
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, Broken, Mended, POISON, renamed};
use crate::hinge::{limits, name, order, process_within};
use crate::random::play_all;
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Fact, Position};
use diptych_projector::{Keys, Projector, ProjectorLimits, TroubleError, VerifyReport};
use diptych_query::{Group, Projection, ReadModel};
use proptest::prelude::{Just, Strategy, any};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The longest life.
const STEPS_MAX: usize = 40;
const ACCOUNTS: u8 = 4;

/// One step of a life.
#[derive(Clone, Debug)]
enum Step {
    /// An event of an account.
    Tell { account: u8, what: u8 },
    /// Everything is folded, in batches of so many positions.
    Drain { positions_max: u8 },
    /// A parked key is folded again, or all are.
    Retry { account: Option<u8> },
    /// A parked key passes over the fact that it waits at.
    Skip { account: u8 },
    /// Other code runs from here on.
    Deploy { mended: bool },
    /// The rows are folded again from the start.
    Reset,
    /// The process is killed, or stopped.
    Restart { killed: bool },
}

/// Plays random lives over stores that `make` makes. `PROPTEST_RNG_SEED` fixes the seed; without it one
/// is drawn and named with every failure.
///
/// # Errors
/// The shortest life found in which a row is not what the reference says, with its seed.
pub fn poison_lives<H: Harness>(make: impl Fn() -> H, count: u32) -> Outcome {
    let lives = (1_u8..4, proptest::collection::vec(step(), 1..STEPS_MAX));
    play_all((count, 20), lives, async |(partitions, steps): (u8, Vec<Step>)| {
        play(&make(), partitions, &steps).await
    })
}

fn step() -> impl Strategy<Value = Step> {
    proptest::prop_oneof![
        16 => (0..ACCOUNTS, any::<u8>()).prop_map(|(account, what)| Step::Tell { account, what }),
        8 => (1_u8..9).prop_map(|positions_max| Step::Drain { positions_max }),
        4 => proptest::option::of(0..ACCOUNTS).prop_map(|account| Step::Retry { account }),
        3 => (0..ACCOUNTS).prop_map(|account| Step::Skip { account }),
        2 => any::<bool>().prop_map(|mended| Step::Deploy { mended }),
        1 => Just(Step::Reset),
        1 => any::<bool>().prop_map(|killed| Step::Restart { killed }),
    ]
}

fn key(account: u8) -> String {
    format!("account {account}")
}

fn event(what: u8) -> Outcome<AccountEvent> {
    let named = |owner: &str| AccountEvent::Renamed { owner: owner.to_owned() };
    Ok(match what % 8 {
        0 => AccountEvent::Opened { owner: "ann".to_owned() },
        // A panic costs much time, above all where its place is looked up.
        1 if what == 1 => named(POISON[0]),
        1 | 2 => named(POISON[1]),
        3 => AccountEvent::Closed {},
        4 => named("bob"),
        _ => drive::deposited(i64::from(what) + 1)?,
    })
}

/// What is expected of one account.
#[derive(Clone, Default)]
struct Account {
    facts: Vec<Fact<AccountEvent>>,
    row: Option<Mended>,
    /// How many facts were decided on: taken, or passed over.
    decided: usize,
    /// The fact that it waits at.
    waits: Option<Position>,
    skipped: BTreeSet<Position>,
}

impl Account {
    /// Takes its facts up to a position by broken or mended code.
    fn take(&mut self, through: Position, mended: bool) {
        while self.waits.is_none() {
            let Some(fact) = self.facts.get(self.decided) else { return };
            let at = fact.position();
            if at > through {
                return;
            }
            let poison =
                matches!(&fact.event, AccountEvent::Renamed { owner } if POISON.contains(&owner.as_str()));
            if !self.skipped.contains(&at) {
                if poison && !mended {
                    self.waits = Some(at);
                    return;
                }
                self.row = Mended::project(self.row.take(), fact);
            }
            self.decided += 1;
        }
    }
}

struct World<'a> {
    harness: &'a dyn Harness,
    stores: Stores,
    partitions: u8,
    mended: bool,
    accounts: BTreeMap<u8, Account>,
    /// Where the model stands.
    position: Position,
}

async fn play(harness: &dyn Harness, partitions: u8, steps: &[Step]) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let (accounts, position) = (BTreeMap::new(), Position::START);
    let mut world = World { harness, stores, partitions, mended: false, accounts, position };
    for step in steps {
        world = world.step(step).await?;
        world.compare().await.map_err(|failure| Failure::new(format!("after {step:?}: {failure}")))?;
    }
    harness.stop(world.stores).await?;
    Ok(())
}

impl World<'_> {
    fn group(&self) -> Arc<Group> {
        self.group_of(self.mended)
    }

    fn group_of(&self, mended: bool) -> Arc<Group> {
        let name: &'static str =
            ["poisoned_whole", "poisoned_halves", "poisoned_thirds"][usize::from(self.partitions - 1) % 3];
        if mended {
            renamed::<Mended>(self.harness, self.partitions, name)
        } else {
            renamed::<Broken>(self.harness, self.partitions, name)
        }
    }

    async fn projector(&self, positions_max: u8) -> Outcome<Projector> {
        let limits = ProjectorLimits { batch_positions_max: positions_max.into(), ..limits() };
        process_within(&self.stores, &self.group(), limits).await
    }

    /// One that can fold again what mended code has taken, whichever code runs.
    async fn verifier(&self) -> Outcome<Projector> {
        process_within(&self.stores, &self.group_of(true), limits()).await
    }

    async fn step(mut self, step: &Step) -> Outcome<Self> {
        match *step {
            Step::Tell { account, what } => {
                drive::on(&self.stores, &key(account), &[event(what)?]).await?;
                let head = self.stores.feed.head().await?.position();
                let before = Position(head.0 - 1);
                let block = self.stores.feed.read(before, self.group().categories(), 1).await?;
                for raw in block.facts {
                    let event = raw.decode::<AccountEvent>()?;
                    let facts = &mut self.accounts.entry(account).or_default().facts;
                    facts.extend(event.map(|event| Fact::new(event, raw)));
                }
            }
            Step::Drain { positions_max } => self.drain(positions_max).await?,
            Step::Retry { account: None } => {
                self.projector(7).await?.retry_parked(self.group().name(), &Keys::All).await?;
                let accounts: Vec<_> = self.accounts.keys().copied().collect();
                accounts.into_iter().for_each(|account| self.retried(account));
            }
            Step::Retry { account: Some(account) } => {
                let keys = Keys::One(name(&self.group(), &key(account))?);
                let retried = self.projector(7).await?.retry_parked(self.group().name(), &keys).await;
                self.answered(account, retried.map(|_| ()))?;
                self.retried(account);
            }
            Step::Skip { account } => {
                let (group, order) = (self.group(), order("chance")?);
                let name = name(&group, &key(account))?;
                let skipped = self.projector(7).await?.skip_parked(group.name(), &name, &order).await;
                self.answered(account, skipped.map(|_| ()))?;
                if let Some(held) = self.accounts.get_mut(&account) {
                    held.skipped.extend(held.waits);
                }
                self.retried(account);
            }
            Step::Deploy { mended } => self.mended = mended,
            Step::Reset => {
                self.projector(7).await?.reset(self.group().name()).await?;
                for account in self.accounts.values_mut() {
                    (account.row, account.decided, account.waits) = (None, 0, None);
                }
                self.position = Position::START;
            }
            Step::Restart { killed } => {
                let stores = self.stores;
                if killed {
                    self.harness.crash(stores).await?
                } else {
                    self.harness.stop(stores).await?
                }
                self.stores = self.harness.open(Vec::new()).await?;
            }
        }
        Ok(self)
    }

    async fn drain(&mut self, positions_max: u8) -> Outcome {
        self.projector(positions_max).await?.drain(self.group().name()).await?;
        self.position = self.stores.feed.head().await?.position();
        for account in self.accounts.values_mut() {
            account.take(self.position, self.mended);
        }
        Ok(())
    }

    /// Only what waits can be told to go on.
    fn answered(&self, account: u8, answer: Result<(), TroubleError>) -> Outcome {
        let waits = self.accounts.get(&account).is_some_and(|account| account.waits.is_some());
        match answer {
            Ok(()) => ensure!(waits, "a key that waits for nothing was told to go on"),
            Err(TroubleError::NotParked { .. }) => ensure!(!waits, "a key that waits is said not to"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn retried(&mut self, account: u8) {
        if let Some(account) = self.accounts.get_mut(&account).filter(|account| account.waits.is_some()) {
            account.waits = None;
            account.take(self.position, self.mended);
        }
    }

    async fn compare(&self) -> Outcome {
        let (group, projector) = (self.group(), self.projector(7).await?);
        let mut expected = Vec::new();
        let mut waiting = BTreeMap::new();
        for (account, held) in &self.accounts {
            expected.extend(held.row.as_ref().map(|row| row.to_row()));
            waiting.extend(held.waits.map(|at| (key(*account), at)));
        }
        let rows = drive::contents(&self.stores, &group).await?;
        let rows: Vec<_> = rows.into_iter().map(|(_, values)| values).collect();
        ensure_eq!(rows, expected, "the rows");
        drive::digest(&self.stores, &group).await?;
        let parked = projector.parked(group.name()).await?;
        let parked = parked.into_iter().map(|parked| match parked.row.key.first() {
            Some(diptych_core::Value::Text(key)) => (key.clone(), parked.position),
            other => (format!("{other:?}"), parked.position),
        });
        let parked: BTreeMap<_, _> = parked.collect();
        ensure_eq!(parked, waiting, "what is parked");
        for report in self.verifier().await?.verify(group.name(), 10).await? {
            ensure!(VerifyReport::is_clean(&report), "it does not verify: {report:?}");
        }
        Ok(())
    }
}
