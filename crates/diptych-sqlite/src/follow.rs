//! Noticing what other processes append: one thread that asks SQLite whether the file has changed.

use crate::connection::open_reader;
use crate::fault::OrFault;
use crate::log::position_of_head;
use crate::shared::Shared;
use diptych_core::{Fault, Position};
use rusqlite::Connection;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The thread that looks for foreign appends; it ends when this is dropped.
pub(crate) struct Follower {
    stop: Arc<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Follower {
    /// Starts the thread. `on_foreign` is called when the head has moved and nobody in this process moved it.
    pub(crate) fn start(shared: Arc<Shared>, on_foreign: impl Fn() + Send + 'static) -> Result<Self, Fault> {
        let stop = Arc::new(Stop::default());
        let waiting = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("diptych-follower".to_owned())
            .spawn(move || follow(&shared, &waiting, &on_foreign))
            .or_fault()?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread and waits for it. Blocks for as long as one look takes.
    pub(crate) fn join(&self) {
        self.signal();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It holds nothing that a panic could leave half done.
            let _ = thread.join();
        }
    }

    fn signal(&self) {
        *self.stop.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.signal();
    }
}

fn follow(shared: &Shared, stop: &Stop, on_foreign: &dyn Fn()) {
    let mut own = None;
    loop {
        match look(shared, &mut own) {
            Ok(Some(moved)) if moved > *shared.head.borrow() => on_foreign(),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "could not look for foreign appends"),
        }
        let stopped = stop.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = stop
            .changed
            .wait_timeout_while(stopped, shared.limits.foreign_poll, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if *waited.0 {
            return;
        }
    }
}

/// A connection of the thread's own, with the version of the file that it saw last: versions count for one
/// connection only.
struct Own {
    connection: Connection,
    version: Option<i64>,
}

/// The position of the head, if the file may have changed since the last look.
fn look(shared: &Shared, own: &mut Option<Own>) -> Result<Option<Position>, Fault> {
    let own = match own {
        Some(own) => own,
        None => {
            own.insert(Own { connection: open_reader(&shared.log_path(), &shared.limits)?, version: None })
        }
    };
    let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let version = own.connection.pragma_query_value(None, "data_version", read).or_fault()?;
    if own.version.replace(version) == Some(version) {
        return Ok(None);
    }
    position_of_head(&own.connection).map(Some)
}
