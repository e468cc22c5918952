//! A folder for one test, removed when the test ends, also when it fails.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that nobody else uses.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes an empty folder; `name` tells people which test it belongs to.
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (service, process) = (env!("CARGO_PKG_NAME"), std::process::id());
        let path = std::env::temp_dir().join(format!("diptych-{service}-{name}-{process}-{number}"));
        // A process of the same number may have died here before.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where a store in this folder lives.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
