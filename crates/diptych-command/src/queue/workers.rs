//! The workers of one process: they claim queued commands, run them through the left panel, and write down
//! what came of each. Whatever dies on the way, the ledger keeps a command from being done twice.

use super::{
    After, Attempt, Claim, ClaimError, ClaimedCommand, CommandQueue, Ending, Holder, QueueLimits,
    QueueMetrics, Trouble, after, retry_pause,
};
use crate::{Commands, HandleError, RawError, RawReceipt};
use diptych_core::{Code, Fault};
use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How often what came of a command is written down before the lease is left to run out.
const WRITES_MAX: u32 = 4;

/// The pause before it is written down again.
const WRITE_PAUSE: Duration = Duration::from_millis(100);

/// What workers are made of.
pub struct QueueWorkersParts {
    /// The left panel.
    pub commands: Arc<Commands>,
    /// Where commands wait.
    pub queue: Arc<dyn CommandQueue>,
    /// This process.
    pub holder: Holder,
    /// The limits.
    pub limits: QueueLimits,
}

/// The workers of one process.
pub struct QueueWorkers {
    parts: QueueWorkersParts,
    metrics: QueueMetrics,
    stopping: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// The commands under way.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    claims: HashMap<Id, Claim>,
    /// Whether the store did not answer when it was last asked, which is said once.
    failing: bool,
}

impl QueueWorkers {
    /// Workers that have not begun.
    #[must_use]
    pub fn new(parts: QueueWorkersParts) -> Self {
        let metrics = QueueMetrics::default();
        Self { parts, metrics, stopping: watch::Sender::new(false), task: Mutex::default() }
    }

    /// What they count.
    #[must_use]
    pub fn metrics(&self) -> &QueueMetrics {
        &self.metrics
    }

    /// The queue they work on.
    #[must_use]
    pub fn queue(&self) -> &Arc<dyn CommandQueue> {
        &self.parts.queue
    }

    /// Measures the depth and the age of the queue.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn measure(&self) -> Result<(), Fault> {
        self.metrics.measured(self.parts.queue.counts().await?);
        Ok(())
    }

    /// Begins to work, on the runtime of the caller.
    pub fn start(self: &Arc<Self>) {
        let (workers, stopping) = (Arc::clone(self), self.stopping.subscribe());
        let task = tokio::spawn(async move { workers.work(stopping).await });
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// Begins nothing more, lets running commands end for a moment, and hands back what has not.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // It answers for the panics of commands; there is nothing to do about one of its own.
            let _ = task.await;
        }
    }

    async fn work(self: &Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let QueueWorkersParts { queue, limits, .. } = &self.parts;
        let mut changes = queue.changes();
        let mut running = Running::default();
        let mut life = Instant::now() + limits.lease / 3;
        loop {
            self.claim(&mut running).await;
            let free = running.claims.len() < limits.queue_workers_max;
            tokio::select! {
                () = asked_to(&mut stopping) => break,
                Some(ended) = running.tasks.join_next_with_id() => running.ended(ended),
                () = changes.any(), if free => {}
                () = sleep(limits.poll), if free => {}
                () = sleep_until(life) => {
                    self.prolong(&running).await;
                    life = Instant::now() + limits.lease / 3;
                }
            }
        }
        self.hand_back(running).await;
    }

    /// Claims as much as can be run, and runs it.
    async fn claim(self: &Arc<Self>, running: &mut Running) {
        let QueueWorkersParts { queue, holder, limits, .. } = &self.parts;
        let free = limits.queue_workers_max.saturating_sub(running.claims.len());
        if free == 0 {
            return;
        }
        match queue.claim(holder, limits.lease, free).await {
            Ok(claimed) => {
                if std::mem::take(&mut running.failing) {
                    tracing::info!("queued commands are claimed again");
                }
                for command in claimed {
                    let (workers, claim) = (Arc::clone(self), command.claim());
                    let task = running.tasks.spawn(async move { workers.run(&command).await });
                    running.claims.insert(task.id(), claim);
                }
            }
            Err(fault) => {
                if !std::mem::replace(&mut running.failing, true) {
                    tracing::warn!(%fault, "queued commands cannot be claimed; it is tried again and again");
                }
            }
        }
    }

    /// A sign of life for everything under way. What was lost runs on: it is fenced, and the ledger knows it.
    async fn prolong(&self, running: &Running) {
        let claims: Vec<_> = running.claims.values().cloned().collect();
        if claims.is_empty() {
            return;
        }
        match self.parts.queue.prolong(&claims, self.parts.limits.lease).await {
            Ok(held) if held.len() < claims.len() => {
                tracing::warn!(lost = claims.len() - held.len(), "leases of queued commands were lost");
            }
            Ok(_) => {}
            Err(fault) => tracing::warn!(%fault, "leases of queued commands could not be prolonged"),
        }
    }

    async fn hand_back(&self, mut running: Running) {
        let QueueWorkersParts { queue, limits, .. } = &self.parts;
        let end = async {
            while let Some(ended) = running.tasks.join_next_with_id().await {
                running.ended(ended);
            }
        };
        // What is cut off may have been committed: whoever comes next asks the ledger.
        if timeout(limits.stop_wait_max, end).await.is_err() {
            running.tasks.shutdown().await;
        }
        let claims: Vec<_> = running.claims.into_values().collect();
        if claims.is_empty() {
            return;
        }
        if let Err(fault) = queue.release(&claims).await {
            tracing::warn!(%fault, "queued commands could not be handed back; their leases will run out");
        }
    }

    /// One attempt at one command, and what follows.
    async fn run(&self, command: &ClaimedCommand) {
        let started = Instant::now();
        self.metrics.begun();
        let next = self.attempt(command).await;
        let label = match &next {
            After::Finish(Ending::Succeeded { .. }) => "succeeded",
            After::Finish(Ending::Rejected { .. }) => "rejected",
            After::Finish(Ending::Failed(_)) => "failed",
            After::Retry(_) => "retried",
        };
        let label = if self.write(command, next).await { label } else { "lost" };
        self.metrics.ended(label, started.elapsed());
    }

    /// Runs a command, unless those who ran it before all died over it.
    async fn attempt(&self, command: &ClaimedCommand) -> After {
        let attempts_max = self.parts.limits.attempts_max;
        let outcome = if command.attempts > attempts_max {
            match self.parts.commands.done_before(&command.command).await {
                Ok(Some(receipt)) => Ok(receipt),
                Ok(None) => {
                    let message = format!("it was begun {attempts_max} times and never ended");
                    return After::Finish(Ending::Failed(Trouble { code: Code::Internal, message }));
                }
                Err(error) => Err(error),
            }
        } else {
            caught(self.parts.commands.run_claimed(command)).await
        };
        let (id, attempt) = (&command.command.id, command.attempts);
        if let Err(HandleError::Fault(fault)) = &outcome {
            let (code, stream) = (fault.code().as_str(), &command.command.stream);
            tracing::warn!(code, %id, %stream, attempt, "a queued command met a fault: {fault}");
        }
        after(outcome, Attempt { number: attempt, attempts_max, expected: command.command.expected })
    }

    /// Writes down what follows, a few times if need be. Answers whether it stands.
    async fn write(&self, command: &ClaimedCommand, next: After) -> bool {
        let QueueWorkersParts { queue, limits, .. } = &self.parts;
        let claim = command.claim();
        for write in 1..=WRITES_MAX {
            let written = match &next {
                After::Finish(ending) => queue.finish(&claim, ending.clone()).await,
                After::Retry(trouble) => {
                    let pause = retry_pause(command.attempts, limits, fastrand::f64());
                    queue.retry(&claim, trouble.clone(), pause).await
                }
            };
            match written {
                Ok(()) => return true,
                Err(ClaimError::Fenced) => return false,
                Err(ClaimError::Fault(fault)) => {
                    let id = &command.command.id;
                    tracing::warn!(%id, write, "what came of a queued command could not be written: {fault}");
                    sleep(WRITE_PAUSE * write).await;
                }
            }
        }
        false
    }
}

impl Running {
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => error.id(),
        };
        self.claims.remove(&id);
    }
}

async fn asked_to(stop: &mut watch::Receiver<bool>) {
    // The sender lives as long as the workers.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits for an outcome; a decider that panics is a fault of its command alone.
async fn caught(outcome: impl Future<Output = Result<RawReceipt, RawError>>) -> Result<RawReceipt, RawError> {
    let mut outcome = pin!(outcome);
    poll_fn(|context| {
        // What panicked is never polled again, so that nothing half done is seen.
        match catch_unwind(AssertUnwindSafe(|| outcome.as_mut().poll(context))) {
            Ok(polled) => polled,
            Err(_) => {
                let fault = Fault::permanent(Code::Internal, "the decider panicked");
                std::task::Poll::Ready(Err(HandleError::Fault(fault)))
            }
        }
    })
    .await
}
