//! What operators have done: who, why, when, and what came of it. Kept beside the rows, newest first.

use crate::report::table;
use crate::{ActionError, Operator, Report};
use diptych_core::{Code, Fault, Timestamp};
use diptych_query::{Order, Record, Registry};
use serde::{Deserialize, Serialize};

/// The kind of record that operations are kept as, by ids that sort by time.
pub const OPERATION: &str = "operation";

/// How many operations are kept: the oldest are forgotten beyond.
pub const OPERATIONS_MAX: usize = 1_000;

/// Something that an operator has done, or begun.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Its id, which sorts by time.
    pub id: String,
    /// What was done, in one word.
    pub action: String,
    /// To what: a group, a row, an incident.
    pub subject: String,
    /// Who ordered it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// When it was over; none while it is under way, or when its process died.
    pub ended_at: Option<Timestamp>,
    /// Whether it was done; none while that is not known.
    pub done: Option<bool>,
    /// What came of it, in a sentence.
    pub outcome: String,
}

impl Operation {
    /// Notes that something begins, before anything is done.
    pub(crate) async fn begin(
        operator: &Operator<'_>,
        action: &str,
        subject: String,
        order: &Order,
    ) -> Result<Self, Fault> {
        let operation = Self {
            id: uuid::Uuid::now_v7().to_string(),
            action: action.to_owned(),
            subject,
            actor: order.actor.as_str().to_owned(),
            reason: order.reason.clone(),
            at: operator.commands.now(),
            ended_at: None,
            done: None,
            outcome: String::new(),
        };
        operation.write(operator.registry, 0).await?;
        Ok(operation)
    }

    /// Notes what came of it, and forgets what is too old to be kept.
    pub(crate) async fn end(
        mut self,
        operator: &Operator<'_>,
        outcome: Result<String, String>,
    ) -> Result<Self, Fault> {
        self.ended_at = Some(operator.commands.now());
        self.done = Some(outcome.is_ok());
        self.outcome = outcome.unwrap_or_else(|reason| reason);
        self.write(operator.registry, 1).await?;
        let kept = operator.registry.records(OPERATION, OPERATIONS_MAX + 100).await?;
        for old in kept.iter().skip(OPERATIONS_MAX) {
            operator.registry.forget_record(OPERATION, &old.name).await?;
        }
        Ok(self)
    }

    async fn write(&self, registry: &dyn Registry, seen: u64) -> Result<(), Fault> {
        let body = serde_json::to_string(self).map_err(|error| {
            Fault::permanent(Code::Internal, "an operation cannot be written").because(error)
        })?;
        // Nobody else writes the record of an id that was made here.
        registry.write_record(OPERATION, &self.id, seen, &body).await.map(drop)
    }

    fn read(record: &Record) -> Result<Self, Fault> {
        serde_json::from_str(&record.body).map_err(|error| {
            let message = format!("operation `{}` cannot be read", record.name);
            Fault::permanent(Code::StoreVersion, message).because(error)
        })
    }
}

/// What operators have done, newest first.
///
/// # Errors
/// A fault of the store.
pub async fn list_operations(operator: &Operator<'_>, most: usize) -> Result<Report, ActionError> {
    let records = operator.registry.records(OPERATION, most).await?;
    let mut operations = records.iter().map(Operation::read).collect::<Result<Vec<_>, _>>()?;
    operations.sort_by(|a, b| b.id.cmp(&a.id));
    Ok(Report::Operations(operations))
}

pub(crate) fn operations_table(operations: &[Operation]) -> String {
    let mut table = table(&["when", "what", "to", "who", "why", "what came of it"]);
    for operation in operations {
        let outcome = match operation.done {
            Some(true) => operation.outcome.clone(),
            Some(false) => format!("FAILED: {}", operation.outcome),
            None => "not known: it is under way, or its process has died".to_owned(),
        };
        table.add_row(vec![
            operation.at.to_string(),
            operation.action.clone(),
            operation.subject.clone(),
            operation.actor.clone(),
            operation.reason.clone(),
            outcome,
        ]);
    }
    table.to_string()
}
