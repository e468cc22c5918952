//! Stored states, over the same mutex. Views are for stores that speak SQL.

use crate::MemoryStore;
use diptych_command::{StateColumn, StateRow, StateStore, StreamStanding};
use diptych_core::{BoxFuture, Fault, StreamRef};

impl StateStore for MemoryStore {
    fn load_state<'a>(&'a self, stream: &'a StreamRef) -> BoxFuture<'a, Result<Option<StateRow>, Fault>> {
        Box::pin(async move { Ok(self.lock().log.state(stream)) })
    }

    fn streams_of<'a>(
        &'a self,
        category: &'a str,
        after: Option<&'a StreamRef>,
        streams_max: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamStanding>, Fault>> {
        Box::pin(async move { Ok(self.lock().log.streams_of(category, after, streams_max)) })
    }

    fn write_state<'a>(&'a self, stream: &'a StreamRef, row: StateRow) -> BoxFuture<'a, Result<bool, Fault>> {
        Box::pin(async move { Ok(self.lock().log.set_state(stream, row)) })
    }

    fn drop_states<'a>(&'a self, category: &'a str, rows_max: usize) -> BoxFuture<'a, Result<usize, Fault>> {
        Box::pin(async move { Ok(self.lock().log.drop_states(category, rows_max)) })
    }

    fn show_states<'a>(&'a self, _: &'a str, _: &'static [StateColumn]) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }

    fn hide_states<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
}
