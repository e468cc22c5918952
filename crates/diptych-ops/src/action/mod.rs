//! What an operator can do to read models, as values: first a plan that says what would happen, then done,
//! with who and why kept.

mod builds;
mod plan;
mod rows;

pub use plan::ActionPlan;

use crate::operation::Operation;
use crate::{ActionError, Operator, Report};
use diptych_projector::{Deprecation, Differing, Gate, Keys, Repair, RowName, Switching};
use diptych_query::{BuildId, Correction, Order};
use serde::Serialize;
use std::fmt::Write;

/// Something that an operator can do. Groups go by their names.
///
/// ```
/// use diptych_ops::Action;
/// use diptych_projector::Differing;
/// let intended: Differing = "status".parse()?;
/// let action = Action::Rebuild {
///     group: "orders".to_owned(),
///     intended,
///     switching: Default::default(),
///     filled_from: None,
/// };
/// assert_eq!((action.name(), action.subject()), ("rebuild", "orders".to_owned()));
/// # Ok::<(), std::convert::Infallible>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Build a group anew beside the build that answers, compare, and let the new one answer.
    Rebuild {
        /// Which group.
        group: String,
        /// In what the new build may differ from the old one.
        intended: Differing,
        /// What happens once nothing stands against the switch.
        switching: Switching,
        /// The export file, or folder of files that join, that it is filled from instead of its usual source.
        filled_from: Option<String>,
    },
    /// Let a rebuild stand still.
    Pause {
        /// Of which group.
        group: String,
    },
    /// Let a rebuild go on after a pause or a failure; where none stands still, let a suspended group answer.
    Resume {
        /// Which group.
        group: String,
    },
    /// Give a rebuild up.
    Cancel {
        /// Of which group.
        group: String,
    },
    /// Compare the builds of a rebuild again.
    Compare {
        /// Of which group.
        group: String,
    },
    /// Let the new build answer.
    Switch {
        /// Of which group.
        group: String,
        /// Whether it must have been compared clean.
        gate: Gate,
    },
    /// Let the old build answer again.
    Rollback {
        /// Of which group.
        group: String,
    },
    /// Retire a build and remove its tables.
    Retire {
        /// Of which group.
        group: String,
        /// Which build; none is the one that is deprecated, or the old one of a rebuild.
        build: Option<BuildId>,
    },
    /// Say of a group that it will not answer for ever.
    Deprecate {
        /// Which group.
        group: String,
        /// What is announced.
        announced: Deprecation,
    },
    /// Take a deprecation back.
    Reinstate {
        /// Of which group.
        group: String,
    },
    /// Have a group answer no questions until it is resumed.
    Suspend {
        /// Which group.
        group: String,
    },
    /// Fold parked keys again, in order.
    RetryParked {
        /// Of which group.
        group: String,
        /// Which keys.
        keys: Keys,
    },
    /// Have a parked key pass over the fact that it waits at.
    SkipParked {
        /// Of which group.
        group: String,
        /// Which key.
        row: RowName,
    },
    /// Fold a row again from the log and put it right.
    RepairRow {
        /// Of which group.
        group: String,
        /// What.
        what: Repair,
    },
    /// Close an incident that somebody has explained.
    CloseIncident {
        /// Its id.
        id: String,
    },
    /// Correct a row, by a command.
    Correct(Correction),
}

/// What came of an action.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// What was done, by whom, why and when.
    #[serde(flatten)]
    pub operation: Operation,
    /// Whether something was found that blocks, such as differences between two builds.
    pub blocked: bool,
    /// What came of it in full.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
    #[serde(skip)]
    text: String,
}

/// What an action has come to, before it is noted.
pub(crate) struct Came {
    pub(crate) outcome: String,
    pub(crate) blocked: bool,
    pub(crate) detail: serde_json::Value,
    /// More for people, below the outcome.
    pub(crate) text: String,
}

impl Came {
    pub(crate) fn to(outcome: impl Into<String>) -> Self {
        Self { outcome: outcome.into(), blocked: false, detail: serde_json::Value::Null, text: String::new() }
    }

    pub(crate) fn with(self, detail: &impl Serialize) -> Self {
        Self { detail: serde_json::to_value(detail).unwrap_or_default(), ..self }
    }
}

impl Applied {
    pub(crate) fn to_text(&self) -> String {
        let Operation { action, subject, outcome, .. } = &self.operation;
        let mut text = format!("{action} {subject}: {outcome}");
        if !self.text.is_empty() {
            let _ = write!(text, "\n{}", self.text.trim_end());
        }
        text
    }
}

impl Action {
    /// What it does, in one word: the verb of the command line, the console and the record.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rebuild { .. } => "rebuild",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Cancel { .. } => "cancel",
            Self::Compare { .. } => "compare",
            Self::Switch { .. } => "switch",
            Self::Rollback { .. } => "rollback",
            Self::Retire { .. } => "retire",
            Self::Deprecate { .. } => "deprecate",
            Self::Reinstate { .. } => "reinstate",
            Self::Suspend { .. } => "suspend",
            Self::RetryParked { .. } => "retry_parked",
            Self::SkipParked { .. } => "skip_parked",
            Self::RepairRow { .. } => "repair",
            Self::CloseIncident { .. } => "close_incident",
            Self::Correct(_) => "correct",
        }
    }

    /// To what it does it.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Rebuild { group, .. }
            | Self::Pause { group }
            | Self::Resume { group }
            | Self::Cancel { group }
            | Self::Compare { group }
            | Self::Switch { group, .. }
            | Self::Rollback { group }
            | Self::Deprecate { group, .. }
            | Self::Reinstate { group }
            | Self::Suspend { group }
            | Self::RetryParked { group, keys: Keys::All }
            | Self::Retire { group, build: None } => group.clone(),
            Self::Retire { group, build: Some(build) } => format!("{group} {build}"),
            Self::RetryParked { keys: Keys::One(row), .. } | Self::SkipParked { row, .. } => row.to_string(),
            Self::RepairRow { what: Repair::Row(row), .. } => row.to_string(),
            Self::RepairRow { what: Repair::Incident(id), .. } | Self::CloseIncident { id } => {
                format!("incident {id}")
            }
            Self::Correct(correction) => {
                let key: Vec<_> = correction.key.iter().map(ToString::to_string).collect();
                format!("{} {}", correction.model, key.join(", "))
            }
        }
    }

    /// What would happen, step by step, and whether it may happen now. Changes nothing.
    ///
    /// # Errors
    /// Something that there is not, or a fault of the store.
    pub async fn plan(&self, operator: &Operator<'_>) -> Result<ActionPlan, ActionError> {
        match self {
            Self::Suspend { .. }
            | Self::RetryParked { .. }
            | Self::SkipParked { .. }
            | Self::RepairRow { .. }
            | Self::CloseIncident { .. }
            | Self::Correct(_) => rows::plan(self, operator).await,
            _ => builds::plan(self, operator).await,
        }
    }

    /// Does it, if it may be done now, and keeps who did it and why.
    ///
    /// # Errors
    /// What [`Action::plan`] says against it, something that there is not, or a fault.
    pub async fn apply(&self, operator: &Operator<'_>, order: Order) -> Result<Report, ActionError> {
        let plan = self.plan(operator).await?;
        if let Some(reason) = plan.refused {
            return Err(ActionError::Refused { reason, instead: plan.instead });
        }
        let operation = Operation::begin(operator, self.name(), self.subject(), &order).await?;
        let came = match self {
            Self::Suspend { .. }
            | Self::RetryParked { .. }
            | Self::SkipParked { .. }
            | Self::RepairRow { .. }
            | Self::CloseIncident { .. }
            | Self::Correct(_) => rows::apply(self, operator, order).await,
            _ => builds::apply(self, operator, order).await,
        };
        match came {
            Ok(Came { outcome, blocked, detail, text }) => {
                let operation = operation.end(operator, Ok(outcome)).await?;
                Ok(Report::Applied(Box::new(Applied { operation, blocked, detail, text })))
            }
            Err(error) => {
                operation.end(operator, Err(error.to_string())).await?;
                Err(error)
            }
        }
    }
}
