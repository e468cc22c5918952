//! Builds: empty tables beside those that answer, moved by themselves, switched in one transaction.

use crate::drive::{
    self, EVERYTHING, QUERY_MAX, account, advance_to_head, all_contents, append, build, contents, deposited,
    get, history, note, on, opened, query,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Balance, Desk, NextRevision, Total, group};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Actor, Code, Fault, Position, Value};
use diptych_query::{
    BucketDigest, Build, BuildId, BuildMove, Checkpoint, Group, Order, Stage, TransitError,
    fold::{bucket_of, row_digest},
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) fn order(reason: &str) -> Outcome<Order> {
    Ok(Order { actor: Actor::new("ann")?, reason: reason.to_owned() })
}

fn moved(build: BuildId, from: Stage, to: Stage) -> BuildMove {
    BuildMove { build, from, to }
}

const fn generation(generation: u32) -> BuildId {
    BuildId { revision: 1, generation }
}

async fn stages(stores: &Stores, group: &Group) -> Outcome<Vec<(BuildId, Stage)>> {
    let builds = stores.registry.builds(group.name()).await?;
    Ok(builds.into_iter().map(|build| (build.id, build.stage)).collect())
}

async fn transit(stores: &Stores, group: &Group, moves: &[BuildMove]) -> Outcome<Vec<Build>> {
    let done = stores.registry.transit(group, moves, &order("as the case says")?).await;
    done.map_err(|error| Failure::new(format!("{moves:?} of {group:?}: {error}")))
}

/// Lets the first build of a group answer.
pub(super) async fn serve(stores: &Stores, group: &Group) -> Outcome {
    let first = generation(1);
    let up =
        [moved(first, Stage::Building, Stage::Shadowing), moved(first, Stage::Shadowing, Stage::Serving)];
    transit(stores, group, &up).await?;
    Ok(())
}

/// Another build that stands at the head, as a shadow.
async fn shadow(stores: &Stores, group: &Group) -> Outcome<Group> {
    let begun = stores.registry.begin_build(group, &order("to be sure")?).await?;
    let pinned = group.at(begun.id);
    build(stores, &pinned, 7).await?;
    transit(stores, group, &[moved(begun.id, Stage::Building, Stage::Shadowing)]).await?;
    Ok(pinned)
}

fn switch(from: BuildId, to: BuildId) -> [BuildMove; 2] {
    [moved(from, Stage::Serving, Stage::Shadowing), moved(to, Stage::Shadowing, Stage::Serving)]
}

/// Which build answers a question by key.
async fn answering(stores: &Stores, group: &Group) -> Outcome<BuildId> {
    Ok(get(stores, group, "a").await?.build)
}

/// A group that is attached for the first time has one build, begun and recorded.
pub(crate) async fn a_first_build_is_known(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let balance = group::<Balance>(harness);
    ensure_eq!(stores.registry.builds("balance").await?, Vec::new(), "builds before anything is attached");
    stores.models.attach(&balance).await?;
    let builds = stores.registry.builds("balance").await?;
    ensure_eq!(builds.len(), 1, "builds of a group that was attached once");
    ensure_eq!((builds[0].id, builds[0].stage), (generation(1), Stage::Building), "the first build");
    ensure_eq!(builds[0].declared, balance.declared(), "what the build remembers of its tables");
    ensure_eq!(stores.registry.groups().await?, vec!["balance".to_owned()], "the groups known");
    let moves = stores.registry.stage_moves(Some("balance"), 10).await?;
    ensure_eq!(moves.len(), 1, "moves recorded");
    ensure_eq!(moves[0].moved, moved(generation(1), Stage::Designed, Stage::Building), "the move");
    stores.models.attach(&balance).await?;
    ensure_eq!(stores.registry.builds("balance").await?, builds, "the builds once attached again");
    Ok(())
}

/// Of several who begin a build with a record of one kind one is first, from any process: one build is begun,
/// and the record is about it. A record that cannot be written leaves no build.
pub(crate) async fn a_build_is_begun_with_its_record_or_not_at_all(harness: &dyn Harness) -> Outcome {
    let (ours, theirs) = (harness.open(Vec::new()).await?, harness.open(Vec::new()).await?);
    let balance = group::<Balance>(harness);
    for stores in [&ours, &theirs] {
        stores.models.attach(&balance).await?;
    }
    let broken = |_| Err(Fault::permanent(Code::Internal, "nothing can be said"));
    let failed = ours.registry.begin_recorded(&balance, &order("no")?, "rebuild", Box::new(broken)).await;
    ensure!(failed.is_err(), "a build whose record cannot be written: {failed:?}");
    ensure_eq!(ours.registry.builds("balance").await?.len(), 1, "the builds after that");
    let writers = (0..6).map(|writer| {
        let registry = Arc::clone(&if writer % 2 == 0 { &ours } else { &theirs }.registry);
        let (balance, order) = (Arc::clone(&balance), order(&format!("writer {writer}")));
        tokio::spawn(async move {
            let body = move |build| Ok(format!("{{\"by\":{writer},\"build\":\"{build}\"}}"));
            let begun = registry.begin_recorded(&balance, &order?, "rebuild", Box::new(body)).await?;
            Ok::<_, Failure>(begun.map(|build| (writer, build.id)))
        })
    });
    let mut first = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        first.extend(writer.await.map_err(|error| Failure::new(error.to_string()))??);
    }
    ensure_eq!(first.len(), 1, "writers that were first: {first:?}");
    let (writer, begun) = first[0];
    let builds = theirs.registry.builds("balance").await?;
    ensure_eq!((builds.len(), builds[1].id, begun), (2, generation(2), generation(2)), "the builds begun");
    let record = ours.registry.record("rebuild", "balance").await?;
    let (version, body) = record.map(|record| (record.version, record.body)).unwrap_or_default();
    let about = body.contains(&format!("\"{begun}\"")) && body.contains(&writer.to_string());
    ensure!(version == 1 && about, "the record of {begun} by {writer}: {version}, {body}");
    let start = theirs.models.attach(&balance.at(begun)).await?;
    ensure_eq!(start.mark.position(), Position::START, "where the new build stands");
    harness.stop(theirs).await?;
    Ok(())
}

/// A second build starts empty, is moved by itself, and leaves the first one's rows alone.
pub(crate) async fn builds_are_moved_by_themselves(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let balance = group::<Balance>(harness);
    history(&stores).await?;
    build(&stores, &balance, EVERYTHING).await?;
    let before = all_contents(&stores, &balance).await?;
    let begun = stores.registry.begin_build(&balance, &order("to be sure")?).await?;
    ensure_eq!((begun.id, begun.stage), (generation(2), Stage::Building), "the second build");
    let (first, second) = (balance.at(generation(1)), balance.at(begun.id));
    let start = stores.models.attach(&second).await?;
    ensure_eq!(start.mark.position(), Position::START, "where a new build stands");
    ensure_eq!(contents(&stores, &second).await?, Vec::new(), "the rows of a new build");
    let mut positions = Vec::new();
    while !drive::advance_once(&stores, &second, 5).await? {
        positions.push(stores.models.checkpoint(&second).await?.mark.position());
        ensure_eq!(all_contents(&stores, &balance).await?, before, "rows of the build that is not moved");
    }
    ensure!(positions.windows(2).all(|pair| pair[0] < pair[1]), "a build moved back: {positions:?}");
    ensure_eq!(all_contents(&stores, &second).await?, before, "the rows of the second build at the head");
    on(&stores, "a", &[deposited(9)?]).await?;
    advance_to_head(&stores, &second, 5).await?;
    ensure_eq!(all_contents(&stores, &first).await?, before, "the first build by its name");
    ensure!(all_contents(&stores, &second).await? != before, "the second build did not move");
    ensure_eq!(answering(&stores, &balance).await?, generation(1), "which build is meant by none");
    ensure_eq!(answering(&stores, &second).await?, generation(2), "which build is meant by its name");
    Ok(())
}

/// After a switch the new build answers, and after a rollback the old one, from the next question on.
pub(crate) async fn a_switch_changes_what_answers(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let balance = group::<Balance>(harness);
    history(&stores).await?;
    build(&stores, &balance, EVERYTHING).await?;
    serve(&stores, &balance).await?;
    shadow(&stores, &balance).await?;
    let (old, new) = (generation(1), generation(2));
    ensure_eq!(answering(&stores, &balance).await?, old, "which build answers before the switch");
    let after = transit(&stores, &balance, &switch(old, new)).await?;
    ensure_eq!(after, stores.registry.builds("balance").await?, "what the switch answered");
    ensure_eq!(
        stages(&stores, &balance).await?,
        vec![(old, Stage::Shadowing), (new, Stage::Serving)],
        "the stages after the switch"
    );
    ensure_eq!(answering(&stores, &balance).await?, new, "which build answers after the switch");
    on(&stores, "a", &[deposited(4)?]).await?;
    advance_to_head(&stores, &balance, 5).await?;
    advance_to_head(&stores, &balance.at(old), 5).await?;
    let rows = all_contents(&stores, &balance).await?;
    ensure_eq!(all_contents(&stores, &balance.at(new)).await?, rows, "the build that was moved");
    ensure_eq!(all_contents(&stores, &balance.at(old)).await?, rows, "the build that follows behind");
    transit(&stores, &balance, &switch(new, old)).await?;
    ensure_eq!(answering(&stores, &balance).await?, old, "which build answers after the rollback");
    let schema = balance.models()[0].schema();
    let found = stores.models.find(&balance, schema, &query(None, Vec::new())?, QUERY_MAX).await?;
    ensure_eq!(found.build, old, "which build rows were found in after the rollback");
    let moves = stores.registry.stage_moves(None, 100).await?;
    ensure_eq!(moves.len(), 4 + 1 + 2 + 2, "the moves recorded: {moves:?}");
    ensure!(moves.windows(2).all(|pair| pair[0].at >= pair[1].at), "moves are not newest first");
    ensure_eq!(moves[0].order, order("as the case says")?, "who ordered the last move and why");
    Ok(())
}

/// A build that stands behind the one that answers cannot take over: answers would go back in time.
pub(crate) async fn a_build_that_is_behind_does_not_take_over(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let balance = group::<Balance>(harness);
    history(&stores).await?;
    build(&stores, &balance, EVERYTHING).await?;
    serve(&stores, &balance).await?;
    let second = shadow(&stores, &balance).await?;
    note(&stores, "n").await?;
    advance_to_head(&stores, &balance, 5).await?;
    let before = (stages(&stores, &balance).await?, stores.registry.stage_moves(None, 100).await?);
    let (old, new) = (generation(1), generation(2));
    let refused = stores.registry.transit(&balance, &switch(old, new), &order("too early")?).await;
    ensure!(matches!(refused, Err(TransitError::Behind { .. })), "a build behind took over: {refused:?}");
    let after = (stages(&stores, &balance).await?, stores.registry.stage_moves(None, 100).await?);
    ensure_eq!(after, before, "stages and moves after a refusal");
    ensure_eq!(answering(&stores, &balance).await?, old, "which build answers after a refusal");
    advance_to_head(&stores, &second, 5).await?;
    transit(&stores, &balance, &switch(old, new)).await?;
    ensure_eq!(answering(&stores, &balance).await?, new, "which build answers once it is not behind");
    Ok(())
}

/// Moves are made together or not at all, and only from where the builds stand.
pub(crate) async fn moves_are_judged_together(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let balance = group::<Balance>(harness);
    history(&stores).await?;
    build(&stores, &balance, EVERYTHING).await?;
    serve(&stores, &balance).await?;
    shadow(&stores, &balance).await?;
    let before = stores.registry.builds("balance").await?;
    let (old, new) = (generation(1), generation(2));
    let refused = |moves: Vec<BuildMove>| {
        let (stores, balance) = (&stores, &balance);
        async move {
            match stores.registry.transit(balance, &moves, &order("wrong")?).await {
                Err(error) => Ok::<_, Failure>(error),
                Ok(_) => Err(Failure::new(format!("{moves:?} was done"))),
            }
        }
    };
    let illegal = refused(vec![
        moved(old, Stage::Serving, Stage::Rebuilding),
        moved(new, Stage::Shadowing, Stage::Deprecated),
    ]);
    let illegal = illegal.await?;
    ensure!(matches!(illegal, TransitError::Illegal(_)), "an illegal move: {illegal:?}");
    let elsewhere = refused(vec![
        moved(old, Stage::Serving, Stage::Rebuilding),
        moved(new, Stage::Building, Stage::Retired),
    ]);
    let elsewhere = elsewhere.await?;
    ensure!(
        matches!(elsewhere, TransitError::Elsewhere { stage: Some(Stage::Shadowing), .. }),
        "a build that is elsewhere: {elsewhere:?}"
    );
    let unknown = refused(vec![moved(generation(9), Stage::Building, Stage::Retired)]).await?;
    ensure!(matches!(unknown, TransitError::Elsewhere { stage: None, .. }), "no such build: {unknown:?}");
    let two = refused(vec![moved(new, Stage::Shadowing, Stage::Serving)]).await?;
    ensure!(matches!(two, TransitError::TwoAnswer { revision: 1 }), "two that answer: {two:?}");
    ensure_eq!(stores.registry.builds("balance").await?, before, "the builds after refusals");
    // Of two operators who do the same, the second is told.
    transit(&stores, &balance, &switch(old, new)).await?;
    let again = refused(switch(old, new).to_vec()).await?;
    ensure!(matches!(again, TransitError::Elsewhere { .. }), "the same again: {again:?}");
    Ok(())
}

/// A retired build is dropped without a trace of its rows; one that is not retired is not dropped.
pub(crate) async fn a_retired_build_is_dropped(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let balance = group::<Balance>(harness);
    history(&stores).await?;
    build(&stores, &balance, EVERYTHING).await?;
    serve(&stores, &balance).await?;
    shadow(&stores, &balance).await?;
    let (old, new) = (generation(1), generation(2));
    ensure!(stores.registry.drop_build(&balance, new).await.is_err(), "a shadow was dropped");
    ensure!(stores.registry.build_bytes(&balance, new).await? > 0, "the bytes of a build with rows");
    transit(&stores, &balance, &[moved(new, Stage::Shadowing, Stage::Retired)]).await?;
    for _ in 0..2 {
        stores.registry.drop_build(&balance, new).await?;
    }
    let read = stores.models.checkpoint(&balance.at(new)).await;
    ensure!(read.is_err(), "a build that was dropped still stands somewhere: {read:?}");
    ensure_eq!(answering(&stores, &balance).await?, old, "which build answers");
    all_contents(&stores, &balance).await?;
    let third = stores.registry.begin_build(&balance, &order("once more")?).await?;
    ensure_eq!(third.id, generation(3), "a generation is never used twice");
    let stands = build(&stores, &balance.at(third.id), EVERYTHING).await?;
    ensure_eq!(stands.mark, stores.feed.head().await?, "the third build");
    Ok(())
}

/// A group whose builds are all retired is not opened again; its next revision is.
pub(crate) async fn a_retired_revision_stays_retired(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let (total, next) = (group::<Total>(harness), group::<NextRevision>(harness));
    on(&stores, "a", &[opened("ann")]).await?;
    build(&stores, &total, EVERYTHING).await?;
    serve(&stores, &total).await?;
    let first = generation(1);
    let down =
        [moved(first, Stage::Serving, Stage::Deprecated), moved(first, Stage::Deprecated, Stage::Retired)];
    transit(&stores, &total, &down).await?;
    harness.stop(stores).await?;
    let stores = harness.open(Vec::new()).await?;
    match stores.models.attach(&total).await {
        Err(fault) if fault.code() == Code::ModelRetired => {}
        other => return Err(Failure::new(format!("a retired model was opened: {other:?}"))),
    }
    build(&stores, &next, EVERYTHING).await?;
    ensure_eq!(contents(&stores, &next).await?.len(), 1, "the rows of the next revision");
    Ok(())
}

/// Stages, moves, records and both builds' rows are there after a crash.
pub(crate) async fn builds_survive(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let balance = group::<Balance>(harness);
    history(&stores).await?;
    build(&stores, &balance, EVERYTHING).await?;
    serve(&stores, &balance).await?;
    shadow(&stores, &balance).await?;
    transit(&stores, &balance, &switch(generation(1), generation(2))).await?;
    stores.registry.write_record("rebuild", "balance", 0, r#"{"step":"switched"}"#).await?;
    let before = (
        stores.registry.builds("balance").await?,
        stores.registry.stage_moves(None, 100).await?,
        stores.registry.record("rebuild", "balance").await?,
    );
    let rows = all_contents(&stores, &balance).await?;
    harness.crash(stores).await?;
    let stores = harness.open(Vec::new()).await?;
    let after = (
        stores.registry.builds("balance").await?,
        stores.registry.stage_moves(None, 100).await?,
        stores.registry.record("rebuild", "balance").await?,
    );
    ensure_eq!(after, before, "what is known after a crash");
    stores.models.attach(&balance).await?;
    ensure_eq!(answering(&stores, &balance).await?, generation(2), "which build answers after a crash");
    for id in [1, 2].map(generation) {
        let pinned = balance.at(id);
        advance_to_head(&stores, &pinned, 5).await?;
        ensure_eq!(all_contents(&stores, &pinned).await?, rows, "the rows of {id} after a crash");
    }
    Ok(())
}

/// A second process answers from the build that the first one switched to, once it has looked.
pub(crate) async fn another_process_follows_a_switch(harness: &dyn Harness) -> Outcome {
    let (ours, theirs) = (harness.open(Vec::new()).await?, harness.open(Vec::new()).await?);
    let balance = group::<Balance>(harness);
    history(&ours).await?;
    build(&ours, &balance, EVERYTHING).await?;
    serve(&ours, &balance).await?;
    theirs.models.attach(&balance).await?;
    ensure_eq!(answering(&theirs, &balance).await?, generation(1), "which build answers over there");
    shadow(&ours, &balance).await?;
    transit(&ours, &balance, &switch(generation(1), generation(2))).await?;
    theirs.registry.refresh().await?;
    ensure_eq!(answering(&theirs, &balance).await?, generation(2), "which build answers once it has looked");
    on(&theirs, "a", &[deposited(4)?]).await?;
    advance_to_head(&theirs, &balance, 5).await?;
    let rows = all_contents(&theirs, &balance).await?;
    ensure_eq!(all_contents(&ours, &balance).await?, rows, "the rows in both processes");
    // What was retired and dropped elsewhere is not missed by whoever reads the model.
    let old = generation(1);
    transit(&ours, &balance, &[moved(old, Stage::Shadowing, Stage::Retired)]).await?;
    ours.registry.drop_build(&balance, old).await?;
    ensure_eq!(all_contents(&theirs, &balance).await?, rows, "the rows after the old build is gone");
    harness.stop(theirs).await?;
    Ok(())
}

/// A process that has not looked since another one switched and dropped answers all the same.
pub(crate) async fn a_dropped_build_is_left_behind(harness: &dyn Harness) -> Outcome {
    let (ours, theirs) = (harness.open(Vec::new()).await?, harness.open(Vec::new()).await?);
    let balance = group::<Balance>(harness);
    history(&ours).await?;
    build(&ours, &balance, EVERYTHING).await?;
    serve(&ours, &balance).await?;
    theirs.models.attach(&balance).await?;
    let rows = all_contents(&theirs, &balance).await?;
    shadow(&ours, &balance).await?;
    let (old, new) = (generation(1), generation(2));
    transit(&ours, &balance, &switch(old, new)).await?;
    transit(&ours, &balance, &[moved(old, Stage::Shadowing, Stage::Retired)]).await?;
    ours.registry.drop_build(&balance, old).await?;
    let found = get(&theirs, &balance, "a").await?;
    ensure!(!found.rows.is_empty(), "a row that is in every build was not found");
    theirs.registry.refresh().await?;
    ensure_eq!(all_contents(&theirs, &balance).await?, rows, "the rows once it has looked");
    harness.stop(theirs).await?;
    Ok(())
}

/// An inline build is filled beside the one that moves with the commands, and takes over at the head: no
/// command is missing in it, before or after.
pub(crate) async fn an_inline_build_takes_over_at_the_head(harness: &dyn Harness) -> Outcome {
    let desk = group::<Desk>(harness);
    let stores = harness.open(vec![Arc::clone(&desk)]).await?;
    stores.models.attach(&desk).await?;
    on(&stores, "a", &[opened("ann"), deposited(1)?]).await?;
    on(&stores, "b", &[opened("bob")]).await?;
    serve(&stores, &desk).await?;
    let second = shadow(&stores, &desk).await?;
    // The shadow does not move with commands.
    on(&stores, "a", &[deposited(2)?]).await?;
    let behind = stores.models.checkpoint(&second).await?.mark.position();
    ensure_eq!(behind, Position(3), "where the shadow of an inline model stands");
    let (old, new) = (generation(1), generation(2));
    transit(&stores, &desk, &switch(old, new)).await?;
    let head = stores.feed.head().await?;
    ensure_eq!(stores.models.checkpoint(&desk).await?.mark, head, "where the new build took over");
    let done = on(&stores, "a", &[deposited(3)?]).await?;
    let got = get(&stores, &desk, "a").await?;
    ensure_eq!(got.build, new, "which build answers");
    ensure_eq!(got.checkpoint.mark.token, done.record.token, "the checkpoint after a commit");
    ensure_eq!(got.rows.first().map(|row| row[3].clone()), Some(Value::Integer(4)), "the facts in the row");
    same_as_a_fresh_fold(&stores, harness, &desk).await?;
    on(&stores, "c", &[opened("eve")]).await?;
    transit(&stores, &desk, &switch(new, old)).await?;
    ensure_eq!(answering(&stores, &desk).await?, old, "which build answers after the rollback");
    on(&stores, "c", &[deposited(5)?]).await?;
    same_as_a_fresh_fold(&stores, harness, &desk).await?;
    ensure_eq!(
        stores.models.checkpoint(&desk).await?.mark,
        stores.feed.head().await?,
        "where the old build stands"
    );
    Ok(())
}

/// Commands that come while an inline model is switched again and again are all in its rows.
pub(crate) async fn an_inline_switch_misses_no_command(harness: &dyn Harness) -> Outcome {
    const WRITERS: usize = 4;
    const SWITCHES: usize = 6;
    let desk = group::<Desk>(harness);
    let stores = harness.open(vec![Arc::clone(&desk)]).await?;
    stores.models.attach(&desk).await?;
    on(&stores, "a", &[opened("ann")]).await?;
    serve(&stores, &desk).await?;
    shadow(&stores, &desk).await?;
    let over = Arc::new(AtomicBool::new(false));
    let writers = (0..WRITERS).map(|writer| {
        let (stores, over) = (stores.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            let (key, mut base) = (format!("w{writer}"), 0);
            while !over.load(Ordering::SeqCst) || base < 5 {
                let event = if base == 0 { opened("wil") } else { deposited(1)? };
                let commit = append(&stores, &account(&key)?, &format!("{key} {base}"), base, &[event])?;
                stores.events.commit(commit).await?;
                base += 1;
                tokio::task::yield_now().await;
            }
            Ok::<u64, Failure>(base)
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut pair = (generation(1), generation(2));
    for _ in 0..SWITCHES {
        transit(&stores, &desk, &switch(pair.0, pair.1)).await?;
        pair = (pair.1, pair.0);
    }
    over.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.map_err(|error| Failure::new(error.to_string()))??;
    }
    ensure_eq!(answering(&stores, &desk).await?, pair.0, "which build answers in the end");
    same_as_a_fresh_fold(&stores, harness, &desk).await
}

async fn same_as_a_fresh_fold(stores: &Stores, harness: &dyn Harness, desk: &Group) -> Outcome {
    let balance = group::<Balance>(harness);
    build(stores, &balance, EVERYTHING).await?;
    let rows = contents(stores, desk).await?;
    ensure_eq!(rows, contents(stores, &balance).await?, "the rows of the inline model");
    drive::digest(stores, desk).await?;
    Ok(())
}

/// Another revision has builds of its own, known beside those of the first.
pub(crate) async fn revisions_stand_side_by_side(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let (total, next) = (group::<Total>(harness), group::<NextRevision>(harness));
    on(&stores, "a", &[opened("ann"), deposited(1)?]).await?;
    build(&stores, &total, EVERYTHING).await?;
    serve(&stores, &total).await?;
    stores.models.attach(&next).await?;
    let second = BuildId { revision: 2, generation: 1 };
    ensure_eq!(
        stages(&stores, &total).await?,
        vec![(generation(1), Stage::Serving), (second, Stage::Building)],
        "the builds of both revisions"
    );
    advance_to_head(&stores, &next, 1).await?;
    ensure_eq!(get(&stores, &total, "all").await?.build, generation(1), "what the old code reads");
    ensure_eq!(get(&stores, &next, "all").await?.build, second, "what the new code reads");
    let up =
        [moved(second, Stage::Building, Stage::Shadowing), moved(second, Stage::Shadowing, Stage::Serving)];
    transit(&stores, &next, &up).await?;
    ensure_eq!(get(&stores, &total, "all").await?.rows.len(), 1, "the rows that the old code reads");
    transit(&stores, &next, &[moved(generation(1), Stage::Serving, Stage::Shadowing)]).await?;
    ensure_eq!(get(&stores, &total, "all").await?.build, generation(1), "what the old code reads afterwards");
    Ok(())
}

/// Rows, digest and checkpoints of a snapshot belong together, while the group moves.
pub(crate) async fn a_snapshot_is_of_one_moment(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let balance = group::<Balance>(harness);
    history(&stores).await?;
    stores.models.attach(&balance).await?;
    let schema = balance.models()[0].schema();
    let over = Arc::new(AtomicBool::new(false));
    let moving = {
        let (stores, balance, over) = (stores.clone(), Arc::clone(&balance), Arc::clone(&over));
        tokio::spawn(async move {
            advance_to_head(&stores, &balance, 1).await?;
            while !over.load(Ordering::SeqCst) {
                on(&stores, "a", &[deposited(1)?]).await?;
                advance_to_head(&stores, &balance, 1).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, Failure>(())
        })
    };
    let mut seen: Vec<Checkpoint> = Vec::new();
    for _ in 0..200 {
        let snapshot = stores.models.snapshot(&balance, schema, None, EVERYTHING).await?;
        ensure_eq!(snapshot.checkpoints.len(), 1, "the checkpoints of a group that is not split");
        let mut counted: BTreeMap<u8, (i64, u128)> = BTreeMap::new();
        let mut guard = Position::START;
        for row in &snapshot.rows {
            let values = row.values.as_deref().unwrap_or_default();
            let bucket = counted.entry(bucket_of(&row.row.tenant, &row.row.key)).or_default();
            bucket.0 += 1;
            bucket.1 = bucket.1.wrapping_add(row_digest(&row.row.tenant, values));
            guard = guard.max(row.guard);
        }
        let counted: Vec<BucketDigest> =
            counted.into_iter().map(|(bucket, (rows, sum))| (bucket, rows, sum)).collect();
        let mut kept = snapshot.digest;
        kept.retain(|(_, rows, sum)| (*rows, *sum) != (0, 0));
        ensure_eq!(kept, counted, "the digest of a snapshot at {:?}", snapshot.checkpoints);
        let checkpoint = snapshot.checkpoints[0].clone();
        ensure!(guard <= checkpoint.mark.position(), "a row of {guard} in a snapshot at {checkpoint:?}");
        seen.push(checkpoint);
    }
    over.store(true, Ordering::SeqCst);
    moving.await.map_err(|error| Failure::new(error.to_string()))??;
    let after = stores.models.snapshot(&balance, schema, None, 2).await?;
    ensure_eq!(after.rows.len(), 2, "the rows of a page");
    let next = stores.models.snapshot(&balance, schema, Some(&after.rows[1].row), EVERYTHING).await?;
    let all: Vec<_> = after.rows.into_iter().chain(next.rows).collect();
    ensure_eq!(all, drive::rows(&stores, &balance).await?, "the rows page by page");
    Ok(())
}
