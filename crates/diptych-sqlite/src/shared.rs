//! What the store, its writer and its follower share: the directory, the clock, the head as last seen.

use crate::log::Spares;
use crate::log::schema::LogIdentity;
use crate::models::OpenBuilds;
use crate::pool::Pool;
use crate::{Durability, SqliteLimits};
use diptych_core::{Clock, Position, Timestamp, Token};
use diptych_query::{Mark, Progress};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Shared by the store and its threads.
pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) limits: SqliteLimits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) identity: LogIdentity,
    pub(crate) readers: Pool,
    /// Which builds there are, and those that are open.
    pub(crate) builds: OpenBuilds,
    /// Memory for what readers take out of the log.
    pub(crate) spares: Arc<Spares>,
    pub(crate) head: watch::Sender<Position>,
    /// The last head that anyone here has read, with its fingerprint: a hint, held against the log at every
    /// use.
    pub(crate) seen: Mutex<Mark>,
}

impl Shared {
    /// The file of the log.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.directory.join("log.db")
    }

    /// The directory of the files of read models.
    pub(crate) fn models_path(&self) -> PathBuf {
        self.directory.join("models")
    }

    /// Before the first entry.
    pub(crate) fn start(&self) -> Mark {
        start_of(self.identity)
    }

    /// The last head that was seen.
    pub(crate) fn seen_head(&self) -> Mark {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a head, and wakes those who wait for it.
    pub(crate) fn see_head(&self, head: Mark) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if head.position() > seen.position() {
            *seen = head;
        }
        drop(seen);
        self.head.send_if_modified(|known| {
            let moved = head.position() > *known;
            *known = head.position().max(*known);
            moved
        });
    }
}

/// The mark before the first entry of a log.
pub(crate) fn start_of(identity: LogIdentity) -> Mark {
    Mark {
        token: Token { epoch: identity.epoch, position: Position::START, fingerprint: identity.fingerprint },
        recorded_at: Timestamp::EPOCH,
    }
}
