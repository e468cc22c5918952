//! Supplying a fold with the rows and tombstones it needs, one statement for each table and each way to ask.

use super::pipeline::{Statement, query_all};
use super::question::rank;
use super::rows::{Cells, Kind, column_cells, is_storable, key_at, key_cells, stored_row};
use super::sql::term_kinds;
use super::table::Table;
use crate::fault::{OrFault, unsigned};
use diptych_core::{Code, Fault, Position, Tenant, Value};
use diptych_query::{AdvanceError, Fold, FoldError, Matching, RowRef, StoredRow, TableChanges, TableNeeds};
use std::collections::{BTreeMap, HashSet};
use tokio_postgres::{Client, Row};

/// How many rows one statement names at most: an array has to fit into one message.
pub(crate) const ROWS_PER_STATEMENT_MAX: usize = 10_000;

/// From how many facts on a fold runs on a thread of its own, where it holds up nobody who waits for answers.
const FACTS_IN_PLACE_MAX: usize = 256;

/// What a fold has come to, all it needed being supplied.
pub(crate) struct Driven {
    pub(crate) fold: Fold,
    pub(crate) changes: Vec<TableChanges>,
    /// Table by table, the rows that are tombstones now.
    pub(crate) tombstones: Vec<Tombstones>,
}

/// Rows that are tombstones.
pub(crate) type Tombstones = HashSet<RowRef, foldhash::fast::RandomState>;

/// What a run of a fold comes to.
enum Step {
    Needs(Vec<(usize, TableNeeds)>),
    Done(Vec<TableChanges>),
}

/// What an answer of the database holds.
#[derive(Clone, Copy)]
enum Answer {
    Rows,
    Tombstones,
}

/// Supplies what a fold needs, and runs it. Reads only.
pub(crate) async fn drive(client: &Client, tables: &[Table], fold: Fold) -> Result<Driven, AdvanceError> {
    let mut tombstones: Vec<_> = tables.iter().map(|_| Tombstones::default()).collect();
    let mut fold = fold;
    loop {
        let (stepped, step) = run(fold).await?;
        fold = stepped;
        match step {
            Step::Done(changes) => return Ok(Driven { fold, changes, tombstones }),
            Step::Needs(needs) => {
                for (index, found) in load(client, tables, &needs).await? {
                    let deleted = found.iter().filter(|row| row.values.is_none());
                    tombstones[index].extend(deleted.map(|row| row.row.clone()));
                    fold.supply(index, found)?;
                }
            }
        }
    }
}

/// Runs a fold: in place where it is short.
async fn run(mut fold: Fold) -> Result<(Fold, Step), AdvanceError> {
    if fold.facts() <= FACTS_IN_PLACE_MAX {
        let step = step(&mut fold)?;
        return Ok((fold, step));
    }
    let ran = tokio::task::spawn_blocking(move || step(&mut fold).map(|step| (fold, step))).await;
    match ran {
        Ok(ran) => Ok(ran?),
        Err(error) => Err(Fault::permanent(Code::Internal, "a fold could not run").because(error).into()),
    }
}

fn step(fold: &mut Fold) -> Result<Step, FoldError> {
    match fold.run()? {
        Some(needs) => Ok(Step::Needs(needs)),
        None => Ok(Step::Done(fold.changes()?)),
    }
}

/// What the tables hold of what is needed, with the index of the table, all asked for at once.
async fn load(
    client: &Client,
    tables: &[Table],
    needs: &[(usize, TableNeeds)],
) -> Result<Vec<(usize, Vec<StoredRow>)>, Fault> {
    let mut statements = Vec::new();
    let mut expected = Vec::new();
    for (index, TableNeeds { rows, matching }) in needs {
        let Some(table) = tables.get(*index) else { continue };
        let mut ask = |answer, sql, cells| {
            expected.push((*index, answer));
            statements.push(Statement { sql, cells });
        };
        let rows: Vec<_> = rows.iter().filter(|row| row.key.iter().all(is_storable)).collect();
        for rows in rows.chunks(ROWS_PER_STATEMENT_MAX) {
            let cells = key_cells(table.schema, rows);
            ask(Answer::Rows, table.select_rows.as_str(), cells.clone());
            ask(Answer::Tombstones, table.select_tombstones.as_str(), cells);
        }
        for (sql, cells) in finders(table, matching) {
            ask(Answer::Rows, sql, cells);
        }
    }
    let answers = query_all(client, &statements).await.or_fault()?;
    let found = expected.into_iter().zip(answers).map(|((index, answer), rows)| {
        let read = |row: &Row| match answer {
            Answer::Rows => stored_row(tables[index].schema, row),
            Answer::Tombstones => tombstone(&tables[index], row),
        };
        Ok((index, rows.iter().map(read).collect::<Result<_, _>>()?))
    });
    found.collect()
}

/// The statements that find the rows that hold a value in a column, column by column.
fn finders<'n>(table: &'n Table, matching: &'n [Matching]) -> Vec<(&'n str, Vec<Cells<'n>>)> {
    let mut by_column: BTreeMap<usize, (Vec<&Matching>, Vec<&Matching>)> = BTreeMap::new();
    for wanted in matching.iter().filter(|wanted| is_storable(&wanted.value)) {
        let (holding, without) = by_column.entry(wanted.column).or_default();
        let asked = if wanted.value == Value::Null { without } else { holding };
        asked.push(wanted);
    }
    let mut all = Vec::new();
    for (column, (holding, without)) in by_column {
        let Some(finders) = table.select_matching.get(&column) else { continue };
        for holding in holding.chunks(ROWS_PER_STATEMENT_MAX) {
            let mut cells = vec![tenants(holding)];
            cells.append(&mut term_cells(table, column, holding));
            all.push((finders.holding.as_str(), cells));
        }
        for without in without.chunks(ROWS_PER_STATEMENT_MAX) {
            all.push((finders.without.as_str(), vec![tenants(without)]));
        }
    }
    all
}

fn tenants<'n>(matching: &[&'n Matching]) -> Cells<'n> {
    let mut cells = Cells::new(Kind::Text, matching.len());
    matching.iter().for_each(|wanted| cells.text(wanted.tenant.as_str()));
    cells
}

fn term_cells<'n>(table: &Table, column: usize, matching: &[&'n Matching]) -> Vec<Cells<'n>> {
    let column = &table.schema.columns[column];
    if term_kinds(column) == [Kind::Rank] {
        let ranks = matching.iter().map(|wanted| match &wanted.value {
            Value::Text(text) => Some(rank(column, text)),
            _ => None,
        });
        return vec![Cells::Ranks(ranks.collect())];
    }
    let mut cells = column_cells(column, matching.iter().map(|wanted| &wanted.value));
    cells.reverse();
    cells
}

fn tombstone(table: &Table, held: &Row) -> Result<StoredRow, Fault> {
    let tenant = Tenant::from_stored(held.try_get::<_, String>(0).or_fault()?);
    let (key, next) = key_at(table.schema, held, 1)?;
    let guard = Position(unsigned(held, next)?);
    Ok(StoredRow { row: RowRef { tenant, key }, values: None, guard, hash: 0 })
}
