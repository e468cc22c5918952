//! The queue of a sound store with one defect between it and whoever asks.

use super::Defect;
use diptych_command::{
    Claim, ClaimError, ClaimNumber, ClaimedCommand, CommandQueue, CommandRef, Ending, EnqueueError, Enqueued,
    Holder, QueueChanges, QueueCounts, QueueEntry, QueueState, QueueStatus, QueuedCommand, Revived, Trouble,
};
use diptych_core::{BoxFuture, Category, Fault, StreamKey, Tenant};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// More commands than any case queues.
const LISTED_MAX: usize = 10_000;

pub(super) struct BrokenQueue {
    inner: Arc<dyn CommandQueue>,
    defect: Defect,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// What was answered as accepted and is nowhere yet.
    pending: BTreeMap<CommandRef, QueuedCommand>,
    /// What is given to everybody.
    given: BTreeMap<CommandRef, ClaimedCommand>,
    /// The latest claim on each command.
    latest: BTreeMap<CommandRef, ClaimNumber>,
}

impl BrokenQueue {
    pub(super) fn new(inner: Arc<dyn CommandQueue>, defect: Defect) -> Self {
        Self { inner, defect, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command as it is handed to the store.
    fn inwards(&self, mut command: QueuedCommand) -> QueuedCommand {
        match self.defect {
            Defect::TenantForgotten => command.stream.tenant = Tenant::from_stored("everybody"),
            // A stream of its own for each command: nothing is left to keep in order.
            Defect::QueueOrderIgnored => {
                let key = format!("{}|{}", command.stream.stream.key, command.id);
                command.stream.stream.key = StreamKey::from_stored(key);
            }
            _ => {}
        }
        command
    }

    /// The same command as it is handed back.
    fn outwards(&self, mut command: QueuedCommand) -> QueuedCommand {
        if self.defect == Defect::QueueOrderIgnored
            && let Some((key, _)) = command.stream.stream.key.as_str().rsplit_once('|')
        {
            command.stream.stream.key = StreamKey::from_stored(key.to_owned());
        }
        command
    }

    fn entry_out(&self, entry: QueueEntry) -> QueueEntry {
        QueueEntry { command: self.outwards(entry.command.clone()), ..entry }
    }

    fn reference(&self, command: &CommandRef) -> CommandRef {
        let mut command = command.clone();
        if self.defect == Defect::TenantForgotten {
            command.tenant = Tenant::from_stored("everybody");
        }
        command
    }

    /// The claim as the store is told it.
    fn claim_in(&self, claim: &Claim) -> Claim {
        let mut claim = claim.clone();
        if self.defect == Defect::FinishUnfenced
            && let Some(latest) = self.held().latest.get(&claim.command)
        {
            claim.number = *latest;
        }
        claim
    }

    async fn claim_wrongly(
        &self,
        holder: &Holder,
        lasting: Duration,
        commands_max: usize,
    ) -> Result<Vec<ClaimedCommand>, Fault> {
        let pending = std::mem::take(&mut self.held().pending);
        for command in pending.into_values() {
            let enqueued = self.inner.enqueue(command, u64::MAX >> 1).await;
            enqueued.map_err(|error| {
                Fault::permanent(diptych_core::Code::Internal, format!("too late: {error:?}"))
            })?;
        }
        let mut claimed = self.inner.claim(holder, lasting, commands_max).await?;
        for one in &mut claimed {
            one.command = self.outwards(one.command.clone());
            let reference = one.command.reference();
            let mut held = self.held();
            held.latest.insert(reference.clone(), one.number);
            held.given.insert(reference, one.clone());
        }
        if self.defect == Defect::ClaimsShared && claimed.is_empty() {
            claimed = self.held().given.values().take(commands_max).cloned().collect();
        }
        Ok(claimed)
    }
}

impl CommandQueue for BrokenQueue {
    fn enqueue(
        &self,
        command: QueuedCommand,
        commands_max: u64,
    ) -> BoxFuture<'_, Result<Enqueued, EnqueueError>> {
        Box::pin(async move {
            if self.defect == Defect::EnqueueNotDurable {
                let entry = accepted(&command);
                self.held().pending.insert(command.reference(), command);
                return Ok(Enqueued::New(entry));
            }
            Ok(match self.inner.enqueue(self.inwards(command), commands_max).await? {
                Enqueued::New(entry) => Enqueued::New(self.entry_out(entry)),
                Enqueued::Known(entry) => Enqueued::Known(self.entry_out(entry)),
            })
        })
    }

    fn claim<'a>(
        &'a self,
        holder: &'a Holder,
        lasting: Duration,
        commands_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ClaimedCommand>, Fault>> {
        Box::pin(self.claim_wrongly(holder, lasting, commands_max))
    }

    fn prolong<'a>(
        &'a self,
        claims: &'a [Claim],
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claim>, Fault>> {
        self.inner.prolong(claims, lasting)
    }

    fn finish<'a>(&'a self, claim: &'a Claim, ending: Ending) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(async move { self.inner.finish(&self.claim_in(claim), ending).await })
    }

    fn retry<'a>(
        &'a self,
        claim: &'a Claim,
        trouble: Trouble,
        pause: Duration,
    ) -> BoxFuture<'a, Result<(), ClaimError>> {
        let pause = if self.defect == Defect::RetriesAtOnce { Duration::ZERO } else { pause };
        self.inner.retry(claim, trouble, pause)
    }

    fn release<'a>(&'a self, claims: &'a [Claim]) -> BoxFuture<'a, Result<(), Fault>> {
        self.inner.release(claims)
    }

    fn entry<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Option<QueueEntry>, Fault>> {
        Box::pin(async move {
            let pending = self.held().pending.get(command).map(accepted);
            let found = self.inner.entry(&self.reference(command)).await?;
            Ok(pending.or(found.map(|entry| self.entry_out(entry))))
        })
    }

    fn unfinished<'a>(
        &'a self,
        tenant: &'a Tenant,
        category: &'a Category,
        keys: &'a [StreamKey],
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<QueueEntry>, Fault>> {
        Box::pin(async move {
            let mut found = self.inner.unfinished(tenant, category, keys, rows_max).await?;
            let wrongly = |entry: &QueueEntry| {
                let is_meant = keys.contains(&entry.command.stream.stream.key);
                match (self.defect, &entry.state) {
                    (Defect::UnfinishedOfAnyStream, QueueState::Ended(_)) => false,
                    (Defect::UnfinishedOfAnyStream, _) => !is_meant,
                    (Defect::EndedAsUnfinished, QueueState::Ended(_)) => is_meant,
                    _ => false,
                }
            };
            let all = self.inner.list(tenant, None, LISTED_MAX).await?;
            found.extend(all.into_iter().rev().filter(wrongly));
            found.truncate(rows_max);
            Ok(found)
        })
    }

    fn list<'a>(
        &'a self,
        tenant: &'a Tenant,
        status: Option<QueueStatus>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<QueueEntry>, Fault>> {
        self.inner.list(tenant, status, rows_max)
    }

    fn revive<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Revived, Fault>> {
        self.inner.revive(command)
    }

    fn sweep(&self, kept_for: Duration, rows_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        self.inner.sweep(kept_for, rows_max)
    }

    fn counts(&self) -> BoxFuture<'_, Result<QueueCounts, Fault>> {
        self.inner.counts()
    }

    fn changes(&self) -> QueueChanges {
        self.inner.changes()
    }
}

/// The entry of a command that was just accepted.
fn accepted(command: &QueuedCommand) -> QueueEntry {
    QueueEntry {
        command: command.clone(),
        state: QueueState::Accepted,
        attempts: 0,
        changes: 1,
        accepted_at: command.occurred_at,
        started_at: None,
        next_attempt_at: None,
        ended_at: None,
        holder: None,
        trouble: None,
    }
}
