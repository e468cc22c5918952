//! What can go wrong while a model is built anew, each by itself: run clean it comes right; the defects that
//! name a scenario here must make it fail.

use crate::drive::{all_contents, deposited, history, on, opened, renamed};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Balance, Fragile, Lenient, group};
use crate::hinge::{Tamper, drain, limits, name, order, process_within, tamper};
use crate::meddling::Meddling;
use crate::process::{SLICES_MAX, refused};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::Value;
use diptych_projector::{
    Gate, Keys, Projector, ProjectorLimits, Rebuild, RebuildError, RebuildOrder, RebuildStep, Switching,
    Tended,
};
use diptych_query::{BuildId, Group, Stage};
use std::sync::Arc;
use std::time::Duration;

/// More rests in a row than a fact is tried again.
const RESTS_MAX: usize = 10;

const OLD: BuildId = BuildId { revision: 1, generation: 1 };
const NEW: BuildId = BuildId { revision: 1, generation: 2 };

fn small() -> ProjectorLimits {
    ProjectorLimits {
        batch_positions_max: 5,
        build_block_positions_max: 4,
        // Where the store's own time decides about leases, those of a process that died run out meanwhile.
        lease_duration: Duration::from_millis(2),
        ..limits()
    }
}

/// Steps until a rebuild stands at a step, or nothing is left to do.
async fn step_until(projector: &Projector, group: &Group, step: RebuildStep) -> Outcome<Rebuild> {
    let mut rests = 0;
    for _ in 0..SLICES_MAX {
        let tended = projector.steward().step().await?;
        let rebuild = projector.rebuild_of(group.name()).await?;
        let rebuild = rebuild.ok_or_else(|| Failure::new("no rebuild is under way"))?;
        if rebuild.step == step {
            return Ok(rebuild);
        }
        // A fact that fails is tried again a few times, with a rest between.
        rests = if tended == Tended::AtRest { rests + 1 } else { 0 };
        if rests > RESTS_MAX {
            return Err(Failure::new(format!("it came to rest at {}: {:?}", rebuild.step, rebuild.reason)));
        }
    }
    Err(Failure::new("the steward never comes to rest"))
}

/// A model that serves, with a process that moves it.
async fn serving(stores: &Stores, group: &Arc<Group>) -> Outcome<Projector> {
    let projector = process_within(stores, group, small()).await?;
    drain(&projector, group).await?;
    while projector.steward().step().await? == Tended::Moved {}
    let builds = projector.builds(group.name()).await?;
    ensure_eq!((builds[0].id, builds[0].stage), (OLD, Stage::Serving), "the first build");
    Ok(projector)
}

/// A rebuild that waits for its switch, and how far it has come.
async fn begun(projector: &Projector, group: &Group, until: RebuildStep) -> Outcome<Rebuild> {
    let asked = RebuildOrder { switching: Switching::Ordered, ..RebuildOrder::by(order("to be sure")?) };
    projector.rebuild(group.name(), asked).await.map_err(refused)?;
    step_until(projector, group, until).await
}

async fn clean(projector: &Projector, group: &Group) -> Outcome {
    for report in projector.verify(group.name(), 10).await? {
        ensure!(report.is_clean(), "rows are not what the log says: {report:?}");
    }
    Ok(())
}

/// A fact that a row cannot take comes while the new build is filled: both builds park the key by themselves
/// and agree on its row, and after the switch the mended key is what a clean fold leaves.
pub(crate) async fn poison_while_a_build_is_filled(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let lenient = group::<Lenient>(harness);
    for key in ["a", "b", "c"] {
        on(&stores, key, &[opened("ann"), deposited(1)?, deposited(2)?]).await?;
    }
    let projector = serving(&stores, &lenient).await?;
    begun(&projector, &lenient, RebuildStep::Building).await?;
    on(&stores, "b", &[renamed(Fragile::BREAKS), deposited(1)?]).await?;
    on(&stores, "c", &[deposited(1)?]).await?;
    drain(&projector, &lenient).await?;
    let rebuild = step_until(&projector, &lenient, RebuildStep::Ready).await?;
    let report = rebuild.compared.ok_or_else(|| Failure::new("nothing was compared"))?;
    ensure!(report.is_clean(), "the comparison: {report}");
    let parked = stores.models.parked(&lenient.at(NEW)).await?;
    ensure_eq!(parked.len(), 1, "what is parked in the new build: {parked:?}");
    projector.switch(lenient.name(), order("it was compared")?, Gate::Compared).await.map_err(refused)?;
    let row = name(&lenient, "b")?;
    projector.skip_parked(lenient.name(), &row, &order("a mistake")?).await?;
    ensure_eq!(projector.parked(lenient.name()).await?, Vec::new(), "what is parked in the end");
    drain(&projector, &lenient).await?;
    clean(&projector, &lenient).await?;
    // The old build, which still follows, heals by the same order.
    projector.rollback(lenient.name(), order("to see")?).await.map_err(refused)?;
    projector.retry_parked(lenient.name(), &Keys::All).await?;
    drain(&projector, &lenient).await?;
    clean(&projector, &lenient).await
}

/// A hand edits a row of the new build while it shadows: the comparison names row and column, and the switch
/// is refused; a new comparison after the row is right again lets it through.
pub(crate) async fn a_hand_edit_while_a_build_shadows(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let balance = group::<Balance>(harness);
    history(&stores).await?;
    let projector = serving(&stores, &balance).await?;
    begun(&projector, &balance, RebuildStep::Ready).await?;
    let shadow = balance.at(NEW);
    let held = crate::drive::get(&stores, &shadow, "a").await?.rows;
    let kept = held.first().map(|row| row[3].clone()).ok_or_else(|| Failure::new("a row is missing"))?;
    let digest_too = Tamper::ColumnAndHash(3, Value::Integer(4_711));
    tamper(&stores, &shadow, "a", digest_too).await?;
    // The digest is only what the projection wrote: whoever edits it too must be found by the rows.
    tamper(&stores, &shadow, "a", Tamper::Digest).await?;
    let switched = projector.switch(balance.name(), order("now")?, Gate::Compared).await;
    let Err(RebuildError::Differs { report }) = switched else {
        return Err(Failure::new(format!("a build with an edited row answers: {switched:?}")));
    };
    let named = report.differences.iter().find(|found| found.column.as_deref() == Some("moves"));
    let named = named.ok_or_else(|| Failure::new(format!("the column is not named: {report}")))?;
    ensure_eq!(named.key, vec![serde_json::json!("a")], "which row differs");
    ensure_eq!(named.after, serde_json::json!(4_711), "what stands there");
    let builds = projector.builds(balance.name()).await?;
    ensure!(builds[0].stage.answers() && builds[1].stage == Stage::Shadowing, "the stages: {builds:?}");
    tamper(&stores, &shadow, "a", Tamper::ColumnAndHash(3, kept)).await?;
    projector.cancel(balance.name(), order("it was edited")?).await.map_err(refused)?;
    clean(&projector, &balance).await
}

/// The process that drives is killed, with the store, at every slice from the order to the switch, and
/// commands come in between: whoever comes next goes on, and in the end the new build answers with every
/// row.
pub(crate) async fn a_crash_at_every_slice(harness: &dyn Harness) -> Outcome {
    let balance = group::<Balance>(harness);
    let mut stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let mut projector = serving(&stores, &balance).await?;
    projector.rebuild(balance.name(), RebuildOrder::by(order("to be sure")?)).await.map_err(refused)?;
    let mut crashes = 0;
    for round in 0..SLICES_MAX {
        projector.steward().step().await?;
        let rebuild = projector.rebuild_of(balance.name()).await?;
        let step = rebuild.as_ref().map(|rebuild| rebuild.step);
        ensure!(step != Some(RebuildStep::Failed), "it failed: {rebuild:?}");
        if step == Some(RebuildStep::Switched) {
            break;
        }
        // Every slice is one that some process dies after; those of the filling begin again from the rows.
        if round % 2 == 1 && crashes < 40 {
            crashes += 1;
            harness.crash(stores).await?;
            stores = harness.open(Vec::new()).await?;
            projector = process_within(&stores, &balance, small()).await?;
            stores.clock.advance(small().lease_duration * 2);
        }
        if round % 5 == 0 && round < 50 {
            on(&stores, "a", &[deposited(1)?]).await?;
            drain(&projector, &balance).await?;
        }
    }
    ensure!(crashes > 5, "it was over before it could be disturbed: {crashes} crashes");
    let answer = crate::drive::get(&stores, &balance, "a").await?;
    ensure_eq!(answer.build, NEW, "which build answers");
    drain(&projector, &balance).await?;
    clean(&projector, &balance).await?;
    while projector.steward().step().await? == Tended::Moved {}
    let rows = all_contents(&stores, &balance).await?;
    ensure_eq!(all_contents(&stores, &balance.at(OLD)).await?, rows, "the old build follows");
    Ok(())
}

/// Another process that looks the moment a build was begun finds the rebuild as it was ordered, and no build
/// that nobody has begun: what is to be filled from a file is not filled from the log.
pub(crate) async fn another_process_meets_a_rebuild_as_it_was_ordered(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let other = serving(&stores, &balance).await?;
    let meddling = Arc::new(Meddling::new(&stores.registry));
    let registry = Arc::<Meddling>::clone(&meddling);
    let one = process_within(&Stores { registry, ..stores.clone() }, &balance, small()).await?;
    meddling.let_in(other.steward());
    let filled_from = Some("no file".to_owned());
    let ordered = RebuildOrder { filled_from: filled_from.clone(), ..RebuildOrder::by(order("to be sure")?) };
    let begun = one.rebuild(balance.name(), ordered.clone()).await.map_err(refused)?;
    ensure_eq!((&begun.order, &begun.filled_from), (&ordered.order, &filled_from), "what was ordered");
    let rebuild = step_until(&other, &balance, RebuildStep::Failed).await?;
    ensure_eq!((&rebuild.order, &rebuild.filled_from), (&ordered.order, &filled_from), "what is driven");
    let reason = rebuild.reason.clone().unwrap_or_default();
    ensure!(reason.contains("no file"), "why it failed: {rebuild:?}");
    let builds = stores.registry.builds(balance.name()).await?;
    ensure_eq!(builds.iter().map(|build| build.id).collect::<Vec<_>>(), vec![OLD, NEW], "the builds");
    Ok(())
}
