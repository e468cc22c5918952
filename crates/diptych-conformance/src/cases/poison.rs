//! Facts that some rows cannot take: their keys are set aside, everything else moves on, and mended code
//! brings them to exactly where they would be.

use crate::drive::{self, Content, MAIN, contents, deposited, on, opened, record, renamed, stream};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, Broken, ByOwner, Mended, POISON, Total, declared, group};
use crate::hinge::{drain, limits, name, order, process, process_within, row};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Position, Unrestricted};
use diptych_projector::{DrainError, Drained, Keys, ProjectorLimits, TroubleError};
use diptych_query::{
    AnyModel, Ask, Group, GroupError, Health, Mode, PageKey, Queries, QueryError, QueryLimits, QueryParts,
    ReadModel, RowRef, Schema, Upkeep,
};
use std::sync::Arc;

/// Accounts of which one is poisoned in each way, with facts before and after, and a deleted one.
async fn poisoned(stores: &Stores) -> Outcome {
    for key in ["a", "b", "c", "d", "e"] {
        on(stores, key, &[opened(key), deposited(1)?]).await?;
    }
    for (key, owner) in ["a", "b", "c"].into_iter().zip(POISON) {
        on(stores, key, &[renamed("fine"), renamed(owner), deposited(1)?]).await?;
    }
    record(stores, &stream::<AccountEvent>("other", "a")?, &[opened("a stranger")]).await?;
    on(stores, "d", &[AccountEvent::Closed {}, opened("again")]).await?;
    for key in ["a", "b", "c", "d", "e"] {
        on(stores, key, &[deposited(2)?]).await?;
    }
    Ok(())
}

/// What a clean fold by mended code has, under another name of the group.
async fn clean(stores: &Stores, harness: &dyn Harness) -> Outcome<Vec<Content>> {
    let other = crate::fixtures::renamed::<Mended>(harness, 1, "touchy_clean");
    if stores.registry.builds(other.name()).await?.is_empty() {
        stores.models.attach(&other).await?;
    }
    stores.models.reset(&other).await?;
    drive::advance_to_head(stores, &other, 10).await?;
    contents(stores, &other).await
}

/// Why a drain stopped at a fact.
fn stopped_at(drained: Result<Drained, DrainError>, at: u64) -> Outcome<String> {
    match drained {
        Err(DrainError::Stopped { health: Health::Stopped { position, reason } }) if position.0 == at => {
            Ok(reason)
        }
        other => Err(Failure::new(format!("it does not stop at {at}: {other:?}"))),
    }
}

fn keys(parked: &[diptych_query::Parked]) -> Vec<(RowRef, Position)> {
    let mut keys: Vec<_> = parked.iter().map(|parked| (parked.row.clone(), parked.position)).collect();
    keys.sort_by(|(a, _), (b, _)| a.table_cmp(b));
    keys
}

/// A row that cannot take a fact waits with what it took before; every other row moves on, in whatever
/// batches and partitions; mended code folds it on and leaves what a clean fold leaves.
pub(crate) async fn a_poisoned_key_waits_and_the_rest_moves_on(harness: &dyn Harness) -> Outcome {
    for (partitions, batch) in [(1, 10_000), (1, 3), (3, 2)] {
        let name = Box::leak(format!("touchy_{partitions}_{batch}").into_boxed_str());
        let broken = crate::fixtures::renamed::<Broken>(harness, partitions, name);
        let mended = crate::fixtures::renamed::<Mended>(harness, partitions, name);
        let stores = harness.open(Vec::new()).await?;
        if stores.feed.head().await?.position() == Position::START {
            poisoned(&stores).await?;
        }
        let limits = ProjectorLimits { batch_positions_max: batch, ..limits() };
        let projector = process_within(&stores, &broken, limits.clone()).await?;
        drain(&projector, &broken).await?;
        let head = stores.feed.head().await?.position();
        ensure_eq!(stores.models.checkpoint(&broken).await?.mark.position(), head, "where {name} stands");
        let parked = projector.parked(name).await?;
        let expected: Vec<_> = [("a", 12), ("b", 15), ("c", 18)]
            .into_iter()
            .map(|(key, at)| Ok((row(key)?, Position(at))))
            .collect::<Outcome<_>>()?;
        ensure_eq!(keys(&parked), expected, "what is parked of {name}");
        ensure!(parked.iter().all(|parked| parked.event == "Renamed"), "the events: {parked:?}");
        ensure!(parked[0].reason.contains("`panics`"), "the reason: {}", parked[0].reason);
        drive::digest(&stores, &broken).await?;
        let held = contents(&stores, &broken).await?;
        let clean = clean(&stores, harness).await?;
        for (key, values) in &held {
            let waits = expected.iter().any(|(row, _)| row == key);
            let facts = format!("{values:?}");
            let same = clean.contains(&(key.clone(), values.clone()));
            ensure_eq!(same, !waits, "whether {key:?} is as in a clean fold: {facts}");
        }
        for again in 0..2 {
            let retried = projector.retry_parked(name, &Keys::All).await?;
            ensure_eq!(keys(&retried.parked), expected, "what stays parked with broken code, {again}");
            ensure_eq!(contents(&stores, &broken).await?, held, "the rows after a retry in vain, {again}");
        }
        harness.crash(stores).await?;
        let stores = harness.open(Vec::new()).await?;
        let projector = process_within(&stores, &mended, limits).await?;
        on(&stores, "a", &[deposited(3)?]).await?;
        drain(&projector, &mended).await?;
        let plan = projector.plan_retry(name, &Keys::All).await?;
        ensure_eq!(keys(&plan.keys), expected, "what a retry would fold again");
        let retried = projector.retry_parked(name, &Keys::All).await?;
        ensure_eq!((retried.healed.len(), retried.parked.len()), (3, 0), "what a retry heals");
        ensure_eq!(projector.parked(name).await?, Vec::new(), "what is parked afterwards");
        let clean = self::clean(&stores, harness).await?;
        ensure_eq!(contents(&stores, &mended).await?, clean, "the rows of {name}");
        drive::digest(&stores, &mended).await?;
        on(&stores, "b", &[deposited(4)?]).await?;
        drain(&projector, &mended).await?;
        let clean = self::clean(&stores, harness).await?;
        ensure_eq!(contents(&stores, &mended).await?, clean, "the rows of {name} once it has moved on");
        for report in projector.verify(name, 10).await? {
            ensure!(report.is_clean(), "{report:?}");
        }
        harness.stop(stores).await?;
    }
    Ok(())
}

/// A key is held back where it fails now: a fact that it could not take may be fine while a later one is
/// not.
pub(crate) async fn a_key_that_fails_later_waits_there(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let broken = group::<Broken>(harness);
    on(&stores, "a", &[opened("ann"), renamed(POISON[0]), deposited(1)?, renamed(POISON[1])]).await?;
    on(&stores, "a", &[deposited(2)?]).await?;
    let projector = process(&stores, &broken).await?;
    drain(&projector, &broken).await?;
    let (skip, retried) = projector.skip_parked("touchy", &name(&broken, "a")?, &order("a typo")?).await?;
    ensure_eq!((skip.position, skip.actor.as_str()), (Position(2), "eve"), "what was skipped");
    ensure_eq!(keys(&retried.parked), vec![(row("a")?, Position(4))], "where it waits now");
    ensure!(retried.parked[0].reason.contains("`project`"), "why: {:?}", retried.parked);
    let held = contents(&stores, &broken).await?;
    ensure_eq!(held[0].1[3], diptych_core::Value::Text(" 1 3".to_owned()), "what it has taken");
    drive::digest(&stores, &broken).await?;
    let (_, retried) = projector.skip_parked("touchy", &name(&broken, "a")?, &order("another")?).await?;
    ensure_eq!(keys(&retried.healed), vec![(row("a")?, Position(4))], "what is healed");
    let whole = contents(&stores, &broken).await?;
    ensure_eq!(whole[0].1[3], diptych_core::Value::Text(" 1 3 5".to_owned()), "what it has taken");
    // What was passed over is passed over for good, by every fold and by whoever verifies.
    projector.reset("touchy").await?;
    drain(&projector, &broken).await?;
    ensure_eq!(contents(&stores, &broken).await?, whole, "the rows after a reset");
    ensure_eq!(projector.parked("touchy").await?, Vec::new(), "what is parked after a reset");
    ensure!(projector.verify("touchy", 10).await?.iter().all(|report| report.is_clean()), "it verifies");
    let skipped = projector.skipped("touchy").await?;
    let reasons: Vec<_> = skipped.iter().map(|skip| (skip.position, skip.reason.as_str())).collect();
    ensure_eq!(reasons, vec![(Position(2), "a typo"), (Position(4), "another")], "what is remembered");
    let missing = projector.skip_parked("touchy", &name(&broken, "a")?, &order("again")?).await;
    ensure!(
        matches!(missing, Err(TroubleError::NotParked { .. })),
        "skipping what waits for nothing: {missing:?}"
    );
    Ok(())
}

/// Beyond the most keys, the model stops at the fact that would be one too many, and goes on when there
/// is room.
pub(crate) async fn too_many_parked_keys_stop_the_model(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let broken = group::<Broken>(harness);
    for key in ["a", "b", "c"] {
        on(&stores, key, &[opened(POISON[0])]).await?;
    }
    let limits = ProjectorLimits { parked_keys_max: 2, ..limits() };
    let projector = process_within(&stores, &broken, limits).await?;
    let reason = stopped_at(projector.drain("touchy").await, 3)?;
    ensure!(reason.contains("DP0061"), "what stops it: {reason}");
    projector.skip_parked("touchy", &name(&broken, "a")?, &order("never mind")?).await?;
    drain(&projector, &broken).await?;
    let parked = projector.parked("touchy").await?;
    ensure_eq!(keys(&parked), vec![(row("b")?, Position(2)), (row("c")?, Position(3))], "what is parked");
    Ok(())
}

/// Answers say that keys are parked, or are refused where the model declares so, also in a process that
/// only answers and after a crash; nothing is said any more once all are healed.
pub(crate) async fn answers_say_that_keys_are_parked(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let (broken, mended) = (group::<Broken>(harness), group::<Mended>(harness));
    poisoned(&stores).await?;
    let projector = process(&stores, &broken).await?;
    drain(&projector, &broken).await?;
    for life in 0..2 {
        let projector = process(&stores, &broken).await?;
        projector.look().await?;
        let queries = queries(&stores, &broken)?;
        let principal = drive::principal(MAIN)?;
        let asked = queries.ask(&principal, "touchy", &Ask::default()).await;
        let degraded = Health::Degraded { parked: 3, incidents: 0 };
        ensure!(
            matches!(&asked, Err(QueryError::Degraded { health }) if *health == degraded),
            "an answer in life {life}: {asked:?}"
        );
        let (_, health) = queries.freshness("touchy").await?;
        ensure_eq!(health, degraded, "the health in life {life}");
        harness.crash(stores).await?;
        stores = harness.open(Vec::new()).await?;
    }
    let projector = process(&stores, &mended).await?;
    projector.look().await?;
    projector.retry_parked("touchy", &Keys::All).await?;
    let answer = queries(&stores, &mended)?.ask(&drive::principal(MAIN)?, "touchy", &Ask::default()).await?;
    ensure_eq!((answer.value.rows.len(), answer.health), (5, Health::Live), "an answer once all are healed");
    Ok(())
}

/// Keys that are held back are never forgotten by code that does not declare that it parks any more.
pub(crate) async fn code_that_parks_no_more_waits_for_parked_keys(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let broken = group::<Broken>(harness);
    poisoned(&stores).await?;
    let projector = process(&stores, &broken).await?;
    drain(&projector, &broken).await?;
    let stubborn = crate::fixtures::stubborn::<Mended>(harness);
    let before = contents(&stores, &stubborn).await?;
    on(&stores, "a", &[deposited(1)?]).await?;
    let projector = process(&stores, &stubborn).await?;
    let drained = projector.drain("touchy").await;
    ensure!(drained.is_err(), "code that would fold facts into rows that lack some: {drained:?}");
    ensure_eq!(contents(&stores, &stubborn).await?, before, "the rows meanwhile");
    projector.retry_parked("touchy", &Keys::All).await?;
    drain(&projector, &stubborn).await?;
    ensure_eq!(contents(&stores, &stubborn).await?, clean(&stores, harness).await?, "the rows afterwards");
    Ok(())
}

pub(super) fn queries(stores: &Stores, group: &Arc<Group>) -> Outcome<Queries> {
    let page_key = PageKey::new([7; 32], None);
    Ok(Queries::new(QueryParts {
        store: Arc::clone(&stores.models),
        feed: Arc::clone(&stores.feed),
        groups: vec![Arc::clone(group)],
        progress: Arc::clone(&stores.progress),
        authorize: Arc::new(Unrestricted),
        policy: Arc::new(Unrestricted),
        clock: Arc::<diptych_memory::ManualClock>::clone(&stores.clock),
        page_key,
        limits: QueryLimits::default(),
    }))
}

/// Parking is for a table that stands alone and is folded by a worker, by keys.
pub(crate) async fn what_cannot_park_is_refused(harness: &dyn Harness) -> Outcome {
    let plain = || Schema { upkeep: Upkeep::DEFAULT, ..*Mended::SCHEMA };
    let refused = |models: Vec<Arc<dyn AnyModel>>| match Group::new("desks", models) {
        Err(GroupError::CannotPark { reason, .. }) => reason,
        _ => "it is not",
    };
    let inline = Schema { mode: Mode::Inline, ..*Mended::SCHEMA };
    let reason = refused(vec![declared::<Mended>(harness, inline)]);
    ensure!(reason.contains("inline"), "an inline model: {reason}");
    let reads: &'static [&'static Schema] = &[Total::SCHEMA];
    let total = || declared::<Total>(harness, *Total::SCHEMA);
    let reader = Schema { reads, ..*Mended::SCHEMA };
    let reason = refused(vec![total(), declared::<Mended>(harness, reader)]);
    ensure!(reason.contains("looks rows up"), "a model that looks rows up: {reason}");
    let parking = Schema { upkeep: Mended::SCHEMA.upkeep, ..*Total::SCHEMA };
    let reader = Schema { reads, ..plain() };
    let reason = refused(vec![declared::<Total>(harness, parking), declared::<Mended>(harness, reader)]);
    ensure!(reason.contains("others look"), "a model that others look at: {reason}");

    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann"), renamed("bob")]).await?;
    let by_owner = group::<ByOwner>(harness);
    let projector = process(&stores, &by_owner).await?;
    let reason = stopped_at(projector.drain("by_owner").await, 2)?;
    let told = reason.contains("routed by column `owner`") && reason.contains("park");
    ensure!(told, "a route by column in a table that parks: {reason}");
    Ok(())
}
