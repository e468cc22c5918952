//! What the store, its writer and its listener share: connections, the clock, the head as last seen.

use crate::PostgresLimits;
use crate::log::{LogIdentity, Names};
use crate::models::Models;
use crate::options::SCHEMA;
use crate::pool::{Loan, Pool};
use diptych_core::{Clock, Fault, Position, Timestamp, Token};
use diptych_query::{Mark, Progress};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::watch;

/// Shared by the store and its tasks.
pub(crate) struct Shared {
    pub(crate) schema: Schema,
    pub(crate) limits: PostgresLimits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) identity: LogIdentity,
    /// Connections that PostgreSQL keeps from writing.
    pub(crate) readers: Pool,
    /// Connections that write rows of read models. Appending has one of its own.
    pub(crate) writers: Pool,
    /// The builds of read models that are open here.
    pub(crate) builds: Models,
    /// Names that this process has met.
    pub(crate) names: Names,
    pub(crate) head: watch::Sender<Position>,
    /// The last position that this process has appended.
    pub(crate) appended: watch::Sender<Position>,
}

/// The schema that holds a store. Statements are written with `diptych.` before each of its objects.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    name: String,
    /// What stands in place of `diptych.`; none where that is right already.
    prefix: Option<String>,
}

impl Schema {
    pub(crate) fn new(name: &str) -> Self {
        let prefix = (name != SCHEMA).then(|| format!("{}.", quoted(name)));
        Self { name: name.to_owned(), prefix }
    }

    /// The name as it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name as SQL text writes it.
    pub(crate) fn quoted(&self) -> String {
        quoted(&self.name)
    }

    /// A statement for this schema.
    pub(crate) fn sql<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        match &self.prefix {
            None => Cow::Borrowed(statement),
            Some(prefix) => Cow::Owned(statement.replace("diptych.", prefix)),
        }
    }
}

/// A name as SQL text writes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Shared {
    /// A statement for the store's schema.
    pub(crate) fn sql<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        self.schema.sql(statement)
    }

    /// A connection that PostgreSQL keeps from writing.
    pub(crate) async fn reader(&self) -> Result<Loan<'_>, Fault> {
        self.readers.get().await
    }

    /// The same for one whose transactions say themselves that they only read.
    pub(crate) async fn reader_of_snapshots(&self) -> Result<Loan<'_>, Fault> {
        self.readers.get_for_transactions().await
    }

    /// A connection that writes rows of read models.
    pub(crate) async fn models(&self) -> Result<Loan<'_>, Fault> {
        self.writers.get().await
    }

    /// Before the first entry.
    pub(crate) fn start(&self) -> Mark {
        start_of(self.identity)
    }

    /// Wakes those who wait for a head.
    pub(crate) fn see_head(&self, head: Mark) {
        self.head.send_if_modified(|known| {
            let moved = head.position() > *known;
            *known = head.position().max(*known);
            moved
        });
    }
}

/// The mark before the first entry of a log.
pub(crate) fn start_of(identity: LogIdentity) -> Mark {
    Mark {
        token: Token { epoch: identity.epoch, position: Position::START, fingerprint: identity.fingerprint },
        recorded_at: Timestamp::EPOCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_written_for_the_schema_at_hand() {
        let statement = "SELECT position FROM diptych.head";
        assert_eq!(Schema::new("diptych").sql(statement), statement);
        assert_eq!(Schema::new("my\"log").sql(statement), "SELECT position FROM \"my\"\"log\".head");
    }
}
