//! Inline models: a row that moves with its event, or not at all.

use crate::drive::{
    self, EVERYTHING, MAIN, account, append, build, command_id, contents, deposited, get, history, on,
    opened, renamed, tenant,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Balance, Brittle, Desk, group};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_command::CommitError;
use diptych_core::{Code, Position, Value, Version};
use diptych_query::{Group, Health};
use std::sync::Arc;

/// The row is there when the commit answers, at the position that it answers.
pub(crate) async fn a_row_is_visible_with_its_event(harness: &dyn Harness) -> Outcome {
    let desk = group::<Desk>(harness);
    let stores = harness.open(vec![Arc::clone(&desk)]).await?;
    stores.models.attach(&desk).await?;
    for moves in 1..=4 {
        let event = if moves == 1 { opened("ann") } else { deposited(1)? };
        let done = on(&stores, "a", &[event]).await?;
        let got = get(&stores, &desk, "a").await?;
        let token = got.checkpoint.mark.token;
        ensure_eq!(token, done.record.token, "the checkpoint after a commit");
        let held = got.rows.first().map(|row| row[3].clone());
        ensure_eq!(held, Some(Value::Integer(moves)), "the facts in the row");
        let reached = *stores.progress.entry("desk").watch().borrow();
        ensure_eq!(reached, token.position, "the position that waiting answers are woken with");
        drive::digest(&stores, &desk).await?;
    }
    drive::note(&stores, "n").await?;
    let checkpoint = stores.models.checkpoint(&desk).await?;
    ensure_eq!(checkpoint.mark, stores.feed.head().await?, "the checkpoint after a foreign fact");
    Ok(())
}

/// A fold that fails takes its own command down and nothing else: no event, no ledger row, no row.
pub(crate) async fn a_failing_fold_fails_its_command_alone(harness: &dyn Harness) -> Outcome {
    let (desk, brittle) = (group::<Desk>(harness), group::<Brittle>(harness));
    let stores = harness.open(vec![Arc::clone(&desk), Arc::clone(&brittle)]).await?;
    for group in [&desk, &brittle] {
        stores.models.attach(group).await?;
    }
    on(&stores, "bad", &[opened("ann")]).await?;
    let bad = account("bad")?;
    let events = [deposited(1)?, renamed(Brittle::BREAKS)];
    let broken = append(&stores, &bad, "broken", 1, &events)?;
    let mut neighbours = Vec::new();
    for index in 0..8 {
        let key = format!("good {index}");
        let commit = append(&stores, &account(&key)?, &key, 0, &[opened("bob"), deposited(1)?])?;
        let events = Arc::clone(&stores.events);
        neighbours.push(tokio::spawn(async move { events.commit(commit).await }));
    }
    match stores.events.commit(broken.clone()).await {
        Err(CommitError::Fault(fault)) if fault.code() == Code::InlineFailed => {}
        other => return Err(Failure::new(format!("a failing inline fold answered {other:?}"))),
    }
    for neighbour in neighbours {
        neighbour.await.map_err(|error| Failure::new(error.to_string()))??;
    }
    let events = stores.events.load(&bad, Version::NONE, EVERYTHING).await?;
    ensure_eq!(events.len(), 1, "the events of the stream that failed");
    let row = stores.events.recorded(&tenant(MAIN)?, &command_id("broken")?).await?;
    ensure_eq!(row, None, "the ledger after a failing fold");
    let moved = get(&stores, &desk, "bad").await?.rows.first().map(|row| row[3].clone());
    ensure_eq!(moved, Some(Value::Integer(1)), "the facts in the other inline model's row");
    let facts = get(&stores, &brittle, "bad").await?.rows.first().map(|row| row[1].clone());
    ensure_eq!(facts, Some(Value::Integer(1)), "the facts in the failing model's row");
    ensure_eq!(stores.feed.head().await?.position(), Position(17), "the head");
    agree(&stores, harness, &desk).await?;
    let retried = append(&stores, &bad, "broken", 1, &[renamed("fine")])?;
    stores.events.commit(retried).await?;
    let held = stores.models.checkpoint(&brittle).await?;
    ensure_eq!(held.stopped, None, "why the model stopped");
    ensure_eq!(held.mark, stores.feed.head().await?, "where the failing model stands");
    Ok(())
}

/// An inline model that is a little behind is brought up by the next command, in its transaction.
pub(crate) async fn a_near_model_catches_up(harness: &dyn Harness) -> Outcome {
    let plain = harness.open(Vec::new()).await?;
    on(&plain, "a", &[opened("ann"), deposited(1)?]).await?;
    on(&plain, "b", &[opened("bob")]).await?;
    harness.stop(plain).await?;
    let desk = group::<Desk>(harness);
    let stores = harness.open(vec![Arc::clone(&desk)]).await?;
    stores.models.attach(&desk).await?;
    on(&stores, "b", &[deposited(2)?]).await?;
    let checkpoint = stores.models.checkpoint(&desk).await?;
    ensure_eq!(checkpoint.mark, stores.feed.head().await?, "where the model stands");
    let moves = get(&stores, &desk, "a").await?.rows.first().map(|row| row[3].clone());
    ensure_eq!(moves, Some(Value::Integer(2)), "the missing facts in a row that the command did not touch");
    ensure_eq!(stores.progress.entry("desk").health(), Health::Live, "the model's health");
    agree(&stores, harness, &desk).await
}

/// One that is too far behind is left to a worker and says so; once it has caught up it is inline again.
pub(crate) async fn a_far_model_turns_asynchronous(harness: &dyn Harness) -> Outcome {
    let plain = harness.open(Vec::new()).await?;
    let missing = harness.inline_catch_up_events_max() + 1;
    let mut left = missing;
    while left > 0 {
        let count = left.min(50);
        let events = (0..count).map(|_| deposited(1)).collect::<Outcome<Vec<_>>>()?;
        on(&plain, "a", &events).await?;
        left -= count;
    }
    harness.stop(plain).await?;
    let desk = group::<Desk>(harness);
    let stores = harness.open(vec![Arc::clone(&desk)]).await?;
    stores.models.attach(&desk).await?;
    for round in 0..2 {
        on(&stores, "b", &[opened("bob")]).await?;
        let checkpoint = stores.models.checkpoint(&desk).await?;
        ensure_eq!(checkpoint.mark.position(), Position::START, "where the model stands in round {round}");
        let health = stores.progress.entry("desk").health();
        ensure_eq!(health, Health::CatchingUp, "the health of a model that is far behind");
    }
    drive::advance_to_head(&stores, &desk, 64).await?;
    let done = on(&stores, "b", &[deposited(1)?]).await?;
    let got = get(&stores, &desk, "b").await?;
    ensure_eq!(got.checkpoint.mark.token, done.record.token, "the checkpoint once it is inline again");
    ensure_eq!(stores.progress.entry("desk").health(), Health::Live, "the health once it is inline again");
    agree(&stores, harness, &desk).await
}

/// A model that cannot take a fact from before it was inline stops there, visibly; commands are not to blame.
pub(crate) async fn an_older_fact_stops_the_model_alone(harness: &dyn Harness) -> Outcome {
    let plain = harness.open(Vec::new()).await?;
    on(&plain, "a", &[opened("ann"), renamed(Brittle::BREAKS), deposited(1)?]).await?;
    harness.stop(plain).await?;
    let (desk, brittle) = (group::<Desk>(harness), group::<Brittle>(harness));
    let stores = harness.open(vec![Arc::clone(&desk), Arc::clone(&brittle)]).await?;
    for group in [&desk, &brittle] {
        stores.models.attach(group).await?;
    }
    for round in 0..2 {
        on(&stores, "b", &[opened("bob")]).await?;
        let held = stores.models.checkpoint(&brittle).await?;
        ensure_eq!(held.mark.position(), Position::START, "where the model stands in round {round}");
        let stopped = held.stopped.map(|stopped| stopped.position);
        ensure_eq!(stopped, Some(Position(2)), "the fact that stopped it, in round {round}");
        let health = stores.progress.entry("brittle").health();
        let told = matches!(health, Health::Stopped { position: Position(2), .. });
        ensure!(told, "the health of a stopped model: {health:?}");
        ensure!(contents(&stores, &brittle).await?.is_empty(), "a stopped model has rows");
        agree(&stores, harness, &desk).await?;
    }
    Ok(())
}

/// Many writers at once, conflicts among them: the inline rows are the fold of the log, also after a crash.
pub(crate) async fn inline_rows_are_the_fold_of_the_log(harness: &dyn Harness) -> Outcome {
    let desk = group::<Desk>(harness);
    let mut stores = harness.open(vec![Arc::clone(&desk)]).await?;
    stores.models.attach(&desk).await?;
    for life in 0..2 {
        let mut writers = Vec::new();
        for writer in 0..6 {
            let stores = stores.clone();
            writers.push(tokio::spawn(async move {
                let own = account(&format!("w{writer}"))?;
                for _ in 0..5 {
                    drive::record(&stores, &own, &[opened("x"), deposited(1)?]).await?;
                    let id = format!("stale {life} {writer}");
                    let stale = append(&stores, &own, &id, 99, &[deposited(1)?])?;
                    ensure!(stores.events.commit(stale).await.is_err(), "a stale base was taken");
                }
                Ok::<_, Failure>(())
            }));
        }
        for writer in writers {
            writer.await.map_err(|error| Failure::new(error.to_string()))??;
        }
        agree(&stores, harness, &desk).await?;
        harness.crash(stores).await?;
        stores = harness.open(vec![Arc::clone(&desk)]).await?;
        stores.models.attach(&desk).await?;
        agree(&stores, harness, &desk).await?;
    }
    Ok(())
}

/// An inline model is reset and folded by a worker as any other.
pub(crate) async fn an_inline_model_may_be_rebuilt(harness: &dyn Harness) -> Outcome {
    let desk = group::<Desk>(harness);
    let stores = harness.open(vec![Arc::clone(&desk)]).await?;
    stores.models.attach(&desk).await?;
    history(&stores).await?;
    let before = contents(&stores, &desk).await?;
    stores.models.reset(&desk).await?;
    ensure!(contents(&stores, &desk).await?.is_empty(), "a reset model has rows");
    drive::advance_to_head(&stores, &desk, 5).await?;
    ensure_eq!(contents(&stores, &desk).await?, before, "the rows after a rebuild");
    agree(&stores, harness, &desk).await
}

/// The inline statement stands at the head and equals the one that a worker folds.
async fn agree(stores: &Stores, harness: &dyn Harness, desk: &Group) -> Outcome {
    let checkpoint = stores.models.checkpoint(desk).await?;
    ensure_eq!(checkpoint.mark, stores.feed.head().await?, "where the inline model stands");
    let balance = group::<Balance>(harness);
    build(stores, &balance, 10).await?;
    ensure_eq!(
        contents(stores, desk).await?,
        contents(stores, &balance).await?,
        "inline and asynchronous rows"
    );
    ensure_eq!(drive::digest(stores, desk).await?, drive::digest(stores, &balance).await?, "their digests");
    Ok(())
}
