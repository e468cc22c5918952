//! Verbs that a service adds to its own command line, beside `serve` and the operator's.

use crate::Running;
use clap::{ArgMatches, Command};
use std::error::Error;
use std::future::Future;
use std::pin::Pin;

/// What a verb ends in when it fails: shown to the person at the terminal, exit code 1.
pub type VerbError = Box<dyn Error + Send + Sync>;

/// A verb at work.
pub type VerbFuture<'a> = Pin<Box<dyn Future<Output = Result<(), VerbError>> + Send + 'a>>;

/// A verb of a service's own, such as `orders import`.
pub trait Verb: Send + Sync + 'static {
    /// Its name, help and arguments.
    fn command(&self) -> Command;

    /// Does it, on the opened service. The service's workers run meanwhile.
    fn run<'a>(&'a self, service: &'a Running, arguments: &'a ArgMatches) -> VerbFuture<'a>;
}
