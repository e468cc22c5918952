//! Real payments through the command side, on both stores: the books hold exactly what was counted in the
//! files, and their trial balance is zero.
//!
//! The log of fines may not be copied into the project. `DIPTYCH_FINES` says where it is; without it only
//! the retail orders are posted here, and `cargo xtask test` says so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]
#![allow(clippy::print_stderr, reason = "a test that did not run says so")]

mod support;

use diptych::ops::order_job;
use diptych::prelude::*;
use diptych::projector::{Measured, RebuildOrder, RebuildStep};
use diptych::query::{Find, Order};
use indicatif::ProgressBar;
use ledger::NIGHTLY;
use ledger::command::{BookCommand, Books};
use ledger::facts::{AccountId, Entry, TransactionId};
use ledger::import::{Imported, Source, import};
use ledger::query::TrialBalance;
use std::path::{Path, PathBuf};
use std::time::Instant;
use support::folder::Folder;
use support::postgres::fresh;

/// What was counted in a file: how many payments, how many of them of nothing, what all of them add up to.
struct Counted {
    payments: usize,
    of_nothing: usize,
    total: Money,
}

/// Counted from the log of fines: 77,601 payments, as its publishers counted them; three of them are of 0.00.
fn of_fines() -> Counted {
    Counted { payments: 77_601, of_nothing: 3, total: Money::parse("3601464.53", Currency::EUR).unwrap() }
}

/// Counted from the retail orders: 22,100 orders, as `data/README.md` has them; 1,149 of them cost nothing.
fn of_orders() -> Counted {
    let total = Money::parse("10305892.024", Currency::GBP).unwrap();
    Counted { payments: 22_100, of_nothing: 1_149, total }
}

fn orders_file() -> Source {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/online_retail_ii_2009_2010.csv.gz");
    Source::Orders(file)
}

fn fines_file() -> Option<Source> {
    let file = std::env::var_os("DIPTYCH_FINES").map(PathBuf::from);
    if file.is_none() {
        eprintln!("not run: DIPTYCH_FINES names no file");
    }
    file.map(Source::Fines)
}

async fn check_import(config: Config, exports: &Folder, source: Option<Source>, counted: Counted) {
    let Some(source) = source else { return };
    let config = Config { exports: Some(exports.path().join("exports")), ..config };
    let place = config.store.to_string();
    let started = Instant::now();
    let running = ledger::service().open(config).await.unwrap();
    let done = import(&running, &source, &ProgressBar::hidden()).await.unwrap();
    eprintln!("{place}: {} posted in {:.1} s", source.name(), started.elapsed().as_secs_f64());
    let Counted { payments, of_nothing, total } = counted;
    assert_eq!(done, Imported { payments: payments - of_nothing, of_nothing, total });
    check_balance(&running, total, done.payments).await;
    let (actor, reason) = (running.principal().actor.clone(), "a night that does not wait".to_owned());
    let order = Order { actor, reason };
    let run = order_job(&running.operator().await.unwrap(), NIGHTLY, order).await.unwrap();
    assert_eq!(run.done.unwrap().rows, done.payments as u64 + 2, "the export holds every event");
    for (_, group) in running.queries().models() {
        running.projector().drain(group.name()).await.unwrap();
        for report in running.projector().verify(group.name(), 10).await.unwrap() {
            assert!(report.is_clean(), "{report:?}");
        }
    }
    // The fines name no customers, and posting so many a second time tells nothing more.
    if matches!(source, Source::Orders(_)) {
        check_documents(&running, &exports.path().join("exports").join(NIGHTLY)).await;
        let head = running.feed().head().await.unwrap();
        assert_eq!(import(&running, &source, &ProgressBar::hidden()).await.unwrap(), done);
        assert_eq!(running.feed().head().await.unwrap(), head, "the second import posted something");
        check_difference(&running, &source, total).await;
    }
    running.stop().await.unwrap();
    eprintln!("{place}: posted and checked in {:.1} s", started.elapsed().as_secs_f64());
}

/// Books that hold another sum than the file are no import that went well: it says by how much.
async fn check_difference(running: &Running, source: &Source, total: Money) {
    let penny = Money::parse("0.01", total.currency()).unwrap();
    let entry = |account: &str, amount| Entry { account: AccountId::new(account), amount };
    let cash = format!("{}-cash", source.name());
    let owed = format!("{}-receivable", source.name());
    let command = BookCommand::PostTransaction {
        entries: vec![entry(&cash, penny), entry(&owed, penny.times(-1).unwrap())],
        description: "posted by hand".to_owned(),
        customer: None,
        value_date: None,
    };
    let request = Request::by(running.principal()).to(&TransactionId::new("by-hand"), command);
    running.commands().handle::<Books>(request).await.unwrap();
    let refused = import(running, source, &ProgressBar::hidden()).await.unwrap_err().to_string();
    let held = total.plus(penny).unwrap();
    assert_eq!(refused, format!("the account `{cash}` holds {held}, and the file says {total}"));
}

/// Documents that are built anew from the files of the night are those that the log gives.
async fn check_documents(running: &Running, files: &Path) {
    let from_log = rebuilt(running, None).await;
    let from_files = rebuilt(running, Some(files.display().to_string())).await;
    assert!(from_log.facts > 0 && from_log.facts == from_files.facts);
    assert_eq!((from_files.digest, from_files.rows), (from_log.digest, from_log.rows));
    let (log, files) = (from_log.events_per_second, from_files.events_per_second);
    eprintln!("documents from the log: {log:.0} events/s, from files: {files:.0} events/s");
}

/// Builds the customers' months anew, and lets go of the build before.
async fn rebuilt(running: &Running, filled_from: Option<String>) -> Measured {
    let (projector, model) = (running.projector(), "customer_month");
    let order = Order { actor: running.principal().actor.clone(), reason: "to be sure".to_owned() };
    let rebuild = RebuildOrder { filled_from, ..RebuildOrder::by(order.clone()) };
    projector.rebuild(model, rebuild).await.unwrap();
    loop {
        projector.steward().settle().await.unwrap();
        let rebuild = projector.rebuild_of(model).await.unwrap().unwrap();
        match rebuild.step {
            RebuildStep::Switched => {
                projector.retire(model, rebuild.from.unwrap(), order).await.unwrap();
                return rebuild.measured;
            }
            RebuildStep::Failed | RebuildStep::Blocked => panic!("{:?}", rebuild.reason),
            _ => tokio::task::yield_now().await,
        }
    }
}

/// Two accounts: one with all the debits, one with all the credits.
async fn check_balance(running: &Running, total: Money, payments: usize) {
    let find = Find::<TrialBalance>::default();
    let rows = running.queries().find(running.principal(), find).await.unwrap().value.items;
    let zero = Money::zero(total.currency());
    let shown: Vec<_> = rows.iter().map(|row| (row.debit, row.credit, row.entries)).collect();
    assert_eq!(shown, [(total, zero, payments as i64), (zero, total, payments as i64)]);
    let sum = rows.iter().fold(zero, |sum, row| sum.plus(row.balance).unwrap());
    assert_eq!(sum, zero, "the trial balance is not zero");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_payments_of_the_fines_are_the_counted_sum_on_sqlite() {
    let folder = Folder::new("fines");
    check_import(Config::at(folder.store()), &folder, fines_file(), of_fines()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_payments_of_the_fines_are_the_counted_sum_on_postgresql() {
    let folder = Folder::new("exports");
    check_import(Config::at(fresh().to_str().unwrap()), &folder, fines_file(), of_fines()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_payments_of_the_orders_are_the_counted_sum_on_sqlite() {
    let folder = Folder::new("orders");
    check_import(Config::at(folder.store()), &folder, Some(orders_file()), of_orders()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_payments_of_the_orders_are_the_counted_sum_on_postgresql() {
    let folder = Folder::new("exports");
    check_import(Config::at(fresh().to_str().unwrap()), &folder, Some(orders_file()), of_orders()).await;
}
