//! The binary: `enforcement` gives the made-up scenario if it is not there yet, and serves.

use diptych::prelude::ExitCode;
use mimalloc::MiMalloc;

/// Gives out the memory of rows and events that come and go by the million.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    enforcement::service().main()
}
