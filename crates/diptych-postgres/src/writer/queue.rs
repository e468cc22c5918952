//! What waits for the writer: commands up to a limit, and whoever wants it to look at the log. Knows nothing
//! of SQL.

use super::command::Prepared;
use super::intake::IntakeJob;
use crate::fault::closed;
use diptych_command::{CommitError, Committed, TakenIn};
use diptych_core::Fault;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// When a caller that was turned away may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often the writer lets others run, while callers of its last group may come back.
const YIELDS_MAX: usize = 32;

/// For how many commands at most they are waited for. Beyond it, one sync less is little beside the commands'
/// own work, and it is better that callers work while PostgreSQL does.
const EXPECTED_MAX: usize = 64;

/// What became of one command.
pub(super) type Answer = Result<Committed, CommitError>;

/// Where one who waits for the log to be looked at is told.
pub(super) type Looked = oneshot::Sender<Result<(), Fault>>;

/// What comes from elsewhere, and where whoever brought it is told.
pub(super) type Bringing = (IntakeJob, oneshot::Sender<Result<TakenIn, Fault>>);

/// The queue before the writer.
#[derive(Default)]
pub(super) struct Queue {
    held: Mutex<Held>,
    arrived: Notify,
}

#[derive(Default)]
struct Held {
    commands: VecDeque<(Prepared, oneshot::Sender<Answer>)>,
    intakes: Vec<Bringing>,
    looks: Vec<Looked>,
    closed: bool,
}

/// What the writer takes at once.
pub(super) struct Batch {
    pub(super) commands: Vec<(Prepared, oneshot::Sender<Answer>)>,
    pub(super) intakes: Vec<Bringing>,
    pub(super) looks: Vec<Looked>,
}

impl Queue {
    /// Lines up a command.
    pub(super) fn push(
        &self,
        command: Prepared,
        commands_max: usize,
    ) -> Result<oneshot::Receiver<Answer>, CommitError> {
        let (reply, answer) = oneshot::channel();
        let mut held = self.lock();
        if held.closed {
            return Err(CommitError::Fault(closed()));
        }
        if held.commands.len() >= commands_max {
            return Err(CommitError::Overloaded { retry_after: RETRY_AFTER });
        }
        held.commands.push_back((command, reply));
        drop(held);
        self.arrived.notify_one();
        Ok(answer)
    }

    /// Asks the writer to look at the log.
    pub(super) fn look(&self) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
        let (reply, answer) = oneshot::channel();
        let mut held = self.lock();
        if held.closed {
            return Err(closed());
        }
        held.looks.push(reply);
        drop(held);
        self.arrived.notify_one();
        Ok(answer)
    }

    /// Lines up what comes from elsewhere.
    pub(super) fn take_in(&self, job: IntakeJob) -> Result<oneshot::Receiver<Result<TakenIn, Fault>>, Fault> {
        let (reply, answer) = oneshot::channel();
        let mut held = self.lock();
        if held.closed {
            return Err(closed());
        }
        held.intakes.push((job, reply));
        drop(held);
        self.arrived.notify_one();
        Ok(answer)
    }

    /// Takes nothing more; what waits is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Lets go of everything that waits: the writer is gone.
    pub(super) fn abandon(&self) {
        let mut held = self.lock();
        held.closed = true;
        held.commands.clear();
        held.intakes.clear();
        held.looks.clear();
    }

    /// Waits for work; none once the queue is closed and empty. `expected` callers had an answer just now
    /// and may come back at once: a group commit is worth a moment for them.
    pub(super) async fn take(&self, commands_max: usize, expected: usize) -> Option<Batch> {
        loop {
            let waiting = {
                let held = self.lock();
                if held.closed && held.commands.is_empty() && held.intakes.is_empty() && held.looks.is_empty()
                {
                    return None;
                }
                (held.commands.len(), held.looks.len() + held.intakes.len())
            };
            if waiting != (0, 0) {
                break;
            }
            self.arrived.notified().await;
        }
        for _ in 0..YIELDS_MAX {
            if self.lock().commands.len() >= expected.min(commands_max).min(EXPECTED_MAX) {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut held = self.lock();
        let count = held.commands.len().min(commands_max);
        let commands = held.commands.drain(..count).collect();
        let looks = std::mem::take(&mut held.looks);
        let intakes = std::mem::take(&mut held.intakes);
        Some(Batch { commands, intakes, looks })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
