//! Facts from elsewhere: each is in the log once and in the order of its source, whatever comes again.

use crate::drive::{
    self, EVERYTHING, MAIN, account, build, command_id, contents, deposited, get, header, on, opened,
    renamed, tenant,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, Balance, Brittle, Desk, group};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_command::{Arrival, EntryPrint, Source, SourcePosition, TakenIn, Watermark};
use diptych_core::{Code, NewEvent, Position, Value, Version};
use diptych_query::Categories;
use std::sync::Arc;

fn source(name: &str) -> Outcome<Source> {
    Ok(Source::new(name)?)
}

/// An arrival whose events come from the entries `from`, `from + 1` and so on.
fn arrival(stores: &Stores, key: &str, from: u64, events: &[AccountEvent]) -> Outcome<Arrival> {
    let header = header(stores, &account(key)?, &format!("arrival {from}"), "")?;
    let mut numbered = Vec::new();
    for (event, entry) in events.iter().zip(from..) {
        numbered.push((SourcePosition(entry), NewEvent::from_event(event)?));
    }
    Ok(Arrival { print: EntryPrint(from), header, events: numbered })
}

async fn take(stores: &Stores, name: &str, arrivals: &[Arrival]) -> Outcome<TakenIn> {
    Ok(stores.intake.take_in(&source(name)?, arrivals.to_vec()).await?)
}

/// How many were taken and how many passed over, of what nothing was refused.
async fn counts(stores: &Stores, name: &str, arrivals: &[Arrival]) -> Outcome<(usize, usize)> {
    let taken = take(stores, name, arrivals).await?;
    ensure!(taken.refused.is_none(), "nothing was wrong with the arrivals: {:?}", taken.refused);
    Ok((taken.taken, taken.passed_over))
}

/// The texts of a stream's events.
async fn payloads(stores: &Stores, key: &str) -> Outcome<Vec<String>> {
    let events = stores.events.load(&account(key)?, Version::NONE, EVERYTHING).await?;
    super::log::contiguous(&stores.feed.read(Position::START, &Categories::All, EVERYTHING).await?.facts)?;
    Ok(events.iter().map(|event| event.payload.to_string()).collect())
}

fn three(stores: &Stores) -> Outcome<Vec<Arrival>> {
    Ok(vec![
        arrival(stores, "a", 1, &[opened("ann"), deposited(1)?])?,
        arrival(stores, "b", 3, &[opened("bob")])?,
        arrival(stores, "a", 7, &[renamed("anna")])?,
    ])
}

/// What is taken in stands in the log as it came: bytes, order, who and when.
pub(crate) async fn arrivals_stand_in_the_log_in_their_order(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    ensure_eq!(stores.intake.watermark(&source("crm")?).await?, None, "the watermark of an unknown source");
    let taken = take(&stores, "crm", &three(&stores)?).await?;
    ensure_eq!((taken.taken, taken.passed_over), (3, 0), "taken and passed over");
    ensure_eq!(taken.head, stores.feed.head().await?.token, "the head that is told");
    let facts = stores.feed.read(Position::START, &Categories::All, EVERYTHING).await?.facts;
    let streams: Vec<_> = facts.iter().map(|fact| (fact.stream.stream.to_string(), fact.version.0)).collect();
    let expected = [("account-a", 1), ("account-a", 2), ("account-b", 1), ("account-a", 3)];
    ensure_eq!(streams, expected.map(|(name, version)| (name.to_owned(), version)), "the facts in order");
    let metadata = diptych_core::Metadata::decode(&facts[3].metadata)?;
    ensure_eq!(metadata.command.as_str(), "arrival 7", "the command that the source names");
    ensure_eq!(metadata.actor.as_str(), "ann", "the actor that the source names");
    let reached = Watermark { position: SourcePosition(7), print: EntryPrint(7) };
    ensure_eq!(stores.intake.watermark(&source("crm")?).await?, Some(reached), "the watermark");
    Ok(())
}

/// Asked again, in any cut, nothing is taken twice.
pub(crate) async fn an_arrival_is_taken_once(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let all = three(&stores)?;
    ensure_eq!(counts(&stores, "crm", &all[..1]).await?, (1, 0), "the first");
    ensure_eq!(counts(&stores, "crm", &all).await?, (2, 1), "the first again, with what follows");
    ensure_eq!(counts(&stores, "crm", &all).await?, (0, 3), "all of them again");
    ensure_eq!(counts(&stores, "crm", &all[1..2]).await?, (0, 1), "one from the middle");
    ensure_eq!(stores.feed.head().await?.position(), Position(4), "the head");
    // What was cut elsewhere is taken from where the last one ended.
    let longer = arrival(&stores, "a", 7, &[renamed("anna"), renamed("anne")])?;
    ensure_eq!(counts(&stores, "crm", &[longer]).await?, (1, 0), "an arrival that is half known");
    ensure_eq!(payloads(&stores, "a").await?.len(), 4, "the events of the stream");
    Ok(())
}

/// The watermark survives with the facts, and neither without the other.
pub(crate) async fn the_watermark_survives_with_its_facts(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    for (round, crash) in [(1, true), (2, false), (3, true)] {
        let own = arrival(&stores, "a", round, &[deposited(1)?])?;
        ensure_eq!(counts(&stores, "crm", std::slice::from_ref(&own)).await?, (1, 0), "round {round}");
        if crash {
            harness.crash(stores).await?;
        } else {
            harness.stop(stores).await?;
        }
        stores = harness.open(Vec::new()).await?;
        ensure_eq!(counts(&stores, "crm", &[own]).await?, (0, 1), "round {round} again");
    }
    ensure_eq!(payloads(&stores, "a").await?.len(), 3, "the events of the stream");
    Ok(())
}

/// Each source counts by itself.
pub(crate) async fn sources_do_not_disturb_each_other(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let all = three(&stores)?;
    ensure_eq!(counts(&stores, "crm", &all).await?, (3, 0), "one source");
    ensure_eq!(counts(&stores, "billing", &all[..1]).await?, (1, 0), "another at the same position");
    ensure_eq!(payloads(&stores, "a").await?.len(), 5, "the events of both");
    Ok(())
}

/// Entries that do not rise are a defect of whoever brings them: nothing is taken.
pub(crate) async fn arrivals_out_of_order_are_refused(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let mut all = three(&stores)?;
    all.swap(1, 2);
    match stores.intake.take_in(&source("crm")?, all).await {
        Err(fault) if fault.code() == Code::IntakeStopped => {}
        other => return Err(Failure::new(format!("entries out of order answered {other:?}"))),
    }
    ensure_eq!(stores.feed.head().await?.position(), Position::START, "the head");
    Ok(())
}

/// Arrivals follow what commands have appended, and commands are checked against what has arrived. The id of
/// an arrival claims no key.
pub(crate) async fn arrivals_and_commands_share_their_streams(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann")]).await?;
    let one = arrival(&stores, "a", 1, &[deposited(1)?])?;
    ensure_eq!(counts(&stores, "crm", &[one]).await?, (1, 0), "an arrival on a stream of commands");
    let stale = drive::append(&stores, &account("a")?, "stale", 1, &[deposited(2)?])?;
    let conflict = stores.events.commit(stale).await;
    ensure!(
        matches!(conflict, Err(diptych_command::CommitError::Conflict(_))),
        "a command decided before the arrival: {conflict:?}"
    );
    on(&stores, "a", &[deposited(3)?]).await?;
    let two = arrival(&stores, "a", 2, &[deposited(4)?])?;
    ensure_eq!(counts(&stores, "crm", &[two]).await?, (1, 0), "another behind it");
    ensure_eq!(payloads(&stores, "a").await?.len(), 4, "the events of the stream");
    let own = drive::append(&stores, &account("b")?, "arrival 1", 0, &[opened("bob")])?;
    let done = stores.events.commit(own).await?;
    ensure!(!done.replayed, "the id of an arrival was taken for a key");
    let kept = stores.events.recorded(&tenant(MAIN)?, &command_id("arrival 1")?).await?;
    ensure_eq!(kept.map(|record| record.version), Some(Version(1)), "the ledger's row under that id");
    Ok(())
}

/// Inline models take what arrives in the same transaction. One that cannot stops the source there: what came
/// before is in, what comes behind waits, and nothing is lost.
pub(crate) async fn an_inline_model_stops_the_source_at_what_it_refuses(harness: &dyn Harness) -> Outcome {
    let (desk, brittle) = (group::<Desk>(harness), group::<Brittle>(harness));
    let stores = harness.open(vec![Arc::clone(&desk), Arc::clone(&brittle)]).await?;
    for group in [&desk, &brittle] {
        stores.models.attach(group).await?;
    }
    let arrivals = [
        arrival(&stores, "a", 1, &[opened("ann"), deposited(1)?])?,
        arrival(&stores, "b", 3, &[opened("bob"), renamed(Brittle::BREAKS)])?,
        arrival(&stores, "c", 5, &[opened("cid")])?,
    ];
    for taken in [1, 0] {
        let done = take(&stores, "crm", &arrivals).await?;
        ensure_eq!(done.taken, taken, "taken before the one that is refused");
        ensure_eq!(done.head, stores.feed.head().await?.token, "the head that is told");
        let at = done.refused.map(|(entry, fault)| (entry, fault.code()));
        ensure_eq!(at, Some((SourcePosition(4), Code::InlineFailed)), "where it stopped");
        let held = get(&stores, &desk, "a").await?.rows.first().map(|row| row[3].clone());
        ensure_eq!(held, Some(Value::Integer(2)), "the facts in the inline row");
        ensure_eq!(stores.feed.head().await?.position(), Position(2), "the head");
        ensure_eq!(payloads(&stores, "b").await?.len(), 0, "the events of what was refused");
    }
    let mended = [arrival(&stores, "b", 3, &[opened("bob"), renamed("rob")])?, arrivals[2].clone()];
    ensure_eq!(counts(&stores, "crm", &mended).await?, (2, 0), "what was mended, and what waited");
    for group in [&desk, &brittle] {
        let checkpoint = stores.models.checkpoint(group).await?;
        ensure_eq!(checkpoint.mark, stores.feed.head().await?, "the checkpoint of {group:?}");
    }
    Ok(())
}

/// Two processes that bring the same arrivals take each once between them.
pub(crate) async fn two_processes_take_each_arrival_once(harness: &dyn Harness) -> Outcome {
    let (one, two) = (harness.open(Vec::new()).await?, harness.open(Vec::new()).await?);
    let mut all = Vec::new();
    for entry in 1..=40 {
        all.push(arrival(&one, &format!("{}", entry % 3), entry, &[deposited(1)?])?);
    }
    let mut bringing = Vec::new();
    for (process, stores) in [&one, &two, &one, &two].into_iter().enumerate() {
        let (stores, all) = (stores.clone(), all.clone());
        bringing.push(tokio::spawn(async move {
            let mut taken = 0;
            let size = 3 + process;
            for cut in 0..all.len().div_ceil(size) {
                let part = &all[cut * size..all.len().min((cut + 1) * size)];
                taken += take(&stores, "crm", part).await?.taken;
            }
            Ok::<_, Failure>(taken)
        }));
    }
    let mut taken = 0;
    for one in bringing {
        taken += one.await.map_err(|error| Failure::new(error.to_string()))??;
    }
    ensure_eq!(taken, 40, "arrivals taken by all");
    let mut events = 0;
    for key in 0..3 {
        events += payloads(&two, &key.to_string()).await?.len();
    }
    ensure_eq!(events, 40, "events in the log");
    Ok(())
}

/// An asynchronous model reads what arrived like any other fact.
pub(crate) async fn models_fold_what_arrived(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let balance = group::<Balance>(harness);
    counts(&stores, "crm", &three(&stores)?).await?;
    on(&stores, "c", &[opened("cid")]).await?;
    build(&stores, &balance, 2).await?;
    ensure_eq!(contents(&stores, &balance).await?.len(), 3, "the accounts");
    Ok(())
}
