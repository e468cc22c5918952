//! Random lives of builds: begun, filled, switched, rolled back, retired and dropped, with keys parked and
//! mended and processes that die, while commands go on.
//!
//! What is expected comes from pure code alone: stages from the table of legal moves, rows from a fold of the
//! log up to where a build stands. After every step each build is held against both.

use crate::drive::{self, EVERYTHING, MAIN};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, Balance, Desk, Lenient, group};
use crate::random::play_all;
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Actor, Clock, Portable, Position};
use diptych_query::{
    Build, BuildId, BuildMove, Fold, Group, Mend, Mode, Order, Parked, Partition, RowRef, Stage,
    TransitError, judge, own_build, taken_over,
};
use proptest::prelude::{Just, Strategy, any};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest life.
const STEPS_MAX: usize = 70;
const ACCOUNTS: u8 = 4;

/// One step of a life. Groups and builds are named by numbers that are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    /// An event of an account.
    Tell { account: u8, amount: u8 },
    /// Another build of a group.
    Begin { group: u8 },
    /// A batch for a build.
    Drain { group: u8, build: u8, positions_max: u8 },
    /// A build goes to a stage, from where it stands or from where it does not.
    Move { group: u8, build: u8, from: Option<Stage>, to: Stage },
    /// A build takes over from whichever answers.
    Switch { group: u8, build: u8 },
    /// The tables of a build are dropped.
    Drop { group: u8, build: u8 },
    /// A key of the model that may is parked in a build, from some facts on.
    Park { build: u8, account: u8, ahead: u8 },
    /// A parked key is folded again in order, and mended.
    Mend { build: u8, account: u8 },
    /// Both processes are killed, or stopped.
    Restart { killed: bool },
    /// Another process has its turn from here on.
    Other,
}

/// Plays random lives over stores that `make` makes.
///
/// `PROPTEST_RNG_SEED` fixes the seed; without it one is drawn and named with every failure.
///
/// # Errors
/// The shortest life found in which a build is not what pure code says, with its seed.
pub fn lives<H: Harness>(make: impl Fn() -> H, count: u32) -> Outcome {
    let steps = proptest::collection::vec(step(), 1..STEPS_MAX);
    play_all((count, 300), steps, async |steps: Vec<Step>| play(&make(), &steps).await)
}

fn step() -> impl Strategy<Value = Step> {
    let stage = || (0_usize..Stage::ALL.len()).prop_map(|index| Stage::ALL[index]);
    let build = || (any::<u8>(), any::<u8>());
    let likely = proptest::prop_oneof![3 => Just(Stage::Shadowing), 2 => Just(Stage::Serving), 2 => stage()];
    proptest::prop_oneof![
        12 => (0..ACCOUNTS, any::<u8>()).prop_map(|(account, amount)| Step::Tell { account, amount }),
        3 => any::<u8>().prop_map(|group| Step::Begin { group }),
        14 => (build(), 1_u8..9)
            .prop_map(|((group, build), positions_max)| Step::Drain { group, build, positions_max }),
        8 => (build(), likely).prop_map(|((group, build), to)| Step::Move { group, build, from: None, to }),
        2 => (build(), stage(), stage())
            .prop_map(|((group, build), from, to)| Step::Move { group, build, from: Some(from), to }),
        6 => build().prop_map(|(group, build)| Step::Switch { group, build }),
        2 => build().prop_map(|(group, build)| Step::Drop { group, build }),
        3 => (any::<u8>(), 0..ACCOUNTS, 1_u8..6)
            .prop_map(|(build, account, ahead)| Step::Park { build, account, ahead }),
        3 => (any::<u8>(), 0..ACCOUNTS).prop_map(|(build, account)| Step::Mend { build, account }),
        2 => any::<bool>().prop_map(|killed| Step::Restart { killed }),
        2 => Just(Step::Other),
    ]
}

/// What is expected of one group.
struct Expected {
    group: Arc<Group>,
    builds: Vec<Build>,
    /// Which builds have lost their tables.
    dropped: Vec<BuildId>,
    /// Where each build stood last.
    reached: BTreeMap<BuildId, Position>,
    /// Which keys are held back in each build, and from where on.
    parked: BTreeMap<(BuildId, u8), Position>,
}

struct World<'a> {
    harness: &'a dyn Harness,
    /// Two processes over one store; the first has its turn.
    processes: [Stores; 2],
    groups: Vec<Expected>,
}

async fn play(harness: &dyn Harness, steps: &[Step]) -> Outcome {
    let mut world = World::open(harness).await?;
    for step in steps {
        world.take(step).await?;
        world.compare().await.map_err(|failure| Failure::new(format!("after {step:?}: {failure}")))?;
    }
    let World { processes: [ours, theirs], .. } = world;
    harness.stop(ours).await?;
    harness.stop(theirs).await?;
    Ok(())
}

fn groups(harness: &dyn Harness) -> [Arc<Group>; 3] {
    [group::<Balance>(harness), group::<Desk>(harness), group::<Lenient>(harness)]
}

async fn process(harness: &dyn Harness) -> Outcome<Stores> {
    let [_, desk, _] = groups(harness);
    Ok(harness.open(vec![desk]).await?)
}

fn order() -> Outcome<Order> {
    Ok(Order { actor: Actor::new("ann")?, reason: "chance".to_owned() })
}

fn key(account: u8) -> String {
    format!("account {account}")
}

fn row(account: u8) -> Outcome<RowRef> {
    Ok(RowRef { tenant: drive::tenant(MAIN)?, key: vec![key(account).to_value()] })
}

impl<'a> World<'a> {
    async fn open(harness: &'a dyn Harness) -> Outcome<Self> {
        let processes = [process(harness).await?, process(harness).await?];
        let mut all = Vec::new();
        for group in groups(harness) {
            for stores in &processes {
                stores.models.attach(&group).await?;
            }
            let builds = processes[0].registry.builds(group.name()).await?;
            ensure_eq!(builds.len(), 1, "the builds of a new group");
            let (dropped, reached, parked) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
            all.push(Expected { group, builds, dropped, reached, parked });
        }
        Ok(Self { harness, processes, groups: all })
    }

    fn stores(&self) -> &Stores {
        &self.processes[0]
    }

    fn group(&mut self, number: u8) -> (&Stores, &mut Expected) {
        let index = usize::from(number) % self.groups.len();
        (&self.processes[0], &mut self.groups[index])
    }

    async fn take(&mut self, step: &Step) -> Outcome {
        match *step {
            Step::Tell { account, amount } => self.tell(account, amount).await,
            Step::Begin { group } => {
                let (stores, expected) = self.group(group);
                let begun = stores.registry.begin_build(&expected.group, &order()?).await?;
                expected.builds.push(begun);
                Ok(())
            }
            Step::Drain { group, build, positions_max } => {
                let (stores, expected) = self.group(group);
                let Some(id) = expected.following(build) else { return Ok(()) };
                let pinned = expected.group.at(id);
                drive::advance_once(stores, &pinned, usize::from(positions_max)).await?;
                Ok(())
            }
            Step::Move { group, build, from, to } => {
                let (stores, expected) = self.group(group);
                let build = expected.builds[usize::from(build) % expected.builds.len()].clone();
                let moved = BuildMove { build: build.id, from: from.unwrap_or(build.stage), to };
                expected.transit(stores, &[moved]).await
            }
            Step::Switch { group, build } => {
                let (stores, expected) = self.group(group);
                let Some(to) = expected.following(build) else { return Ok(()) };
                let answering = expected.builds.iter().find(|build| build.stage.answers() && build.id != to);
                let mut moves: Vec<_> = answering
                    .map(|build| BuildMove { build: build.id, from: build.stage, to: Stage::Shadowing })
                    .into_iter()
                    .collect();
                moves.push(BuildMove { build: to, from: Stage::Shadowing, to: Stage::Serving });
                expected.transit(stores, &moves).await
            }
            Step::Drop { group, build } => {
                let (stores, expected) = self.group(group);
                let build = expected.builds[usize::from(build) % expected.builds.len()].clone();
                let done = stores.registry.drop_build(&expected.group, build.id).await;
                ensure_eq!(done.is_ok(), build.stage == Stage::Retired, "dropping {build:?}: {done:?}");
                if done.is_ok() {
                    expected.dropped.push(build.id);
                }
                Ok(())
            }
            Step::Park { build, account, ahead } => self.park(build, account, ahead).await,
            Step::Mend { build, account } => self.mend(build, account).await,
            Step::Restart { killed } => self.restart(killed).await,
            Step::Other => {
                self.processes.swap(0, 1);
                self.stores().registry.refresh().await?;
                Ok(())
            }
        }
    }

    async fn tell(&self, account: u8, amount: u8) -> Outcome {
        let known = drive::account(&key(account))?;
        let held = self.stores().events.load(&known, diptych_core::Version::NONE, EVERYTHING).await?;
        let event = match (held.is_empty(), amount % 5) {
            (true, _) => drive::opened("ann"),
            (false, 0) => drive::renamed("bob"),
            (false, 1) => AccountEvent::Closed {},
            (false, amount) => drive::deposited(amount.into())?,
        };
        drive::tell(self.stores(), MAIN, &key(account), event).await
    }

    async fn park(&mut self, build: u8, account: u8, ahead: u8) -> Outcome {
        let (stores, expected) = self.group(2);
        let Some(id) = expected.following(build) else { return Ok(()) };
        let pinned = expected.group.at(id);
        let stands = stores.models.checkpoint(&pinned).await?.mark.position();
        let position = Position(stands.0 + u64::from(ahead));
        let parked = Parked {
            model: expected.group.name().to_owned(),
            row: row(account)?,
            position,
            event: "AccountRenamed".to_owned(),
            reason: "chance".to_owned(),
            parked_at: stores.clock.now(),
        };
        stores.models.park(&pinned, None, &[parked]).await?;
        expected.parked.entry((id, account)).or_insert(position);
        Ok(())
    }

    /// Folds a key again up to where its build stands, and writes what that makes of its row.
    async fn mend(&mut self, build: u8, account: u8) -> Outcome {
        let (stores, expected) = self.group(2);
        let Some(id) = expected.following(build) else { return Ok(()) };
        if expected.parked.remove(&(id, account)).is_none() {
            return Ok(());
        }
        let pinned = expected.group.at(id);
        let at = stores.models.checkpoint(&pinned).await?.mark.position();
        let mut fold = fold_to(stores, &pinned, at, &[]).await?;
        let wanted = row(account)?;
        let schema = pinned.models()[0].schema();
        let held = stores.models.get(&pinned, schema, &wanted).await?.rows.into_iter().next();
        let mut changes = fold.changes()?;
        for table in &mut changes {
            table.rows.retain(|change| change.stored.row == wanted);
            let digest = |values: &Vec<_>| diptych_query::fold::row_digest(&wanted.tenant, values);
            let new = table.rows.first().and_then(|change| change.stored.values.as_ref()).map(digest);
            let old = held.as_ref().map(digest);
            table.rows.iter_mut().for_each(|change| change.existed = old.is_some());
            let bucket = diptych_query::fold::bucket_of(&wanted.tenant, &wanted.key);
            let count = i64::from(new.is_some()) - i64::from(old.is_some());
            table.digest = vec![(bucket, count, new.unwrap_or(0).wrapping_sub(old.unwrap_or(0)))];
        }
        let (partition, healed) = (Partition::WHOLE, vec![(0, wanted)]);
        let mend = Mend { partition, lease: None, at, changes, healed, parked: Vec::new() };
        Ok(stores.models.mend(&pinned, mend).await?)
    }

    async fn restart(&mut self, killed: bool) -> Outcome {
        let stores = self.processes[0].clone();
        if killed {
            self.harness.crash(stores).await?;
        } else {
            self.harness.stop(stores).await?;
        }
        // A place is stopped and crashes with every process at it.
        self.processes = [process(self.harness).await?, process(self.harness).await?];
        for process in &self.processes {
            for expected in &self.groups {
                let attached = process.models.attach(&expected.group).await;
                let retired = own_build(&expected.builds, expected.group.revision()).is_none();
                ensure_eq!(attached.is_err(), retired, "attaching {:?}: {attached:?}", expected.group);
            }
        }
        Ok(())
    }

    async fn compare(&mut self) -> Outcome {
        let stores = &self.processes[0];
        for expected in &mut self.groups {
            expected.compare(stores).await?;
        }
        Ok(())
    }
}

/// A fold of the log up to a position, with keys held back.
async fn fold_to(stores: &Stores, group: &Group, at: Position, held: &[(u8, Position)]) -> Outcome<Fold> {
    let start = stores.feed.mark(Position::START).await?;
    let mut fold = Fold::from_mark(group, start.ok_or_else(|| Failure::new("the log has no start"))?);
    let mut rows = Vec::new();
    for (account, from) in held {
        rows.push((row(*account)?, *from));
    }
    fold.hold(0, rows);
    let count = usize::try_from(at.0).unwrap_or(EVERYTHING);
    if count > 0 {
        fold.plan(&stores.feed.read(Position::START, group.categories(), count).await?)?;
    }
    fold.run()?;
    Ok(fold)
}

impl Expected {
    /// One of the builds that have tables.
    fn following(&self, number: u8) -> Option<BuildId> {
        let following: Vec<_> = self.builds.iter().filter(|build| build.stage.follows()).collect();
        let index = usize::from(number).checked_rem(following.len())?;
        Some(following[index].id)
    }

    async fn position(&self, stores: &Stores, id: BuildId) -> Outcome<Position> {
        Ok(stores.models.checkpoint(&self.group.at(id)).await?.mark.position())
    }

    /// Moves builds, and holds what became of it against the pure rules.
    async fn transit(&mut self, stores: &Stores, moves: &[BuildMove]) -> Outcome {
        let after = judge(&self.builds, moves);
        let mut behind = false;
        if let Ok(after) = &after
            && let Some((new, Some(gone))) = taken_over(&self.builds, after)
        {
            let positions = (self.position(stores, new.id).await?, self.position(stores, gone.id).await?);
            behind = positions.0 < positions.1 && self.group.mode() != Mode::Inline;
        }
        let done = stores.registry.transit(&self.group, moves, &order()?).await;
        match (after, done) {
            (Ok(_), Err(TransitError::Behind { .. })) if behind => {}
            (Err(expected), Err(refused)) => {
                ensure_eq!(refused.to_string(), expected.to_string(), "why {moves:?} was refused");
            }
            (Ok(after), Ok(done)) if !behind => {
                let stage = |build: &Build| (build.id, build.stage);
                let (done, after): (Vec<_>, Vec<_>) =
                    (done.iter().map(stage).collect(), after.iter().map(stage).collect());
                ensure_eq!(done, after, "the builds after {moves:?}");
                for (build, (_, stage)) in self.builds.iter_mut().zip(after) {
                    build.stage = stage;
                }
            }
            (expected, done) => {
                let message = format!("{moves:?}: {done:?}, expected {expected:?}, behind {behind}");
                return Err(Failure::new(message));
            }
        }
        Ok(())
    }

    async fn compare(&mut self, stores: &Stores) -> Outcome {
        let known = stores.registry.builds(self.group.name()).await?;
        let stage = |build: &Build| (build.id, build.stage);
        let known: Vec<_> = known.iter().map(stage).collect();
        ensure_eq!(known, self.builds.iter().map(stage).collect::<Vec<_>>(), "builds of {:?}", self.group);
        for build in self.builds.iter().filter(|build| build.stage.follows()) {
            let pinned = self.group.at(build.id);
            let at = self.position(stores, build.id).await?;
            let last = self.reached.entry(build.id).or_insert(at);
            ensure!(at >= *last, "{} went back from {last} to {at}", pinned.label());
            *last = at;
            let held = self.parked.iter().filter(|((id, _), _)| *id == build.id);
            let held: Vec<_> = held.map(|((_, account), from)| (*account, *from)).collect();
            let parked = stores.models.parked(&pinned).await?;
            ensure_eq!(parked.len(), held.len(), "what is parked in {}: {parked:?}", pinned.label());
            let mut rows = Vec::new();
            for change in fold_to(stores, &pinned, at, &held).await?.changes()?.remove(0).rows {
                rows.extend(change.stored.values.map(|values| (change.stored.row, values)));
            }
            let actual = drive::all_contents(stores, &pinned).await?.remove(0);
            ensure_eq!(actual, rows, "the rows of {} at {at}", pinned.label());
        }
        if let Some(own) = own_build(&self.builds, self.group.revision()) {
            let got = drive::get(stores, &self.group, &key(0)).await?;
            ensure_eq!(got.build, own.id, "which build of {:?} is read", self.group);
        }
        Ok(())
    }
}
