//! Positions and the feed: one gap-free order that readers see as completed ranges.

use crate::drive::{self, EVERYTHING, account, append, deposited, history, note, on, opened, reject, stream};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, NoteEvent};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Clock, Event, Fingerprint, Position, RawFact, Timestamp, Version};
use diptych_query::{Block, Categories, Mark};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Positions have no gap, whatever conflicts, rejections and races happen between them.
pub(crate) async fn positions_have_no_gap(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let mut writers = Vec::new();
    for writer in 0..6 {
        let stores = stores.clone();
        writers.push(tokio::spawn(async move { write_mixed(&stores, writer).await }));
    }
    let mut told = Vec::new();
    for writer in writers {
        told.extend(writer.await.map_err(|error| Failure::new(error.to_string()))??);
    }
    told.sort_unstable();
    let log = everything(&stores).await?;
    contiguous(&log)?;
    let positions: Vec<_> = log.iter().map(|fact| fact.position).collect();
    ensure_eq!(told, positions, "the positions that writers were told, against the log");
    ensure_eq!(stores.feed.head().await?.position().0, log.len() as u64, "the head");
    Ok(())
}

async fn write_mixed(stores: &Stores, writer: u64) -> Outcome<Vec<Position>> {
    let mut told = Vec::new();
    let own = account(&format!("w{writer}"))?;
    for round in 0..5 {
        let id = format!("{writer} {round}");
        let done =
            stores.events.commit(append(stores, &own, &id, 2 * round, &[deposited(1)?, deposited(2)?])?);
        let done = done.await?;
        told.extend(done.events.iter().map(|fact| fact.position));
        let last = done.events.last().map(|fact| fact.position);
        ensure_eq!(Some(done.record.token.position), last, "the token of {id}");
        // A conflict and a rejection between two appends.
        let stale = append(stores, &own, &format!("{id} stale"), 0, &[deposited(3)?])?;
        ensure!(stores.events.commit(stale).await.is_err(), "a stale base was taken");
        let no = reject(stores, &own, &format!("{id} no"), 2 * round + 2)?;
        ensure!(stores.events.commit(no).await?.events.is_empty(), "a rejection answered events");
    }
    Ok(told)
}

/// Times never go back with position, though the clock does.
pub(crate) async fn recorded_times_never_go_back(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let start = stores.clock.now();
    for (round, offset_secs) in [100, -1_000, 50, 0, 200, -5_000].into_iter().enumerate() {
        let time = Timestamp::from_micros(start.as_micros() + offset_secs * 1_000_000)?;
        stores.clock.set(time);
        let done = on(&stores, "a", &[deposited(1)?, deposited(2)?]).await?;
        let recorded = done.events[0].recorded_at;
        ensure!(recorded >= time, "recorded at {recorded}, the clock shows {time}");
        ensure_eq!(done.events[0].occurred_at, time, "the command's own time");
        if round == 1 {
            harness.crash(stores).await?;
            stores = harness.open(Vec::new()).await?;
        }
    }
    let log = everything(&stores).await?;
    let ordered = log.windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at);
    ensure!(ordered, "the times of the log go back");
    let last = log.last().map(|fact| fact.recorded_at);
    ensure_eq!(last, Some(start.plus(Duration::from_secs(200))), "the time of the last fact");
    Ok(())
}

/// The log goes on where it was after a clean stop and after a crash.
pub(crate) async fn the_log_goes_on_after_reopening(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let mut written = Vec::new();
    for round in 0_u64..4 {
        let done = on(&stores, "a", &[deposited(1)?, deposited(2)?]).await?;
        written.extend(done.events);
        if round % 2 == 0 {
            harness.stop(stores).await?;
        } else {
            harness.crash(stores).await?;
        }
        stores = harness.open(Vec::new()).await?;
        ensure_eq!(everything(&stores).await?, written, "the log in life {}", round + 2);
        let watched = *stores.feed.watch().borrow();
        let head = stores.feed.head().await?.position();
        ensure_eq!(watched, head, "the head that a watcher starts with");
    }
    contiguous(&written)
}

/// A log without events has a head: its start.
pub(crate) async fn an_empty_log_has_a_start(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let head = stores.feed.head().await?;
    ensure_eq!(head.position(), Position::START, "the head of an empty log");
    ensure_eq!(head.recorded_at, Timestamp::EPOCH, "the time of the start");
    ensure_eq!(stores.feed.mark(Position::START).await?, Some(head), "the mark of the start");
    let block = stores.feed.read(Position::START, &Categories::All, 10).await?;
    ensure!(block.facts.is_empty(), "an empty log holds {:?}", block.facts);
    ensure_eq!((block.through, block.head), (head, Position::START), "the empty range");
    on(&stores, "a", &[opened("ann")]).await?;
    ensure_eq!(stores.feed.mark(Position::START).await?, Some(head), "the start, once there is an event");
    Ok(())
}

/// Ranges are complete, follow each other, and end at the head.
pub(crate) async fn ranges_are_complete(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let log = everything(&stores).await?;
    contiguous(&log)?;
    for size in [1, 2, 7, log.len() - 1, log.len(), log.len() + 1] {
        let (mut after, mut read) = (Position::START, Vec::new());
        while after.0 < log.len() as u64 {
            let block = stores.feed.read(after, &Categories::All, size).await?;
            let end = (after.0 + size as u64).min(log.len() as u64);
            ensure_eq!(block.after, after, "where a range of {size} starts");
            ensure_eq!(block.through.position().0, end, "where a range of {size} after {after} ends");
            ensure_eq!(block.head.0, log.len() as u64, "the head told with a range");
            let mark = stores.feed.mark(block.through.position()).await?;
            ensure_eq!(mark, Some(block.through), "the mark at the end of a range");
            taken_in_parts(&stores, after, &Categories::All, size, &block).await?;
            after = block.through.position();
            read.extend(block.facts);
        }
        ensure_eq!(read, log, "the log in ranges of {size}");
    }
    let end = stores.feed.head().await?;
    let block = stores.feed.read(end.position(), &Categories::All, 10).await?;
    ensure_eq!((block.facts.len(), block.through), (0, end), "the range after the head");
    Ok(())
}

/// A block whose facts are put together when they are taken holds what the block read at once does. Facts are
/// put in place of those before, and one that somebody holds stays what it is.
async fn taken_in_parts(
    stores: &Stores,
    after: Position,
    categories: &Categories,
    size: usize,
    expected: &Block,
) -> Outcome {
    for part in [1, 2, size] {
        let mut raw = stores.feed.read_raw(after, categories, size).await?;
        ensure_eq!((raw.through, raw.head), (expected.through, expected.head), "where a raw block ends");
        let (mut room, mut facts, mut held) = (Vec::new(), Vec::new(), Vec::new());
        while facts.len() < expected.facts.len() {
            let before = facts.len();
            raw.facts.take(part, &mut room);
            facts.extend(room.iter().map(|fact| Arc::new(apart(fact))));
            held.extend((before..).zip(&room).step_by(2).map(|(number, fact)| (number, Arc::clone(fact))));
            let end = (before + part).min(expected.facts.len());
            ensure_eq!(facts.len(), end, "the facts taken after {before} of {part} at a time");
        }
        raw.facts.take(part, &mut room);
        ensure_eq!(room, [], "the facts after the last");
        drop(raw);
        ensure_eq!(facts, expected.facts, "the facts of a raw block, taken {part} at a time");
        for (number, fact) in held {
            ensure_eq!(fact, expected.facts[number], "the fact {number} that was held, of {part} at a time");
        }
    }
    Ok(())
}

/// A copy that shares nothing which would keep the fact from being written over.
fn apart(fact: &RawFact) -> RawFact {
    RawFact { stream: Arc::new((*fact.stream).clone()), ..fact.clone() }
}

/// Facts of other categories are passed over, and the range covers them all the same.
pub(crate) async fn other_categories_are_passed_over(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let log = everything(&stores).await?;
    for wanted in [
        vec![AccountEvent::CATEGORY],
        vec![NoteEvent::CATEGORY],
        vec!["nothing"],
        vec![AccountEvent::CATEGORY, NoteEvent::CATEGORY],
    ] {
        let categories = Categories::Only(wanted.clone());
        let expected = log.iter().filter(|fact| categories.contains(fact.stream.stream.category.as_str()));
        let expected: Vec<_> = expected.cloned().collect();
        let mut read = Vec::new();
        let mut after = Position::START;
        while after.0 < log.len() as u64 {
            let block = stores.feed.read(after, &categories, 3).await?;
            ensure_eq!(block.through.position().0, (after.0 + 3).min(log.len() as u64), "the end of a range");
            taken_in_parts(&stores, after, &categories, 3, &block).await?;
            after = block.through.position();
            read.extend(block.facts);
        }
        ensure_eq!(read, expected, "the facts of {wanted:?}");
    }
    Ok(())
}

/// The mark of an entry is the one that every store gives it, for ever; beyond the head there is none.
pub(crate) async fn marks_are_stable(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let log = everything(&stores).await?;
    let mut first: BTreeMap<Position, Mark> = BTreeMap::new();
    for life in 0..3 {
        for position in (0..=log.len() as u64).map(Position) {
            let mark = stores.feed.mark(position).await?;
            let mark = mark.ok_or_else(|| Failure::new(format!("no mark at {position}")))?;
            ensure_eq!(mark.position(), position, "the position of a mark");
            ensure_eq!(*first.entry(position).or_insert(mark), mark, "the mark at {position} in life {life}");
        }
        for beyond in [log.len() as u64 + 1, u64::MAX >> 1] {
            let mark = stores.feed.mark(Position(beyond)).await?;
            ensure_eq!(mark, None, "the mark at {beyond}, beyond the head");
        }
        let head = stores.feed.head().await?;
        ensure_eq!(first.values().last(), Some(&head), "the mark of the head");
        if life == 0 {
            harness.stop(stores).await?;
        } else {
            harness.crash(stores).await?;
        }
        stores = harness.open(Vec::new()).await?;
    }
    for fact in &log {
        let mark = first[&fact.position];
        ensure_eq!(mark.token.fingerprint, fingerprint(fact), "the fingerprint at {}", fact.position);
        ensure_eq!(mark.recorded_at, fact.recorded_at, "the time at {}", fact.position);
    }
    Ok(())
}

/// Whoever watches is woken by an append, and sees a head that can be read.
pub(crate) async fn an_append_wakes_watchers(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let mut watch = stores.feed.watch();
    watch.borrow_and_update();
    for round in 0..3 {
        let done = on(&stores, "a", &[deposited(1)?, deposited(2)?]).await?;
        let expected = done.record.token.position;
        let woken = async {
            while *watch.borrow_and_update() < expected {
                if watch.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        let woken = tokio::time::timeout(Duration::from_secs(20), woken).await;
        ensure_eq!(woken.ok(), Some(true), "whether a watcher was woken in round {round}");
        let block = stores.feed.read(Position::START, &Categories::All, EVERYTHING).await?;
        ensure!(block.through.position() >= expected, "the watcher saw a head that cannot be read");
    }
    Ok(())
}

/// A reader beside busy writers never sees a hole that is filled later.
pub(crate) async fn a_position_once_seen_is_complete(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let stores = stores.clone();
        writers.push(tokio::spawn(async move {
            for _ in 0..15 {
                drive::record(&stores, &account(&format!("w{writer}"))?, &[deposited(1)?]).await?;
                note(&stores, &format!("w{writer}")).await?;
            }
            Ok::<_, Failure>(())
        }));
    }
    let mut read: Vec<Arc<RawFact>> = Vec::new();
    while read.len() < 120 {
        let after = read.last().map_or(Position::START, |fact| fact.position);
        let block = stores.feed.read(after, &Categories::All, 5).await?;
        let end = block.facts.last().map_or(after, |fact| fact.position);
        ensure_eq!(block.through.position(), end, "the end of a range of every category");
        read.extend(block.facts);
        contiguous(&read)?;
        if writers.iter().all(tokio::task::JoinHandle::is_finished) {
            let head = stores.feed.head().await?.position();
            ensure_eq!(head.0, 120, "the head once all have written");
        } else {
            tokio::task::yield_now().await;
        }
    }
    for writer in writers {
        writer.await.map_err(|error| Failure::new(error.to_string()))??;
    }
    ensure_eq!(read, everything(&stores).await?, "what the reader saw, against the log at rest");
    let notes = stream::<NoteEvent>(drive::MAIN, "w0")?;
    ensure_eq!(stores.feed.stream(&notes, Version(10), 99).await?.len(), 5, "the end of one stream");
    Ok(())
}

async fn everything(stores: &Stores) -> Outcome<Vec<Arc<RawFact>>> {
    let block = stores.feed.read(Position::START, &Categories::All, EVERYTHING).await?;
    Ok(block.facts)
}

fn fingerprint(fact: &RawFact) -> Fingerprint {
    let recorded = fact.recorded_at.as_micros();
    Fingerprint::of_entry(&fact.stream, fact.version, &fact.event.name, recorded, &fact.payload)
}

/// Positions count from 1, and versions count from 1 in each stream.
pub(crate) fn contiguous(log: &[Arc<RawFact>]) -> Outcome {
    let mut versions = BTreeMap::new();
    for (fact, position) in log.iter().zip(1..) {
        ensure_eq!(fact.position, Position(position), "a position of the log");
        let version = versions.entry(fact.stream.clone()).or_insert(Version::NONE);
        *version = version.plus(1);
        ensure_eq!(fact.version, *version, "a version of stream `{}`", fact.stream);
    }
    Ok(())
}
