//! What tells one state of a group's rows from another without looking at a row. Says nothing of what
//! somebody may see of them.

use crate::BuildId;
use diptych_core::Token;

/// Another one whenever the rows of a group may be others: another build answers, a partition has moved, or
/// rows were put right, parked or removed where they stand. What is changed by hand in a database is not in
/// it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RowsStamp([u8; 16]);

impl RowsStamp {
    /// The stamp of a build, by where each of its partitions stands, in order, and how often rows were put
    /// right without moving one. A store calls it with what it read in one snapshot.
    #[must_use]
    pub fn of(build: BuildId, partitions: impl IntoIterator<Item = Token>, repairs: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&build.revision.to_le_bytes());
        hasher.update(&build.generation.to_le_bytes());
        hasher.update(&repairs.to_le_bytes());
        for token in partitions {
            hasher.update(&token.epoch.0.to_le_bytes());
            hasher.update(&token.position.0.to_le_bytes());
            hasher.update(&token.fingerprint.0.to_le_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(bytes)
    }

    /// Its bytes, to be hashed together with what else an answer depends on.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych_core::{Epoch, Fingerprint, Position};

    #[test]
    fn everything_that_it_is_made_of_makes_another_one() {
        let build = |revision, generation| BuildId { revision, generation };
        let at = |position| Token {
            epoch: Epoch::FIRST,
            position: Position(position),
            fingerprint: Fingerprint(7),
        };
        let stamp = RowsStamp::of(build(1, 1), [at(3), at(4)], 0);
        assert_eq!(stamp, RowsStamp::of(build(1, 1), [at(3), at(4)], 0));
        for other in [
            RowsStamp::of(build(2, 1), [at(3), at(4)], 0),
            RowsStamp::of(build(1, 2), [at(3), at(4)], 0),
            RowsStamp::of(build(1, 1), [at(4), at(3)], 0),
            RowsStamp::of(build(1, 1), [at(3)], 0),
            RowsStamp::of(build(1, 1), [at(3), at(4)], 1),
            RowsStamp::of(build(1, 1), [at(3), Token { epoch: Epoch(2), ..at(4) }], 0),
            RowsStamp::of(build(1, 1), [at(3), Token { fingerprint: Fingerprint(8), ..at(4) }], 0),
        ] {
            assert_ne!(stamp, other);
        }
    }
}
