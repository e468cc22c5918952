//! Pages: every row once, whatever the order, the ties, and the writers beside the reader.

use super::values::{keys, taken};
use crate::drive::{self, EVERYTHING, build, place_of, query, take};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Level, Sample, SampleEvent, Tally, group};
use crate::{Harness, Outcome, Stores};
use diptych_core::{Timestamp, Value};
use diptych_query::{Condition, Direction, Group, Operator, RawFind, ReadModel};

/// Every sortable column both ways, with ties and missing values: the pages are the whole in order.
pub(crate) async fn pages_over_ties_miss_nothing(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = taken(harness, &stores, &tied()).await?;
    let sorts = Sample::SCHEMA.columns.iter().enumerate().filter(|(_, spec)| spec.sort);
    let mut orders = vec![None];
    for (column, _) in sorts {
        orders.extend([Direction::Ascending, Direction::Descending].map(|to| Some((column, to))));
    }
    for order in orders {
        let find = query(order, Vec::new())?;
        let whole = drive::find(&stores, &group, &find).await?;
        ensure_eq!(whole.len(), tied().len(), "the rows in order {order:?}");
        for size in [1, 2, 5] {
            let paged = paged(&stores, &group, &find, size).await?;
            ensure_eq!(keys(&paged)?, keys(&whole)?, "pages of {size} in order {order:?}");
        }
    }
    Ok(())
}

/// Pages of a filtered question hold the filter on every page.
pub(crate) async fn pages_keep_their_filter(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = taken(harness, &stores, &tied()).await?;
    let condition = Condition {
        column: Sample::column("flag"),
        operator: Operator::Equal,
        values: vec![Value::Bool(true)],
    };
    for column in ["number", "maybe_word", "maybe_level"].map(Sample::column) {
        let find = query(Some((column, Direction::Descending)), vec![condition.clone()])?;
        let whole = drive::find(&stores, &group, &find).await?;
        let flagged = whole.iter().all(|row| row[Sample::column("flag")] == Value::Bool(true));
        ensure!(flagged && !whole.is_empty(), "rows that do not fit: {whole:?}");
        let paged = paged(&stores, &group, &find, 2).await?;
        ensure_eq!(keys(&paged)?, keys(&whole)?, "filtered pages by column {column}");
    }
    Ok(())
}

/// Rows that appear behind the reader, or before it, neither repeat a row nor hide one.
pub(crate) async fn pages_hold_while_rows_come_and_go(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = taken(harness, &stores, &tied()).await?;
    for (column, to) in [("number", Direction::Ascending), ("at", Direction::Descending)] {
        let mut find = query(Some((Sample::column(column), to)), Vec::new())?;
        let before = keys(&drive::find(&stores, &group, &find).await?)?;
        find.rows_max = 3;
        let mut seen: Vec<Vec<Value>> = Vec::new();
        for round in 0.. {
            let page = drive::find(&stores, &group, &find).await?;
            let Some(last) = page.last() else { break };
            find.after = Some(place_of(&group, &find, last));
            seen.extend(page);
            // The smallest number at the latest time: before the reader in both orders.
            let sample = Box::new(Sample {
                number: i64::MIN,
                at: Timestamp::from_micros(i64::from(i32::MAX))?,
                ..Sample::default()
            });
            take(&stores, &format!("{column} {round}"), SampleEvent::Taken { sample }).await?;
            drive::advance_to_head(&stores, &group, EVERYTHING).await?;
        }
        ensure_eq!(keys(&seen)?, before, "the rows seen by `{column}` while others came");
        let after = drive::find(&stores, &group, &query(find.sort, Vec::new())?).await?;
        ensure!(after.len() > before.len(), "no row came meanwhile");
    }
    // A row that the reader stands on goes away: the next page starts where it stood.
    let mut find = query(Some((Sample::column("maybe_word"), Direction::Ascending)), Vec::new())?;
    let whole = keys(&drive::find(&stores, &group, &find).await?)?;
    find.rows_max = 4;
    let first = drive::find(&stores, &group, &find).await?;
    find.after = first.last().map(|row| place_of(&group, &find, row));
    take(&stores, &whole[3], SampleEvent::Dropped {}).await?;
    drive::advance_to_head(&stores, &group, EVERYTHING).await?;
    find.rows_max = EVERYTHING;
    let rest = keys(&drive::find(&stores, &group, &find).await?)?;
    ensure_eq!(rest, whole[4..], "the rows after one that went away");
    Ok(())
}

/// A key of several columns breaks ties by all of them, in order.
pub(crate) async fn pages_over_a_key_of_two_columns(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for (index, (word, number)) in
        [("b", 2), ("a", 10), ("b", -1), ("a", 9), ("b", 2), ("", 0)].iter().enumerate()
    {
        let (word, number) = ((*word).to_owned(), *number);
        let sample = Box::new(Sample { word, number, ..Sample::default() });
        take(&stores, &format!("{index}"), SampleEvent::Taken { sample }).await?;
    }
    let tally = group::<Tally>(harness);
    build(&stores, &tally, 2).await?;
    let row = |word: &str, number, count| {
        vec![Value::Text(word.to_owned()), Value::Integer(number), Value::Integer(count)]
    };
    let by_key = [row("", 0, 1), row("a", 9, 1), row("a", 10, 1), row("b", -1, 1), row("b", 2, 2)];
    let find = query(None, Vec::new())?;
    for size in [1, 2, EVERYTHING] {
        ensure_eq!(paged(&stores, &tally, &find, size).await?, by_key, "pages of {size} by key");
    }
    let scanned: Vec<_> = drive::contents(&stores, &tally).await?.into_iter().map(|(_, row)| row).collect();
    ensure_eq!(scanned, by_key, "a scan");
    let find = query(Some((2, Direction::Descending)), Vec::new())?;
    let [zero, nine, ten, below, twice] = by_key;
    for size in [1, 3] {
        let expected = [twice.clone(), zero.clone(), nine.clone(), ten.clone(), below.clone()];
        ensure_eq!(paged(&stores, &tally, &find, size).await?, expected, "pages of {size} by count");
    }
    drive::digest(&stores, &tally).await?;
    Ok(())
}

/// The question answered page by page, each page no larger than asked for.
pub(crate) async fn paged(
    stores: &Stores,
    group: &Group,
    find: &RawFind,
    size: usize,
) -> Outcome<Vec<Vec<Value>>> {
    let mut find = find.clone();
    find.rows_max = size;
    let mut all = Vec::new();
    loop {
        let page = drive::find(stores, group, &find).await?;
        ensure!(page.len() <= size, "a page of {size} has {} rows", page.len());
        let Some(last) = page.last() else {
            return Ok(all);
        };
        find.after = Some(place_of(group, &find, last));
        all.extend(page);
        ensure!(all.len() <= 10_000, "the pages do not end");
    }
}

/// Samples with many ties and many missing values.
pub(crate) fn tied() -> Vec<Sample> {
    let samples = (0..14_i64).map(|index| Sample {
        number: index * 5 % 3,
        flag: index % 3 == 0,
        word: ["a", "B", "b"][usize::try_from(index * 2 % 3).unwrap_or(0)].to_owned(),
        at: Timestamp::from_stored(index * 7 % 4),
        level: [Level::High, Level::Low, Level::Medium][usize::try_from(index % 3).unwrap_or(0)],
        maybe_number: (index % 4 != 0).then_some(index % 2),
        maybe_flag: (index % 5 == 0).then_some(index % 2 == 0),
        maybe_word: (index % 2 == 0).then(|| format!("{}", index % 3)),
        maybe_at: (index % 3 == 1).then(|| Timestamp::from_stored(index % 2)),
        maybe_price: (index % 4 == 1).then(|| diptych_core::Money::zero(diptych_core::Currency::EUR)),
        maybe_level: (index % 3 != 2)
            .then_some([Level::Low, Level::High][usize::try_from(index % 2).unwrap_or(0)]),
        ..Sample::default()
    });
    samples.collect()
}
