//! Reading the data set: rows into invoices, in the order in which each first appears. Loses no row.

use crate::facts::{CustomerId, LineItem, ProductId};
use csv::StringRecord;
use diptych::core::{Code, Fault};
use diptych::prelude::*;
use flate2::read::GzDecoder;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// The columns, in order.
const COLUMNS: [&str; 8] =
    ["invoice", "stock_code", "description", "quantity", "invoice_date", "price", "customer_id", "country"];

/// The data set.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// Of the compressed file.
    pub checksum: String,
    /// How many rows it has.
    pub rows: usize,
    /// What they form.
    pub invoices: Vec<Invoice>,
}

/// One invoice with all its rows.
#[derive(Clone, PartialEq, Debug)]
pub struct Invoice {
    /// Its number; `C` or `A` in front tells a credit note or an adjustment of the ledger.
    pub number: String,
    /// The earliest time among its rows.
    pub time: Timestamp,
    /// Who, where that is known.
    pub customer: Option<CustomerId>,
    /// Where.
    pub country: String,
    /// Its rows, in the order of the file.
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// What.
    pub item: LineItem,
}

/// The fault of a file that cannot be imported.
pub(crate) fn failed(what: impl Into<String>) -> Fault {
    Fault::permanent(Code::ImportFailed, what)
}

/// Reads the whole file.
///
/// # Errors
/// A file that cannot be opened, other columns than expected, or a row that cannot be read, with its number.
pub fn read(path: &Path) -> Result<DataSet, Fault> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        failed(format!("`{shown}` cannot be read; name the data set with `--file`")).because(error)
    })?;
    let checksum = blake3::hash(&bytes).to_hex().to_string();
    drop(bytes);
    let open =
        File::open(path).map_err(|error| failed(format!("`{shown}` cannot be read")).because(error))?;
    let mut reader = csv::Reader::from_reader(GzDecoder::new(open));
    let header = reader.headers().map_err(|error| failed("the header cannot be read").because(error))?;
    if header != &StringRecord::from(COLUMNS.to_vec()) {
        return Err(failed(format!("the columns must be {}", COLUMNS.join(","))));
    }
    let mut invoices: Vec<Invoice> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut rows = 0;
    for (record, number) in reader.records().zip(2..) {
        let at_line = || failed(format!("line {number} cannot be read"));
        let record = record.map_err(|error| at_line().because(error))?;
        let (invoice, time, row) = parse(&record).map_err(|reason| at_line().because(reason))?;
        let place = *index.entry(invoice.number.clone()).or_insert_with(|| {
            invoices.push(invoice);
            invoices.len() - 1
        });
        let held = &mut invoices[place];
        held.time = held.time.min(time);
        held.rows.push(row);
        rows += 1;
    }
    Ok(DataSet { checksum, rows, invoices })
}

/// Reads one record: its invoice without rows, its time, its row. The error says what is wrong with it.
fn parse(record: &StringRecord) -> Result<(Invoice, Timestamp, Row), String> {
    let text = |column: usize| record.get(column).unwrap_or_default();
    let wrong = |column: usize| format!("`{}` cannot be `{}`", COLUMNS[column], text(column));
    let quantity = text(3).parse().map_err(|_| wrong(3))?;
    let time: Timestamp = format!("{}Z", text(4)).parse().map_err(|_| wrong(4))?;
    let unit_price = Money::parse(text(5), Currency::GBP).map_err(|_| wrong(5))?;
    let number = text(0).to_owned();
    if number.is_empty() || text(1).is_empty() || text(7).is_empty() {
        return Err("invoice, stock_code and country must not be empty".to_owned());
    }
    let optional = |column: usize| Some(text(column)).filter(|text| !text.is_empty());
    let invoice = Invoice {
        number,
        time,
        customer: optional(6).map(CustomerId::from),
        country: text(7).to_owned(),
        rows: Vec::new(),
    };
    let product_id = ProductId::from(text(1));
    let item = LineItem { product_id, name: optional(2).map(str::to_owned), quantity, unit_price };
    Ok((invoice, time, Row { item }))
}
