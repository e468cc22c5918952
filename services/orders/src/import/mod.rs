//! Brings a year of real invoices in through the command side. Safe to interrupt and to run again: the ids of
//! the commands come from the data, so the ledger knows what has been done.

#![allow(clippy::print_stderr, reason = "the verb tells the person at the terminal what it did")]

mod file;
mod invoice;

pub use file::{DataSet, Invoice, Row, read};
pub use invoice::{Kind, Step, kind, steps};

use crate::command::{DataImport, DataImportCommand};
use crate::facts::DataImportId;
use clap::{Arg, ArgMatches, Command, value_parser};
use diptych::prelude::*;
use diptych::{Verb, VerbError, VerbFuture};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The name under which the data set is remembered.
pub const DATA_SET: &str = "online-retail-ii-2009-2010";

/// How many invoices are on their way at once; the store commits what waits together.
const INVOICES_AT_ONCE: usize = 64;

/// Where the data set is, seen from the root of the repository.
const DEFAULT_FILE: &str = "data/online_retail_ii_2009_2010.csv.gz";

/// `orders import`: also what `orders` without a verb does before it serves.
pub struct Import;

/// What an import did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imported {
    /// How many rows the file has.
    pub rows: usize,
    /// How many invoices they form.
    pub invoices: usize,
}

impl Verb for Import {
    fn command(&self) -> Command {
        let file = Arg::new("file")
            .long("file")
            .value_name("FILE")
            .help("The data set, CSV compressed with gzip")
            .default_value(DEFAULT_FILE)
            .value_parser(value_parser!(PathBuf));
        Command::new("import")
            .about("Import the real orders through the command side, if not yet done")
            .arg(file)
    }

    fn run<'a>(&'a self, service: &'a Running, arguments: &'a ArgMatches) -> VerbFuture<'a> {
        Box::pin(async move {
            let named = arguments.get_one::<PathBuf>("file").cloned().unwrap_or_else(|| DEFAULT_FILE.into());
            let file = found(named);
            let started = Instant::now();
            match import(service, &file, &progress_bar()).await? {
                Some(Imported { rows, invoices }) => {
                    catch_up(service).await?;
                    let seconds = started.elapsed().as_secs_f64();
                    eprintln!("imported {invoices} invoices ({rows} rows) in {seconds:.1} s");
                }
                None => eprintln!("the orders are imported already"),
            }
            Ok(())
        })
    }
}

/// Imports a file unless the log says that it is there already.
///
/// # Errors
/// A file that cannot be read, with the row that is wrong, or a command that did not succeed.
pub async fn import(
    service: &Running,
    file: &Path,
    bar: &ProgressBar,
) -> Result<Option<Imported>, VerbError> {
    let id = DataImportId::new(DATA_SET);
    let done = service.commands().aggregate(service.principal(), "data_import", DATA_SET, None).await?;
    if done.is_some() {
        bar.finish_and_clear();
        return Ok(None);
    }
    bar.set_message("reading");
    let path = file.to_owned();
    let data = tokio::task::spawn_blocking(move || read(&path)).await??;
    let imported = Imported { rows: data.rows, invoices: data.invoices.len() };
    bar.set_length(imported.invoices as u64);
    bar.set_message("invoices");
    send_all(service, data.invoices, bar).await?;
    let (rows, invoices) = (imported.rows as i64, imported.invoices as i64);
    let complete = DataImportCommand::Complete { checksum: data.checksum, rows, invoices };
    let request =
        Request::by(&importer(service)).to(&id, complete).command_id(format!("{DATA_SET}/complete"));
    service.commands().handle::<DataImport>(request).await?;
    bar.finish_with_message("invoices imported");
    Ok(Some(imported))
}

/// Brings every read model to the end of the log, so that whoever looks next finds nothing missing.
async fn catch_up(service: &Running) -> Result<(), VerbError> {
    for (_, group) in service.queries().models() {
        service.projector().drain(group.name()).await?;
    }
    Ok(())
}

async fn send_all(service: &Running, invoices: Vec<Invoice>, bar: &ProgressBar) -> Result<(), VerbError> {
    let commands = service.commands();
    let principal = importer(service);
    let places = Arc::new(Semaphore::new(INVOICES_AT_ONCE));
    let mut sending = JoinSet::new();
    for invoice in invoices {
        let place = Arc::clone(&places).acquire_owned().await?;
        while let Some(sent) = sending.try_join_next() {
            sent??;
        }
        let (commands, principal, bar) = (Arc::clone(commands), principal.clone(), bar.clone());
        sending.spawn(async move {
            for step in steps(&invoice)? {
                step.send(&commands, &principal).await?;
            }
            bar.inc(1);
            drop(place);
            Ok::<(), VerbError>(())
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent??;
    }
    Ok(())
}

/// The import acts in its own name, in the tenant of the service.
fn importer(service: &Running) -> Principal {
    let tenant = service.principal().tenant.clone();
    Principal { tenant, ..Principal::new("main", "import").expect("both are valid names") }
}

/// The file as named, or seen from where the service was built, so that `cargo run` works in any folder.
fn found(named: PathBuf) -> PathBuf {
    if named.exists() {
        return named;
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(&named);
    if built.exists() { built } else { named }
}

fn progress_bar() -> ProgressBar {
    let template = "{msg:>9} {wide_bar} {human_pos}/{human_len} · {per_sec} · {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}
