//! How the suites open, stop and crash the PostgreSQL store: each test in a database of its own.
//!
//! Every opened store runs on a runtime of its own, in place of a process. A crash drops that runtime: the
//! writer ends where it stands, and its connections with it, without a goodbye. What PostgreSQL had not
//! committed by then it rolls back.
//!
//! The databases stay behind: the server is a private one, thrown away after the tests.

use diptych_conformance::{Harness, ManualClock, Stores};
use diptych_core::{BoxFuture, Clock, CommandId, Fault, Tenant, Timestamp};
use diptych_postgres::{Notify, PostgresOptions, PostgresStore};
use diptych_query::Group;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

/// Small, so that a group is soon too far behind.
const INLINE_CATCH_UP_EVENTS_MAX: u64 = 60;

/// How the stores of a harness reach their database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(dead_code, reason = "each test file uses its own")]
pub(crate) enum Way {
    /// Nothing stands between.
    Direct,
    /// Through a pooler of connections, and directly for wake-ups and migrations.
    PoolerAndDirect,
    /// Through a pooler only.
    PoolerOnly,
}

/// A database in which a store lives, dies and lives again.
pub(crate) struct PostgresHarness {
    way: Way,
    database: String,
    made: AtomicBool,
    clock: Arc<ManualClock>,
    /// Those of this life: more than one, where a test opens the database twice.
    lives: Mutex<Vec<Life>>,
}

/// An opened store, with the runtime that stands for its process.
struct Life {
    store: Arc<PostgresStore>,
    process: Option<Runtime>,
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.shutdown_background();
        }
    }
}

/// The URL of a superuser on a server where tests may make databases.
#[allow(clippy::panic, reason = "a test without its server has failed")]
pub(crate) fn server_url() -> String {
    match std::env::var("DIPTYCH_POSTGRES_URL") {
        Ok(url) => url,
        Err(_) => panic!(
            "DIPTYCH_POSTGRES_URL names no server: run `cargo xtask test`, which starts one, or \
             `cargo xtask postgres -- cargo test -p diptych-postgres`"
        ),
    }
}

/// The URL of a database on that server.
pub(crate) fn url_of(database: &str) -> String {
    let server = server_url();
    let (host, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{host}/{database}")
}

/// The URL of a database through a pooler in transaction mode before that server.
#[allow(clippy::panic, reason = "a test without its pooler has failed")]
pub(crate) fn pooled_url_of(database: &str) -> String {
    let Ok(pooler) = std::env::var("DIPTYCH_PGBOUNCER_URL") else {
        panic!(
            "DIPTYCH_PGBOUNCER_URL names no pooler: run `cargo xtask test`, which starts one, or \
             `cargo xtask postgres -- cargo test -p diptych-postgres`"
        )
    };
    let (host, _) = pooler.rsplit_once('/').expect("a URL with a database");
    format!("{host}/{database}")
}

/// A connection of the test's own.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// The name of a database that no other test has.
pub(crate) fn name() -> String {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    format!("test_{}_{number}", std::process::id())
}

/// Makes a database.
pub(crate) async fn make(database: &str) {
    let statement = format!("CREATE DATABASE {database}");
    connect(&server_url()).await.batch_execute(&statement).await.expect("a new database");
}

impl PostgresHarness {
    /// A database that is made when it is first opened.
    #[allow(dead_code, reason = "each test file uses its own way")]
    pub(crate) fn new() -> Self {
        Self::by(Way::Direct)
    }

    /// The same by another way.
    pub(crate) fn by(way: Way) -> Self {
        let start = Timestamp::from_micros(1_800_000_000_000_000).expect("a time of this century");
        Self {
            way,
            database: name(),
            made: AtomicBool::new(false),
            clock: Arc::new(ManualClock::at(start)),
            lives: Mutex::default(),
        }
    }

    fn lives(&self) -> MutexGuard<'_, Vec<Life>> {
        self.lives.lock().expect("no test panics under the lock")
    }

    fn options(&self, inline: Vec<Arc<Group>>) -> PostgresOptions {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let direct = url_of(&self.database);
        let (url, notify) = match self.way {
            Way::Direct => (direct, Notify::Direct),
            Way::PoolerAndDirect => (pooled_url_of(&self.database), Notify::At(direct)),
            Way::PoolerOnly => (pooled_url_of(&self.database), Notify::Poll),
        };
        let mut options = PostgresOptions::at(url, clock);
        options.notify = notify;
        options.inline = inline;
        options.limits.inline_catch_up_events_max = INLINE_CATCH_UP_EVENTS_MAX;
        options
    }
}

impl Harness for PostgresHarness {
    fn open(&self, inline: Vec<Arc<Group>>) -> BoxFuture<'_, Result<Stores, Fault>> {
        Box::pin(async move {
            if !self.made.swap(true, Ordering::SeqCst) {
                make(&self.database).await;
            }
            let options = self.options(inline);
            let progress = Arc::clone(&options.progress);
            let process =
                Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
            let opening = process.spawn(PostgresStore::open(options));
            let store = match opening.await.expect("opening does not panic") {
                Ok(store) => store,
                Err(fault) => {
                    process.shutdown_background();
                    return Err(fault);
                }
            };
            self.lives().push(Life { store: Arc::clone(&store), process: Some(process) });
            Ok(Stores {
                events: Arc::clone(&store) as _,
                intake: Arc::clone(&store) as _,
                feed: Arc::clone(&store) as _,
                restore: Arc::clone(&store) as _,
                registry: Arc::clone(&store) as _,
                queue: Arc::clone(&store) as _,
                models: store,
                progress,
                clock: Arc::clone(&self.clock),
            })
        })
    }

    fn stop(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            drop(stores);
            let lives = std::mem::take(&mut *self.lives());
            for life in lives {
                life.store.close().await;
            }
            Ok(())
        })
    }

    fn crash(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            drop(stores);
            self.lives().clear();
            Ok(())
        })
    }

    fn inline_catch_up_events_max(&self) -> u64 {
        INLINE_CATCH_UP_EVENTS_MAX
    }

    fn audit_rows<'a>(
        &'a self,
        _: &'a Stores,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Option<usize>> {
        const COUNT: &str = "SELECT count(*) FROM diptych.audit WHERE tenant = $1 AND command_id = $2";
        Box::pin(async move {
            let client = connect(&url_of(&self.database)).await;
            let row = client.query_one(COUNT, &[&tenant.as_str(), &id.as_str()]).await.expect("a count");
            let rows: i64 = row.get(0);
            usize::try_from(rows).ok()
        })
    }
}
