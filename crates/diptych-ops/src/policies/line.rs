//! The command line of policies.

use super::change::changes;
use super::{PoliciesInForce, check_policies, compare_policies, policy_schema, show_policies};
use crate::{ActionError, Operator, Report};
use clap::{Arg, ArgMatches, Command, value_parser};
use std::path::PathBuf;

/// The verb with its own verbs.
pub(crate) fn policies_verb() -> Command {
    let files = || {
        Arg::new("files")
            .value_name("FILE")
            .num_args(1..)
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help("Files of Cedar policies, or folders of them")
    };
    let principals = Arg::new("principals")
        .long("principals")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("A JSON list of principals: tenant, actor, teams, roles, clearance");
    let most = Arg::new("limit")
        .long("limit")
        .value_parser(value_parser!(u32).range(1..=200))
        .default_value("10")
        .help("How many at most, the latest first");
    Command::new("policies")
        .about("Look at the access policies, check and compare others")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("show").about("The policies of the code, with their version; opens no store"),
        )
        .subcommand(
            Command::new("check")
                .about("Whether files of policies could be used; exit code 1 when not; opens no store")
                .arg(files()),
        )
        .subcommand(
            Command::new("schema")
                .about("The Cedar schema that policies are written against; opens no store"),
        )
        .subcommand(
            Command::new("compare")
                .about("Who may do and see more or less by the policies of files than by the code's")
                .args([files(), principals]),
        )
        .subcommand(
            Command::new("history").about("Which policies were in force, and what each changed").arg(most),
        )
}

/// Does what `policies` says where that needs no store; none where it does.
///
/// # Errors
/// A service without policies, or declarations that policies cannot speak of.
pub fn run_policies(
    place: &PoliciesInForce<'_>,
    arguments: &ArgMatches,
) -> Option<Result<Report, ActionError>> {
    match arguments.subcommand() {
        Some(("show", _)) => Some(show_policies(place)),
        Some(("check", own)) => Some(check_policies(place.declarations, &files(own))),
        Some(("schema", _)) => Some(policy_schema(place.declarations)),
        _ => None,
    }
}

pub(crate) async fn run(operator: &Operator<'_>, arguments: &ArgMatches) -> Result<Report, ActionError> {
    match arguments.subcommand() {
        Some(("compare", own)) => {
            let principals = own.get_one::<PathBuf>("principals").map(PathBuf::as_path);
            compare_policies(operator, &files(own), principals).await
        }
        Some(("history", own)) => {
            let most = own.get_one::<u32>("limit").copied().unwrap_or(10) as usize;
            let mut changes = changes(operator.registry, super::POLICY_CHANGES_MAX + 100).await?;
            changes.truncate(most);
            Ok(Report::PolicyHistory(changes))
        }
        _ => run_policies(&operator.policies, arguments).unwrap_or_else(|| {
            Err(ActionError::Argument { reason: "`policies` shows, checks, compares or tells".to_owned() })
        }),
    }
}

fn files(arguments: &ArgMatches) -> Vec<PathBuf> {
    arguments.get_many("files").into_iter().flatten().cloned().collect()
}
