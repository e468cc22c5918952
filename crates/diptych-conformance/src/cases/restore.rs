//! A log that was recorded elsewhere fills an empty store as it was: order, versions, times and bytes.

use crate::drive::{MAIN, account, build, contents, note, on, opened};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, Balance};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_command::{RestoreSource, RestoredEvent};
use diptych_core::{
    Code, Epoch, Event, Fault, Position, RawFact, StreamId, StreamRef, Tag, TagQuery, Tenant, Timestamp,
    Version,
};
use diptych_query::{Categories, Group, erase};
use std::sync::Arc;

/// Events that come in pieces, and at the end perhaps a failure.
struct Given {
    events: Vec<RestoredEvent>,
    taken: usize,
    fails: Option<Code>,
}

impl RestoreSource for Given {
    fn next(&mut self, events_max: usize) -> Result<Vec<RestoredEvent>, Fault> {
        let end = self.events.len().min(self.taken + events_max.min(7));
        let block = self.events[self.taken..end].to_vec();
        self.taken = end;
        match self.fails {
            Some(code) if block.is_empty() => Err(Fault::permanent(code, "the source ends too early")),
            _ => Ok(block),
        }
    }
}

async fn fill(stores: &Stores, events: &[RestoredEvent], fails: Option<Code>) -> Result<u64, Fault> {
    let source = Given { events: events.to_vec(), taken: 0, fails };
    stores.restore.restore(Epoch(4), Box::new(source)).await
}

/// Accounts and notes of two tenants, interleaved, with times and bytes that no store would make itself.
fn recorded() -> Outcome<Vec<RestoredEvent>> {
    let mut events = Vec::new();
    for round in 0..20_u64 {
        for (tenant, category, key) in [
            (MAIN, AccountEvent::CATEGORY, "a"),
            ("other", AccountEvent::CATEGORY, "a"),
            (MAIN, "note", "ä b"),
        ] {
            let stream = StreamRef { tenant: Tenant::new(tenant)?, stream: StreamId::new(category, key)? };
            let recorded_at = Timestamp::from_micros(1_900_000_000_000_000 + round as i64 / 3 * 1_000_001)?;
            let occurred =
                if round % 2 == 0 { recorded_at } else { Timestamp::from_micros(-1_000_000 * round as i64)? };
            let opens = round == 0 || category == "note";
            let (name, payload) = match category {
                "note" => ("Written", format!("{{ \"text\":\n\t\"{round} \\u00e4\" }}")),
                _ if opens => ("Opened", r#"{"owner": "ann"}"#.to_owned()),
                _ => ("Renamed", format!("{{\"owner\":\"ann {round}\",  \"more\":1.50}}")),
            };
            events.push(RestoredEvent {
                stream,
                version: Version(round + 1),
                name: name.to_owned(),
                schema_version: 1,
                recorded_at,
                occurred_at: occurred,
                metadata: format!("{{\"actor\":\"bob\", \"command\":\"{round}\"}}"),
                payload,
                tags: Vec::new(),
            });
        }
    }
    Ok(events)
}

fn told(fact: &RawFact) -> RestoredEvent {
    RestoredEvent {
        stream: (*fact.stream).clone(),
        version: fact.version,
        name: fact.event.name.to_string(),
        schema_version: fact.event.schema_version,
        recorded_at: fact.recorded_at,
        occurred_at: fact.occurred_at,
        metadata: fact.metadata.to_string(),
        payload: fact.payload.to_string(),
        tags: Vec::new(),
    }
}

async fn everything(stores: &Stores) -> Outcome<Vec<RestoredEvent>> {
    let block = stores.feed.read(Position::START, &Categories::All, 100_000).await?;
    let positions: Vec<_> = block.facts.iter().map(|fact| fact.position.0).collect();
    let expected: Vec<_> = (1..=block.facts.len() as u64).collect();
    ensure_eq!(positions, expected, "the positions of the log");
    Ok(block.facts.iter().map(|fact| told(fact)).collect())
}

/// Restored events are found by their tags, like those that were appended.
pub(crate) async fn restored_events_are_found_by_their_tags(harness: &dyn Harness) -> Outcome {
    let mut events = recorded()?;
    for (number, event) in events.iter_mut().enumerate() {
        for (name, every) in [("second", 2), ("fifth", 5)] {
            if number % every == 0 {
                event.tags.push(Tag::of(name, "yes")?);
            }
        }
    }
    let stores = harness.open(Vec::new()).await?;
    fill(&stores, &events, None).await?;
    harness.stop(stores).await?;
    let stores = harness.open(Vec::new()).await?;
    let query = TagQuery::tagged("second", "yes").and_tagged("fifth", "yes").checked();
    let query = query.map_err(|error| Failure::new(error.to_string()))?;
    for tenant in [MAIN, "other"] {
        let tenant = Tenant::new(tenant)?;
        let found = stores.events.load_query(&tenant, &query, Position::START, 1_000).await?;
        let numbered = (1..).zip(&events);
        let own = numbered.filter(|(_, event)| event.tags.len() == 2 && event.stream.tenant == tenant);
        let expected: Vec<u64> = own.map(|(position, _)| position).collect();
        let positions: Vec<_> = found.facts.iter().map(|fact| fact.position.0).collect();
        ensure!(!expected.is_empty(), "the case asks for something");
        ensure_eq!(positions, expected, "the events with both tags");
    }
    Ok(())
}

/// What is read from the filled store is what was handed over; the log goes on behind it.
pub(crate) async fn a_restored_log_is_what_it_was(harness: &dyn Harness) -> Outcome {
    let events = recorded()?;
    let stores = harness.open(Vec::new()).await?;
    ensure_eq!(fill(&stores, &events, None).await?, events.len() as u64, "how many events were taken");
    harness.stop(stores).await?;
    let stores = harness.open(Vec::new()).await?;
    let read = everything(&stores).await?;
    for (read, expected) in read.iter().zip(&events) {
        ensure_eq!(read, expected, "an event of the filled store");
    }
    ensure_eq!(read.len(), events.len(), "how many events the filled store has");
    let head = stores.feed.head().await?;
    ensure_eq!(head.token.epoch, Epoch(4), "the epoch of the filled store");
    ensure_eq!(stores.feed.mark(head.position()).await?, Some(head), "the entry at the head");
    let next = on(&stores, "a", &[crate::drive::renamed("next")]).await?;
    let next = next.events.first().cloned().ok_or_else(|| Failure::new("nothing was appended"))?;
    ensure_eq!((next.version, next.position), (Version(21), Position(61)), "the next event");
    ensure!(next.recorded_at >= head.recorded_at, "recorded times went back");
    let other = stores.events.load(&account("a")?, Version(19), 10).await?;
    ensure_eq!(other.len(), 2, "the end of a stream that goes on");
    Ok(())
}

/// Models fold a filled store as any other.
pub(crate) async fn models_fold_a_restored_log(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    fill(&stores, &recorded()?, None).await?;
    harness.stop(stores).await?;
    let stores = harness.open(Vec::new()).await?;
    let group = Arc::new(Group::of_one(harness.model(erase::<Balance>())));
    build(&stores, &group, 7).await?;
    let rows = contents(&stores, &group).await?;
    ensure_eq!(rows.len(), 2, "the rows: an account in each tenant");
    Ok(())
}

/// A store that was ever used is not filled, and stays as it is.
pub(crate) async fn a_store_in_use_is_not_filled(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    note(&stores, "n").await?;
    let before = everything(&stores).await?;
    let refused = fill(&stores, &recorded()?, None).await;
    let refused = refused.err().ok_or_else(|| Failure::new("a store in use was filled"))?;
    ensure_eq!(refused.code(), Code::StoreNotEmpty, "the code of the refusal");
    ensure_eq!(everything(&stores).await?, before, "the log after the refusal");
    on(&stores, "a", &[opened("ann")]).await?;
    Ok(())
}

/// A source that turns out to be broken leaves nothing behind; the right one may follow.
pub(crate) async fn a_broken_source_leaves_nothing(harness: &dyn Harness) -> Outcome {
    let events = recorded()?;
    let stores = harness.open(Vec::new()).await?;
    let failed = fill(&stores, &events, Some(Code::ExportDamaged)).await;
    let failed = failed.err().ok_or_else(|| Failure::new("a broken source was taken"))?;
    ensure_eq!(failed.code(), Code::ExportDamaged, "the code of the failure");
    ensure_eq!(everything(&stores).await?, Vec::new(), "the log after a broken source");
    ensure_eq!(stores.feed.head().await?.position(), Position::START, "the head after a broken source");
    ensure_eq!(fill(&stores, &events, None).await?, events.len() as u64, "the right source");
    harness.stop(stores).await?;
    let stores = harness.open(Vec::new()).await?;
    ensure_eq!(everything(&stores).await?, events, "the log after the right source");
    Ok(())
}
