//! What an operator can do with stored states: look at them, bring them up to date, hold them against their
//! streams, drop them.

use crate::{ActionError, DifferenceReport, Operator, Report, StatesReport, VerifiedStates};
use diptych_command::{AnyDecider, DifferingState, RowCounts, RowProblem, WrittenRows};

/// How many differences a verification names.
const DIFFERENCES_MAX: usize = 100;

/// How every decider's state is persisted, and how its rows stand.
///
/// # Errors
/// A fault of the store.
pub async fn list_states(operator: &Operator<'_>) -> Result<Report, ActionError> {
    let mut reports = Vec::new();
    for decider in operator.commands.deciders() {
        let RowCounts { streams, rows, of_another_shape, behind } =
            operator.commands.count_rows(decider.category()).await?;
        reports.push(StatesReport {
            category: decider.category(),
            persistence: decider.persistence().as_str(),
            snapshot_events: decider.stored().map(|stored| stored.snapshot_events),
            shape: decider.stored().map(|stored| stored.shape.to_string()),
            streams,
            rows,
            of_another_shape,
            behind,
        });
    }
    Ok(Report::States(reports))
}

/// Brings a row for every stream of a category up to date, while commands go on.
///
/// # Errors
/// An unknown category, one whose state cannot be stored, an event that cannot be read, or a fault.
pub async fn write_states(operator: &Operator<'_>, category: &str) -> Result<Report, ActionError> {
    let category = known(operator, category)?.category();
    let WrittenRows { streams, written, overtaken } = operator.commands.write_rows(category).await?;
    Ok(Report::StatesWritten { category, streams, written, overtaken })
}

/// Holds every row of a category against the fold of its stream.
///
/// # Errors
/// An unknown category, one whose state cannot be stored, an event that cannot be read, or a fault.
pub async fn verify_states(operator: &Operator<'_>, category: &str) -> Result<Report, ActionError> {
    let category = known(operator, category)?.category();
    let (rows, differing) = operator.commands.verify_rows(category, DIFFERENCES_MAX).await?;
    let differences = differing.into_iter().map(difference).collect();
    Ok(Report::StatesVerified(VerifiedStates { category, rows, differences }))
}

/// Removes every row of a category, with its view.
///
/// # Errors
/// An unknown category, one that is state-stored here, or a fault.
pub async fn drop_states(operator: &Operator<'_>, category: &str) -> Result<Report, ActionError> {
    let category = known(operator, category)?.category();
    let rows = operator.commands.drop_rows(category).await?;
    Ok(Report::StatesDropped { category, rows })
}

fn difference(differing: DifferingState) -> DifferenceReport {
    let DifferingState { stream, version, problem } = differing;
    let text =
        |value: Option<serde_json::Value>| value.map_or("missing".to_owned(), |value| value.to_string());
    let (property, expected, actual) = match problem {
        RowProblem::Property { pointer, expected, actual } => (pointer, text(expected), text(actual)),
        RowProblem::Ahead { stream } => {
            ("version".to_owned(), format!("{stream} at most"), version.to_string())
        }
        RowProblem::Unreadable => ("state".to_owned(), "JSON".to_owned(), "something else".to_owned()),
    };
    let (tenant, key) = (stream.tenant.to_string(), stream.stream.key.to_string());
    DifferenceReport { tenant, key, version: version.0, property, expected, actual }
}

fn known<'a>(operator: &'a Operator<'_>, category: &str) -> Result<&'a dyn AnyDecider, ActionError> {
    let found = operator.commands.deciders().find(|decider| decider.category() == category);
    let unknown = || ActionError::UnknownCategory { name: category.to_owned() };
    found.map(|decider| &**decider).ok_or_else(unknown)
}
