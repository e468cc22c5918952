//! Two processes with one store open: what one of them remembers of the log is a hint, never the truth.

use crate::drive::{
    self, EVERYTHING, MAIN, account, append, build, contents, deposited, on, opened, principal, record,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Account, AccountCommand, AccountId, Balance, Desk, Total, group};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_command::{CommitError, Request};
use diptych_core::{Position, Value, Version};
use diptych_query::{AdvanceError, Categories, Fold};
use std::sync::Arc;
use std::time::Duration;

/// Appends of both interleave without a gap, each decided on what the other wrote.
pub(crate) async fn two_writers_share_one_log(harness: &dyn Harness) -> Outcome {
    let (one, two) = (harness.open(Vec::new()).await?, harness.open(Vec::new()).await?);
    for round in 0..3 {
        on(&one, "a", &[deposited(1)?]).await?;
        on(&two, "a", &[deposited(2)?]).await?;
        let stale = append(&one, &account("a")?, &format!("stale {round}"), 2 * round + 1, &[deposited(3)?])?;
        let conflict = one.events.commit(stale).await;
        ensure!(matches!(conflict, Err(CommitError::Conflict(_))), "a stale base: {conflict:?}");
    }
    // Each process keeps states of its own, which the other makes stale.
    let (ann, b) = (principal(MAIN)?, AccountId("b".to_owned()));
    let panels = [drive::commands(&one), drive::commands(&two)];
    let open = AccountCommand::Open { owner: "ann".into() };
    panels[0].handle::<Account>(Request::by(&ann).to(&b, open)).await?;
    for number in 0..6 {
        let deposit = AccountCommand::Deposit { amount: drive::pounds(1)? };
        let panel = &panels[number % 2];
        let receipt = panel.handle::<Account>(Request::by(&ann).to(&b, deposit)).await?;
        ensure_eq!(receipt.version.0 as usize, number + 2, "the version after deposit {number}");
    }
    let mut writers = Vec::new();
    for (process, stores) in [&one, &two].into_iter().enumerate() {
        for writer in 0..3 {
            let (stores, own) = (stores.clone(), account(&format!("{process} {writer}"))?);
            writers.push(tokio::spawn(async move {
                for _ in 0..5 {
                    record(&stores, &own, &[deposited(1)?, deposited(2)?]).await?;
                }
                Ok::<_, Failure>(())
            }));
        }
    }
    for writer in writers {
        writer.await.map_err(|error| Failure::new(error.to_string()))??;
    }
    for stores in [&one, &two] {
        let block = stores.feed.read(Position::START, &Categories::All, EVERYTHING).await?;
        ensure_eq!(block.facts.len(), 6 + 7 + 60, "the facts that a process sees");
        super::log::contiguous(&block.facts)?;
    }
    ensure_eq!(one.feed.head().await?, two.feed.head().await?, "the head of the two");
    Ok(())
}

/// A command asked in both processes happens once, and both tell the same.
pub(crate) async fn twins_in_two_processes_append_once(harness: &dyn Harness) -> Outcome {
    let (one, two) = (harness.open(Vec::new()).await?, harness.open(Vec::new()).await?);
    for round in 0..5 {
        let key = format!("a{round}");
        let commit = append(&one, &account(&key)?, &key, 0, &[opened("ann"), deposited(1)?])?;
        let twins = [&one, &two, &one, &two].map(|stores| {
            let (events, commit) = (Arc::clone(&stores.events), commit.clone());
            tokio::spawn(async move { events.commit(commit).await })
        });
        let (mut appended, mut records) = (0, Vec::new());
        for twin in twins {
            let answer = twin.await.map_err(|error| Failure::new(error.to_string()))??;
            appended += usize::from(!answer.replayed);
            records.push(answer.record);
        }
        ensure_eq!(appended, 1, "how many of the twins appended");
        ensure!(records.windows(2).all(|pair| pair[0] == pair[1]), "the twins differ: {records:?}");
    }
    ensure_eq!(one.feed.head().await?.position(), Position(10), "the head");
    Ok(())
}

/// A process that knows nothing of an inline model appends beside one that does: no fact is left out.
pub(crate) async fn inline_models_take_what_others_appended(harness: &dyn Harness) -> Outcome {
    let desk = group::<Desk>(harness);
    let (old, new) = (harness.open(Vec::new()).await?, harness.open(vec![Arc::clone(&desk)]).await?);
    new.models.attach(&desk).await?;
    for round in 1..=4 {
        on(&old, "a", &[opened("ann")]).await?;
        drive::note(&old, "n").await?;
        on(&new, "a", &[deposited(1)?]).await?;
        let got = drive::get(&new, &desk, "a").await?;
        ensure_eq!(got.checkpoint.mark, new.feed.head().await?, "where the model stands");
        let moves = got.rows.first().map(|row| row[3].clone());
        ensure_eq!(moves, Some(Value::Integer(2 * round)), "the facts in the row");
    }
    let balance = group::<Balance>(harness);
    build(&old, &balance, 3).await?;
    ensure_eq!(contents(&new, &desk).await?, contents(&old, &balance).await?, "inline and asynchronous rows");
    drive::digest(&new, &desk).await?;
    Ok(())
}

/// Two workers over one group: one of them moves it, the other is told, and no fact counts twice.
pub(crate) async fn two_workers_never_fold_twice(harness: &dyn Harness) -> Outcome {
    let (one, two) = (harness.open(Vec::new()).await?, harness.open(Vec::new()).await?);
    for _ in 0..20 {
        on(&one, "a", &[deposited(1)?]).await?;
    }
    let total = group::<Total>(harness);
    one.models.attach(&total).await?;
    two.models.attach(&total).await?;
    let workers = [one.clone(), two.clone()].map(|stores| {
        let total = Arc::clone(&total);
        tokio::spawn(async move { work(&stores, &total).await })
    });
    for worker in workers {
        worker.await.map_err(|error| Failure::new(error.to_string()))??;
    }
    for stores in [&one, &two] {
        let got = drive::get(stores, &total, "all").await?;
        ensure_eq!(got.checkpoint.mark.position(), Position(20), "where the group stands");
        ensure_eq!(got.rows.first().map(|row| row[1].clone()), Some(Value::Integer(20)), "the facts counted");
        drive::digest(stores, &total).await?;
    }
    Ok(())
}

async fn work(stores: &Stores, group: &diptych_query::Group) -> Outcome {
    loop {
        let checkpoint = stores.models.checkpoint(group).await?;
        let block = stores.feed.read(checkpoint.mark.position(), group.categories(), 1).await?;
        if block.through.position() == checkpoint.mark.position() {
            return Ok(());
        }
        let mut fold = Fold::new(group, &checkpoint);
        fold.plan(&block)?;
        match stores.models.advance(group, fold).await {
            Ok(_) | Err(AdvanceError::Moved { .. }) => tokio::task::yield_now().await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whoever watches in one process learns what the other appended.
pub(crate) async fn the_other_process_wakes_watchers(harness: &dyn Harness) -> Outcome {
    let (one, two) = (harness.open(Vec::new()).await?, harness.open(Vec::new()).await?);
    let mut watch = two.feed.watch();
    for _ in 0..2 {
        let position = on(&one, "a", &[deposited(1)?]).await?.record.token.position;
        let woken = async {
            while *watch.borrow_and_update() < position {
                if watch.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        let woken = tokio::time::timeout(Duration::from_secs(20), woken).await;
        ensure_eq!(woken.ok(), Some(true), "whether the other process's watcher was woken");
    }
    let seen = two.feed.stream(&account("a")?, Version::NONE, EVERYTHING).await?;
    ensure_eq!(seen.len(), 2, "the facts that the other process sees");
    Ok(())
}
