//! Takes the registry's file of parties into the log, as facts that no command here caused: each row once and
//! in order, under one watermark for the source. A file that grows is taken again and again; only its new
//! rows come.

#![allow(clippy::print_stdout, reason = "the verb tells the person at the terminal what it did")]

mod file;

use crate::import::{catch_up, failed};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use diptych::command::{Arrival, Source, TakenIn, Watermark};
use diptych::core::{Actor, Code, Fault};
use diptych::prelude::*;
use diptych::{Verb, VerbError, VerbFuture};
use file::{Teller, read};
use std::path::{Path, PathBuf};

/// The source that the registry's facts come from.
pub const SOURCE: &str = "registry";

/// How many rows are taken in by one transaction.
const ROWS_AT_ONCE: usize = 1_000;

/// `enforcement parties import`.
pub struct Parties;

impl Verb for Parties {
    fn command(&self) -> Command {
        let file = Arg::new("file")
            .value_name("FILE")
            .help("The registry's parties, CSV")
            .required_unless_present("status")
            .value_parser(value_parser!(PathBuf));
        let status = Arg::new("status")
            .long("status")
            .help("Say how far the registry has been taken in, and take nothing")
            .action(ArgAction::SetTrue)
            .conflicts_with("file");
        let import = Command::new("import")
            .about("Take the rows of the registry's file into the log that have not been taken yet")
            .arg(file)
            .arg(status);
        Command::new("parties")
            .about("What the registry knows of parties")
            .subcommand_required(true)
            .subcommand(import)
    }

    fn run<'a>(&'a self, service: &'a Running, arguments: &'a ArgMatches) -> VerbFuture<'a> {
        Box::pin(async move {
            let (_, arguments) = arguments.subcommand().expect("clap asks for it");
            if let Some(file) = arguments.get_one::<PathBuf>("file") {
                let taken = take_in(service, file).await?;
                catch_up(service).await?;
                println!("took {taken} rows of the registry in");
            }
            match watermark(service).await? {
                Some(Watermark { position, .. }) => println!("the registry is taken in up to row {position}"),
                None => println!("nothing of the registry has been taken in"),
            }
            Ok(())
        })
    }
}

/// How far the registry has been taken in; none when nothing of it was.
///
/// # Errors
/// A fault of the store.
pub async fn watermark(service: &Running) -> Result<Option<Watermark>, Fault> {
    service.store().watermark(&source()).await
}

/// Takes the rows of a file in that come behind what has been taken in, and says how many.
///
/// # Errors A file that cannot be read, in which case nothing is taken; a row that was taken in and is
/// another one now; a row that cannot be taken, before which it stopped; a fault.
pub async fn take_in(service: &Running, file: &Path) -> Result<usize, VerbError> {
    let actor = Actor::new(SOURCE).expect("it is a valid name");
    let teller = Teller { tenant: service.principal().tenant.clone(), actor };
    let path = file.to_owned();
    let mut arrivals = tokio::task::spawn_blocking(move || read(&path, &teller)).await??;
    let held = watermark(service).await?;
    check_same(&arrivals, held)?;
    arrivals.retain(|arrival| held.is_none_or(|held| arrival.position() > held.position));
    let mut taken = 0;
    for some in arrivals.chunks(ROWS_AT_ONCE) {
        let TakenIn { taken: now, refused, .. } = service.store().take_in(&source(), some.to_vec()).await?;
        taken += now;
        if let Some((row, fault)) = refused {
            return Err(failed(format!("row {row} cannot be taken in")).because(fault).into());
        }
    }
    Ok(taken)
}

/// Checks that the last row that was taken in is the one that the file has in its place, if it has one.
fn check_same(arrivals: &[Arrival], held: Option<Watermark>) -> Result<(), Fault> {
    let Some(Watermark { position, print }) = held else { return Ok(()) };
    match arrivals.iter().find(|arrival| arrival.position() == position) {
        Some(arrival) if arrival.print != print => {
            let message = format!("row {position} of source `{SOURCE}` was another one when it was taken in");
            Err(Fault::permanent(Code::IntakeStopped, message))
        }
        _ => Ok(()),
    }
}

fn source() -> Source {
    Source::new(SOURCE).expect("it is a valid name")
}
