//! The log as PostgreSQL holds it: its names, and how readers see it. Appending is the writer's.

mod names;
mod read;
mod tagged;

pub(crate) use names::Names;
pub(crate) use read::{Parameter, head, head_of, load, mark_at, mark_of, range, read, statistics};
pub(crate) use tagged::{ItemCells, load_query};

use diptych_core::{Epoch, Fingerprint};

/// Which log this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogIdentity {
    /// The life of the log.
    pub(crate) epoch: Epoch,
    /// The fingerprint at position 0.
    pub(crate) fingerprint: Fingerprint,
}
