//! The hard corners of the fold over a group: what a second run must undo, what is judged and when, and what
//! is refused.

use super::world::{BoxEvent, Kept, Log, ShelfEvent, ThingEvent, group};
use crate::fold::{LOOK_UP_ROUNDS_MAX, ROWS_PER_FACT_MAX};
use crate::{FoldError, FoldErrorKind, RowRef};
use diptych_core::{Code, Portable, Position, RawFact, Tenant};
use std::collections::BTreeMap;
use std::sync::Arc;

fn named(name: &str) -> ShelfEvent {
    ShelfEvent::Named { name: name.to_owned() }
}

fn put(shelf: &str) -> BoxEvent {
    BoxEvent::Put { shelf: shelf.to_owned() }
}

fn made(inside: &str, colour: &str) -> ThingEvent {
    ThingEvent::Made { inside: inside.to_owned(), colour: Some(colour.to_owned()) }
}

fn packed(inside: &str) -> ThingEvent {
    ThingEvent::Packed { inside: inside.to_owned() }
}

fn remembered(inside: &str) -> ThingEvent {
    ThingEvent::Remembered { inside: inside.to_owned() }
}

fn expected(inside: &str) -> ThingEvent {
    ThingEvent::Expected { inside: inside.to_owned() }
}

fn painted(from: &str, to: &str) -> ThingEvent {
    ThingEvent::Painted { from: from.to_owned(), to: Some(to.to_owned()) }
}

/// A store that has taken the first facts of a log one by one.
fn stored(log: &Log, count: usize) -> Kept {
    let mut kept = Kept::new(group());
    for raw in &log.facts[..count] {
        kept.apply(std::slice::from_ref(raw)).unwrap();
    }
    kept
}

#[test]
fn changes_taken_in_parts_are_those_taken_at_once_in_the_order_of_the_table() {
    let mut log = Log::default();
    for number in 0..23_u32 {
        let (tenant, key) = (["main", "other"][number as usize % 2], format!("{:02}", number * 7 % 23));
        log.tell_in(tenant, &key, named(&format!("shelf {number}")));
    }
    let fold = || Kept::new(group()).plan(&[&log.facts], true).unwrap();
    let whole = fold().changes().unwrap().swap_remove(0);
    assert!(whole.rows.is_sorted_by(|a, b| a.stored.row.table_cmp(&b.stored.row).is_lt()));
    assert_eq!(whole.rows.len(), 23);
    for rows_max in [1, 5, 22, 23, 24] {
        let (mut fold, mut rows, mut digest) = (fold(), Vec::new(), BTreeMap::new());
        loop {
            let part = fold.rows_up_to(0, rows_max).unwrap();
            let last = part.rows.len() < rows_max;
            rows.extend(part.rows);
            for (bucket, count, sum) in part.digest {
                let held: &mut (i64, u128) = digest.entry(bucket).or_default();
                *held = (held.0 + count, held.1.wrapping_add(sum));
            }
            if last {
                break;
            }
        }
        assert_eq!(rows, whole.rows, "{rows_max} at a time");
        assert!(
            digest.into_iter().eq(whole.digest.iter().map(|(bucket, rows, sum)| (*bucket, (*rows, *sum))))
        );
    }
}

#[test]
#[should_panic(expected = "nothing is planned once rows were moved out of a fold")]
fn nothing_is_folded_once_rows_were_moved_out() {
    let mut log = Log::default();
    log.tell("shelf 1", named("first")).tell("shelf 2", named("second"));
    let mut fold = Kept::new(group()).plan(&[&log.facts[..1]], true).unwrap();
    fold.rows_up_to(0, 1).unwrap();
    let _ = fold.plan_facts(&log.facts[1..], fold.through());
}

#[test]
fn facts_that_are_decoded_before_are_folded_as_others() {
    let mut log = Log::default();
    for number in 0..10 {
        let (shelf, inside) = (format!("shelf {}", number % 3), format!("box {}", number % 4));
        log.tell(&shelf, named(&format!("name {number}"))).tell(&inside, put(&shelf));
        log.tell(&format!("thing {number}"), made(&inside, "red")).tell("thing 1", packed(&inside));
    }
    let kept = Kept::new(group());
    let mut whole = kept.plan(&[&log.facts], true).unwrap();
    let (changes, passed) = (whole.changes().unwrap(), whole.passed());
    assert!(changes.iter().all(|table| !table.rows.is_empty()), "{changes:?}");
    let broken = RawFact { payload: "[".to_owned().into(), ..(*log.facts[13]).clone() };
    let mut unreadable = log.facts.clone();
    unreadable[13] = Arc::new(broken);
    let refused = kept.plan(&[&unreadable], true).unwrap_err().to_string();
    for facts_max in [1, 3, 100] {
        let mut fold = kept.plan_decoded(&log.facts, facts_max).unwrap();
        assert_eq!((fold.changes().unwrap(), fold.passed()), (changes.clone(), passed.clone()));
        assert_eq!((fold.facts(), fold.through()), (whole.facts(), whole.through()));
        let failed = kept.plan_decoded(&unreadable, facts_max).unwrap_err().to_string();
        assert_eq!(failed, refused, "{facts_max} at a time");
    }
}

#[test]
fn rows_in_memory_are_not_asked_for() {
    let mut log = Log::default();
    log.tell("shelf 1", named("first")).tell("box 1", put("shelf 1")).tell("thing 1", made("box 1", "red"));
    let mut kept = stored(&log, 3);
    let mut fold = kept.lasting();
    let mut rounds = Vec::new();
    for _ in 0..3 {
        log.tell("thing 1", packed("box 1"));
        let batch = kept.fold_ahead(&mut fold, &[&log.facts[log.facts.len() - 1..]]).unwrap();
        kept.write_ahead(batch);
        rounds.push(kept.rounds);
    }
    assert!(rounds[0] > 1, "nothing was in memory at first");
    assert_eq!(rounds[1..], [0, 0], "rows, and those that they look up");
    assert_eq!(kept.contents(), stored(&log, log.facts.len()).contents());
}

#[test]
fn rows_go_when_they_take_too_much_room() {
    let mut log = Log::default();
    let mut kept = Kept::new(group());
    let mut fold = kept.lasting();
    let bytes_max = 20_000;
    for round in 0..500 {
        log.tell(&format!("shelf {round}"), named("here")).tell("shelf again", named("there"));
        let count = log.facts.len();
        let batch = kept.fold_ahead(&mut fold, &[&log.facts[count - 2..]]).unwrap();
        kept.write_ahead(batch);
        fold.make_room(bytes_max);
        assert!(fold.bytes() <= bytes_max, "{} bytes after {round}", fold.bytes());
    }
    assert!(fold.rows_held() > 0, "those that are met stay");
    assert_eq!(kept.contents(), stored(&log, log.facts.len()).contents());
}

#[test]
fn rows_are_held_back_and_pass_over_before_they_are_met() {
    let mut log = Log::default();
    log.tell("shelf 1", named("a")).tell("shelf 2", named("a"));
    let mut kept = stored(&log, 2);
    log.tell("shelf 1", named("b")).tell("shelf 2", named("b"));
    log.tell("shelf 1", named("c")).tell("shelf 2", named("c"));
    let row =
        |key: &str| RowRef { tenant: Tenant::new("main").unwrap(), key: vec![key.to_owned().to_value()] };
    let mut fold = kept.lasting();
    fold.hold(0, vec![(row("shelf 1"), Position(3))]);
    fold.skip(0, vec![(row("shelf 2"), Position(6))]);
    for facts in log.facts[2..].chunks(2) {
        let batch = kept.fold_ahead(&mut fold, &[facts]).unwrap();
        kept.write_ahead(batch);
        // Also when nothing else stays.
        fold.make_room(0);
    }
    let names: Vec<_> = kept.contents()[0].values().map(|row| format!("{:?}", row[1])).collect();
    assert_eq!(names, [r#"Text("a")"#, r#"Text("b")"#]);
}

/// The rest of a log in one batch and one by one must leave the same.
#[track_caller]
fn same_in_one_batch(log: &Log, count: usize) -> Kept {
    let single = stored(log, log.facts.len());
    let mut kept = stored(log, count);
    let before = kept.no_ops.clone();
    kept.apply(&log.facts[count..]).unwrap();
    assert_eq!(kept.contents(), single.contents());
    assert_eq!(kept.no_ops, single.no_ops, "facts that met no row, beyond {before:?}");
    kept
}

#[track_caller]
fn failed(kept: &mut Kept, log: &Log) -> FoldError {
    let reached = usize::try_from(kept.reached.0).unwrap();
    let before = kept.contents();
    let error = kept.apply(&log.facts[reached..]).expect_err("the fold must fail");
    assert_eq!(kept.contents(), before, "a failed fold left something");
    error
}

#[test]
fn folding_again_undoes_rows_and_guards() {
    let mut log = Log::default();
    log.tell("s", named("top")).tell("b", put("s")).tell("old", made("b", "red"));
    // Three facts for a stored row and one that deletes another, before the look-up that has nothing in
    // memory.
    log.tell("old", packed("b")).tell("old", packed("b")).tell("gone", made("nowhere", "red"));
    log.tell("gone", ThingEvent::Lost).tell("old", packed("c")).tell("new", made("b", "blue"));
    let mut kept = same_in_one_batch(&log, 3);
    assert!(kept.rounds > 1, "nothing was missing, so nothing was folded again");
    assert_eq!(kept.thing("old").unwrap().trail.matches(';').count(), 4);
    let before = kept.tables.clone();
    let again = kept.plan(&[&log.facts], false).unwrap();
    kept.finish(again).unwrap();
    assert_eq!(kept.tables, before, "everything once more");
}

#[test]
fn folding_again_undoes_what_is_found_by_a_column() {
    let mut log = Log::default();
    log.tell("s", named("top")).tell("b", put("s"));
    log.tell("one", made("x", "red")).tell("two", made("x", "blue"));
    // The first run moves `one` to blue and `two` to green; the second must find both where they were.
    log.tell("two", painted("blue", "green")).tell("one", painted("red", "blue"));
    log.tell("three", made("b", "red")).tell("one", painted("blue", "red"));
    log.tell("two", ThingEvent::Dusted { colours: vec![Some("red".to_owned()), None] });
    let kept = same_in_one_batch(&log, 4);
    assert!(kept.rounds > 1);
    let colour = |key: &str| kept.thing(key).unwrap().colour.unwrap();
    assert_eq!([colour("one"), colour("two"), colour("three")], ["red", "green", "red"]);
}

#[test]
fn folding_again_counts_facts_without_rows_once() {
    let mut log = Log::default();
    log.tell("b", put("s"));
    log.tell("a", packed("b")).tell("a", remembered("b")).tell("a", ThingEvent::Lost);
    log.tell("a", made("b", "red"));
    let kept = same_in_one_batch(&log, 1);
    assert!(kept.rounds > 1);
    assert_eq!(kept.no_ops, [0, 0, 3]);
}

#[test]
fn a_table_that_is_read_and_reads_may_fold_again() {
    // Boxes are read by things and read shelves: their second run must not leave the history of the first.
    let mut log = Log::default();
    log.tell("s", named("top")).tell("t", named("other"));
    log.tell("b", put("t")).tell("a", made("b", "red")).tell("b", put("s"));
    log.tell("c", made("b", "red")).tell("b", BoxEvent::Burnt).tell("d", made("b", "red"));
    let kept = same_in_one_batch(&log, 2);
    let trail = |key: &str| kept.thing(key).unwrap().trail;
    assert!(trail("a").contains("4: Some(\"other\")"), "{}", trail("a"));
    assert!(trail("c").contains("6: Some(\"top\")"), "{}", trail("c"));
    assert!(trail("d").contains("8: nowhere"), "{}", trail("d"));
}

#[test]
fn a_first_build_sees_siblings_as_they_stood() {
    let mut log = Log::default();
    log.tell("b", put("s")).tell("a", made("b", "red")).tell("s", named("top"));
    log.tell("c", made("b", "red")).tell("s", ShelfEvent::Removed).tell("d", remembered("b"));
    let single = stored(&log, log.facts.len());
    for cut in 0..log.facts.len() {
        let mut kept = Kept::new(group());
        let (first, second) = log.facts.split_at(cut);
        let fold = kept.plan(&[first, second], true).unwrap();
        kept.finish(fold).unwrap();
        assert_eq!(kept.contents(), single.contents(), "planned together, cut at {cut}");
        assert_eq!(kept.no_ops, single.no_ops);
        assert_eq!(kept.rounds, 0, "a first build needs nothing");
    }
}

#[test]
fn history_is_forgotten_once_all_tables_have_folded() {
    let mut log = Log::default();
    log.tell("b", put("s")).tell("a", made("b", "red"));
    log.tell("b", put("t")).tell("c", made("b", "red"));
    let single = stored(&log, log.facts.len());
    let mut kept = Kept::new(group());
    let mut fold = kept.plan(&[&log.facts[..2]], false).unwrap();
    kept.run(&mut fold).unwrap();
    // The second block comes to a fold that has run: it must see the rows that the first has left.
    let through = kept.plan(&[&log.facts[2..]], false).unwrap().through();
    fold.plan_facts(&log.facts[2..], through).unwrap();
    kept.run(&mut fold).unwrap();
    kept.keep(&mut fold).unwrap();
    assert_eq!(kept.contents(), single.contents());
}

#[test]
fn a_panic_over_a_missing_row_is_not_judged() {
    let mut log = Log::default();
    let count = LOOK_UP_ROUNDS_MAX + 20;
    for number in 0..count {
        log.tell(&format!("b{number}"), put("s"));
    }
    for number in 0..count {
        log.tell(&format!("a{number}"), expected(&format!("b{number}")));
    }
    let kept = same_in_one_batch(&log, count);
    assert_eq!(kept.contents()[2].len(), count);
    assert!(kept.rounds < 5, "the store was asked {} times", kept.rounds);
}

#[test]
fn a_panic_with_everything_known_names_its_fact() {
    let mut log = Log::default();
    log.tell("b", put("s")).tell("a", expected("b")).tell("c", expected("nowhere")).tell("d", expected("b"));
    let mut kept = stored(&log, 1);
    let error = failed(&mut kept, &log);
    assert_eq!((error.position, error.stream.as_str()), (Position(3), "thing-c"));
    assert!(matches!(&error.kind, FoldErrorKind::Panicked { message } if message == "the box is known"));
    assert_eq!(error.code(), Code::FoldFailed);
}

#[test]
fn the_first_of_two_failures_is_named() {
    let mut log = Log::default();
    log.tell("b", put("s")).tell("a", expected("b")).tell("c", ThingEvent::Cursed);
    log.tell("d", ThingEvent::Cursed).tell("e", expected("b"));
    let mut kept = stored(&log, 1);
    assert_eq!(failed(&mut kept, &log).position, Position(3));
    let fresh = Kept::new(group());
    let error = fresh.plan(&[&log.facts], true).expect_err("a first build folds while it plans");
    assert_eq!(error.position, Position(3));
}

#[test]
fn look_ups_that_never_end_are_refused() {
    let traced = |count: usize| {
        let mut log = Log::default();
        for number in 0..count {
            log.tell(&format!("b{number}"), put(&format!("b{}", number + 1)));
        }
        log.tell("a", ThingEvent::Traced { inside: "b0".to_owned() });
        log
    };
    let few = LOOK_UP_ROUNDS_MAX - 10;
    let kept = same_in_one_batch(&traced(few), few);
    assert_eq!(kept.thing("a").unwrap().inside, format!("b{few}"));
    let many = LOOK_UP_ROUNDS_MAX + 10;
    let log = traced(many);
    let mut kept = stored(&log, many);
    let error = failed(&mut kept, &log);
    assert_eq!(error.kind, FoldErrorKind::EndlessLookUps);
    assert_eq!(error.code(), Code::ProjectionLimit);
    assert!(error.to_string().starts_with("the projection asked"), "{error}");
}

#[test]
fn a_column_without_an_index_is_refused_by_name() {
    let mut log = Log::default();
    log.tell("a", made("b", "red")).tell("c", ThingEvent::Misrouted);
    let mut kept = stored(&log, 1);
    let error = failed(&mut kept, &log);
    assert_eq!(error.kind, FoldErrorKind::ColumnNotIndexed { column: "trail" });
    assert_eq!(error.position, Position(2));
    assert_eq!(
        error.to_string(),
        "at position 2 (`Happened` of `thing-c`): the fact is routed by column `trail`, which no index \
         begins with: mark the field `#[filter]` (DP0035)"
    );
}

#[test]
fn a_row_named_twice_takes_a_fact_once() {
    let mut log = Log::default();
    log.tell("a", made("b", "red")).tell("c", made("b", "red"));
    // `a` by its key, by the colour it has, and by the colour that the fact gives it.
    log.tell("a", painted("red", "blue")).tell("a", painted("blue", "red"));
    log.tell("a", ThingEvent::Dusted { colours: vec![Some("red".to_owned()); 3] });
    // Without a row, the fact is still one that met none.
    log.tell("x", painted("green", "red")).tell("y", ThingEvent::Doubted);
    let kept = same_in_one_batch(&log, 2);
    for key in ["a", "c"] {
        assert_eq!(kept.thing(key).unwrap().trail.matches(';').count(), 4, "{key}");
    }
    assert_eq!(kept.no_ops, [0, 0, 2]);
}

#[test]
fn a_deleted_row_takes_no_fact_again_that_met_nothing() {
    let mut log = Log::default();
    log.tell("a", made("b", "red")).tell("a", ThingEvent::Lost).tell("a", remembered("b"));
    log.tell("s", named("top")).tell("b", put("s"));
    let mut kept = stored(&log, log.facts.len());
    // By now the box is known: the third fact, folded again, would bring the row back.
    let before = (kept.tables.clone(), kept.no_ops.clone());
    for from in 0..3 {
        let again = kept.plan(&[&log.facts[from..3]], false).unwrap();
        kept.finish(again).unwrap();
        assert_eq!((kept.tables.clone(), kept.no_ops.clone()), before);
    }
    log.tell("a", remembered("b"));
    kept.apply(&log.facts[5..]).unwrap();
    assert!(kept.thing("a").is_some(), "a new fact brings it back");
}

#[test]
fn rows_that_a_store_kept_back_are_not_taken_for_none() {
    let count = ROWS_PER_FACT_MAX + 3;
    let mut log = Log::default();
    for number in 0..count {
        log.tell(&format!("{number:05}"), made("b", "red"));
    }
    let mut kept = Kept::new(group());
    kept.apply(&log.facts).unwrap();
    for number in 0..2 {
        log.tell(&format!("{number:05}"), ThingEvent::Lost);
    }
    log.tell("b", put("s"));
    let error = failed(&mut kept, &log);
    assert_eq!(error.position, Position(count as u64 + 3));
    assert!(matches!(error.kind, FoldErrorKind::TooManyRows { .. }), "{error}");
    assert_eq!(error.code(), Code::ProjectionLimit);
}
