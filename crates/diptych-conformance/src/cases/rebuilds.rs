//! Read models built anew: the whole chain from the first fact to the last of the old build, with commands
//! coming in between and drivers dying anywhere.

use super::builds::order;
use crate::drive::{MAIN, all_contents, deposited, history, on, opened, principal, tell};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{
    Balance, Desk, LOUD, LOUD_AS_DECLARED, Namesakes, Renewed, SAME, Usage, group, split, split_as,
};
use crate::process::{Patience, Process, SLICES_MAX, build, limits, process, refused, stages};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_projector::{Gate, ProjectorLimits, RebuildError, RebuildOrder, RebuildStep, Switching, Tended};
use diptych_query::{Ask, Direction, Group, Health, Stage};
use std::sync::Arc;
use std::time::Duration;

/// A first build answers while it is filled, says so, and serves once it has come to the head.
pub(crate) async fn a_first_build_serves_once_it_is_filled(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let process = process(&stores, "one", &[balance], limits()).await?;
    process.settle().await?;
    ensure_eq!(stages(&stores, "balance").await?, vec![(build(1, 1), Stage::Building)], "an empty build");
    let ann = principal(MAIN)?;
    let answer = process.queries.ask(&ann, "balance", &Ask::default()).await?;
    ensure_eq!(answer.health, Health::Building, "how a model is doing that is filled");
    process.serve("balance").await?;
    ensure_eq!(stages(&stores, "balance").await?, vec![(build(1, 1), Stage::Serving)], "a filled build");
    let moves = stores.registry.stage_moves(Some("balance"), 10).await?;
    ensure_eq!(moves.len(), 3, "the moves recorded");
    let answer = process.queries.ask(&ann, "balance", &Ask::default()).await?;
    ensure_eq!(answer.health, Health::Live, "how a model is doing that serves");
    Ok(())
}

/// From the order to the end of the rollback window, with a command between any two slices: answers never go
/// back, and every row is what the log says.
pub(crate) async fn the_whole_chain_runs_while_commands_come(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let process = process(&stores, "one", &[Arc::clone(&balance)], limits()).await?;
    process.serve("balance").await?;
    let ann = principal(MAIN)?;
    process.begin("balance", Switching::Automatic).await?;
    let (mut seen, mut steps) = (stores.models.checkpoint(&balance).await?.mark.position(), Vec::new());
    for round in 0..SLICES_MAX {
        process.projector.steward().step().await?;
        if round % 3 == 0 && round < 60 {
            on(&stores, "a", &[deposited(1)?]).await?;
            process.drain("balance").await?;
        }
        let answer = process.queries.ask(&ann, "balance", &Ask::default()).await?;
        ensure!(answer.freshness.projection_position >= seen, "an answer older than the one before");
        seen = answer.freshness.projection_position;
        let step = process.under_way("balance").await?.step;
        if steps.last() != Some(&step) {
            steps.push(step);
            let expected = if step == RebuildStep::Switched { Health::Live } else { Health::Rebuilding };
            let answer = process.queries.ask(&ann, "balance", &Ask::default()).await?;
            ensure!(
                answer.health == expected || step == RebuildStep::Building,
                "at {step} the model is {:?}",
                answer.health
            );
        }
        if step == RebuildStep::Switched {
            break;
        }
    }
    use RebuildStep::{Building, CatchingUp, Comparing, Ready, Shadowing, Switched};
    ensure_eq!(steps, vec![Building, CatchingUp, Shadowing, Comparing, Ready, Switched], "the steps");
    let rebuild = process.under_way("balance").await?;
    let report = rebuild.compared.clone().ok_or_else(|| Failure::new("nothing was compared"))?;
    ensure!(report.is_clean(), "the comparison: {report}");
    ensure_eq!(report.tables[0].buckets_differing, Some(0), "buckets that differ");
    ensure!(report.refolded.rows > 0 || report.refolded.bucket.is_some(), "nothing was folded afresh");
    ensure!(rebuild.measured.rows > 0 && rebuild.measured.facts > 0, "nothing was measured: {rebuild:?}");
    on(&stores, "a", &[deposited(1)?]).await?;
    process.drain("balance").await?;
    process.settle().await?;
    process.verify("balance").await?;
    let rows = all_contents(&stores, &balance).await?;
    ensure_eq!(all_contents(&stores, &balance.at(build(1, 1))).await?, rows, "the old build follows");
    stores.clock.advance(Duration::from_secs(25 * 60 * 60));
    process.settle().await?;
    ensure_eq!(
        stages(&stores, "balance").await?,
        vec![(build(1, 1), Stage::Retired), (build(1, 2), Stage::Serving)],
        "the stages when the window is over"
    );
    ensure!(process.projector.rebuild_of("balance").await?.is_none(), "the rebuild is not over");
    let done = process.projector.rebuilds_done(5).await?;
    ensure_eq!(done.len(), 1, "rebuilds kept");
    ensure_eq!(done[0].step, RebuildStep::Finished, "how the rebuild ended");
    ensure!(done[0].measured.steps.len() >= 6, "the durations kept: {:?}", done[0].measured.steps);
    ensure!(
        stores.models.checkpoint(&balance.at(build(1, 1))).await.is_err(),
        "the old build is still there"
    );
    Ok(())
}

/// Whoever drives may die after any slice without a word: another goes on, and the end is the same.
pub(crate) async fn a_rebuild_goes_on_after_its_driver_died(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let groups = [Arc::clone(&balance)];
    // Short, for stores in which leases run out by a clock that no case moves.
    let brief = ProjectorLimits { lease_duration: Duration::from_millis(200), ..limits() };
    let first = process(&stores, "life 0", &groups, brief.clone()).await?;
    first.serve("balance").await?;
    first.begin("balance", Switching::Automatic).await?;
    let mut died_at = Vec::new();
    for life in 1..60 {
        let process = process(&stores, &format!("life {life}"), &groups, brief.clone()).await?;
        for _ in 0..life {
            process.projector.steward().step().await?;
        }
        let rebuild = process.under_way("balance").await?;
        died_at.push(rebuild.step);
        drop(process);
        on(&stores, "b", &[deposited(1)?]).await?;
        // Leases of the dead run out.
        stores.clock.advance(Duration::from_secs(6));
        if rebuild.step == RebuildStep::Switched {
            break;
        }
    }
    ensure_eq!(died_at.last(), Some(&RebuildStep::Switched), "where the last life ended");
    let last = process(&stores, "the last", &groups, brief).await?;
    last.drain("balance").await?;
    let (patience, former) = (Patience::default(), balance.at(build(1, 1)));
    let head = stores.feed.head().await?.position();
    while stores.models.checkpoint(&former).await?.mark.position() < head {
        last.settle().await?;
        patience.pause().await?;
    }
    last.verify("balance").await?;
    ensure_eq!(
        stages(&stores, "balance").await?,
        vec![(build(1, 1), Stage::Shadowing), (build(1, 2), Stage::Serving)],
        "the stages"
    );
    let rows = all_contents(&stores, &balance).await?;
    ensure_eq!(all_contents(&stores, &balance.at(build(1, 1))).await?, rows, "the old build follows");
    Ok(())
}

/// Rows that do not fit the declared memory are written, and the rest comes in batches.
pub(crate) async fn full_memory_is_written_and_the_rest_comes_in_batches(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let small = ProjectorLimits { rebuild_memory_bytes_max: 1, ..limits() };
    let process = process(&stores, "one", &[balance], small).await?;
    process.serve("balance").await?;
    process.begin("balance", Switching::Automatic).await?;
    process.settle().await?;
    let rebuild = process.under_way("balance").await?;
    ensure_eq!(rebuild.step, RebuildStep::Switched, "where it stands: {:?}", rebuild.reason);
    ensure_eq!(rebuild.measured.spills, 1, "how often memory was full");
    process.verify("balance").await
}

/// Two processes: the old code, whose build serves, and the new code.
async fn deployed(
    harness: &dyn Harness,
    stores: &Stores,
    new: Arc<Group>,
) -> Outcome<(Arc<Group>, Process, Process)> {
    history(stores).await?;
    let balance = group::<Balance>(harness);
    let old = process(stores, "old code", &[Arc::clone(&balance)], limits()).await?;
    old.serve("balance").await?;
    let new = process(stores, "new code", &[new], limits()).await?;
    Ok((balance, old, new))
}

/// What differs and was not declared stands against the switch, is named, and can be forced with a reason.
pub(crate) async fn undeclared_differences_block_the_switch(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let loud = group::<Renewed<LOUD>>(harness);
    let (_, _, new) = deployed(harness, &stores, loud).await?;
    new.settle().await?;
    let rebuild = new.under_way("balance").await?;
    ensure_eq!(rebuild.step, RebuildStep::Blocked, "where it stands: {:?}", rebuild.reason);
    let report = rebuild.compared.clone().ok_or_else(|| Failure::new("nothing was compared"))?;
    ensure_eq!(report.tables[0].undeclared, 4, "rows that differ: {report}");
    let owner = report.differences.iter().find(|found| found.column.as_deref() == Some("owner"));
    let owner = owner.ok_or_else(|| Failure::new(format!("the column is not named: {report}")))?;
    ensure!(!owner.declared && owner.before != owner.after, "what differs: {owner}");
    let again = new.projector.switch("balance", order("I want it")?, Gate::Compared).await;
    ensure!(matches!(again, Err(RebuildError::Differs { .. })), "a blocked switch: {again:?}");
    new.projector.pause("balance", order("lunch")?).await.map_err(refused)?;
    let resumed = new.projector.resume("balance", order("lunch is over")?).await.map_err(refused)?;
    ensure_eq!(resumed.step, RebuildStep::Blocked, "where it stands after a pause");
    ensure!(resumed.reason.is_some() && resumed.reason == rebuild.reason, "why: {:?}", resumed.reason);
    ensure_eq!(
        stages(&stores, "balance").await?,
        vec![(build(1, 1), Stage::Rebuilding), (build(2, 1), Stage::Shadowing)],
        "the stages while it is blocked"
    );
    new.projector.switch("balance", order("owners shout now")?, Gate::Forced).await.map_err(refused)?;
    ensure_eq!(
        stages(&stores, "balance").await?,
        vec![(build(1, 1), Stage::Shadowing), (build(2, 1), Stage::Serving)],
        "the stages once it is forced"
    );
    let moves = stores.registry.stage_moves(Some("balance"), 1).await?;
    ensure!(moves[0].order.reason.contains("owners shout now"), "the reason kept: {:?}", moves[0].order);
    Ok(())
}

/// What a revision declares to differ does not stand against the switch; it is counted and named.
pub(crate) async fn declared_differences_do_not(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let loud = group::<Renewed<LOUD_AS_DECLARED>>(harness);
    let (_, _, new) = deployed(harness, &stores, loud).await?;
    new.settle().await?;
    let rebuild = new.under_way("balance").await?;
    let report = rebuild.compared.clone().ok_or_else(|| Failure::new("nothing was compared"))?;
    ensure_eq!(rebuild.step, RebuildStep::Switched, "where it stands: {report}");
    ensure_eq!(
        (report.tables[0].declared, report.tables[0].undeclared),
        (4, 0),
        "rows that differ: {report}"
    );
    ensure!(report.differences.iter().all(|found| found.declared), "what differs: {report}");
    Ok(())
}

/// A rebuild stands still when told to, goes on when told to, and waits before a switch that is to be
/// ordered.
pub(crate) async fn a_rebuild_waits_and_goes_on_as_told(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let process = process(&stores, "one", &[balance], limits()).await?;
    process.serve("balance").await?;
    process.begin("balance", Switching::Ordered).await?;
    for _ in 0..3 {
        process.projector.steward().step().await?;
    }
    let paused = process.projector.pause("balance", order("lunch")?).await.map_err(refused)?;
    ensure_eq!(paused.step, RebuildStep::Paused, "where it stands");
    let at = process.under_way("balance").await?.progress.position;
    process.settle().await?;
    ensure_eq!(process.under_way("balance").await?.progress.position, at, "where a paused one stands");
    process.projector.resume("balance", order("lunch is over")?).await.map_err(refused)?;
    process.settle().await?;
    ensure_eq!(process.under_way("balance").await?.step, RebuildStep::Ready, "where it waits");
    let report = process.projector.compare("balance", order("once more")?).await.map_err(refused)?;
    ensure!(report.is_clean(), "the comparison: {report}");
    ensure_eq!(process.under_way("balance").await?.step, RebuildStep::Ready, "where it waits after that");
    process.projector.switch("balance", order("now")?, Gate::Compared).await.map_err(refused)?;
    ensure_eq!(process.under_way("balance").await?.step, RebuildStep::Switched, "where it stands at last");
    let late = process.projector.pause("balance", order("too late")?).await;
    ensure!(matches!(late, Err(RebuildError::NotNow { .. })), "a late pause: {late:?}");
    Ok(())
}

/// A rebuild that is given up leaves no build, no record under way, and the old build as it was.
pub(crate) async fn a_cancelled_rebuild_leaves_nothing(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let process = process(&stores, "one", &[Arc::clone(&balance)], limits()).await?;
    process.serve("balance").await?;
    for (round, slices) in [0, 4, 12, SLICES_MAX].into_iter().enumerate() {
        process.begin("balance", Switching::Ordered).await?;
        for _ in 0..slices {
            if process.projector.steward().step().await? == Tended::AtRest {
                break;
            }
        }
        let ended = process.projector.cancel("balance", order("not today")?).await.map_err(refused)?;
        ensure_eq!(ended.step, RebuildStep::Cancelled, "how it ended after {slices} slices");
        ensure!(process.projector.rebuild_of("balance").await?.is_none(), "it is still under way");
        let stages = stages(&stores, "balance").await?;
        ensure_eq!(stages[0], (build(1, 1), Stage::Serving), "the build that answers");
        ensure!(stages[1..].iter().all(|(_, stage)| *stage == Stage::Retired), "the others: {stages:?}");
        let given_up = balance.at(build(1, u32::try_from(round).unwrap_or(0) + 2));
        ensure!(stores.models.checkpoint(&given_up).await.is_err(), "the tables are still there");
    }
    process.verify("balance").await
}

/// The code of a new revision answers from the build of the old one until its own was compared and switched;
/// the old code goes on beside it.
pub(crate) async fn a_new_revision_is_read_from_the_old_one_until_it_is_ready(
    harness: &dyn Harness,
) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let same = group::<Renewed<SAME>>(harness);
    let (balance, old, new) = deployed(harness, &stores, Arc::clone(&same)).await?;
    let ann = principal(MAIN)?;
    new.projector.steward().step().await?;
    let answer = new.queries.ask(&ann, "balance", &Ask::default()).await?;
    ensure_eq!(answer.health, Health::Rebuilding, "how the new code answers meanwhile");
    ensure_eq!(answer.value.rows.len(), 3, "the rows that it answers with");
    ensure_eq!(answer.freshness.lag_events, 0, "how fresh it answers");
    let token = on(&stores, "a", &[deposited(2)?]).await?.record.token;
    old.drain("balance").await?;
    old.projector.steward().learn().await?;
    let answer = old.queries.ask(&ann, "balance", &Ask::default()).await?;
    ensure!(answer.freshness.projection_position >= token.position, "the old code answers from its build");
    new.settle().await?;
    ensure_eq!(
        stages(&stores, "balance").await?,
        vec![(build(1, 1), Stage::Shadowing), (build(2, 1), Stage::Serving)],
        "the stages once it is switched"
    );
    let ask = Ask { at_least: Some(token), ..Ask::default() };
    let answer = new.queries.ask(&ann, "balance", &ask).await?;
    ensure_eq!((answer.health, answer.value.rows.len()), (Health::Live, 3), "how the new code answers now");
    on(&stores, "a", &[deposited(3)?]).await?;
    new.drain("balance").await?;
    old.projector.steward().learn().await?;
    let answer = old.queries.ask(&ann, "balance", &Ask::default()).await?;
    ensure_eq!(answer.freshness.lag_events, 0, "the old code reads the build that answers");
    old.drain("balance").await?;
    let back = new.projector.rollback("balance", order("not yet")?).await.map_err(refused)?;
    ensure_eq!(back.step, RebuildStep::RolledBack, "where it stands after a rollback");
    let (rows, old_rows) = (all_contents(&stores, &same).await?, all_contents(&stores, &balance).await?);
    ensure_eq!(rows, old_rows, "the rows of both revisions");
    Ok(())
}

/// Rows that are all the same, in another order: only questions show that.
pub(crate) async fn questions_catch_another_order(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for (key, facts) in [("a", 1), ("b", 3), ("c", 2), ("d", 1)] {
        on(&stores, key, &[opened("ann")]).await?;
        for _ in 1..facts {
            on(&stores, key, &[deposited(1)?]).await?;
        }
    }
    let old = process(&stores, "old code", &[group::<Usage<false>>(harness)], limits()).await?;
    old.serve("usage").await?;
    let new = process(&stores, "new code", &[group::<Usage<true>>(harness)], limits()).await?;
    let ask = Ask { sort: Some((1, Direction::Ascending)), ..Ask::default() };
    new.queries.ask(&principal(MAIN)?, "usage", &ask).await?;
    new.settle().await?;
    let rebuild = new.under_way("usage").await?;
    let report = rebuild.compared.clone().ok_or_else(|| Failure::new("nothing was compared"))?;
    ensure_eq!(report.tables[0].undeclared, 0, "rows that differ: {report}");
    ensure_eq!((report.questions.asked, report.questions.undeclared), (1, 1), "the questions: {report}");
    ensure_eq!(rebuild.step, RebuildStep::Blocked, "where it stands: {report}");
    ensure!(report.to_string().contains("by usage ascending"), "the report: {report}");
    Ok(())
}

/// Partitions are filled from one reading of the log, and stand each at a position of its own.
pub(crate) async fn a_split_model_is_rebuilt_part_by_part(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let split = split::<Balance>(harness, 4);
    let process = process(&stores, "one", &[Arc::clone(&split)], limits()).await?;
    process.serve(split.name()).await?;
    process.begin(split.name(), Switching::Automatic).await?;
    process.settle().await?;
    let rebuild = process.under_way(split.name()).await?;
    ensure_eq!(rebuild.step, RebuildStep::Switched, "where it stands: {:?}", rebuild.reason);
    on(&stores, "a", &[deposited(2)?]).await?;
    process.drain(split.name()).await?;
    process.settle().await?;
    process.verify(split.name()).await
}

/// One set of rows over the facts of all tenants is filled, compared and switched as any other, also split.
pub(crate) async fn a_model_of_all_tenants_is_rebuilt_and_compared(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    for names in [group::<Namesakes>(harness), split::<Namesakes>(harness, 3)] {
        let process = process(&stores, names.name(), &[Arc::clone(&names)], limits()).await?;
        process.serve(names.name()).await?;
        process.begin(names.name(), Switching::Automatic).await?;
        process.settle().await?;
        let rebuild = process.under_way(names.name()).await?;
        ensure_eq!(rebuild.step, RebuildStep::Switched, "where it stands: {:?}", rebuild.reason);
        let report = rebuild.compared.ok_or_else(|| Failure::new("nothing was compared"))?;
        ensure!(report.is_clean(), "the comparison: {report}");
        let rows = (report.tables[0].rows_before, report.tables[0].rows_after);
        ensure_eq!(rows, (3, 3), "rows compared: {report}");
        ensure!(report.refolded.rows > 0, "nothing was folded afresh: {report}");
        for tenant in [MAIN, "other", "new"] {
            tell(&stores, tenant, "b", opened(tenant)).await?;
        }
        process.drain(names.name()).await?;
        process.settle().await?;
        process.verify(names.name()).await?;
        let rows = all_contents(&stores, &names).await?;
        ensure_eq!(all_contents(&stores, &names.at(build(1, 1))).await?, rows, "the old build follows");
        ensure_eq!(rows[0].len(), 3, "rows of all tenants");
    }
    Ok(())
}

/// A model that moves with its commands does so in the new build from the switch on, and misses none.
pub(crate) async fn an_inline_model_is_rebuilt_under_commands(harness: &dyn Harness) -> Outcome {
    let desk = group::<Desk>(harness);
    let stores = harness.open(vec![Arc::clone(&desk)]).await?;
    history(&stores).await?;
    let process = process(&stores, "one", &[Arc::clone(&desk)], limits()).await?;
    process.settle().await?;
    ensure_eq!(stages(&stores, "desk").await?, vec![(build(1, 1), Stage::Serving)], "a filled build");
    process.begin("desk", Switching::Automatic).await?;
    for round in 0..SLICES_MAX {
        process.projector.steward().step().await?;
        if round % 4 == 0 && round < 40 {
            on(&stores, "b", &[deposited(1)?]).await?;
        }
        if process.under_way("desk").await?.step == RebuildStep::Switched {
            break;
        }
    }
    let rebuild = process.under_way("desk").await?;
    ensure_eq!(rebuild.step, RebuildStep::Switched, "where it stands: {:?}", rebuild.reason);
    on(&stores, "b", &[deposited(1)?]).await?;
    let head = stores.feed.head().await?.position();
    let checkpoint = stores.models.checkpoint(&desk).await?.mark.position();
    ensure_eq!(checkpoint, head, "where the new build stands after a command");
    process.verify("desk").await?;
    process.projector.rollback("desk", order("not yet")?).await.map_err(refused)?;
    on(&stores, "b", &[deposited(1)?]).await?;
    process.verify("desk").await
}

/// A group has one rebuild at a time; what was begun in vain is gone.
pub(crate) async fn one_rebuild_at_a_time(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let groups = [Arc::clone(&balance)];
    let one = process(&stores, "one", &groups, limits()).await?;
    let other = process(&stores, "other", &groups, limits()).await?;
    let early = one.projector.rebuild("balance", RebuildOrder::by(order("too early")?)).await;
    ensure!(matches!(early, Err(RebuildError::Failed { .. })), "a rebuild of what never served: {early:?}");
    one.serve("balance").await?;
    one.begin("balance", Switching::Ordered).await?;
    let again = other.projector.rebuild("balance", RebuildOrder::by(order("me too")?)).await;
    ensure!(matches!(again, Err(RebuildError::UnderWay { .. })), "a second rebuild: {again:?}");
    one.projector.steward().step().await?;
    one.projector.steward().step().await?;
    other.settle().await?;
    let driver = other.under_way("balance").await?.driver.map(|driver| driver.worker);
    ensure_eq!(driver.as_deref(), Some("one:steward"), "who drives");
    Ok(())
}

/// The old code runs nowhere, and the build of the new one is further already: rows that nothing newer
/// names must be the same, and others are counted.
pub(crate) async fn a_build_that_is_further_is_compared_without_what_is_newer(
    harness: &dyn Harness,
) -> Outcome {
    for (loud, expected) in [(false, RebuildStep::Switched), (true, RebuildStep::Blocked)] {
        let stores = harness.open(Vec::new()).await?;
        let name = if loud { "b" } else { "a" };
        history(&stores).await?;
        let old = process(&stores, "old code", &[split_as::<Balance>(harness, name, 1)], limits()).await?;
        old.serve(name).await?;
        on(&stores, "a", &[deposited(2)?]).await?;
        let renewed = if loud {
            split_as::<Renewed<LOUD>>(harness, name, 2)
        } else {
            split_as::<Renewed<SAME>>(harness, name, 2)
        };
        let new = process(&stores, "new code", &[renewed], limits()).await?;
        new.drain(name).await?;
        for _ in 0..20 {
            new.settle().await?;
        }
        let rebuild = new.under_way(name).await?;
        let report = rebuild.compared.ok_or_else(|| Failure::new("nothing was compared"))?;
        ensure_eq!(rebuild.step, expected, "where it stands: {report}");
        ensure_eq!(report.tables[0].newer, 1, "rows that newer facts name: {report}");
        ensure_eq!(report.tables[0].undeclared, if loud { 3 } else { 0 }, "rows that differ: {report}");
    }
    Ok(())
}

/// How many commands come while a rebuild happens by itself.
const COMMANDS_MEANWHILE_MAX: usize = 100;

/// A running projector fills, serves, rebuilds and switches without being asked to step, while commands come.
pub(crate) async fn it_all_happens_by_itself(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let quick = ProjectorLimits { lease_beat: Duration::from_millis(5), ..limits() };
    let process = process(&stores, "one", &[balance], quick).await?;
    process.projector.start();
    let patience = Patience::default();
    while stages(&stores, "balance").await? != vec![(build(1, 1), Stage::Serving)] {
        patience.pause().await?;
    }
    process.begin("balance", Switching::Automatic).await?;
    let mut commands = 0;
    while process.under_way("balance").await?.step != RebuildStep::Switched {
        // No more than the slowest store folds in the time that the case has.
        if commands < COMMANDS_MEANWHILE_MAX {
            on(&stores, "a", &[deposited(1)?]).await?;
            commands += 1;
        }
        patience.pause().await?;
    }
    let token = on(&stores, "b", &[deposited(1)?]).await?.record.token;
    let ask = Ask { at_least: Some(token), wait: Some(Duration::from_secs(20)), ..Ask::default() };
    let answer = process.queries.ask(&principal(MAIN)?, "balance", &ask).await?;
    ensure_eq!(
        answer.freshness.caught_up_to_requested_position,
        Some(true),
        "whether the switched build moves"
    );
    process.projector.rollback("balance", order("not yet")?).await.map_err(refused)?;
    let token = on(&stores, "b", &[deposited(1)?]).await?.record.token;
    let ask = Ask { at_least: Some(token), ..ask };
    let answer = process.queries.ask(&principal(MAIN)?, "balance", &ask).await?;
    ensure_eq!(answer.freshness.caught_up_to_requested_position, Some(true), "whether the old build moves");
    process.projector.stop().await;
    process.verify("balance").await
}
