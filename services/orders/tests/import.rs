//! The real data set through the command side: no row is lost, whatever happens on the way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use diptych::prelude::*;
use diptych::query::Projection;
use diptych::sqlite::Durability;
use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::ProgressBar;
use orders::import::{DataSet, Imported, Kind, import, kind, read, steps};
use orders::query::{CustomerAccount, FulfilmentQueue, OrderSummary, SalesByCountryAndDay};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Instant;
use support::data_set;
use support::figures::{self, CustomerFigures, FileRow, Sum};
use support::folder::Folder;

const MODELS: [&str; 4] =
    ["order_summary", "fulfilment_queue", "sales_by_country_and_day", "customer_account"];

/// The sums of data/README.md, by kind.
const KINDS: [(&str, Sum); 4] = [
    ("ORDER", Sum::of(22_100, 513_131, 6_011_584, 10_305_892_024)),
    ("CREDIT_NOTE", Sum::of(4_592, 10_206, -213_418, -629_855_370)),
    ("STOCK_ADJUSTMENT", Sum::of(2_121, 2_121, -366_128, 0)),
    ("LEDGER_ADJUSTMENT", Sum::of(3, 3, 3, -136_552_020)),
];

/// The rows of the file, read once.
static ROWS: LazyLock<Vec<FileRow>> = LazyLock::new(|| figures::rows(&data_set()));

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_import_gives_the_counted_figures_and_a_second_one_appends_nothing() {
    let folder = Folder::new("import");
    let started = Instant::now();
    let running = open(&folder, true).await;
    let imported = import(&running, &data_set(), &ProgressBar::hidden()).await.unwrap();
    assert_eq!(imported, Some(Imported { rows: 525_461, invoices: 28_816 }));
    eprintln!("imported in {:.1} s", started.elapsed().as_secs_f64());
    check_figures(&running).await;
    let head = running.feed().head().await.unwrap();
    assert_eq!(import(&running, &data_set(), &ProgressBar::hidden()).await.unwrap(), None);
    assert_eq!(running.feed().head().await.unwrap(), head, "the second import appended something");
    running.stop().await.unwrap();
    eprintln!("imported and checked in {:.1} s", started.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_goes_on_to_exactly_the_same_figures() {
    let folder = Folder::new("interrupted");
    for events in [1, 40_000] {
        let running = open(&folder, true).await;
        interrupt(&running, events).await;
        running.stop().await.unwrap();
    }
    // The models that were left in the middle are taken to the end at once, not followed.
    let running = open(&folder, false).await;
    let head = running.feed().head().await.unwrap().position();
    assert!(head >= Position(40_000), "interrupted at {head}");
    let imported = import(&running, &data_set(), &ProgressBar::hidden()).await.unwrap();
    assert_eq!(imported, Some(Imported { rows: 525_461, invoices: 28_816 }));
    check_figures(&running).await;
    running.stop().await.unwrap();
}

/// Imports until the log holds so many events, and is then cut off wherever it is.
async fn interrupt(running: &Running, events: u64) {
    let mut head = running.feed().watch();
    let (file, bar) = (data_set(), ProgressBar::hidden());
    tokio::select! {
        done = import(running, &file, &bar) => panic!("the import was not interrupted: {done:?}"),
        reached = head.wait_for(|head| head.0 >= events) => { reached.unwrap(); }
    }
}

/// Everything that data/README.md counted, out of the read models; and every model equal to the log.
async fn check_figures(running: &Running) {
    let expected: BTreeMap<_, _> = KINDS.into_iter().map(|(kind, sum)| (kind.to_owned(), sum)).collect();
    assert_eq!(figures::by_kind(&ROWS), expected, "the file is not the one that data/README.md describes");
    for model in MODELS {
        running.projector().drain(model).await.unwrap();
    }
    check_sales(running, &ROWS).await;
    check_accounts(running, &ROWS).await;
    assert_eq!(all::<OrderSummary>(running).await.len(), 22_100);
    assert_eq!(all::<FulfilmentQueue>(running).await, [], "everything imported was sent long ago");
    for model in MODELS {
        for report in running.projector().verify(model, 10).await.unwrap() {
            assert!(report.is_clean() && report.digest_matches == Some(true), "{report:?}");
        }
    }
    // An order takes five events; a note or an adjustment one; the import itself one.
    let events = 5 * 22_100 + 4_592 + 2_121 + 3 + 1;
    assert_eq!(running.feed().head().await.unwrap().position(), Position(events));
}

async fn check_sales(running: &Running, rows: &[FileRow]) {
    let mut kinds: BTreeMap<String, Sum> = BTreeMap::new();
    let mut countries: BTreeMap<String, Sum> = BTreeMap::new();
    let mut total = Sum::default();
    for row in all::<SalesByCountryAndDay>(running).await {
        assert_eq!(row.amount.currency(), Currency::GBP);
        let sum = Sum::of(row.bookings, row.line_count, row.quantity, row.amount.thousandths());
        *kinds.entry(row.kind.name().to_owned()).or_default() += sum;
        *countries.entry(row.country.as_str().to_owned()).or_default() += sum;
        total += sum;
    }
    assert_eq!(kinds, KINDS.into_iter().map(|(kind, sum)| (kind.to_owned(), sum)).collect());
    assert_eq!(total, Sum::of(28_816, 525_461, 5_432_041, 9_539_484_634));
    assert_eq!(countries.len(), 40);
    let lines = ["United Kingdom", "EIRE", "Germany"].map(|country| countries[country].lines);
    assert_eq!(lines, [485_852, 9_670, 8_129]);
    assert_eq!(countries, figures::by_country(rows));
}

async fn check_accounts(running: &Running, rows: &[FileRow]) {
    let accounts = all::<CustomerAccount>(running).await.into_iter().map(|row| {
        assert_eq!(row.orders_cancelled, 0);
        let figures = CustomerFigures {
            orders: row.orders_placed,
            paid: row.paid.thousandths(),
            credited: row.credited.thousandths(),
        };
        (row.customer_id.as_str().to_owned(), figures)
    });
    let accounts: BTreeMap<_, _> = accounts.collect();
    assert_eq!(accounts.len(), 4_383);
    assert!(accounts == figures::by_customer(rows), "an account differs from the file");
}

/// Every row of a model, page by page.
async fn all<M: Projection>(running: &Running) -> Vec<M> {
    let mut rows = Vec::new();
    let mut find = M::find().page(500);
    loop {
        let answer = running.queries().find(running.principal(), find).await.unwrap();
        assert_eq!(answer.freshness.lag_events, 0);
        rows.extend(answer.value.items);
        match answer.value.next_page_token {
            Some(token) => find = M::find().page(500).after(token),
            None => return rows,
        }
    }
}

/// Nothing here depends on a loss of power, so no commit waits for the disk.
async fn open(folder: &Folder, follow: bool) -> Running {
    let roles = if follow { Roles::ALL } else { Roles::ALL.without(Role::Projector) };
    let config = Config { durability: Durability::Normal, roles, ..Config::at(folder.store()) };
    orders::service().open(config).await.unwrap()
}

#[test]
fn every_row_of_the_file_is_a_line_of_exactly_one_command() {
    let data = read(&data_set()).unwrap();
    let rows = &*ROWS;
    assert_eq!((data.rows, rows.len(), data.invoices.len()), (525_461, 525_461, 28_816));
    let mut expected: BTreeMap<&str, Vec<&FileRow>> = BTreeMap::new();
    rows.iter().for_each(|row| expected.entry(&row.invoice).or_default().push(row));
    for invoice in &data.invoices {
        let rows = expected.remove(invoice.number.as_str()).expect("each invoice comes once");
        let earliest = rows.iter().map(|row| format!("{}Z", row.time)).min();
        assert_eq!(Some(invoice.time.to_string()), earliest, "{}", invoice.number);
        assert_eq!(invoice.rows.len(), rows.len(), "{}", invoice.number);
        for (read, row) in invoice.rows.iter().zip(rows) {
            let item = &read.item;
            assert_eq!((item.product_id.as_str(), item.quantity), (row.stock_code.as_str(), row.quantity));
            assert_eq!(item.name.as_deref().unwrap_or_default(), row.description);
            assert_eq!(item.unit_price.thousandths(), row.price);
            let customer = invoice.customer.as_ref().map_or("", |customer| customer.as_str());
            assert_eq!((invoice.country.as_str(), customer), (row.country.as_str(), row.customer.as_str()));
        }
        let expected = if kind(invoice) == Kind::Order { 5 } else { 1 };
        assert_eq!(steps(invoice).unwrap().len(), expected);
    }
    assert!(expected.is_empty());
}

/// The traps of data/README.md are in the file, so that the test above means something.
#[test]
fn the_file_holds_the_traps_that_are_told_of_it() {
    let rows = &*ROWS;
    let count = |fits: &dyn Fn(&FileRow) -> bool| rows.iter().filter(|row| fits(row)).count();
    assert_eq!(count(&|row| row.price == 1), 14);
    assert_eq!((count(&|row| row.price < 0), count(&|row| row.price == 0)), (3, 3_687));
    assert_eq!(count(&|row| row.invoice.starts_with('C') && row.quantity > 0), 1);
    assert_eq!(
        (count(&|row| row.invoice.starts_with('C')), count(&|row| row.quantity < 0)),
        (10_206, 12_326)
    );
    assert_eq!(
        (count(&|row| row.customer.is_empty()), count(&|row| row.description.is_empty())),
        (107_927, 2_928)
    );
    assert_eq!(rows.len() - rows.iter().collect::<BTreeSet<_>>().len(), 6_865);
    let mut times: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    rows.iter().for_each(|row| {
        times.entry(&row.invoice).or_default().insert(&row.time);
    });
    assert_eq!(times.values().filter(|times| times.len() > 1).count(), 41);
    let runs = 1 + rows.windows(2).filter(|pair| pair[0].invoice != pair[1].invoice).count();
    assert!(runs > times.len(), "the rows of some invoice are not next to each other");
}

const HEADER: &str = "invoice,stock_code,description,quantity,invoice_date,price,customer_id,country";

#[test]
fn rows_that_are_apart_or_repeated_or_a_minute_late_stay_lines_of_their_invoice() {
    let data = read_lines(&[
        "1,lamp,Lamp,2,2010-01-01T10:01:00,0.001,c,EIRE",
        "2,lamp,\"Lamp, red\",1,2010-01-01T10:02:00,1,,EIRE",
        "1,lamp,Lamp,2,2010-01-01T10:00:00,0.001,c,EIRE",
        "1,lamp,Lamp,2,2010-01-01T10:00:00,0.001,c,EIRE",
    ]);
    let data = data.unwrap();
    let shapes: Vec<_> =
        data.invoices.iter().map(|invoice| (invoice.number.as_str(), invoice.rows.len())).collect();
    assert_eq!((data.rows, shapes), (4, vec![("1", 3), ("2", 1)]));
    assert_eq!(data.invoices[0].time.to_string(), "2010-01-01T10:00:00Z");
    assert_eq!(data.invoices[0].rows[2].item.unit_price.to_string(), "0.001 GBP");
    assert_eq!(data.invoices[1].rows[0].item.name.as_deref(), Some("Lamp, red"));
    assert_eq!(data.invoices[1].customer, None);
}

#[test]
fn kinds_are_told_apart_by_number_and_by_sign() {
    let data = read_lines(&[
        "C1,lamp,,1,2010-01-01T10:00:00,5,,EIRE",
        "A1,B,Adjust bad debt,1,2010-01-01T10:00:00,-5.5,,EIRE",
        "3,lamp,,-4,2010-01-01T10:00:00,0,,EIRE",
        "4,lamp,,4,2010-01-01T10:00:00,0,,EIRE",
    ]);
    let kinds: Vec<_> = data.unwrap().invoices.iter().map(kind).collect();
    assert_eq!(kinds, [Kind::CreditNote, Kind::LedgerAdjustment, Kind::StockAdjustment, Kind::Order]);
}

#[test]
fn an_invoice_that_mixes_sales_and_stock_is_refused_and_not_guessed() {
    let data =
        read_lines(&["1,lamp,,1,2010-01-01T10:00:00,5,,EIRE", "1,lamp,,-1,2010-01-01T10:00:00,0,,EIRE"]);
    let error = steps(&data.unwrap().invoices[0]).unwrap_err();
    assert_eq!(error.to_string(), "invoice `1` mixes sales and stock (DP0043)");
}

#[test]
fn a_row_that_cannot_be_read_is_named_by_its_line() {
    check_refused("1,lamp,,x,2010-01-01T10:00:00,1,,EIRE", "line 3 cannot be read: `quantity` cannot be `x`");
    check_refused(
        "1,lamp,,1,yesterday,1,,EIRE",
        "line 3 cannot be read: `invoice_date` cannot be `yesterday`",
    );
    check_refused(
        "1,lamp,,1,2010-01-01T10:00:00,0.0001,,EIRE",
        "line 3 cannot be read: `price` cannot be `0.0001`",
    );
    check_refused(
        "1,,,1,2010-01-01T10:00:00,1,,EIRE",
        "line 3 cannot be read: invoice, stock_code and country",
    );
    check_refused("1,lamp,,1,2010-01-01T10:00:00,1", "line 3 cannot be read");
}

#[track_caller]
fn check_refused(line: &str, expected: &str) {
    let error = read_lines(&["1,lamp,,1,2010-01-01T10:00:00,1,,EIRE", line]).unwrap_err().to_string();
    assert!(error.starts_with(expected) && error.ends_with("(DP0043)"), "{error}");
}

#[test]
fn a_file_of_other_columns_is_refused() {
    let folder = Folder::new("columns");
    let error = read(&write(folder.path(), "a,b\n1,2\n")).unwrap_err();
    assert_eq!(error.to_string(), format!("the columns must be {HEADER} (DP0043)"));
}

#[track_caller]
fn read_lines(lines: &[&str]) -> Result<DataSet, diptych::core::Fault> {
    let folder = Folder::new("lines");
    read(&write(folder.path(), &format!("{HEADER}\n{}\n", lines.join("\n"))))
}

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("rows.csv.gz");
    let mut out = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap();
    path
}
