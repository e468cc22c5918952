//! Read-only connections to one file. Nothing here can write.

use crate::SqliteLimits;
use crate::connection::open_reader;
use crate::log::Names;
use diptych_core::{Code, Fault};
use rusqlite::Connection;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// Read-only connections to one file, opened when they are needed.
pub(crate) struct Pool {
    path: PathBuf,
    limits: SqliteLimits,
    held: Mutex<Held>,
    returned: Condvar,
}

#[derive(Default)]
struct Held {
    /// With the thread that used it last: its memory is near that thread's processor.
    idle: Vec<(ThreadId, Reader)>,
    open: usize,
    /// How many threads wait for a connection: waking nobody costs a system call.
    waiting: usize,
    closed: bool,
}

/// A read-only connection with the names it has seen.
pub(crate) struct Reader {
    pub(crate) connection: Connection,
    pub(crate) names: Names,
}

/// A connection on loan; it goes back when dropped.
pub(crate) struct Loan<'a> {
    pool: &'a Pool,
    reader: Option<Reader>,
}

impl Pool {
    pub(crate) fn new(path: PathBuf, limits: SqliteLimits) -> Self {
        Self { path, limits, held: Mutex::default(), returned: Condvar::new() }
    }

    /// A connection without waiting: for reads that take microseconds, which must not wait for those that
    /// take longer.
    pub(crate) fn now(&self) -> Result<Loan<'_>, Fault> {
        let held = self.lock();
        self.take(held)
    }

    /// A connection, waiting while too many are in use: for threads that may block.
    pub(crate) fn wait(&self) -> Result<Loan<'_>, Fault> {
        let mut held = self.lock();
        held.waiting += 1;
        let (mut held, timeout) = self
            .returned
            .wait_timeout_while(held, self.limits.busy_timeout, |held| {
                held.idle.is_empty() && held.open >= self.limits.readers_max && !held.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        held.waiting -= 1;
        if timeout.timed_out() {
            let message = "too many queries are running";
            return Err(Fault::transient(Code::Overloaded, message));
        }
        self.take(held)
    }

    /// A connection of one's own, which is not counted and does not come back.
    pub(crate) fn own(&self) -> Result<Reader, Fault> {
        if self.is_closed() {
            return Err(closed());
        }
        Ok(Reader {
            connection: open_reader(&self.path, &self.limits)?,
            names: Names::new(self.limits.stream_names_max),
        })
    }

    /// Closes the connections: idle ones now, others when they come back.
    pub(crate) fn close(&self) {
        let mut held = self.lock();
        held.closed = true;
        held.idle.clear();
        self.returned.notify_all();
    }

    /// Whether nothing is read through it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn take(&self, mut held: MutexGuard<'_, Held>) -> Result<Loan<'_>, Fault> {
        if held.closed {
            return Err(closed());
        }
        let here = std::thread::current().id();
        let own = held.idle.iter().rposition(|(user, _)| *user == here);
        if let Some(at) = own.or(held.idle.len().checked_sub(1)) {
            let (_, reader) = held.idle.swap_remove(at);
            return Ok(Loan { pool: self, reader: Some(reader) });
        }
        held.open += 1;
        drop(held);
        // The loan exists before the connection, so that the count is right whatever happens.
        let mut loan = Loan { pool: self, reader: None };
        loan.reader = Some(self.own()?);
        Ok(loan)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fault of a store that is closed.
pub(crate) fn closed() -> Fault {
    Fault::permanent(Code::Storage, "the store is closed")
}

impl Deref for Loan<'_> {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        self.reader.as_ref().expect("a loan that was handed out holds a reader")
    }
}

impl DerefMut for Loan<'_> {
    fn deref_mut(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("a loan that was handed out holds a reader")
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut held = self.pool.lock();
        let keep =
            !held.closed && held.idle.len() < self.pool.limits.readers_max && !std::thread::panicking();
        match self.reader.take().filter(|reader| keep && reader.connection.is_autocommit()) {
            Some(reader) => held.idle.push((std::thread::current().id(), reader)),
            None => held.open -= 1,
        }
        if held.waiting > 0 {
            self.pool.returned.notify_one();
        }
    }
}
