//! Reference stores in memory: the oracle of the conformance suite.
//!
//! One mutex around plain maps, every port in its most obvious form, so that a disagreement with another
//! store is that store's mistake. Absent here, on purpose: files, threads, caches, queues, and any speed that
//! would cost a line.

mod builds;
mod clock;
mod log;
mod queue;
mod restore;
mod rows;
mod states;
mod store;

pub use clock::ManualClock;
pub use store::{INLINE_CATCH_UP_EVENTS_MAX, MemoryStore};
