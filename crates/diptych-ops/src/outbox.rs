//! The outbox of applications that keep their own tables, for an operator.

use crate::{ActionError, Operator, Report};
use diptych_command::{OutboxStatus, OutboxWorker};
use diptych_core::Timestamp;
use serde::Serialize;

/// What waits in the outbox.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboxReport {
    /// Where it is.
    pub outbox: String,
    /// How many rows wait.
    pub rows: u64,
    /// When the oldest of them happened.
    pub oldest: Option<Timestamp>,
    /// Why the row in front cannot be taken, and everything behind it waits.
    pub blocked: Option<String>,
}

impl OutboxReport {
    pub(crate) fn of(status: OutboxStatus) -> Self {
        let OutboxStatus { location, waiting, blocked, .. } = status;
        let blocked = blocked.map(|row| format!("row {} cannot be taken in: {}", row.id, row.reason));
        Self { outbox: location, rows: waiting.rows, oldest: waiting.oldest, blocked }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.blocked.is_none()
    }

    pub(crate) fn to_text(&self) -> String {
        let Self { outbox, rows, oldest, blocked } = self;
        let since = oldest.map_or(String::new(), |oldest| format!(", the oldest since {oldest}"));
        let blocked = blocked.as_ref().map_or(String::new(), |blocked| format!("\n{blocked}"));
        format!("{outbox}: {rows} rows wait{since}{blocked}")
    }
}

/// What waits in the outbox.
///
/// # Errors
/// A service without one, or a fault of the database.
pub async fn show_outbox(operator: &Operator<'_>) -> Result<Report, ActionError> {
    Ok(Report::Outbox(OutboxReport::of(outbox(operator)?.status().await?)))
}

/// Takes in everything that waits in the outbox.
///
/// # Errors
/// A service without one, a row that cannot be taken, or a fault of the database.
pub async fn drain_outbox(operator: &Operator<'_>) -> Result<Report, ActionError> {
    let events = outbox(operator)?.drain().await?;
    Ok(Report::OutboxDrained { events })
}

fn outbox<'a>(operator: &Operator<'a>) -> Result<&'a OutboxWorker, ActionError> {
    let reason = "no facts come by an outbox here: the service declares none, or `--outbox` names no file";
    operator.outbox.ok_or_else(|| ActionError::Argument { reason: reason.to_owned() })
}
