//! A registry through which another process comes in between: whenever a build was begun, that process does
//! what it finds to do before the one that began it goes on. Changes nothing itself.

use diptych_core::{BoxFuture, Fault};
use diptych_projector::{Steward, Tended};
use diptych_query::{
    Build, BuildId, BuildMove, Group, Order, Record, RecordOf, Registry, StageMove, TransitError,
};
use std::sync::{Arc, OnceLock};

/// A registry with somebody else behind it.
pub(crate) struct Meddling {
    inner: Arc<dyn Registry>,
    other: OnceLock<Steward>,
}

impl Meddling {
    /// Nobody is let in yet.
    pub(crate) fn new(inner: &Arc<dyn Registry>) -> Self {
        Self { inner: Arc::clone(inner), other: OnceLock::new() }
    }

    /// Who looks after builds of the other process. Who is let in first stays.
    pub(crate) fn let_in(&self, other: &Steward) {
        self.other.get_or_init(|| other.clone());
    }

    async fn others_turn(&self) -> Result<(), Fault> {
        let Some(other) = self.other.get() else { return Ok(()) };
        while other.step().await? == Tended::Moved {}
        Ok(())
    }
}

impl Registry for Meddling {
    fn builds<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<Vec<Build>, Fault>> {
        self.inner.builds(group)
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, Fault>> {
        self.inner.groups()
    }

    fn begin_build<'a>(&'a self, group: &'a Group, order: &'a Order) -> BoxFuture<'a, Result<Build, Fault>> {
        Box::pin(async move {
            let begun = self.inner.begin_build(group, order).await?;
            self.others_turn().await?;
            Ok(begun)
        })
    }

    fn begin_recorded<'a>(
        &'a self,
        group: &'a Group,
        order: &'a Order,
        kind: &'a str,
        body: RecordOf,
    ) -> BoxFuture<'a, Result<Option<Build>, Fault>> {
        Box::pin(async move {
            let begun = self.inner.begin_recorded(group, order, kind, body).await?;
            self.others_turn().await?;
            Ok(begun)
        })
    }

    fn transit<'a>(
        &'a self,
        group: &'a Group,
        moves: &'a [BuildMove],
        order: &'a Order,
    ) -> BoxFuture<'a, Result<Vec<Build>, TransitError>> {
        self.inner.transit(group, moves, order)
    }

    fn drop_build<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<(), Fault>> {
        self.inner.drop_build(group, build)
    }

    fn build_bytes<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<u64, Fault>> {
        self.inner.build_bytes(group, build)
    }

    fn stage_moves<'a>(
        &'a self,
        group: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<StageMove>, Fault>> {
        self.inner.stage_moves(group, most)
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.inner.refresh()
    }

    fn record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        self.inner.record(kind, name)
    }

    fn records<'a>(&'a self, kind: &'a str, most: usize) -> BoxFuture<'a, Result<Vec<Record>, Fault>> {
        self.inner.records(kind, most)
    }

    fn write_record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
        seen: u64,
        body: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, Fault>> {
        self.inner.write_record(kind, name, seen, body)
    }

    fn forget_record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        self.inner.forget_record(kind, name)
    }
}
