//! The log as readers see it.

use super::MemoryStore;
use diptych_command::EventStore;
use diptych_core::{BoxFuture, Fault, Position, RawFact, StreamRef, Version};
use diptych_query::{Block, Categories, Feed, Mark};
use std::sync::Arc;
use tokio::sync::watch;

impl Feed for MemoryStore {
    fn read<'a>(
        &'a self,
        after: Position,
        categories: &'a Categories,
        positions_max: usize,
    ) -> BoxFuture<'a, Result<Block, Fault>> {
        Box::pin(async move { self.lock().log.read(after, categories, positions_max) })
    }

    fn head(&self) -> BoxFuture<'_, Result<Mark, Fault>> {
        Box::pin(async move { Ok(self.lock().log.head()) })
    }

    fn mark(&self, position: Position) -> BoxFuture<'_, Result<Option<Mark>, Fault>> {
        Box::pin(async move { Ok(self.lock().log.mark(position)) })
    }

    fn stream<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        self.load(stream, after, events_max)
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }
}
