//! What waits for the writer: commands up to a limit, and jobs. Knows nothing of SQL.

use super::Writer;
use super::answers::{Answer, Caller};
use super::command::Prepared;
use crate::pool::closed;
use diptych_command::CommitError;
use diptych_core::Fault;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Something rare that the writer does between two groups of commands.
pub(crate) type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// When a caller that was turned away may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The queue before the writer.
#[derive(Default)]
pub(crate) struct Queue {
    held: Mutex<Held>,
    arrived: Condvar,
}

#[derive(Default)]
struct Held {
    commands: VecDeque<(Prepared, Caller)>,
    jobs: VecDeque<Job>,
    /// How many commands the writer waits for; it is not woken for fewer.
    wanted: usize,
    closed: bool,
}

/// What the writer takes at once.
pub(crate) struct Batch {
    pub(crate) commands: Vec<(Prepared, Caller)>,
    pub(crate) jobs: VecDeque<Job>,
}

impl Queue {
    /// Lines up a command.
    pub(crate) fn push(
        &self,
        command: Prepared,
        commands_max: usize,
    ) -> Result<oneshot::Receiver<Answer>, CommitError> {
        let (caller, answer) = Caller::here();
        let mut held = self.lock();
        if held.closed {
            return Err(CommitError::Fault(closed()));
        }
        if held.commands.len() >= commands_max {
            let retry_after = RETRY_AFTER;
            return Err(CommitError::Overloaded { retry_after });
        }
        held.commands.push_back((command, caller));
        let wake = held.commands.len() == held.wanted.max(1);
        drop(held);
        if wake {
            self.arrived.notify_one();
        }
        Ok(answer)
    }

    /// Lines up a job.
    pub(crate) fn push_job(&self, job: Job) -> Result<(), Fault> {
        let mut held = self.lock();
        if held.closed {
            return Err(closed());
        }
        held.jobs.push_back(job);
        drop(held);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes nothing more; what waits is still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Lets go of everything that waits: the writer is gone.
    pub(crate) fn abandon(&self) {
        let mut held = self.lock();
        held.closed = true;
        held.commands.clear();
        held.jobs.clear();
    }

    /// Waits for work; none once the queue is closed and empty. `expected` callers had an answer just now
    /// and may come back at once: a group commit is worth a short wait for half of them, and the other half
    /// gets ready while that one is committed.
    pub(crate) fn take(&self, commands_max: usize, expected: usize, wait_max: Duration) -> Option<Batch> {
        let mut held = self.lock();
        held.wanted = 1;
        while held.commands.is_empty() && held.jobs.is_empty() {
            if held.closed {
                return None;
            }
            held = self.arrived.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        let wanted = expected.div_ceil(2).min(commands_max);
        let deadline = Instant::now() + wait_max;
        while held.commands.len() < wanted && held.jobs.is_empty() && !held.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            held.wanted = wanted;
            let waited = self.arrived.wait_timeout(held, left);
            held = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        held.wanted = 1;
        let count = held.commands.len().min(commands_max);
        let commands = held.commands.drain(..count).collect();
        let jobs = std::mem::take(&mut held.jobs);
        Some(Batch { commands, jobs })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
