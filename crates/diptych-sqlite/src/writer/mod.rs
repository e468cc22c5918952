//! The one thread that appends. It takes every command that waits, commits them together, and answers them
//! all.

mod answers;
mod budget;
mod command;
mod group;
mod inline;
mod intake;
mod intern;
mod queue;
mod statements;
mod streams;
mod switch;

use crate::connection::open_log;
use crate::fault::OrFault;
use crate::log::schema::LogIdentity;
use crate::shared::Shared;
use answers::Caller;
use command::Prepared;
use diptych_command::{Commit, CommitError, Committed};
use diptych_core::{Code, Fault, Timestamp};
use diptych_query::Mark;
use intern::Interned;
use queue::{Batch, Queue};
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use streams::Streams;
use tokio::sync::oneshot;

pub(crate) use inline::{InlineGroup, inline_groups};
pub(crate) use intake::watermark;
pub(crate) use switch::{Standstill, Switch};

/// The store's way to its writer.
pub(crate) struct WriterHandle {
    queue: Arc<Queue>,
    commands_max: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The thread's own: the connection that writes `log.db`, and what is known of the log between two groups.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: State,
    pub(crate) inline: Vec<InlineGroup>,
}

/// What the writer remembers. All of it is checked against the log inside each transaction, or made anew.
pub(crate) struct State {
    pub(crate) identity: LogIdentity,
    pub(crate) head: Mark,
    /// The latest time that the ledger or the log holds.
    pub(crate) latest: Timestamp,
    /// The last row of the audit.
    pub(crate) last_command: i64,
    /// How often builds had changed when the inline groups last looked for theirs.
    pub(crate) builds_changed: Option<i64>,
    pub(crate) names: Interned,
    pub(crate) streams: Streams,
    pub(crate) over_budget: budget::OverBudget,
}

impl WriterHandle {
    /// Starts the thread over an opened log.
    pub(crate) fn start(
        connection: Connection,
        shared: Arc<Shared>,
        inline: Vec<InlineGroup>,
    ) -> Result<Self, Fault> {
        let queue = Arc::new(Queue::default());
        let commands_max = shared.limits.queue_commands_max;
        let mut writer = Writer { state: State::new(&shared), connection, shared, inline };
        writer.refresh()?;
        let taking = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("diptych-writer".to_owned())
            .spawn(move || writer.serve(&taking))
            .or_fault()?;
        Ok(Self { queue, commands_max, thread: Mutex::new(Some(thread)) })
    }

    /// Lines a command up and waits for what became of it.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let answer = self.queue.push(Prepared::of(commit), self.commands_max)?;
        // The writer went away with the command in hand: only the ledger knows.
        answer.await.unwrap_or(Err(CommitError::Indeterminate))
    }

    /// Has the writer do something between two groups.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        self.queue.push_job(Box::new(move |writer| {
            // Whoever asked may have gone.
            let _ = reply.send(job(writer));
        }))?;
        answer.await.map_err(|_| Fault::transient(Code::Internal, "the writer could not finish"))
    }

    /// Has the writer do something, and does not wait.
    pub(crate) fn nudge(&self, job: impl FnOnce(&mut Writer) + Send + 'static) -> Result<(), Fault> {
        self.queue.push_job(Box::new(job))
    }

    /// Accepts nothing more; what waits is done first.
    pub(crate) fn close(&self) {
        self.queue.close();
    }

    /// Waits until the thread has finished. Blocks.
    pub(crate) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic has been answered to every caller already.
            let _ = thread.join();
        }
    }
}

impl Drop for WriterHandle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl State {
    fn new(shared: &Shared) -> Self {
        Self {
            identity: shared.identity,
            head: shared.start(),
            latest: Timestamp::EPOCH,
            last_command: 0,
            builds_changed: None,
            names: Interned::default(),
            streams: Streams::new(shared.limits.stream_names_max),
            over_budget: budget::OverBudget::default(),
        }
    }
}

/// Tells those who wait that nobody will come, if the thread dies.
struct Watchman<'a>(&'a Queue);

impl Drop for Watchman<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Writer {
    fn serve(mut self, queue: &Queue) {
        let _watchman = Watchman(queue);
        let limits = self.shared.limits.clone();
        let mut expected = 0;
        while let Some(batch) = queue.take(limits.group_commands_max, expected, limits.group_wait_max) {
            let Batch { commands, jobs } = batch;
            expected = commands.len();
            if !commands.is_empty() {
                self.serve_group(commands);
            }
            for job in jobs {
                if catch_unwind(AssertUnwindSafe(|| job(&mut self))).is_err() {
                    self.recover();
                }
            }
        }
        // Readers go first: the last connection to a file writes its WAL back, and a reader could not.
        self.shared.readers.close();
    }

    /// Commits a group and answers every caller, whatever happens.
    fn serve_group(&mut self, commands: Vec<(Prepared, Caller)>) {
        let (commands, callers): (Vec<Prepared>, Vec<Caller>) = commands.into_iter().unzip();
        let asked: Vec<_> = commands
            .iter()
            .map(|Prepared { asked, .. }| (asked.stream.tenant.clone(), asked.header.id.clone()))
            .collect();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.commit_group(commands)));
        let results = match outcome {
            Ok(Ok(results)) => results,
            Ok(Err(failure)) => {
                self.recover();
                asked.iter().map(|(tenant, id)| Err(self.after_failure(&failure, tenant, id))).collect()
            }
            Err(_) => {
                self.recover();
                let fault = || Fault::transient(Code::Internal, "the writer met a defect and rolled back");
                asked.iter().map(|_| Err(CommitError::Fault(fault()))).collect()
            }
        };
        answers::give(callers, results);
    }

    /// Looks where the log stands, brings the inline groups along, and tells everyone who waits.
    pub(crate) fn refresh(&mut self) -> Result<(), Fault> {
        match self.commit_group(Vec::new()) {
            Ok(_) => Ok(()),
            Err(failure) => {
                self.recover();
                Err(failure.fault())
            }
        }
    }

    /// Makes the connection usable again and forgets what was believed of the log.
    pub(crate) fn recover(&mut self) {
        if !self.connection.is_autocommit() {
            let rolled_back = self.connection.execute_batch("ROLLBACK");
            if rolled_back.is_err() {
                let path = self.shared.log_path();
                match open_log(&path, self.shared.durability, &self.shared.limits) {
                    Ok(connection) => self.connection = connection,
                    Err(error) => tracing::error!(%error, "the writer cannot open the log again"),
                }
            }
        }
        self.state = State::new(&self.shared);
    }
}
