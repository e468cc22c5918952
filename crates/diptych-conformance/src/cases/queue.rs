//! The queue: what is accepted is durable, claimed once, in the order of its stream, fenced, and ended for
//! good.
//!
//! Time is the store's own here: a case gives leases and pauses that are over at once or that outlive it,
//! and looks until it sees what it waits for.

use crate::drive::{self, MAIN, account, append, command_id, opened, tenant};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::AccountEvent;
use crate::{Failure, Harness, Outcome, Stores};
use diptych_command::{
    Claim, ClaimError, ClaimedCommand, CommandRef, Commit, Effect, Ending, EnqueueError, Enqueued, Holder,
    InputHash, QueueEntry, QueueState, QueueStatus, QueuedCommand, RawCommand, Revived, Trouble,
};
use diptych_core::{
    Actor, Category, CausationId, Claims, Clock, Code, CorrelationId, Epoch, ExpectedVersion, Fingerprint,
    Position, StreamKey, StreamRef, Token, Version,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Longer than any case takes.
const LONG: Duration = Duration::from_secs(3_600);
/// Over before anybody looks twice.
const SHORT: Duration = Duration::from_millis(1);
/// How often a case looks for what should come to pass.
const LOOKS_MAX: usize = 100_000;
/// More than any case has.
const ROOM: u64 = 1_000;

fn holder(name: &str) -> Holder {
    Holder::new(name)
}

fn queued(stores: &Stores, stream: &StreamRef, id: &str, body: &str) -> Outcome<QueuedCommand> {
    let command = RawCommand { name: "Record".to_owned(), body: body.to_owned() };
    let (actor, expected) = (Actor::new("ann")?, ExpectedVersion::Any);
    Ok(QueuedCommand {
        id: command_id(id)?,
        stream: stream.clone(),
        hash: InputHash::of(&actor, stream, &command, expected),
        command,
        actor,
        claims: Arc::default(),
        expected,
        correlation: None,
        causation: None,
        occurred_at: stores.clock.now(),
    })
}

/// Accepts a command for an account of the main tenant.
async fn accept(stores: &Stores, key: &str, id: &str) -> Outcome<QueueEntry> {
    let command = queued(stores, &account(key)?, id, "{}")?;
    match stores.queue.enqueue(command, ROOM).await {
        Ok(Enqueued::New(entry)) => Ok(entry),
        other => Err(Failure::new(format!("`{id}` was not accepted: {other:?}"))),
    }
}

async fn claim(stores: &Stores, by: &str, lasting: Duration) -> Outcome<Vec<ClaimedCommand>> {
    Ok(stores.queue.claim(&holder(by), lasting, 1_000).await?)
}

async fn claim_ids(stores: &Stores, by: &str, lasting: Duration) -> Outcome<Vec<String>> {
    let claimed = claim(stores, by, lasting).await?;
    Ok(claimed.iter().map(|claimed| claimed.command.id.as_str().to_owned()).collect())
}

/// The only command that can be claimed.
async fn claim_one(stores: &Stores, by: &str, lasting: Duration) -> Outcome<ClaimedCommand> {
    let mut claimed = claim(stores, by, lasting).await?;
    ensure_eq!(claimed.len(), 1, "commands claimed");
    Ok(claimed.remove(0))
}

/// Claims again and again until something can be claimed.
async fn take_over(stores: &Stores, by: &str) -> Outcome<ClaimedCommand> {
    for _ in 0..LOOKS_MAX {
        if let Some(claimed) = claim(stores, by, LONG).await?.pop() {
            return Ok(claimed);
        }
        stores.clock.advance(SHORT);
    }
    Err(Failure::new("what should be free is never given"))
}

async fn entry(stores: &Stores, id: &str) -> Outcome<QueueEntry> {
    let found = entry_in(stores, MAIN, id).await?;
    found.ok_or_else(|| Failure::new(format!("`{id}` is not in the queue")))
}

async fn entry_in(stores: &Stores, tenant_name: &str, id: &str) -> Outcome<Option<QueueEntry>> {
    Ok(stores.queue.entry(&reference(tenant_name, id)?).await?)
}

fn reference(tenant_name: &str, id: &str) -> Outcome<CommandRef> {
    Ok(CommandRef { tenant: tenant(tenant_name)?, id: command_id(id)? })
}

fn succeeded() -> Ending {
    let token = Token { epoch: Epoch(3), position: Position(1 << 40), fingerprint: Fingerprint(0xffee_0001) };
    Ending::Succeeded { version: Version(7), token }
}

fn trouble() -> Trouble {
    Trouble { code: Code::Storage, message: "the store failed".to_owned() }
}

async fn finish(stores: &Stores, claim: &Claim, ending: Ending) -> Outcome {
    stores.queue.finish(claim, ending).await.map_err(|error| Failure::new(format!("not finished: {error:?}")))
}

#[track_caller]
fn fenced<T: std::fmt::Debug>(written: Result<T, ClaimError>) -> Outcome {
    match written {
        Err(ClaimError::Fenced) => Ok(()),
        other => Err(Failure::new(format!("a lost claim was taken for good: {other:?}"))),
    }
}

pub(crate) async fn what_is_accepted_is_there_after_a_crash(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let accepted = accept(&stores, "a", "c1").await?;
    ensure_eq!(accepted.status(), QueueStatus::Accepted, "the status");
    harness.crash(stores).await?;
    let stores = harness.open(Vec::new()).await?;
    ensure_eq!(entry(&stores, "c1").await?, accepted, "what was accepted");
    let claimed = claim_one(&stores, "ann", LONG).await?;
    finish(&stores, &claimed.claim(), succeeded()).await?;
    let ended = entry(&stores, "c1").await?;
    harness.stop(stores).await?;
    let stores = harness.open(Vec::new()).await?;
    ensure_eq!(entry(&stores, "c1").await?, ended, "what has ended");
    Ok(())
}

pub(crate) async fn a_command_reads_back_whole(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let stream = account("ä/ 'x\" \u{1f600}")?;
    let mut command = queued(&stores, &stream, "01991c3e-7b2a-7c3d-8e4f-0123456789ab", "{\"a\": 1.50}")?;
    command.expected = ExpectedVersion::Exactly(Version(0));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    command.claims =
        Arc::new(Claims { teams: words(&["north", "sü'd"]), roles: words(&["approver"]), clearance: 7 });
    command.correlation = Some(CorrelationId::new("talk")?);
    command.causation = Some(CausationId::new("01991c3e-7b2a-7c3d-8e4f-0123456789ac")?);
    let Ok(Enqueued::New(entry)) = stores.queue.enqueue(command.clone(), ROOM).await else {
        return Err(Failure::new("the command was not accepted"));
    };
    ensure_eq!(entry.command, command, "the command as it was accepted");
    ensure_eq!((entry.attempts, entry.changes), (0, 1), "attempts and changes");
    let claimed = claim_one(&stores, "ann", LONG).await?;
    ensure_eq!(claimed.command, command, "the command as it was claimed");
    ensure_eq!((claimed.attempts, claimed.accepted_at), (1, entry.accepted_at), "the claim");
    let found = stores.queue.entry(&command.reference()).await?;
    let found = found.ok_or_else(|| Failure::new("the running command is gone"))?;
    ensure_eq!(found.command, command, "the command as it is found");
    ensure_eq!(found.holder, Some(holder("ann")), "who runs it");
    ensure!(found.started_at >= Some(entry.accepted_at), "it was begun before it was accepted");
    Ok(())
}

pub(crate) async fn the_same_command_is_accepted_once(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let first = accept(&stores, "a", "c1").await?;
    let again = queued(&stores, &account("a")?, "c1", "{}")?;
    match stores.queue.enqueue(again, ROOM).await {
        Ok(Enqueued::Known(entry)) => ensure_eq!(entry, first, "the command that was there"),
        other => return Err(Failure::new(format!("the same command is no longer known: {other:?}"))),
    }
    let other = queued(&stores, &account("a")?, "c1", "{\"other\":1}")?;
    match stores.queue.enqueue(other, ROOM).await {
        Err(EnqueueError::KeyReused) => {}
        other => return Err(Failure::new(format!("another input was taken under the id: {other:?}"))),
    }
    ensure_eq!(claim_ids(&stores, "ann", LONG).await?, ["c1"], "what there is to run");
    Ok(())
}

pub(crate) async fn racing_twins_are_accepted_once(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let other = harness.open(Vec::new()).await?;
    let mut tasks = Vec::new();
    for number in 0..12 {
        let stores = if number % 2 == 0 { stores.clone() } else { other.clone() };
        let command = queued(&stores, &account("a")?, "c1", "{}")?;
        tasks.push(tokio::spawn(async move { stores.queue.enqueue(command, ROOM).await }));
    }
    let mut new = 0;
    for task in tasks {
        match task.await.map_err(|error| Failure::new(error.to_string()))? {
            Ok(Enqueued::New(_)) => new += 1,
            Ok(Enqueued::Known(_)) => {}
            Err(error) => return Err(Failure::new(format!("a twin was refused: {error:?}"))),
        }
    }
    ensure_eq!(new, 1, "twins that were accepted as new");
    ensure_eq!(claim_ids(&stores, "ann", LONG).await?, ["c1"], "what there is to run");
    Ok(())
}

pub(crate) async fn a_full_queue_takes_nothing_more(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    accept(&stores, "a", "c1").await?;
    accept(&stores, "b", "c2").await?;
    let third = queued(&stores, &account("c")?, "c3", "{}")?;
    match stores.queue.enqueue(third.clone(), 2).await {
        Err(EnqueueError::Full) => {}
        other => return Err(Failure::new(format!("a full queue answered {other:?}"))),
    }
    ensure_eq!(entry_in(&stores, MAIN, "c3").await?, None, "what was refused");
    let known = queued(&stores, &account("a")?, "c1", "{}")?;
    ensure!(matches!(stores.queue.enqueue(known, 2).await, Ok(Enqueued::Known(_))), "c1 is not known");
    let claimed = stores.queue.claim(&holder("ann"), LONG, 1).await?.remove(0);
    finish(&stores, &claimed.claim(), succeeded()).await?;
    ensure!(matches!(stores.queue.enqueue(third, 2).await, Ok(Enqueued::New(_))), "there is no room for c3");
    Ok(())
}

pub(crate) async fn racing_workers_claim_each_command_once(harness: &dyn Harness) -> Outcome {
    const COMMANDS: usize = 30;
    let stores = harness.open(Vec::new()).await?;
    let other = harness.open(Vec::new()).await?;
    for number in 0..COMMANDS {
        accept(&stores, &format!("key {number}"), &format!("c{number}")).await?;
    }
    let tasks = (0..10).map(|number| {
        let stores = if number % 2 == 0 { stores.clone() } else { other.clone() };
        tokio::spawn(async move {
            let (me, mut taken) = (holder(&format!("worker {number}")), Vec::new());
            for _ in 0..COMMANDS {
                taken.extend(stores.queue.claim(&me, LONG, 2).await?);
            }
            Ok::<_, diptych_core::Fault>(taken)
        })
    });
    let (mut ids, mut count) = (BTreeSet::new(), 0);
    for task in tasks.collect::<Vec<_>>() {
        let taken = task.await.map_err(|error| Failure::new(error.to_string()))??;
        count += taken.len();
        ids.extend(taken.into_iter().map(|claimed| claimed.command.id.as_str().to_owned()));
    }
    ensure_eq!((ids.len(), count), (COMMANDS, COMMANDS), "commands claimed, different ones and all");
    Ok(())
}

pub(crate) async fn a_claim_is_nobody_elses(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    accept(&stores, "a", "c1").await?;
    ensure_eq!(claim_ids(&stores, "ann", LONG).await?, ["c1"], "ann's");
    ensure_eq!(claim_ids(&stores, "bob", LONG).await?, [""; 0], "bob's");
    ensure_eq!(claim_ids(&stores, "ann", LONG).await?, [""; 0], "ann's own again");
    Ok(())
}

pub(crate) async fn the_oldest_come_first_and_no_more_than_asked_for(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for number in 0..5 {
        accept(&stores, &format!("key {}", 9 - number), &format!("c{number}")).await?;
    }
    let two = stores.queue.claim(&holder("ann"), LONG, 2).await?;
    let ids: BTreeSet<_> = two.iter().map(|claimed| claimed.command.id.as_str()).collect();
    ensure_eq!(ids, BTreeSet::from(["c0", "c1"]), "the first two");
    ensure_eq!(claim_ids(&stores, "ann", LONG).await?, ["c2", "c3", "c4"], "the others");
    Ok(())
}

pub(crate) async fn a_stream_is_run_in_the_order_of_acceptance(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for id in ["a1", "a2", "a3"] {
        accept(&stores, "a", id).await?;
    }
    accept(&stores, "b", "b1").await?;
    let first = stores.queue.claim(&holder("ann"), LONG, 10).await?;
    let ids: Vec<_> = first.iter().map(|claimed| claimed.command.id.as_str()).collect();
    ensure_eq!(ids, ["a1", "b1"], "the first of each stream");
    ensure_eq!(claim_ids(&stores, "bob", LONG).await?, [""; 0], "while the first ones run");
    // One that waits for its next attempt is unfinished as well.
    let again = stores.queue.retry(&first[0].claim(), trouble(), LONG).await;
    again.map_err(|error| Failure::new(format!("no retry: {error:?}")))?;
    ensure_eq!(claim_ids(&stores, "bob", LONG).await?, [""; 0], "while the first one waits");
    ensure_eq!(entry(&stores, "a1").await?.status(), QueueStatus::Accepted, "the one that waits");
    Ok(())
}

pub(crate) async fn the_next_of_a_stream_follows_an_end(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for id in ["a1", "a2", "a3"] {
        accept(&stores, "a", id).await?;
    }
    let endings = [succeeded(), Ending::Failed(trouble())];
    for (id, ending) in ["a1", "a2"].into_iter().zip(endings) {
        let claimed = claim_one(&stores, "ann", LONG).await?;
        ensure_eq!(claimed.command.id.as_str(), id, "the next of the stream");
        finish(&stores, &claimed.claim(), ending).await?;
    }
    ensure_eq!(claim_ids(&stores, "bob", LONG).await?, ["a3"], "the last of the stream");
    Ok(())
}

pub(crate) async fn a_lease_runs_out_and_is_taken_over(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    accept(&stores, "a", "c1").await?;
    accept(&stores, "a", "c2").await?;
    let lost = claim_one(&stores, "ann", SHORT).await?;
    let next = take_over(&stores, "bob").await?;
    ensure_eq!(next.command.id.as_str(), "c1", "what was taken over");
    ensure!(next.number > lost.number, "the next claim is no later one");
    ensure_eq!(next.attempts, 2, "attempts");
    ensure_eq!(entry(&stores, "c1").await?.holder, Some(holder("bob")), "who runs it now");
    Ok(())
}

pub(crate) async fn a_lost_lease_writes_nothing(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    accept(&stores, "a", "c1").await?;
    let lost = claim_one(&stores, "ann", SHORT).await?.claim();
    let next = take_over(&stores, "bob").await?.claim();
    let before = entry(&stores, "c1").await?;
    fenced(stores.queue.finish(&lost, succeeded()).await)?;
    fenced(stores.queue.retry(&lost, trouble(), SHORT).await)?;
    ensure_eq!(stores.queue.prolong(std::slice::from_ref(&lost), LONG).await?, [], "what ann still holds");
    stores.queue.release(std::slice::from_ref(&lost)).await?;
    ensure_eq!(entry(&stores, "c1").await?, before, "the command that bob runs");
    finish(&stores, &next, succeeded()).await?;
    fenced(stores.queue.finish(&lost, Ending::Failed(trouble())).await)?;
    ensure_eq!(entry(&stores, "c1").await?.state, QueueState::Ended(succeeded()), "how it ended");
    Ok(())
}

pub(crate) async fn signs_of_life_prolong_a_lease(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    accept(&stores, "a", "c1").await?;
    let claim = claim_one(&stores, "ann", SHORT).await?.claim();
    // However late, as long as nobody has followed.
    stores.clock.advance(SHORT * 5);
    let held = stores.queue.prolong(std::slice::from_ref(&claim), LONG).await?;
    ensure_eq!(held, std::slice::from_ref(&claim), "what is still held");
    stores.clock.advance(SHORT * 5);
    ensure_eq!(claim_ids(&stores, "bob", LONG).await?, [""; 0], "bob's");
    finish(&stores, &claim, succeeded()).await
}

pub(crate) async fn a_retry_waits_its_time(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    accept(&stores, "a", "c1").await?;
    let claim = claim_one(&stores, "ann", LONG).await?.claim();
    let retried = stores.queue.retry(&claim, trouble(), LONG).await;
    retried.map_err(|error| Failure::new(format!("no retry: {error:?}")))?;
    let waiting = entry(&stores, "c1").await?;
    ensure_eq!(waiting.state, QueueState::Accepted, "the state");
    ensure_eq!(waiting.trouble, Some(trouble()), "what it met");
    ensure!(waiting.next_attempt_at > waiting.started_at, "the next attempt is not later");
    ensure_eq!(claim_ids(&stores, "bob", LONG).await?, [""; 0], "what can be claimed before its time");
    fenced(stores.queue.finish(&claim, succeeded()).await)?;
    Ok(())
}

pub(crate) async fn a_retry_comes_when_its_time_has_come(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    accept(&stores, "a", "c1").await?;
    let claim = claim_one(&stores, "ann", LONG).await?.claim();
    let retried = stores.queue.retry(&claim, trouble(), SHORT).await;
    retried.map_err(|error| Failure::new(format!("no retry: {error:?}")))?;
    let next = take_over(&stores, "bob").await?;
    ensure_eq!(next.attempts, 2, "attempts");
    let running = entry(&stores, "c1").await?;
    ensure_eq!((running.next_attempt_at, running.changes), (None, 4), "the next attempt and the changes");
    Ok(())
}

pub(crate) async fn what_is_handed_back_is_free_at_once(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    accept(&stores, "a", "c1").await?;
    let claim = claim_one(&stores, "ann", LONG).await?.claim();
    stores.queue.release(std::slice::from_ref(&claim)).await?;
    ensure_eq!(entry(&stores, "c1").await?.status(), QueueStatus::Accepted, "the status");
    let next = claim_one(&stores, "bob", LONG).await?;
    ensure_eq!(next.attempts, 1, "attempts that count");
    ensure!(next.number > claim.number, "the next claim is no later one");
    Ok(())
}

pub(crate) async fn an_end_is_final(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let rejected = Ending::Rejected { name: "NotOpen".to_owned(), data: "{\"x\": 1.0}".to_owned() };
    for (id, ending) in [("c1", succeeded()), ("c2", rejected), ("c3", Ending::Failed(trouble()))] {
        accept(&stores, id, id).await?;
        let claim = claim_one(&stores, "ann", SHORT).await?.claim();
        finish(&stores, &claim, ending.clone()).await?;
        stores.clock.advance(SHORT * 5);
        let ended = entry(&stores, id).await?;
        ensure_eq!(ended.state, QueueState::Ended(ending), "the end of `{id}`");
        ensure!(ended.ended_at >= ended.started_at, "`{id}` ended before it began");
        ensure_eq!((ended.changes, ended.holder.clone()), (3, None), "changes and holder of `{id}`");
        fenced(stores.queue.finish(&claim, succeeded()).await)?;
        ensure_eq!(claim_ids(&stores, "bob", LONG).await?, [""; 0], "what can be claimed after `{id}`");
        ensure_eq!(entry(&stores, id).await?, ended, "`{id}` after all that");
    }
    Ok(())
}

pub(crate) async fn ended_commands_are_swept_in_pages(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for id in ["c1", "c2", "c3"] {
        accept(&stores, id, id).await?;
        let claim = claim_one(&stores, "ann", LONG).await?.claim();
        finish(&stores, &claim, succeeded()).await?;
        stores.clock.advance(SHORT);
    }
    accept(&stores, "open", "open").await?;
    ensure_eq!(stores.queue.sweep(LONG, 10).await?, 0, "commands that are kept long enough");
    let mut swept = 0;
    for _ in 0..LOOKS_MAX {
        let page = stores.queue.sweep(Duration::ZERO, 2 - swept).await?;
        swept += page;
        if swept == 2 {
            break;
        }
        stores.clock.advance(SHORT);
    }
    ensure_eq!(swept, 2, "commands in a page");
    ensure_eq!(entry_in(&stores, MAIN, "c1").await?, None, "the oldest");
    ensure_eq!(entry(&stores, "c3").await?.status(), QueueStatus::Succeeded, "the latest");
    ensure_eq!(entry(&stores, "open").await?.status(), QueueStatus::Accepted, "the unfinished one");
    Ok(())
}

pub(crate) async fn a_queued_command_belongs_to_its_tenant(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    accept(&stores, "a", "c1").await?;
    let theirs = queued(&stores, &drive::stream::<AccountEvent>("other", "a")?, "c1", "{\"other\":1}")?;
    match stores.queue.enqueue(theirs, ROOM).await {
        Ok(Enqueued::New(_)) => {}
        other => return Err(Failure::new(format!("the same id of another tenant: {other:?}"))),
    }
    let claimed = claim(&stores, "ann", LONG).await?;
    ensure_eq!(claimed.len(), 2, "commands of two streams");
    finish(&stores, &claimed[0].claim(), succeeded()).await?;
    let statuses = [entry_in(&stores, MAIN, "c1").await?, entry_in(&stores, "other", "c1").await?];
    let statuses = statuses.map(|entry| entry.map(|entry| entry.status()));
    ensure_eq!(statuses, [Some(QueueStatus::Succeeded), Some(QueueStatus::Running)], "both commands");
    ensure_eq!(entry_in(&stores, "third", "c1").await?, None, "a third tenant's");
    ensure_eq!(stores.queue.list(&tenant("other")?, None, 10).await?.len(), 1, "the other's list");
    Ok(())
}

pub(crate) async fn a_failed_command_runs_again_behind_the_others(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    accept(&stores, "a", "c1").await?;
    accept(&stores, "a", "c2").await?;
    let failed = reference(MAIN, "c1")?;
    let claim = claim_one(&stores, "ann", LONG).await?.claim();
    let running = stores.queue.revive(&failed).await?;
    ensure_eq!(running, Revived::NotFailed(QueueStatus::Running), "reviving what runs");
    finish(&stores, &claim, Ending::Failed(trouble())).await?;
    ensure_eq!(stores.queue.revive(&failed).await?, Revived::Accepted, "reviving what failed");
    let revived = entry(&stores, "c1").await?;
    ensure_eq!((revived.attempts, revived.ended_at), (0, None), "attempts and end");
    fenced(stores.queue.finish(&claim, succeeded()).await)?;
    for id in ["c2", "c1"] {
        let claimed = claim_one(&stores, "ann", LONG).await?;
        ensure_eq!(claimed.command.id.as_str(), id, "the next of the stream");
        finish(&stores, &claimed.claim(), succeeded()).await?;
    }
    let done = stores.queue.revive(&failed).await?;
    ensure_eq!(done, Revived::NotFailed(QueueStatus::Succeeded), "reviving what succeeded");
    ensure_eq!(stores.queue.revive(&reference(MAIN, "c9")?).await?, Revived::Unknown, "reviving nothing");
    Ok(())
}

/// What waits for some streams, or is being done, is found by them: of one tenant, one category, and nothing
/// that has ended.
pub(crate) async fn what_is_unfinished_for_streams_is_told(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for (key, id) in [("a", "c1"), ("b", "c2"), ("c", "c3"), ("a", "c4"), ("it's \"d\"", "c5")] {
        accept(&stores, key, id).await?;
    }
    let theirs = queued(&stores, &drive::stream::<AccountEvent>("other", "a")?, "c6", "{}")?;
    ensure!(stores.queue.enqueue(theirs, ROOM).await.is_ok(), "the other tenant's is accepted");
    let ids = async |category: &str, keys: &[&str], most: usize| {
        let keys = keys.iter().map(StreamKey::new).collect::<Result<Vec<_>, _>>()?;
        let found = stores.queue.unfinished(&tenant(MAIN)?, &Category::new(category)?, &keys, most).await?;
        Ok::<_, Failure>(found.iter().map(|entry| entry.command.id.as_str().to_owned()).collect::<Vec<_>>())
    };
    let category = account("a")?.stream.category.as_str().to_owned();
    ensure_eq!(ids(&category, &["a", "b"], 10).await?, ["c1", "c2", "c4"], "what waits for two streams");
    ensure_eq!(ids(&category, &["a", "b"], 2).await?, ["c1", "c2"], "the first two of it");
    ensure_eq!(ids(&category, &["it's \"d\"", "x"], 10).await?, ["c5"], "for a key with quotes");
    ensure_eq!(ids("another", &["a", "b"], 10).await?, [""; 0], "of another category");
    ensure_eq!(ids(&category, &[], 10).await?, [""; 0], "for no stream");
    let claimed = claim(&stores, "ann", LONG).await?;
    let first = claimed.iter().find(|claimed| claimed.command.id.as_str() == "c1");
    let first = first.ok_or_else(|| Failure::new("the first of a stream is not claimed"))?;
    ensure_eq!(ids(&category, &["a"], 10).await?, ["c1", "c4"], "what is being done is unfinished");
    finish(&stores, &first.claim(), succeeded()).await?;
    ensure_eq!(ids(&category, &["a"], 10).await?, ["c4"], "what has ended is not");
    Ok(())
}

pub(crate) async fn lists_and_counts_tell_what_there_is(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    ensure_eq!(stores.queue.counts().await?, diptych_command::QueueCounts::default(), "an empty queue");
    for id in ["c1", "c2", "c3"] {
        accept(&stores, id, id).await?;
    }
    let claimed = stores.queue.claim(&holder("ann"), LONG, 2).await?;
    let first = claimed.iter().find(|claimed| claimed.command.id.as_str() == "c1");
    let first = first.ok_or_else(|| Failure::new("c1 was not claimed"))?;
    finish(&stores, &first.claim(), Ending::Failed(trouble())).await?;
    let list = async |status, rows_max| -> Outcome<Vec<String>> {
        let listed = stores.queue.list(&tenant(MAIN)?, status, rows_max).await?;
        Ok(listed.into_iter().map(|entry| entry.command.id.as_str().to_owned()).collect())
    };
    ensure_eq!(list(None, 2).await?, ["c3", "c2"], "the latest two");
    for (status, id) in
        [(QueueStatus::Failed, "c1"), (QueueStatus::Running, "c2"), (QueueStatus::Accepted, "c3")]
    {
        ensure_eq!(list(Some(status), 10).await?, [id], "what is {status}");
    }
    let counts = stores.queue.counts().await?;
    ensure_eq!((counts.accepted, counts.running), (1, 1), "counts");
    ensure!(counts.oldest_seconds >= 0.0 && counts.oldest_seconds < 3_600.0, "an age of {counts:?}");
    Ok(())
}

pub(crate) async fn a_change_wakes_those_who_wait(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let command = reference(MAIN, "c1")?;
    let (mut any, mut one) = (stores.queue.changes(), stores.queue.changes());
    accept(&stores, "b", "c0").await?;
    accept(&stores, "a", "c1").await?;
    let woken = async {
        any.any().await;
        one.of(&command).await;
    };
    let woken = tokio::time::timeout(Duration::from_secs(60), woken).await;
    woken.map_err(|_| Failure::new("nobody was woken"))
}

pub(crate) async fn keys_of_unfinished_commands_stay_claimed(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    drive::on(&stores, "before", &[opened("ann")]).await?;
    let command = queued(&stores, &account("a")?, "c1", "{}")?;
    let stream = command.stream.clone();
    let enqueued = stores.queue.enqueue(command, ROOM).await;
    ensure!(matches!(enqueued, Ok(Enqueued::New(_))), "not accepted: {enqueued:?}");
    let claim = claim_one(&stores, "ann", LONG).await?.claim();
    let done: Commit = append(&stores, &stream, "c1", 0, &[opened("bob")])?;
    ensure!(matches!(done.effect, Effect::Append { .. }), "the commit appends");
    stores.events.commit(done).await?;
    drive::on(&stores, "after", &[opened("cid")]).await?;
    let later = stores.clock.now().plus(LONG);
    ensure_eq!(stores.events.expire_keys(later, 10).await?, 1, "keys freed while the command is unfinished");
    ensure_eq!(stores.events.expire_keys(later, 10).await?, 0, "keys freed again");
    let (main, id) = (tenant(MAIN)?, command_id("c1")?);
    ensure!(stores.events.recorded(&main, &id).await?.is_some(), "the ledger has forgotten the command");
    finish(&stores, &claim, succeeded()).await?;
    ensure_eq!(stores.events.expire_keys(later, 10).await?, 2, "keys freed after its end");
    Ok(())
}
