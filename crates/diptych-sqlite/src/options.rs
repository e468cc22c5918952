//! Where a store lives and how far it may go. Values only.

use diptych_core::Clock;
use diptych_query::{Group, Progress};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What an acknowledged command survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// A loss of power: every group of commands waits for the disk.
    #[default]
    Full,
    /// The death of the process. A loss of power may take the last commands, never tear one apart.
    Normal,
}

/// How a store is opened.
#[derive(Clone)]
pub struct SqliteOptions {
    /// The directory that holds `log.db`, `models/` and `page.key`.
    pub directory: PathBuf,
    /// What an acknowledged command survives.
    pub durability: Durability,
    /// The groups that fold inside the transaction of a command.
    pub inline: Vec<Arc<Group>>,
    /// How far groups have come in this process; the store notes it for inline groups.
    pub progress: Arc<Progress>,
    /// The present time.
    pub clock: Arc<dyn Clock>,
    /// The limits.
    pub limits: SqliteLimits,
}

impl SqliteOptions {
    /// A store in a directory, with the defaults.
    pub fn at(directory: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            directory: directory.into(),
            durability: Durability::default(),
            inline: Vec::new(),
            progress: Arc::default(),
            clock,
            limits: SqliteLimits::default(),
        }
    }
}

/// The limits of a store, each with what happens beyond it.
#[derive(Clone, Debug)]
pub struct SqliteLimits {
    /// How many commands may wait for the writer; one more is refused as overloaded.
    pub queue_commands_max: usize,
    /// How many commands are committed together; the rest waits for the next group.
    pub group_commands_max: usize,
    /// How long the writer waits until half of the last group's callers have come back, before it commits a
    /// smaller group.
    pub group_wait_max: Duration,
    /// How large `log.db` may become, in bytes, its WAL not counted; a command beyond it fails as on a full
    /// disk. None: as large as the disk allows.
    pub log_bytes_max: Option<u64>,
    /// How many missing facts a command folds into an inline group; a group further behind is left to a
    /// worker.
    pub inline_catch_up_events_max: u64,
    /// How long the inline groups may take for one command; beyond it a warning is written.
    pub inline_budget: Duration,
    /// How many positions back a tombstone is kept; facts delivered again are expected to be younger.
    pub tombstone_window_events: u64,
    /// How many moves of checkpoints are remembered in one file; older ones are forgotten.
    pub checkpoint_history_max: u64,
    /// About how many bytes of rows each read model's file keeps in memory from one transaction to the next,
    /// so that rows that change again and again are not read each time. 0: none.
    pub kept_rows_bytes_max: usize,
    /// How many read-only connections to one file stay open; queries beyond it wait for one.
    pub readers_max: usize,
    /// How many names of streams each connection remembers; beyond it, it starts over.
    pub stream_names_max: usize,
    /// How long a statement waits for another process before it fails.
    pub busy_timeout: Duration,
    /// How often the store looks whether another process has appended.
    pub foreign_poll: Duration,
}

impl Default for SqliteLimits {
    fn default() -> Self {
        Self {
            queue_commands_max: 4_096,
            group_commands_max: 512,
            group_wait_max: Duration::from_micros(200),
            log_bytes_max: None,
            inline_catch_up_events_max: 1_000,
            inline_budget: Duration::from_millis(5),
            tombstone_window_events: 100_000,
            checkpoint_history_max: 10_000,
            kept_rows_bytes_max: 64 * 1024 * 1024,
            readers_max: 8,
            stream_names_max: 200_000,
            busy_timeout: Duration::from_secs(5),
            foreign_poll: Duration::from_millis(100),
        }
    }
}
