//! A share of a group's rows, and the lease on it: who may move it, fenced. Values only; stores keep them.

use crate::Checkpoint;
use crate::fold::{BUCKETS, bucket_of};
use diptych_core::{Tenant, Value};
use std::fmt;

/// The most partitions of a group: each owns at least one bucket of every digest.
pub const PARTITIONS_MAX: u8 = BUCKETS;

/// A share of a group's rows by their keys. Each row has one owner, whatever facts touch it.
///
/// ```
/// use diptych_core::{Tenant, Value};
/// use diptych_query::Partition;
/// let (tenant, key) = (Tenant::new("main").unwrap(), [Value::Integer(7)]);
/// let owners = Partition::all(4).filter(|partition| partition.owns(&tenant, &key));
/// assert_eq!(owners.count(), 1);
/// assert!(Partition::WHOLE.owns(&tenant, &key));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Partition {
    index: u8,
    of: u8,
}

impl Partition {
    /// The only partition of a group that is not split.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// The partitions of a group that is split into `of`, [`PARTITIONS_MAX`] at most.
    pub fn all(of: u8) -> impl Iterator<Item = Self> + Clone {
        let of = of.clamp(1, PARTITIONS_MAX);
        (0..of).map(move |index| Self { index, of })
    }

    /// The one of `of` partitions that owns a row.
    #[must_use]
    pub fn owner(of: u8, tenant: &Tenant, key: &[Value]) -> Self {
        let of = of.clamp(1, PARTITIONS_MAX);
        if of == 1 { Self::WHOLE } else { Self { index: bucket_of(tenant, key) % of, of } }
    }

    /// Its number among those of the group, from 0.
    #[must_use]
    pub fn index(self) -> u8 {
        self.index
    }

    /// Into how many the group is split.
    #[must_use]
    pub fn of(self) -> u8 {
        self.of
    }

    /// Whether it owns a row. Partitions share out whole buckets of the digest, so that two of them never
    /// write the same sum.
    #[must_use]
    pub fn owns(self, tenant: &Tenant, key: &[Value]) -> bool {
        self.of == 1 || self.owns_bucket(bucket_of(tenant, key))
    }

    /// Whether it owns the rows of a bucket.
    #[must_use]
    pub fn owns_bucket(self, bucket: u8) -> bool {
        bucket % self.of == self.index
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {}", self.index, self.of)
    }
}

/// A process that moves read models, by a name that no other process ever has.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkerId(String);

impl WorkerId {
    /// A name for people and logs, such as `host:4711:5f3a90c2`.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// How often a partition has changed hands: each lease has a higher one than the lease before. Fencing as in
/// M. Kleppmann, "How to do distributed locking" (2016): time decides who may take a lease, never who may
/// write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fence(pub u64);

/// The right to move a partition. A store refuses what is folded under a lease that another one followed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lease {
    /// Of what.
    pub partition: Partition,
    /// Which lease it is.
    pub fence: Fence,
}

impl Lease {
    /// What a store gives that shares no work between processes.
    pub const UNSHARED: Self = Self { partition: Partition::WHOLE, fence: Fence(0) };
}

/// Whether a worker can move a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// It can.
    Able,
    /// It came upon a fact that it cannot take, and leaves the group to others.
    Unable,
}

/// One partition as the store knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionState {
    /// Which.
    pub partition: Partition,
    /// Where it stands.
    pub checkpoint: Checkpoint,
    /// Who holds a lease on it that has not run out.
    pub holder: Option<WorkerId>,
    /// The newest there was on it: a lease with another one is over, whoever holds it.
    pub fence: Fence,
}

/// The partitions of one group, and who would move them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shares {
    /// The workers that live and would move the group.
    pub workers: Vec<WorkerId>,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionState>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_one_owner_and_every_partition_owns_rows() {
        let tenant = Tenant::new("main").unwrap();
        for of in [1, 2, 3, 7, PARTITIONS_MAX] {
            let mut owned = vec![0; usize::from(of)];
            for key in 0..5_000 {
                let key = [Value::Integer(key)];
                let owners: Vec<_> = Partition::all(of).filter(|one| one.owns(&tenant, &key)).collect();
                assert_eq!(owners, [Partition::owner(of, &tenant, &key)]);
                owned[usize::from(owners[0].index())] += 1;
            }
            assert!(owned.iter().all(|rows| *rows > 0), "{owned:?}");
        }
    }

    #[test]
    fn a_group_is_split_into_one_to_the_most() {
        assert_eq!(Partition::all(0).collect::<Vec<_>>(), [Partition::WHOLE]);
        assert_eq!(Partition::all(u8::MAX).count(), usize::from(PARTITIONS_MAX));
    }
}
