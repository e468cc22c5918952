//! Corrections by a person in the fold: facts that the projection does not read, and that change one row of
//! any model that declares it. They take their place among the facts of the row.

use super::decoded::Facts;
use super::table::{Touched, TypedTable, Waiting};
use super::{FoldError, FoldErrorKind};
use crate::{Correction, Corrections, JoinedProjection};
use diptych_core::{DecodeError, Position, RawFact, Value};
use std::sync::Arc;

/// A correction that waits for its row.
pub(super) struct Correcting {
    raw: Arc<RawFact>,
    slot: usize,
    set: Vec<(usize, Value)>,
}

impl<M: JoinedProjection> TypedTable<M> {
    /// A fact that the projection does not read may be a correction. Where the store is known to be empty,
    /// it is made at once; otherwise it takes its place among those of `block`.
    pub(super) fn plan_other(
        &mut self,
        raw: &Arc<RawFact>,
        (facts, index): (&Facts<M::Event>, usize),
    ) -> Result<(), FoldError> {
        let Some(correcting) = self.correction(raw)? else {
            self.passed_over(raw);
            return Ok(());
        };
        if self.rows.is_fresh() {
            return self.correct(&correcting, Position::START);
        }
        let touched = Touched::Corrected(correcting);
        self.queue.push(Waiting { facts: Arc::clone(facts), index, touched });
        Ok(())
    }

    /// The correction of a row of this table that a fact is; none for other facts, for rows of another
    /// partition, and where a build that was begun later leaves it out.
    fn correction(&mut self, raw: &Arc<RawFact>) -> Result<Option<Box<Correcting>>, FoldError> {
        if M::SCHEMA.upkeep.corrections == Corrections::Refused {
            return Ok(None);
        }
        let read = Correction::of(raw).map_err(|error| FoldError::undecodable(raw, error))?;
        let Some(correction) = read.filter(|correction| correction.model == M::SCHEMA.name) else {
            return Ok(None);
        };
        let left_out = M::SCHEMA.upkeep.corrections == Corrections::UntilRebuild
            && self.rows.begun_at().is_some_and(|begun| raw.recorded_at < begun);
        if left_out {
            return Ok(None);
        }
        let key = correction.key_of(M::SCHEMA).map_err(|error| unfit(raw, &error))?;
        let set = correction.set_of(M::SCHEMA).map_err(|error| unfit(raw, &error))?;
        let key = M::key_from_values(&key).map_err(|error| unfit(raw, &error))?;
        let slot = self.rows.own(M::SCHEMA.tenants.owner(&raw.stream.tenant), key);
        Ok(slot.map(|slot| Box::new(Correcting { raw: Arc::clone(raw), slot, set })))
    }

    /// Corrects a row, if it is there; `clock` is the position that the group had reached before.
    pub(super) fn correct(&mut self, correcting: &Correcting, clock: Position) -> Result<(), FoldError> {
        let Correcting { raw, slot, set } = correcting;
        let (slot, at) = (*slot, raw.position);
        if self.has_passed(slot, at, clock) {
            return Ok(());
        }
        let (before, taken) = self.rows.take(slot, None);
        let Some(before) = before else {
            self.no_ops += 1;
            return Ok(());
        };
        let mut values = before.to_row();
        for (column, value) in set {
            if let Some(held) = values.get_mut(*column) {
                held.clone_from(value);
            }
        }
        let after = M::from_row(&values).map_err(|error| unfit(raw, &error))?;
        self.rows.put(slot, taken, Some(after), at, at.max(clock));
        Ok(())
    }
}

fn unfit(raw: &RawFact, error: &impl ToString) -> FoldError {
    FoldError::at(raw, FoldErrorKind::Undecodable(DecodeError::malformed(&raw.event.name, error)))
}
