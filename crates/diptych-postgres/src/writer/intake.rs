//! Facts from elsewhere, in one transaction with what says that they were taken: the watermark of their
//! source,
//! or their leaving the outbox.

use super::command::Prepared;
use super::decide::decide;
use super::group::{GroupFailure, Remedy, fold, lock, standing};
use super::intern::Interned;
use super::known::Known;
use super::write::{find, write};
use super::{ATTEMPTS_MAX, Appending, State, Writer, caught};
use crate::log::{Parameter, head};
use crate::shared::Shared;
use crate::time::Stamp;
use diptych_command::{Arrival, EntryPrint, Source, SourcePosition, TakenIn, Watermark};
use diptych_core::Fault;
use std::collections::HashSet;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

const SELECT_WATERMARK: &str = "SELECT position, print FROM diptych.source WHERE name = $1";
const SET_WATERMARK: &str = "INSERT INTO diptych.source (name, position, print, updated_at) \
    VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO UPDATE SET position = excluded.position, \
    print = excluded.print, updated_at = excluded.updated_at";
/// What another process has taken already is not there any more.
const TAKE_ROWS: &str = "DELETE FROM diptych.outbox WHERE id = ANY($1) RETURNING id";
const COMMIT: &str = "COMMIT";

/// What says which arrivals are new.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// The watermark of a source.
    Source(Source),
    /// Their rows are in the outbox of this database.
    Outbox,
}

/// Arrivals on their way.
pub(crate) struct IntakeJob {
    pub(crate) origin: Origin,
    pub(crate) arrivals: Vec<Arrival>,
}

impl Writer {
    /// Takes arrivals in; where one of them is to blame for a failure, those before it.
    pub(super) async fn serve_intake(&mut self, job: &IntakeJob) -> Result<TakenIn, Fault> {
        let IntakeJob { origin, arrivals } = job;
        match self.attempt_intake(origin, arrivals).await {
            Err(failure) if failure.remedy == Remedy::Alone && arrivals.len() > 1 => {
                let mut all: Option<TakenIn> = None;
                for arrival in arrivals {
                    let one = match self.attempt_intake(origin, std::slice::from_ref(arrival)).await {
                        Err(failure) if failure.remedy == Remedy::Alone => {
                            let refused = Some((arrival.position(), failure.fault));
                            return self.refused(all, refused).await;
                        }
                        taken => taken.map_err(|failure| failure.fault)?,
                    };
                    let (taken, passed_over) = all.map_or((0, 0), |all| (all.taken, all.passed_over));
                    all = Some(TakenIn {
                        taken: taken + one.taken,
                        passed_over: passed_over + one.passed_over,
                        ..one
                    });
                }
                self.refused(all, None).await
            }
            Err(failure) if failure.remedy == Remedy::Alone => {
                let position = arrivals.first().map(Arrival::position).unwrap_or_default();
                self.refused(None, Some((position, failure.fault))).await
            }
            taken => taken.map_err(|failure| failure.fault),
        }
    }

    /// What was taken before something was refused.
    async fn refused(
        &self,
        before: Option<TakenIn>,
        refused: Option<(SourcePosition, Fault)>,
    ) -> Result<TakenIn, Fault> {
        let before = match before {
            Some(before) => before,
            None => {
                let head = head(&*self.shared.reader().await?, &self.shared).await?.token;
                TakenIn { taken: 0, passed_over: 0, head, refused: None }
            }
        };
        Ok(TakenIn { refused, ..before })
    }

    async fn attempt_intake(
        &mut self,
        origin: &Origin,
        arrivals: &[Arrival],
    ) -> Result<TakenIn, GroupFailure> {
        let mut attempts = 1;
        loop {
            match self.attempt_intake_once(origin, arrivals).await {
                // Whether it was committed shows when it is asked for again.
                Err(failure)
                    if matches!(failure.remedy, Remedy::Again | Remedy::Unknown)
                        && attempts < ATTEMPTS_MAX =>
                {
                    tracing::debug!(error = %failure.fault, attempts, "arrivals are taken in again");
                    attempts += 1;
                }
                done => return done,
            }
        }
    }

    async fn attempt_intake_once(
        &mut self,
        origin: &Origin,
        arrivals: &[Arrival],
    ) -> Result<TakenIn, GroupFailure> {
        let appending = self.appending().await?;
        let done = caught(self.commit_intake(&appending, origin, arrivals)).await;
        let done = done.unwrap_or_else(|| Err(GroupFailure::defect()));
        self.settle(appending, done.is_ok()).await;
        done
    }

    async fn commit_intake(
        &mut self,
        appending: &Appending,
        origin: &Origin,
        arrivals: &[Arrival],
    ) -> Result<TakenIn, GroupFailure> {
        let Appending { connection, statements } = appending;
        let client: &Client = connection;
        let Self { shared, state, inline, settings, .. } = self;
        let State { interned, known, .. } = state;
        let locked = standing(shared, &lock(appending, &settings.begin).await?)?;
        let new = origin.new_among(client, shared, arrivals).await?;
        let passed_over = arrivals.len() - new.len();
        let Some(last) = new.last() else {
            client.batch_execute("ROLLBACK").await?;
            return Ok(TakenIn { taken: 0, passed_over, head: locked.head.token, refused: None });
        };
        let reached = Watermark { position: last.position(), print: last.print };
        let commands: Vec<_> = new.into_iter().map(Prepared::of_arrival).collect();
        if !interned.knows(&commands) {
            interned.learn(client, &shared.schema, &commands).await?;
        }
        known.holds(locked.head.token);
        let found = find(client, statements, interned, known, &commands).await?;
        let now = shared.clock.now().max(locked.latest);
        for group in inline.iter_mut() {
            group.prepare(client, shared, locked.head, now).await?;
        }
        let decided = decide(shared.identity, interned, locked, found, now, &commands)?;
        write(client, statements, &decided, now).await?;
        origin.reach(client, shared, reached, Stamp(now)).await?;
        fold(client, shared, inline, locked.head, &decided, now).await?;
        client.batch_execute(COMMIT).await.map_err(GroupFailure::committing)?;
        let head = decided.standing.head;
        known.note(head.token, &decided.events);
        self.shared.appended.send_replace(head.position());
        self.announce(head);
        Ok(TakenIn { taken: commands.len(), passed_over, head: head.token, refused: None })
    }

    /// The connection that appends.
    pub(super) async fn appending(&mut self) -> Result<Appending, GroupFailure> {
        match self.appending.take().filter(|held| !held.connection.is_closed()) {
            Some(held) => Ok(held),
            None => self.connect().await,
        }
    }

    /// Keeps the connection for the next transaction, after a failure once this one is taken back.
    pub(super) async fn settle(&mut self, appending: Appending, done: bool) {
        if done {
            self.appending = Some(appending);
            return;
        }
        // What was believed of the log may be wrong, and names made in the transaction are gone with it.
        self.state.interned = Interned::default();
        self.state.known = Known::default();
        // Where even this fails, letting the connection go takes the transaction back.
        let connection = &appending.connection;
        if !connection.is_closed() && connection.batch_execute("ROLLBACK").await.is_ok() {
            self.appending = Some(appending);
        }
    }
}

impl Origin {
    /// The arrivals that have not been taken in before. Under the lock of the head, so that no other process
    /// takes the same.
    async fn new_among(
        &self,
        client: &Client,
        shared: &Shared,
        arrivals: &[Arrival],
    ) -> Result<Vec<Arrival>, GroupFailure> {
        match self {
            Self::Source(source) => {
                let before = watermark(client, shared, source).await?;
                Ok(arrivals.iter().filter_map(|arrival| arrival.clone().beyond(before)).collect())
            }
            Self::Outbox => {
                let rows = arrivals.iter().flat_map(|arrival| &arrival.events);
                let ids: Vec<i64> = rows.map(|(row, _)| row.0.cast_signed()).collect();
                let asked: [Parameter<'_>; 1] = [(&ids, Type::INT8_ARRAY)];
                let rows = client.query_typed(&shared.sql(TAKE_ROWS), &asked).await?;
                let taken = rows.iter().map(|row| row.try_get::<_, i64>(0));
                let taken: HashSet<i64> = taken.collect::<Result<_, _>>()?;
                let new = |row: SourcePosition| taken.contains(&row.0.cast_signed());
                Ok(arrivals.iter().filter_map(|arrival| arrival.clone().of_entries(new)).collect())
            }
        }
    }

    /// Writes down how far a source has been taken in; rows of the outbox are gone already.
    async fn reach(
        &self,
        client: &Client,
        shared: &Shared,
        reached: Watermark,
        now: Stamp,
    ) -> Result<(), GroupFailure> {
        let Self::Source(source) = self else { return Ok(()) };
        let row: [Parameter<'_>; 4] = [
            (&source.as_str(), Type::TEXT),
            (&reached.position.0.cast_signed(), Type::INT8),
            (&reached.print.0.cast_signed(), Type::INT8),
            (&now, Type::TIMESTAMPTZ),
        ];
        client.execute_typed(&shared.sql(SET_WATERMARK), &row).await?;
        Ok(())
    }
}

/// How far a source has been taken in.
pub(crate) async fn watermark(
    client: &Client,
    shared: &Shared,
    source: &Source,
) -> Result<Option<Watermark>, tokio_postgres::Error> {
    let asked: [Parameter<'_>; 1] = [(&source.as_str(), Type::TEXT)];
    let row = client.query_typed_opt(&shared.sql(SELECT_WATERMARK), &asked).await?;
    let Some(row) = row else { return Ok(None) };
    let (position, print): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let position = SourcePosition(position.cast_unsigned());
    Ok(Some(Watermark { position, print: EntryPrint(print.cast_unsigned()) }))
}
