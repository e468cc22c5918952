//! The escape hatch: a read model whose rows a store's own SQL keeps, a few statements for each batch of
//! facts.

use crate::{ReadModel, Schema};
use diptych_core::{Code, EventSet, Fault};

/// What a read model gives up when SQL keeps its rows. `models show` says it to operators.
pub const GIVEN_UP: &str = "verification against the log, row guards, row hashes and the digest, siblings, \
    upcasting of old events, isolation of tenants by Diptych, and running on every store unchanged";

/// Gives up verification against the log, row guards, row hashes and the digest, siblings, upcasting,
/// isolation of tenants by Diptych and portability, for statements over whole batches of facts.
///
/// For what SQL does best, such as sums over millions of facts: one statement takes a batch, in the
/// transaction that moves the checkpoint, so a fact is still taken exactly once. What `Projection` does by
/// itself is the author's here: a row carries its `tenant_id`, and old versions of events come as they were
/// written.
///
/// Each statement sees the batch as the table `facts` with the columns `position`, `tenant_id`, `category`,
/// `key`, `version`, `type`, `schema_version`, `recorded_at`, `occurred_at` (both microseconds since 1970,
/// UTC), `metadata` and `payload` (both JSON text), and writes to `{table}`, which has `tenant_id` and the
/// columns of the declaration. Money takes two columns: the amount in thousandths, and the column's name with
/// `_currency`.
///
/// ```
/// use diptych_query::{Dialect, SqlProjection};
/// # use diptych_core::{DecodeError, EncodeError, Event, EventType, Value};
/// # use diptych_query::{ReadModel, Schema};
/// # fn check<M: SqlProjection>() {}
/// const COUNT_BY_DAY: &str = "INSERT INTO {table} (tenant_id, day, orders) \
///     SELECT tenant_id, date(occurred_at / 1000000, 'unixepoch'), count(*) FROM facts \
///     WHERE type = 'OrderPlaced' GROUP BY 1, 2 \
///     ON CONFLICT (tenant_id, day) DO UPDATE SET orders = orders + excluded.orders";
///
/// fn statements(dialect: Dialect) -> &'static [&'static str] {
///     match dialect {
///         Dialect::Sqlite => &[COUNT_BY_DAY],
///         _ => &[],
///     }
/// }
/// # assert_eq!(statements(Dialect::Sqlite).len(), 1);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no statements",
    note = "implement `SqlProjection`: `statements` answers the SQL that takes a batch of facts"
)]
pub trait SqlProjection: ReadModel {
    /// The facts it reads. Each is decoded before its batch is taken: one that the code cannot read stops the
    /// model. Facts of retired types are left out.
    type Event: EventSet;

    /// The statements for a batch, in order; none where the store's SQL is not supported.
    fn statements(dialect: Dialect) -> &'static [&'static str];
}

/// Whose SQL a store speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Dialect {
    /// The embedded store's.
    Sqlite,
    /// The production store's.
    Postgres,
}

impl Dialect {
    /// Its name in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// The texts of a read model's statements in a store's dialect, with the table's name, as SQL quotes it, in
/// them.
///
/// # Errors
/// A read model without statements in that dialect.
pub fn statement_texts(
    schema: &Schema,
    statements: Statements,
    dialect: Dialect,
    table: &str,
) -> Result<Vec<String>, Fault> {
    let texts = statements(dialect);
    if texts.is_empty() {
        let message = format!("read model `{}` has no statements for {}", schema.name, dialect.as_str());
        return Err(Fault::permanent(Code::ServiceInvalid, message));
    }
    Ok(texts.iter().map(|text| text.replace("{table}", table)).collect())
}

/// The statements of a read model that SQL keeps, by the store's dialect.
pub type Statements = fn(Dialect) -> &'static [&'static str];
