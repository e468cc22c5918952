//! A small made-up scenario, given through the command side. Safe to interrupt and to run again: each stream
//! tells by its version how far it has come.

#![allow(clippy::print_stderr, reason = "the verb tells the person at the terminal what it did")]

mod steps;

pub use steps::{Action, Step, steps};

use crate::command::{Case, Decision, Party};
use crate::people::{importing, person};
use clap::{ArgMatches, Command};
use diptych::command::Commands;
use diptych::prelude::*;
use diptych::{Verb, VerbError, VerbFuture};

/// `enforcement scenario`: also what `enforcement` without a verb does before it serves.
pub struct Scenario;

impl Verb for Scenario {
    fn command(&self) -> Command {
        Command::new("scenario").about("Give the made-up scenario through the command side, if not yet done")
    }

    fn run<'a>(&'a self, service: &'a Running, _: &'a ArgMatches) -> VerbFuture<'a> {
        Box::pin(async move {
            match play(service).await? {
                0 => eprintln!("the scenario is there already"),
                given => eprintln!("gave {given} commands of the made-up scenario"),
            }
            Ok(())
        })
    }
}

/// Gives the commands of the scenario that have not been given yet, brings the read models up to date, and
/// says how many commands it gave.
///
/// # Errors
/// A command that did not succeed, or a read model that could not follow.
pub async fn play(service: &Running) -> Result<usize, VerbError> {
    let mut given = 0;
    for step in steps() {
        given += usize::from(give(service, step).await?);
    }
    for (_, group) in service.queries().models() {
        service.projector().drain(group.name()).await?;
    }
    Ok(given)
}

/// Gives one command unless its stream has come that far; whether it was given.
async fn give(service: &Running, step: Step) -> Result<bool, VerbError> {
    let commands = service.commands();
    let (category, key) = step.target();
    // Whoever acts in the scenario is made up as well; the tenant is the service's own.
    let tenant = &service.principal().tenant;
    let known = |actor| person(tenant, actor).ok_or_else(|| format!("nobody knows `{actor}`"));
    let held = commands.aggregate(&known("scenario")?, category, key, None).await?;
    if held.is_some_and(|held| held.version >= step.version) {
        return Ok(false);
    }
    let principal = importing(known(step.actor)?);
    let Step { at, version, action, .. } = step;
    let circumstances = (principal, at, version);
    match action {
        Action::Case(id, command) => send::<Case>(commands, circumstances, &id, command).await,
        Action::Decision(id, command) => send::<Decision>(commands, circumstances, &id, command).await,
        Action::Party(id, command) => send::<Party>(commands, circumstances, &id, command).await,
    }
}

async fn send<D: Decider>(
    commands: &Commands,
    (principal, at, version): (Principal, Timestamp, Version),
    target: &impl Id,
    command: D::Command,
) -> Result<bool, VerbError> {
    let id = format!("scenario/{}/{version}", target.as_str());
    let before = Version(version.0 - 1);
    let request = Request::by(&principal).to(target, command).command_id(id.as_str());
    match commands.handle::<D>(request.if_version(before).at(at)).await {
        Ok(_) => Ok(true),
        // Another process gives the scenario at the same time.
        Err(HandleError::Conflict(conflict)) if conflict.actual >= version => Ok(false),
        Err(error) => Err(format!("command `{id}` failed: {error}").into()),
    }
}
