//! The registry of a sound store with one defect between it and whoever asks.

use super::Defect;
use diptych_core::{BoxFuture, Fault};
use diptych_query::{
    Build, BuildId, BuildMove, Group, Order, Record, RecordOf, Registry, StageMove, TransitError,
};
use std::sync::Arc;

pub(super) struct BrokenRegistry {
    inner: Arc<dyn Registry>,
    defect: Defect,
}

impl BrokenRegistry {
    pub(super) fn new(inner: Arc<dyn Registry>, defect: Defect) -> Self {
        Self { inner, defect }
    }
}

impl Registry for BrokenRegistry {
    fn builds<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<Vec<Build>, Fault>> {
        self.inner.builds(group)
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, Fault>> {
        self.inner.groups()
    }

    fn begin_build<'a>(&'a self, group: &'a Group, order: &'a Order) -> BoxFuture<'a, Result<Build, Fault>> {
        self.inner.begin_build(group, order)
    }

    fn begin_recorded<'a>(
        &'a self,
        group: &'a Group,
        order: &'a Order,
        kind: &'a str,
        body: RecordOf,
    ) -> BoxFuture<'a, Result<Option<Build>, Fault>> {
        Box::pin(async move {
            if self.defect != Defect::BuildsBegunApart {
                return self.inner.begin_recorded(group, order, kind, body).await;
            }
            let begun = self.inner.begin_build(group, order).await?;
            let written = self.inner.write_record(kind, group.name(), 0, &body(begun.id)?).await?;
            Ok(written.map(|_| begun))
        })
    }

    fn transit<'a>(
        &'a self,
        group: &'a Group,
        moves: &'a [BuildMove],
        order: &'a Order,
    ) -> BoxFuture<'a, Result<Vec<Build>, TransitError>> {
        Box::pin(async move {
            if self.defect != Defect::MovesOneByOne {
                return self.inner.transit(group, moves, order).await;
            }
            let mut after = Vec::new();
            for one in moves {
                after = self.inner.transit(group, std::slice::from_ref(one), order).await?;
            }
            Ok(after)
        })
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
        Box::pin(async move {
            let mut seen = seen;
            if self.defect == Defect::RecordsOverwritten {
                seen = self.inner.record(kind, name).await?.map_or(0, |record| record.version);
            }
            self.inner.write_record(kind, name, seen, body).await
        })
    }

    fn forget_record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        self.inner.forget_record(kind, name)
    }
}
