//! The figures of the data set, counted straight from the file with plain integers. Uses no code of the
//! service.

use flate2::read::GzDecoder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::AddAssign;
use std::path::Path;

/// What some bookings add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) bookings: i64,
    pub(crate) lines: i64,
    pub(crate) quantity: i64,
    /// In thousandths of a pound.
    pub(crate) amount: i64,
}

impl Sum {
    pub(crate) const fn of(bookings: i64, lines: i64, quantity: i64, amount: i64) -> Self {
        Self { bookings, lines, quantity, amount }
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.bookings += other.bookings;
        self.lines += other.lines;
        self.quantity += other.quantity;
        self.amount += other.amount;
    }
}

/// One customer, as the rows tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CustomerFigures {
    pub(crate) orders: i64,
    pub(crate) paid: i64,
    pub(crate) credited: i64,
}

/// One row of the file: invoice, stock code, description, quantity, time, price in thousandths, customer,
/// country.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct FileRow {
    pub(crate) invoice: String,
    pub(crate) stock_code: String,
    pub(crate) description: String,
    pub(crate) quantity: i64,
    pub(crate) time: String,
    pub(crate) price: i64,
    pub(crate) customer: String,
    pub(crate) country: String,
}

/// Every row of a file, in its order.
pub(crate) fn rows(file: &Path) -> Vec<FileRow> {
    let mut reader = csv::Reader::from_reader(GzDecoder::new(File::open(file).unwrap()));
    let rows = reader.records().map(|record| {
        let record = record.unwrap();
        FileRow {
            invoice: record[0].to_owned(),
            stock_code: record[1].to_owned(),
            description: record[2].to_owned(),
            quantity: record[3].parse().unwrap(),
            time: record[4].to_owned(),
            price: thousandths(&record[5]),
            customer: record[6].to_owned(),
            country: record[7].to_owned(),
        }
    });
    rows.collect()
}

/// The name under which a row's invoice is booked, as data/README.md tells the kinds apart.
fn kinds(rows: &[FileRow]) -> BTreeMap<&str, &'static str> {
    let mut kinds = BTreeMap::new();
    for row in rows {
        let kind = match row.invoice.as_bytes()[0] {
            b'C' => "CREDIT_NOTE",
            b'A' => "LEDGER_ADJUSTMENT",
            _ if row.quantity < 0 && row.price == 0 => "STOCK_ADJUSTMENT",
            _ => "ORDER",
        };
        let known = kinds.insert(row.invoice.as_str(), kind);
        assert!(known.is_none_or(|known| known == kind), "invoice {} mixes kinds", row.invoice);
    }
    kinds
}

/// What each kind of booking adds up to.
pub(crate) fn by_kind(rows: &[FileRow]) -> BTreeMap<String, Sum> {
    let kinds = kinds(rows);
    sums(rows, |row| kinds[row.invoice.as_str()].to_owned())
}

/// What each country's bookings add up to.
pub(crate) fn by_country(rows: &[FileRow]) -> BTreeMap<String, Sum> {
    sums(rows, |row| row.country.clone())
}

/// What each customer ordered, paid and got back.
pub(crate) fn by_customer(rows: &[FileRow]) -> BTreeMap<String, CustomerFigures> {
    let kinds = kinds(rows);
    let mut counted = BTreeSet::new();
    let mut customers: BTreeMap<String, CustomerFigures> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.customer.is_empty()) {
        let figures = customers.entry(row.customer.clone()).or_default();
        match kinds[row.invoice.as_str()] {
            "ORDER" => {
                figures.orders += i64::from(counted.insert(&row.invoice));
                figures.paid += row.quantity * row.price;
            }
            "CREDIT_NOTE" => figures.credited += row.quantity * row.price,
            other => panic!("a customer in a {other}"),
        }
    }
    customers
}

fn sums(rows: &[FileRow], key: impl Fn(&FileRow) -> String) -> BTreeMap<String, Sum> {
    let mut counted = BTreeSet::new();
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for row in rows {
        let bookings = i64::from(counted.insert(&row.invoice));
        *sums.entry(key(row)).or_default() += Sum::of(bookings, 1, row.quantity, row.quantity * row.price);
    }
    sums
}

/// `-1.5` is -1500; a fourth decimal would be lost and is refused.
fn thousandths(price: &str) -> i64 {
    let (sign, digits) = price.strip_prefix('-').map_or((1, price), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    assert!(fraction.len() <= 3, "{price}");
    sign * format!("{whole}{fraction:0<3}").parse::<i64>().unwrap()
}
