//! Two real servers over one PostgreSQL, under load, and what may happen to either and to the database: ended
//! backends, killed and frozen processes, a database that dies. After each nothing acknowledged is lost,
//! nothing is half there or twice, and every read model is what the log says.
//!
//! `DIPTYCH_CRASH_SEED` says which choices are made.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../../../crates/diptych-postgres/tests/common/own_server.rs"]
mod own_server;
mod support;

use fastrand::Rng;
use own_server::OwnServer;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use support::history::History;
use support::load::Load;
use support::server::{HANG, Server, run, run_json, said};
use tokio_postgres::{Client, NoTls};

/// Final answers of a server that show that it works.
const WORKS: usize = 40;

/// How often the database dies, or a process.
const ROUNDS: usize = 2;

/// A backend of one of our processes that waits for a lock on a table, in a statement that changes it.
const HELD_UP: &str = "SELECT pid, right(application_name, 1)::int FROM pg_stat_activity \
    WHERE starts_with(application_name, $1) AND wait_event_type = 'Lock' AND wait_event = 'relation' \
        AND query ~ ('(INSERT INTO|UPDATE|DELETE FROM) .*' || $2) ORDER BY pid LIMIT 1";
/// Backends of ours that wait for one, directly or not.
const BEHIND: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE starts_with(application_name, $1) AND $2 = ANY (pg_blocking_pids(pid))";
const STATE: &str = "SELECT state FROM pg_stat_activity WHERE pid = $1";
const ACTIVITY: &str = "SELECT concat_ws(' | ', pid, application_name, state, wait_event_type, wait_event, \
        pg_blocking_pids(pid), now() - state_change, left(query, 60)) \
    FROM pg_stat_activity WHERE starts_with(application_name, $1) OR application_name = '' ORDER BY pid";
const TERMINATE: &str = "SELECT pg_terminate_backend($1)";
const TABLE_OF: &str = "SELECT relname::text FROM pg_class \
    WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' \
        AND relname ~ ('^' || $2 || '_r\\d+_g\\d+$')";

/// Two servers over a schema of their own, and everything that was asked of them.
struct Scene {
    schema: String,
    /// The URL of the database.
    database: String,
    watching: Client,
    history: History,
    rng: Rng,
}

/// A backend that is held up by a lock of the test's.
struct HeldUp {
    backend: i32,
    /// Which of the two servers it works for.
    server: usize,
    holding: Client,
}

impl Scene {
    async fn on(database: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let seed = std::env::var("DIPTYCH_CRASH_SEED").map(|seed| seed.parse().expect("a number"));
        let seed = seed.unwrap_or_else(|_| fastrand::u64(..));
        eprintln!("the same again: DIPTYCH_CRASH_SEED={seed}");
        let schema = format!("crash_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let watching = connect(database).await;
        let (history, rng) = (History::default(), Rng::with_seed(seed));
        Self { schema, database: database.to_owned(), watching, history, rng }
    }

    /// A scene on the server that all tests share.
    async fn on_the_shared_server() -> Self {
        let url = std::env::var("DIPTYCH_POSTGRES_URL")
            .unwrap_or_else(|_| panic!("there is no PostgreSQL to test on: run `cargo xtask test`"));
        Self::on(&url).await
    }

    /// The store as a process names it, so that its backends can be told from the other's.
    fn store(&self, process: usize) -> PathBuf {
        let Self { database, schema, .. } = self;
        PathBuf::from(format!("{database}?schema={schema}&application_name={schema}_{process}"))
    }

    async fn start(&self) -> [Server; 2] {
        [Server::start(&self.store(0)).await, Server::start(&self.store(1)).await]
    }

    /// Asks again for what had no answer, and puts both servers under a load that both are seen to carry.
    async fn load(&mut self, servers: &[Server; 2]) -> Load {
        self.history.ask_again(&servers[self.rng.usize(..2)], &mut self.rng).await;
        let load = self.history.load(&[&servers[0], &servers[1]], &mut self.rng);
        for server in 0..2 {
            load.acknowledged(server, WORKS).await;
        }
        load
    }

    /// Waits until a backend of ours is held up in changing a table that the test has locked.
    async fn hold_up(&self, table: &str) -> HeldUp {
        let holding = connect(&self.database).await;
        let lock = format!("BEGIN; LOCK TABLE {}.{table} IN SHARE MODE", self.schema);
        holding.batch_execute(&lock).await.unwrap();
        let row = self.bounded("nobody is held up", async || {
            self.watching.query_opt(HELD_UP, &[&self.schema, &table]).await.unwrap()
        });
        let row = row.await;
        let server = usize::try_from(row.get::<_, i32>(1)).unwrap();
        HeldUp { backend: row.get(0), server, holding }
    }

    /// The table that holds the rows of a read model.
    async fn table_of(&self, model: &str) -> String {
        self.watching.query_one(TABLE_OF, &[&self.schema, &model]).await.unwrap().get(0)
    }

    async fn end_backend(&self, backend: i32) {
        assert!(self.watching.query_one(TERMINATE, &[&backend]).await.unwrap().get::<_, bool>(0));
        self.bounded("the backend does not end", async || {
            self.watching.query_opt(STATE, &[&backend]).await.unwrap().is_none().then_some(())
        })
        .await;
    }

    /// Looks until there is something. When that takes too long, tells what the database was doing.
    async fn bounded<T>(&self, hangs: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let found = async {
            loop {
                match look().await {
                    Some(found) => return found,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        if let Ok(found) = tokio::time::timeout(HANG, found).await {
            return found;
        }
        let rows = connect(&self.database).await.query(ACTIVITY, &[&self.schema]).await.unwrap();
        let activity: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        panic!("{hangs}:\n{}", activity.join("\n"))
    }

    /// Ends the load and the servers that still run, which must end well, and looks at what is left.
    async fn check(&mut self, load: Load, servers: impl IntoIterator<Item = Server>) {
        self.history.end(load).await;
        for server in servers {
            server.terminate().await;
            let (status, said) = server.ended().await;
            assert!(status.success(), "{said:#?}");
        }
        let (store, drain) = (self.store(2), self.rng.bool());
        self.history.check(&store, drain, &mut self.rng).await;
    }

    /// Asks again for everything without an answer, and looks at everything there is.
    async fn end(mut self) {
        let store = self.store(3);
        let server = Server::start(&store).await;
        self.history.ask_again(&server, &mut self.rng).await;
        server.terminate().await;
        assert!(server.ended().await.0.success());
        self.history.check_all(&store).await;
        let verified = run(&store, &["models", "verify"]).await;
        assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
        let status = run_json(&store, &["status"]).await;
        assert_eq!(status["events"], self.history.events);
        eprintln!("{}", self.history.told());
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_ended_in_mid_append_costs_nobody_anything() {
    let mut scene = Scene::on_the_shared_server().await;
    let servers = scene.start().await;
    let load = scene.load(&servers).await;
    for _ in 0..ROUNDS {
        // Its events are inserted, its commands are not, and it has the head.
        let held = scene.hold_up("command").await;
        scene.end_backend(held.backend).await;
        held.holding.batch_execute("ROLLBACK").await.unwrap();
        for server in 0..2 {
            load.acknowledged(server, WORKS).await;
        }
    }
    // The writer has tried again by itself: nobody was told.
    assert_eq!((load.turned_away_by(0), load.turned_away_by(1)), (0, 0));
    scene.check(load, servers).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_ended_in_mid_batch_leaves_the_model_whole() {
    let mut scene = Scene::on_the_shared_server().await;
    let servers = scene.start().await;
    let load = scene.load(&servers).await;
    let table = scene.table_of("order_summary").await;
    for _ in 0..ROUNDS {
        // It has the checkpoint, has loaded its rows and folded, and is about to write them.
        let held = scene.hold_up(&table).await;
        scene.end_backend(held.backend).await;
        held.holding.batch_execute("ROLLBACK").await.unwrap();
        for server in 0..2 {
            load.acknowledged(server, WORKS).await;
        }
    }
    scene.check(load, servers).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_killed_at_any_moment_and_in_mid_append_leave_the_other_working() {
    let mut scene = Scene::on_the_shared_server().await;
    for round in 0..ROUNDS {
        let servers = scene.start().await;
        let load = scene.load(&servers).await;
        // At any moment, or while it holds the head.
        let (dies, held) = if round % 2 == 0 {
            let held = scene.hold_up("command").await;
            (held.server, Some(held))
        } else {
            (scene.rng.usize(..2), None)
        };
        let [one, other] = servers;
        let (dying, living) = if dies == 0 { (one, other) } else { (other, one) };
        dying.kill().await;
        if let Some(held) = held {
            held.holding.batch_execute("ROLLBACK").await.unwrap();
        }
        load.acknowledged(1 - dies, WORKS).await;
        if round % 2 == 1 {
            // The other one, too: nobody is left to put anything in order.
            living.kill().await;
            scene.check(load, []).await;
        } else {
            scene.check(load, [living]).await;
        }
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_dies_and_comes_back_is_waited_for() {
    let mut database = tokio::task::spawn_blocking(OwnServer::plain).await.unwrap();
    let mut scene = Scene::on(&database.url).await;
    let servers = scene.start().await;
    let load = scene.load(&servers).await;
    for _ in 0..ROUNDS {
        tokio::task::block_in_place(|| database.stop_at_once());
        // Both know it, and say so.
        for server in 0..2 {
            load.turned_away(server, 1).await;
        }
        tokio::task::block_in_place(|| database.start());
        // Nobody has to start them again.
        for server in 0..2 {
            load.acknowledged(server, WORKS).await;
        }
    }
    scene.watching = connect(&database.url).await;
    scene.check(load, servers).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_process_loses_the_head_and_writes_nothing_twice() {
    let mut scene = Scene::on_the_shared_server().await;
    let servers = scene.start().await;
    let load = scene.load(&servers).await;
    // In the rows of the inline model: an append that has none to write sends its commit along, and would
    // go on without its process.
    let table = scene.table_of("fulfilment_queue").await;
    let HeldUp { backend, server: frozen, holding } = scene.hold_up(&table).await;
    let other = 1 - frozen;
    servers[frozen].freeze().await;
    let turned_away = load.turned_away_by(other);
    holding.batch_execute("ROLLBACK").await.unwrap();
    // All that it had sent is done; now its transaction waits for a commit that does not come, and the other
    // one waits for the head.
    scene
        .bounded("the other process does not wait for the head", async || {
            let behind = scene.watching.query_one(BEHIND, &[&scene.schema, &backend]).await.unwrap();
            let state = scene.watching.query_opt(STATE, &[&backend]).await.unwrap();
            let state: String = state.expect("it was not held long enough to be seen").get(0);
            (state == "idle in transaction" && behind.get::<_, i64>(0) > 0).then_some(())
        })
        .await;
    // Until PostgreSQL has had enough of it, by the limit that every append sets.
    load.acknowledged(other, WORKS).await;
    assert!(scene.watching.query_opt(STATE, &[&backend]).await.unwrap().is_none(), "the head was let go");
    assert_eq!(load.turned_away_by(other), turned_away, "nobody at the other process was told");
    servers[frozen].thaw();
    for server in 0..2 {
        load.acknowledged(server, WORKS).await;
    }
    scene.check(load, servers).await;
    scene.end().await;
}

/// The limit that a stopped process is waited for stays below that of those who wait for the head.
#[test]
fn a_frozen_process_is_ended_before_those_behind_it_give_up() {
    let limits = diptych::postgres::PostgresLimits::default();
    assert!(limits.idle_transaction_timeout + Duration::from_secs(1) < limits.lock_timeout);
}
