//! Brings real payments in through the command side: each a transaction of its own, cash against what was
//! owed. Safe to interrupt and to run again: the ids of the commands come from the data. What the books hold
//! in the end is held against what was counted in the file.

#![allow(clippy::print_stderr, reason = "the verb tells the person at the terminal what it did")]

mod payments;

pub use payments::{Payment, Payments, Source};

use crate::command::{BookCommand, BookRejection, Books};
use crate::facts::{AccountId, AccountKind, Entry, Overdraft};
use crate::query::TrialBalance;
use clap::{Arg, ArgMatches, Command, value_parser};
use diptych::command::{Commands, patiently};
use diptych::prelude::*;
use diptych::{Verb, VerbError, VerbFuture};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How many payments are on their way at once; the store commits what waits together.
const PAYMENTS_AT_ONCE: usize = 512;

/// How long a command is given again that the store cannot take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the retail orders are, seen from the root of the repository.
const ORDERS_FILE: &str = "data/online_retail_ii_2009_2010.csv.gz";

/// `ledger import`.
pub struct Import;

/// What an import did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imported {
    /// How many payments the file has that moved money.
    pub payments: usize,
    /// How many were of nothing, and became no transaction.
    pub of_nothing: usize,
    /// What they add up to, in the file and in the books.
    pub total: Money,
}

impl Verb for Import {
    fn command(&self) -> Command {
        let fines = Arg::new("fines")
            .value_name("FINES")
            .help("The log of road traffic fines, CSV; the payments of the retail orders without it")
            .value_parser(value_parser!(PathBuf));
        Command::new("import")
            .about("Post real payments through the command side, where they are not posted yet")
            .arg(fines)
    }

    fn run<'a>(&'a self, service: &'a Running, arguments: &'a ArgMatches) -> VerbFuture<'a> {
        Box::pin(async move {
            let source = match arguments.get_one::<PathBuf>("fines") {
                Some(file) => Source::Fines(file.clone()),
                None => Source::Orders(found(ORDERS_FILE)),
            };
            let started = Instant::now();
            let done = import(service, &source, &progress_bar()).await?;
            for (_, group) in service.queries().models() {
                service.projector().drain(group.name()).await?;
            }
            let Imported { payments, of_nothing, total } = done;
            let seconds = started.elapsed().as_secs_f64();
            eprintln!(
                "the books hold {payments} payments of {total}, as the file does, and {of_nothing} of \
                 nothing that became no transaction ({seconds:.1} s)"
            );
            Ok(())
        })
    }
}

/// Posts the payments of a source that are not posted yet.
///
/// # Errors
/// A file that cannot be read, a command that did not succeed, or books that hold another sum in the end.
pub async fn import(service: &Running, source: &Source, bar: &ProgressBar) -> Result<Imported, VerbError> {
    bar.set_message("reading");
    let reading = source.clone();
    let Payments { moved, of_nothing, total } = tokio::task::spawn_blocking(move || reading.read()).await??;
    let imported = Imported { payments: moved.len(), of_nothing, total };
    let [cash, owed] = open_accounts(service, source).await?;
    bar.set_length(moved.len() as u64);
    bar.set_message("payments");
    let work = Work { payments: moved, cash: cash.clone(), owed: owed.clone(), next: AtomicUsize::new(0) };
    Arc::new(work).post_all(service, bar).await?;
    check(service, [&cash, &owed], total).await?;
    bar.finish_with_message("payments posted");
    Ok(imported)
}

/// The two accounts of a source: where its money comes in, and what it is taken from.
async fn open_accounts(service: &Running, source: &Source) -> Result<[AccountId; 2], VerbError> {
    let accounts = [("cash", "Cash of"), ("receivable", "Owed for")].map(|(account, name)| {
        (AccountId::new(format!("{}-{account}", source.name())), format!("{name} {}", source.name()))
    });
    for (account, name) in &accounts {
        let command = BookCommand::OpenAccount {
            name: name.clone(),
            kind: AccountKind::Asset,
            currency: source.currency().into(),
            // What is owed was never posted here, so that payments alone take it below zero.
            overdraft: Overdraft::Allowed,
        };
        let request = Request::by(&importer(service)).to(account, command);
        match service.commands().handle::<Books>(request.command_id(format!("import/{account}"))).await {
            Ok(_) | Err(HandleError::Rejected(BookRejection::AccountExists)) => {}
            Err(error) => return Err(format!("the account `{account}` cannot be opened: {error}").into()),
        }
    }
    Ok(accounts.map(|(account, _)| account))
}

/// Payments on their way into the books.
struct Work {
    payments: Vec<Payment>,
    cash: AccountId,
    owed: AccountId,
    /// The first that nobody has begun to post.
    next: AtomicUsize,
}

impl Work {
    async fn post_all(self: &Arc<Self>, service: &Running, bar: &ProgressBar) -> Result<(), VerbError> {
        let mut senders = JoinSet::new();
        for _ in 0..PAYMENTS_AT_ONCE.min(self.payments.len()) {
            let (work, commands, principal, bar) =
                (Arc::clone(self), Arc::clone(service.commands()), importer(service), bar.clone());
            senders.spawn(async move { work.post(&commands, &principal, &bar).await });
        }
        while let Some(sent) = senders.join_next().await {
            sent??;
        }
        Ok(())
    }

    /// Posts one payment after another until none is left.
    async fn post(
        &self,
        commands: &Commands,
        principal: &Principal,
        bar: &ProgressBar,
    ) -> Result<(), VerbError> {
        while let Some(payment) = self.payments.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let Payment { transaction, customer, description, amount, at } = payment.clone();
            let entry = |account: &AccountId, amount| Entry { account: account.clone(), amount };
            let command = BookCommand::PostTransaction {
                entries: vec![entry(&self.cash, amount), entry(&self.owed, amount.times(-1)?)],
                description,
                customer,
                value_date: None,
            };
            let given = patiently(PATIENCE, || {
                let request = Request::by(principal).to(&transaction, command.clone());
                commands.handle::<Books>(request.command_id(format!("import/{transaction}")).at(at))
            });
            match given.await {
                // The key of an import long ago may be forgotten; the transaction is not.
                Ok(_) | Err(HandleError::Rejected(BookRejection::TransactionAlreadyPosted)) => bar.inc(1),
                Err(error) => return Err(format!("`{transaction}` cannot be posted: {error}").into()),
            }
        }
        Ok(())
    }
}

/// Holds the two accounts against what was counted.
async fn check(service: &Running, [cash, owed]: [&AccountId; 2], total: Money) -> Result<(), VerbError> {
    for (account, expected) in [(cash, total), (owed, total.times(-1)?)] {
        let answer = service.queries().get::<TrialBalance>(&importer(service), account, None).await?;
        let held = answer.value.map_or(Money::zero(total.currency()), |row| row.balance);
        if held != expected {
            let what = format!("the account `{account}` holds {held}, and the file says {expected}");
            return Err(what.into());
        }
    }
    Ok(())
}

/// The import acts in its own name, in the tenant of the service.
fn importer(service: &Running) -> Principal {
    let tenant = service.principal().tenant.clone();
    Principal { tenant, ..Principal::new("main", "import").expect("both are valid names") }
}

/// The file as named, or seen from where the service was built, so that `cargo run` works in any folder.
fn found(named: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(named);
    let named = PathBuf::from(named);
    if !named.exists() && built.exists() { built } else { named }
}

fn progress_bar() -> ProgressBar {
    let template = "{msg:>9} {wide_bar} {human_pos}/{human_len} · {per_sec} · {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}
