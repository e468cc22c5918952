//! The exports of a service that read models may be folded from: the files of its scheduled exports, and any
//! file or folder that an operator names.

use super::feed::ExportFeed;
use crate::jobs::{Job, JobKind};
use diptych_core::{BoxFuture, Fault};
use diptych_query::{Feed, JobBoard, Sources};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The exports of a service.
pub struct ExportSources {
    log: Arc<dyn Feed>,
    scheduled: BTreeMap<String, Arc<ExportFeed>>,
}

impl ExportSources {
    /// The files that the jobs of a service write, in folders under one.
    #[must_use]
    pub fn new(log: &Arc<dyn Feed>, jobs: &[Job], exports: &Path, board: &Arc<JobBoard>) -> Self {
        let exporting = jobs.iter().filter(|job| matches!(job.kind(), JobKind::Export));
        let scheduled = exporting.map(|job| {
            let (log, board) = (Arc::clone(log), Arc::clone(board));
            let feed = ExportFeed::scheduled(log, job.folder(exports), board, job.name());
            (job.name().to_owned(), Arc::new(feed))
        });
        Self { log: Arc::clone(log), scheduled: scheduled.collect() }
    }

    pub(crate) fn feed(&self, export: &str) -> Option<&Arc<ExportFeed>> {
        self.scheduled.get(export)
    }

    /// Looks which files there are, so that what is folded from them moves on. What is wrong with any is told
    /// to whoever reads them.
    pub(crate) async fn look(&self) {
        for feed in self.scheduled.values() {
            let _ = feed.look().await;
        }
    }
}

impl Sources for ExportSources {
    fn scheduled(&self, export: &str) -> Option<Arc<dyn Feed>> {
        self.scheduled.get(export).map(|feed| Arc::clone(feed) as Arc<dyn Feed>)
    }

    fn opened<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Arc<dyn Feed>, Fault>> {
        Box::pin(async move {
            let feed = ExportFeed::opened(Arc::clone(&self.log), Path::new(path)).await?;
            Ok(Arc::new(feed) as Arc<dyn Feed>)
        })
    }
}
