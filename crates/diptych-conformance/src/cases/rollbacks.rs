//! Old builds that answer again: at once, once whoever held them is given up, and not for ever.

use super::builds::order;
use crate::drive::{MAIN, deposited, history, on, principal};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Balance, Renewed, SAME, group};
use crate::process::{Patience, build, limits, process, refused, stages};
use crate::{Harness, Outcome};
use diptych_projector::{Driver, Gate, ProjectorLimits, RebuildError, RebuildStep, Switching};
use diptych_query::{Ask, QueryError, Stage, WorkerId};
use std::sync::Arc;
use std::time::Duration;

/// After a switch the old build takes what is recorded, and a rollback is at once; then the new one can be
/// switched again.
pub(crate) async fn an_old_build_answers_again_at_once(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let process = process(&stores, "one", &[Arc::clone(&balance)], limits()).await?;
    process.serve("balance").await?;
    let ann = principal(MAIN)?;
    let page = Ask { page_size: Some(1), ..Ask::default() };
    let begun = process.queries.ask(&ann, "balance", &page).await?.value.next_page_token;
    process.begin("balance", Switching::Automatic).await?;
    process.settle().await?;
    let token = on(&stores, "c", &[deposited(5)?]).await?.record.token;
    process.drain("balance").await?;
    let next = Ask { page_token: begun.clone(), ..page.clone() };
    let old_page = process.queries.ask(&ann, "balance", &next).await?;
    ensure_eq!(old_page.value.rows.len(), 1, "the next page of one begun before the switch");
    let back = process.projector.rollback("balance", order("customers complain")?).await.map_err(refused)?;
    ensure_eq!(back.step, RebuildStep::RolledBack, "where it stands");
    ensure_eq!(
        stages(&stores, "balance").await?,
        vec![(build(1, 1), Stage::Serving), (build(1, 2), Stage::Shadowing)],
        "the stages after the rollback"
    );
    let ask = Ask { at_least: Some(token), ..Ask::default() };
    let answer = process.queries.ask(&ann, "balance", &ask).await?.freshness;
    ensure_eq!(answer.caught_up_to_requested_position, Some(true), "whether the newest is in the old build");
    process.verify("balance").await?;
    on(&stores, "c", &[crate::drive::renamed("carl")]).await?;
    process.drain("balance").await?;
    process.settle().await?;
    process
        .projector
        .switch("balance", order("it was something else")?, Gate::Compared)
        .await
        .map_err(refused)?;
    let moves = stores.registry.stage_moves(Some("balance"), 1).await?;
    ensure_eq!(moves[0].order.reason, "it was something else".to_owned(), "why it was switched again");
    process.verify("balance").await?;
    process.projector.retire("balance", build(1, 1), order("sure now")?).await.map_err(refused)?;
    ensure_eq!(process.projector.rebuilds_done(1).await?[0].step, RebuildStep::Finished, "how it ended");
    let gone = process.queries.ask(&ann, "balance", &next).await;
    ensure!(matches!(gone, Err(QueryError::PageTokenExpired)), "a page of a build that is gone: {gone:?}");
    Ok(())
}

/// How often a case pauses so that an order that was seen has been tried, and more than once.
const PAUSES: usize = 20;

async fn has_been_tried(patience: &Patience) -> Outcome {
    for _ in 0..PAUSES {
        patience.pause().await?;
    }
    Ok(())
}

/// The old build is behind while a process that died still holds it: an order to go back stands until that
/// process is given up.
pub(crate) async fn an_old_build_answers_again_once_the_dead_let_go_of_it(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let groups = [Arc::clone(&balance)];
    let brief = ProjectorLimits { lease_duration: Duration::from_millis(50), ..limits() };
    let first = process(&stores, "first", &groups, brief).await?;
    first.serve("balance").await?;
    first.begin("balance", Switching::Automatic).await?;
    first.settle().await?;
    drop(first);
    stores.clock.advance(Duration::from_secs(6));
    let (former, dead, patience) = (balance.at(build(1, 1)), WorkerId::new("dead"), Patience::default());
    let (mut held, lasting) = (Vec::new(), Duration::from_secs(3_600));
    for partition in stores.models.partitions_of(&former) {
        held.push(loop {
            if let Some(lease) = stores.models.claim(&former, partition, &dead, lasting).await? {
                break lease;
            }
            patience.pause().await?;
        });
    }
    let second = process(&stores, "second", &groups, limits()).await?;
    on(&stores, "c", &[deposited(5)?]).await?;
    second.drain("balance").await?;
    let die = async {
        let seconds = |driver: &Driver| driver.worker.starts_with("second");
        while !second.under_way("balance").await?.driver.as_ref().is_some_and(seconds) {
            patience.pause().await?;
        }
        has_been_tried(&patience).await?;
        for lease in held {
            stores.models.release(&former, lease).await?;
        }
        Ok(())
    };
    let back = second.projector.rollback("balance", order("customers complain")?);
    let (back, died): (_, Outcome) = tokio::join!(back, die);
    died?;
    ensure_eq!(back.map_err(refused)?.step, RebuildStep::RolledBack, "where it stands");
    second.verify("balance").await
}

/// The old build of another revision is as far as its own processes have brought it. It is waited for, and
/// whoever ordered is told when they do not bring it.
pub(crate) async fn an_old_build_of_another_revision_is_waited_for_and_not_for_ever(
    harness: &dyn Harness,
) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let old = process(&stores, "old code", &[group::<Balance>(harness)], limits()).await?;
    old.serve("balance").await?;
    let brief = ProjectorLimits { lease_duration: Duration::from_millis(100), ..limits() };
    let hasty = process(&stores, "new code", &[group::<Renewed<SAME>>(harness)], brief).await?;
    hasty.settle().await?;
    on(&stores, "a", &[deposited(2)?]).await?;
    hasty.drain("balance").await?;
    let gone = hasty.projector.rollback("balance", order("not yet")?).await;
    let behind = matches!(&gone, Err(RebuildError::Failed { reason }) if reason.contains("back in time"));
    ensure!(behind, "a rollback to a build that nobody moves: {gone:?}");
    ensure!(hasty.under_way("balance").await?.asked.is_none(), "the order still stands");
    drop(hasty);
    stores.clock.advance(Duration::from_secs(6));
    let new = process(&stores, "new code", &[group::<Renewed<SAME>>(harness)], limits()).await?;
    let moved = async {
        let patience = Patience::default();
        while new.under_way("balance").await?.asked.is_none() {
            patience.pause().await?;
        }
        has_been_tried(&patience).await?;
        old.projector.steward().learn().await?;
        old.drain("balance").await
    };
    let back = new.projector.rollback("balance", order("now")?);
    let (back, moved): (_, Outcome) = tokio::join!(back, moved);
    moved?;
    ensure_eq!(back.map_err(refused)?.step, RebuildStep::RolledBack, "where it stands");
    Ok(())
}
