//! The command line of the actions.

use crate::actions::{query, status};
use crate::catalog::{self, CATALOG_FILE, Catalog, Replacing};
use crate::outbox::{drain_outbox, show_outbox};
use crate::policies::{self, policies_verb};
use crate::queue::{list_commands, retry_command, show_command};
use crate::states::{drop_states, list_states, verify_states, write_states};
use crate::{ActionError, Operator, RebuildWatcher, Report, line_history, line_jobs, line_models};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use diptych_command::QueueStatus;
use std::path::PathBuf;

/// The operator's verbs, for a service's command line.
#[must_use]
pub fn verbs() -> Vec<Command> {
    let name = || Arg::new("model").value_name("MODEL").help("The read model's name");
    let outbox = Command::new("outbox")
        .about("Look at the outbox of an application that keeps its own tables, drain it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("show")
                .about("What waits to be taken into the log; exit code 1 when a row holds it up"),
        )
        .subcommand(Command::new("drain").about("Take everything that waits into the log"));
    let question = Arg::new("question")
        .value_name("NAME=VALUE")
        .num_args(0..)
        .help("Filters and options as over HTTP: status=PLACED sort=-placedAt pageSize=20");
    let [streams, audit, export] = line_history::verbs();
    let [models, parked, drift, operations] = line_models::verbs();
    vec![
        commands(),
        line_jobs::verb(),
        Command::new("status").about("What the log holds and how every read model is doing"),
        models,
        parked,
        drift,
        operations,
        outbox,
        streams,
        audit,
        export,
        catalog_verb(),
        states_verb(),
        policies_verb(),
        Command::new("query").about("Ask a read model").arg(name().required(true)).arg(question),
    ]
}

fn catalog_verb() -> Command {
    let file = || {
        Arg::new("file")
            .long("file")
            .value_name("FILE")
            .help("The committed file")
            .default_value(CATALOG_FILE)
            .value_parser(value_parser!(PathBuf))
    };
    let replace = Arg::new("replace")
        .long("replace")
        .help("Write although the code breaks the committed file")
        .action(ArgAction::SetTrue);
    let strict = Arg::new("strict")
        .long("strict")
        .help("Exit code 1 also for events without owner or consumer")
        .action(ArgAction::SetTrue);
    Command::new("catalog")
        .about("Hold the event types in the code to a committed file; opens no store")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("write").about("Write the file, unless the code breaks it").args([file(), replace]),
        )
        .subcommand(
            Command::new("check")
                .about("Compare the file with the code; exit code 1 on a difference")
                .args([file(), strict]),
        )
}

/// Does what `catalog` says. It needs no store.
///
/// # Errors
/// A file that cannot be read or written.
pub fn run_catalog(code: &Catalog, arguments: &ArgMatches) -> Result<Report, ActionError> {
    let file = |own: &ArgMatches| own.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    Ok(Report::Catalog(match arguments.subcommand() {
        Some(("write", own)) => {
            let replacing = if own.get_flag("replace") { Replacing::Anything } else { Replacing::Compatible };
            catalog::write(code, &file(own), replacing)?
        }
        Some((_, own)) => catalog::check(code, &file(own), own.get_flag("strict"))?,
        None => return Err(ActionError::Argument { reason: "`catalog` writes or checks".to_owned() }),
    }))
}

fn states_verb() -> Command {
    let category =
        || Arg::new("category").value_name("CATEGORY").required(true).help("The decider's category");
    Command::new("states")
        .about("Look at stored states, bring them up to date, verify them, drop them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("How every category is persisted and how its rows stand"))
        .subcommand(
            Command::new("write")
                .about("Bring a row for every stream up to date, while commands go on")
                .arg(category()),
        )
        .subcommand(
            Command::new("verify")
                .about("Hold every row against the fold of its stream; exit code 1 on a difference")
                .arg(category()),
        )
        .subcommand(
            Command::new("drop").about("Remove the rows of an event-sourced category").arg(category()),
        )
}

/// The verbs of the queue.
fn commands() -> Command {
    let id = || Arg::new("id").value_name("ID").required(true).help("The command's id");
    let words: Vec<_> = QueueStatus::ALL.into_iter().map(QueueStatus::as_str).collect();
    let status = Arg::new("status").long("status").value_parser(words).help("Only those that stand there");
    let most = Arg::new("limit")
        .long("limit")
        .value_parser(value_parser!(u32).range(1..=10_000))
        .default_value("50")
        .help("How many at most, the latest first");
    Command::new("commands")
        .about("Look at commands that are done later, and run a failed one again")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("What the queue holds").args([status, most]))
        .subcommand(Command::new("show").about("One command in full").arg(id()))
        .subcommand(Command::new("retry").about("Run a failed command again").arg(id()))
}

/// Does what one of the verbs says; `watcher` is told how far a rebuild has come.
///
/// # Errors
/// See [`ActionError`].
pub async fn run(
    operator: &Operator<'_>,
    verb: &str,
    arguments: &ArgMatches,
    watcher: &mut dyn RebuildWatcher,
) -> Result<Report, ActionError> {
    match (verb, arguments.subcommand()) {
        ("status", _) => status(operator).await,
        ("jobs", _) => line_jobs::run(operator, arguments).await,
        ("models" | "parked" | "drift" | "operations", _) => {
            line_models::run(operator, verb, arguments, watcher).await
        }
        ("outbox", Some(("drain", _))) => drain_outbox(operator).await,
        ("outbox", _) => show_outbox(operator).await,
        ("states", Some(("list", _))) => list_states(operator).await,
        ("states", Some(("write", own))) => write_states(operator, text(own, "category")).await,
        ("states", Some(("verify", own))) => verify_states(operator, text(own, "category")).await,
        ("states", Some(("drop", own))) => drop_states(operator, text(own, "category")).await,
        ("commands", Some(("list", own))) => {
            let word = own.get_one::<String>("status");
            let status =
                QueueStatus::ALL.into_iter().find(|status| Some(status.as_str()) == word.map(|w| w.as_str()));
            let most = own.get_one::<u32>("limit").copied().unwrap_or(50);
            list_commands(operator, status, most as usize).await
        }
        ("commands", Some(("show", own))) => show_command(operator, text(own, "id")).await,
        ("commands", Some(("retry", own))) => retry_command(operator, text(own, "id")).await,
        ("query", _) => {
            let words: Vec<String> = arguments.get_many("question").into_iter().flatten().cloned().collect();
            query(operator, text(arguments, "model"), &words).await
        }
        ("policies", _) => policies::run(operator, arguments).await,
        ("streams" | "audit" | "export", _) => line_history::run(operator, verb, arguments).await,
        (other, _) => Err(ActionError::Argument { reason: format!("there is no verb `{other}`") }),
    }
}

fn text<'a>(arguments: &'a ArgMatches, name: &str) -> &'a str {
    arguments.get_one::<String>(name).map(String::as_str).unwrap_or_default()
}
