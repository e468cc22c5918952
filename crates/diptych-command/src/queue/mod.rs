//! The queue: commands that were taken and are run later. The port to where they wait, and what stands there.
//!
//! Accepting one is in `accept`, running them in `workers`, what follows an outcome in `decision`. Absent
//! here, on purpose: any order between streams, and any effect of its own: a queued command changes a
//! stream as every other does, through the ledger, under its own id.

mod accept;
mod decision;
mod metrics;
mod signal;
mod workers;

pub use accept::{Accepted, QueuePanel};
pub use decision::{After, Attempt, after, retry_pause};
pub use metrics::QueueMetrics;
pub use signal::{QueueChanges, QueueSignal};
pub use workers::{QueueWorkers, QueueWorkersParts};

use crate::{InputHash, RawCommand};
use diptych_core::{
    Actor, BoxFuture, Category, CausationId, Claims, Code, CommandId, CorrelationId, ExpectedVersion, Fault,
    Principal, StreamKey, StreamRef, Tenant, Timestamp, Token, Version,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The limits of the queue, each with what happens beyond it.
#[derive(Clone, Debug)]
pub struct QueueLimits {
    /// How many commands may be unfinished, over all processes; one more is refused (DP0047).
    pub queue_commands_max: u64,
    /// How many commands one process runs at once; others wait.
    pub queue_workers_max: usize,
    /// How long a claim holds without a sign of life; then another process takes the command over.
    pub lease: Duration,
    /// How often a command is begun; one that then still meets a fault has failed.
    pub attempts_max: u32,
    /// The bound of the first pause before another attempt; it doubles, and the pause is random below it.
    pub retry_pause: Duration,
    /// The longest bound of such a pause.
    pub retry_pause_max: Duration,
    /// How often a process looks for what others have accepted or let go of.
    pub poll: Duration,
    /// How long a stopping process lets running commands end before it hands them back.
    pub stop_wait_max: Duration,
    /// How long the row of a finished command is kept; afterwards the audit tells what became of it.
    pub command_retention: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            queue_commands_max: 10_000,
            queue_workers_max: 8,
            lease: Duration::from_secs(10),
            attempts_max: 16,
            retry_pause: Duration::from_millis(200),
            retry_pause_max: Duration::from_secs(60),
            poll: Duration::from_millis(500),
            stop_wait_max: Duration::from_secs(5),
            command_retention: Duration::from_secs(24 * 3_600),
        }
    }
}

/// A command as it waits: everything that it takes to run it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueuedCommand {
    /// Its identity within its tenant: the key of the ledger, too.
    pub id: CommandId,
    /// The stream it is for, with the tenant.
    pub stream: StreamRef,
    /// Its name and body.
    pub command: RawCommand,
    /// Of everything that it asks.
    pub hash: InputHash,
    /// Who asked.
    pub actor: Actor,
    /// What was known of who asked, when the command was accepted: it runs under these claims, however late.
    pub claims: Arc<Claims>,
    /// What it insists on.
    pub expected: ExpectedVersion,
    /// What ties the whole conversation.
    pub correlation: Option<CorrelationId>,
    /// What directly caused it.
    pub causation: Option<CausationId>,
    /// When it was given, by the service's clock: the time that it is decided under, however late.
    pub occurred_at: Timestamp,
}

impl QueuedCommand {
    /// Its identity.
    #[must_use]
    pub fn reference(&self) -> CommandRef {
        CommandRef { tenant: self.stream.tenant.clone(), id: self.id.clone() }
    }

    /// On whose behalf it runs.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let Self { stream, actor, claims, .. } = self;
        Principal { tenant: stream.tenant.clone(), actor: actor.clone(), claims: Arc::clone(claims) }
    }
}

/// A command's identity: its id and the tenant that it belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommandRef {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its id within the tenant.
    pub id: CommandId,
}

/// The process that holds a claim, by a name that no other has.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Holder(String);

impl Holder {
    /// Names a process.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The number of a claim on one command. A store refuses whoever comes with an older one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClaimNumber(pub u64);

/// The right to run one command, until its lease is over and somebody else takes it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Claim {
    /// Which command.
    pub command: CommandRef,
    /// Which claim on it.
    pub number: ClaimNumber,
}

/// A command that was claimed to be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimedCommand {
    /// What to run.
    pub command: QueuedCommand,
    /// Under which claim.
    pub number: ClaimNumber,
    /// How often it has been begun, this time included.
    pub attempts: u32,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

impl ClaimedCommand {
    /// The claim.
    #[must_use]
    pub fn claim(&self) -> Claim {
        Claim { command: self.command.reference(), number: self.number }
    }
}

/// Why a command did not succeed, in words that may be shown to whoever asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// The code with a page of its own.
    pub code: Code,
    /// The sentence.
    pub message: String,
}

/// How a queued command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Its events are in the log, as the ledger says.
    Succeeded {
        /// The stream's version after it.
        version: Version,
        /// The log's position after it.
        token: Token,
    },
    /// The domain said no, as the ledger says.
    Rejected {
        /// The rejection's name.
        name: String,
        /// Its data, JSON text.
        data: String,
    },
    /// It was refused, or met faults until there were no attempts left. It left no events.
    Failed(Trouble),
}

/// Where a queued command stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QueueState {
    /// It waits for a worker, or for its next attempt.
    Accepted,
    /// A process has claimed it.
    Running,
    /// It is over.
    Ended(Ending),
}

/// The word for where a queued command stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QueueStatus {
    /// It waits.
    Accepted,
    /// It is being run.
    Running,
    /// It was done.
    Succeeded,
    /// The domain said no.
    Rejected,
    /// It could not be done.
    Failed,
}

impl QueueStatus {
    /// Every one, in the order of their stored numbers.
    pub const ALL: [Self; 5] = [Self::Accepted, Self::Running, Self::Succeeded, Self::Rejected, Self::Failed];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }

    /// The number that stores keep.
    #[must_use]
    pub fn number(self) -> i16 {
        self as i16
    }

    /// The status of a stored number.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.number() == number)
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Accepted | Self::Running)
    }
}

impl fmt::Display for QueueStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl QueueState {
    /// The word for it.
    #[must_use]
    pub fn status(&self) -> QueueStatus {
        match self {
            Self::Accepted => QueueStatus::Accepted,
            Self::Running => QueueStatus::Running,
            Self::Ended(Ending::Succeeded { .. }) => QueueStatus::Succeeded,
            Self::Ended(Ending::Rejected { .. }) => QueueStatus::Rejected,
            Self::Ended(Ending::Failed(_)) => QueueStatus::Failed,
        }
    }
}

/// A row of the queue. Times are the store's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueEntry {
    /// What was asked.
    pub command: QueuedCommand,
    /// Where it stands.
    pub state: QueueState,
    /// How often it has been begun.
    pub attempts: u32,
    /// How often its state has changed, counted from 1.
    pub changes: u64,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it was last begun.
    pub started_at: Option<Timestamp>,
    /// Before when it is not begun again; only while it waits after an attempt.
    pub next_attempt_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Who runs it.
    pub holder: Option<Holder>,
    /// What its last attempt met, while it waits for the next.
    pub trouble: Option<Trouble>,
}

impl QueueEntry {
    /// The word for where it stands.
    #[must_use]
    pub fn status(&self) -> QueueStatus {
        self.state.status()
    }
}

/// What taking a command did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Enqueued {
    /// It stands in the queue now, durably.
    New(QueueEntry),
    /// It stood there before: the same id, asking for the same.
    Known(QueueEntry),
}

/// Why a command was not taken. But for `Indeterminate` nothing of it is in the queue.
#[derive(Debug)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The id belongs to a queued command that asks for something else.
    KeyReused,
    /// As many commands are unfinished as may be.
    Full,
    /// The connection was lost while committing: the same id tells.
    Indeterminate,
    /// Infrastructure.
    Fault(Fault),
}

/// Why something could not be written under a claim.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClaimError {
    /// The lease was lost: somebody else has claimed the command since, or it has ended.
    Fenced,
    /// Infrastructure.
    Fault(Fault),
}

impl From<Fault> for ClaimError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What an operator's wish to run a failed command again did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Revived {
    /// It waits again, behind everything that was accepted meanwhile, with all its attempts.
    Accepted,
    /// It has not failed, so that there is nothing to do again.
    NotFailed(QueueStatus),
    /// The queue does not hold it.
    Unknown,
}

/// What the queue holds, over all tenants.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct QueueCounts {
    /// How many commands wait.
    pub accepted: u64,
    /// How many are being run.
    pub running: u64,
    /// How long the oldest unfinished one has been there, in seconds; 0 when there is none.
    pub oldest_seconds: f64,
}

/// Where queued commands wait. All times are the store's, over which processes agree.
///
/// INVARIANT: of the unfinished commands of one stream only the one that was accepted first can be claimed,
/// and it has one holder at a time; whoever comes with an older claim changes nothing.
pub trait CommandQueue: Send + Sync + 'static {
    /// Takes a command durably, unless `commands_max` are unfinished or its id is there.
    fn enqueue(
        &self,
        command: QueuedCommand,
        commands_max: u64,
    ) -> BoxFuture<'_, Result<Enqueued, EnqueueError>>;

    /// Claims what may be run now, the oldest first, at most so many; each of a stream of its own.
    fn claim<'a>(
        &'a self,
        holder: &'a Holder,
        lasting: Duration,
        commands_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ClaimedCommand>, Fault>>;

    /// Lets claims last longer from now. Answers those that still hold, in any order.
    fn prolong<'a>(
        &'a self,
        claims: &'a [Claim],
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claim>, Fault>>;

    /// Ends a claimed command.
    fn finish<'a>(&'a self, claim: &'a Claim, ending: Ending) -> BoxFuture<'a, Result<(), ClaimError>>;

    /// Lets a claimed command wait for another attempt, which nobody begins before `pause` is over.
    fn retry<'a>(
        &'a self,
        claim: &'a Claim,
        trouble: Trouble,
        pause: Duration,
    ) -> BoxFuture<'a, Result<(), ClaimError>>;

    /// Gives claimed commands back to whoever comes next, as if they had not been begun. Claims that were
    /// lost are passed over.
    fn release<'a>(&'a self, claims: &'a [Claim]) -> BoxFuture<'a, Result<(), Fault>>;

    /// One command; none when the queue does not hold it.
    fn entry<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Option<QueueEntry>, Fault>>;

    /// What is unfinished for any of these streams of a category, in the order of acceptance, at most so
    /// many.
    fn unfinished<'a>(
        &'a self,
        tenant: &'a Tenant,
        category: &'a Category,
        keys: &'a [StreamKey],
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<QueueEntry>, Fault>>;

    /// A tenant's commands, the latest first, at most so many; with a status, only those.
    fn list<'a>(
        &'a self,
        tenant: &'a Tenant,
        status: Option<QueueStatus>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<QueueEntry>, Fault>>;

    /// Lets a failed command run again.
    fn revive<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Revived, Fault>>;

    /// Forgets commands that ended longer ago than `kept_for`, the oldest first, at most so many. Answers how
    /// many.
    fn sweep(&self, kept_for: Duration, rows_max: usize) -> BoxFuture<'_, Result<usize, Fault>>;

    /// What there is to do.
    fn counts(&self) -> BoxFuture<'_, Result<QueueCounts, Fault>>;

    /// Wakes when this process changes something in the queue. What others change is found by looking.
    fn changes(&self) -> QueueChanges;
}
