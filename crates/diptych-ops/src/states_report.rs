//! What actions on stored states answer.

use crate::report::table;
use serde::Serialize;
use std::fmt::Write;

/// How a category's state is persisted, and how its rows stand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatesReport {
    /// Which.
    pub category: &'static str,
    /// Where its state comes from.
    pub persistence: &'static str,
    /// How many events bring a row while it is event-sourced; none where its state cannot be stored.
    pub snapshot_events: Option<u32>,
    /// The shape of the code's state; none where it cannot be stored.
    pub shape: Option<String>,
    /// How many streams have events.
    pub streams: u64,
    /// How many have a row.
    pub rows: u64,
    /// How many rows are of another shape than the code's.
    pub of_another_shape: u64,
    /// How many are behind their stream.
    pub behind: u64,
}

/// Rows held against the folds of their streams.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedStates {
    /// Of which category.
    pub category: &'static str,
    /// How many rows were held.
    pub rows: u64,
    /// Where they differ.
    pub differences: Vec<DifferenceReport>,
}

/// Something in a row that is not so in the fold of its stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DifferenceReport {
    /// Whose.
    pub tenant: String,
    /// Which stream.
    pub key: String,
    /// The version that the row stands at.
    pub version: u64,
    /// The property, as a JSON Pointer (RFC 6901).
    pub property: String,
    /// What the fold has there, JSON.
    pub expected: String,
    /// What the row has there, JSON.
    pub actual: String,
}

pub(crate) fn states_table(reports: &[StatesReport]) -> String {
    let mut table =
        table(&["category", "persistence", "snapshot", "streams", "rows", "other shape", "behind"]);
    for report in reports {
        let snapshot = match report.snapshot_events {
            None => "never, not storable".to_owned(),
            Some(0) => "never".to_owned(),
            Some(events) => format!("every {events} events"),
        };
        let snapshot = if report.persistence == "state-stored" { String::new() } else { snapshot };
        table.add_row(vec![
            report.category.to_owned(),
            report.persistence.to_owned(),
            snapshot,
            report.streams.to_string(),
            report.rows.to_string(),
            report.of_another_shape.to_string(),
            report.behind.to_string(),
        ]);
    }
    table.to_string()
}

pub(crate) fn verified_states_text(verified: &VerifiedStates) -> String {
    let VerifiedStates { category, rows, differences } = verified;
    let verdict = if differences.is_empty() { "clean" } else { "DIFFERS" };
    let mut text = format!("{category}: {verdict}: {rows} rows held against their streams");
    for DifferenceReport { tenant, key, version, property, expected, actual } in differences {
        let _ = write!(
            text,
            "\n  {tenant} {key} at version {version}: {property} is {actual}, expected {expected}"
        );
    }
    text
}
