//! What an answer says of itself: how fresh it is, how its model is doing, whether its contract allows it,
//! and what is withheld. Looks for no row.

use super::asking::Meant;
use super::seeing::shown;
use super::waiting::is_strong;
use super::{Ask, Queries, RawRow, Reading, Served};
use crate::{
    Breach, Checkpoint, Consistency, Contract, Degraded, Freshness, Health, JobStanding, Lag, QueryError,
    Schema, Stage,
};
use diptych_core::{Position, Value};
use std::sync::Arc;
use std::time::Duration;

impl Queries {
    /// Measures freshness after the rows were read, and holds it against the contract.
    pub(super) async fn finish(
        &self,
        meant: &Meant<'_>,
        checkpoint: &Checkpoint,
    ) -> Result<(Freshness, Health), QueryError> {
        let Meant { served, reading, target, ask, .. } = meant;
        self.judged(served, reading, checkpoint, (*target, ask)).await
    }

    /// How fresh an answer from a build is and how its model is doing, where its contract allows it.
    pub(super) async fn judged(
        &self,
        served: &Served,
        reading: &Reading,
        checkpoint: &Checkpoint,
        (target, ask): (Option<Position>, &Ask),
    ) -> Result<(Freshness, Health), QueryError> {
        let mut freshness = self.measure(served, checkpoint, target).await?;
        let health = health(served, reading, checkpoint);
        if freshness.caught_up_to_requested_position == Some(false) && health.is_stalled() {
            return Err(QueryError::Stalled { health });
        }
        let schema = served.model.schema();
        refuse_troubled(schema, health.clone())?;
        self.hold_contract(schema, &mut freshness, ask)?;
        Ok((freshness, health))
    }

    /// Rows as they may be seen.
    pub(super) fn all_shown(
        &self,
        meant: &Meant<'_>,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<RawRow>, QueryError> {
        let Meant { served, sight, .. } = meant;
        let now = self.clock.now();
        rows.into_iter().map(|row| shown(&*served.model, sight, row, now)).collect()
    }

    fn hold_contract(&self, schema: &Schema, freshness: &mut Freshness, ask: &Ask) -> Result<(), QueryError> {
        let lag = freshness.lag_seconds;
        let refuse = |within| {
            let retry_after = Duration::from_secs(1);
            Err(QueryError::NotFreshEnough { lag_seconds: lag, within, retry_after })
        };
        if let Some(within) = ask.max_stale.filter(|within| lag > within.as_secs_f64()) {
            self.metrics.stale(schema.name);
            return refuse(Some(within));
        }
        if is_strong(schema, ask) && freshness.caught_up_to_requested_position == Some(false) {
            self.metrics.stale(schema.name);
            return refuse(None);
        }
        match schema.contract {
            Contract::Bounded { within, breach } if lag > within.as_secs_f64() => {
                self.metrics.stale(schema.name);
                freshness.stale = true;
                let refused = breach == Breach::Refuse || ask.consistency == Some(Consistency::Bounded);
                if refused { refuse(Some(within)) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Lag against the head as it is now, which is after the rows were read.
    pub(super) async fn measure(
        &self,
        served: &Served,
        checkpoint: &Checkpoint,
        target: Option<Position>,
    ) -> Result<Freshness, QueryError> {
        let mark = checkpoint.mark;
        let position = mark.position();
        let lag = Lag::measure(&*self.feed, &*self.clock, position).await?;
        Ok(Freshness {
            projection_position: position,
            lag_seconds: lag.seconds,
            lag_events: lag.events,
            as_of: (position > Position::START).then_some(mark.recorded_at),
            caught_up_to_requested_position: target.map(|target| position >= target),
            token: mark.token,
            stale: false,
            words: lag.told(self.export_of(served, position).await.as_deref(), self.clock.now()),
        })
    }

    /// How the export stands that a model is folded from whose rows hold everything up to a position; none
    /// where it is folded from the log.
    pub(super) async fn export_of(&self, served: &Served, position: Position) -> Option<Arc<JobStanding>> {
        let source = served.group.source();
        if source.is_empty() { None } else { self.jobs.export(source, position, self.clock.now()).await }
    }
}

/// How a model is doing, by what its worker says, what stands beside its rows, and where its builds stand.
pub(super) fn health(served: &Served, reading: &Reading, checkpoint: &Checkpoint) -> Health {
    let serving = served.entry.serving();
    if !reading.is_own {
        return served.entry.troubles().health().unwrap_or(Health::Rebuilding);
    }
    let live = served.entry.health();
    // What was written down about a fact that is in the rows by now no longer holds.
    let reached = checkpoint.mark.position();
    let stopped = checkpoint.stopped.as_ref().filter(|stopped| stopped.position > reached);
    match (stopped, live) {
        (Some(stopped), Health::Live) => {
            Health::Stopped { position: stopped.position, reason: stopped.reason.clone() }
        }
        (_, live @ (Health::Live | Health::CatchingUp)) => {
            let troubled = served.entry.troubles().health();
            troubled.unwrap_or_else(|| match serving.stage() {
                Some(Stage::Building | Stage::Shadowing) => Health::Building,
                Some(Stage::Rebuilding) => Health::Rebuilding,
                _ => live,
            })
        }
        (_, health) => health,
    }
}

/// Refuses to answer where an operator or the model's declaration says so.
pub(super) fn refuse_troubled(schema: &Schema, health: Health) -> Result<(), QueryError> {
    match health {
        Health::Suspended { reason } => Err(QueryError::Suspended { reason }),
        Health::Degraded { .. } if schema.upkeep.degraded == Degraded::Refuse => {
            Err(QueryError::Degraded { health })
        }
        _ => Ok(()),
    }
}
