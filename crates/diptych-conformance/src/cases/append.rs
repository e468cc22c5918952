//! Appending to streams: what was written is what is read, and only on the version that was meant.

use crate::drive::{
    self, EVERYTHING, MAIN, account, append, command_id, deposited, on, opened, principal, stream, tenant,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Account, AccountCommand, AccountEvent, AccountId, NoteEvent};
use crate::{Failure, Harness, Outcome};
use diptych_command::{CommitError, Effect, HandleError, Outcome as Ledger, Request};
use diptych_core::{
    CausationId, CorrelationId, EventName, Metadata, NewEvent, PolicyVersion, Position, Timestamp, Version,
};
use std::sync::Arc;

/// The answer of a commit, the stream and the feed all tell the same facts, byte for byte.
pub(crate) async fn facts_read_back_byte_for_byte(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let stream = account("a")?;
    let payloads = ["{ \"b\" : 1,\n\t\"a\":\"\\u00e4 ä\" }", "{\"big\":9007199254740993.0001e10}", "[]"];
    let events = payloads.iter().zip(1..);
    let events = events.map(|(payload, version)| NewEvent::new("Odd", version, (*payload).to_owned()));
    let mut commit = append::<AccountEvent>(&stores, &stream, "one", 0, &[])?;
    commit.header.correlation = Some(CorrelationId::new("talk")?);
    commit.header.causation = Some(CausationId::new("cause")?);
    commit.header.policy = Some(PolicyVersion("v7".into()));
    commit.header.occurred_at = Timestamp::from_micros(-1)?;
    commit.effect = Effect::Append { base: Version::NONE.into(), events: events.collect() };
    let done = stores.events.commit(commit.clone()).await?;
    ensure_eq!(done.record.header, commit.header, "the ledger's header");
    ensure_eq!(done.record.version, Version(3), "the version after");
    for ((fact, payload), number) in done.events.iter().zip(payloads).zip(1..) {
        let name = EventName { name: "Odd".into(), schema_version: number };
        ensure_eq!(&*fact.payload, payload, "payload {number}");
        ensure_eq!(fact.event, name, "type {number}");
        ensure_eq!(fact.version, Version(u64::from(number)), "version {number}");
        ensure_eq!(*fact.stream, stream, "stream {number}");
        ensure_eq!(fact.occurred_at, commit.header.occurred_at, "the time of fact {number}");
        let metadata = Metadata::decode(&fact.metadata)?;
        ensure_eq!(metadata.command.as_str(), "one", "the command of fact {number}");
        ensure_eq!(metadata.actor.as_str(), "ann", "the actor of fact {number}");
        ensure_eq!(metadata.correlation, commit.header.correlation, "the correlation of fact {number}");
        ensure_eq!(metadata.causation, commit.header.causation, "the causation of fact {number}");
        ensure_eq!(metadata.policy.as_deref(), Some("v7"), "the policy of fact {number}");
    }
    ensure_eq!(done.events.len(), 3, "the facts answered");
    let loaded = stores.events.load(&stream, Version::NONE, EVERYTHING).await?;
    ensure_eq!(loaded, done.events, "the stream");
    let all = diptych_query::Categories::All;
    let block = stores.feed.read(Position::START, &all, EVERYTHING).await?;
    ensure_eq!(block.facts, done.events, "the feed");
    let recorded = stores.events.recorded(&tenant(MAIN)?, &command_id("one")?).await?;
    ensure_eq!(recorded, Some(done.record), "the ledger's row");
    Ok(())
}

/// A stream loads after a version and at most so many events.
pub(crate) async fn a_stream_loads_in_pieces(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann"), deposited(1)?, deposited(2)?]).await?;
    on(&stores, "b", &[opened("bob")]).await?;
    on(&stores, "a", &[deposited(3)?, deposited(4)?]).await?;
    let stream = account("a")?;
    for (after, most, expected) in [
        (0, 2, vec![1, 2]),
        (2, 2, vec![3, 4]),
        (4, 2, vec![5]),
        (5, 2, vec![]),
        (0, EVERYTHING, vec![1, 2, 3, 4, 5]),
        (9, 9, vec![]),
    ] {
        let loaded = stores.events.load(&stream, Version(after), most).await?;
        let versions: Vec<_> = loaded.iter().map(|fact| fact.version.0).collect();
        ensure_eq!(versions, expected, "versions after {after}, at most {most}");
        let seen = stores.feed.stream(&stream, Version(after), most).await?;
        ensure_eq!(seen, loaded, "the same stream through the feed");
    }
    let none = stores.events.load(&account("nobody")?, Version::NONE, EVERYTHING).await?;
    ensure_eq!(none.len(), 0, "the events of a stream that nobody wrote");
    Ok(())
}

/// A command without events is accepted where the stream stands, and its token is the head's.
pub(crate) async fn a_command_without_events_is_accepted(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann"), deposited(1)?]).await?;
    drive::note(&stores, "n").await?;
    let stream = account("a")?;
    let done = stores.events.commit(append::<AccountEvent>(&stores, &stream, "idle", 2, &[])?).await?;
    ensure_eq!(done.record.outcome, Ledger::Accepted { base: Version(2) }, "the outcome");
    ensure_eq!(done.record.version, Version(2), "the version");
    ensure_eq!(done.record.token, stores.feed.head().await?.token, "the token");
    ensure_eq!(done.record.token.position, Position(3), "the position");
    ensure!(done.events.is_empty() && !done.replayed, "the answer is {done:?}");
    Ok(())
}

/// A stale base is a conflict that names both versions, and leaves nothing.
pub(crate) async fn a_stale_base_is_a_conflict(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann"), deposited(1)?]).await?;
    let stream = account("a")?;
    let before = stores.feed.head().await?;
    for (base, id) in [(0, "too low"), (1, "low"), (3, "too high")] {
        for commit in [
            append(&stores, &stream, id, base, &[deposited(9)?])?,
            append::<AccountEvent>(&stores, &stream, id, base, &[])?,
            drive::reject(&stores, &stream, id, base)?,
        ] {
            let conflict = match stores.events.commit(commit).await {
                Err(CommitError::Conflict(conflict)) => conflict,
                other => return Err(Failure::new(format!("on base {base}: {other:?}"))),
            };
            ensure_eq!(conflict.expected, Version(base), "the version expected");
            ensure_eq!(conflict.actual, Version(2), "the actual version");
            ensure_eq!(conflict.stream, stream.stream, "the stream of the conflict");
            let row = stores.events.recorded(&tenant(MAIN)?, &command_id(id)?).await?;
            ensure_eq!(row, None, "the ledger after a conflict");
        }
    }
    ensure_eq!(stores.feed.head().await?, before, "the head after conflicts");
    let retried = stores.events.commit(append(&stores, &stream, "low", 2, &[deposited(9)?])?).await?;
    ensure_eq!(retried.record.version, Version(3), "the version after a retry under the same id");
    Ok(())
}

/// A caller's version is held against the store's, for a new stream too.
pub(crate) async fn a_named_version_is_checked(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let commands = drive::commands(&stores);
    let (ann, a) = (principal(MAIN)?, AccountId("a".to_owned()));
    let open = || Request::by(&ann).to(&a, AccountCommand::Open { owner: "ann".into() });
    let early = commands.handle::<Account>(open().if_version(Version(1))).await;
    ensure!(matches!(&early, Err(HandleError::Conflict(c)) if c.actual == Version(0)), "{early:?}");
    let receipt = commands.handle::<Account>(open().if_version(Version::NONE)).await?;
    ensure_eq!(receipt.version, Version(1), "the version of a new stream");
    let late = commands.handle::<Account>(open().if_version(Version::NONE)).await;
    ensure!(matches!(&late, Err(HandleError::Conflict(c)) if c.actual == Version(1)), "{late:?}");
    Ok(())
}

/// Commands that race for one stream are all decided on what they find: none is lost, none is doubled.
pub(crate) async fn racing_commands_are_all_decided(harness: &dyn Harness) -> Outcome {
    const RACERS: u64 = 12;
    let stores = harness.open(Vec::new()).await?;
    let commands = Arc::new(drive::commands(&stores));
    let (ann, a) = (principal(MAIN)?, AccountId("a".to_owned()));
    let open = AccountCommand::Open { owner: "ann".into() };
    commands.handle::<Account>(Request::by(&ann).to(&a, open)).await?;
    let racers = (0..RACERS).map(|_| {
        let (commands, ann, a) = (Arc::clone(&commands), ann.clone(), a.clone());
        tokio::spawn(async move {
            let amount = drive::pounds(1)?;
            let request = Request::by(&ann).to(&a, AccountCommand::Deposit { amount });
            Ok::<_, Failure>(commands.handle::<Account>(request).await?.version)
        })
    });
    let mut versions = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        versions.push(racer.await.map_err(|error| Failure::new(error.to_string()))??.0);
    }
    versions.sort_unstable();
    let expected: Vec<_> = (2..RACERS + 2).collect();
    ensure_eq!(versions, expected, "the versions of racing deposits");
    let facts = stores.feed.stream(&account("a")?, Version::NONE, EVERYTHING).await?;
    ensure_eq!(facts.len() as u64, RACERS + 1, "the facts after the race");
    Ok(())
}

/// Streams of several categories and writers interleave without touching each other's versions.
pub(crate) async fn streams_do_not_disturb_each_other(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for round in 1..=4 {
        for key in ["a", "b"] {
            on(&stores, key, &[deposited(round)?]).await?;
            drive::note(&stores, key).await?;
        }
    }
    for key in ["a", "b"] {
        let accounts = stores.events.load(&account(key)?, Version::NONE, EVERYTHING).await?;
        let notes = stream::<NoteEvent>(MAIN, key)?;
        let notes = stores.events.load(&notes, Version::NONE, EVERYTHING).await?;
        for facts in [accounts, notes] {
            let versions: Vec<_> = facts.iter().map(|fact| fact.version.0).collect();
            ensure_eq!(versions, [1, 2, 3, 4], "the versions of a stream `{key}`");
            let ordered = facts.windows(2).all(|pair| pair[0].position < pair[1].position);
            ensure!(ordered, "the positions of a stream `{key}` are not in order");
        }
    }
    Ok(())
}
