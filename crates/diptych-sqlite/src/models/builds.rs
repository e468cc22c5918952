//! The registry of builds, and records of the hinge.

use crate::SqliteStore;
use diptych_core::{BoxFuture, Fault};
use diptych_query::{Build, BuildId, BuildMove, Group, Order, Record, Registry, StageMove, TransitError};

fn unfinished() -> Fault {
    Fault::permanent(diptych_core::Code::Internal, "this store keeps one build")
}

impl Registry for SqliteStore {
    fn builds<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Build>, Fault>> {
        Box::pin(async { Err(unfinished()) })
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, Fault>> {
        Box::pin(async { Err(unfinished()) })
    }

    fn begin_build<'a>(&'a self, _: &'a Group, _: &'a Order) -> BoxFuture<'a, Result<Build, Fault>> {
        Box::pin(async { Err(unfinished()) })
    }

    fn transit<'a>(
        &'a self,
        _: &'a Group,
        _: &'a [BuildMove],
        _: &'a Order,
    ) -> BoxFuture<'a, Result<Vec<Build>, TransitError>> {
        Box::pin(async { Err(unfinished().into()) })
    }

    fn drop_build<'a>(&'a self, _: &'a Group, _: BuildId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async { Err(unfinished()) })
    }

    fn build_bytes<'a>(&'a self, _: &'a Group, _: BuildId) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(async { Err(unfinished()) })
    }

    fn stage_moves<'a>(
        &'a self,
        _: Option<&'a str>,
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<StageMove>, Fault>> {
        Box::pin(async { Err(unfinished()) })
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Err(unfinished()) })
    }

    fn record<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        Box::pin(async { Err(unfinished()) })
    }

    fn records<'a>(&'a self, _: &'a str, _: usize) -> BoxFuture<'a, Result<Vec<Record>, Fault>> {
        Box::pin(async { Err(unfinished()) })
    }

    fn write_record<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: u64,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, Fault>> {
        Box::pin(async { Err(unfinished()) })
    }

    fn forget_record<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async { Err(unfinished()) })
    }
}
