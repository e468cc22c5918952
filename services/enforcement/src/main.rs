//! The binary: `enforcement` gives the made-up scenario if it is not there yet, and serves.

use diptych::prelude::ExitCode;

fn main() -> ExitCode {
    enforcement::service().main()
}
