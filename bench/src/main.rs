//! Performance as ratios: the product beside the bare database and beside a hand-written reference, in one
//! run each.
//!
//! Absolute figures belong to a machine and to the mood of its disk; ratios taken side by side in one run
//! can be compared. Speed is printed, never asserted: the exit code tells only whether everything ran.

use mimalloc::MiMalloc;
use std::error::Error;
use std::process::ExitCode;

mod callers;
mod client;
mod database;
mod domain;
mod domain_document;
mod domain_group;
mod fines;
mod loader;
mod measure;
mod options;
mod probe;
mod questions;
mod ratios;
mod reference;
mod report;
mod stores;
mod workload;

/// As in the services.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

/// What can go wrong here is only told, never handled.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = match options::parse(&arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("bench: {message}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(ratios::run(&options)) {
        Ok(report) => {
            report::print(&options, &report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
