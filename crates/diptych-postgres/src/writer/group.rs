//! One group of commands: one transaction under the lock of the head, one commit.

use super::command::Prepared;
use super::decide::{Decided, Decision, Found, Standing, decide};
use super::intern::Interned;
use super::known::Known;
use super::write::{find, write};
use super::{Appending, State, Writer};
use crate::fault::{damaged, is_a_race, is_about_the_row, is_lost, storage, unsigned};
use crate::log::head_of;
use crate::models::{InlineFailure, InlineGroup};
use crate::shared::Shared;
use crate::time::Stamp;
use diptych_core::{Code, Fault, Timestamp};
use diptych_query::Mark;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;
use tokio_postgres::{Client, Error, Row};

const COMMIT: &str = "COMMIT";
/// Why a whole group failed. The transaction may still be open.
pub(super) struct GroupFailure {
    pub(super) fault: Fault,
    pub(super) remedy: Remedy,
}

/// What is to be done with the commands of a failed group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Remedy {
    /// Nothing was committed, and the cause may have passed: the same once more.
    Again,
    /// Nothing was committed, and one of them is to blame: each by itself.
    Alone,
    /// Nothing was committed, and trying again here does not help.
    Tell,
    /// Only the ledger knows whether it was committed.
    Unknown,
}

impl Writer {
    /// Commits a group. Every command has its own decision, unless the whole group failed.
    pub(super) async fn commit_group(
        &mut self,
        appending: &Appending,
        commands: &[Prepared],
    ) -> Result<Vec<Decision>, GroupFailure> {
        let Appending { connection, statements } = appending;
        let client: &Client = connection;
        let Self { shared, state, inline, settings, .. } = self;
        let State { interned, known, over_budget } = state;
        let (standing, found) =
            lock_and_find(appending, shared, &settings.begin, interned, known, commands).await?;
        let now = shared.clock.now().max(standing.latest);
        for group in inline.iter_mut() {
            group.prepare(client, shared, standing.head, now).await?;
        }
        let decided = decide(shared.identity, interned, standing, found, now, commands)?;
        let head = decided.standing.head;
        let writing = write(client, statements, &decided, now);
        if head != standing.head && inline.iter().any(InlineGroup::is_live) {
            writing.await?;
            let started = Instant::now();
            fold(client, shared, inline, standing.head, &decided, now).await?;
            over_budget.note(started.elapsed(), shared.limits.inline_budget, now);
            client.batch_execute(COMMIT).await.map_err(GroupFailure::committing)?;
        } else {
            write_and_commit(client, writing).await?;
        }
        known.note(head.token, &decided.events);
        let decisions = decided.decisions;
        if head != standing.head {
            self.shared.appended.send_replace(head.position());
        }
        self.announce(head);
        Ok(decisions)
    }

    /// Tells everyone who waits where the head and the inline groups are.
    pub(super) fn announce(&mut self, head: Mark) {
        for group in &mut self.inline {
            group.committed(head.position());
        }
        self.shared.see_head(head);
    }
}

/// Runs the last statement of a transaction and commits, in one journey.
///
/// INVARIANT: the commit is sent only when the statement is on its way: one that could not even be sent would
/// be missing from what is committed. One that PostgreSQL refuses takes the transaction with it, and the
/// commit with the transaction.
async fn write_and_commit(
    client: &Client,
    writing: impl Future<Output = Result<(), Error>>,
) -> Result<(), GroupFailure> {
    let mut writing = pin!(writing);
    if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(writing.as_mut().poll(context))).await {
        done?;
        return client.batch_execute(COMMIT).await.map_err(GroupFailure::committing);
    }
    let (written, committed) = tokio::join!(biased; writing, client.batch_execute(COMMIT));
    match written {
        // Answers come in their order: what PostgreSQL refuses or breaks off here, it has not committed.
        Err(refused) if refused.code().is_some() => Err(refused.into()),
        // The commit may have been taken although the answer to the statement was lost.
        written => written.and(committed).map_err(GroupFailure::committing),
    }
}

/// Opens the transaction and locks the head.
pub(super) async fn lock(appending: &Appending, begin: &str) -> Result<Vec<Row>, GroupFailure> {
    let Appending { connection, statements } = appending;
    let client: &Client = connection;
    let (begun, locked) =
        tokio::join!(biased; client.batch_execute(begin), statements.lock_head.query(client, &[]));
    begun?;
    Ok(locked?)
}

/// Opens the transaction, locks the head, and asks for what the decisions need.
async fn lock_and_find(
    appending: &Appending,
    shared: &Shared,
    begin: &str,
    interned: &mut Interned,
    known: &mut Known,
    commands: &[Prepared],
) -> Result<(Standing, Found), GroupFailure> {
    let Appending { connection, statements } = appending;
    let client: &Client = connection;
    if interned.knows(commands) {
        let (begun, locked, found) = tokio::join!(
            biased;
            client.batch_execute(begin),
            statements.lock_head.query(client, &[]),
            find(client, statements, interned, known, commands),
        );
        begun?;
        let standing = standing(shared, &locked?)?;
        let found = found?;
        if known.holds(standing.head.token) {
            return Ok((standing, found));
        }
        // Somebody else has appended: what was known of streams may be old, so all are asked for.
        return Ok((standing, find(client, statements, interned, known, commands).await?));
    }
    let standing = standing(shared, &lock(appending, begin).await?)?;
    interned.learn(client, &shared.schema, commands).await?;
    known.holds(standing.head.token);
    Ok((standing, find(client, statements, interned, known, commands).await?))
}

/// Where the log stands. One that has begun a new life since this process started is not this process's any
/// more.
pub(super) fn standing(shared: &Shared, rows: &[Row]) -> Result<Standing, GroupFailure> {
    let row = rows.first().ok_or_else(|| damaged("the log has lost its head"))?;
    let epoch = unsigned(row, 6)?;
    if epoch != u64::from(shared.identity.epoch.0) {
        let message = format!(
            "the log is in epoch {epoch} and this process knows epoch {}: start it again",
            shared.identity.epoch.0
        );
        return Err(Fault::permanent(Code::LogDiffers, message).into());
    }
    let Stamp(latest) = row.try_get(3)?;
    Ok(Standing {
        head: head_of(shared.identity, row)?,
        latest,
        stream: row.try_get(4)?,
        command: row.try_get(5)?,
    })
}

/// Folds what the group appends into every inline group that stands at the head.
pub(super) async fn fold(
    client: &Client,
    shared: &Shared,
    inline: &mut [InlineGroup],
    from: Mark,
    decided: &Decided<'_>,
    now: Timestamp,
) -> Result<(), GroupFailure> {
    let facts: Vec<_> = decided.events.iter().map(|new| new.fact.clone()).collect();
    for group in inline.iter_mut().filter(|group| group.is_live()) {
        match group.fold(client, shared, from, decided.standing.head, &facts, now).await {
            Ok(()) => {}
            Err(InlineFailure::Command(fault)) => return Err(GroupFailure { fault, remedy: Remedy::Alone }),
            Err(InlineFailure::Store(fault)) => return Err(fault.into()),
        }
    }
    Ok(())
}

impl From<Fault> for GroupFailure {
    fn from(fault: Fault) -> Self {
        Self { fault, remedy: Remedy::Tell }
    }
}

impl From<Error> for GroupFailure {
    fn from(error: Error) -> Self {
        let remedy = if is_lost(&error) || is_a_race(&error) {
            Remedy::Again
        } else if is_about_the_row(&error) {
            Remedy::Alone
        } else {
            Remedy::Tell
        };
        Self { fault: storage(error), remedy }
    }
}

impl GroupFailure {
    /// After the commit was sent, a lost connection says nothing of what became of it; an answer of
    /// PostgreSQL does.
    pub(super) fn committing(error: Error) -> Self {
        if is_lost(&error) { Self { fault: storage(error), remedy: Remedy::Unknown } } else { error.into() }
    }

    /// What is told where a group's task has met a defect.
    pub(super) fn defect() -> Self {
        damaged("the writer met a defect and rolled back").into()
    }
}
