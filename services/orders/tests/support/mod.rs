//! What the proofs of this service share: a folder of their own, a small HTTP client, the real server,
//! figures.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]
#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod figures;
pub(crate) mod folder;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod later;
pub(crate) mod load;
pub(crate) mod moving;
pub(crate) mod postgres;
pub(crate) mod rebuilding;
pub(crate) mod server;
pub(crate) mod told;

use std::path::PathBuf;

/// The real data set, as it lies in the repository.
pub(crate) fn data_set() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../data/online_retail_ii_2009_2010.csv.gz")
}
