//! The binary: `ledger` gives the made-up scenario if it is not there yet, and serves.

use diptych::prelude::ExitCode;

fn main() -> ExitCode {
    ledger::service().main()
}
