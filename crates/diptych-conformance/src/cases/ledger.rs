//! The idempotency ledger: a command happens once under its id, however often and however close it is asked.

use crate::drive::{
    self, EVERYTHING, MAIN, account, append, command_id, deposited, on, opened, principal, refuse, reject,
    tenant,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Account, AccountCommand, AccountEvent, AccountId, AccountRejection};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_command::{
    CommandRecord, Commit, CommitError, HandleError, Outcome as Ledger, Refusal, RefusedFor, Request,
};
use diptych_core::{Action, Authorize, Clock, Forbidden, Permit, Principal, Version};
use std::sync::Arc;
use std::time::Duration;

/// The same command under the same id is answered again with the same row, and appends nothing.
pub(crate) async fn the_same_command_is_answered_again(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let commit = append(&stores, &account("a")?, "one", 0, &[opened("ann"), deposited(1)?])?;
    let first = stores.events.commit(commit.clone()).await?;
    on(&stores, "a", &[deposited(2)?]).await?;
    stores.clock.advance(Duration::from_secs(60));
    for _ in 0..2 {
        let again = stores.events.commit(commit.clone()).await?;
        ensure!(again.replayed, "the same command was not recognized");
        ensure_eq!(again.record, first.record, "the row answered again");
        ensure!(again.events.is_empty(), "a replay answered events");
    }
    ensure_eq!(stores.feed.head().await?.position().0, 3, "the head after replays");
    let commands = drive::commands(&stores);
    let (ann, b) = (principal(MAIN)?, AccountId("b".to_owned()));
    let ask = || {
        let open = AccountCommand::Open { owner: "bob".into() };
        Request::by(&ann).to(&b, open).command_id("two")
    };
    let first = commands.handle::<Account>(ask()).await?;
    let again = commands.handle::<Account>(ask()).await?;
    ensure!(again.replayed && !first.replayed, "the handler did not replay");
    ensure_eq!(
        (again.version, again.token, again.events),
        (first.version, first.token, first.events),
        "the receipt answered again"
    );
    Ok(())
}

/// Another input under a used id is refused, whatever the first one's outcome, and changes nothing.
pub(crate) async fn another_input_under_a_key_is_refused(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let a = account("a")?;
    let taken = stores.events.commit(append(&stores, &a, "one", 0, &[opened("ann")])?).await?;
    let rejected = stores.events.commit(reject(&stores, &a, "no", 1)?).await?;
    for id in ["one", "no"] {
        for (stream, base) in [(&a, 1), (&account("b")?, 0), (&a, 99)] {
            let reused = stores.events.commit(append(&stores, stream, id, base, &[deposited(1)?])?).await;
            ensure!(matches!(reused, Err(CommitError::KeyReused)), "`{id}` on {base}: {reused:?}");
        }
    }
    for (id, record) in [("one", taken.record), ("no", rejected.record)] {
        let held = stores.events.recorded(&tenant(MAIN)?, &command_id(id)?).await?;
        ensure_eq!(held, Some(record), "the ledger under `{id}`");
    }
    ensure_eq!(stores.feed.head().await?.position().0, 1, "the head");
    Ok(())
}

/// Twins that reach the store together append once, and all get the one answer.
pub(crate) async fn racing_twins_append_once(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for round in 0..5 {
        let key = format!("a{round}");
        let commit = append(&stores, &account(&key)?, &key, 0, &[opened("ann"), deposited(1)?])?;
        let twins = (0..8).map(|_| {
            let (events, commit) = (Arc::clone(&stores.events), commit.clone());
            tokio::spawn(async move { events.commit(commit).await })
        });
        let mut records: Vec<CommandRecord> = Vec::new();
        let mut appended = 0;
        for twin in twins.collect::<Vec<_>>() {
            let answer = twin.await.map_err(|error| Failure::new(error.to_string()))??;
            appended += usize::from(!answer.replayed);
            records.push(answer.record);
        }
        ensure_eq!(appended, 1, "how many of the twins appended");
        let same = records.windows(2).all(|pair| pair[0] == pair[1]);
        ensure!(same, "the twins got different answers: {records:?}");
    }
    ensure_eq!(stores.feed.head().await?.position().0, 10, "the head after five races");
    Ok(())
}

/// The same race through the handler, on an open account where each twin alone would be accepted.
pub(crate) async fn racing_requests_happen_once(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann")]).await?;
    let commands = Arc::new(drive::commands(&stores));
    let ann = principal(MAIN)?;
    for round in 0..5 {
        let twins = (0..8).map(|_| {
            let (commands, ann) = (Arc::clone(&commands), ann.clone());
            tokio::spawn(async move {
                let amount = drive::pounds(1)?;
                let request =
                    Request::by(&ann).to(&AccountId("a".into()), AccountCommand::Deposit { amount });
                let request = request.command_id(format!("twin {round}"));
                Ok::<_, Failure>(commands.handle::<Account>(request).await?)
            })
        });
        let mut versions = Vec::new();
        for twin in twins.collect::<Vec<_>>() {
            let receipt = twin.await.map_err(|error| Failure::new(error.to_string()))??;
            versions.push(receipt.version.0);
        }
        ensure_eq!(versions, [round + 2; 8], "the versions that the twins were told");
    }
    ensure_eq!(stores.feed.head().await?.position().0, 6, "the head after five races");
    Ok(())
}

/// The domain's no is final under its id, with its name and data, even when the state would allow it by now.
pub(crate) async fn a_rejection_is_final(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let commands = drive::commands(&stores);
    let (ann, a) = (principal(MAIN)?, AccountId("a".to_owned()));
    let open = AccountCommand::Open { owner: "ann".into() };
    commands.handle::<Account>(Request::by(&ann).to(&a, open)).await?;
    let amount = drive::pounds(5)?;
    let ask = || {
        let request = Request::by(&ann).to(&a, AccountCommand::Withdraw { amount });
        request.command_id("take")
    };
    let zero = AccountRejection::NotEnough { balance: drive::pounds(0)? };
    let first = commands.handle::<Account>(ask()).await;
    ensure!(matches!(&first, Err(HandleError::Rejected(no)) if *no == zero), "{first:?}");
    let deposit = Request::by(&ann).to(&a, AccountCommand::Deposit { amount });
    commands.handle::<Account>(deposit).await?;
    let again = commands.handle::<Account>(ask()).await;
    ensure!(matches!(&again, Err(HandleError::Rejected(no)) if *no == zero), "asked again: {again:?}");
    let row = stores.events.recorded(&ann.tenant, &command_id("take")?).await?;
    let row = row.ok_or_else(|| Failure::new("the rejection left no row"))?;
    ensure_eq!(row.version, Version(1), "the version of a rejection");
    ensure_eq!(row.token.position.0, 1, "the position of a rejection: the head's");
    ensure!(matches!(&row.outcome, Ledger::Rejected { name, .. } if name == "NotEnough"), "{row:?}");
    ensure_eq!(stores.feed.head().await?.position().0, 2, "the head");
    Ok(())
}

/// A refusal is evidence under its id and leaves the key free.
pub(crate) async fn a_refusal_leaves_the_key_free(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let a = account("a")?;
    for reason in [RefusedFor::Conflict, RefusedFor::Forbidden] {
        let done = stores.events.commit(refuse(&stores, &a, "one", reason)?).await?;
        ensure!(!done.replayed, "a second refusal was taken for the first");
        let row = stores.events.recorded(&tenant(MAIN)?, &command_id("one")?).await?;
        let outcome = row.map(|row| row.outcome);
        ensure_eq!(outcome, Some(Ledger::Refused(reason)), "the latest refusal");
    }
    audited(harness, &stores, "one", 2).await?;
    let done = stores.events.commit(append(&stores, &a, "one", 0, &[opened("ann")])?).await?;
    ensure!(!done.replayed, "the key was not free");
    stores.events.commit(refuse(&stores, &a, "one", RefusedFor::Forbidden)?).await?;
    let row = stores.events.recorded(&tenant(MAIN)?, &command_id("one")?).await?;
    ensure_eq!(row, Some(done.record), "the final row after a later refusal");
    audited(harness, &stores, "one", 4).await?;
    ensure_eq!(stores.feed.head().await?.position().0, 1, "the head");
    Ok(())
}

/// Forbids everything while the flag is up.
struct Forbidding;

impl Authorize for Forbidding {
    fn authorize(&self, _: &Principal, _: Action<'_>) -> Result<Permit, Forbidden> {
        let reason = "not today".to_owned();
        Err(Forbidden { reason })
    }
}

/// What the handler refuses, forbidden or in conflict, leaves a row; the same request may be tried again.
pub(crate) async fn a_refused_request_may_be_tried_again(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let (ann, a) = (principal(MAIN)?, AccountId("a".to_owned()));
    let ask = |version| {
        let open = AccountCommand::Open { owner: "ann".into() };
        Request::by(&ann).to(&a, open).command_id("one").if_version(version)
    };
    let forbidding = drive::commands_for(&stores, Arc::new(Forbidding));
    let refused = forbidding.handle::<Account>(ask(Version(0))).await;
    ensure!(matches!(refused, Err(HandleError::Refused(Refusal::Forbidden(_)))), "{refused:?}");
    let row = stores.events.recorded(&ann.tenant, &command_id("one")?).await?;
    let outcome = row.map(|row| row.outcome);
    ensure_eq!(outcome, Some(Ledger::Refused(RefusedFor::Forbidden)), "after a forbidden request");
    let commands = drive::commands(&stores);
    let late = commands.handle::<Account>(ask(Version(3))).await;
    ensure!(matches!(late, Err(HandleError::Conflict(_))), "{late:?}");
    let row = stores.events.recorded(&ann.tenant, &command_id("one")?).await?;
    let outcome = row.map(|row| row.outcome);
    ensure_eq!(outcome, Some(Ledger::Refused(RefusedFor::Conflict)), "after a conflict");
    let receipt = commands.handle::<Account>(ask(Version(0))).await?;
    ensure!(!receipt.replayed && receipt.version == Version(1), "{receipt:?}");
    Ok(())
}

/// Expiry frees the keys claimed before a time, oldest first, at most so many, and keeps the audit rows.
pub(crate) async fn expiry_frees_keys_and_keeps_the_audit(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let a = account("a")?;
    let mut commits: Vec<Commit> = Vec::new();
    for base in 0..4 {
        let commit = append(&stores, &a, &format!("c{base}"), base, &[deposited(1)?])?;
        stores.events.commit(commit.clone()).await?;
        commits.push(commit);
        stores.clock.advance(Duration::from_secs(10));
    }
    let third = stores.clock.now().as_micros() - 20_000_000;
    let before = diptych_core::Timestamp::from_micros(third)?;
    ensure_eq!(stores.events.expire_keys(before, 1).await?, 1, "keys freed, one at most");

    let main = tenant(MAIN)?;
    let first = stores.events.recorded(&main, &command_id("c0")?).await?;
    ensure_eq!(first, None, "the oldest key after the first expiry");
    let second = stores.events.recorded(&main, &command_id("c1")?).await?;
    ensure!(second.is_some(), "a younger key went first");
    ensure_eq!(stores.events.expire_keys(before, 100).await?, 1, "keys freed, all before the time");
    ensure_eq!(stores.events.expire_keys(before, 100).await?, 0, "keys freed again");
    for (id, free) in [("c0", true), ("c1", true), ("c2", false), ("c3", false)] {
        let row = stores.events.recorded(&main, &command_id(id)?).await?;
        ensure_eq!(row.is_none(), free, "whether `{id}` is free");
        audited(harness, &stores, id, 1).await?;
    }
    let again = append(&stores, &a, "c0", 4, &[deposited(2)?])?;
    let done = stores.events.commit(again).await?;
    ensure!(!done.replayed, "a freed key still answered");
    let kept = stores.events.commit(commits[2].clone()).await?;
    ensure!(kept.replayed, "a key that was kept did not answer");
    audited(harness, &stores, "c0", 2).await
}

/// Outcomes of every kind are still there after a clean stop and after a crash.
pub(crate) async fn the_ledger_survives(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let a = account("a")?;
    for round in 0_u64..2 {
        let (yes, no, refused) = (format!("yes {round}"), format!("no {round}"), format!("refused {round}"));
        let commit = append(&stores, &a, &yes, round, &[deposited(1)?])?;
        let accepted = stores.events.commit(commit.clone()).await?.record;
        let rejected = stores.events.commit(reject(&stores, &a, &no, round + 1)?).await?.record;
        let refusal = refuse(&stores, &a, &refused, RefusedFor::Conflict)?;
        let evidence = stores.events.commit(refusal).await?.record;
        if round == 0 {
            harness.stop(stores).await?;
        } else {
            harness.crash(stores).await?;
        }
        stores = harness.open(Vec::new()).await?;
        for (id, record) in [(yes, accepted), (no, rejected), (refused, evidence)] {
            let held = stores.events.recorded(&tenant(MAIN)?, &command_id(&id)?).await?;
            ensure_eq!(held, Some(record), "`{id}` after the store was opened again");
        }
        let again = stores.events.commit(commit).await?;
        ensure!(again.replayed, "a command was not recognized after the store was opened again");
    }
    let facts = stores.events.load(&a, Version::NONE, EVERYTHING).await?;
    ensure_eq!(facts.len(), 2, "the events after two lives");
    Ok(())
}

/// A replay reads the command's own events, not what came later.
pub(crate) async fn a_replay_answers_its_own_events(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann"), deposited(50)?]).await?;
    let commands = drive::commands(&stores);
    let (ann, a) = (principal(MAIN)?, AccountId("a".to_owned()));
    let amount = drive::pounds(3)?;
    let ask = || {
        let to = "b".to_owned();
        Request::by(&ann).to(&a, AccountCommand::Transfer { to, amount }).command_id("send")
    };
    let first = commands.handle::<Account>(ask()).await?;
    on(&stores, "a", &[deposited(1)?, AccountEvent::Closed {}]).await?;
    let again = drive::commands(&stores).handle::<Account>(ask()).await?;
    ensure_eq!(again.events, first.events, "the events of a replay");
    ensure_eq!(again.events.len(), 2, "how many");
    ensure_eq!((again.version, again.token), (first.version, first.token), "version and token of a replay");
    Ok(())
}

async fn audited(harness: &dyn Harness, stores: &Stores, id: &str, expected: usize) -> Outcome {
    let rows = harness.audit_rows(stores, &tenant(MAIN)?, &command_id(id)?).await;
    if let Some(rows) = rows {
        ensure_eq!(rows, expected, "the audit rows of `{id}`");
    }
    Ok(())
}
