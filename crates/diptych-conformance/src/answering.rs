//! For stores whose server finds rows by an index of its own: a log of many accounts, and the proof that
//! every question is answered as a reader of the whole table would answer it.

use crate::drive::{self, MAIN, QUERY_MAX};
use crate::failure::ensure_eq;
use crate::fixtures::{Level, SeatEvent, SeatKind, SeatsBy};
use crate::{Outcome, Stores};
use diptych_core::Value;
use diptych_query::{Condition, Direction, Group, Operator, RawFind, RowRule, Schema, Words};

/// How many rows a page has.
const PAGE_ROWS: usize = 3;

/// How many values of a column are asked for.
const VALUES_MAX: usize = 4;

const OPERATORS: [Operator; 5] =
    [Operator::Equal, Operator::Less, Operator::AtMost, Operator::Greater, Operator::AtLeast];

/// Opens so many accounts, of which some share owner and balance, and some were renamed or closed.
///
/// # Errors
/// A failure of the store.
pub async fn accounts(stores: &Stores, count: i64) -> Outcome {
    for number in 0..count {
        let mut events =
            vec![drive::opened(&format!("owner {}", number % 7)), drive::deposited(number * 37 % 50 + 1)?];
        if number % 4 == 0 {
            events.push(drive::renamed(&format!("owner {}", number % 3)));
        }
        if number % 5 == 0 {
            events.push(crate::fixtures::AccountEvent::Closed {});
        }
        drive::on(stores, &format!("account {number:04}"), &events).await?;
    }
    Ok(())
}

/// Moves money in every `step`th of so many accounts, renames their owners and opens or closes them.
///
/// # Errors
/// A failure of the store.
pub async fn moves(stores: &Stores, count: i64, step: usize) -> Outcome {
    for number in (0..count).step_by(step) {
        let events =
            [drive::deposited(number * 13 % 50 + 1)?, drive::renamed(&format!("owner {}", number % 5))];
        drive::on(stores, &format!("account {number:04}"), &events).await?;
    }
    Ok(())
}

/// Makes many seats of one word and two of another, and looks for those two by their word: three facts.
///
/// # Errors
/// A failure of the store.
pub async fn seats(stores: &Stores, count: i64) -> Outcome {
    let kind = |word: &str| SeatKind { word: Some(word.to_owned()), price: None, level: Level::Low };
    let events = [
        SeatEvent::SeatsMade { from: 1, count, kind: kind("many") },
        SeatEvent::SeatsMade { from: count + 1, count: 2, kind: kind("few") },
        SeatEvent::SeatsFound { by: SeatsBy::Word(Some("few".to_owned())) },
    ];
    drive::record(stores, &drive::stream::<SeatEvent>(MAIN, "hall")?, &events).await.map(drop)
}

/// Asks a group's first table for every column, both ways, by every operator, page by page, and holds each
/// page against the rows that a scan has. Answers how many questions that were.
///
/// # Errors
/// A page that is not what the whole table says, or a failure of the store.
pub async fn every_question_is_answered(stores: &Stores, group: &Group) -> Outcome<usize> {
    let main = drive::tenant(MAIN)?;
    let contents = drive::contents(stores, group).await?;
    let own = contents.into_iter().filter(|(row, _)| row.tenant == main);
    let rows: Vec<Vec<Value>> = own.map(|(_, values)| values).collect();
    let schema = group.models()[0].schema();
    let mut asked = 0;
    for find in questions(schema, &rows)? {
        asked += pages(stores, group, &rows, find).await?;
    }
    Ok(asked)
}

/// Every order with nothing else, every condition in the order of the key, and conditions in another order.
fn questions(schema: &'static Schema, rows: &[Vec<Value>]) -> Outcome<Vec<RawFind>> {
    let plain = RawFind {
        tenant: drive::tenant(MAIN)?,
        conditions: Vec::new(),
        rule: RowRule::All,
        words: Words::default(),
        sort: None,
        after: None,
        rows_max: PAGE_ROWS,
    };
    let columns = || (0..schema.columns.len()).filter(|column| schema.columns[*column].sort);
    let mut all = vec![plain.clone()];
    for column in columns() {
        let mut values: Vec<_> = rows.iter().map(|row| row[column].clone()).collect();
        values.sort_by(Value::portable_cmp);
        values.dedup();
        let some: Vec<_> = values.iter().step_by(values.len().div_ceil(VALUES_MAX).max(1)).cloned().collect();
        let other = columns().find(|other| *other > column).unwrap_or(0);
        for direction in [Direction::Ascending, Direction::Descending] {
            all.push(RawFind { sort: Some((column, direction)), ..plain.clone() });
            for (value, operator) in some.iter().zip(OPERATORS.into_iter().cycle()) {
                let conditions = vec![Condition { column, operator, values: vec![value.clone()] }];
                for sort in [None, Some((column, direction)), Some((other, direction))] {
                    all.push(RawFind { conditions: conditions.clone(), sort, ..plain.clone() });
                }
            }
        }
        let either = Condition { column, operator: Operator::Equal, values: some };
        all.push(RawFind { conditions: vec![either], ..plain.clone() });
    }
    Ok(all)
}

/// Holds the first pages of a question against the rows of the table.
async fn pages(stores: &Stores, group: &Group, rows: &[Vec<Value>], mut find: RawFind) -> Outcome<usize> {
    let schema = group.models()[0].schema();
    for page in 1..=VALUES_MAX {
        let fits = |row: &&Vec<Value>| find.fits(schema, row) && find.is_beyond(schema, row);
        let mut expected: Vec<_> = rows.iter().filter(fits).cloned().collect();
        expected.sort_by(|a, b| find.compare(schema, a, b));
        expected.truncate(find.rows_max);
        let answered = stores.models.find(group, schema, &find, QUERY_MAX).await?.rows;
        ensure_eq!(answered, expected, "page {page} of {find:?}");
        match answered.last() {
            Some(last) if answered.len() == find.rows_max => {
                find.after = Some(drive::place_of(group, &find, last));
            }
            _ => return Ok(page),
        }
    }
    Ok(VALUES_MAX)
}
