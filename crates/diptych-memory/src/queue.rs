//! The queue: rows in the order of their acceptance, looked through from the front. The reference of its
//! port.

use crate::MemoryStore;
use diptych_command::{
    Claim, ClaimError, ClaimNumber, ClaimedCommand, CommandQueue, CommandRef, Ending, EnqueueError, Enqueued,
    Holder, QueueChanges, QueueCounts, QueueEntry, QueueState, QueueStatus, QueuedCommand, Revived, Trouble,
};
use diptych_core::{BoxFuture, Category, CommandId, Fault, StreamKey, StreamRef, Tenant, Timestamp};
use std::time::Duration;

/// Everything that was accepted and not forgotten.
#[derive(Clone, Default)]
pub(crate) struct Queue {
    /// In the order in which they were accepted.
    rows: Vec<Row>,
}

#[derive(Clone)]
struct Row {
    entry: QueueEntry,
    /// The last claim.
    number: ClaimNumber,
    /// Before when nobody may claim it: the next attempt, or the end of the lease.
    due_at: Timestamp,
}

impl Row {
    fn is(&self, command: &CommandRef) -> bool {
        let QueuedCommand { id, stream, .. } = &self.entry.command;
        *id == command.id && stream.tenant == command.tenant
    }

    fn is_over(&self) -> bool {
        self.entry.status().is_final()
    }

    fn holds(&self, claim: &Claim) -> bool {
        self.is(&claim.command) && self.number == claim.number && self.entry.state == QueueState::Running
    }

    /// Goes on to another state, held by nobody.
    fn go(&mut self, state: QueueState) {
        self.entry.state = state;
        self.entry.changes += 1;
        (self.entry.holder, self.entry.next_attempt_at) = (None, None);
    }
}

impl Queue {
    /// Whether a command may be run again some time, so that its key is needed.
    pub(crate) fn may_still_run(&self, tenant: &Tenant, id: &CommandId) -> bool {
        let command = CommandRef { tenant: tenant.clone(), id: id.clone() };
        let row = self.rows.iter().find(|row| row.is(&command));
        row.is_some_and(|row| !row.is_over() || row.entry.status() == QueueStatus::Failed)
    }

    fn enqueue(
        &mut self,
        command: QueuedCommand,
        commands_max: u64,
        now: Timestamp,
    ) -> Result<Enqueued, EnqueueError> {
        let known = self.rows.iter().find(|row| row.is(&command.reference()));
        if let Some(Row { entry, .. }) = known {
            let same = entry.command.hash == command.hash;
            return if same { Ok(Enqueued::Known(entry.clone())) } else { Err(EnqueueError::KeyReused) };
        }
        let unfinished = self.rows.iter().filter(|row| !row.is_over()).count();
        if unfinished as u64 >= commands_max {
            return Err(EnqueueError::Full);
        }
        let entry = QueueEntry {
            command,
            state: QueueState::Accepted,
            attempts: 0,
            changes: 1,
            accepted_at: now,
            started_at: None,
            next_attempt_at: None,
            ended_at: None,
            holder: None,
            trouble: None,
        };
        self.rows.push(Row { entry: entry.clone(), number: ClaimNumber(0), due_at: now });
        Ok(Enqueued::New(entry))
    }

    fn claim(
        &mut self,
        holder: &Holder,
        until: Timestamp,
        commands_max: usize,
        now: Timestamp,
    ) -> Vec<ClaimedCommand> {
        let mut claimed = Vec::new();
        for index in 0..self.rows.len() {
            let (before, rest) = self.rows.split_at_mut(index);
            let row = &mut rest[0];
            let stream = &row.entry.command.stream;
            let follows = before.iter().any(|row| !row.is_over() && row.entry.command.stream == *stream);
            if claimed.len() == commands_max || row.is_over() || now < row.due_at || follows {
                continue;
            }
            row.go(QueueState::Running);
            row.number = ClaimNumber(row.number.0 + 1);
            row.due_at = until;
            row.entry.attempts += 1;
            row.entry.holder = Some(holder.clone());
            row.entry.started_at = Some(now);
            claimed.push(ClaimedCommand {
                command: row.entry.command.clone(),
                number: row.number,
                attempts: row.entry.attempts,
                accepted_at: row.entry.accepted_at,
            });
        }
        claimed
    }

    fn held(&mut self, claim: &Claim) -> Result<&mut Row, ClaimError> {
        self.rows.iter_mut().find(|row| row.holds(claim)).ok_or(ClaimError::Fenced)
    }

    fn finish(&mut self, claim: &Claim, ending: Ending, now: Timestamp) -> Result<(), ClaimError> {
        let row = self.held(claim)?;
        row.go(QueueState::Ended(ending));
        row.entry.ended_at = Some(now);
        row.entry.trouble = None;
        Ok(())
    }

    fn retry(&mut self, claim: &Claim, trouble: Trouble, due_at: Timestamp) -> Result<(), ClaimError> {
        let row = self.held(claim)?;
        row.go(QueueState::Accepted);
        row.due_at = due_at;
        row.entry.next_attempt_at = Some(due_at);
        row.entry.trouble = Some(trouble);
        Ok(())
    }

    fn release(&mut self, claims: &[Claim], now: Timestamp) {
        for claim in claims {
            if let Ok(row) = self.held(claim) {
                row.go(QueueState::Accepted);
                row.due_at = now;
                row.entry.attempts -= 1;
            }
        }
    }

    fn revive(&mut self, command: &CommandRef, now: Timestamp) -> Revived {
        let Some(index) = self.rows.iter().position(|row| row.is(command)) else {
            return Revived::Unknown;
        };
        let status = self.rows[index].entry.status();
        if status != QueueStatus::Failed {
            return Revived::NotFailed(status);
        }
        let mut row = self.rows.remove(index);
        row.go(QueueState::Accepted);
        (row.entry.attempts, row.entry.ended_at, row.due_at) = (0, None, now);
        self.rows.push(row);
        Revived::Accepted
    }

    fn sweep(&mut self, before: Timestamp, rows_max: usize) -> usize {
        let mut old: Vec<_> = self.rows.iter().filter(|row| row.is_over()).collect();
        old.retain(|row| row.entry.ended_at < Some(before));
        old.sort_by_key(|row| row.entry.ended_at);
        old.truncate(rows_max);
        let old: Vec<_> = old.into_iter().map(|row| row.entry.command.reference()).collect();
        self.rows.retain(|row| !old.iter().any(|command| row.is(command)));
        old.len()
    }

    fn counts(&self, now: Timestamp) -> QueueCounts {
        let count = |status| self.rows.iter().filter(|row| row.entry.status() == status).count() as u64;
        let oldest = self.rows.iter().filter(|row| !row.is_over()).map(|row| row.entry.accepted_at).min();
        QueueCounts {
            accepted: count(QueueStatus::Accepted),
            running: count(QueueStatus::Running),
            oldest_seconds: oldest.map_or(0.0, |oldest| now.seconds_since(oldest)),
        }
    }
}

impl MemoryStore {
    /// Changes the queue, and wakes those who wait for a command.
    fn change<T>(&self, commands: &[CommandRef], act: impl FnOnce(&mut Queue, Timestamp) -> T) -> T {
        let changed = act(&mut self.lock().queue, self.clock.now());
        commands.iter().for_each(|command| self.signal.tell(command.clone()));
        changed
    }
}

impl CommandQueue for MemoryStore {
    fn enqueue(
        &self,
        command: QueuedCommand,
        commands_max: u64,
    ) -> BoxFuture<'_, Result<Enqueued, EnqueueError>> {
        Box::pin(async move {
            let reference = command.reference();
            self.change(&[reference], |queue, now| queue.enqueue(command, commands_max, now))
        })
    }

    fn claim<'a>(
        &'a self,
        holder: &'a Holder,
        lasting: Duration,
        commands_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ClaimedCommand>, Fault>> {
        Box::pin(async move {
            let claimed =
                self.change(&[], |queue, now| queue.claim(holder, now.plus(lasting), commands_max, now));
            claimed.iter().for_each(|claimed| self.signal.tell(claimed.command.reference()));
            Ok(claimed)
        })
    }

    fn prolong<'a>(
        &'a self,
        claims: &'a [Claim],
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claim>, Fault>> {
        Box::pin(async move {
            Ok(self.change(&[], |queue, now| {
                let mut held = claims.to_vec();
                held.retain(|claim| {
                    queue.held(claim).is_ok_and(|row| {
                        row.due_at = now.plus(lasting);
                        true
                    })
                });
                held
            }))
        })
    }

    fn finish<'a>(&'a self, claim: &'a Claim, ending: Ending) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(async move {
            let commands = std::slice::from_ref(&claim.command);
            self.change(commands, |queue, now| queue.finish(claim, ending, now))
        })
    }

    fn retry<'a>(
        &'a self,
        claim: &'a Claim,
        trouble: Trouble,
        pause: Duration,
    ) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(async move {
            let commands = std::slice::from_ref(&claim.command);
            self.change(commands, |queue, now| queue.retry(claim, trouble, now.plus(pause)))
        })
    }

    fn release<'a>(&'a self, claims: &'a [Claim]) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let commands: Vec<_> = claims.iter().map(|claim| claim.command.clone()).collect();
            self.change(&commands, |queue, now| queue.release(claims, now));
            Ok(())
        })
    }

    fn entry<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Option<QueueEntry>, Fault>> {
        Box::pin(async move {
            let held = self.lock();
            Ok(held.queue.rows.iter().find(|row| row.is(command)).map(|row| row.entry.clone()))
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
            let held = self.lock();
            let entries = held.queue.rows.iter().filter(|row| !row.is_over()).map(|row| &row.entry);
            let meant = entries.filter(|entry| {
                let StreamRef { tenant: whose, stream } = &entry.command.stream;
                whose == tenant && stream.category == *category && keys.contains(&stream.key)
            });
            Ok(meant.take(rows_max).cloned().collect())
        })
    }

    fn list<'a>(
        &'a self,
        tenant: &'a Tenant,
        status: Option<QueueStatus>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<QueueEntry>, Fault>> {
        Box::pin(async move {
            let held = self.lock();
            let entries = held.queue.rows.iter().rev().map(|row| &row.entry);
            let entries = entries.filter(|entry| entry.command.stream.tenant == *tenant);
            let entries = entries.filter(|entry| status.is_none_or(|status| entry.status() == status));
            Ok(entries.take(rows_max).cloned().collect())
        })
    }

    fn revive<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Revived, Fault>> {
        Box::pin(async move {
            let commands = std::slice::from_ref(command);
            Ok(self.change(commands, |queue, now| queue.revive(command, now)))
        })
    }

    fn sweep(&self, kept_for: Duration, rows_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        Box::pin(async move {
            let micros = i64::try_from(kept_for.as_micros()).unwrap_or(i64::MAX);
            Ok(self.change(&[], |queue, now| {
                let before = Timestamp::from_stored(now.as_micros().saturating_sub(micros));
                queue.sweep(before, rows_max)
            }))
        })
    }

    fn counts(&self) -> BoxFuture<'_, Result<QueueCounts, Fault>> {
        Box::pin(async move { Ok(self.lock().queue.counts(self.clock.now())) })
    }

    fn changes(&self) -> QueueChanges {
        self.signal.changes()
    }
}
