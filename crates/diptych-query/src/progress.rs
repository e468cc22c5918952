//! How far each group has come and how it is doing, inside this process: what waiting answers listen to.

use crate::{Group, Health, Partition, Passed, Samples, Serving, Stopped};
use diptych_core::Position;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::watch;

/// One entry for each group. The hinge writes, the right panel listens.
#[derive(Default)]
pub struct Progress {
    entries: Mutex<BTreeMap<String, Arc<ProgressEntry>>>,
}

/// What is known of one group.
pub struct ProgressEntry {
    /// Everything up to here is in the rows.
    position: watch::Sender<Position>,
    /// What this process knows of each partition; of a group that is not split there is one.
    parts: Mutex<Vec<Part>>,
    passed: Mutex<BTreeMap<&'static str, Passed>>,
    troubles: RwLock<Troubles>,
    /// The group's builds, as this process last saw them.
    serving: RwLock<Arc<Serving>>,
    /// What was asked lately.
    samples: Samples,
}

/// What is wrong with a group although it follows the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Troubles {
    /// How many keys are held back.
    pub parked: u64,
    /// How many incidents are open.
    pub incidents: u64,
    /// Why it answers nobody, where somebody has ordered so.
    pub suspended: Option<String>,
    /// Why the store of its rows cannot be reached, where it cannot.
    pub unreachable: Option<String>,
}

impl Troubles {
    /// What they make of the health of a group that follows the log otherwise.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        match self {
            Self { suspended: Some(reason), .. } => Some(Health::Suspended { reason: reason.clone() }),
            Self { unreachable: Some(reason), .. } => Some(Health::Retrying { reason: reason.clone() }),
            Self { parked: 0, incidents: 0, .. } => None,
            Self { parked, incidents, .. } => {
                Some(Health::Degraded { parked: *parked, incidents: *incidents })
            }
        }
    }
}

/// What is known of one partition.
#[derive(Clone, Default)]
struct Part {
    position: Position,
    health: Health,
    /// Whether a worker or a writer of this process moves it.
    followed: bool,
}

/// Where an inline group stands in the transaction at hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// At the head: it folds with every command.
    Live,
    /// Too far behind: a worker brings it nearer.
    Behind,
    /// At a fact it cannot take.
    Stopped(Stopped),
}

impl Progress {
    /// The entry of a group, made when it is first asked for.
    #[must_use]
    pub fn entry(&self, group: &str) -> Arc<ProgressEntry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(group) {
            return Arc::clone(entry);
        }
        let entry = Arc::new(ProgressEntry::default());
        entries.insert(group.to_owned(), Arc::clone(&entry));
        entry
    }
}

impl Default for ProgressEntry {
    fn default() -> Self {
        Self {
            position: watch::Sender::new(Position::START),
            parts: Mutex::new(vec![Part::default()]),
            passed: Mutex::default(),
            troubles: RwLock::default(),
            serving: RwLock::default(),
            samples: Samples::default(),
        }
    }
}

impl ProgressEntry {
    /// Notes that everything up to a position is in the rows; never goes back, but by
    /// [`ProgressEntry::reset`].
    pub fn advance(&self, position: Position) {
        self.position.send_if_modified(|held| {
            let moved = position > *held;
            *held = position.max(*held);
            moved
        });
    }

    /// Notes how far a partition has come. The group has come as far as the last of them, which is known
    /// here only while this process moves them all.
    pub fn advance_in(&self, partition: Partition, position: Position) {
        if partition == Partition::WHOLE {
            return self.advance(position);
        }
        let lowest = {
            let mut parts = self.parts();
            let part = part_of(&mut parts, partition);
            part.position = position.max(part.position);
            parts.iter().map(|part| if part.followed { part.position } else { Position::START }).min()
        };
        self.advance(lowest.unwrap_or(Position::START));
    }

    /// Notes that the rows start over.
    pub fn reset(&self) {
        self.parts().iter_mut().for_each(|part| part.position = Position::START);
        self.position.send_replace(Position::START);
    }

    /// Wakes whenever the position moves.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// How the group is doing: as the first partition that is not live.
    #[must_use]
    pub fn health(&self) -> Health {
        let parts = self.parts();
        parts
            .iter()
            .map(|part| &part.health)
            .find(|health| **health != Health::Live)
            .cloned()
            .unwrap_or_default()
    }

    /// Notes how the group is doing, and wakes whoever waits, so that nobody waits for a stopped model.
    pub fn set_health(&self, health: Health) {
        self.parts().iter_mut().for_each(|part| part.health = health.clone());
        self.position.send_modify(|_| ());
    }

    /// Notes how a partition is doing, and wakes whoever waits.
    pub fn set_health_in(&self, partition: Partition, health: Health) {
        part_of(&mut self.parts(), partition).health = health;
        self.position.send_modify(|_| ());
    }

    /// How a partition is doing.
    #[must_use]
    pub fn health_in(&self, partition: Partition) -> Health {
        part_of(&mut self.parts(), partition).health.clone()
    }

    /// What is wrong with the group although it follows the log, as this process knows it.
    #[must_use]
    pub fn troubles(&self) -> Troubles {
        self.troubles.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what is wrong with the group, or is no more, and wakes whoever waits when that is something new.
    pub fn change_troubles(&self, change: impl FnOnce(&mut Troubles)) {
        let changed = {
            let mut troubles = self.troubles.write().unwrap_or_else(PoisonError::into_inner);
            let before = troubles.clone();
            change(&mut troubles);
            *troubles != before
        };
        if changed {
            self.position.send_modify(|_| ());
        }
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes where an inline group stands, when that is not what was `told` before. One that was live from
    /// the beginning is not worth telling.
    pub fn tell(&self, told: &mut Option<Standing>, standing: &Standing) {
        if told.as_ref() == Some(standing) {
            return;
        }
        match standing {
            Standing::Live if told.is_none() => {}
            Standing::Live => self.set_health(Health::Live),
            Standing::Behind => self.set_health(Health::CatchingUp),
            Standing::Stopped(Stopped { position, reason }) => {
                let (position, reason) = (*position, reason.clone());
                self.set_health(Health::Stopped { position, reason });
            }
        }
        *told = Some(standing.clone());
    }

    /// Whether workers or a writer of this process move the whole group. Otherwise waiting asks the store.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.parts().iter().all(|part| part.followed)
    }

    /// Notes that this process moves the group, or does not.
    pub fn set_followed(&self, followed: bool) {
        self.set_followed_in(Partition::WHOLE, followed);
    }

    /// Notes that this process moves a partition, or does not, and wakes whoever waits for it by the wrong
    /// means now.
    pub fn set_followed_in(&self, partition: Partition, followed: bool) {
        let was = std::mem::replace(&mut part_of(&mut self.parts(), partition).followed, followed);
        if was != followed {
            self.position.send_modify(|_| ());
        }
    }

    /// The group's builds, as this process last saw them.
    #[must_use]
    pub fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes which builds there are, and wakes whoever waits when another one answers now.
    pub fn set_serving(&self, serving: Serving) {
        if *self.serving() != serving {
            *self.serving.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(serving);
            self.position.send_modify(|_| ());
        }
    }

    /// What was asked lately in this process.
    #[must_use]
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The facts that changed nothing in a model, in this process.
    #[must_use]
    pub fn passed(&self, model: &str) -> Passed {
        let counts = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(model).copied().unwrap_or_default()
    }

    /// Adds to the counts of facts that changed nothing, table by table.
    pub fn count_passed(&self, group: &Group, more: &[Passed]) {
        let mut counts = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        for (model, more) in group.models().iter().zip(more.iter().copied()) {
            *counts.entry(model.schema().name).or_default() += more;
        }
    }
}

/// What is known of a partition; the first to be named tells into how many the group is split here.
fn part_of(parts: &mut Vec<Part>, partition: Partition) -> &mut Part {
    if parts.len() < usize::from(partition.of()) {
        parts.resize(usize::from(partition.of()), Part::default());
    }
    &mut parts[usize::from(partition.index())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_come_as_far_as_the_last_partition_that_is_moved_here() {
        let entry = ProgressEntry::default();
        let parts: Vec<_> = Partition::all(2).collect();
        let check = |expected: u64| assert_eq!(*entry.watch().borrow(), Position(expected));
        entry.set_followed_in(parts[0], true);
        entry.advance_in(parts[0], Position(9));
        check(0);
        assert!(!entry.is_followed(), "the other partition is moved elsewhere");
        entry.set_followed_in(parts[1], true);
        entry.advance_in(parts[1], Position(4));
        check(4);
        assert!(entry.is_followed());
        entry.advance_in(parts[1], Position(12));
        check(9);
    }

    #[test]
    fn a_group_is_as_well_as_its_worst_partition() {
        let entry = ProgressEntry::default();
        let parts: Vec<_> = Partition::all(2).collect();
        let retrying = Health::Retrying { reason: "no room".to_owned() };
        entry.set_health_in(parts[1], retrying.clone());
        assert_eq!((entry.health(), entry.health_in(parts[0])), (retrying, Health::Live));
        entry.set_health_in(parts[1], Health::Live);
        assert_eq!(entry.health(), Health::Live);
    }
}
