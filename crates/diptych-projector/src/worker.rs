//! The loop of one worker: it steps until it has caught up, then sleeps until the writer wakes it. Knows
//! nothing of how it came by its partition.

use crate::follower::{Follower, Step};
use diptych_core::Position;
use diptych_query::{Lease, Partition, ProgressEntry};
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, watch};

/// One partition of a group with its follower; the lock keeps a worker and a drain from folding the same
/// facts.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) partition: Partition,
    pub(crate) entry: Arc<ProgressEntry>,
    pub(crate) follower: Arc<Mutex<Follower>>,
    /// Wakes the worker when there is something to do that the log does not tell: a reset, a mended model.
    pub(crate) nudge: Arc<Notify>,
}

/// Why a worker ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// It was told to.
    Told,
    /// Its partition is somebody else's.
    Lost,
    /// A fact stopped the partition; it stands here.
    Stopped(Position),
}

/// Works under a lease until it is told to end, the lease is lost, or a fact stops the partition.
pub(crate) async fn work_under(
    part: Part,
    lease: Lease,
    head: watch::Receiver<Position>,
    stop: watch::Receiver<bool>,
) -> Ended {
    part.follower.lock().await.set_lease(Some(lease));
    let ended = work(&part, head, stop, AtStop::End).await;
    part.entry.set_followed_in(part.partition, false);
    // What is not told in time is found out by the fence.
    part.follower.lock().await.set_lease(None);
    ended
}

/// Works where the writer itself keeps others out, until told to end. Only an operator, or a restart with
/// other code, moves a stopped model.
pub(crate) async fn work_inline(part: Part, head: watch::Receiver<Position>, stop: watch::Receiver<bool>) {
    part.entry.set_followed_in(part.partition, true);
    work(&part, head, stop, AtStop::Wait).await;
    part.entry.set_followed_in(part.partition, false);
}

/// What a worker does when a fact stops the partition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtStop {
    End,
    Wait,
}

async fn work(
    part: &Part,
    mut head: watch::Receiver<Position>,
    mut stop: watch::Receiver<bool>,
    at_stop: AtStop,
) -> Ended {
    while !*stop.borrow() {
        head.borrow_and_update();
        if at_stop == AtStop::Wait && part.entry.serving().waits_for_comparison() {
            // The steward moves it, as far as it can be compared with the build that answers.
            let mut moved = part.entry.watch();
            let still = part.entry.serving().waits_for_comparison();
            tokio::select! {
                _ = moved.changed(), if still => {}
                () = std::future::ready(()), if !still => {}
                _ = stop.changed() => {}
            }
            continue;
        }
        let (step, position) = {
            let mut follower = part.follower.lock().await;
            (follower.step().await, follower.position())
        };
        match step {
            Step::Advanced => {}
            Step::CaughtUp => {
                tokio::select! {
                    changed = head.changed() => if changed.is_err() { return Ended::Told },
                    // Somebody may have moved the checkpoint.
                    () = part.nudge.notified() => part.follower.lock().await.forget(),
                    _ = stop.changed() => {}
                }
            }
            Step::Retry(pause) => {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stop.changed() => {}
                }
            }
            Step::Stopped if at_stop == AtStop::End => return Ended::Stopped(position),
            Step::Stopped => {
                tokio::select! {
                    () = part.nudge.notified() => {}
                    _ = stop.changed() => {}
                }
            }
            Step::Lost => return Ended::Lost,
        }
    }
    Ended::Told
}
