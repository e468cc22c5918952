//! Invariants across streams: what is committed on a condition is committed only if no fact has come to match
//! its query, and a query finds what the pure rule says.

use crate::drive::{self, EVERYTHING, MAIN, command_id, header, principal, stream, tenant};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{
    COURSES_MAX, Enrolment, EnrolmentCommand, EnrolmentEvent, EnrolmentId, EnrolmentRejection, NoteEvent,
};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_command::{
    Base, Commands, Commit, CommitError, Committed, Condition, ConflictCause, Effect, HandleError,
    Outcome as Ledger, RefusedFor, Request,
};
use diptych_core::{Event, NewEvent, Position, RawFact, StreamId, Tag, TagQuery, Version};
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What random facts and queries are made of: whose or how narrow, a key, a type, and tags.
type Parts = (u8, u8, u8, Vec<(u8, u8)>);

/// A condition holds as long as no fact matches after its position; one that does not leaves nothing, and the
/// command may be tried again under the same id.
pub(crate) async fn a_condition_holds_until_a_fact_matches(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    offered(&stores, "rust", 3).await?;
    enrolled(&stores, "rust", "ann").await?;
    let query = TagQuery::tagged("course", "rust");
    let seen = stores.events.load_query(&tenant(MAIN)?, &query, Position::START, EVERYTHING).await?;
    ensure_eq!((seen.facts.len(), seen.through), (2, Position(2)), "what a decision sees");
    let on = Condition { query, after: seen.through };
    // What does not match does not matter, wherever it stands.
    enrolled(&stores, "go", "bob").await?;
    let bob = enrolment(&stores, "bob", Base::Any, "rust", "bob")?.on(on.clone());
    ensure_eq!(stores.events.commit(bob).await?.record.version, Version(1), "the version after");
    let before = stores.feed.head().await?;
    let cy = enrolment(&stores, "cy", Base::Any, "rust", "cy")?;
    let late = stores.events.commit(cy.clone().on(on.clone())).await;
    ensure_boundary(&late, 4)?;
    ensure_eq!(stores.feed.head().await?, before, "the head after a conflict");
    let row = stores.events.recorded(&tenant(MAIN)?, &command_id("cy")?).await?;
    ensure_eq!(row, None, "the ledger after a conflict");
    let evidence = drive::refuse(&stores, &own("cy")?, "cy", RefusedFor::Conflict)?;
    stores.events.commit(evidence).await?;
    if let Some(rows) = harness.audit_rows(&stores, &tenant(MAIN)?, &command_id("cy")?).await {
        ensure_eq!(rows, 1, "the audit rows of a lost race");
    }
    let again = cy.on(Condition { after: before.position(), ..on });
    ensure_eq!(stores.events.commit(again).await?.record.version, Version(1), "the version after a retry");
    Ok(())
}

/// Each kind of item finds its facts, and a condition fails exactly where there is one.
pub(crate) async fn items_find_what_they_say(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    offered(&stores, "rust", 3).await?;
    enrolled(&stores, "rust", "ann").await?;
    enrolled(&stores, "go", "ann").await?;
    enrolled(&stores, "go", "bob").await?;
    let left = EnrolmentEvent::Left { course: "go".into(), student: "ann".into() };
    drive::tell(&stores, MAIN, "go ann", left).await?;
    drive::note(&stores, "n").await?;
    let tagged = |name: &str, value: &str| TagQuery::tagged(name, value);
    let mine = |key: &str| StreamId::new(EnrolmentEvent::CATEGORY, key);
    for (query, expected) in [
        (tagged("course", "rust"), vec![1, 2]),
        (tagged("student", "ann"), vec![2, 3, 5]),
        (tagged("course", "go").and_tagged("student", "ann"), vec![3, 5]),
        (tagged("student", "ann").and_tagged("course", "go"), vec![3, 5]),
        (tagged("course", "rust").or_tagged("student", "ann"), vec![1, 2, 3, 5]),
        (tagged("course", "go").of_types(&["Enrolled"]), vec![3, 4]),
        (tagged("course", "go").of_types(&["Left", "CourseOffered"]), vec![5]),
        (tagged("course", "rust").of_types(&["Left"]).or_tagged("student", "bob"), vec![4]),
        (TagQuery::stream(&mine("go ann")?), vec![3, 5]),
        (TagQuery::stream(&mine("go ann")?).or_tagged("student", "bob"), vec![3, 4, 5]),
        (TagQuery::stream(&mine("nobody")?), vec![]),
        (TagQuery::stream(&StreamId::new("note", "n")?), vec![6]),
        (tagged("student", "nobody"), vec![]),
        (tagged("course", "ann"), vec![]),
        (tagged("course", "go").and_tagged("student", "nobody"), vec![]),
        // A category leaves out what other languages say.
        (tagged("course", "go").within(category(EnrolmentEvent::CATEGORY)?), vec![3, 4, 5]),
        (tagged("course", "go").within(category(NoteEvent::CATEGORY)?), vec![]),
        (TagQuery::stream(&mine("go ann")?).within(category(NoteEvent::CATEGORY)?), vec![]),
    ] {
        let found = positions(&stores, &query, Position::START, EVERYTHING).await?;
        ensure_eq!(found, (expected.clone(), 6), "what {query:?} finds");
        for after in 0..=6 {
            let holds = condition_holds(&stores, &query, after).await?;
            let matched = expected.iter().any(|position| *position > after);
            ensure_eq!(holds, !matched, "whether {query:?} holds after {after}");
        }
    }
    Ok(())
}

/// A page ends with its last fact, the last page with the head.
pub(crate) async fn a_boundary_loads_in_pages(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for student in ["a", "b", "c", "d", "e"] {
        enrolled(&stores, "rust", student).await?;
        drive::note(&stores, student).await?;
    }
    let both = TagQuery::tagged("course", "rust").or_tagged("student", "c");
    for (after, most, expected) in [
        (0, 2, (vec![1, 3], 3)),
        (3, 2, (vec![5, 7], 7)),
        (7, 2, (vec![9], 10)),
        (0, 5, (vec![1, 3, 5, 7, 9], 9)),
        (9, 5, (vec![], 10)),
        (0, EVERYTHING, (vec![1, 3, 5, 7, 9], 10)),
    ] {
        let found = positions(&stores, &both, Position(after), most).await?;
        ensure_eq!(found, expected, "at most {most} after {after}");
    }
    Ok(())
}

/// An item with a beginning is read from the newest one on, page by page; the condition is still about all of
/// it.
pub(crate) async fn an_item_is_read_from_its_newest_beginning_on(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for student in ["ann", "bob"] {
        enrolled(&stores, "rust", student).await?;
    }
    let left = |course: &str| EnrolmentEvent::Left { course: course.into(), student: "ann".into() };
    let rust = TagQuery::tagged("course", "rust").since(&["Left", "CourseOffered"]);
    let whole = positions(&stores, &rust, Position::START, EVERYTHING).await?;
    ensure_eq!(whole, (vec![1, 2], 2), "what is read where nothing begins anew");
    for course in ["rust", "rust", "go"] {
        drive::tell(&stores, MAIN, &format!("{course} ann"), left(course)).await?;
        enrolled(&stores, course, "cy").await?;
    }
    for (query, expected) in [
        (rust.clone(), vec![5, 6]),
        // A beginning has all tags of its item, whichever leads, and is of the query's category.
        (TagQuery::tagged("student", "ann").and_tagged("course", "rust").since(&["Left"]), vec![5]),
        (TagQuery::tagged("student", "cy").since(&["Left"]), vec![4, 6, 8]),
        (TagQuery::tagged("student", "ann").since(&["Left"]), vec![7]),
        (rust.clone().of_types(&["Left", "CourseOffered"]), vec![5]),
        // Items begin apart from each other.
        (rust.clone().or_tagged("student", "bob"), vec![2, 5, 6]),
        (rust.clone().or_tagged("course", "go").since(&["CourseOffered"]), vec![5, 6, 7, 8]),
        (rust.clone().within(category(EnrolmentEvent::CATEGORY)?), vec![5, 6]),
        (rust.clone().within(category(NoteEvent::CATEGORY)?), vec![]),
    ] {
        let found = positions(&stores, &query, Position::START, EVERYTHING).await?;
        ensure_eq!(found, (expected, 8), "what {query:?} reads");
    }
    ensure_eq!(positions(&stores, &rust, Position::START, 1).await?, (vec![5], 5), "the first page");
    ensure_eq!(positions(&stores, &rust, Position(5), 1).await?, (vec![6], 6), "the second page");
    ensure_eq!(positions(&stores, &rust, Position(6), 1).await?, (vec![], 8), "the page after the last");
    for after in 0..=8 {
        let holds = condition_holds(&stores, &rust, after).await?;
        ensure_eq!(holds, after >= 6, "whether what was decided after {after} stands");
    }
    Ok(())
}

/// Tags belong to their tenant: facts of another neither are found nor break a condition.
pub(crate) async fn other_tenants_never_match(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    enrolled(&stores, "rust", "ann").await?;
    let theirs = EnrolmentEvent::Enrolled { course: "rust".into(), student: "ann".into() };
    drive::tell(&stores, "other", "rust ann", theirs).await?;
    let query = TagQuery::tagged("course", "rust").or_stream(&own("rust ann")?.stream);
    ensure_eq!(
        positions(&stores, &query, Position::START, EVERYTHING).await?.0,
        [1],
        "what one tenant finds"
    );
    let other = stores.events.load_query(&tenant("other")?, &query, Position::START, EVERYTHING).await?;
    ensure_eq!(numbers(&other.facts), [2], "what the other finds");
    let nobody = stores.events.load_query(&tenant("nobody")?, &query, Position::START, EVERYTHING).await?;
    ensure_eq!((nobody.facts.len(), nobody.through), (0, Position(2)), "what a tenant without facts finds");
    ensure!(condition_holds(&stores, &query, 1).await?, "the fact of another tenant breaks a condition");
    ensure!(!condition_holds(&stores, &query, 0).await?, "the tenant's own fact breaks no condition");
    Ok(())
}

/// Commands that wait together are held against each other, though none of them was there when they were
/// decided.
pub(crate) async fn earlier_commands_of_a_group_count(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for round in 0..6 {
        let course = format!("course {round}");
        let after = stores.feed.head().await?.position();
        let racers = (0..12).map(|racer| {
            let query = match racer % 3 {
                0 => TagQuery::tagged("course", &course),
                1 => TagQuery::tagged("course", &course).of_types(&["Enrolled"]),
                _ => TagQuery::tagged("student", "nobody").or_tagged("course", &course),
            };
            let student = format!("{course} {racer}");
            let commit =
                enrolment(&stores, &student, Base::Any, &course, &student)?.on(Condition { query, after });
            let events = Arc::clone(&stores.events);
            Ok(tokio::spawn(async move { events.commit(commit).await }))
        });
        let mut won = Vec::new();
        for racer in racers.collect::<Outcome<Vec<_>>>()? {
            match racer.await.map_err(|error| Failure::new(error.to_string()))? {
                Ok(done) => won.push(done.record.token.position),
                Err(CommitError::Conflict(conflict)) => {
                    let boundary = matches!(conflict.cause, ConflictCause::Boundary { .. });
                    ensure!(boundary, "a conflict of another kind: {conflict:?}");
                }
                Err(other) => return Err(other.into()),
            }
        }
        ensure_eq!(won.len(), 1, "who won of those that no two may");
        ensure_eq!(stores.feed.head().await?.position(), after.next(), "the head after a race");
    }
    Ok(())
}

/// Many callers race for few seats, each on a stream of its own: no course is fuller than it may be, no
/// student takes more courses than allowed, and whoever is refused was refused rightly.
pub(crate) async fn racing_callers_keep_the_invariant(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    race(&stores, &[&stores]).await
}

/// The same from two processes.
pub(crate) async fn two_processes_keep_the_invariant(harness: &dyn Harness) -> Outcome {
    let (one, two) = (harness.open(Vec::new()).await?, harness.open(Vec::new()).await?);
    race(&one, &[&one, &two]).await?;
    let query = TagQuery::tagged("course", "rust");
    let found = positions(&one, &query, Position::START, EVERYTHING).await?;
    ensure_eq!(
        positions(&two, &query, Position::START, EVERYTHING).await?,
        found,
        "what the other process finds"
    );
    Ok(())
}

/// A no that other facts would have made a yes is not recorded.
pub(crate) async fn a_rejection_is_checked_like_a_decision(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    enrolled(&stores, "rust", "ann").await?;
    let query = TagQuery::tagged("course", "rust");
    let rejected = |id: &str, after| {
        let effect = Effect::Reject { base: Base::Any, name: "CourseFull".into(), data: "{}".into() };
        let commit = Commit::new(header(&stores, &own("bob")?, id, "rejected")?, effect);
        Ok::<_, Failure>(commit.on(Condition { query: query.clone(), after: Position(after) }))
    };
    let left = EnrolmentEvent::Left { course: "rust".into(), student: "ann".into() };
    drive::tell(&stores, MAIN, "rust ann", left).await?;
    ensure_boundary(&stores.events.commit(rejected("late", 1)?).await, 2)?;
    let row = stores.events.recorded(&tenant(MAIN)?, &command_id("late")?).await?;
    ensure_eq!(row, None, "the ledger after a no that was not true any more");
    let done = stores.events.commit(rejected("right", 2)?).await?;
    ensure!(
        matches!(done.record.outcome, Ledger::Rejected { .. }),
        "the outcome is {:?}",
        done.record.outcome
    );
    ensure_eq!(done.record.version, Version::NONE, "the version of a stream that is empty");
    Ok(())
}

/// Where no version is meant, events go behind whatever the stream has, and the ledger says behind what.
pub(crate) async fn events_may_go_behind_any_version(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let (mine, all) = (own("rust ann")?, diptych_query::Categories::All);
    for number in 0..4_u64 {
        let commit = enrolment(&stores, &format!("any {number}"), Base::Any, "rust", "ann")?;
        let commit = Commit { header: header(&stores, &mine, &format!("any {number}"), "")?, ..commit };
        let done = stores.events.commit(commit).await?;
        ensure_eq!(done.record.outcome, Ledger::Accepted { base: Version(number) }, "the outcome");
        ensure_eq!(done.record.version, Version(number + 1), "the version after");
        ensure_eq!(done.events[0].version, Version(number + 1), "the version of the fact");
    }
    let block = stores.feed.read(Position::START, &all, EVERYTHING).await?;
    super::log::contiguous(&block.facts)?;
    Ok(())
}

/// A version and a condition are both held against the log; the caller learns which of them failed.
pub(crate) async fn a_version_is_checked_beside_the_condition(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    enrolled(&stores, "rust", "ann").await?;
    let on = |after| Condition { query: TagQuery::tagged("course", "rust"), after: Position(after) };
    let at = |id: &str, version| {
        let commit = enrolment(&stores, id, Base::At(Version(version)), "rust", "bob")?;
        Ok::<_, Failure>(Commit { header: header(&stores, &own("rust ann")?, id, "")?, ..commit })
    };
    let stale = stores.events.commit(at("stale", 0)?.on(on(1))).await;
    let is_of_version = matches!(&stale, Err(CommitError::Conflict(c)) if c.cause == ConflictCause::Version);
    ensure!(is_of_version, "a wrong version under a condition that holds: {stale:?}");
    ensure_boundary(&stores.events.commit(at("late", 1)?.on(on(0))).await, 1)?;
    let done = stores.events.commit(at("right", 1)?.on(on(1))).await?;
    ensure_eq!(done.record.version, Version(2), "the version after");
    // The same through the loop: a version that is not the stream's is the caller's to see.
    let (commands, ann, id) = (drive::commands(&stores), principal(MAIN)?, EnrolmentId("rust ann".into()));
    let leave = EnrolmentCommand::Leave { course: "rust".into(), student: "ann".into() };
    let asked = |version| Request::by(&ann).to(&id, leave.clone()).if_version(Version(version));
    let stale = commands.handle::<Enrolment>(asked(1)).await;
    ensure!(matches!(&stale, Err(HandleError::Conflict(c)) if c.actual == Version(2)), "{stale:?}");
    let receipt = commands.handle::<Enrolment>(asked(2)).await?;
    ensure_eq!(receipt.version, Version(3), "the version after a command that named the right one");
    Ok(())
}

/// A key that was claimed is answered from the ledger, whatever has come into the boundary since.
pub(crate) async fn a_replay_does_not_look_at_the_condition(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let on = Condition { query: TagQuery::tagged("course", "rust"), after: Position::START };
    let commit = enrolment(&stores, "one", Base::Any, "rust", "ann")?.on(on);
    let first = stores.events.commit(commit.clone()).await?;
    let second = stores.events.commit(commit.clone()).await?;
    ensure!(second.replayed && second.record == first.record, "the same command again: {second:?}");
    let other = Commit { header: header(&stores, &own("one")?, "one", "another input")?, ..commit };
    let other = stores.events.commit(other).await;
    ensure!(matches!(other, Err(CommitError::KeyReused)), "another input under the key: {other:?}");
    // Through the loop: the last seat is taken by the very command that asks for it again.
    let (commands, ann) = (drive::commands(&stores), principal(MAIN)?);
    offered(&stores, "go", 1).await?;
    let enrol = EnrolmentCommand::Enrol { course: "go".into(), student: "ann".into() };
    let asked = || Request::by(&ann).to(&EnrolmentId("go ann".into()), enrol.clone()).command_id("go");
    let first = commands.handle::<Enrolment>(asked()).await?;
    let again = commands.handle::<Enrolment>(asked()).await?;
    ensure!(again.replayed && again.version == first.version, "the same command again: {again:?}");
    ensure_eq!(again.events, first.events, "the events of a replay");
    Ok(())
}

/// Tags are written with their events: whatever the process ends in, both are there.
pub(crate) async fn tags_survive_with_their_events(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let query = TagQuery::tagged("course", "rust").and_tagged("student", "ann");
    for round in 1..=4_u64 {
        enrolled(&stores, "rust", "ann").await?;
        match round % 2 {
            0 => harness.crash(stores).await?,
            _ => harness.stop(stores).await?,
        }
        stores = harness.open(Vec::new()).await?;
        let found = positions(&stores, &query, Position::START, EVERYTHING).await?;
        ensure_eq!(found, ((1..=round).collect(), round), "what is found in life {round}");
        ensure!(!condition_holds(&stores, &query, round - 1).await?, "a condition holds over life {round}");
        ensure!(condition_holds(&stores, &query, round).await?, "a condition fails in life {round}");
    }
    Ok(())
}

/// An event without tags is found by its stream alone.
pub(crate) async fn events_without_tags_match_no_tag(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let commit = |id: &str, tags| {
        let event =
            NewEvent::new("Enrolled", 1, r#"{"course":"rust","student":"ann"}"#.to_owned()).tagged(tags);
        let effect = Effect::Append { base: Base::Any, events: vec![event.clone(), event] };
        Ok::<_, Failure>(Commit::new(header(&stores, &own("rust ann")?, id, id)?, effect))
    };
    stores.events.commit(commit("plain", Vec::new())?).await?;
    let twice = vec![Tag::new("course:rust")?, Tag::new("course:rust")?];
    stores.events.commit(commit("tagged", twice)?).await?;
    let tagged = TagQuery::tagged("course", "rust");
    ensure_eq!(positions(&stores, &tagged, Position::START, EVERYTHING).await?, (vec![3, 4], 4), "by tag");
    let streamed = TagQuery::stream(&own("rust ann")?.stream);
    ensure_eq!(positions(&stores, &streamed, Position::START, EVERYTHING).await?.0.len(), 4, "by stream");
    Ok(())
}

/// Random tags, types, beginnings, streams, tenants and queries: the store finds, and holds conditions
/// against, exactly what the pure rules say.
pub(crate) async fn random_queries_agree_with_the_pure_rule(harness: &dyn Harness) -> Outcome {
    let seed = match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(0),
    };
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() });
    let mut draw = |strategy: BoxedStrategy<Parts>| {
        let tree = strategy.new_tree(&mut runner);
        tree.map(|tree| tree.current()).map_err(|error| Failure::new(error.to_string()))
    };
    let parts = || {
        let tags = proptest::collection::vec((0_u8..3, 0_u8..3), 0..4);
        (0_u8..2, 0_u8..4, 0_u8..3, tags).boxed()
    };
    let stores = harness.open(Vec::new()).await?;
    let mut written: Vec<(Arc<RawFact>, Vec<Tag>)> = Vec::new();
    for number in 0..120 {
        let (of, key, kind, marks) = draw(parts())?;
        let own = stream::<EnrolmentEvent>(tenant_of(of), &key.to_string())?;
        let tags = marks.iter().map(|mark| tag(*mark)).collect::<Outcome<Vec<_>>>()?;
        let event = NewEvent::new(EnrolmentEvent::TYPES[usize::from(kind)].name, 1, "{}".into());
        let events = vec![event.tagged(tags.clone())];
        let id = format!("write {number}");
        let query = query(&draw(parts())?, &draw(parts())?)?;
        let after = Position(written.len().saturating_sub(usize::from(key) * 2) as u64);
        let later = written.iter().filter(|(fact, _)| fact.position > after);
        let mut own_later = later.filter(|(fact, _)| fact.stream.tenant == own.tenant);
        let broken = own_later.any(|(fact, tags)| query.matches(fact, tags));
        let effect = Effect::Append { base: Base::Any, events };
        let commit = Commit::new(header(&stores, &own, &id, &id)?, effect);
        let done = stores.events.commit(commit.on(Condition { query: query.clone(), after })).await;
        match done {
            Ok(done) => {
                ensure!(!broken, "seed {seed}: {query:?} holds after {after}, and should not");
                written.push((Arc::clone(&done.events[0]), tags));
            }
            Err(CommitError::Conflict(_)) => {
                ensure!(broken, "seed {seed}: {query:?} fails after {after}, and should not");
            }
            Err(other) => return Err(other.into()),
        }
        let asked = tenant(tenant_of(of))?;
        let found = stores.events.load_query(&asked, &query, Position::START, EVERYTHING).await?;
        let mine = written.iter().filter(|(fact, _)| fact.stream.tenant == asked);
        let selected = query.selects(mine.clone().map(|(fact, tags)| (&**fact, tags.as_slice())));
        let read = mine.filter(|(fact, _)| selected.contains(&fact.position));
        let expected: Vec<_> = read.map(|(fact, _)| Arc::clone(fact)).collect();
        ensure_eq!(found.facts, expected, "seed {seed}: what {query:?} finds");
    }
    ensure!(written.len() > 20, "seed {seed}: only {} commands were let through", written.len());
    Ok(())
}

fn tenant_of(number: u8) -> &'static str {
    if number == 0 { MAIN } else { "other" }
}

fn tag((name, value): (u8, u8)) -> Outcome<Tag> {
    Ok(Tag::of(["a", "b", "c"][usize::from(name)], &value.to_string())?)
}

/// A query of two items made of random parts.
fn query(one: &Parts, two: &Parts) -> Outcome<TagQuery> {
    let mut query = TagQuery::default();
    for (number, (narrow, key, kind, marks)) in [one, two].into_iter().enumerate() {
        let Some((first, others)) = marks.split_first().filter(|_| number == 0 || *narrow == 0) else {
            query = query.or_stream(&own(&key.to_string())?.stream);
            continue;
        };
        let name = |mark: &(u8, u8)| ["a", "b", "c"][usize::from(mark.0)];
        query = query.or_tagged(name(first), &u32::from(first.1));
        for mark in others.iter().take(2) {
            query = query.and_tagged(name(mark), &u32::from(mark.1));
        }
        let kind = [EnrolmentEvent::TYPES[usize::from(*kind)].name];
        if *narrow == 1 {
            query = query.of_types(&kind);
        }
        if *key >= 2 {
            query = query.since(&kind);
        }
    }
    query.checked().map_err(|error| Failure::new(error.to_string()))
}

/// Students race for the seats of courses through the panels of these processes; what the log holds in the
/// end keeps both rules, and leaves no seat and no student idle for nothing.
async fn race(first: &Stores, processes: &[&Stores]) -> Outcome {
    const COURSES: [(&str, usize); 4] = [("rust", 3), ("go", 2), ("ada", 1), ("lisp", 9)];
    const STUDENTS: usize = 8;
    for (course, seats) in COURSES {
        offered(first, course, seats).await?;
    }
    let panels: Vec<Arc<Commands>> =
        processes.iter().map(|stores| Arc::new(drive::commands(stores))).collect();
    let mut racers = Vec::new();
    for student in 0..STUDENTS {
        for (number, (course, _)) in COURSES.into_iter().enumerate() {
            let commands = Arc::clone(&panels[(student + number) % panels.len()]);
            let (ann, student) = (principal(MAIN)?, format!("s{student}"));
            racers.push(tokio::spawn(async move {
                let id = EnrolmentId(format!("{course} {student}"));
                let enrol = EnrolmentCommand::Enrol { course: course.into(), student };
                commands.handle::<Enrolment>(Request::by(&ann).to(&id, enrol)).await.map(drop)
            }));
        }
    }
    let (mut accepted, mut rejected) = (0, 0);
    for racer in racers {
        match racer.await.map_err(|error| Failure::new(error.to_string()))? {
            Ok(()) => accepted += 1,
            Err(HandleError::Rejected(
                EnrolmentRejection::CourseFull {} | EnrolmentRejection::TooManyCourses {},
            )) => rejected += 1,
            Err(other) => return Err(other.into()),
        }
    }
    ensure_eq!(accepted + rejected, STUDENTS * COURSES.len(), "the answers");
    let mut taken = BTreeSet::new();
    let block = first.feed.read(Position::START, &diptych_query::Categories::All, EVERYTHING).await?;
    for fact in &block.facts {
        if let Some(EnrolmentEvent::Enrolled { course, student }) = fact.decode::<EnrolmentEvent>()? {
            taken.insert((course, student));
        }
    }
    ensure_eq!(taken.len(), accepted, "the enrolments in the log");
    for (course, seats) in COURSES {
        let full = taken.iter().filter(|taken| taken.0 == course).count();
        ensure!(full <= seats, "`{course}` has {full} students and {seats} seats");
        for student in (0..STUDENTS).map(|number| format!("s{number}")) {
            let busy = taken.iter().filter(|taken| taken.1 == student).count();
            ensure!(busy <= COURSES_MAX, "`{student}` takes {busy} courses");
            // Nobody was refused for a reason that does not hold.
            let enrolled = taken.contains(&(course.to_owned(), student.clone()));
            ensure!(
                enrolled || full == seats || busy == COURSES_MAX,
                "`{student}` with {busy} courses was kept out of `{course}` with {full} students"
            );
        }
    }
    Ok(())
}

/// The stream of an enrolment.
fn own(key: &str) -> Outcome<diptych_core::StreamRef> {
    stream::<EnrolmentEvent>(MAIN, key)
}

fn category(name: &str) -> Outcome<diptych_core::Category> {
    Ok(diptych_core::Category::new(name)?)
}

async fn offered(stores: &Stores, course: &str, seats: usize) -> Outcome {
    drive::tell(stores, MAIN, course, EnrolmentEvent::CourseOffered { course: course.to_owned(), seats })
        .await
}

async fn enrolled(stores: &Stores, course: &str, student: &str) -> Outcome {
    let event = EnrolmentEvent::Enrolled { course: course.to_owned(), student: student.to_owned() };
    drive::tell(stores, MAIN, &format!("{course} {student}"), event).await
}

/// A student's enrolment by hand, in a stream called like the command.
fn enrolment(stores: &Stores, id: &str, base: Base, course: &str, student: &str) -> Outcome<Commit> {
    let event = EnrolmentEvent::Enrolled { course: course.to_owned(), student: student.to_owned() };
    let commit = drive::append(stores, &own(id)?, id, 0, &[event])?;
    match commit.effect {
        Effect::Append { events, .. } => Ok(Commit::new(commit.header, Effect::Append { base, events })),
        _ => Err(Failure::new("an append appends")),
    }
}

/// Whether a condition is let through; it is asked with a command that changes nothing.
async fn condition_holds(stores: &Stores, query: &TagQuery, after: u64) -> Outcome<bool> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let id = format!("asks {}", ASKED.fetch_add(1, Ordering::Relaxed));
    let effect = Effect::Append { base: Base::Any, events: Vec::new() };
    let commit = Commit::new(header(stores, &own("asker")?, &id, &id)?, effect);
    let on = Condition { query: query.clone(), after: Position(after) };
    match stores.events.commit(commit.on(on)).await {
        Ok(_) => Ok(true),
        Err(CommitError::Conflict(conflict)) => match conflict.cause {
            ConflictCause::Boundary { position } if position.0 > after => Ok(false),
            cause => Err(Failure::new(format!("a condition after {after} failed for {cause:?}"))),
        },
        Err(other) => Err(other.into()),
    }
}

#[track_caller]
fn ensure_boundary(answer: &Result<Committed, CommitError>, expected: u64) -> Outcome {
    match answer {
        Err(CommitError::Conflict(conflict)) => {
            let cause = ConflictCause::Boundary { position: Position(expected) };
            ensure_eq!(conflict.cause, cause, "why it was refused");
            Ok(())
        }
        other => Err(Failure::new(format!("a condition that does not hold: {other:?}"))),
    }
}

async fn positions(
    stores: &Stores,
    query: &TagQuery,
    after: Position,
    most: usize,
) -> Outcome<(Vec<u64>, u64)> {
    let found = stores.events.load_query(&tenant(MAIN)?, query, after, most).await?;
    Ok((numbers(&found.facts), found.through.0))
}

fn numbers(facts: &[Arc<RawFact>]) -> Vec<u64> {
    facts.iter().map(|fact| fact.position.0).collect()
}
