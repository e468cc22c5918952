//! One table of a declaration with its statements, written once.

use super::checkpoint;
use super::rows::Kind;
use super::sql::{self, Named};
use super::words;
use crate::fault::OrFault;
use crate::shared::{self, quoted};
use diptych_core::{Code, Fault, ValueType};
use diptych_query::{
    AnyModel, ColumnSpec, Dialect, MoneyPath, Schema, Written, money_in_columns, statement_texts,
};
use std::collections::BTreeMap;
use tokio_postgres::Client;
use tokio_postgres::error::{DbError, SqlState};

/// The statements that find rows by an indexed column.
pub(crate) struct Finders {
    /// By one of some values.
    pub(crate) holding: String,
    /// By holding none.
    pub(crate) without: String,
}

/// The table of one declaration.
pub(crate) struct Table {
    pub(crate) schema: &'static Schema,
    pub(crate) name: Named,
    /// What is written of a row.
    pub(crate) written: Vec<Written>,
    /// What an update sets of it.
    pub(crate) settable: Vec<Written>,
    /// The types of all physical columns that are written.
    pub(crate) kinds: Vec<Kind>,
    pub(crate) insert: String,
    pub(crate) copy: String,
    pub(crate) update: String,
    pub(crate) delete: String,
    pub(crate) select_rows: String,
    pub(crate) select_tombstones: String,
    /// By column, for those that an index begins with.
    pub(crate) select_matching: BTreeMap<usize, Finders>,
    pub(crate) select_with_checkpoint: String,
    pub(crate) upsert_tombstones: String,
    pub(crate) delete_tombstones: String,
    pub(crate) sweep_tombstones: String,
    pub(crate) scan: String,
    pub(crate) scan_after: String,
    indexes: Vec<String>,
    /// Where money stands inside of columns.
    money: Vec<(usize, MoneyPath)>,
    /// The author's own SQL, where that keeps the rows.
    pub(crate) statements: Option<Vec<String>>,
}

impl Table {
    /// Writes the statements of a table.
    pub(crate) fn new(schema: &'static Schema, name: Named) -> Result<Self, Fault> {
        if let Some(column) = sql::clashing_column(schema) {
            let message = format!(
                "read model `{}` cannot have a column {column}: its table needs that name, or it is too long",
                schema.name
            );
            return Err(Fault::permanent(Code::ServiceInvalid, message));
        }
        let finders = |column| Finders {
            holding: sql::select_matching(&name, schema, column),
            without: sql::select_without(&name, schema, column),
        };
        let matching = (0..schema.columns.len()).filter(|column| schema.is_indexed(*column));
        Ok(Self {
            schema,
            written: schema.written(),
            settable: sql::settable(schema),
            kinds: sql::row_kinds(schema),
            insert: sql::insert(&name, schema),
            copy: sql::copy(&name, schema),
            update: sql::update(&name, schema),
            delete: sql::delete(&name, schema),
            select_rows: sql::select_rows(&name, schema),
            select_tombstones: sql::select_tombstones(&name, schema),
            select_matching: matching.map(|column| (column, finders(column))).collect(),
            select_with_checkpoint: sql::select_with_checkpoint(&name, schema, checkpoint::COLUMNS),
            upsert_tombstones: sql::upsert_tombstones(&name, schema),
            delete_tombstones: sql::delete(&name.tombstones(), schema),
            sweep_tombstones: sql::sweep_tombstones(&name),
            scan: sql::scan(&name, schema, false),
            scan_after: sql::scan(&name, schema, true),
            indexes: sql::create_indexes(&name, schema),
            money: Vec::new(),
            statements: None,
            name,
        })
    }

    /// The table of a model, with the statements that keep its rows where it has any.
    pub(crate) fn of(model: &dyn AnyModel, name: Named) -> Result<Self, Fault> {
        let schema = model.schema();
        let sql = name.sql();
        let texts = |statements| statement_texts(schema, statements, Dialect::Postgres, &sql);
        let kept = model.statements().map(texts);
        let money = money_in_columns(model);
        Ok(Self { statements: kept.transpose()?, money, ..Self::new(schema, name)? })
    }

    /// Makes the table and its tombstones. Its indexes come with its first rows.
    pub(crate) async fn create(&self, client: &Client) -> Result<(), Fault> {
        let words = match words::are_searched(self.schema) {
            true => Some(words::definition(self.schema, &words::collation(client).await?)),
            false => None,
        };
        let table = sql::create_table(&self.name, self.schema, self.statements.is_some(), words);
        let tombstones = sql::create_tombstones(&self.name, self.schema);
        let inside = self.money.iter().enumerate().map(|(number, (column, path))| {
            sql::guard_inside(&self.name, self.schema, (number, *column, path))
        });
        let all: Vec<_> = [table, tombstones].into_iter().chain(inside).collect();
        client.batch_execute(&all.join("; ")).await.or_fault()
    }

    /// The column whose guard of money refused a row, as PostgreSQL tells it: by a constraint, or by a column
    /// that is computed from a document and has no value where the document has no money.
    pub(crate) fn guarded_by(&self, said: &DbError) -> Option<&'static str> {
        let computed = said.code() == &SqlState::NOT_NULL_VIOLATION;
        let guards = |column: &&ColumnSpec| match (said.constraint(), said.column()) {
            (Some(constraint), _) => {
                let names = sql::guards_of(self.schema, column, self.money.len());
                names.iter().any(|name| name == constraint)
            }
            (None, Some(met)) if computed && column.value_type == ValueType::Money => {
                sql::columns_of(column).contains(&quoted(met))
            }
            _ => false,
        };
        self.schema.columns.iter().find(guards).map(|column| column.public)
    }

    /// Makes the secondary indexes, once there are rows: many at once are faster written without.
    pub(crate) async fn create_indexes(&self, client: &Client) -> Result<(), Fault> {
        if self.indexes.is_empty() {
            return Ok(());
        }
        client.batch_execute(&self.indexes.join("; ")).await.or_fault()
    }

    /// Tells the planner what a table holds that was filled at once.
    pub(crate) async fn analyze(&self, client: &Client) -> Result<(), Fault> {
        client.batch_execute(&format!("ANALYZE {}", self.name.sql())).await.or_fault()
    }

    /// Removes every row and tombstone. Not by TRUNCATE, which snapshots that are older would see.
    pub(crate) async fn empty(&self, client: &Client) -> Result<(), Fault> {
        let (rows, tombstones) = (self.name.sql(), self.name.tombstones().sql());
        client.batch_execute(&format!("DELETE FROM {rows}; DELETE FROM {tombstones}")).await.or_fault()
    }

    /// Makes the view that shows the rows that answer under the model's plain name, or has it show these: a
    /// view of the same columns keeps its privileges, and what others have made of it. One that cannot be
    /// replaced, because something of somebody else's depends on it, is left as it is.
    pub(crate) async fn show(&self, client: &Client, schema: &shared::Schema) -> Result<(), Fault> {
        const KEEP: &str = "ROLLBACK TO SAVEPOINT diptych_view";
        let view = Named::of_view(schema, self.schema.name);
        let create = sql::create_view(&view, &self.name, self.schema);
        let made_anew = format!("DROP VIEW IF EXISTS {}; {create}", view.sql());
        client.batch_execute("SAVEPOINT diptych_view").await.or_fault()?;
        for statements in [create, made_anew] {
            let Err(error) = client.batch_execute(&statements).await else { break };
            if crate::fault::is_lost(&error) {
                return Err(crate::fault::storage(error));
            }
            tracing::info!(model = self.schema.name, %error, "the view for people could not be replaced");
            client.batch_execute(KEEP).await.or_fault()?;
        }
        client.batch_execute("RELEASE SAVEPOINT diptych_view").await.or_fault()
    }
}

impl Named {
    /// The view that shows a model's rows to people.
    pub(crate) fn of_view(schema: &shared::Schema, model: &str) -> Self {
        let suffix = if RESERVED.contains(&model) { "_rows" } else { "" };
        Self::new(schema, &format!("{model}{suffix}"))
    }
}

/// Names that the store needs for itself.
const RESERVED: &[&str] = &[
    "actor",
    "audit",
    "category",
    "checkpoint",
    "checkpoint_history",
    "command",
    "command_key",
    "command_name",
    "command_refused",
    "digest",
    "event",
    "event_stream",
    "event_type",
    "fact",
    "generation",
    "head",
    "lease_fence",
    "migration",
    "page_key",
    "parked",
    "policy",
    "projection_checkpoint",
    "record",
    "stage_move",
    "stream",
    "tenant",
    "worker",
];

#[cfg(test)]
mod tests {
    use super::RESERVED;
    use std::path::Path;

    #[test]
    fn every_object_of_the_store_keeps_its_name() {
        // What later migrations make is named in the snapshot of the schema.
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema");
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(RESERVED.contains(&name), "`{name}` is missing");
        }
    }
}
