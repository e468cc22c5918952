//! Which feed a group is folded from: the log, or the files of the export that it declares as its source.

use diptych_core::{BoxFuture, Code, Fault, Position, RawFact, StreamRef, Version};
use diptych_query::{Block, Categories, Feed, Group, Mark, Sources};
use std::sync::Arc;
use tokio::sync::watch;

/// The log and the exports of a service.
#[derive(Clone)]
pub(crate) struct Feeds {
    pub(crate) log: Arc<dyn Feed>,
    pub(crate) sources: Arc<dyn Sources>,
}

impl Feeds {
    /// What a group is folded from.
    pub(crate) fn of(&self, group: &Group) -> Arc<dyn Feed> {
        let source = group.source();
        if source.is_empty() {
            return Arc::clone(&self.log);
        }
        let none = || Arc::new(NoExport { log: Arc::clone(&self.log), source }) as Arc<dyn Feed>;
        self.sources.scheduled(source).unwrap_or_else(none)
    }
}

/// What a group is folded from whose export this process knows nothing of: it cannot be moved here.
struct NoExport {
    log: Arc<dyn Feed>,
    source: &'static str,
}

impl NoExport {
    fn fault(&self) -> Fault {
        let message = format!("this process has no files of the export `{}`", self.source);
        Fault::permanent(Code::ExportDamaged, message)
    }
}

impl Feed for NoExport {
    fn read<'a>(&'a self, _: Position, _: &'a Categories, _: usize) -> BoxFuture<'a, Result<Block, Fault>> {
        Box::pin(async move { Err(self.fault()) })
    }

    fn head(&self) -> BoxFuture<'_, Result<Mark, Fault>> {
        Box::pin(async move { Err(self.fault()) })
    }

    fn mark(&self, position: Position) -> BoxFuture<'_, Result<Option<Mark>, Fault>> {
        self.log.mark(position)
    }

    fn stream<'a>(
        &'a self,
        _: &'a StreamRef,
        _: Version,
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        Box::pin(async move { Err(self.fault()) })
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.log.watch()
    }
}
