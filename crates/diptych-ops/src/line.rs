//! The command line of the actions.

use crate::actions::{drain, list_models, query, show_model, status, verify_models};
use crate::queue::{list_commands, retry_command, show_command};
use crate::{ActionError, Operator, Report};
use clap::{Arg, ArgMatches, Command, value_parser};
use diptych_command::QueueStatus;

/// The operator's verbs, for a service's command line.
#[must_use]
pub fn verbs() -> Vec<Command> {
    let name = || Arg::new("model").value_name("MODEL").help("The read model's name");
    let models = Command::new("models")
        .about("Look at read models, verify them, drain them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("How every read model is doing"))
        .subcommand(Command::new("show").about("Everything a read model declares").arg(name().required(true)))
        .subcommand(
            Command::new("verify")
                .about(
                    "Count and compare every row with a fresh fold of the log; exit code 1 on a difference",
                )
                .arg(name().help("The read model's name; all of them without")),
        )
        .subcommand(
            Command::new("drain").about("Fold everything the log holds by now").arg(name().required(true)),
        );
    let question = Arg::new("question")
        .value_name("NAME=VALUE")
        .num_args(0..)
        .help("Filters and options as over HTTP: status=PLACED sort=-placedAt pageSize=20");
    vec![
        commands(),
        Command::new("status").about("What the log holds and how every read model is doing"),
        models,
        Command::new("query").about("Ask a read model").arg(name().required(true)).arg(question),
    ]
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

/// Does what one of the verbs says.
///
/// # Errors
/// See [`ActionError`].
pub async fn run(operator: &Operator<'_>, verb: &str, arguments: &ArgMatches) -> Result<Report, ActionError> {
    match (verb, arguments.subcommand()) {
        ("status", _) => status(operator).await,
        ("models", Some(("list", _))) => list_models(operator).await,
        ("models", Some(("show", own))) => show_model(operator, text(own, "model")).await,
        ("models", Some(("verify", own))) => {
            verify_models(operator, own.get_one::<String>("model").map(String::as_str)).await
        }
        ("models", Some(("drain", own))) => drain(operator, text(own, "model")).await,
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
        (other, _) => Err(ActionError::Argument { reason: format!("there is no verb `{other}`") }),
    }
}

fn text<'a>(arguments: &'a ArgMatches, name: &str) -> &'a str {
    arguments.get_one::<String>(name).map(String::as_str).unwrap_or_default()
}
