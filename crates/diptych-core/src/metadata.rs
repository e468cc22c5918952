//! What stands beside an event's payload: typed, not a map of texts.

use crate::{Actor, CausationId, CommandId, CorrelationId, DecodeError};
use serde::{Deserialize, Serialize};

/// Who caused an event and by which command. Stored as JSON text beside the payload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Who acted.
    pub actor: Actor,
    /// The command that produced the event.
    pub command: CommandId,
    /// What ties the whole conversation; absent when the command itself started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<CorrelationId>,
    /// What directly caused the command, when something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<CausationId>,
    /// The version of the access policies under which the command was allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

impl Metadata {
    /// The stored form.
    ///
    /// # Panics
    /// Never: texts always serialize.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("texts always serialize")
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Refuses text that is not the stored form.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        serde_json::from_str(text).map_err(|error| DecodeError::malformed("metadata", &error))
    }
}
