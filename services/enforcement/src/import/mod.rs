//! Brings a log of road traffic fines in through the command side, each event at the time it happened. Safe
//! to interrupt and to run again: the ids of the commands come from case and place in the case, and what the
//! log holds already is not asked for again. The log itself is no part of the project.

#![allow(clippy::print_stderr, reason = "the verb tells the person at the terminal what it did")]

mod error;
mod file;
mod held;
mod row;
mod tally;

pub use error::BadRow;
pub(crate) use error::{failed, of_rows};
pub use file::{FineCase, FineLog, read};
pub use row::{Step, activity};
pub use tally::{Count, Tally};

use crate::command::Fine;
use crate::facts::FineStep;
use crate::people::importing;
use crate::query::FinesByStatus;
use clap::{Arg, ArgMatches, Command, value_parser};
use diptych::command::{Commands, patiently};
use diptych::core::Fault;
use diptych::prelude::*;
use diptych::{Verb, VerbError, VerbFuture};
use held::{Held, look};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How many fines are on their way at once; the store commits what waits together.
const FINES_AT_ONCE: usize = 1_024;

/// How long a command is given again that the store cannot take.
const PATIENCE: Duration = Duration::from_secs(120);

/// `enforcement import`.
pub struct Import;

/// What an import did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// How many commands it gave; the rest of the rows were in the log already.
    pub given: u64,
    /// What the fines of the file add up to, as the log has them.
    pub tally: Tally,
}

impl Verb for Import {
    fn command(&self) -> Command {
        let file = Arg::new("file")
            .value_name("FILE")
            .help("The log of fines, CSV, compressed with gzip or not")
            .required(true)
            .value_parser(value_parser!(PathBuf));
        Command::new("import")
            .about(
                "Import a log of road traffic fines through the command side, where it is not in the log yet",
            )
            .arg(file)
    }

    fn run<'a>(&'a self, service: &'a Running, arguments: &'a ArgMatches) -> VerbFuture<'a> {
        Box::pin(async move {
            let file = arguments.get_one::<PathBuf>("file").expect("clap asks for it");
            let started = Instant::now();
            let Imported { given, tally } = import(service, file, &progress_bar()).await?;
            catch_up(service).await?;
            eprintln!("{tally}");
            eprintln!("{}", by_status(service).await?);
            let (rows, seconds) = (tally.events(), started.elapsed().as_secs_f64());
            eprintln!(
                "imported {given} of {rows} events in {seconds:.1} s; the log holds what the file holds"
            );
            Ok(())
        })
    }
}

/// Imports what the log does not hold yet of a file, and holds the log against the file.
///
/// # Errors A file that cannot be read, or a log that holds something else in its place, in which case
/// nothing was given; commands that were refused, with their lines; a fault.
pub async fn import(service: &Running, file: &Path, bar: &ProgressBar) -> Result<Imported, VerbError> {
    bar.set_message("reading");
    let path = file.to_owned();
    let FineLog { cases, tally } = tokio::task::spawn_blocking(move || read(&path)).await??;
    let versions = look_at(service, &cases).await?.versions;
    let work = Arc::new(Work { cases, versions, next: AtomicUsize::new(0) });
    bar.set_length(tally.events());
    bar.set_message("fines");
    let given = work.send_all(service, bar).await?;
    let held = look_at(service, &work.cases).await?.tally;
    if held != tally {
        let what = format!("the log holds other figures than the file\nthe file:\n{tally}\nthe log:\n{held}");
        return Err(failed(what).into());
    }
    bar.finish_with_message("fines imported");
    Ok(Imported { given, tally })
}

/// What the log holds of some fines, none of it in another row's place.
async fn look_at(service: &Running, cases: &[FineCase]) -> Result<Held, VerbError> {
    let held = look(service.feed(), &service.principal().tenant, cases).await?;
    if held.differing.is_empty() { Ok(held) } else { Err(of_rows(held.differing).into()) }
}

/// The fines of a file on their way into the log.
struct Work {
    cases: Vec<FineCase>,
    /// How far the log had come with each.
    versions: Vec<u64>,
    /// The first that nobody has begun to send.
    next: AtomicUsize,
}

/// What one sender did.
#[derive(Default)]
struct Sent {
    given: u64,
    refused: Vec<BadRow>,
}

impl Work {
    /// Sends everything that is left, many fines at once; how many commands that were.
    async fn send_all(self: &Arc<Self>, service: &Running, bar: &ProgressBar) -> Result<u64, VerbError> {
        let mut senders = JoinSet::new();
        for _ in 0..FINES_AT_ONCE.min(self.cases.len()) {
            let (work, commands, principal) =
                (Arc::clone(self), Arc::clone(service.commands()), importer(service));
            let bar = bar.clone();
            senders.spawn(async move { work.send(&commands, &principal, &bar).await });
        }
        let mut all = Sent::default();
        while let Some(sent) = senders.join_next().await {
            let sent = sent??;
            all.given += sent.given;
            all.refused.extend(sent.refused);
        }
        if all.refused.is_empty() { Ok(all.given) } else { Err(of_rows(all.refused).into()) }
    }

    /// Sends one fine after the other until none is left.
    async fn send(
        &self,
        commands: &Commands,
        principal: &Principal,
        bar: &ProgressBar,
    ) -> Result<Sent, VerbError> {
        let mut sent = Sent::default();
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let (Some(case), Some(held)) = (self.cases.get(place), self.versions.get(place)) else {
                return Ok(sent);
            };
            let left = case.steps.iter().zip(0..).filter(|(_, before)| before >= held);
            for (step, before) in left {
                match give(commands, principal, case, step, Version(before)).await {
                    Ok(()) => sent.given += 1,
                    // The rest of the fine would meet another fine than the file tells of.
                    Err(Refusal::Row(row)) => {
                        sent.refused.push(row);
                        break;
                    }
                    Err(Refusal::Fault(fault)) => return Err(fault.into()),
                }
            }
            bar.inc(case.steps.len() as u64);
        }
    }
}

/// Why a row could not be given.
enum Refusal {
    /// Because of the row.
    Row(BadRow),
    /// Because of the store.
    Fault(Fault),
}

async fn give(
    commands: &Commands,
    principal: &Principal,
    case: &FineCase,
    step: &Step,
    before: Version,
) -> Result<(), Refusal> {
    let id = format!("fines/{}/{}", case.id.as_str(), before.0 + 1);
    let given = patiently(PATIENCE, || {
        let request = Request::by(principal).to(&case.id, step.command.clone()).command_id(id.as_str());
        commands.handle::<Fine>(request.if_version(before).at(step.at))
    });
    match given.await {
        Ok(_) => Ok(()),
        Err(HandleError::Fault(fault)) => Err(Refusal::Fault(fault)),
        Err(error) => {
            let reason = format!("was refused for fine `{}`: {error}", case.id.as_str());
            Err(Refusal::Row(BadRow { line: step.line, reason }))
        }
    }
}

/// What the right panel shows of all fines, those of other files too.
async fn by_status(service: &Running) -> Result<String, VerbError> {
    let find = FinesByStatus::find().page(FineStep::ALL.len());
    let answer = service.queries().find(&importer(service), find).await?;
    let mut table = format!(
        "{:<20} {:>9} {:>16} {:>16} {:>16}",
        "status of all fines", "fines", "due", "paid", "outstanding"
    );
    for row in answer.value.items {
        let FinesByStatus { status, fines, due, paid, outstanding, .. } = row;
        let (due, paid, outstanding) = (due.amount(), paid.amount(), outstanding.amount());
        let line = format!("\n{:<20} {fines:>9} {due:>16} {paid:>16} {outstanding:>16}", status.name());
        table.push_str(&line);
    }
    Ok(table)
}

/// Brings every read model to the end of the log, so that whoever looks next finds nothing missing.
pub(crate) async fn catch_up(service: &Running) -> Result<(), VerbError> {
    for (_, group) in service.queries().models() {
        service.projector().drain(group.name()).await?;
    }
    Ok(())
}

/// The import acts in its own name, in the tenant of the service.
fn importer(service: &Running) -> Principal {
    let tenant = service.principal().tenant.clone();
    let import = Principal::new("main", "import").expect("both are valid names");
    importing(Principal { tenant, ..import })
}

fn progress_bar() -> ProgressBar {
    let template = "{msg:>9} {wide_bar} {human_pos}/{human_len} · {per_sec} · {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}
