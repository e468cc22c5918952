//! Groups of tables: siblings as they stood, rows found by a column, one checkpoint for all.

use crate::drive::{self, EVERYTHING, MAIN, all_contents, build, get_in, redeliver};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{
    CaseEvent, CaseTitle, DecisionEvent, Level, PartyEvent, PartyName, UNREADABLE_TITLE, Waiting, work_group,
};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Event, Position, Tenant};
use diptych_query::{AdvanceError, Checkpoint, Fold, FoldErrorKind, Group, ReadModel, ScannedRow};

/// The places of the tables in their group.
const CASES: usize = 0;
const PARTIES: usize = 1;
const QUEUE: usize = 2;

pub(super) fn opened(title: &str, party: &str) -> CaseEvent {
    CaseEvent::CaseOpened { title: title.to_owned(), party: party.to_owned() }
}

pub(super) fn risk(risk: Level) -> CaseEvent {
    CaseEvent::CaseRiskBandChanged { risk }
}

pub(super) fn registered(name: &str) -> PartyEvent {
    PartyEvent::PartyRegistered { name: name.to_owned() }
}

pub(super) fn renamed(name: &str) -> PartyEvent {
    PartyEvent::PartyRenamed { name: name.to_owned() }
}

pub(super) fn drafted(case: &str) -> DecisionEvent {
    DecisionEvent::DecisionDrafted { case: case.to_owned() }
}

pub(super) fn moved(case: &str) -> DecisionEvent {
    DecisionEvent::DecisionMoved { case: case.to_owned() }
}

pub(super) fn reopened(case: &str) -> DecisionEvent {
    DecisionEvent::DecisionReopened { case: case.to_owned() }
}

/// Appends to a stream of the main tenant.
pub(super) async fn tell<E: Event>(stores: &Stores, key: &str, event: E) -> Outcome {
    drive::tell(stores, MAIN, key, event).await
}

/// A row of the queue, if it waits.
async fn waiting(stores: &Stores, group: &Group, key: &str) -> Outcome<Option<Waiting<false>>> {
    let found = get_in(stores, group, QUEUE, key).await?;
    Ok(found.rows.first().map(|row| Waiting::from_row(row)).transpose()?)
}

/// What a test says of a row of the queue: case, title, risk, party, its name, how many facts it took.
type Said<'a> = (&'a str, Option<&'a str>, Option<Level>, Option<&'a str>, Option<&'a str>, i64);

#[track_caller]
fn says(row: Option<&Waiting<false>>, said: Option<Said<'_>>, what: &str) -> Outcome {
    let held = row.map(|row| {
        let Waiting { case, title, risk, party, party_name, facts, .. } = row;
        (case.as_str(), title.as_deref(), *risk, party.as_deref(), party_name.as_deref(), *facts)
    });
    ensure_eq!(held, said, "{what}");
    Ok(())
}

/// Several languages in two tenants: rows that come, move from case to case, go, and come back; cases and
/// parties that are known before them, after them and no more.
pub(super) async fn work(stores: &Stores) -> Outcome {
    tell(stores, "d0", drafted("c1")).await?;
    tell(stores, "c1", opened("one", "p1")).await?;
    tell(stores, "p1", registered("Ann")).await?;
    tell(stores, "d1", drafted("c1")).await?;
    drive::tell(stores, "other", "d1", drafted("c1")).await?;
    tell(stores, "p1", renamed("Bea")).await?;
    tell(stores, "c2", opened("two", "p2")).await?;
    tell(stores, "c1", risk(Level::High)).await?;
    drive::note(stores, "n").await?;
    tell(stores, "d2", reopened("c3")).await?;
    tell(stores, "d1", moved("c2")).await?;
    tell(stores, "c1", risk(Level::Medium)).await?;
    tell(stores, "p2", registered("Cid")).await?;
    tell(stores, "c3", opened("three", "p1")).await?;
    tell(stores, "d3", drafted("c3")).await?;
    drive::tell(stores, "other", "c1", opened("another one", "p2")).await?;
    tell(stores, "c3", opened("three again", "p2")).await?;
    tell(stores, "p1", renamed("Dee")).await?;
    tell(stores, "d0", DecisionEvent::DecisionApproved {}).await?;
    tell(stores, "c1", risk(Level::High)).await?;
    tell(stores, "p2", renamed("Eve")).await?;
    tell(stores, "c2", CaseEvent::CaseClosed {}).await?;
    tell(stores, "p2", renamed("Fay")).await?;
    tell(stores, "d4", drafted("c2")).await?;
    tell(stores, "d0", reopened("c1")).await?;
    tell(stores, "c2", opened("two again", "p1")).await?;
    tell(stores, "p1", PartyEvent::PartyForgotten {}).await?;
    tell(stores, "d3", moved("c2")).await?;
    drive::tell(stores, "other", "p2", registered("Gus")).await?;
    tell(stores, "c2", risk(Level::Medium)).await
}

/// A row takes what its siblings said at that fact, though the same batch changes them later.
pub(crate) async fn siblings_stand_as_at_the_fact(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = work_group::<false>(harness);
    tell(&stores, "c1", opened("one", "p1")).await?;
    tell(&stores, "p1", registered("Ann")).await?;
    tell(&stores, "d1", drafted("c1")).await?;
    // Found by a party that the case has named at that moment and names no more at the end of the batch.
    tell(&stores, "p1", renamed("Bea")).await?;
    tell(&stores, "c1", CaseEvent::CaseClosed {}).await?;
    tell(&stores, "d2", reopened("c2")).await?;
    tell(&stores, "c2", opened("two", "p1")).await?;
    build(&stores, &group, EVERYTHING).await?;
    let closed = Some(("c1", None, None, None, None, 3));
    says(waiting(&stores, &group, "d1").await?.as_ref(), closed, "a row of a case that was closed later")?;
    says(waiting(&stores, &group, "d2").await?.as_ref(), None, "a row of a case that was opened later")?;
    tell(&stores, "d3", drafted("c2")).await?;
    tell(&stores, "c2", opened("two again", "p2")).await?;
    tell(&stores, "d3", moved("c1")).await?;
    tell(&stores, "p2", registered("Cid")).await?;
    tell(&stores, "c1", opened("one again", "p2")).await?;
    tell(&stores, "p2", renamed("Dee")).await?;
    tell(&stores, "c1", CaseEvent::CaseClosed {}).await?;
    tell(&stores, "c1", opened("one for good", "p3")).await?;
    build(&stores, &group, EVERYTHING).await?;
    let followed = Some(("c1", Some("one for good"), Some(Level::Low), Some("p3"), None, 7));
    says(waiting(&stores, &group, "d3").await?.as_ref(), followed, "a row that took every state")?;
    let before = all_contents(&stores, &group).await?;
    stores.models.reset(&group).await?;
    build(&stores, &group, 1).await?;
    ensure_eq!(all_contents(&stores, &group).await?, before, "the rows when folded one by one");
    Ok(())
}

/// A fact that is routed by a column touches rows that the same batch has made or moved, and stored ones.
pub(crate) async fn a_column_finds_rows_of_the_same_batch(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = work_group::<false>(harness);
    tell(&stores, "p1", registered("Ann")).await?;
    tell(&stores, "c1", opened("one", "p1")).await?;
    tell(&stores, "d1", drafted("c1")).await?;
    tell(&stores, "c1", risk(Level::High)).await?;
    tell(&stores, "p1", renamed("Bea")).await?;
    build(&stores, &group, EVERYTHING).await?;
    let told = Some(("c1", Some("one"), Some(Level::High), Some("p1"), Some("Bea"), 3));
    says(waiting(&stores, &group, "d1").await?.as_ref(), told, "a row of a first batch")?;
    tell(&stores, "d2", drafted("c2")).await?;
    tell(&stores, "d3", drafted("c1")).await?;
    tell(&stores, "d2", moved("c1")).await?;
    tell(&stores, "c1", risk(Level::Medium)).await?;
    tell(&stores, "p1", renamed("Cid")).await?;
    build(&stores, &group, EVERYTHING).await?;
    for (key, facts) in [("d1", 5), ("d2", 4), ("d3", 3)] {
        let told = Some(("c1", Some("one"), Some(Level::Medium), Some("p1"), Some("Cid"), facts));
        says(waiting(&stores, &group, key).await?.as_ref(), told, &format!("`{key}` of a later batch"))?;
    }
    all_contents(&stores, &group).await?;
    Ok(())
}

/// A row that the batch has moved, deleted or led elsewhere is not found by what it held before.
pub(crate) async fn a_row_that_left_is_not_found(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = work_group::<false>(harness);
    for (party, name) in [("p1", "Ann"), ("p2", "Bea")] {
        tell(&stores, party, registered(name)).await?;
    }
    tell(&stores, "c1", opened("one", "p1")).await?;
    for key in ["d1", "d2", "d3"] {
        tell(&stores, key, drafted("c1")).await?;
    }
    build(&stores, &group, EVERYTHING).await?;
    tell(&stores, "d1", moved("c2")).await?;
    tell(&stores, "d2", DecisionEvent::DecisionApproved {}).await?;
    tell(&stores, "c1", risk(Level::High)).await?;
    // Not a move of its own: the case is about another party now, so the row leaves the first.
    tell(&stores, "c1", opened("one", "p2")).await?;
    tell(&stores, "p1", renamed("not Ann")).await?;
    let mut fold = Fold::new(&group, &stores.models.checkpoint(&group).await?);
    let from = fold.from();
    fold.plan(&stores.feed.read(from, group.categories(), EVERYTHING).await?)?;
    let advanced = stores.models.advance(&group, fold).await?;
    ensure_eq!(advanced.no_ops(), vec![0, 0, 0], "the facts that met no row");
    let away = Some(("c2", None, None, None, None, 2));
    says(waiting(&stores, &group, "d1").await?.as_ref(), away, "a row that moved away")?;
    says(waiting(&stores, &group, "d2").await?.as_ref(), None, "a row that was deleted")?;
    let stayed = Some(("c1", Some("one"), Some(Level::High), Some("p2"), Some("Bea"), 3));
    says(waiting(&stores, &group, "d3").await?.as_ref(), stayed, "a row that was led to another party")?;
    tell(&stores, "p2", renamed("Cid")).await?;
    build(&stores, &group, EVERYTHING).await?;
    let followed = Some(("c1", Some("one"), Some(Level::High), Some("p2"), Some("Cid"), 4));
    says(waiting(&stores, &group, "d3").await?.as_ref(), followed, "the row at its other party")
}

/// A row that moved into a case does not take what happened there before, though that comes again.
pub(crate) async fn a_row_that_moved_takes_no_older_fact_again(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let group = work_group::<false>(harness);
    tell(&stores, "d1", drafted("c1")).await?;
    tell(&stores, "c2", opened("two", "p1")).await?;
    tell(&stores, "c2", risk(Level::Medium)).await?;
    tell(&stores, "p1", registered("Ann")).await?;
    tell(&stores, "d1", moved("c2")).await?;
    for size in [1, EVERYTHING] {
        stores.models.attach(&group).await?;
        stores.models.reset(&group).await?;
        build(&stores, &group, size).await?;
        for life in 0..2 {
            let before = state(&stores, &group).await?;
            for (after, through) in [(2, 3), (1, 3), (1, 4), (3, 4), (0, 5), (4, 5)] {
                again(&stores, &group, after, through).await?;
            }
            let moved = Some(("c2", Some("two"), Some(Level::Medium), Some("p1"), Some("Ann"), 2));
            says(waiting(&stores, &group, "d1").await?.as_ref(), moved, "the row that moved")?;
            ensure_eq!(state(&stores, &group).await?, before, "the tables in life {life}");
            harness.crash(stores).await?;
            stores = harness.open(Vec::new()).await?;
            stores.models.attach(&group).await?;
        }
    }
    Ok(())
}

/// A sibling that was stored long ago is loaded and the batch folded again, once more for one that only it
/// has named; what was folded before leaves no trace.
pub(crate) async fn a_missing_sibling_is_loaded_and_folded_again(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = work_group::<false>(harness);
    for (case, party) in [("c1", "p1"), ("c2", "p2"), ("c3", "p1")] {
        tell(&stores, case, opened(case, party)).await?;
    }
    tell(&stores, "p1", registered("Ann")).await?;
    tell(&stores, "p2", registered("Bea")).await?;
    tell(&stores, "d1", drafted("c1")).await?;
    tell(&stores, "c3", CaseEvent::CaseClosed {}).await?;
    build(&stores, &group, 1).await?;
    tell(&stores, "c1", risk(Level::High)).await?;
    tell(&stores, "d2", drafted("c2")).await?;
    tell(&stores, "d3", drafted("c3")).await?;
    tell(&stores, "d4", drafted("c4")).await?;
    tell(&stores, "d5", drafted("c2")).await?;
    tell(&stores, "d5", DecisionEvent::DecisionApproved {}).await?;
    tell(&stores, "d6", reopened("c4")).await?;
    tell(&stores, "d1", moved("c2")).await?;
    let mut fold = Fold::new(&group, &stores.models.checkpoint(&group).await?);
    let from = fold.from();
    fold.plan(&stores.feed.read(from, group.categories(), EVERYTHING).await?)?;
    let advanced = stores.models.advance(&group, fold).await?;
    ensure_eq!(advanced.no_ops(), vec![0, 0, 1], "the facts that met no row, though folded more than once");
    let in_two = |facts| Some(("c2", Some("c2"), Some(Level::Low), Some("p2"), Some("Bea"), facts));
    says(waiting(&stores, &group, "d1").await?.as_ref(), in_two(3), "a row that was stored")?;
    says(waiting(&stores, &group, "d2").await?.as_ref(), in_two(1), "a row of a stored case")?;
    let closed = Some(("c3", None, None, None, None, 1));
    says(waiting(&stores, &group, "d3").await?.as_ref(), closed, "a row of a closed case")?;
    let unknown = Some(("c4", None, None, None, None, 1));
    says(waiting(&stores, &group, "d4").await?.as_ref(), unknown, "a row of a case that never was")?;
    says(waiting(&stores, &group, "d5").await?.as_ref(), None, "a row that was made and deleted")?;
    let before = all_contents(&stores, &group).await?;
    ensure_eq!(before[QUEUE].len(), 4, "the rows of the queue");
    stores.models.reset(&group).await?;
    build(&stores, &group, 1).await?;
    ensure_eq!(all_contents(&stores, &group).await?, before, "the rows when folded one by one");
    Ok(())
}

/// A row that was deleted stays so when its facts come again, also one that would come back by what its
/// siblings have learnt since.
pub(crate) async fn a_deleted_row_stays_deleted(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let group = work_group::<false>(harness);
    tell(&stores, "d1", drafted("c1")).await?;
    tell(&stores, "d1", DecisionEvent::DecisionApproved {}).await?;
    tell(&stores, "d1", reopened("c1")).await?;
    tell(&stores, "d2", reopened("c1")).await?;
    tell(&stores, "c1", opened("one", "p1")).await?;
    tell(&stores, "p1", registered("Ann")).await?;
    tell(&stores, "p1", PartyEvent::PartyForgotten {}).await?;
    for size in [1, 3, EVERYTHING] {
        stores.models.attach(&group).await?;
        stores.models.reset(&group).await?;
        build(&stores, &group, size).await?;
        for life in 0..2 {
            for (after, through) in [(0, 1), (2, 3), (0, 4), (3, 4), (5, 6), (0, 7), (2, 6)] {
                again(&stores, &group, after, through).await?;
            }
            let kept = all_contents(&stores, &group).await?;
            let counts: Vec<_> = kept.iter().map(Vec::len).collect();
            ensure_eq!(counts, vec![1, 0, 0], "the rows of each table in life {life}");
            harness.crash(stores).await?;
            stores = harness.open(Vec::new()).await?;
            stores.models.attach(&group).await?;
        }
    }
    Ok(())
}

/// However the log is cut, every table has the same rows, and each its digest.
pub(crate) async fn batches_of_any_size_leave_the_same_rows(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = work_group::<false>(harness);
    work(&stores).await?;
    let count = usize::try_from(stores.feed.head().await?.position().0).unwrap_or(EVERYTHING);
    build(&stores, &group, 1).await?;
    let single = all_contents(&stores, &group).await?;
    ensure!(single.iter().all(|rows| rows.len() > 1), "a table has no rows: {single:?}");
    for size in (2..=12).chain([count - 1, count]) {
        stores.models.reset(&group).await?;
        drive::advance_to_head(&stores, &group, size).await?;
        ensure_eq!(all_contents(&stores, &group).await?, single, "the rows in batches of {size}");
    }
    for first in 1..count {
        let (start, through) = (first as u64, count as u64);
        stores.models.reset(&group).await?;
        drive::advance_once(&stores, &group, first).await?;
        drive::advance_once(&stores, &group, EVERYTHING).await?;
        ensure_eq!(all_contents(&stores, &group).await?, single, "the rows cut at {first}");
        again(&stores, &group, start, through).await?;
        again(&stores, &group, 0, through).await?;
    }
    ensure_eq!(all_contents(&stores, &group).await?, single, "the rows after everything once more");
    Ok(())
}

/// A fact that the last table cannot take leaves nothing in the first.
pub(crate) async fn one_checkpoint_for_all_tables(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let group = work_group::<false>(harness);
    tell(&stores, "c1", opened("one", "p1")).await?;
    tell(&stores, "d1", drafted("c1")).await?;
    build(&stores, &group, EVERYTHING).await?;
    let before = state(&stores, &group).await?;
    tell(&stores, "p1", registered("Ann")).await?;
    tell(&stores, "c2", opened("two", "p1")).await?;
    tell(&stores, "c1", opened(UNREADABLE_TITLE, "p1")).await?;
    tell(&stores, "c3", opened("three", "p1")).await?;
    for life in 0..2 {
        let error = match advance(&stores, &group, EVERYTHING).await? {
            Err(AdvanceError::Fold(error)) => error,
            other => return Err(Failure::new(format!("a failing fold answered {other:?}"))),
        };
        ensure_eq!(error.position, Position(5), "the fact that failed");
        ensure!(matches!(error.kind, FoldErrorKind::KeyChanged { .. }), "how it failed: {error:?}");
        ensure_eq!(state(&stores, &group).await?, before, "every table after a failure, in life {life}");
        harness.crash(stores).await?;
        stores = harness.open(Vec::new()).await?;
        stores.models.attach(&group).await?;
    }
    let moved = advance(&stores, &group, 2).await?;
    ensure!(moved.is_ok(), "what comes before the failing fact: {moved:?}");
    for (table, key) in [(CASES, "c2"), (PARTIES, "p1"), (QUEUE, "d1")] {
        let found = get_in(&stores, &group, table, key).await?;
        ensure_eq!(found.rows.len(), 1, "the row `{key}` of table {table}");
        ensure_eq!(found.checkpoint.mark.position(), Position(4), "the checkpoint it is read with");
    }
    Ok(())
}

/// The same keys in two tenants are other cases, other parties and other rows.
pub(crate) async fn tenants_have_siblings_of_their_own(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = work_group::<false>(harness);
    drive::tell(&stores, "other", "c1", opened("theirs", "p1")).await?;
    drive::tell(&stores, "other", "p1", registered("Ann")).await?;
    tell(&stores, "d1", drafted("c1")).await?;
    drive::tell(&stores, "other", "d1", drafted("c1")).await?;
    drive::tell(&stores, "other", "c1", risk(Level::High)).await?;
    drive::tell(&stores, "other", "p1", renamed("Bea")).await?;
    for size in [EVERYTHING, 1] {
        stores.models.attach(&group).await?;
        stores.models.reset(&group).await?;
        build(&stores, &group, size).await?;
        let told = Some(("c1", None, None, None, None, 1));
        says(waiting(&stores, &group, "d1").await?.as_ref(), told, "a row of a tenant that has no case")?;
        let kept = all_contents(&stores, &group).await?;
        let theirs = kept[QUEUE].iter().find(|(row, _)| Tenant::as_str(&row.tenant) == "other");
        let theirs = theirs.map(|(_, values)| Waiting::<false>::from_row(values)).transpose()?;
        let told = Some(("c1", Some("theirs"), Some(Level::High), Some("p1"), Some("Bea"), 3));
        says(theirs.as_ref(), told, "the row of the other tenant")?;
    }
    Ok(())
}

/// A reset empties every table; folded again, they are what they were.
pub(crate) async fn a_reset_rebuilds_every_table(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = work_group::<false>(harness);
    work(&stores).await?;
    build(&stores, &group, 4).await?;
    let before = all_contents(&stores, &group).await?;
    let start: Checkpoint = stores.models.reset(&group).await?;
    ensure_eq!(start.mark.position(), Position::START, "the checkpoint after a reset");
    let empty = all_contents(&stores, &group).await?;
    ensure!(empty.iter().all(Vec::is_empty), "a reset left rows: {empty:?}");
    build(&stores, &group, 7).await?;
    ensure_eq!(all_contents(&stores, &group).await?, before, "the rows after a reset");
    Ok(())
}

/// Another process sees every table of the group, and may move it on.
pub(crate) async fn another_process_sees_the_group(harness: &dyn Harness) -> Outcome {
    let (one, two) = (harness.open(Vec::new()).await?, harness.open(Vec::new()).await?);
    let group = work_group::<false>(harness);
    work(&one).await?;
    build(&one, &group, 5).await?;
    let reached = two.models.attach(&group).await?;
    ensure_eq!(reached.mark, one.feed.head().await?, "the checkpoint that the other process finds");
    ensure_eq!(all_contents(&two, &group).await?, all_contents(&one, &group).await?, "its rows");
    tell(&two, "d9", drafted("c1")).await?;
    tell(&two, "c1", risk(Level::Low)).await?;
    build(&two, &group, 1).await?;
    let told = waiting(&one, &group, "d9").await?;
    says(
        told.as_ref(),
        Some(("c1", Some("one"), Some(Level::Low), Some("p1"), None, 2)),
        "a row of the other",
    )?;
    ensure_eq!(all_contents(&one, &group).await?, all_contents(&two, &group).await?, "the rows of both");
    harness.stop(two).await?;
    Ok(harness.stop(one).await?)
}

/// Inline tables move with the command as one: rows routed by a column, siblings, and nothing where the last
/// table fails.
pub(crate) async fn an_inline_group_moves_with_the_command(harness: &dyn Harness) -> Outcome {
    let (inline, plain) = (work_group::<true>(harness), work_group::<false>(harness));
    let stores = harness.open(vec![std::sync::Arc::clone(&inline)]).await?;
    stores.models.attach(&inline).await?;
    work(&stores).await?;
    inline_agrees(&stores, &inline, &plain).await?;
    tell(&stores, "d8", drafted("c1")).await?;
    tell(&stores, "c1", risk(Level::Low)).await?;
    let found = get_in(&stores, &inline, QUEUE, "d8").await?;
    ensure_eq!(found.checkpoint.mark, stores.feed.head().await?, "the checkpoint of the row");
    let row = found.rows.first().map(|row| Waiting::<true>::from_row(row)).transpose()?;
    ensure_eq!(row.map(|row| (row.risk, row.facts)), Some((Some(Level::Low), 2)), "the row of a command");
    let (before, head) = (all_contents(&stores, &inline).await?, stores.feed.head().await?);
    let refused = tell(&stores, "c1", opened(UNREADABLE_TITLE, "p1")).await;
    ensure!(refused.is_err(), "a command went through that the last table cannot take");
    ensure_eq!(stores.feed.head().await?, head, "the head after a failing command");
    ensure_eq!(all_contents(&stores, &inline).await?, before, "every table after a failing command");
    harness.stop(stores).await?;
    let behind = harness.open(Vec::new()).await?;
    tell(&behind, "d9", drafted("c2")).await?;
    tell(&behind, "c2", risk(Level::High)).await?;
    harness.stop(behind).await?;
    let stores = harness.open(vec![std::sync::Arc::clone(&inline)]).await?;
    stores.models.attach(&inline).await?;
    tell(&stores, "p1", registered("Hal")).await?;
    inline_agrees(&stores, &inline, &plain).await?;
    harness.crash(stores).await?;
    let stores = harness.open(vec![std::sync::Arc::clone(&inline)]).await?;
    stores.models.attach(&inline).await?;
    inline_agrees(&stores, &inline, &plain).await
}

/// The tables that moved with the commands stand at the head and are those that a worker folds.
async fn inline_agrees(stores: &Stores, inline: &Group, plain: &Group) -> Outcome {
    let checkpoint = stores.models.checkpoint(inline).await?;
    ensure_eq!(checkpoint.mark, stores.feed.head().await?, "where the inline group stands");
    build(stores, plain, 3).await?;
    let (inline, plain) = (all_contents(stores, inline).await?, all_contents(stores, plain).await?);
    ensure_eq!(inline, plain, "inline and asynchronous tables");
    let title = inline[CASES].first().map(|(_, values)| CaseTitle::<true>::from_row(values)).transpose()?;
    let name = inline[PARTIES].first().map(|(_, values)| PartyName::<true>::from_row(values)).transpose()?;
    ensure!(title.is_some() && name.is_some(), "the inline tables have no rows");
    Ok(())
}

async fn advance(
    stores: &Stores,
    group: &Group,
    positions_max: usize,
) -> Outcome<Result<usize, AdvanceError>> {
    let checkpoint = stores.models.checkpoint(group).await?;
    let block = stores.feed.read(checkpoint.mark.position(), group.categories(), positions_max).await?;
    let mut fold = Fold::new(group, &checkpoint);
    fold.plan(&block)?;
    Ok(stores.models.advance(group, fold).await.map(|advanced| advanced.rows))
}

/// Delivers old facts again, which must write nothing at all.
async fn again(stores: &Stores, group: &Group, after: u64, through: u64) -> Outcome {
    let rows = redeliver(stores, group, Position(after), Position(through)).await??;
    ensure_eq!(rows, 0, "the rows that {group:?} wrote for {after}..{through} again");
    Ok(())
}

/// A group's checkpoint, and of each table its rows with their guards.
type State = (Checkpoint, Vec<Vec<ScannedRow>>);

async fn state(stores: &Stores, group: &Group) -> Outcome<State> {
    let mut tables = Vec::new();
    for table in 0..group.models().len() {
        drive::digest_in(stores, group, table).await?;
        tables.push(drive::rows_in(stores, group, table).await?);
    }
    Ok((stores.models.checkpoint(group).await?, tables))
}
