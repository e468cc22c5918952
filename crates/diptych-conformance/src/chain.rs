//! Random histories of the whole chain: commands, rebuilds and what operators order of them, poison events,
//! hands that edit rows, processes that die; and the proof in the end that everything comes right again.
//!
//! A projector moves only when a step says so. After every step each build's rows are held against a pure
//! fold of the log up to where the build stands: only what is parked, skipped, or was edited by hand may
//! differ.

use crate::drive::{self, EVERYTHING, MAIN};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, Balance, Desk, Fragile, Lenient, group};
use crate::random::play_all;
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Actor, Clock, Code, Portable, Position, Value, Version};
use diptych_projector::{
    DrainError, Gate, Keys, Projector, ProjectorLimits, ProjectorParts, RebuildError, RebuildOrder,
    RebuildStep, Repair, RowName, Tended, TroubleError,
};
use diptych_query::fold::row_digest;
use diptych_query::{
    Build, BuildId, Changed, Fold, Group, Mend, Mode, Order, Partition, RowChange, RowRef, Stage, StoredRow,
    TableChanges, WorkerId, own_build,
};
use proptest::prelude::{Just, Strategy, any};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The longest history.
const STEPS_MAX: usize = 60;
const ACCOUNTS: u8 = 4;

/// More slices than any history needs to come to rest.
const SLICES_MAX: usize = 2_000;

/// Over soon after the process that holds it is gone.
const LEASE: Duration = Duration::from_millis(2);

/// Longer than a rollback must be possible.
const WINDOW_OVER: Duration = Duration::from_secs(25 * 60 * 60);

/// What an operator orders of a rebuild.
#[derive(Clone, Copy, Debug)]
enum Ordered {
    Begin,
    Pause,
    Resume,
    Compare,
    Switch,
    RollBack,
    Cancel,
}

/// How a hand edits a row.
#[derive(Clone, Copy, Debug)]
enum Edit {
    /// A column, and not the hash.
    Column,
    /// A column and the hash with it.
    Cleverly,
    /// The row is deleted.
    Delete,
}

/// One step of a history. Groups are named by numbers that are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Tell {
        account: u8,
        amount: u8,
    },
    Drain {
        group: u8,
    },
    Tend {
        slices: u8,
    },
    Order {
        group: u8,
        what: Ordered,
    },
    RetryParked,
    SkipParked {
        nth: u8,
    },
    Edit {
        group: u8,
        account: u8,
        how: Edit,
    },
    Repair {
        group: u8,
    },
    Verify {
        group: u8,
    },
    Restart {
        killed: bool,
    },
    /// A day and more passes.
    Pass,
}

/// Plays random histories over stores that `make` makes.
///
/// `PROPTEST_RNG_SEED` fixes the seed; without it one is drawn and named with every failure.
///
/// # Errors
/// The shortest history found that does not come right, with its seed.
pub fn chains<H: Harness>(make: impl Fn() -> H, count: u32) -> Outcome {
    let steps = proptest::collection::vec(step(), 1..STEPS_MAX);
    play_all((count, 300), steps, async |steps: Vec<Step>| play(&make(), &steps).await)
}

fn step() -> impl Strategy<Value = Step> {
    let ordered = proptest::prop_oneof![
        5 => Just(Ordered::Begin),
        1 => Just(Ordered::Pause),
        1 => Just(Ordered::Resume),
        1 => Just(Ordered::Compare),
        2 => Just(Ordered::Switch),
        2 => Just(Ordered::RollBack),
        1 => Just(Ordered::Cancel),
    ];
    let edit =
        proptest::prop_oneof![2 => Just(Edit::Column), 2 => Just(Edit::Cleverly), 1 => Just(Edit::Delete)];
    proptest::prop_oneof![
        14 => (0..ACCOUNTS, any::<u8>()).prop_map(|(account, amount)| Step::Tell { account, amount }),
        7 => any::<u8>().prop_map(|group| Step::Drain { group }),
        10 => (1_u8..12).prop_map(|slices| Step::Tend { slices }),
        9 => (any::<u8>(), ordered).prop_map(|(group, what)| Step::Order { group, what }),
        2 => Just(Step::RetryParked),
        2 => any::<u8>().prop_map(|nth| Step::SkipParked { nth }),
        2 => (any::<u8>(), 0..ACCOUNTS, edit)
            .prop_map(|(group, account, how)| Step::Edit { group, account, how }),
        3 => any::<u8>().prop_map(|group| Step::Repair { group }),
        2 => any::<u8>().prop_map(|group| Step::Verify { group }),
        2 => any::<bool>().prop_map(|killed| Step::Restart { killed }),
        1 => Just(Step::Pass),
    ]
}

/// One group with what was done to its rows by hand.
struct Watched {
    group: Arc<Group>,
    edited: BTreeSet<(BuildId, u8)>,
}

struct World<'a> {
    harness: &'a dyn Harness,
    stores: Stores,
    projector: Projector,
    groups: Vec<Watched>,
    lives: u32,
}

async fn play(harness: &dyn Harness, steps: &[Step]) -> Outcome {
    let mut world = World::open(harness).await?;
    for step in steps {
        let taken = world.take(step).await;
        taken.map_err(|failure| Failure::new(format!("at {step:?}: {failure}")))?;
        world.compare().await.map_err(|failure| Failure::new(format!("after {step:?}: {failure}")))?;
    }
    world.come_right().await.map_err(|failure| Failure::new(format!("in the end: {failure}")))?;
    let World { stores, .. } = world;
    Ok(harness.stop(stores).await?)
}

fn groups(harness: &dyn Harness) -> [Arc<Group>; 3] {
    [group::<Balance>(harness), group::<Lenient>(harness), group::<Desk>(harness)]
}

async fn open(harness: &dyn Harness, lives: u32) -> Outcome<(Stores, Projector)> {
    let groups = groups(harness);
    let stores = harness.open(vec![Arc::clone(&groups[2])]).await?;
    for group in &groups {
        stores.models.attach(group).await?;
    }
    let limits = ProjectorLimits {
        batch_positions_max: 5,
        build_block_positions_max: 4,
        fold_retries_max: 0,
        retry_pause_min: Duration::ZERO,
        lease_duration: LEASE,
        ..ProjectorLimits::default()
    };
    let clock: Arc<dyn Clock> = Arc::<diptych_memory::ManualClock>::clone(&stores.clock);
    let projector = Projector::new(ProjectorParts {
        worker: WorkerId::new(format!("life {lives}")),
        feed: Arc::clone(&stores.feed),
        store: Arc::clone(&stores.models),
        registry: Arc::clone(&stores.registry),
        clock,
        progress: Arc::clone(&stores.progress),
        groups: groups.to_vec(),
        limits,
    });
    Ok((stores, projector))
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

fn troubled(error: &TroubleError) -> Failure {
    Failure::new(error.to_string())
}

/// What an operator may be refused is no failure; a fault is, unless it tells of a row that a hand has been
/// at.
fn refusable<T>(done: Result<T, RebuildError>) -> Outcome {
    match done {
        Err(RebuildError::Fault(fault)) if fault.code() != Code::RowDiffers => Err(fault.into()),
        _ => Ok(()),
    }
}

impl<'a> World<'a> {
    async fn open(harness: &'a dyn Harness) -> Outcome<Self> {
        let (stores, projector) = open(harness, 0).await?;
        let watched = groups(harness).into_iter().map(|group| Watched { group, edited: BTreeSet::new() });
        Ok(Self { harness, stores, projector, groups: watched.collect(), lives: 0 })
    }

    fn watched(&self, number: u8) -> &Watched {
        &self.groups[usize::from(number) % self.groups.len()]
    }

    async fn take(&mut self, step: &Step) -> Outcome {
        match *step {
            Step::Tell { account, amount } => self.tell(account, amount).await,
            Step::Drain { group } => {
                let group = Arc::clone(&self.watched(group).group);
                self.drain(&group).await
            }
            Step::Tend { slices } => {
                for _ in 0..slices {
                    self.projector.steward().step().await?;
                }
                Ok(())
            }
            Step::Order { group, what } => self.order(group, what).await,
            Step::RetryParked => {
                let retried = self.projector.retry_parked("lenient", &Keys::All).await;
                retried.map_err(|error| troubled(&error))?;
                Ok(())
            }
            Step::SkipParked { nth } => self.skip_parked(nth).await,
            Step::Edit { group, account, how } => self.edit(group, account, how).await,
            Step::Repair { group } => {
                let index = usize::from(group) % self.groups.len();
                self.repair(index).await
            }
            Step::Verify { group } => self.verify(group).await,
            Step::Restart { killed } => self.restart(killed).await,
            Step::Pass => {
                self.stores.clock.advance(WINDOW_OVER);
                Ok(())
            }
        }
    }

    async fn tell(&self, account: u8, amount: u8) -> Outcome {
        let known = drive::account(&key(account))?;
        let held = self.stores.events.load(&known, Version::NONE, EVERYTHING).await?;
        let event = match (held.is_empty(), amount % 11) {
            (true, _) => drive::opened("ann"),
            (false, 0) => drive::renamed(Fragile::BREAKS),
            (false, 1 | 2) => drive::renamed("bob"),
            (false, 3) => AccountEvent::Closed {},
            (false, amount) => drive::deposited(amount.into())?,
        };
        let told = drive::tell(&self.stores, MAIN, &key(account), event).await;
        // A row of an inline model that a hand has been at fails the command, and nothing of it is kept.
        if told.is_err() && self.is_edited(&self.groups[2]).await? { Ok(()) } else { told }
    }

    /// Whether a hand has been at the build that a group means.
    async fn is_edited(&self, watched: &Watched) -> Outcome<bool> {
        let builds = self.stores.registry.builds(watched.group.name()).await?;
        let own = own_build(&builds, watched.group.revision()).map(|build| build.id);
        Ok(watched.edited.iter().any(|(build, _)| Some(*build) == own))
    }

    async fn drain(&self, group: &Arc<Group>) -> Outcome {
        match self.projector.drain(group.name()).await {
            Ok(_) => Ok(()),
            // A row that a hand has been at stops its model.
            Err(DrainError::Stopped { .. }) if self.was_edited(group).await? => Ok(()),
            Err(error) => Err(Failure::new(error.to_string())),
        }
    }

    async fn was_edited(&self, group: &Group) -> Outcome<bool> {
        let watched = self.groups.iter().find(|watched| watched.group.name() == group.name());
        match watched {
            Some(watched) => self.is_edited(watched).await,
            None => Ok(false),
        }
    }

    async fn order(&self, group: u8, what: Ordered) -> Outcome {
        let (projector, name) = (&self.projector, self.watched(group).group.name());
        match what {
            Ordered::Begin => refusable(projector.rebuild(name, RebuildOrder::by(order()?)).await),
            Ordered::Pause => refusable(projector.pause(name, order()?).await),
            Ordered::Resume => refusable(projector.resume(name, order()?).await),
            Ordered::Compare => refusable(projector.compare(name, order()?).await),
            Ordered::Switch => refusable(projector.switch(name, order()?, Gate::Compared).await),
            Ordered::RollBack => refusable(projector.rollback(name, order()?).await),
            Ordered::Cancel => refusable(projector.cancel(name, order()?).await),
        }
    }

    async fn skip_parked(&self, nth: u8) -> Outcome {
        let parked = self.projector.parked("lenient").await.map_err(|error| troubled(&error))?;
        let Some(index) = usize::from(nth).checked_rem(parked.len()) else { return Ok(()) };
        let name = RowName::of_parked(&parked[index]);
        let skipped = self.projector.skip_parked("lenient", &name, &order()?).await;
        skipped.map_err(|error| troubled(&error))?;
        Ok(())
    }

    /// Writes into a row of the build that a group means, past everything that keeps digests.
    async fn edit(&mut self, group: u8, account: u8, how: Edit) -> Outcome {
        let index = usize::from(group) % self.groups.len();
        let watched = &self.groups[index];
        let builds = self.stores.registry.builds(watched.group.name()).await?;
        let Some(own) = own_build(&builds, watched.group.revision()) else { return Ok(()) };
        let (group, id) = (Arc::clone(&watched.group), own.id);
        let wanted = row(account)?;
        let schema = group.models()[0].schema();
        let rows = self.stores.models.scan(&group, schema, None, EVERYTHING).await?;
        let Some(held) = rows.into_iter().find(|held| held.row == wanted) else { return Ok(()) };
        let mut values = held.values.clone();
        for value in values.iter_mut().flatten() {
            if let Value::Integer(number) = value {
                *number += 1_000;
            }
        }
        let clever = values.as_ref().map_or(0, |values| row_digest(&wanted.tenant, values) as u64);
        let stored = match how {
            Edit::Column => StoredRow { values, ..held },
            Edit::Cleverly => StoredRow { values, hash: clever, ..held },
            Edit::Delete => StoredRow { values: None, hash: 0, ..held },
        };
        let rows = vec![RowChange { stored, existed: true, changed: Changed::ALL }];
        let changes = vec![TableChanges { rows, digest: Vec::new(), facts: Vec::new() }];
        let at = self.stores.models.checkpoint(&group).await?.mark.position();
        let partition = Partition::WHOLE;
        let (healed, parked) = (Vec::new(), Vec::new());
        let mend = Mend { partition, lease: None, at, changes, healed, parked };
        self.stores.models.mend(&group, mend).await?;
        self.groups[index].edited.insert((id, account));
        Ok(())
    }

    /// Has every row put right that a hand has been at in the build that a group means.
    async fn repair(&mut self, index: usize) -> Outcome {
        let group = Arc::clone(&self.groups[index].group);
        let builds = self.stores.registry.builds(group.name()).await?;
        let Some(own) = own_build(&builds, group.revision()).map(|build| build.id) else { return Ok(()) };
        let edited = self.groups[index].edited.clone();
        for (id, account) in edited.into_iter().filter(|(id, _)| *id == own) {
            let name = RowName::of(group.name(), &row(account)?);
            let repaired = self.projector.repair(group.name(), &Repair::Row(name), &order()?).await;
            repaired.map_err(|error| troubled(&error))?;
            self.groups[index].edited.remove(&(id, account));
        }
        Ok(())
    }

    /// A verification names the rows that a hand has been at, and no others.
    async fn verify(&self, group: u8) -> Outcome {
        let watched = self.watched(group);
        let edited = self.is_edited(watched).await?;
        let reports = self.projector.verify(watched.group.name(), 100).await;
        let reports = reports.map_err(|error| Failure::new(error.to_string()))?;
        for report in &reports {
            ensure!(report.is_clean() || edited, "rows that nobody edited differ: {report:?}");
        }
        Ok(())
    }

    async fn restart(&mut self, killed: bool) -> Outcome {
        let stores = self.stores.clone();
        if killed {
            self.harness.crash(stores).await?;
        } else {
            self.harness.stop(stores).await?;
        }
        self.lives += 1;
        (self.stores, self.projector) = open(self.harness, self.lives).await?;
        // A driver that has died is followed once it has been silent for long enough.
        self.stores.clock.advance(ProjectorLimits::default().lease_duration * 2);
        Ok(())
    }

    /// Every build is what a fold of the log up to where it stands leaves.
    async fn compare(&mut self) -> Outcome {
        let skipped = self.projector.skipped("lenient").await.map_err(|error| troubled(&error))?;
        for watched in &mut self.groups {
            let builds = self.stores.registry.builds(watched.group.name()).await?;
            let answering = builds.iter().filter(|build| build.stage.answers()).count();
            ensure!(answering <= 1, "more than one build answers: {builds:?}");
            watched
                .edited
                .retain(|(id, _)| builds.iter().any(|build| build.id == *id && build.stage.follows()));
            for build in builds.iter().filter(|build| build.stage.follows()) {
                let mut skips = Vec::new();
                for skip in skipped.iter().filter(|skip| skip.row.model == watched.group.name()) {
                    let (_, row) = skip.row.resolve(&watched.group).ok_or_else(|| Failure::new("a skip"))?;
                    skips.push((row, skip.position));
                }
                watched.compare(&self.stores, build, skips).await?;
            }
        }
        Ok(())
    }

    /// Puts everything right as an operator would, and proves that it is.
    async fn come_right(&mut self) -> Outcome {
        for index in 0..self.groups.len() {
            self.repair(index).await?;
            let name = self.groups[index].group.name();
            refusable(self.projector.resume(name, order()?).await)?;
        }
        self.come_to_rest().await?;
        for _ in 0..2 {
            for index in 0..self.groups.len() {
                self.repair(index).await?;
                let group = Arc::clone(&self.groups[index].group);
                self.drain(&group).await?;
                refusable(self.projector.switch(group.name(), order()?, Gate::Compared).await)?;
            }
            self.stores.clock.advance(WINDOW_OVER);
            self.come_to_rest().await?;
        }
        for index in 0..self.groups.len() {
            // A build that a hand has been at while it answered, and that follows behind since, is given up.
            let Watched { group, edited } = &self.groups[index];
            let Some(rebuild) = self.projector.rebuild_of(group.name()).await? else { continue };
            let spoilt = edited.iter().any(|(id, _)| *id == rebuild.to);
            if spoilt && matches!(rebuild.step, RebuildStep::Failed | RebuildStep::Blocked) {
                let cancelled = self.projector.cancel(group.name(), order()?).await;
                cancelled.map_err(|error| Failure::new(error.to_string()))?;
            }
        }
        self.come_to_rest().await?;
        while !self.projector.parked("lenient").await.map_err(|error| troubled(&error))?.is_empty() {
            self.skip_parked(0).await?;
        }
        for index in 0..self.groups.len() {
            self.repair(index).await?;
            let group = Arc::clone(&self.groups[index].group);
            self.drain(&group).await?;
            let under_way = self.projector.rebuild_of(group.name()).await?;
            ensure!(under_way.is_none(), "a rebuild never ends: {under_way:?}");
            let builds = self.stores.registry.builds(group.name()).await?;
            let left: Vec<_> = builds.iter().filter(|build| build.stage.follows()).collect();
            ensure!(left.len() == 1 && left[0].stage == Stage::Serving, "builds that are left: {left:?}");
            let head = self.stores.feed.head().await?;
            ensure_eq!(self.stores.models.checkpoint(&group).await?.mark, head, "where {group:?} stands");
            let reports = self.projector.verify(group.name(), 100).await;
            for report in reports.map_err(|error| Failure::new(error.to_string()))? {
                ensure!(report.is_clean(), "rows are not what the log says: {report:?}");
            }
            drive::digest(&self.stores, &group).await?;
        }
        self.compare().await
    }

    async fn come_to_rest(&self) -> Outcome {
        for _ in 0..SLICES_MAX {
            if self.projector.steward().step().await? == Tended::Moved {
                continue;
            }
            let under_way = self.projector.rebuilds().await?;
            if under_way.iter().all(|rebuild| rebuild.step.rests()) {
                return Ok(());
            }
            // Where the store's own time decides about leases, those of a process that died run out
            // meanwhile.
            tokio::time::sleep(LEASE).await;
        }
        Err(Failure::new("the steward never comes to rest"))
    }
}

impl Watched {
    async fn compare(&self, stores: &Stores, build: &Build, skips: Vec<(RowRef, Position)>) -> Outcome {
        let pinned = self.group.at(build.id);
        let at = stores.models.checkpoint(&pinned).await?.mark.position();
        let head = stores.feed.head().await?.position();
        ensure!(at <= head, "{} stands at {at}, beyond the head", pinned.label());
        let inline = self.group.mode() == Mode::Inline && build.stage.answers();
        ensure!(!inline || at == head || self.is_edited(build), "{} stands at {at}", pinned.label());
        let parked = stores.models.parked(&pinned).await?;
        let held = parked.into_iter().map(|parked| (parked.row, parked.position)).collect();
        let start = stores.feed.mark(Position::START).await?;
        let mut fold = Fold::from_mark(&pinned, start.ok_or_else(|| Failure::new("no start"))?);
        fold.hold(0, held);
        fold.skip(0, skips);
        let count = usize::try_from(at.0).unwrap_or(EVERYTHING);
        if count > 0 {
            fold.plan(&stores.feed.read(Position::START, pinned.categories(), count).await?)?;
        }
        fold.run()?;
        let mut expected = Vec::new();
        for change in fold.changes()?.remove(0).rows {
            expected.extend(change.stored.values.map(|values| (change.stored.row, values)));
        }
        let schema = pinned.models()[0].schema();
        let rows = stores.models.scan(&pinned, schema, None, EVERYTHING).await?;
        let mut actual: Vec<_> =
            rows.into_iter().map(|held| (held.row, held.values.unwrap_or_default())).collect();
        for (_, account) in self.edited.iter().filter(|(id, _)| *id == build.id) {
            let wanted = row(*account)?;
            actual.retain(|(row, _)| *row != wanted);
            expected.retain(|(row, _)| *row != wanted);
        }
        ensure_eq!(actual, expected, "the rows of {} at {at}", pinned.label());
        Ok(())
    }

    fn is_edited(&self, build: &Build) -> bool {
        self.edited.iter().any(|(id, _)| *id == build.id)
    }
}
