//! Writing what a fold has changed: rows, tombstones, digest. The caller owns the transaction.

use super::load::{ROWS_PER_STATEMENT_MAX, Tombstones};
use super::pipeline::{Statement, execute_all};
use super::rows::{Cells, Kind, column_cells, documents, integers, key_cells};
use super::table::Table;
use crate::fault::{damaged, is_about_the_row, storage};
use crate::shared::Schema;
use diptych_core::{Fault, Value};
use diptych_query::{BucketDigest, RowChange, RowRef, TableChanges, Written};
use std::pin::pin;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

/// From how many rows on an empty table is filled by a stream.
pub(crate) const BULK_ROWS_MIN: usize = 1_000;

/// Sums are kept modulo 2^128.
const ADD_TO_DIGEST: &str = "INSERT INTO diptych.digest (table_name, bucket, rows, sum) \
    SELECT table_name, bucket::smallint, rows, sum::numeric \
    FROM unnest($1, $2, $3, $4) AS given (table_name, bucket, rows, sum) \
    ON CONFLICT (table_name, bucket) DO UPDATE SET rows = digest.rows + excluded.rows, \
    sum = mod(digest.sum + excluded.sum, 340282366920938463463374607431768211456)";

/// Why rows were not written. Nothing of the transaction may be kept.
pub(crate) enum WriteError {
    /// A table refuses a row.
    Row(Fault),
    /// The store is to blame.
    Store(Fault),
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        if is_about_the_row(&error) { Self::Row(storage(error)) } else { Self::Store(storage(error)) }
    }
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Row(fault) | WriteError::Store(fault) => fault,
        }
    }
}

/// What becomes of the rows of one table, each in the order of the key.
#[derive(Default)]
struct Sorted<'c> {
    created: Vec<(&'c RowChange, &'c Vec<Value>)>,
    updated: Vec<(&'c RowChange, &'c Vec<Value>)>,
    deleted: Vec<&'c RowRef>,
    tombstones: Vec<&'c RowChange>,
    /// Tombstones whose rows are back.
    risen: Vec<&'c RowRef>,
}

impl<'c> Sorted<'c> {
    fn of(changes: &'c TableChanges, tombstones: &Tombstones) -> Self {
        let mut rows: Vec<&RowChange> = changes.rows.iter().collect();
        rows.sort_unstable_by(|a, b| a.stored.row.table_cmp(&b.stored.row));
        let mut sorted = Self::default();
        for change in rows {
            let row = &change.stored.row;
            match &change.stored.values {
                Some(values) if change.existed => sorted.updated.push((change, values)),
                Some(values) => {
                    sorted.created.push((change, values));
                    if tombstones.contains(row) {
                        sorted.risen.push(row);
                    }
                }
                None => {
                    if change.existed {
                        sorted.deleted.push(row);
                    }
                    sorted.tombstones.push(change);
                }
            }
        }
        sorted
    }

    /// The statements that write it, each with how many rows it must change.
    fn statements(&self, table: &'c Table, created: &[Created<'c>]) -> Vec<(Statement<'c>, usize)> {
        let schema = table.schema;
        let mut all = Vec::new();
        for risen in self.risen.chunks(ROWS_PER_STATEMENT_MAX) {
            all.push((&table.delete_tombstones, key_cells(schema, risen), risen.len()));
        }
        for deleted in self.deleted.chunks(ROWS_PER_STATEMENT_MAX) {
            all.push((&table.delete, key_cells(schema, deleted), deleted.len()));
        }
        for updated in self.updated.chunks(ROWS_PER_STATEMENT_MAX) {
            let keys: Vec<_> = updated.iter().map(|(change, _)| &change.stored.row).collect();
            let mut cells = cells_of(table, &table.settable, updated);
            cells.append(&mut key_cells(schema, &keys));
            all.push((&table.update, cells, updated.len()));
        }
        for created in created.chunks(ROWS_PER_STATEMENT_MAX) {
            all.push((&table.insert, row_cells(table, created), created.len()));
        }
        for tombstones in self.tombstones.chunks(ROWS_PER_STATEMENT_MAX) {
            let keys: Vec<_> = tombstones.iter().map(|change| &change.stored.row).collect();
            let mut cells = key_cells(schema, &keys);
            cells.push(integers(tombstones.iter().map(|change| change.stored.guard.0.cast_signed())));
            all.push((&table.upsert_tombstones, cells, tombstones.len()));
        }
        all.into_iter().map(|(sql, cells, rows)| (Statement { sql, cells }, rows)).collect()
    }
}

/// A row with the values that it is to hold.
type Created<'c> = (&'c RowChange, &'c Vec<Value>);

/// Writes what has changed in the tables of a group. `fresh` says that they are empty.
pub(crate) async fn write(
    client: &Client,
    schema: &Schema,
    tables: &[Table],
    changes: &[TableChanges],
    tombstones: &[Tombstones],
    fresh: bool,
) -> Result<(), WriteError> {
    let sorted: Vec<_> =
        changes.iter().zip(tombstones).map(|(changes, tombstones)| Sorted::of(changes, tombstones)).collect();
    let mut statements = Vec::new();
    for (table, sorted) in tables.iter().zip(&sorted) {
        let bulk = fresh && sorted.created.len() >= BULK_ROWS_MIN;
        if bulk {
            fill(client, table, &sorted.created).await?;
        }
        statements.extend(sorted.statements(table, if bulk { &[] } else { &sorted.created }));
    }
    let digests = Digests::of(changes);
    let (add_to_digest, cells) = (schema.sql(ADD_TO_DIGEST), digests.cells(tables));
    if !digests.sums.is_empty() {
        statements.push((Statement { sql: &add_to_digest, cells }, digests.sums.len()));
    }
    let (statements, expected): (Vec<_>, Vec<_>) = statements.into_iter().unzip();
    let written = execute_all(client, &statements).await?;
    if written.iter().zip(&expected).any(|(written, expected)| *written != *expected as u64) {
        let message = "a row went away while a fold held its checkpoint";
        return Err(WriteError::Store(damaged(message)));
    }
    Ok(())
}

/// Fills an empty table by a stream.
async fn fill(client: &Client, table: &Table, rows: &[Created<'_>]) -> Result<(), WriteError> {
    // The client prepares this statement under a name, which ends with it, inside the transaction: no other
    // connection of a pooler ever sees it.
    let sink = client.copy_in(table.copy.as_str()).await?;
    let types: Vec<Type> = table.kinds.iter().map(|kind| kind.wire()).collect();
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    for rows in rows.chunks(ROWS_PER_STATEMENT_MAX) {
        let cells = row_cells(table, rows);
        for row in 0..rows.len() {
            let values: Vec<_> = cells.iter().map(|cells| cells.cell(row)).collect();
            writer.as_mut().write(&values).await?;
        }
    }
    let filled = writer.as_mut().finish().await?;
    if filled == rows.len() as u64 {
        return Ok(());
    }
    Err(WriteError::Store(damaged("a table took another number of rows than it was given")))
}

/// The cells of whole rows: tenant, columns, guard, hash.
fn row_cells<'c>(table: &Table, rows: &[Created<'c>]) -> Vec<Cells<'c>> {
    let mut tenants = Cells::new(Kind::Text, rows.len());
    rows.iter().for_each(|(change, _)| tenants.text(change.stored.row.tenant.as_str()));
    std::iter::once(tenants).chain(cells_of(table, &table.written, rows)).collect()
}

/// The cells of what is written of some rows, of the guard and of the hash.
fn cells_of<'c>(table: &Table, written: &[Written], rows: &[Created<'c>]) -> Vec<Cells<'c>> {
    let mut cells = Vec::with_capacity(written.len() + 2);
    for written in written {
        match *written {
            Written::Cell(column) => {
                let values = rows.iter().map(|(_, values)| &values[column]);
                cells.append(&mut column_cells(&table.schema.columns[column], values));
            }
            Written::Document => {
                let values = rows.iter().map(|(_, values)| values.as_slice());
                cells.push(documents(table.schema, values));
            }
        }
    }
    cells.push(integers(rows.iter().map(|(change, _)| change.stored.guard.0.cast_signed())));
    cells.push(integers(rows.iter().map(|(change, _)| change.stored.hash.cast_signed())));
    cells
}

/// The changes of the digests of a group's tables.
struct Digests {
    /// With the index of the table.
    buckets: Vec<(usize, BucketDigest)>,
    /// As text, since no number of the protocol has 128 bits.
    sums: Vec<String>,
}

impl Digests {
    fn of(changes: &[TableChanges]) -> Self {
        let tables = changes.iter().enumerate();
        let buckets: Vec<_> = tables
            .flat_map(|(table, changes)| changes.digest.iter().map(move |bucket| (table, *bucket)))
            .collect();
        let sums = buckets.iter().map(|(_, (.., sum))| sum.to_string()).collect();
        Self { buckets, sums }
    }

    fn cells<'d>(&'d self, tables: &'d [Table]) -> Vec<Cells<'d>> {
        let (mut names, mut sums) =
            (Cells::new(Kind::Text, self.sums.len()), Cells::new(Kind::Text, self.sums.len()));
        self.buckets.iter().for_each(|(table, _)| names.text(&tables[*table].name.name));
        self.sums.iter().for_each(|sum| sums.text(sum));
        let buckets = integers(self.buckets.iter().map(|(_, (bucket, ..))| i64::from(*bucket)));
        let rows = integers(self.buckets.iter().map(|(_, (_, rows, _))| *rows));
        vec![names, buckets, rows, sums]
    }
}
