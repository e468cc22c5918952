//! One group of commands: one transaction, a savepoint for each command that user code could fail, one
//! commit.

use super::command::Prepared;
use super::inline::{InlineGroup, run};
use super::statements::Statements;
use super::{State, Writer};
use crate::fault::{OrFault, storage};
use crate::ledger;
use crate::log::head;
use crate::models::{Digests, move_to, sweep};
use crate::shared::Shared;
use diptych_command::{CommitError, Committed};
use diptych_core::{Code, CommandId, Fault, Position, Tenant, Timestamp};
use rusqlite::{Connection, ErrorCode, OptionalExtension};

const BEGIN: &str = "BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT";
const SELECT_ENDS: &str = "SELECT (SELECT coalesce(max(position), 0) FROM event), \
    (SELECT coalesce(max(id), 0) FROM command), (SELECT builds_changed FROM log WHERE id = 1)";
const SELECT_LATEST: &str = "SELECT coalesce(command.recorded_at, event.recorded_at) FROM command \
    LEFT JOIN event ON event.position = command.position ORDER BY command.id DESC LIMIT 1";

/// A group under way, inside its transaction.
pub(super) struct GroupTx<'a> {
    pub(super) connection: &'a Connection,
    pub(super) shared: &'a Shared,
    pub(super) state: &'a mut State,
    pub(super) inline: &'a mut [InlineGroup],
    /// The time of everything recorded in this group.
    pub(super) now: Timestamp,
    /// Changes of inline digests, written once at the end.
    pub(super) digests: Digests,
    pub(super) statements: Statements<'a>,
    started_at: Position,
}

/// Why a whole group failed.
#[derive(Debug)]
pub(super) struct GroupFailure {
    code: Code,
    transient: bool,
    message: String,
    /// What SQLite said, when it was the commit that failed.
    committing: Option<Option<ErrorCode>>,
}

impl Writer {
    /// Commits a group. Every command has its own result, unless the whole group failed: then the transaction
    /// may still be open, and [`Writer::recover`] must follow.
    pub(super) fn commit_group(
        &mut self,
        commands: Vec<Prepared>,
    ) -> Result<Vec<Result<Committed, CommitError>>, GroupFailure> {
        let Self { connection, shared, state, inline } = self;
        run(connection, BEGIN)?;
        let mut group = GroupTx::begin(connection, shared, state, inline)?;
        let mut results = Vec::with_capacity(commands.len());
        for command in commands {
            results.push(group.apply(command)?);
        }
        group.finish()?;
        let commit = connection.prepare_cached(COMMIT).and_then(|mut commit| commit.execute([]));
        commit.map_err(GroupFailure::committing)?;
        self.announce();
        Ok(results)
    }

    /// Tells everyone who waits where the head and the inline groups are.
    pub(super) fn announce(&mut self) {
        let position = self.state.head.position();
        for inline in &mut self.inline {
            inline.committed(position);
        }
        self.shared.see_head(self.state.head);
    }

    /// What to tell a caller whose group failed. After a failed commit only the ledger can say whether it
    /// is there.
    pub(super) fn after_failure(
        &self,
        failure: &GroupFailure,
        tenant: &Tenant,
        id: &CommandId,
    ) -> CommitError {
        let Some(said) = failure.committing.filter(|said| *said != Some(ErrorCode::DiskFull)) else {
            return CommitError::Fault(failure.fault());
        };
        match ledger::claimed(&self.connection, self.shared.identity, tenant, id) {
            // It was there before, or has come there now: the same command, asked again, is told which.
            Ok(Some(_)) | Err(_) => CommitError::Indeterminate,
            // A WAL whose sync failed may still hold the commit after a crash.
            Ok(None) if said == Some(ErrorCode::SystemIoFailure) => CommitError::Indeterminate,
            Ok(None) => CommitError::Fault(failure.fault()),
        }
    }
}

impl<'a> GroupTx<'a> {
    /// Reads where the log stands now: other processes append too, so that nothing remembered is trusted
    /// beyond a head that somebody else has moved.
    pub(super) fn begin(
        connection: &'a Connection,
        shared: &'a Shared,
        state: &'a mut State,
        inline: &'a mut [InlineGroup],
    ) -> Result<Self, Fault> {
        let mut statement = connection.prepare_cached(SELECT_ENDS).or_fault()?;
        let ends = statement
            .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)));
        let (position, command, builds_changed) = ends.or_fault()?;
        let own = (state.head.position().0.cast_signed(), state.last_command);
        // INVARIANT: what is remembered of streams holds only as long as nobody else has written.
        if state.latest == Timestamp::EPOCH || own != (position, command) {
            state.streams.clear();
            state.last_command = command;
            state.head = head(connection, state.identity, state.head)?;
            let mut statement = connection.prepare_cached(SELECT_LATEST).or_fault()?;
            let latest: Option<i64> = statement.query_row([], |row| row.get(0)).optional().or_fault()?;
            let latest = latest.map_or(Timestamp::EPOCH, Timestamp::from_stored);
            state.latest = state.latest.max(latest).max(state.head.recorded_at);
        }
        if state.builds_changed != Some(builds_changed) {
            inline.iter_mut().try_for_each(|inline| inline.follow(connection, shared))?;
            state.builds_changed = Some(builds_changed);
        }
        let now = shared.clock.now().max(state.latest);
        let started_at = state.head.position();
        let (digests, statements) = (Digests::default(), Statements::new());
        let mut group = Self { connection, shared, state, inline, now, digests, statements, started_at };
        group.prepare_inline()?;
        Ok(group)
    }

    /// Brings every inline group to the head, or leaves it to a worker.
    fn prepare_inline(&mut self) -> Result<(), Fault> {
        let Self { connection, shared, state, inline, now, .. } = self;
        inline.iter_mut().try_for_each(|inline| inline.prepare(connection, shared, state, *now))
    }

    /// Writes what was gathered, and moves the checkpoints that stand at the head with it.
    pub(super) fn finish(self) -> Result<(), Fault> {
        self.digests.write(self.connection).or_fault()?;
        let head = self.state.head;
        if head.position() != self.started_at {
            for inline in self.inline.iter_mut().filter(|inline| inline.is_live()) {
                move_to(self.connection, inline.attached.place, head, self.now).or_fault()?;
                if sweep(self.connection, &inline.attached, head.position(), &self.shared.limits)
                    .or_fault()?
                {
                    inline.attached.note_sweep(head.position());
                }
            }
        }
        self.state.latest = self.now;
        Ok(())
    }
}

impl From<Fault> for GroupFailure {
    fn from(fault: Fault) -> Self {
        Self {
            code: fault.code(),
            transient: fault.is_transient(),
            message: fault.to_string(),
            committing: None,
        }
    }
}

impl GroupFailure {
    fn committing(error: rusqlite::Error) -> Self {
        let said = error.sqlite_error_code();
        Self { committing: Some(said), ..Self::from(storage(error)) }
    }

    /// The fault for each caller: they share the cause.
    pub(super) fn fault(&self) -> Fault {
        let message = "the store could not commit";
        let fault = if self.transient {
            Fault::transient(self.code, message)
        } else {
            Fault::permanent(self.code, message)
        };
        fault.because(self.message.clone())
    }
}
