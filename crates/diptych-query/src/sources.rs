//! The port to what read models are folded from beside the log: the files of exports.

use crate::Feed;
use diptych_core::{BoxFuture, Code, Fault};
use std::sync::Arc;

/// Where feeds over exports come from.
pub trait Sources: Send + Sync + 'static {
    /// The feed over the files of a scheduled export, which goes as far as the last whole file; none where
    /// no such export is declared.
    fn scheduled(&self, export: &str) -> Option<Arc<dyn Feed>>;

    /// The feed over one export file, or over a folder of files that join, held against the log that it must
    /// be of.
    ///
    /// # Errors
    /// A transient fault of the store, or [`Code::ExportDamaged`]: a file is missing, cut off, not what its
    /// last line says, or of another log.
    fn opened<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Arc<dyn Feed>, Fault>>;
}

/// No exports at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSources;

impl Sources for NoSources {
    fn scheduled(&self, _: &str) -> Option<Arc<dyn Feed>> {
        None
    }

    fn opened<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Arc<dyn Feed>, Fault>> {
        Box::pin(async move {
            Err(Fault::permanent(
                Code::ExportDamaged,
                format!("this process reads no exports, so not `{path}`"),
            ))
        })
    }
}
