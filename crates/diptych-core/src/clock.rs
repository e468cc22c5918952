//! The seams for time and waiting: types only. Nothing here reads a clock or runs a future.

use crate::Timestamp;
use std::future::Future;
use std::pin::Pin;

/// A future behind a port: boxed, so that ports stay `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where the present time comes from. The front door hands in the system's; tests hand in their own.
pub trait Clock: Send + Sync + 'static {
    /// The present time, UTC.
    fn now(&self) -> Timestamp;
}
