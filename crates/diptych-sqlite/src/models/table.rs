//! One table of a declaration with its statements, written once and prepared by every connection that uses
//! them.

use super::{money, sql, words};
use crate::models::checkpoint;
use diptych_core::{Code, Fault};
use diptych_query::{AnyModel, Changed, Dialect, Schema, Written, money_in_columns, statement_texts};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

const CLEAR_STATISTICS: &str = "DELETE FROM sqlite_stat1 WHERE tbl = ?1";
const INSERT_STATISTICS: &str = "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?1, ?2, ?3)";

/// How many rows that come one after the other one statement inserts: its cursor stays where the last row
/// went, and need not look for the place of the next from the root.
pub(crate) const INSERT_ROWS: usize = 16;

/// An update of some columns: an index whose columns are left out of the text is left alone by SQLite.
pub(crate) struct Update {
    pub(crate) sql: String,
    /// What it sets, in the order of its parameters.
    pub(crate) written: Vec<Written>,
}

/// The table of one declaration.
pub(crate) struct Table {
    pub(crate) schema: &'static Schema,
    /// Its name in its file.
    pub(crate) name: String,
    /// What is written of a row, in the order of the parameters of `insert`.
    pub(crate) written: Vec<Written>,
    /// The columns that secondary indexes hold.
    indexed: Vec<usize>,
    /// What is written that neither the key nor an index holds.
    plain: Vec<Written>,
    /// Updates by which indexed columns they change, written when first needed.
    updates: Mutex<HashMap<Changed, Arc<Update>>>,
    pub(crate) insert: String,
    /// The same for [`INSERT_ROWS`] rows at once.
    pub(crate) insert_many: String,
    pub(crate) delete: String,
    pub(crate) select_row: String,
    /// By column, for those that an index begins with.
    pub(crate) select_matching: BTreeMap<usize, String>,
    pub(crate) select_with_checkpoint: String,
    pub(crate) select_tombstone: String,
    pub(crate) has_tombstones: String,
    pub(crate) upsert_tombstone: String,
    pub(crate) delete_tombstone: String,
    pub(crate) sweep_tombstones: String,
    indexes: Vec<(String, String)>,
    /// The triggers that guard money inside of columns.
    guards: Vec<(String, String)>,
    /// The author's own SQL, where that keeps the rows.
    pub(crate) statements: Option<Vec<String>>,
}

impl Table {
    /// Writes the statements of a table.
    pub(crate) fn new(schema: &'static Schema, name: String) -> Result<Self, Fault> {
        if let Some(column) = sql::clashing_column(schema) {
            let message = format!(
                "read model `{}` cannot have a column {column}: its table needs that name",
                schema.name
            );
            return Err(Fault::permanent(Code::ServiceInvalid, message));
        }
        let indexed = schema.indexed_columns();
        let written = schema.written();
        let plain = written.iter().copied().filter(|written| match written {
            Written::Cell(column) => !schema.key.contains(column) && !indexed.contains(column),
            Written::Document => true,
        });
        let matching = (0..schema.columns.len()).filter(|column| schema.is_indexed(*column));
        let matching = matching.map(|column| (column, sql::select_matching(&name, schema, column)));
        let tombstones = sql::tombstones_of(&name);
        let quoted = sql::quoted(&tombstones);
        Ok(Self {
            schema,
            insert: sql::insert(&name, schema, 1),
            insert_many: sql::insert(&name, schema, INSERT_ROWS),
            delete: sql::delete(&name, schema),
            select_row: sql::select_row(&name, schema),
            select_matching: matching.collect(),
            select_with_checkpoint: sql::select_with_checkpoint(&name, schema, checkpoint::COLUMNS),
            select_tombstone: sql::select_tombstone(&name, schema),
            has_tombstones: format!("SELECT EXISTS (SELECT 1 FROM {quoted})"),
            upsert_tombstone: sql::upsert_tombstone(&name, schema),
            delete_tombstone: sql::delete(&tombstones, schema),
            sweep_tombstones: format!("DELETE FROM {quoted} WHERE \"projection_position\" <= ?1"),
            indexes: sql::create_indexes(&name, schema),
            guards: Vec::new(),
            plain: plain.collect(),
            written,
            updates: Mutex::default(),
            indexed,
            name,
            statements: None,
        })
    }

    /// The table of a model, with the statements that keep its rows where it has any.
    pub(crate) fn of(model: &dyn AnyModel, name: String) -> Result<Self, Fault> {
        let schema = model.schema();
        let quoted = sql::quoted(&name);
        let texts = |statements| statement_texts(schema, statements, Dialect::Sqlite, &quoted);
        let kept = model.statements().map(texts);
        let guards = money_in_columns(model).into_iter().enumerate().flat_map(|(number, (column, path))| {
            money::triggers(&name, schema, &schema.columns[column], &path, number)
        });
        let guards = guards.collect();
        Ok(Self { statements: kept.transpose()?, guards, ..Self::new(schema, name)? })
    }

    /// The update for a change of some indexed columns; every other column is set as well.
    pub(crate) fn update(&self, changed: Changed) -> Arc<Update> {
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        let update = updates.entry(changed).or_insert_with(|| {
            let moved = self.indexed.iter().enumerate().filter(|(place, _)| changed.has(*place));
            let mut written: Vec<_> = moved.map(|(_, column)| Written::Cell(*column)).collect();
            written.extend(&self.plain);
            let sql = sql::update(&self.name, self.schema, &written);
            Arc::new(Update { sql, written })
        });
        Arc::clone(update)
    }

    /// Makes the table, its indexes and its tombstones.
    pub(crate) fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch(&sql::create_table(&self.name, self.schema, self.statements.is_some()))?;
        connection.execute_batch(&sql::create_tombstones(&self.name, self.schema))?;
        self.create_indexes(connection)
    }

    /// Makes the secondary indexes, that of words and the guards; tells the planner what they are good for.
    pub(crate) fn create_indexes(&self, connection: &Connection) -> rusqlite::Result<()> {
        let made = self.indexes.iter().chain(&self.guards);
        made.map(|(_, create)| create).try_for_each(|create| connection.execute_batch(create))?;
        if let Some(words) = words::create(&self.name, self.schema) {
            connection.execute_batch(&words)?;
        }
        // Nothing but ANALYZE makes the table of statistics; what it says is replaced at once.
        if !connection.table_exists(None, "sqlite_stat1")? {
            connection.execute_batch(&format!("ANALYZE {}", sql::quoted(&self.name)))?;
        }
        connection.execute(CLEAR_STATISTICS, [&self.name])?;
        for (index, line) in sql::statistics(&self.name, self.schema) {
            connection.execute(INSERT_STATISTICS, (&self.name, index, line))?;
        }
        connection.execute_batch("ANALYZE sqlite_schema")
    }

    /// Drops the secondary indexes and the guards, before many rows come at once that a fold has judged.
    pub(crate) fn drop_indexes(&self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(words) = words::drop(&self.name, self.schema) {
            connection.execute_batch(&words)?;
        }
        let drop = |kind: &str, name: &str| connection.execute_batch(&format!("DROP {kind} {name}"));
        self.guards.iter().try_for_each(|(name, _)| drop("TRIGGER IF EXISTS", name))?;
        self.indexes.iter().try_for_each(|(name, _)| drop("INDEX", name))
    }

    /// Drops the table with its tombstones and what the planner was told of it.
    pub(crate) fn drop(&self, connection: &Connection) -> rusqlite::Result<()> {
        let (rows, tombstones) = (sql::quoted(&self.name), sql::quoted(&sql::tombstones_of(&self.name)));
        connection.execute(CLEAR_STATISTICS, [&self.name])?;
        let words = words::drop(&self.name, self.schema).unwrap_or_default();
        connection.execute_batch(&format!("{words} DROP TABLE {rows}; DROP TABLE {tombstones};"))
    }

    /// Removes every row and tombstone.
    pub(crate) fn empty(&self, connection: &Connection) -> rusqlite::Result<()> {
        let (rows, tombstones) = (sql::quoted(&self.name), sql::quoted(&sql::tombstones_of(&self.name)));
        connection.execute_batch(&format!("DELETE FROM {rows}; DELETE FROM {tombstones};"))
    }
}
