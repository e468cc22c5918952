//! The binary: `orders` imports the real orders if they are not there yet, and serves.

use diptych::prelude::ExitCode;

fn main() -> ExitCode {
    orders::service().main()
}
