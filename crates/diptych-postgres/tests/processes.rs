//! What several processes and a failing network may do to the log: nothing is skipped, nothing is lost, and
//! what is not known is said to be so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::proxy::{Break, Proxy};
use common::*;
use diptych_command::{Commit, CommitError, EventStore};
use diptych_conformance::fixtures::Total;
use diptych_core::{Code, Fault, Position, Timestamp, Value, Version};
use diptych_postgres::{Notify, PostgresStore};
use diptych_query::{Feed, Fold, Group, ModelStore, ReadModel, RowRef, erase};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// A log that appends in two processes at once, while one of them is held between allocation and commit.
trait Log {
    /// Appends by the first process; it is held until its key is let go.
    fn held(&self) -> tokio::task::JoinHandle<()>;
    /// Appends by the second process.
    fn free(&self) -> tokio::task::JoinHandle<()>;
    /// What a reader finds after a position.
    fn read(&self, after: u64) -> impl Future<Output = Vec<u64>>;
}

/// What a reader that follows the log has seen, after both appends are committed.
async fn seen_by_a_reader(log: &impl Log, watching: &Client, holding: &Client) -> Vec<u64> {
    let mut seen = log.read(0).await;
    let held = log.held();
    until_waiting(watching, 1).await;
    let free = log.free();
    // Either it goes past the one that is held, or it waits behind it.
    while !free.is_finished() && waiting(watching).await < 2 {
        tokio::task::yield_now().await;
    }
    seen.extend(log.read(seen.last().copied().unwrap_or(0)).await);
    holding.batch_execute("ROLLBACK").await.unwrap();
    held.await.unwrap();
    free.await.unwrap();
    seen.extend(log.read(seen.last().copied().unwrap_or(0)).await);
    seen
}

/// The store, opened twice, with a projection that counts what it is given.
struct Ours {
    stores: [Arc<PostgresStore>; 2],
    total: Group,
}

impl Ours {
    fn append(&self, process: usize, command: Commit) -> tokio::task::JoinHandle<()> {
        let store = Arc::clone(&self.stores[process]);
        tokio::spawn(async move { drop(store.commit(command).await.unwrap()) })
    }

    /// Folds everything that can be read.
    async fn project(&self) {
        let store = &self.stores[1];
        let checkpoint = store.checkpoint(&self.total).await.unwrap();
        let after = checkpoint.mark.position();
        let block = store.read(after, self.total.categories(), usize::MAX).await.unwrap();
        let mut fold = Fold::new(&self.total, &checkpoint);
        fold.plan(&block).unwrap();
        store.advance(&self.total, fold).await.unwrap();
    }
}

impl Log for Ours {
    fn held(&self) -> tokio::task::JoinHandle<()> {
        self.append(0, open_account("held", "a", 1))
    }

    fn free(&self) -> tokio::task::JoinHandle<()> {
        self.append(1, open_account("free", "b", 0))
    }

    async fn read(&self, after: u64) -> Vec<u64> {
        self.project().await;
        positions(&self.stores[1], Position(after)).await
    }
}

/// What many do: a sequence gives the positions, and nothing else orders the commits.
struct Naive {
    url: String,
    reader: Client,
}

impl Naive {
    const SCHEMA: &str = "CREATE SCHEMA naive; \
        CREATE TABLE naive.event (position bigserial PRIMARY KEY, payload text NOT NULL); \
        CREATE TABLE naive.ledger (id text PRIMARY KEY); \
        INSERT INTO naive.event (payload) VALUES ('1')";

    fn append(&self, id: &'static str) -> tokio::task::JoinHandle<()> {
        let url = self.url.clone();
        tokio::spawn(async move {
            let statements = format!(
                "BEGIN; INSERT INTO naive.event (payload) VALUES ('1'); \
                 INSERT INTO naive.ledger VALUES ('{id}'); COMMIT"
            );
            connect(&url).await.batch_execute(&statements).await.unwrap();
        })
    }
}

impl Log for Naive {
    fn held(&self) -> tokio::task::JoinHandle<()> {
        self.append("held")
    }

    fn free(&self) -> tokio::task::JoinHandle<()> {
        self.append("free")
    }

    async fn read(&self, after: u64) -> Vec<u64> {
        const READ: &str = "SELECT position FROM naive.event WHERE position > $1 ORDER BY position";
        let rows = self.reader.query(READ, &[&after.cast_signed()]).await.unwrap();
        rows.iter().map(|row| row.get::<_, i64>(0).cast_unsigned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_held_before_its_commit_hides_nothing_from_a_reader() {
    let place = Place::new().await;
    let stores = [place.open().await, place.open().await];
    stores[0].commit(open_account("first", "a", 0)).await.unwrap();
    let (watching, holding) = (place.connect().await, place.connect().await);
    hold_key(&holding, "held").await;
    let total = Group::of_one(erase::<Total>());
    stores[1].attach(&total).await.unwrap();
    let ours = Ours { stores, total };
    assert_eq!(seen_by_a_reader(&ours, &watching, &holding).await, [1, 2, 3]);
    // The one that came first is first: what waited behind the lock was decided after it.
    let store = &ours.stores[0];
    let held = store.recorded(&tenant("main"), &id("held")).await.unwrap().unwrap();
    let free = store.recorded(&tenant("main"), &id("free")).await.unwrap().unwrap();
    assert_eq!((held.token.position, free.token.position), (Position(2), Position(3)));
    // The projection was moved along while one of them was held, and has taken each fact once.
    ours.project().await;
    let row = RowRef { tenant: tenant("main"), key: vec![Value::Text("all".to_owned())] };
    let found = ours.stores[1].get(&ours.total, Total::SCHEMA, &row).await.unwrap();
    assert_eq!(found.checkpoint.mark, store.head().await.unwrap());
    assert_eq!(found.rows[0][1..], [Value::Integer(3), Value::Integer(1 + 2 + 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_plain_sequence_is_seen_to_skip_it() {
    let place = Place::new().await;
    let (watching, holding) = (place.connect().await, place.connect().await);
    watching.batch_execute(Naive::SCHEMA).await.unwrap();
    holding.batch_execute("BEGIN; INSERT INTO naive.ledger VALUES ('held')").await.unwrap();
    let naive = Naive { url: place.url.clone(), reader: place.connect().await };
    let seen = seen_by_a_reader(&naive, &watching, &holding).await;
    assert_eq!(seen, [1, 3], "the reader of a plain sequence skips the event that commits late");
    assert_eq!(naive.read(0).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_indeterminate_and_the_ledger_knows_it() {
    check_lost(Break::AfterCommit, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrived_is_indeterminate_and_leaves_the_key_free() {
    check_lost(Break::BeforeCommit, false).await;
}

#[track_caller]
fn assert_indeterminate<T: std::fmt::Debug>(answer: &Result<T, CommitError>) {
    assert!(matches!(answer, Err(CommitError::Indeterminate)), "{answer:?}");
}

async fn check_lost(how: Break, committed: bool) {
    let place = Place::new().await;
    let (proxy, through) = Proxy::before(&place.url, how).await;
    let mut options = place.options();
    options.url = through;
    let store = PostgresStore::open(options).await.unwrap();
    deposit(&store, "first", "a", 0).await.unwrap();
    proxy.arm();
    let lost = tokio::join!(deposit(&store, "lost", "a", 1), deposit(&store, "beside", "b", 0));
    assert_eq!(proxy.broken(), 1);
    // Both, if they went together; else the second went over a new connection.
    let (lost, beside) = lost;
    assert_indeterminate(&lost);
    assert!(matches!(beside, Ok(_) | Err(CommitError::Indeterminate)), "{beside:?}");
    let head = place.open().await.head().await.unwrap().position();
    let known = store.recorded(&tenant("main"), &id("lost")).await.unwrap();
    assert_eq!(known.is_some(), committed);
    let again = deposit(&store, "lost", "a", 1).await.unwrap();
    assert_eq!(again.replayed, committed);
    assert_eq!(again.record.version, Version(2));
    assert!(deposit(&store, "lost", "a", 1).await.unwrap().replayed);
    deposit(&store, "beside", "b", 0).await.unwrap();
    let seen = positions(&store, Position::START).await;
    assert_eq!(seen, [1, 2, 3], "the head was {head} when the connection broke");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ended_in_mid_append_is_replaced_and_the_command_done_once() {
    const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let place = Place::new().await;
    let store = place.open().await;
    deposit(&store, "first", "a", 0).await.unwrap();
    let (watching, holding) = (place.connect().await, place.connect().await);
    hold_key(&holding, "held").await;
    let appending = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { deposit(&store, "held", "a", 1).await })
    };
    until_waiting(&watching, 1).await;
    assert_eq!(watching.query(END, &[]).await.unwrap().len(), 1);
    holding.batch_execute("ROLLBACK").await.unwrap();
    let done = appending.await.unwrap().unwrap();
    assert!(!done.replayed);
    assert_eq!(positions(&store, Position::START).await, [1, 2]);
}

/// What a process was doing when it froze, with the head in its hands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Appending,
    Sweeping,
    Opening,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_freezes_does_not_keep_the_head() {
    for doing in [Doing::Appending, Doing::Sweeping, Doing::Opening] {
        check_frozen(doing).await;
    }
}

async fn check_frozen(doing: Doing) {
    let place = Place::new().await;
    let other = place.open().await;
    deposit(&other, "first", "a", 0).await.unwrap();
    let (proxy, through) = Proxy::before(&place.url, Break::Freeze).await;
    let mut options = place.options();
    options.url = through;
    options.limits.idle_transaction_timeout = Duration::from_millis(300);
    let freezing = if doing == Doing::Opening {
        proxy.arm();
        tokio::spawn(async move { (PostgresStore::open(options).await.map(drop), None) })
    } else {
        let frozen = PostgresStore::open(options).await.unwrap();
        proxy.arm();
        tokio::spawn(async move {
            let done = match doing {
                Doing::Appending => {
                    assert_indeterminate(&deposit(&frozen, "held", "a", 1).await);
                    Err(Fault::transient(Code::Indeterminate, "the ledger knows"))
                }
                _ => frozen.expire_keys(Timestamp::EPOCH, 10).await.map(drop),
            };
            (done, Some(frozen))
        })
    };
    while proxy.broken() == 0 {
        tokio::task::yield_now().await;
    }
    // It waits for the head until PostgreSQL takes it from the frozen one.
    let done = deposit(&other, "other", "b", 0).await.unwrap_or_else(|error| panic!("{doing:?}: {error:?}"));
    assert_eq!(done.record.token.position, Position(2));
    proxy.thaw();
    let (thawed, frozen) = freezing.await.unwrap();
    assert!(thawed.as_ref().is_err_and(Fault::is_transient), "{doing:?}: {thawed:?}");
    assert_eq!(other.recorded(&tenant("main"), &id("held")).await.unwrap(), None);
    // It goes on as if nothing had been.
    assert!(!deposit(frozen.as_ref().unwrap_or(&other), "held", "a", 1).await.unwrap().replayed);
    assert_eq!(positions(&other, Position::START).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_connection_is_not_noticed_by_callers() {
    const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let place = Place::new().await;
    let store = place.open().await;
    for number in 0..3 {
        deposit(&store, &format!("c{number}"), "a", number).await.unwrap();
        assert_eq!(positions(&store, Position::START).await.len() as u64, number + 1);
        let watching = place.connect().await;
        watching.query(END, &[]).await.unwrap();
        while store.head().await.is_err() {
            tokio::task::yield_now().await;
        }
    }
    deposit(&store, "last", "a", 3).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_processes_are_followed_without_any_notification() {
    let place = Place::new().await;
    let mut options = place.options();
    options.notify = Notify::Poll;
    let (one, two) = (PostgresStore::open(options).await.unwrap(), place.open().await);
    let mut watch = one.watch();
    for number in 0..3 {
        deposit(&two, &format!("c{number}"), "a", number).await.unwrap();
        let reached = watch.wait_for(|head| *head == Position(number + 1));
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap().unwrap();
    }
    // What has no direct way to PostgreSQL prepares nothing, and appends all the same.
    let own = deposit(&one, "c3", "a", 3).await.unwrap();
    assert_eq!(own.record.token.position, Position(4));
    assert!(deposit(&one, "c0", "a", 0).await.unwrap().replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_another_process_has_moved_is_decided_as_it_stands() {
    let place = Place::new().await;
    let (one, two) = (place.open().await, place.open().await);
    for number in 0..3 {
        deposit(&one, &format!("one{number}"), "a", 2 * number).await.unwrap();
        deposit(&two, &format!("two{number}"), "a", 2 * number + 1).await.unwrap();
        // The first process left the stream at this version, and the second has moved it since.
        let stale = deposit(&one, &format!("stale{number}"), "a", 2 * number + 1).await;
        assert!(matches!(stale, Err(CommitError::Conflict(_))), "{stale:?}");
    }
    assert_eq!(positions(&one, Position::START).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_together_make_one_log() {
    let place = Place::new().await;
    let openings: Vec<_> = (0..4)
        .map(|_| {
            let options = place.options();
            tokio::spawn(async move { PostgresStore::open(options).await.unwrap() })
        })
        .collect();
    let mut stores = Vec::new();
    for opening in openings {
        stores.push(opening.await.unwrap());
    }
    for (store, base) in stores.iter().zip(0..) {
        deposit(store, &format!("c{base}"), "a", base).await.unwrap();
    }
    let head = stores[3].head().await.unwrap();
    assert_eq!(head.position(), Position(4));
    for store in &stores {
        assert_eq!(store.head().await.unwrap(), head);
    }
}
