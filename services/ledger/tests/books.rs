//! Books that several writers keep at once, on both stores: whatever they ask for, what is accepted adds up
//! to zero, the trial balance is zero, and no account that refuses overdraft was ever below zero.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]
#![allow(clippy::print_stderr, reason = "the seed tells a history again")]

mod support;

use diptych::prelude::*;
use diptych::query::{Categories, Find};
use ledger::command::{BookCommand, BookRejection, Books, POSTINGS_CARRIED_MAX};
use ledger::facts::{AccountId, AccountKind, BookEvent, Entry, Overdraft, TransactionId};
use ledger::query::{AccountStatement, TrialBalance};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::folder::Folder;
use support::postgres::fresh;

const WRITERS: usize = 2;
const COMMANDS: usize = 120;

/// Accounts of two currencies; those of customers refuse overdraft.
const ACCOUNTS: [(&str, &str, AccountKind, Overdraft); 6] = [
    ("cash", "EUR", AccountKind::Asset, Overdraft::Allowed),
    ("ann", "EUR", AccountKind::Liability, Overdraft::Refused),
    ("bob", "EUR", AccountKind::Liability, Overdraft::Refused),
    ("safe", "EUR", AccountKind::Asset, Overdraft::Refused),
    ("pounds", "GBP", AccountKind::Asset, Overdraft::Allowed),
    ("cy", "GBP", AccountKind::Liability, Overdraft::Refused),
];

#[derive(Default, Debug)]
struct Answered {
    accepted: usize,
    rejected: BTreeMap<&'static str, usize>,
}

fn entry(account: &str, amount: i64, currency: &str) -> Entry {
    let amount = Money::from_thousandths(amount, currency.parse().unwrap()).unwrap();
    Entry { account: account.into(), amount }
}

/// A command drawn at random: mostly a transfer that the accounts may or may not cover, now and then one that
/// does not balance or mixes currencies, a reversal, a closing. Transactions of both writers share their ids,
/// so that they meet.
fn drawn(random: &mut fastrand::Rng) -> (String, BookCommand) {
    let id = format!("T-{}", random.usize(..2 * COMMANDS));
    let (from, to) = loop {
        let drawn = [random.usize(..ACCOUNTS.len()), random.usize(..ACCOUNTS.len())];
        let [from, to] = drawn.map(|place| ACCOUNTS[place]);
        let mixes = random.u8(..50) == 0;
        if from.0 != to.0 && (from.1 == to.1 || mixes) {
            break (from, to);
        }
    };
    let amount = 10 * random.i64(1..5_000);
    match random.u8(..60) {
        0 => ("bob".to_owned(), BookCommand::CloseAccount),
        1..15 => {
            let (accounts, reason) = ([from.0, to.0].map(AccountId::from).to_vec(), "drawn".to_owned());
            (id, BookCommand::ReverseTransaction { accounts, reason, value_date: None })
        }
        kind => {
            let more = if kind == 15 { 1 } else { 0 };
            let entries = vec![entry(from.0, -amount, from.1), entry(to.0, amount + more, to.1)];
            let (description, customer, value_date) = ("drawn".to_owned(), None, None);
            (id, BookCommand::PostTransaction { entries, description, customer, value_date })
        }
    }
}

async fn open_accounts(running: &Running) {
    for (account, currency, kind, overdraft) in ACCOUNTS {
        let (name, currency) = (account.to_owned(), currency.into());
        let command = BookCommand::OpenAccount { name, kind, currency, overdraft };
        let request = Request::by(running.principal()).to(&AccountId::new(account), command);
        running.commands().handle::<Books>(request).await.unwrap();
    }
}

/// One writer: gives its commands one after another; a lost race is no answer to complain about.
async fn write(running: Arc<Running>, seed: u64) -> Answered {
    let (mut random, mut answered) = (fastrand::Rng::with_seed(seed), Answered::default());
    for _ in 0..COMMANDS {
        let (id, command) = drawn(&mut random);
        let request = Request::by(running.principal()).to(&TransactionId::new(id), command);
        match running.commands().handle::<Books>(request).await {
            Ok(_) => answered.accepted += 1,
            Err(HandleError::Rejected(rejection)) => {
                let name = match rejection {
                    BookRejection::Overdraft { .. } => "overdraft",
                    BookRejection::Unbalanced { .. } => "unbalanced",
                    _ => "another",
                };
                *answered.rejected.entry(name).or_default() += 1;
            }
            Err(HandleError::Conflict(_)) => *answered.rejected.entry("conflict").or_default() += 1,
            Err(error) => panic!("{error}"),
        }
    }
    answered
}

/// The log as a bookkeeper reads it, who trusts nobody: each transaction by itself, each account all along.
async fn check_log(running: &Running) -> BTreeMap<String, i64> {
    let mut held: BTreeMap<String, i64> = BTreeMap::new();
    let block = running.feed().read(Position::START, &Categories::All, 10_000).await.unwrap();
    for fact in &block.facts {
        let event = fact.decode::<BookEvent>().unwrap().unwrap();
        if let BookEvent::BalanceCarriedForward { account, kind, balance, .. } = &event {
            let held = held.get(account.as_str()).copied().unwrap_or_default();
            let natural = if *kind == AccountKind::Asset { held } else { -held };
            assert_eq!(
                balance.thousandths(),
                natural,
                "what `{account}` carries forward at {}",
                fact.position
            );
        }
        let Some(movement) = event.movement() else { continue };
        let mut sums: BTreeMap<Currency, i64> = BTreeMap::new();
        for side in movement.entries {
            *sums.entry(side.amount.currency()).or_default() += side.amount.thousandths();
            let held = held.entry(side.account.to_string()).or_default();
            *held += side.amount.thousandths();
            let (_, _, kind, overdraft) =
                ACCOUNTS.iter().find(|known| known.0 == side.account.as_str()).unwrap();
            let natural = if *kind == AccountKind::Asset { *held } else { -*held };
            let covered = *overdraft == Overdraft::Allowed || natural >= 0;
            assert!(covered, "`{}` is overdrawn at {}", side.account, fact.position);
        }
        assert!(sums.values().all(|sum| *sum == 0), "{} does not add up: {sums:?}", fact.position);
    }
    held
}

async fn check_books(config: Config) {
    let seed = fastrand::u64(..);
    eprintln!("books of seed {seed}");
    let running = Arc::new(ledger::service().open(config).await.unwrap());
    open_accounts(&running).await;
    let writers: Vec<_> = (0..WRITERS as u64)
        .map(|writer| tokio::spawn(write(Arc::clone(&running), seed.wrapping_add(writer))))
        .collect();
    let mut accepted = 0;
    let mut rejected: BTreeMap<&str, usize> = BTreeMap::new();
    for writer in writers {
        let answered = writer.await.unwrap();
        accepted += answered.accepted;
        answered.rejected.into_iter().for_each(|(name, count)| *rejected.entry(name).or_default() += count);
    }
    eprintln!("{accepted} accepted, {rejected:?}");
    assert!(accepted > COMMANDS / 4 && rejected.contains_key("overdraft"), "the history is of no use");
    let held = check_log(&running).await;
    let find = Find::<TrialBalance>::default();
    let rows = running.queries().find(running.principal(), find).await.unwrap().value.items;
    let mut totals: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    for row in rows {
        let balance = held.get(row.account.as_str()).copied().unwrap_or_default();
        assert_eq!(row.balance.thousandths(), balance, "{row:?}");
        let total = totals.entry(row.currency.to_string()).or_default();
        for (total, part) in total.iter_mut().zip([row.debit, row.credit, row.balance]) {
            *total += part.thousandths();
        }
    }
    assert_eq!(totals.len(), 2, "{totals:?}");
    for (currency, [debit, credit, balance]) in totals {
        assert_eq!((debit, balance), (credit, 0), "the books do not balance in {currency}");
    }
    check_statements(&running, &held).await;
    Arc::into_inner(running).unwrap().stop().await.unwrap();
}

/// The last line of every statement holds what the account holds.
async fn check_statements(running: &Running, held: &BTreeMap<String, i64>) {
    running.projector().drain("statements").await.unwrap();
    for (account, balance) in held {
        let find = Find::<AccountStatement>::default()
            .filter(AccountStatement::ACCOUNT.eq(account.as_str()))
            .sort(AccountStatement::POSITION.desc())
            .page(1);
        let lines = running.queries().find(running.principal(), find).await.unwrap().value.items;
        assert_eq!(lines[0].balance.thousandths().abs(), balance.abs(), "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_never_unbalance_the_books_on_sqlite() {
    let folder = Folder::new("books");
    check_books(Config::at(folder.store())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_never_unbalance_the_books_on_postgresql() {
    check_books(Config::at(fresh().to_str().unwrap())).await;
}

/// Two withdrawals that the account covers one of, given at the same time, again and again.
async fn check_races(config: Config) {
    const ROUNDS: usize = 12;
    let running = Arc::new(ledger::service().open(config).await.unwrap());
    open_accounts(&running).await;
    let post = |id: String, from: &str, to: &str| {
        let entries = vec![entry(from, -5_000, "EUR"), entry(to, 5_000, "EUR")];
        let (description, customer, value_date) = ("a race".to_owned(), None, None);
        let command = BookCommand::PostTransaction { entries, description, customer, value_date };
        let running = Arc::clone(&running);
        tokio::spawn(async move {
            let request = Request::by(running.principal()).to(&TransactionId::new(id), command);
            running.commands().handle::<Books>(request).await.map(|_| ())
        })
    };
    for round in 0..ROUNDS {
        post(format!("in-{round}"), "ann", "cash").await.unwrap().unwrap();
        let both = [1, 2].map(|number| post(format!("out-{round}-{number}"), "cash", "ann"));
        let mut paid = 0;
        for one in both {
            match one.await.unwrap() {
                Ok(()) => paid += 1,
                Err(HandleError::Rejected(BookRejection::Overdraft { balance, .. })) => {
                    assert_eq!(balance.thousandths(), 0);
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(paid, 1, "round {round}: the account covers one of two");
    }
    check_log(&running).await;
    Arc::into_inner(running).unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_withdrawals_at_once_an_account_pays_the_one_it_covers_on_sqlite() {
    let folder = Folder::new("races");
    check_races(Config::at(folder.store())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_withdrawals_at_once_an_account_pays_the_one_it_covers_on_postgresql() {
    check_races(Config::at(fresh().to_str().unwrap())).await;
}

/// How many postings are asked for, and how many of them have to be paid: that many are more than one
/// decision could read.
const YEARS_ASKED: usize = 2_800;
const YEARS_PAID_MIN: usize = 2_400;

fn transfer(from: &str, to: &str, amount: i64) -> BookCommand {
    let entries = vec![entry(from, -amount, "EUR"), entry(to, amount, "EUR")];
    let (description, customer, value_date) = ("years of it".to_owned(), None, None);
    BookCommand::PostTransaction { entries, description, customer, value_date }
}

/// Posts to Ann's account and from it, at random; how many were paid.
async fn post_for_years(running: Arc<Running>, writer: usize, seed: u64) -> usize {
    let (mut random, mut paid) = (fastrand::Rng::with_seed(seed), 0);
    for number in 0..YEARS_ASKED / WRITERS {
        let amount = 10 * random.i64(1..500);
        let command = match random.u8(..7) {
            0..4 => transfer("ann", "cash", amount),
            4 | 5 => transfer("cash", "ann", amount),
            _ => transfer("bob", "ann", amount),
        };
        let id = TransactionId::new(format!("Y-{writer}-{number}"));
        let request = Request::by(running.principal()).to(&id, command);
        match running.commands().handle::<Books>(request).await {
            Ok(_) => paid += 1,
            Err(HandleError::Rejected(BookRejection::Overdraft { .. }) | HandleError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    paid
}

/// Two writers post to one guarded account for years; it is never full and never overdrawn, what is carried
/// forward is what a bookkeeper counts, and an early transaction can be taken back.
async fn check_years(config: Config) {
    let seed = fastrand::u64(..);
    eprintln!("years of seed {seed}");
    let running = Arc::new(ledger::service().open(config).await.unwrap());
    open_accounts(&running).await;
    let give = async |id: &str, command| {
        let request = Request::by(running.principal()).to(&TransactionId::new(id), command);
        running.commands().handle::<Books>(request).await
    };
    give("first", transfer("ann", "cash", 70)).await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(post_for_years(Arc::clone(&running), writer, seed ^ writer as u64)))
        .collect();
    let mut paid = 0;
    for writer in writers {
        paid += writer.await.unwrap();
    }
    assert!(paid > YEARS_PAID_MIN, "a history of {paid} postings is of no use");
    let held = -check_log(&running).await["ann"];
    let facts = running.feed().read(Position::START, &Categories::All, 10_000).await.unwrap().facts;
    let carried = facts.iter().filter(|fact| &*fact.event.name == "BalanceCarriedForward").count();
    eprintln!("{paid} paid, {carried} carried forward");
    assert!(carried >= paid / usize::try_from(POSTINGS_CARRIED_MAX).unwrap() - 1, "{carried} of {paid}");

    // What an account has is known to the last thousandth, whatever was carried forward.
    let refused = give("too-much", transfer("cash", "ann", held + 1)).await.unwrap_err();
    let HandleError::Rejected(BookRejection::Overdraft { balance, .. }) = refused else {
        panic!("{refused}")
    };
    assert_eq!(balance.thousandths(), held);
    give("all-but-70", transfer("cash", "ann", held - 70)).await.unwrap();
    let (accounts, reason) = (["ann", "cash"].map(AccountId::from).to_vec(), "long ago".to_owned());
    let reverse = BookCommand::ReverseTransaction { accounts, reason, value_date: None };
    give("first", reverse).await.unwrap();
    give("ann", BookCommand::CloseAccount).await.unwrap();
    assert_eq!(check_log(&running).await["ann"], 0);
    Arc::into_inner(running).unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_guarded_for_years_on_sqlite() {
    let folder = Folder::new("years");
    check_years(Config::at(folder.store())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_guarded_for_years_on_postgresql() {
    check_years(Config::at(fresh().to_str().unwrap())).await;
}
