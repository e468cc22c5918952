//! Writing many rows, part after part, each prepared by another thread while the one before is written; the
//! first rows of a group into tables without indexes. The caller owns the transaction.

use super::Table;
use super::load::Tombstones;
use super::write::{Digests, write};
use crate::fault::OrFault;
use diptych_query::{AdvanceError, Fold, FoldError, TableChanges};
use rusqlite::Connection;
use std::cmp::Reverse;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};

/// From how many rows on they are written in parts, and an empty table before its indexes are made.
const BULK_ROWS_MIN: usize = 1_000;

/// How many rows are prepared at once.
const PART_ROWS: usize = 1_000;

/// How many parts wait to be written: as many as are prepared while the indexes of a table are made.
const PARTS_MAX: usize = 64;

/// Some rows of one table.
type Part = Result<(usize, TableChanges), FoldError>;

/// Whether a fold may leave so many rows that they are written in bulk. Statements of the author's are not,
/// and need the indexes.
pub(crate) fn is_bulk(tables: &[Table], fold: &Fold) -> bool {
    let folded = tables.iter().all(|table| table.statements.is_none());
    folded && fold.rows_held() >= BULK_ROWS_MIN
}

/// Writes what a fold leaves. Answers how many rows that is.
pub(crate) fn write_all(
    connection: &Connection,
    tables: &[Table],
    fold: &mut Fold,
    tombstones: &[Tombstones],
    digests: &mut Digests,
) -> Result<usize, AdvanceError> {
    let fresh = fold.is_fresh();
    let finish = |index: Option<usize>| match index {
        Some(index) if fresh => tables[index].create_indexes(connection).or_fault(),
        _ => Ok(()),
    };
    // While indexes are made, the rows of the tables after them are prepared.
    let mut order: Vec<_> = (0..tables.len()).collect();
    order.sort_by_key(|index| Reverse(tables[*index].schema.indexed_columns().len()));
    let mut written = 0;
    std::thread::scope(|scope| {
        let ((sender, parts), (give_back, given_back)) = (sync_channel(PARTS_MAX), channel());
        scope.spawn(move || prepare(fold, &order, &sender, &given_back));
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
            written += write(connection, table, &changes, &tombstones[index], fresh).or_fault()?;
            digests.add(table, &changes);
            // When everything is prepared, it is freed here.
            let _ = give_back.send(changes);
        }
        finish(under_way)?;
        Ok(written)
    })
}

/// Prepares part after part, table after table, until all is done, or nobody takes them any more. Parts are
/// freed on the side that makes them, which then gives out memory that is near.
fn prepare(fold: &mut Fold, order: &[usize], parts: &SyncSender<Part>, given_back: &Receiver<TableChanges>) {
    for table in order {
        loop {
            given_back.try_iter().for_each(drop);
            let part = fold.rows_up_to(*table, PART_ROWS);
            let last = part.as_ref().map_or(true, |changes| changes.rows.len() < PART_ROWS);
            let failed = part.is_err();
            if parts.send(part.map(|changes| (*table, changes))).is_err() || failed {
                return;
            }
            if last {
                break;
            }
        }
    }
}
