//! Workers that look for themselves, one after the other in any order, share the work and then keep still.

use super::*;
use diptych_core::{Epoch, Fingerprint, Position, Timestamp, Token};
use diptych_query::{Checkpoint, Fence, Mark, PartitionState};
use std::collections::BTreeMap;

/// A store's view of leases, and workers over it.
struct World {
    groups: Vec<Vec<Option<WorkerId>>>,
    /// Which groups each living worker would move.
    workers: BTreeMap<WorkerId, Vec<usize>>,
}

fn worker(number: usize) -> WorkerId {
    WorkerId::new(format!("w{number}"))
}

fn checkpoint() -> Checkpoint {
    let token = Token { epoch: Epoch::FIRST, position: Position::START, fingerprint: Fingerprint(0) };
    Checkpoint {
        mark: Mark { token, recorded_at: Timestamp::EPOCH },
        updated_at: Timestamp::EPOCH,
        stopped: None,
    }
}

impl World {
    fn new(partitions: &[u8], workers: usize) -> Self {
        let groups = partitions.iter().map(|of| vec![None; usize::from(*of)]).collect();
        let all: Vec<_> = (0..partitions.len()).collect();
        Self { groups, workers: (0..workers).map(|number| (worker(number), all.clone())).collect() }
    }

    fn shares(&self) -> Vec<Shares> {
        let groups = self.groups.iter().enumerate();
        let shares = groups.map(|(index, holders)| {
            let of = u8::try_from(holders.len()).unwrap();
            let states = Partition::all(of).zip(holders).map(|(partition, holder)| PartitionState {
                partition,
                checkpoint: checkpoint(),
                holder: holder.clone(),
                fence: Fence(0),
            });
            let would = self.workers.iter().filter(|(_, groups)| groups.contains(&index));
            let workers = would.map(|(worker, _)| worker.clone()).collect();
            Shares { workers, partitions: states.collect() }
        });
        shares.collect()
    }

    /// One worker looks and acts. Answers whether it did anything.
    fn look(&mut self, me: &WorkerId) -> bool {
        let shares = self.shares();
        let would = &self.workers[me];
        let own = |(group, partition): Share| {
            let holder = &self.groups[group][usize::from(partition.index())];
            match holder {
                Some(holder) if holder == me => Own::Moves,
                _ if would.contains(&group) => Own::Would,
                _ => Own::Cannot,
            }
        };
        let Moves { claim, release } = moves(me, &shares, own);
        let acted = !claim.is_empty() || !release.is_empty();
        for (group, partition) in claim {
            let holder = &mut self.groups[group][usize::from(partition.index())];
            assert_eq!(*holder, None, "a partition that is held is never claimed");
            *holder = Some(me.clone());
        }
        for (group, partition) in release {
            self.groups[group][usize::from(partition.index())] = None;
        }
        acted
    }

    /// Lets every worker look, in an order that differs from round to round, until nobody acts any more.
    fn settle(&mut self) {
        let mut order: Vec<_> = self.workers.keys().cloned().collect();
        for round in 0..200 {
            let start = round % order.len();
            order.rotate_left(start);
            let acted = order.iter().filter(|me| self.look(me)).count();
            if acted == 0 {
                return;
            }
        }
        panic!("the workers never come to rest: {:?}", self.loads());
    }

    fn loads(&self) -> BTreeMap<WorkerId, usize> {
        let mut loads: BTreeMap<_, _> = self.workers.keys().map(|worker| (worker.clone(), 0)).collect();
        for holder in self.groups.iter().flatten().flatten() {
            *loads.get_mut(holder).expect("a holder lives") += 1;
        }
        loads
    }

    fn die(&mut self, number: usize) {
        let gone = worker(number);
        self.workers.remove(&gone);
        self.groups
            .iter_mut()
            .flatten()
            .filter(|holder| **holder == Some(gone.clone()))
            .for_each(|h| *h = None);
    }

    #[track_caller]
    fn check_level(&self) {
        assert!(self.groups.iter().flatten().all(Option::is_some), "something is moved by nobody");
        let loads = self.loads();
        let (least, most) = (loads.values().min().unwrap(), loads.values().max().unwrap());
        assert!(most - least <= 1, "{loads:?}");
    }
}

#[test]
fn one_worker_takes_everything() {
    let mut world = World::new(&[1, 4, 1], 1);
    world.settle();
    world.check_level();
}

#[test]
fn workers_level_their_load_whenever_one_comes_or_goes() {
    for (partitions, workers) in [(vec![1, 1], 2), (vec![4], 3), (vec![1, 1, 8, 2], 5), (vec![1], 4)] {
        let mut world = World::new(&partitions, 1);
        world.settle();
        let everything: Vec<_> = (0..partitions.len()).collect();
        for number in 1..workers {
            world.workers.insert(worker(number), everything.clone());
            world.settle();
            world.check_level();
        }
        for number in 0..workers - 1 {
            world.die(number);
            world.settle();
            world.check_level();
        }
    }
}

#[test]
fn what_only_one_worker_can_move_stays_with_it_and_the_rest_goes_to_the_others() {
    let mut world = World::new(&[3, 1, 1, 1], 1);
    world.workers.insert(worker(1), vec![1, 2, 3]);
    world.settle();
    let only: Vec<_> = world.groups[0].iter().flatten().collect();
    assert_eq!(only, [&worker(0); 3]);
    assert_eq!(world.loads()[&worker(1)], 3);
}

#[test]
fn a_worker_that_can_move_nothing_holds_up_nobody() {
    let mut world = World::new(&[2, 1], 2);
    world.workers.insert(worker(1), Vec::new());
    world.settle();
    assert_eq!(world.loads()[&worker(0)], 3);
}

#[test]
fn what_nobody_took_for_long_is_taken_by_whoever_sees_it() {
    let mut world = World::new(&[1, 1], 2);
    // The first has one, and the other, which has none, should take what is free, but does not.
    world.groups[0][0] = Some(worker(0));
    let mine = worker(0);
    let look = |free| {
        let own = |(group, _): Share| if group == 0 { Own::Moves } else { free };
        moves(&mine, &world.shares(), own).claim
    };
    assert_eq!(look(Own::Would), []);
    assert_eq!(look(Own::Overdue), [(1, Partition::WHOLE)]);
}

#[test]
fn a_lease_of_its_own_that_no_worker_uses_is_claimed_again() {
    let mut world = World::new(&[1, 1], 2);
    world.groups[0][0] = Some(worker(0));
    world.groups[1][0] = Some(worker(1));
    let shares = world.shares();
    assert_eq!(moves(&worker(0), &shares, |_| Own::Would).claim, [(0, Partition::WHOLE)]);
}
