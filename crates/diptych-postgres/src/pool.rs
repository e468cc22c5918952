//! Connections on loan, a limited number of them to one place. Knows nothing of what they are for.

use crate::connection::{Connector, Opened};
use crate::fault::closed;
use diptych_core::{Code, Fault};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio_postgres::Client;

/// Connections to one place, opened when they are needed.
pub(crate) struct Pool {
    connector: Connector,
    idle: Mutex<Vec<Opened>>,
    permits: Arc<Semaphore>,
    open_max: usize,
    wait_max: Duration,
    closed: AtomicBool,
}

/// A connection on loan; it goes back when dropped. A transaction that was dropped on it has sent its
/// rollback before.
pub(crate) struct Loan<'a> {
    pool: &'a Pool,
    opened: Option<Opened>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(connector: Connector, open_max: usize, wait_max: Duration) -> Self {
        let open_max = open_max.max(1);
        Self {
            connector,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(open_max)),
            open_max,
            wait_max,
            closed: AtomicBool::new(false),
        }
    }

    /// A connection, waiting while too many are in use.
    pub(crate) async fn get(&self) -> Result<Loan<'_>, Fault> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => self.wait().await?,
        };
        let opened = match self.take_idle() {
            Some(opened) => opened,
            None => self.connector.open().await?,
        };
        Ok(Loan { pool: self, opened: Some(opened), _permit: permit })
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let freed = Arc::clone(&self.permits).acquire_owned();
        match tokio::time::timeout(self.wait_max, freed).await {
            Ok(permit) => permit.map_err(|_| closed()),
            Err(_) => Err(Fault::transient(Code::Overloaded, "too many queries are running")),
        }
    }

    /// Hands out nothing more. Idle connections end now, others when they come back.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.permits.close();
        self.idle().clear();
    }

    /// The connection used last that still lives: the others may rest.
    fn take_idle(&self) -> Option<Opened> {
        let mut idle = self.idle();
        while let Some(opened) = idle.pop() {
            if !opened.is_closed() {
                return Some(opened);
            }
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Opened>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Loan<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.opened.as_ref().expect("a loan that was handed out holds a connection")
    }
}

impl DerefMut for Loan<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.opened.as_mut().expect("a loan that was handed out holds a connection")
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let Some(opened) = self.opened.take() else {
            return;
        };
        let mut idle = self.pool.idle();
        // Under the lock, so that a pool that is being closed does not get one back.
        let closed = self.pool.closed.load(Ordering::SeqCst);
        if !closed && !opened.is_closed() && idle.len() < self.pool.open_max {
            idle.push(opened);
        }
    }
}
