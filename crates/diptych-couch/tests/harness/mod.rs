//! How the suites open, stop and crash a store whose read models live as documents: log and registry in
//! memory, where what is committed outlives both, and rows in a real server, where each test has databases of
//! its own.

mod proxy;
mod server;

#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use {
    proxy::{AtRequest, Proxy},
    server::{Kept, Server},
};

use diptych_conformance::{Harness, Stores};
use diptych_core::{BoxFuture, Clock, CommandId, Fault, Tenant, Timestamp};
use diptych_couch::{Address, CouchLimits, CouchOptions, CouchStore, Documents};
use diptych_memory::{INLINE_CATCH_UP_EVENTS_MAX, ManualClock, MemoryStore};
use diptych_query::{Group, Mode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A place in memory, with databases of its own.
pub(crate) struct CouchHarness {
    clock: Arc<ManualClock>,
    /// The name of the log.
    log: String,
    store: Mutex<Option<Arc<MemoryStore>>>,
    address: Address,
    /// How many rows an export holds in memory.
    export_rows_held_max: usize,
}

impl CouchHarness {
    /// A place where nothing is yet.
    #[allow(dead_code, reason = "each test program uses a part of it")]
    pub(crate) fn new() -> Self {
        static HARNESSES: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("h{}_", HARNESSES.fetch_add(1, Ordering::Relaxed));
        Self::at(&Server::shared().address(&prefix), &prefix)
    }

    /// A place whose documents are at an address; every process that names the log alike has the same one.
    pub(crate) fn at(address: &str, log: &str) -> Self {
        let start = Timestamp::from_micros(1_800_000_000_000_000).expect("a time of this century");
        let address = Address::parse(address).expect("an address");
        let clock = Arc::new(ManualClock::at(start));
        let export_rows_held_max = CouchLimits::default().export_rows_held_max;
        Self { clock, log: log.to_owned(), store: Mutex::default(), address, export_rows_held_max }
    }

    /// The same, where an export holds so many rows in memory.
    #[allow(dead_code, reason = "each test program uses a part of it")]
    pub(crate) fn holding(self, export_rows_held_max: usize) -> Self {
        Self { export_rows_held_max, ..self }
    }
}

impl Harness for CouchHarness {
    fn open(&self, inline: Vec<Arc<Group>>) -> BoxFuture<'_, Result<Stores, Fault>> {
        Box::pin(async move {
            let mut held = self.store.lock().expect("no test panics under the lock");
            let store = match held.as_ref() {
                Some(store) => store.reopen(inline)?,
                None => MemoryStore::open_as(&self.log, Arc::clone(&self.clock) as Arc<dyn Clock>, inline)?,
            };
            let store = Arc::new(store);
            *held = Some(Arc::clone(&store));
            let couch = CouchStore::open(CouchOptions {
                address: self.address.clone(),
                feed: Arc::clone(&store) as _,
                registry: Arc::clone(&store) as _,
                clock: Arc::clone(&self.clock) as _,
                limits: CouchLimits {
                    // Small, so that everything comes in more than one piece.
                    request_documents_max: 7,
                    // This server takes its time to make an index of many rows.
                    request_wait_max: Duration::from_secs(300),
                    export_rows_held_max: self.export_rows_held_max,
                    ..CouchLimits::default()
                },
            });
            let there = |group: &Group| group.mode() != Mode::Inline;
            let documents =
                Arc::new(Documents::new(Arc::clone(&store) as _, Arc::clone(&store) as _, couch, there));
            Ok(Stores {
                events: Arc::clone(&store) as _,
                intake: Arc::clone(&store) as _,
                feed: Arc::clone(&store) as _,
                restore: Arc::clone(&store) as _,
                registry: Arc::clone(&documents) as _,
                queue: Arc::clone(&store) as _,
                progress: store.progress(),
                models: documents,
                clock: Arc::clone(&self.clock),
            })
        })
    }

    fn stop(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        self.crash(stores)
    }

    fn crash(&self, _: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
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
        Box::pin(async move {
            let store = self.store.lock().expect("no test panics under the lock").clone()?;
            let audit = store.audit();
            let rows = audit.iter().filter(|row| row.header.stream.tenant == *tenant && row.header.id == *id);
            Some(rows.count())
        })
    }
}
