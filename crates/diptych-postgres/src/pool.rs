//! Connections on loan, a limited number of them to one place. Knows nothing of what they are for.

use crate::PostgresLimits;
use crate::connection::{Connector, Opened};
use crate::fault::{OrFault, closed};
use diptych_core::{Code, Fault};
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio_postgres::Client;

/// Opens the transaction of a loan that may not write. Each statement in it sees what was committed before.
const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; ";
const END_READING: &str = "COMMIT";

/// Connections to one place, opened when they are needed.
pub(crate) struct Pool {
    connector: Connector,
    idle: Mutex<Vec<Opened>>,
    permits: Arc<Semaphore>,
    open_max: usize,
    wait_max: Duration,
    closed: AtomicBool,
    /// Opens the transaction in which a loan comes, where only that can keep it from writing. A process that
    /// freezes in it does not keep the pooler's connection.
    begin_reading: Option<String>,
}

/// A connection on loan; it goes back when dropped. A transaction that was dropped on it has sent its
/// rollback before.
pub(crate) struct Loan<'a> {
    pool: &'a Pool,
    opened: Option<Opened>,
    /// Whether it is in a transaction that only reads, which ends with the loan.
    reading: bool,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(connector: Connector, open_max: usize, limits: &PostgresLimits) -> Self {
        let open_max = open_max.max(1);
        let begin_reading =
            connector.reads_by_transaction().then(|| BEGIN_READING.to_owned() + &limits.idle_setting());
        Self {
            connector,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(open_max)),
            open_max,
            wait_max: limits.pool_wait_max,
            begin_reading,
            closed: AtomicBool::new(false),
        }
    }

    /// A connection, waiting while too many are in use. Where only a transaction can keep it from writing, it
    /// comes in one.
    pub(crate) async fn get(&self) -> Result<Loan<'_>, Fault> {
        let mut loan = self.get_for_transactions().await?;
        if let Some(begin) = &self.begin_reading {
            // INVARIANT: nothing is asked before PostgreSQL has said that it only reads.
            loan.batch_execute(begin).await.or_fault()?;
            loan.reading = true;
        }
        Ok(loan)
    }

    /// A connection for one who opens transactions that say themselves whether they write.
    pub(crate) async fn get_for_transactions(&self) -> Result<Loan<'_>, Fault> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => self.wait().await?,
        };
        let opened = match self.take_idle() {
            Some(opened) => opened,
            None => self.connector.open().await?,
        };
        Ok(Loan { pool: self, opened: Some(opened), reading: false, _permit: permit })
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
        if self.reading {
            // What is polled once is on its way, behind all that was asked; nobody waits for the answer.
            let ending = pin!(opened.batch_execute(END_READING));
            let _ = ending.poll(&mut Context::from_waker(Waker::noop()));
        }
        let mut idle = self.pool.idle();
        // Under the lock, so that a pool that is being closed does not get one back.
        let closed = self.pool.closed.load(Ordering::SeqCst);
        if !closed && !opened.is_closed() && idle.len() < self.pool.open_max {
            idle.push(opened);
        }
    }
}
