//! A store that keeps no states.

use super::Store;
use diptych_command::{StateColumn, StateRow, StateStore, StreamStanding};
use diptych_core::{BoxFuture, Fault, StreamRef};

impl StateStore for Store {
    fn load_state<'a>(&'a self, _: &'a StreamRef) -> BoxFuture<'a, Result<Option<StateRow>, Fault>> {
        Box::pin(async { Ok(None) })
    }

    fn streams_of<'a>(
        &'a self,
        _: &'a str,
        _: Option<&'a StreamRef>,
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamStanding>, Fault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn write_state<'a>(&'a self, _: &'a StreamRef, _: StateRow) -> BoxFuture<'a, Result<bool, Fault>> {
        Box::pin(async { Ok(false) })
    }

    fn drop_states<'a>(&'a self, _: &'a str, _: usize) -> BoxFuture<'a, Result<usize, Fault>> {
        Box::pin(async { Ok(0) })
    }

    fn show_states<'a>(&'a self, _: &'a str, _: &'static [StateColumn]) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }

    fn hide_states<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
}
