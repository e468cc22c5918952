//! Rows of one moment on their way out of a store, a batch at a time: the port's side of an export. Who may
//! see them, and what of them, was settled before.

use crate::{BuildId, Checkpoint, Condition, RawFind, RowRule, Words};
use diptych_core::{Code, Fault, Tenant, Value};
use std::time::Instant;
use tokio::sync::mpsc;

/// How many rows a batch holds at most.
pub const EXPORT_BATCH_ROWS: usize = 500;

/// How many batches a store reads ahead of whoever takes them.
const BATCHES_AHEAD: usize = 2;

/// Which rows are carried away: those of one tenant that fit, in the order of their keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawExport {
    /// Whose rows.
    pub tenant: Tenant,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// Which rows may be seen at all.
    pub rule: RowRule,
    /// Words that a row must have, all of them.
    pub words: Words,
}

impl RawExport {
    /// The same as a question for so many rows at most, in the same order.
    #[must_use]
    pub fn question(&self, rows_max: usize) -> RawFind {
        RawFind {
            tenant: self.tenant.clone(),
            conditions: self.conditions.clone(),
            rule: self.rule.clone(),
            words: self.words.clone(),
            sort: None,
            after: None,
            rows_max,
        }
    }
}

/// An export that has begun.
#[derive(Debug)]
pub struct Exporting {
    /// Where the group stands in the moment that the rows are of.
    pub checkpoint: Checkpoint,
    /// The build they come from.
    pub build: BuildId,
    /// The rows.
    pub rows: ExportRows,
}

/// The rows of an export as they come. To drop it ends the export.
#[derive(Debug)]
pub struct ExportRows(mpsc::Receiver<Sent>);

/// Where a store puts the rows of an export.
#[derive(Debug)]
pub struct ExportSender {
    batches: mpsc::Sender<Sent>,
    deadline: Instant,
}

#[derive(Debug)]
enum Sent {
    Rows(Vec<Vec<Value>>),
    Failed(Fault),
    /// There are no more: who gets nothing has not come to the end.
    End,
}

/// The two ends of an export that is over by a deadline.
#[must_use]
pub fn export_channel(deadline: Instant) -> (ExportSender, ExportRows) {
    let (batches, taken) = mpsc::channel(BATCHES_AHEAD);
    (ExportSender { batches, deadline }, ExportRows(taken))
}

impl ExportRows {
    /// The next batch; none after the last.
    ///
    /// # Errors
    /// The export took longer than allowed, or the store failed. What came before is not all there is.
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<Value>>>, Fault> {
        match self.0.recv().await {
            Some(Sent::Rows(rows)) => Ok(Some(rows)),
            Some(Sent::End) => Ok(None),
            Some(Sent::Failed(fault)) => Err(fault),
            None => Err(too_long()),
        }
    }
}

impl ExportSender {
    /// When it has to be over.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether nobody takes the rows any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.batches.is_closed()
    }

    /// Gives away a batch, waiting until there is room for it. Answers whether anybody takes it.
    ///
    /// # Errors
    /// The deadline has come, or does before there is room.
    pub async fn rows(&self, rows: Vec<Vec<Value>>, now: Instant) -> Result<bool, Fault> {
        if now >= self.deadline {
            return Err(too_long());
        }
        let sent = tokio::time::timeout_at(self.deadline.into(), self.batches.send(Sent::Rows(rows))).await;
        sent.map(|sent| sent.is_ok()).map_err(|_| too_long())
    }

    /// Says that these were all, or why not. A failure for which there is no room shows as an end too early.
    pub async fn end(self, done: Result<(), Fault>) {
        let last = match done {
            Ok(()) => Sent::End,
            Err(fault) => Sent::Failed(fault),
        };
        // Nobody may be there to take it.
        let _ = tokio::time::timeout_at(self.deadline.into(), self.batches.send(last)).await;
    }
}

/// The fault of an export that took longer than allowed.
fn too_long() -> Fault {
    Fault::transient(Code::TimedOut, "the export took longer than allowed and is not whole")
}
