//! Accepting a command to be run later, and running one that was accepted. What needs no state is checked
//! before it is accepted; everything else is the one loop's, as for a command that is waited for.

use super::{
    ClaimedCommand, CommandQueue, CommandRef, EnqueueError, Enqueued, QueueChanges, QueueEntry, QueuedCommand,
};
use crate::handler::Checked;
use crate::request::Envelope;
use crate::{Commands, Outcome, RawError, RawReceipt, RawRequest, Refusal};
use diptych_core::{Action, Category, CommandId, Fault, Principal, StreamKey, Tenant};
use std::sync::Arc;
use std::time::Duration;

/// When a caller that met a full queue may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The queue as the left panel sees it.
#[derive(Clone)]
pub struct QueuePanel {
    /// Where commands wait.
    pub queue: Arc<dyn CommandQueue>,
    /// How many may be unfinished.
    pub commands_max: u64,
}

/// What asking for a command to be run later came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// It stands in the queue.
    Now(QueueEntry),
    /// It stood there already: the same command, asked for again.
    Before(QueueEntry),
    /// It was done before without the queue, or longer ago than the queue remembers.
    Done(RawReceipt),
}

impl Commands {
    /// The same panel with a queue, so that commands can be accepted to be run later.
    #[must_use]
    pub fn with_queue(mut self, queue: QueuePanel) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Whether commands can be accepted to be run later.
    #[must_use]
    pub fn has_queue(&self) -> bool {
        self.queue.is_some()
    }

    /// Takes a command durably, to be run later. What needs no state is checked now. Without a queue it is
    /// handled at once.
    ///
    /// # Errors A refusal: not allowed, not of the command's shape, a key that was used for something else,
    /// a full queue; the rejection of a command that was rejected before under the same key; or a fault.
    pub async fn accept(&self, request: RawRequest) -> Result<Accepted, RawError> {
        let Some(QueuePanel { queue, commands_max }) = &self.queue else {
            return self.handle_raw(request).await.map(Accepted::Done);
        };
        let keyed = request.is_keyed();
        let (decider, name) = self.addressed(&request)?;
        let checked = self.check(decider, name, request).await?;
        decider.check(&checked.command).map_err(Refusal::Shape)?;
        let command = queued(checked);
        let id = command.id.clone();
        if keyed {
            if let Some(entry) = queue.entry(&command.reference()).await? {
                if entry.command.hash != command.hash {
                    return Err(Refusal::KeyReused { id }.into());
                }
                return Ok(Accepted::Before(entry));
            }
            if let Some(receipt) = self.done_before(&command).await? {
                return Ok(Accepted::Done(receipt));
            }
        }
        match queue.enqueue(command, *commands_max).await {
            Ok(Enqueued::New(entry)) => Ok(Accepted::Now(entry)),
            Ok(Enqueued::Known(entry)) => Ok(Accepted::Before(entry)),
            Err(EnqueueError::KeyReused) => Err(Refusal::KeyReused { id }.into()),
            Err(EnqueueError::Full) => Err(Refusal::QueueFull { retry_after: RETRY_AFTER }.into()),
            Err(EnqueueError::Indeterminate) => Err(Refusal::Indeterminate { id }.into()),
            Err(EnqueueError::Fault(fault)) => Err(fault.into()),
        }
    }

    /// Where a command stands in the queue; none when the queue does not hold it.
    ///
    /// # Errors
    /// A refusal (not allowed) or a fault.
    pub async fn queued(
        &self,
        principal: &Principal,
        id: &CommandId,
    ) -> Result<Option<QueueEntry>, RawError> {
        let allowed = self.authorize.authorize(principal, Action::ReadCommand);
        allowed.map_err(Refusal::Forbidden)?;
        let Some(QueuePanel { queue, .. }) = &self.queue else {
            return Ok(None);
        };
        let command = CommandRef { tenant: principal.tenant.clone(), id: id.clone() };
        Ok(queue.entry(&command).await?)
    }

    /// What is unfinished for any of these streams of a category, in the order of acceptance, at most so
    /// many; nothing without a queue. It asks for no permission: it is for whoever has shown what the
    /// streams are about to whoever asks.
    ///
    /// # Errors
    /// A fault.
    pub async fn unfinished(
        &self,
        tenant: &Tenant,
        category: &Category,
        keys: &[StreamKey],
        rows_max: usize,
    ) -> Result<Vec<QueueEntry>, Fault> {
        match &self.queue {
            Some(QueuePanel { queue, .. }) if !keys.is_empty() => {
                queue.unfinished(tenant, category, keys, rows_max).await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Wakes when this process changes something in the queue; none without one.
    #[must_use]
    pub fn queue_changes(&self) -> Option<QueueChanges> {
        self.queue.as_ref().map(|panel| panel.queue.changes())
    }

    /// Runs a claimed command through the one loop. One that was begun before may have been done: then the
    /// ledger answers, and nothing is decided.
    pub(super) async fn run_claimed(&self, claimed: &ClaimedCommand) -> Result<RawReceipt, RawError> {
        if claimed.attempts > 1
            && let Some(receipt) = self.done_before(&claimed.command).await?
        {
            return Ok(receipt);
        }
        self.handle_raw(request(&claimed.command)).await
    }

    /// What the ledger knows of a command, if it was done.
    pub(super) async fn done_before(&self, command: &QueuedCommand) -> Result<Option<RawReceipt>, RawError> {
        let found = self.store.recorded(&command.stream.tenant, &command.id).await?;
        let Some(record) = found.filter(|record| !matches!(record.outcome, Outcome::Refused(_))) else {
            return Ok(None);
        };
        if record.header.hash != command.hash {
            return Err(Refusal::KeyReused { id: command.id.clone() }.into());
        }
        let request = request(command);
        let (decider, _) = self.addressed(&request)?;
        self.replay(decider, record).await.map(Some)
    }
}

fn queued(checked: Checked<'_>) -> QueuedCommand {
    let Checked { header, command, expected, context, .. } = checked;
    QueuedCommand {
        id: header.id,
        stream: header.stream,
        command,
        hash: header.hash,
        actor: header.actor,
        claims: context.principal.claims,
        expected,
        correlation: header.correlation,
        causation: header.causation,
        occurred_at: header.occurred_at,
    }
}

/// The command as it was asked for: the same input, so that the ledger knows it again.
fn request(command: &QueuedCommand) -> RawRequest {
    let QueuedCommand { id, stream, command: raw, expected, correlation, causation, occurred_at, .. } =
        command;
    let envelope = Envelope {
        principal: command.principal(),
        key: stream.stream.key.as_str().to_owned(),
        id: Some(id.as_str().to_owned()),
        id_is_new: false,
        expected: *expected,
        correlation: correlation.clone(),
        causation: causation.clone(),
        time: None,
        accepted_at: Some(*occurred_at),
    };
    RawRequest { category: stream.stream.category.as_str().to_owned(), command: raw.clone(), envelope }
}
