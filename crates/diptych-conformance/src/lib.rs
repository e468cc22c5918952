//! Published suites that every store runs: the promise of the ports, said in cases.
//!
//! A store implements [`Harness`] in its tests and writes `conformance_suite!(MyHarness::new());`, which
//! makes one test of every case; where processes share the work, `sharing_suite!` adds those of leases.
//! [`stateful`] runs random histories against the memory store as oracle, [`lives`] random lives of builds
//! against pure rules; [`AsDocuments`] runs them all over documents; [`half_written`] is for stores that
//! cannot write everything at once; [`defects`] shows that the suites catch the mistakes they are for. Absent
//! here, on purpose: any store but the oracle, any wait for time to pass but by looking again, and any
//! judgement of speed.

pub mod answering;
mod cases;
pub mod chain;
mod counting;
pub mod defects;
pub mod documents;
mod drive;
mod failure;
pub mod fixtures;
pub mod half_written;
mod harness;
mod hinge;
pub mod lives;
mod meddling;
#[doc(hidden)]
pub mod passing;
pub mod poison_lives;
mod process;
mod random;
pub mod row_rules;
pub mod stateful;
mod suite;

pub use diptych_memory::ManualClock;
pub use documents::AsDocuments;
pub use failure::{Failure, Outcome};
pub use harness::{Case, Harness, Stores, passed};
pub use suite::{Named, cases, run};
