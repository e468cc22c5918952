//! How the suites open, stop and crash the memory store: what is committed outlives both.

use diptych_conformance::{Harness, Stores};
use diptych_core::{BoxFuture, Clock, CommandId, Fault, Tenant, Timestamp};
use diptych_memory::{INLINE_CATCH_UP_EVENTS_MAX, ManualClock, MemoryStore};
use diptych_query::Group;
use std::sync::{Arc, Mutex};

/// A place in memory.
pub(crate) struct MemoryHarness {
    clock: Arc<ManualClock>,
    store: Mutex<Option<Arc<MemoryStore>>>,
}

impl MemoryHarness {
    /// A place where nothing is yet.
    pub(crate) fn new() -> Self {
        let start = Timestamp::from_micros(1_800_000_000_000_000).expect("a time of this century");
        Self { clock: Arc::new(ManualClock::at(start)), store: Mutex::default() }
    }
}

impl Harness for MemoryHarness {
    fn open(&self, inline: Vec<Arc<Group>>) -> BoxFuture<'_, Result<Stores, Fault>> {
        Box::pin(async move {
            let mut held = self.store.lock().expect("no test panics under the lock");
            let store = match held.as_ref() {
                Some(store) => store.reopen(inline)?,
                None => MemoryStore::open(Arc::clone(&self.clock) as Arc<dyn Clock>, inline)?,
            };
            let store = Arc::new(store);
            *held = Some(Arc::clone(&store));
            Ok(Stores {
                events: Arc::clone(&store) as _,
                intake: Arc::clone(&store) as _,
                feed: Arc::clone(&store) as _,
                restore: Arc::clone(&store) as _,
                registry: Arc::clone(&store) as _,
                queue: Arc::clone(&store) as _,
                progress: store.progress(),
                models: store,
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
