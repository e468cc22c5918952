//! Writing many rows, part after part, each prepared by another thread while the one before is written; the
//! first rows of a group into tables without indexes. The caller owns the transaction.

use super::Table;
use super::load::Tombstones;
use super::write::{Digests, write};
use crate::fault::OrFault;
use diptych_query::{AdvanceError, Fold, FoldError, TableChanges};
use rusqlite::Connection;
use std::sync::mpsc::{SyncSender, sync_channel};

/// From how many rows on they are written in parts, and an empty table before its indexes are made.
const BULK_ROWS_MIN: usize = 1_000;

/// How many rows are prepared at once.
const PART_ROWS: usize = 1_000;

/// How many parts wait to be written.
const PARTS_MAX: usize = 4;

/// Some rows of one table.
type Part = Result<(usize, TableChanges), FoldError>;

/// Whether a fold may leave so many rows that they are written in bulk. Statements of the author's are not,
/// and need the indexes.
pub(crate) fn is_bulk(tables: &[Table], fold: &Fold) -> bool {
    let folded = tables.iter().all(|table| table.statements.is_none());
    folded && fold.rows_held() >= BULK_ROWS_MIN
}

/// Writes what a fold leaves. Answers it, so that others can free it.
pub(crate) fn write_all(
    connection: &Connection,
    tables: &[Table],
    fold: &mut Fold,
    tombstones: &[Tombstones],
    digests: &mut Digests,
) -> Result<Vec<TableChanges>, AdvanceError> {
    let fresh = fold.is_fresh();
    let finish = |index: Option<usize>| match index {
        Some(index) if fresh => tables[index].create_indexes(connection).or_fault(),
        _ => Ok(()),
    };
    let mut written = Vec::new();
    std::thread::scope(|scope| {
        let (sender, parts) = sync_channel(PARTS_MAX);
        scope.spawn(move || prepare(fold, tables.len(), &sender));
        let mut under_way = None;
        for part in parts {
            let (index, changes) = part?;
            let table = &tables[index];
            if under_way != Some(index) {
                finish(under_way)?;
                if fresh {
                    table.drop_indexes(connection).or_fault()?;
                }
                under_way = Some(index);
            }
            write(connection, table, &changes, &tombstones[index], fresh).or_fault()?;
            digests.add(table, &changes);
            written.push(changes);
        }
        finish(under_way)?;
        Ok(written)
    })
}

/// Prepares part after part, until all is done, or nobody takes them any more.
fn prepare(fold: &mut Fold, tables: usize, parts: &SyncSender<Part>) {
    for table in 0..tables {
        loop {
            let part = fold.changes_up_to(table, PART_ROWS);
            let last = part.as_ref().map_or(true, |changes| changes.rows.len() < PART_ROWS);
            let failed = part.is_err();
            if parts.send(part.map(|changes| (table, changes))).is_err() || failed {
                return;
            }
            if last {
                break;
            }
        }
    }
}
