//! How the suites open, stop and crash the embedded store: each test in a directory of its own.
//!
//! A crash is a copy of the files as they are while the store is open, which the next life opens: nothing
//! that was still in memory can be in it.

use diptych_conformance::{Harness, ManualClock, Stores};
use diptych_core::{BoxFuture, Clock, CommandId, Fault, Tenant, Timestamp};
use diptych_query::Group;
use diptych_sqlite::{Durability, SqliteOptions, SqliteStore};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Small, so that a group is soon too far behind.
const INLINE_CATCH_UP_EVENTS_MAX: u64 = 60;

/// A directory in which a store lives, dies and lives again.
pub(crate) struct SqliteHarness {
    root: PathBuf,
    life: AtomicU32,
    clock: Arc<ManualClock>,
    /// Those of this life: more than one, where a test opens the directory twice.
    stores: Mutex<Vec<Arc<SqliteStore>>>,
}

impl SqliteHarness {
    /// An empty directory.
    pub(crate) fn new() -> Self {
        static HARNESSES: AtomicU32 = AtomicU32::new(0);
        let number = HARNESSES.fetch_add(1, Ordering::Relaxed);
        let name = format!("store-{}-{number}", std::process::id());
        let start = Timestamp::from_micros(1_800_000_000_000_000).expect("a time of this century");
        Self {
            root: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name),
            life: AtomicU32::new(0),
            clock: Arc::new(ManualClock::at(start)),
            stores: Mutex::default(),
        }
    }

    fn opened(&self) -> MutexGuard<'_, Vec<Arc<SqliteStore>>> {
        self.stores.lock().expect("no test panics under the lock")
    }

    fn directory(&self) -> PathBuf {
        self.root.join(self.life.load(Ordering::SeqCst).to_string())
    }
}

impl Drop for SqliteHarness {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the target directory.
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

impl Harness for SqliteHarness {
    fn open(&self, inline: Vec<Arc<Group>>) -> BoxFuture<'_, Result<Stores, Fault>> {
        Box::pin(async move {
            let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
            let mut options = SqliteOptions::at(self.directory(), clock);
            options.inline = inline;
            options.durability = Durability::Normal;
            options.limits.inline_catch_up_events_max = INLINE_CATCH_UP_EVENTS_MAX;
            let progress = Arc::clone(&options.progress);
            let store = SqliteStore::open(options)?;
            self.opened().push(Arc::clone(&store));
            Ok(Stores {
                events: Arc::clone(&store) as _,
                intake: Arc::clone(&store) as _,
                feed: Arc::clone(&store) as _,
                restore: Arc::clone(&store) as _,
                registry: Arc::clone(&store) as _,
                queue: Arc::clone(&store) as _,
                models: store,
                progress,
                clock: Arc::clone(&self.clock),
            })
        })
    }

    fn stop(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            drop(stores);
            let stores = std::mem::take(&mut *self.opened());
            for store in stores {
                store.close().await;
            }
            Ok(())
        })
    }

    fn crash(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let before = self.directory();
            self.life.fetch_add(1, Ordering::SeqCst);
            copy(&before, &self.directory()).expect("the files can be copied");
            drop(stores);
            self.opened().clear();
            Ok(())
        })
    }

    fn inline_catch_up_events_max(&self) -> u64 {
        INLINE_CATCH_UP_EVENTS_MAX
    }

    fn audit_rows<'a>(
        &'a self,
        _: &'a Stores,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Option<usize>> {
        const COUNT: &str = "SELECT count(*) FROM command JOIN stream ON stream.id = command.stream \
            JOIN tenant ON tenant.id = stream.tenant WHERE tenant.name = ?1 AND command.command_id = ?2";
        Box::pin(async move {
            let log = rusqlite::Connection::open(self.directory().join("log.db")).expect("the log");
            let asked = (tenant.as_str(), id.as_str());
            let rows: u32 = log.query_row(COUNT, asked, |row| row.get(0)).expect("a count");
            Some(rows as usize)
        })
    }
}

/// Copies a directory without what shares memory between processes.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(name))?;
        } else if !name.to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
