//! The one task that appends. It takes every command that waits, commits them together, and answers them all.

mod budget;
mod command;
mod condition;
mod decide;
mod group;
mod intake;
mod intern;
mod known;
mod queue;
mod statements;
mod write;

use crate::connection::{Connector, Opened, Reach};
use crate::fault::damaged;
use crate::ledger;
use crate::models::InlineGroup;
use crate::shared::Shared;
use command::Prepared;
use decide::Decision;
use diptych_command::{Commit, CommitError, Committed, TakenIn};
use diptych_core::{Code, Fault};
use group::{GroupFailure, Remedy};
use intern::Interned;
use known::Known;
use queue::{Answer, Batch, Queue};
use statements::Statements;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use tokio::task::JoinHandle;

pub(crate) use intake::{IntakeJob, Origin, watermark};

/// How often a group is given to PostgreSQL that could not take it for a reason that passes.
const ATTEMPTS_MAX: usize = 3;

/// The store's way to its writer.
pub(crate) struct WriterHandle {
    queue: Arc<Queue>,
    commands_max: usize,
    folds_inline: bool,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// The task's own: the connection that appends, and what is known of the log between two groups.
struct Writer {
    connector: Connector,
    reach: Reach,
    /// None where the last one was lost.
    appending: Option<Appending>,
    shared: Arc<Shared>,
    state: State,
    inline: Vec<InlineGroup>,
    /// What a new connection is told, and what opens each transaction.
    settings: Settings,
}

/// How PostgreSQL is told the limits of an append: once for each connection, or with each transaction where a
/// pooler may give it another connection.
struct Settings {
    connected: Option<String>,
    begin: String,
}

/// The connection that appends, with its statements.
struct Appending {
    connection: Opened,
    statements: Statements,
}

/// What the writer remembers; made anew when a group has failed.
#[derive(Default)]
struct State {
    interned: Interned,
    known: Known,
    over_budget: budget::OverBudget,
}

impl WriterHandle {
    /// Starts the task over an opened log, and has it look where everything stands.
    pub(crate) async fn start(
        connector: Connector,
        reach: Reach,
        shared: Arc<Shared>,
        inline: Vec<InlineGroup>,
    ) -> Result<Self, Fault> {
        let queue = Arc::new(Queue::default());
        let commands_max = shared.limits.queue_commands_max;
        let settings = Settings::of(&shared, reach);
        let (state, folds_inline) = (State::default(), !inline.is_empty());
        let mut writer = Writer { connector, reach, appending: None, shared, state, inline, settings };
        writer.refresh().await?;
        let taking = Arc::clone(&queue);
        let task = tokio::spawn(async move { writer.serve(&taking).await });
        Ok(Self { queue, commands_max, folds_inline, task: Mutex::new(Some(task)) })
    }

    /// Lines a command up and waits for what became of it.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let answer = self.queue.push(Prepared::of(commit), self.commands_max)?;
        // The writer went away with the command in hand: only the ledger knows.
        answer.await.unwrap_or(Err(CommitError::Indeterminate))
    }

    /// Has the writer look at the log: inline groups come along, and those who wait are told.
    pub(crate) async fn refresh(&self) -> Result<(), Fault> {
        let gone = || Fault::transient(Code::Internal, "the writer could not finish");
        self.queue.look()?.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Has the writer take in what comes from elsewhere.
    pub(crate) async fn take_in(&self, job: IntakeJob) -> Result<TakenIn, Fault> {
        let gone = || Fault::transient(Code::Internal, "the writer could not finish");
        self.queue.take_in(job)?.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Whether anything is folded in the transaction that appends.
    pub(crate) fn folds_inline(&self) -> bool {
        self.folds_inline
    }

    /// Accepts nothing more, and waits until what was accepted is done.
    pub(crate) async fn close(&self) {
        self.queue.close();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A panic has been answered to every caller already.
            let _ = task.await;
        }
    }
}

impl Drop for WriterHandle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Tells those who wait that nobody will come, if the task dies.
struct Watchman<'a>(&'a Queue);

impl Drop for Watchman<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Writer {
    async fn serve(mut self, queue: &Queue) {
        let _watchman = Watchman(queue);
        let commands_max = self.shared.limits.group_commands_max.max(1);
        let mut expected = 0;
        while let Some(Batch { commands, intakes, looks }) = queue.take(commands_max, expected).await {
            expected = commands.len();
            if !commands.is_empty() {
                let (commands, callers): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
                let answers = self.serve_group(&commands).await;
                for (caller, answer) in callers.into_iter().zip(answers) {
                    // A caller that has gone can ask the ledger.
                    let _ = caller.send(answer);
                }
            }
            for (job, reply) in intakes {
                // Whoever brought them asks again, or has gone.
                let _ = reply.send(self.serve_intake(&job).await);
            }
            for look in looks {
                // Whoever asked may have gone.
                let _ = look.send(self.refresh().await);
            }
        }
    }

    /// Looks where the log stands, brings the inline groups along, and tells everyone who waits.
    async fn refresh(&mut self) -> Result<(), Fault> {
        self.attempt(&[]).await.map(drop).map_err(|failure| failure.fault)
    }

    /// Commits a group; where one of its commands is to blame for a failure, each of them by itself.
    async fn serve_group(&mut self, commands: &[Prepared]) -> Vec<Answer> {
        match self.attempt(commands).await {
            Ok(decisions) => self.answers(commands, decisions).await,
            Err(failure) if failure.remedy == Remedy::Alone && commands.len() > 1 => {
                let mut answers = Vec::with_capacity(commands.len());
                for command in commands {
                    let alone = std::slice::from_ref(command);
                    answers.extend(match self.attempt(alone).await {
                        Ok(decisions) => self.answers(alone, decisions).await,
                        Err(failure) => vec![Err(failure.tell())],
                    });
                }
                answers
            }
            Err(failure) => commands.iter().map(|_| Err(failure.tell())).collect(),
        }
    }

    /// Gives a group to PostgreSQL, again where the cause of a failure may have passed.
    async fn attempt(&mut self, commands: &[Prepared]) -> Result<Vec<Decision>, GroupFailure> {
        let mut attempts = 1;
        loop {
            match self.attempt_once(commands).await {
                Err(failure) if failure.remedy == Remedy::Again && attempts < ATTEMPTS_MAX => {
                    tracing::debug!(error = %failure.fault, attempts, "a group of commands is tried again");
                    attempts += 1;
                }
                done => return done,
            }
        }
    }

    async fn attempt_once(&mut self, commands: &[Prepared]) -> Result<Vec<Decision>, GroupFailure> {
        let appending = self.appending().await?;
        let done = caught(self.commit_group(&appending, commands)).await;
        let done = done.unwrap_or_else(|| Err(GroupFailure::defect()));
        self.settle(appending, done.is_ok()).await;
        done
    }

    async fn connect(&self) -> Result<Appending, GroupFailure> {
        let connection = self.connector.open().await?;
        if let Some(settings) = &self.settings.connected {
            connection.batch_execute(settings).await?;
        }
        let statements = Statements::of(&connection, &self.shared.schema, self.reach).await?;
        Ok(Appending { connection, statements })
    }

    /// What to tell the callers of a committed group.
    async fn answers(&self, commands: &[Prepared], decisions: Vec<Decision>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(commands.len());
        for (command, decision) in commands.iter().zip(decisions) {
            answers.push(match decision {
                Decision::Done(done) => Ok(*done),
                Decision::Conflict(conflict) => Err(CommitError::Conflict(conflict)),
                Decision::KeyReused => Err(CommitError::KeyReused),
                // A final row never changes, so that it is read when the head is free again.
                Decision::Replayed => self.replayed(command).await.map_err(CommitError::Fault),
            });
        }
        answers
    }

    async fn replayed(&self, command: &Prepared) -> Result<Committed, Fault> {
        let (tenant, id) = (&command.stream.tenant, &command.header.id);
        let record = match &self.appending {
            Some(held) => ledger::claimed(&held.connection, &self.shared, tenant, id).await?,
            None => ledger::claimed(&*self.shared.reader().await?, &self.shared, tenant, id).await?,
        };
        let record = record.ok_or_else(|| damaged(format!("key `{id}` expired while it was answered")))?;
        Ok(Committed { record, events: Vec::new(), replayed: true })
    }
}

impl GroupFailure {
    /// What each caller is told: they share the cause.
    fn tell(&self) -> CommitError {
        if self.remedy == Remedy::Unknown {
            return CommitError::Indeterminate;
        }
        let fault = &self.fault;
        let shared = if fault.is_transient() {
            Fault::transient(fault.code(), fault.message())
        } else {
            Fault::permanent(fault.code(), fault.message())
        };
        CommitError::Fault(match std::error::Error::source(fault) {
            Some(source) => shared.because(source.to_string()),
            None => shared,
        })
    }
}

/// Plans are made once and go by indexes, whatever the planner believes of tables without statistics.
/// Where there is no index, as on the one row of the head, the price of a plan that had to do without would
/// call the compiler.
const PLANS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off";

impl Settings {
    /// The limits: a process that freezes in the middle is ended by PostgreSQL, so that it cannot hold the
    /// head.
    fn of(shared: &Shared, reach: Reach) -> Self {
        let limits = shared.limits.settings();
        match reach {
            Reach::Direct => {
                let connected = format!("{PLANS}; {}", limits.replace("SET LOCAL", "SET"));
                Self { connected: Some(connected), begin: "BEGIN".to_owned() }
            }
            Reach::Pooled => Self { connected: None, begin: format!("BEGIN; {limits}") },
        }
    }
}

/// Runs a future to its end; none if it panics, which only user code inside a fold can make it do.
async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(done)) => Poll::Ready(Some(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}
