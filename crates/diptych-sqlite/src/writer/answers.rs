//! Answers on their way back to the callers of a group. Knows nothing of SQL.
//!
//! Waking a caller from the writer's thread is a system call that often costs the writer its processor, and
//! that for every caller. So a larger group is answered by one task of the callers' own runtime, which wakes
//! them all without leaving it.

use diptych_command::{CommitError, Committed};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

/// From how many callers on a group is answered together: a task costs as much as waking a few of them.
const TOGETHER_MIN: usize = 4;

/// What became of one command.
pub(super) type Answer = Result<Committed, CommitError>;

/// One who waits for what became of a command.
pub(super) struct Caller {
    reply: oneshot::Sender<Answer>,
    /// The caller's runtime, if its threads run by themselves: there a task needs nobody to drive it.
    runtime: Option<Handle>,
}

/// Answers that are given when they are let go, wherever that happens: also where a runtime ends before it
/// has run its tasks.
struct Together(Vec<(oneshot::Sender<Answer>, Answer)>);

impl Caller {
    /// The present caller, with the end at which it waits.
    pub(super) fn here() -> (Self, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        let runs_by_itself = |handle: &Handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread;
        let runtime = Handle::try_current().ok().filter(runs_by_itself);
        (Self { reply, runtime }, answer)
    }
}

/// Answers the callers of a group.
pub(super) fn give(callers: Vec<Caller>, answers: Vec<Answer>) {
    let runtime = callers.first().filter(|_| callers.len() >= TOGETHER_MIN);
    let runtime = runtime.and_then(|first| first.runtime.clone());
    let mut together = Together(Vec::with_capacity(callers.len()));
    for (caller, answer) in callers.into_iter().zip(answers) {
        let ids = (caller.runtime.as_ref().map(Handle::id), runtime.as_ref().map(Handle::id));
        match ids {
            (Some(own), Some(first)) if own == first => together.0.push((caller.reply, answer)),
            _ => send(caller.reply, answer),
        }
    }
    if let Some(runtime) = runtime {
        runtime.spawn(async move { drop(together) });
    }
}

fn send(reply: oneshot::Sender<Answer>, answer: Answer) {
    // A caller that has gone can ask the ledger.
    let _ = reply.send(answer);
}

impl Drop for Together {
    fn drop(&mut self) {
        for (reply, answer) in self.0.drain(..) {
            send(reply, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::{Builder, Runtime};

    fn threads() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    /// Callers in a runtime, and where they wait.
    fn callers(runtime: &Runtime, count: usize) -> (Vec<Caller>, Vec<oneshot::Receiver<Answer>>) {
        runtime.block_on(async { (0..count).map(|_| Caller::here()).unzip() })
    }

    #[track_caller]
    fn check_answered(waiting: Vec<oneshot::Receiver<Answer>>) {
        for answer in waiting {
            assert!(matches!(answer.blocking_recv(), Ok(Err(CommitError::KeyReused))));
        }
    }

    fn answers(count: usize) -> Vec<Answer> {
        (0..count).map(|_| Err(CommitError::KeyReused)).collect()
    }

    #[test]
    fn a_group_of_any_size_is_answered() {
        let runtime = threads();
        for count in [0, 1, TOGETHER_MIN - 1, TOGETHER_MIN, 50] {
            let (asked, waiting) = callers(&runtime, count);
            give(asked, answers(count));
            check_answered(waiting);
        }
    }

    #[test]
    fn callers_of_a_runtime_that_has_ended_are_answered() {
        let runtime = threads();
        let (asked, waiting) = callers(&runtime, 8);
        drop(runtime);
        give(asked, answers(8));
        check_answered(waiting);
    }

    #[test]
    fn callers_of_a_runtime_that_nobody_drives_are_answered() {
        let (driven, still) = (threads(), Builder::new_current_thread().build().unwrap());
        let (mut asked, mut waiting) = callers(&still, 8);
        let (others, others_waiting) = callers(&driven, 8);
        asked.extend(others);
        waiting.extend(others_waiting);
        give(asked, answers(16));
        check_answered(waiting);
    }
}
