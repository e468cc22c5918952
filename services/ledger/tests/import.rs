//! Real payments through the command side, on both stores: the books hold exactly what was counted in the
//! files, and their trial balance is zero.
//!
//! The log of fines may not be copied into the project. `DIPTYCH_FINES` says where it is; without it only
//! the retail orders are posted here, and `cargo xtask test` says so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]
#![allow(clippy::print_stderr, reason = "a test that did not run says so")]

mod support;

use diptych::prelude::*;
use diptych::query::Find;
use indicatif::ProgressBar;
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

async fn check_import(config: Config, source: Option<Source>, counted: Counted) {
    let Some(source) = source else { return };
    let place = config.store.to_string();
    let started = Instant::now();
    let running = ledger::service().open(config).await.unwrap();
    let done = import(&running, &source, &ProgressBar::hidden()).await.unwrap();
    eprintln!("{place}: {} posted in {:.1} s", source.name(), started.elapsed().as_secs_f64());
    let Counted { payments, of_nothing, total } = counted;
    assert_eq!(done, Imported { payments: payments - of_nothing, of_nothing, total });
    check_balance(&running, total, done.payments).await;
    for (_, group) in running.queries().models() {
        running.projector().drain(group.name()).await.unwrap();
        for report in running.projector().verify(group.name(), 10).await.unwrap() {
            assert!(report.is_clean(), "{report:?}");
        }
    }
    let head = running.feed().head().await.unwrap();
    assert_eq!(import(&running, &source, &ProgressBar::hidden()).await.unwrap(), done);
    assert_eq!(running.feed().head().await.unwrap(), head, "the second import posted something");
    running.stop().await.unwrap();
    eprintln!("{place}: posted and checked in {:.1} s", started.elapsed().as_secs_f64());
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
    check_import(Config::at(folder.store()), fines_file(), of_fines()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_payments_of_the_fines_are_the_counted_sum_on_postgresql() {
    check_import(Config::at(fresh().to_str().unwrap()), fines_file(), of_fines()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_payments_of_the_orders_are_the_counted_sum_on_sqlite() {
    let folder = Folder::new("orders");
    check_import(Config::at(folder.store()), Some(orders_file()), of_orders()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_payments_of_the_orders_are_the_counted_sum_on_postgresql() {
    check_import(Config::at(fresh().to_str().unwrap()), Some(orders_file()), of_orders()).await;
}
