//! What the facade's tests share: a folder for a store that is removed afterwards.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test file uses its own part")]

pub(crate) mod jar;
pub(crate) mod kitchen;
pub(crate) mod transfer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own for one test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A folder that does not exist yet.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("diptych-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The file of a group whose name is known by its beginning.
    pub(crate) fn model_file(&self, name: &str) -> PathBuf {
        let models = std::fs::read_dir(self.0.join("models")).expect("there are models");
        let mut files = models.map(|entry| entry.expect("an entry is read").path());
        let is_of_group = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with(name) && file.ends_with(".db")
        };
        files.find(is_of_group).expect("the group has a file")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
