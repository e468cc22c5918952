//! A store that counts how many events a left panel reads of it. Changes nothing.

use diptych_command::{CommandRecord, Commit, CommitError, Committed, EventStore, Matched};
use diptych_core::{
    BoxFuture, CommandId, Fault, Position, RawFact, StreamRef, TagQuery, Tenant, Timestamp, Version,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A store with the number of events that were loaded from it.
pub(crate) struct Counting {
    inner: Arc<dyn EventStore>,
    loaded: AtomicUsize,
}

impl Counting {
    pub(crate) fn over(inner: Arc<dyn EventStore>) -> Arc<Self> {
        Arc::new(Self { inner, loaded: AtomicUsize::new(0) })
    }

    /// How many events were loaded since this was last asked.
    pub(crate) fn loaded(&self) -> usize {
        self.loaded.swap(0, Ordering::SeqCst)
    }
}

impl EventStore for Counting {
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        Box::pin(async move {
            let events = self.inner.load(stream, after, events_max).await?;
            self.loaded.fetch_add(events.len(), Ordering::SeqCst);
            Ok(events)
        })
    }

    fn load_query<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a TagQuery,
        after: Position,
        facts_max: usize,
    ) -> BoxFuture<'a, Result<Matched, Fault>> {
        Box::pin(async move {
            let found = self.inner.load_query(tenant, query, after, facts_max).await?;
            self.loaded.fetch_add(found.facts.len(), Ordering::SeqCst);
            Ok(found)
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        self.inner.commit(commit)
    }

    fn recorded<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<CommandRecord>, Fault>> {
        self.inner.recorded(tenant, id)
    }

    fn expire_keys(&self, before: Timestamp, keys_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        self.inner.expire_keys(before, keys_max)
    }
}

crate::pass_on!(Counting, inner);
