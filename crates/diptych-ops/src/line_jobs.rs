//! The command line of `jobs`.

use crate::jobs::{list_jobs, order_job, show_job};
use crate::{ActionError, Operator, Report};
use clap::{Arg, ArgMatches, Command};
use diptych_query::Order;

/// `jobs`.
pub(crate) fn verb() -> Command {
    let job = || Arg::new("job").value_name("JOB").required(true).help("The job's name");
    let reason = Arg::new("reason").long("reason").value_name("TEXT").required(true);
    Command::new("jobs")
        .about("Look at scheduled jobs and their runs, run one now")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("list").about("How every job stands; exit code 1 if one is overdue or failed"),
        )
        .subcommand(Command::new("show").about("One job with its runs").arg(job()))
        .subcommand(
            Command::new("run")
                .about("Run a job here and now, unless a process runs it")
                .args([job(), reason.help("Why; kept with who does it")]),
        )
}

/// Does what `jobs` says.
pub(crate) async fn run(operator: &Operator<'_>, arguments: &ArgMatches) -> Result<Report, ActionError> {
    let text = |own: &ArgMatches, name: &str| own.get_one::<String>(name).cloned().unwrap_or_default();
    match arguments.subcommand() {
        Some(("show", own)) => show_job(operator, &text(own, "job")).await,
        Some(("run", own)) => {
            let reason = text(own, "reason");
            if reason.trim().is_empty() {
                return Err(ActionError::Argument { reason: "`--reason` must say why".to_owned() });
            }
            let order = Order { actor: operator.principal.actor.clone(), reason };
            let run = order_job(operator, &text(own, "job"), order).await?;
            Ok(Report::JobRun(Box::new(run)))
        }
        _ => list_jobs(operator).await,
    }
}
