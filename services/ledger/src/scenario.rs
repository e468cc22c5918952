//! A small made-up scenario, given through the command side. Safe to interrupt and to run again: each stream
//! tells by its version how far it has come.

#![allow(clippy::print_stderr, reason = "the verb tells the person at the terminal what it did")]

use crate::command::{BookCommand, Books};
use crate::facts::{AccountId, AccountKind, Entry, Overdraft, TransactionId};
use clap::{ArgMatches, Command};
use diptych::prelude::*;
use diptych::{Verb, VerbError, VerbFuture};

/// `ledger scenario`: also what `ledger` without a verb does before it serves.
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

/// A command of the scenario.
struct Step {
    /// An account or a transaction.
    id: &'static str,
    /// Which version it makes of it.
    version: Version,
    /// When it was given.
    at: &'static str,
    command: BookCommand,
}

/// Gives the commands of the scenario that have not been given yet, and says how many those were.
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
    let (commands, principal) = (service.commands(), service.principal());
    let Step { id, version, at, command } = step;
    let held = commands.aggregate(principal, "book", id, None).await?;
    if held.is_some_and(|held| held.version >= version) {
        return Ok(false);
    }
    let request = Request::by(principal).to(&TransactionId::new(id), command);
    let request = request.command_id(format!("scenario/{id}/{version}")).at(at.parse()?);
    match commands.handle::<Books>(request.if_version(Version(version.0 - 1))).await {
        Ok(_) => Ok(true),
        // Another process gives the scenario at the same time.
        Err(HandleError::Conflict(conflict)) if conflict.actual >= version => Ok(false),
        Err(error) => Err(format!("command `scenario/{id}/{version}` failed: {error}").into()),
    }
}

/// A small savings bank over the turn of a year: what its owners paid in, two customers' deposits, a fee that
/// was taken twice and given back once.
fn steps() -> Vec<Step> {
    use AccountKind::{Asset, Equity, Expense, Income, Liability};
    use Overdraft::{Allowed, Refused};
    let mut steps = vec![
        opened("cash", "Cash", Asset, Refused),
        opened("capital", "Owners' capital", Equity, Allowed),
        opened("ann", "Deposit of Ann Ashby", Liability, Refused),
        opened("bob", "Deposit of Bob Byrne", Liability, Refused),
        opened("fees", "Account fees", Income, Allowed),
        opened("rent", "Rent of the counter", Expense, Allowed),
    ];
    let posted = [
        (
            "T-1",
            "2025-12-01T09:00:00Z",
            "",
            "The owners pay in",
            [("cash", "5000.00"), ("capital", "-5000.00")],
        ),
        ("T-2", "2025-12-03T10:15:00Z", "ann", "Ann pays in", [("cash", "900.00"), ("ann", "-900.00")]),
        ("T-3", "2025-12-19T11:40:00Z", "ann", "Ann pays Bob", [("ann", "250.00"), ("bob", "-250.00")]),
        ("T-4", "2025-12-31T17:00:00Z", "ann", "Account fee", [("ann", "4.50"), ("fees", "-4.50")]),
        ("T-5", "2025-12-31T17:00:01Z", "ann", "Account fee", [("ann", "4.50"), ("fees", "-4.50")]),
        ("T-6", "2026-01-05T08:30:00Z", "", "Rent of January", [("rent", "640.00"), ("cash", "-640.00")]),
        ("T-7", "2026-01-08T12:05:00Z", "bob", "Bob takes out", [("bob", "200.00"), ("cash", "-200.00")]),
    ];
    steps.extend(posted.map(|(id, at, customer, description, entries)| {
        let customer = Some(customer).filter(|customer| !customer.is_empty());
        let entry = |(account, amount): (&str, &str)| Entry {
            account: account.into(),
            amount: Money::parse(amount, Currency::EUR).expect("the scenario is written with amounts"),
        };
        let command = BookCommand::PostTransaction {
            entries: entries.map(entry).into(),
            description: description.to_owned(),
            customer: customer.map(Into::into),
            value_date: None,
        };
        Step { id, version: Version(1), at, command }
    }));
    let command = BookCommand::ReverseTransaction {
        accounts: ["ann", "fees"].map(AccountId::from).into(),
        reason: "The fee was taken twice".to_owned(),
        value_date: None,
    };
    steps.push(Step { id: "T-5", version: Version(2), at: "2026-01-09T09:20:00Z", command });
    steps
}

fn opened(id: &'static str, name: &str, kind: AccountKind, overdraft: Overdraft) -> Step {
    let (name, currency) = (name.to_owned(), "EUR".into());
    let command = BookCommand::OpenAccount { name, kind, currency, overdraft };
    Step { id, version: Version(1), at: "2025-12-01T08:00:00Z", command }
}
