//! Routes by a column: every kind of value, no value, no index, and how many rows one fact may touch.

use crate::drive::{self, EVERYTHING, MAIN, all_contents, build, pounds, record, stream};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Level, Seat, SeatEvent, SeatKind, SeatsBy, group};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Money, Position};
use diptych_query::fold::ROWS_PER_FACT_MAX;
use diptych_query::{AdvanceError, Fold, FoldError, FoldErrorKind, Group, ReadModel};

fn kind(word: Option<&str>, price: Option<Money>, level: Level) -> SeatKind {
    SeatKind { word: word.map(str::to_owned), price, level }
}

fn plain(word: &str) -> SeatKind {
    kind(Some(word), None, Level::Low)
}

fn made(from: i64, count: i64, kind: SeatKind) -> SeatEvent {
    SeatEvent::SeatsMade { from, count, kind }
}

fn found(by: SeatsBy) -> SeatEvent {
    SeatEvent::SeatsFound { by }
}

fn by_word(word: &str) -> SeatEvent {
    found(SeatsBy::Word(Some(word.to_owned())))
}

async fn tell(stores: &Stores, events: &[SeatEvent]) -> Outcome {
    record(stores, &stream::<SeatEvent>(MAIN, "hall")?, events).await?;
    Ok(())
}

/// How often each seat was found, by number.
async fn counts(stores: &Stores, group: &Group) -> Outcome<Vec<(i64, i64)>> {
    let mut counts = Vec::new();
    for (_, values) in drive::contents(stores, group).await? {
        let seat = Seat::from_row(&values)?;
        counts.push((seat.number, seat.found));
    }
    Ok(counts)
}

/// Folds what waits, at most so many positions.
async fn advance(
    stores: &Stores,
    group: &Group,
    positions_max: usize,
) -> Outcome<Result<usize, AdvanceError>> {
    let checkpoint = stores.models.checkpoint(group).await?;
    let block = stores.feed.read(checkpoint.mark.position(), group.categories(), positions_max).await?;
    let mut fold = Fold::new(group, &checkpoint);
    match fold.plan(&block) {
        Ok(()) => Ok(stores.models.advance(group, fold).await.map(|advanced| advanced.rows)),
        Err(error) => Ok(Err(AdvanceError::Fold(error))),
    }
}

/// Folds what waits, which must fail; the tables and the checkpoint stay as they were.
async fn refused(stores: &Stores, group: &Group, positions_max: usize) -> Outcome<FoldError> {
    let before = stores.models.checkpoint(group).await?;
    match advance(stores, group, positions_max).await? {
        Err(AdvanceError::Fold(error)) => {
            let after = stores.models.checkpoint(group).await?;
            ensure_eq!(after, before, "the checkpoint after a refusal");
            drive::digest(stores, group).await?;
            Ok(error)
        }
        other => Err(Failure::new(format!("a fact that must be refused was met with {other:?}"))),
    }
}

/// Rows are found by text, money, a ranked scalar and the key, whether they are stored or of the same batch.
pub(crate) async fn every_kind_of_column_finds_its_rows(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = group::<Seat>(harness);
    let (one, two) = (Some(pounds(1)?), Some(pounds(2)?));
    tell(&stores, &[made(1, 2, kind(Some("ä"), one, Level::High))]).await?;
    tell(&stores, &[made(3, 1, kind(None, two, Level::Medium))]).await?;
    tell(&stores, &[made(4, 1, kind(Some("a"), None, Level::Low))]).await?;
    tell(&stores, &[by_word("ä"), found(SeatsBy::Price(pounds(2)?))]).await?;
    tell(&stores, &[found(SeatsBy::Level(Level::High)), found(SeatsBy::Number(4))]).await?;
    let changed = SeatEvent::SeatsChanged { seats: vec![2, 4], kind: kind(Some("ä"), two, Level::High) };
    tell(&stores, &[changed, SeatEvent::SeatsDropped { seats: vec![1] }]).await?;
    tell(&stores, &[by_word("ä"), by_word("a"), found(SeatsBy::Price(pounds(1)?))]).await?;
    tell(&stores, &[found(SeatsBy::Price(pounds(2)?)), found(SeatsBy::Level(Level::High))]).await?;
    tell(&stores, &[found(SeatsBy::Level(Level::Low)), found(SeatsBy::Number(1))]).await?;
    let expected = vec![(2, 5), (3, 2), (4, 4)];
    for size in [EVERYTHING, 1, 2, 3, 5, 8] {
        stores.models.attach(&group).await?;
        stores.models.reset(&group).await?;
        build(&stores, &group, size).await?;
        ensure_eq!(counts(&stores, &group).await?, expected, "how often each was found, in {size}s");
        all_contents(&stores, &group).await?;
    }
    Ok(())
}

/// A column that holds no value is not found by that, on no store and in no batch: as a query finds none.
pub(crate) async fn no_value_finds_no_row(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = group::<Seat>(harness);
    tell(&stores, &[made(1, 2, kind(None, None, Level::Low))]).await?;
    tell(&stores, &[found(SeatsBy::Word(None)), by_word("")]).await?;
    tell(&stores, &[SeatEvent::SeatsChanged { seats: vec![2], kind: plain("") }]).await?;
    tell(&stores, &[found(SeatsBy::Word(None)), by_word("")]).await?;
    for size in [EVERYTHING, 1, 2] {
        stores.models.attach(&group).await?;
        stores.models.reset(&group).await?;
        build(&stores, &group, size).await?;
        ensure_eq!(counts(&stores, &group).await?, vec![(1, 0), (2, 1)], "found by no value, in {size}s");
    }
    Ok(())
}

/// A row that a fact names in two ways takes it once.
pub(crate) async fn a_row_found_twice_is_touched_once(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = group::<Seat>(harness);
    tell(&stores, &[made(1, 1, kind(Some("a"), None, Level::High))]).await?;
    tell(&stores, &[made(2, 1, plain("a")), made(3, 1, kind(Some("b"), None, Level::High))]).await?;
    tell(&stores, &[made(4, 1, plain("b"))]).await?;
    tell(&stores, &[found(SeatsBy::Either("a".to_owned(), Level::High))]).await?;
    for size in [EVERYTHING, 1] {
        stores.models.attach(&group).await?;
        stores.models.reset(&group).await?;
        build(&stores, &group, size).await?;
        let once = vec![(1, 1), (2, 1), (3, 1), (4, 0)];
        ensure_eq!(counts(&stores, &group).await?, once, "how often each was found, in {size}s");
    }
    Ok(())
}

/// A route by a column that no index begins with is refused: it would read the whole table for every fact.
pub(crate) async fn a_column_without_an_index_is_refused(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = group::<Seat>(harness);
    tell(&stores, &[made(1, 1, plain("a")), found(SeatsBy::Found(0))]).await?;
    stores.models.attach(&group).await?;
    for size in [EVERYTHING, 1] {
        let error = refused(&stores, &group, if size == 1 { 2 } else { size }).await?;
        ensure_eq!(error.position, Position(2), "the fact");
        let told = matches!(error.kind, FoldErrorKind::ColumnNotIndexed { column: "found" });
        ensure!(told, "why it was refused: {error}");
        if size == EVERYTHING {
            let before = advance(&stores, &group, 1).await?;
            ensure!(before.is_ok(), "the fact before: {before:?}");
        }
    }
    Ok(())
}

fn most() -> i64 {
    i64::try_from(ROWS_PER_FACT_MAX).unwrap_or(i64::MAX)
}

/// A fact may touch as many rows as are allowed, stored or new.
pub(crate) async fn as_many_rows_as_allowed_are_touched(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = group::<Seat>(harness);
    tell(&stores, &[made(1, most(), plain("a")), by_word("a"), by_word("a")]).await?;
    stores.models.attach(&group).await?;
    for size in [2, 1] {
        let rows = advance(&stores, &group, size).await??;
        ensure_eq!(rows, ROWS_PER_FACT_MAX, "the rows that a batch of {size} wrote");
    }
    let all = counts(&stores, &group).await?;
    ensure!(all.iter().all(|(_, found)| *found == 2), "a row was not found each time");
    Ok(())
}

/// One row more stops the group at that fact, and nothing is written: stored rows, new ones, and some of
/// each.
pub(crate) async fn a_fact_may_not_touch_too_many_rows(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = group::<Seat>(harness);
    tell(&stores, &[made(1, most(), plain("a")), made(most() + 1, 1, plain("a")), by_word("a")]).await?;
    stores.models.attach(&group).await?;
    let mut stood = 0;
    for stored in [0, 1, 1] {
        for _ in 0..stored {
            ensure_eq!(advance(&stores, &group, 1).await?.is_ok(), true, "the rows before");
            stood += 1;
        }
        let error = refused(&stores, &group, EVERYTHING).await?;
        ensure_eq!(error.position, Position(3), "the fact, when {stood} before it are stored");
        let told = matches!(error.kind, FoldErrorKind::TooManyRows { rows } if rows > ROWS_PER_FACT_MAX);
        ensure!(told, "why it was refused: {error}");
    }
    let all = counts(&stores, &group).await?;
    ensure_eq!(all.len(), ROWS_PER_FACT_MAX + 1, "the rows that are kept");
    ensure!(all.iter().all(|(_, found)| *found == 0), "a refused fact left something");
    Ok(())
}

/// A store need not load more than one row too many; so when some of those leave within the batch, the rest
/// must not be taken for all.
pub(crate) async fn rows_that_left_do_not_hide_too_many(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = group::<Seat>(harness);
    tell(&stores, &[made(1, most(), plain("a")), made(most() + 1, 3, plain("a"))]).await?;
    build(&stores, &group, EVERYTHING).await?;
    let leave = |seats: [i64; 2]| SeatEvent::SeatsChanged { seats: seats.to_vec(), kind: plain("b") };
    tell(&stores, &[leave([1, 2]), by_word("a"), leave([3, 4]), by_word("a")]).await?;
    let error = refused(&stores, &group, EVERYTHING).await?;
    ensure_eq!(error.position, Position(4), "the fact that touches one row too many");
    ensure!(matches!(error.kind, FoldErrorKind::TooManyRows { .. }), "why it was refused: {error}");
    let before = advance(&stores, &group, 1).await?;
    ensure!(before.is_ok(), "what comes before it: {before:?}");
    let error = refused(&stores, &group, 1).await?;
    ensure_eq!(error.position, Position(4), "the fact by itself");
    Ok(())
}
