//! Where a store lives and how far it may go. Values only.

use diptych_core::Clock;
use diptych_query::{Group, Progress};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The schema of a store that was not told another one.
pub(crate) const SCHEMA: &str = "diptych";

/// How a process learns what others have appended.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Notify {
    /// By `LISTEN` over the store's own URL, which leads to PostgreSQL directly: then the statements of an
    /// append are also prepared once for each connection.
    #[default]
    Direct,
    /// By `LISTEN` over another URL, because the store's own leads through a pooler of connections. Where it
    /// names the same role and database, tables are made over it, too.
    At(String),
    /// By looking once in a while: there is no way past the pooler.
    Poll,
}

/// How a store is opened.
#[derive(Clone)]
pub struct PostgresOptions {
    /// Where commands and migrations go, such as `postgres://service@host/database`. A host that is not this
    /// machine is reached by TLS, unless `sslmode` says otherwise.
    pub url: String,
    /// Where reads go: a role without the privilege to write. None is the same role, in transactions that
    /// PostgreSQL keeps read-only.
    pub reader_url: Option<String>,
    /// How appends of other processes are noticed.
    pub notify: Notify,
    /// Certificates that TLS trusts, a PEM file; none is what the system trusts.
    pub root_certificates: Option<PathBuf>,
    /// The schema that holds the store.
    pub schema: String,
    /// The groups that fold inside the transaction of a command.
    pub inline: Vec<Arc<Group>>,
    /// How far groups have come in this process; the store notes it for inline groups.
    pub progress: Arc<Progress>,
    /// The present time.
    pub clock: Arc<dyn Clock>,
    /// The limits.
    pub limits: PostgresLimits,
}

impl PostgresOptions {
    /// A store in a database, with the defaults.
    pub fn at(url: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            url: url.into(),
            reader_url: None,
            notify: Notify::default(),
            root_certificates: None,
            schema: SCHEMA.to_owned(),
            inline: Vec::new(),
            progress: Arc::default(),
            clock,
            limits: PostgresLimits::default(),
        }
    }
}

/// The limits of a store, each with what happens beyond it.
#[derive(Clone, Debug)]
pub struct PostgresLimits {
    /// How many commands may wait for the writer; one more is refused as overloaded.
    pub queue_commands_max: usize,
    /// How many commands are committed together; the rest waits for the next group.
    pub group_commands_max: usize,
    /// How many missing facts a command folds into an inline group; a group further behind is left to a
    /// worker.
    pub inline_catch_up_events_max: u64,
    /// How long the inline groups may take for one group of commands; beyond it a warning is written.
    pub inline_budget: Duration,
    /// How many positions back a tombstone is kept; facts delivered again are expected to be younger.
    pub tombstone_window_events: u64,
    /// How many moves of a checkpoint are remembered; older ones are forgotten.
    pub checkpoint_history_max: u64,
    /// How many read-only connections stay open; queries beyond it wait for one.
    pub readers_max: usize,
    /// How many connections write rows of read models; folds beyond it wait for one.
    pub writers_max: usize,
    /// How many connections change the queue of commands; changes beyond it wait for one.
    pub queue_connections_max: usize,
    /// How long a read or a fold waits for a connection before it is refused as overloaded.
    pub pool_wait_max: Duration,
    /// How many names of streams a process remembers; beyond it, it starts over.
    pub stream_names_max: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a transaction waits for a lock, such as that of the head, before it fails.
    pub lock_timeout: Duration,
    /// How long a statement of an append or of a fold may take before PostgreSQL ends it.
    pub statement_timeout: Duration,
    /// How long a transaction may stay idle before PostgreSQL ends it, so that a frozen process cannot hold
    /// the head.
    pub idle_transaction_timeout: Duration,
    /// How often other processes are told of appends at most.
    pub notify_interval: Duration,
    /// How often the store looks whether another process has appended, where nothing notifies it.
    pub foreign_poll: Duration,
    /// How often it looks beside notifications, should one be lost.
    pub foreign_check: Duration,
}

impl PostgresLimits {
    /// What a transaction sets for itself that may hold the head: a process that freezes in it is ended by
    /// PostgreSQL.
    pub(crate) fn settings(&self) -> String {
        format!(
            "SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; {}",
            millis(self.lock_timeout),
            millis(self.statement_timeout),
            self.idle_setting()
        )
    }

    /// The same for one that takes as long as it takes, such as one that makes tables.
    pub(crate) fn idle_setting(&self) -> String {
        let idle = millis(self.idle_transaction_timeout);
        format!("SET LOCAL idle_in_transaction_session_timeout = {idle}")
    }
}

/// 0 would be no limit at all.
fn millis(duration: Duration) -> u128 {
    duration.as_millis().max(1)
}

impl Default for PostgresLimits {
    fn default() -> Self {
        Self {
            queue_commands_max: 4_096,
            group_commands_max: 512,
            inline_catch_up_events_max: 1_000,
            inline_budget: Duration::from_millis(50),
            tombstone_window_events: 100_000,
            checkpoint_history_max: 10_000,
            readers_max: 8,
            writers_max: 4,
            queue_connections_max: 4,
            pool_wait_max: Duration::from_secs(5),
            stream_names_max: 200_000,
            connect_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
            idle_transaction_timeout: Duration::from_secs(5),
            notify_interval: Duration::from_millis(2),
            foreign_poll: Duration::from_millis(100),
            foreign_check: Duration::from_secs(5),
        }
    }
}
