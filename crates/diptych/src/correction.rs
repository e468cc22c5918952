//! The built-in decider of corrections: who corrects which row and why. A service has it when any of its read
//! models declares that a person may correct a row; what one says is held against those declarations.

use diptych_command::{
    AnyDecider, CommandType, Context, DecideError, Decided, Decider, Persistence, RawCommand, RawRejection,
    RejectionType, ShapeError, State, Stored, Typed,
};
use diptych_core::{Code, DecodeError, EventType, Fault, Language, PolicyAttribute, RawFact, TagQuery};
use diptych_macros::{Command, Data, Event, Rejection};
use diptych_query::{Correction, Schema};
use schemars::{Schema as JsonSchema, SchemaGenerator};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where corrections are posted: `POST /row-corrections/{id}/correct`.
pub(crate) const COLLECTION: &str = "row-corrections";

/// What is recorded of a correction. Read models fold it by its stored form, [`Correction`].
#[derive(Clone, PartialEq, Debug, Event)]
#[event(category = "diptych_correction", owner = "diptych")]
pub(crate) enum CorrectionEvent {
    /// A person has corrected a row of a read model
    RowCorrected { model: String, key: Vec<Json>, set: BTreeMap<String, Json>, reason: String },
}

#[derive(Clone, Command)]
pub(crate) enum CorrectionCommand {
    /// Corrects a row of a read model: its columns hold these values from now on
    Correct { model: String, key: Vec<Json>, set: BTreeMap<String, Json>, reason: String },
}

/// Corrections are checked before anything is decided, so that nothing is left to say no to.
#[derive(Debug, Rejection)]
pub(crate) enum CorrectionRejection {
    /// The correction is there already
    #[reject("correction `{id}` is made; another one needs another id")]
    AlreadyCorrected { id: String },
}

/// One correction.
#[derive(Default, Data)]
pub(crate) struct RowCorrection {
    /// Whether it is made.
    corrected: bool,
}

impl Decider for RowCorrection {
    type Command = CorrectionCommand;
    type Event = CorrectionEvent;
    type Rejection = CorrectionRejection;

    fn decide(
        &self,
        command: CorrectionCommand,
        context: &Context,
    ) -> Result<Vec<CorrectionEvent>, CorrectionRejection> {
        if self.corrected {
            let id = context.stream.key.as_str().to_owned();
            return Err(CorrectionRejection::AlreadyCorrected { id });
        }
        let CorrectionCommand::Correct { model, key, set, reason } = command;
        Ok(vec![CorrectionEvent::RowCorrected { model, key, set, reason }])
    }

    fn evolve(self, _: &CorrectionEvent) -> Self {
        Self { corrected: true }
    }
}

/// The decider that holds corrections against the declarations of these read models.
pub(crate) fn decider(models: Vec<&'static Schema>) -> Arc<dyn AnyDecider> {
    Arc::new(Corrections { inner: diptych_command::erase::<RowCorrection>(), models })
}

struct Corrections {
    inner: Arc<dyn AnyDecider>,
    models: Vec<&'static Schema>,
}

impl Corrections {
    /// What is wrong with a correction by the declaration of its model.
    fn fits(&self, command: &RawCommand) -> Result<(), ShapeError> {
        self.inner.check(command)?;
        let correction: Correction = serde_json::from_str(&command.body).map_err(ShapeError::malformed)?;
        let named = |schema: &&&Schema| schema.name == correction.model;
        let Some(schema) = self.models.iter().find(named) else {
            let names: Vec<_> = self.models.iter().map(|schema| schema.name).collect();
            let reason =
                format!("is no read model that takes corrections; those that do: {}", names.join(", "));
            return Err(ShapeError::field("model", reason).under(Code::CorrectionRefused));
        };
        match correction.check(schema) {
            Ok(_) => Ok(()),
            Err(error) => Err(ShapeError::field(&error.field, error.reason).under(Code::CorrectionRefused)),
        }
    }
}

impl AnyDecider for Corrections {
    fn category(&self) -> &'static str {
        self.inner.category()
    }

    fn owner(&self) -> &'static str {
        self.inner.owner()
    }

    fn language(&self) -> Language {
        self.inner.language()
    }

    fn commands(&self) -> &'static [CommandType] {
        self.inner.commands()
    }

    fn events(&self) -> &'static [EventType] {
        self.inner.events()
    }

    fn rejections(&self) -> &'static [RejectionType] {
        self.inner.rejections()
    }

    fn command_schemas(&self, generator: &mut SchemaGenerator) -> Vec<JsonSchema> {
        self.inner.command_schemas(generator)
    }

    fn event_schemas(&self, generator: &mut SchemaGenerator) -> Vec<JsonSchema> {
        self.inner.event_schemas(generator)
    }

    fn rejection_schemas(&self, generator: &mut SchemaGenerator) -> Vec<JsonSchema> {
        self.inner.rejection_schemas(generator)
    }

    fn policy_view(&self) -> &'static [PolicyAttribute] {
        self.inner.policy_view()
    }

    fn check(&self, command: &RawCommand) -> Result<(), ShapeError> {
        self.fits(command)
    }

    fn initial(&self) -> State {
        self.inner.initial()
    }

    fn boundary(
        &self,
        command: &RawCommand,
        typed: &mut Option<Typed>,
        context: &Context,
    ) -> Result<Option<TagQuery>, DecideError> {
        self.inner.boundary(command, typed, context)
    }

    fn evolve(&self, state: State, events: &[Arc<RawFact>]) -> Result<State, DecodeError> {
        self.inner.evolve(state, events)
    }

    fn evolve_typed(&self, state: State, events: &Typed) -> State {
        self.inner.evolve_typed(state, events)
    }

    fn decide(
        &self,
        state: &State,
        command: &RawCommand,
        typed: Option<Typed>,
        context: &Context,
    ) -> Result<Decided, DecideError> {
        self.fits(command).map_err(DecideError::Shape)?;
        self.inner.decide(state, command, typed, context)
    }

    fn to_json(&self, state: &State) -> Result<Json, Fault> {
        self.inner.to_json(state)
    }

    fn rejection(&self, name: &str, data: &str) -> Result<RawRejection, DecodeError> {
        self.inner.rejection(name, data)
    }

    fn stored(&self) -> Option<&Stored> {
        self.inner.stored()
    }

    fn persisted(&self, persistence: Persistence) -> Option<Arc<dyn AnyDecider>> {
        self.inner.persisted(persistence)
    }

    fn to_text(&self, state: &State) -> Result<String, Fault> {
        self.inner.to_text(state)
    }

    fn read_text(&self, text: &str) -> Result<State, DecodeError> {
        self.inner.read_text(text)
    }

    fn weigh(&self, state: &State) -> usize {
        self.inner.weigh(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych_core::Event;
    use diptych_query::{CORRECTION, ROW_CORRECTED};

    /// Stored bytes are never changed: read models fold what this decider writes by another type.
    #[test]
    fn what_is_recorded_is_what_read_models_fold() {
        let golden = r#"{"model":"jar_list","key":["j1"],"set":{"spoons":7},"reason":"counted again"}"#;
        let correction: Correction = serde_json::from_str(golden).unwrap();
        let Correction { model, key, set, reason } = correction.clone();
        let event = CorrectionEvent::RowCorrected { model, key, set, reason };
        assert_eq!(event.encode().unwrap(), golden);
        assert_eq!(serde_json::to_string(&correction).unwrap(), golden);
        let kind = event.event_type();
        assert_eq!((CorrectionEvent::CATEGORY, kind.name, kind.version), (CORRECTION, ROW_CORRECTED, 1));
    }
}
