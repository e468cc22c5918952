//! What becomes of a fact that failed again and again: its key is set aside where the table declares so,
//! or the model stops; a row that somebody edited becomes an incident.

use crate::follower::Follower;
use crate::refold::Expected;
use crate::skips::Exceptions;
use crate::verify::compare;
use crate::{Finding, FoundBy, Incidents, RowName, Subject, VerifyError};
use diptych_core::{Code, Fault, Position};
use diptych_query::{AdvanceError, FailedRow, FoldError, Group, ModelStore, OnFailure, Parked, Registry};

/// What became of a fact that cannot be taken.
pub(crate) enum Aside {
    /// Its key is held back from it on, and the rest moves on.
    Parked,
    /// The model has to stop, for this reason.
    Not(String),
}

/// What the folds of a group are told. The keys that are held back are among it: a group without rows
/// folds facts before its store can tell it.
pub(crate) async fn exceptions(
    store: &dyn ModelStore,
    registry: &dyn Registry,
    group: &Group,
) -> Result<Exceptions, Fault> {
    let exceptions = Exceptions::of(store, registry, group).await?;
    if exceptions.holds() && !group.may_park() {
        // Facts would be folded into rows that lack those before them.
        let message = format!(
            "keys of `{}` are parked, but its code does not declare `on_failure = \"park\"` any more: fold \
             them again first",
            group.name()
        );
        return Err(Fault::permanent(Code::ServiceInvalid, message));
    }
    Ok(exceptions)
}

impl Follower {
    /// Sets the key aside that a fact failed for, under the lease at hand.
    pub(crate) async fn set_aside(&mut self, error: &FoldError) -> Result<Aside, AdvanceError> {
        if let Some(edited) = error.edited() {
            self.report_edited(edited).await?;
        }
        let Some(failed) = error.poisoned().filter(|failed| self.parks(failed)) else {
            return Ok(Aside::Not(error.to_string()));
        };
        let aside = (error.position, failed.row.clone());
        if self.aside.as_ref() == Some(&aside) {
            // A store that forgets what it was told would have this go on for ever.
            return Ok(Aside::Not(format!("{error}; its key was parked, but is not held back")));
        }
        let parked_keys_max = self.limits.parked_keys_max;
        let before = self.store.parked(&self.group).await?.len();
        if before >= parked_keys_max {
            let code = Code::ParkedMany;
            let reason = format!(
                "{error}; {before} keys are parked already, at most {parked_keys_max} may be ({code})"
            );
            return Ok(Aside::Not(reason));
        }
        let parked = Parked {
            model: self.group.models()[failed.table].schema().name.to_owned(),
            row: failed.row.clone(),
            position: error.position,
            event: self.event_at(error).await?,
            reason: error.to_string(),
            parked_at: self.clock.now(),
        };
        self.store.park(&self.group, self.lease, std::slice::from_ref(&parked)).await?;
        self.aside = Some(aside);
        let row = RowName::of_parked(&parked);
        tracing::error!(
            model = parked.model, %row, position = %parked.position, reason = parked.reason, "a key is parked"
        );
        self.entry.change_troubles(|troubles| troubles.parked = before as u64 + 1);
        Ok(Aside::Parked)
    }

    fn parks(&self, failed: &FailedRow) -> bool {
        let model = self.group.models().get(failed.table);
        model.is_some_and(|model| model.schema().upkeep.on_failure == OnFailure::Park)
    }

    /// The type of the fact that failed. A row that no store can keep is met when no fact is at hand.
    async fn event_at(&mut self, error: &FoldError) -> Result<String, Fault> {
        if !error.event.is_empty() {
            return Ok(error.event.clone());
        }
        let before = Position(error.position.0.saturating_sub(1));
        let block = self.feed.read(before, self.group.categories(), 1).await?;
        Ok(block.facts.first().map(|fact| fact.event.name.to_string()).unwrap_or_default())
    }

    /// Records that a row was loaded which is not what was written, with what the log says of it.
    async fn report_edited(&mut self, edited: &FailedRow) -> Result<(), Fault> {
        let incidents = Incidents::new(&*self.registry, &*self.clock);
        let FailedRow { table, row, .. } = edited;
        let Some(model) = self.group.models().get(*table) else { return Ok(()) };
        let schema = model.schema();
        let subject = Subject::Row(RowName::of(schema.name, row));
        if incidents.open_about(self.group.name(), &subject).await?.is_some() {
            return Ok(());
        }
        let found = self.store.get(&self.group, schema, row).await?;
        let position = found.checkpoint.mark.position();
        let exceptions = Exceptions::of(&*self.store, &*self.registry, &self.group).await?;
        let place = (*table, row);
        let mut expected = Expected::of_row(&*self.feed, &self.group, place, &exceptions).await?;
        match expected.fold_to(&*self.feed, position).await {
            Ok(()) => {}
            Err(VerifyError::Fault(fault)) => return Err(fault),
            // Without what the log says, there is still what stands there.
            Err(error) => tracing::error!(%error, "a row that was edited cannot be folded again"),
        }
        let said = expected.tables[*table].get(row);
        let differences = compare(schema, row, said, found.rows.first());
        let differences = differences.into_iter().map(Into::into).collect();
        let finding = Finding { subject, differences, position, found_by: FoundBy::Load };
        incidents.report(self.group.name(), finding).await?;
        self.entry.change_troubles(|troubles| troubles.incidents += 1);
        Ok(())
    }
}
