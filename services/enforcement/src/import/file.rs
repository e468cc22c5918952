//! Reading the log: rows into cases, each in its order. A file with a row that cannot be read gives nothing.

use super::error::{BadRow, failed, of_rows};
use super::row::{COLUMNS, Step, parse};
use super::tally::Tally;
use crate::facts::FineId;
use csv::StringRecord;
use diptych::core::Fault;
use diptych::prelude::*;
use flate2::read::MultiGzDecoder;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

/// The most rows of a file; they are held in memory, some 300 bytes each.
const ROWS_MAX: u64 = 4_000_000;

/// How a file begins that is compressed with gzip (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The log.
#[derive(Clone, Debug)]
pub struct FineLog {
    /// Its cases, in the order of the file.
    pub cases: Vec<FineCase>,
    /// What they add up to.
    pub tally: Tally,
}

/// The rows of one fine, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct FineCase {
    /// Which fine.
    pub id: FineId,
    /// What happened to it.
    pub steps: Vec<Step>,
}

/// Reads the whole file, compressed or not.
///
/// # Errors A file that cannot be opened or is too large, other columns than expected, or rows that cannot be
/// read, with their lines.
pub fn read(path: &Path) -> Result<FineLog, Fault> {
    let cannot =
        |error: std::io::Error| failed(format!("`{}` cannot be read", path.display())).because(error);
    let mut file = File::open(path).map_err(cannot)?;
    let mut start = Vec::new();
    (&file).take(GZIP.len() as u64).read_to_end(&mut start).map_err(cannot)?;
    file.rewind().map_err(cannot)?;
    let plain: Box<dyn Read> =
        if start == GZIP { Box::new(MultiGzDecoder::new(file)) } else { Box::new(BufReader::new(file)) };
    read_rows(csv::Reader::from_reader(plain))
}

fn read_rows(mut reader: csv::Reader<Box<dyn Read>>) -> Result<FineLog, Fault> {
    let header = reader.headers().map_err(|error| failed("the header cannot be read").because(error))?;
    if header != &StringRecord::from(COLUMNS.to_vec()) {
        return Err(failed(format!("the columns must be {}", COLUMNS.join(","))));
    }
    let mut cases = Cases::default();
    let (mut record, mut bad, mut rows) = (StringRecord::new(), Vec::new(), 0);
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                let taken = parse(&record, line).and_then(|(case, seq, step)| cases.take(&case, seq, step));
                bad.extend(taken.err().map(|reason| BadRow { line, reason }));
            }
            Err(error) => {
                if let csv::ErrorKind::UnequalLengths { len, expected_len, .. } = error.kind() {
                    bad.push(BadRow { line, reason: format!("has {len} cells of {expected_len}") });
                } else {
                    // Of a file that is cut off, or is no text, nothing behind it can be read either.
                    bad.push(BadRow { line, reason: format!("cannot be read: {error}") });
                    break;
                }
            }
        }
        rows += 1;
        if rows > ROWS_MAX {
            return Err(failed(format!("the file has more than {ROWS_MAX} rows; cut it into several")));
        }
    }
    if bad.is_empty() { Ok(cases.into_log()) } else { Err(of_rows(bad)) }
}

/// The cases that have been read so far.
#[derive(Default)]
struct Cases {
    cases: Vec<FineCase>,
    known: HashSet<FineId>,
}

impl Cases {
    /// Takes the next row, which belongs to the last case or begins a new one.
    fn take(&mut self, id: &str, seq: u64, step: Step) -> Result<(), String> {
        if self.cases.last().is_none_or(|case| case.id.as_str() != id) {
            if !self.known.insert(id.into()) {
                return Err(format!("is not beside the other rows of case `{id}`"));
            }
            self.cases.push(FineCase { id: id.into(), steps: Vec::new() });
        }
        let case = self.cases.last_mut().expect("one was there, or has just been pushed");
        let expected = case.steps.len() as u64 + 1;
        case.steps.push(step);
        if seq == expected { Ok(()) } else { Err(format!("has `seq` {seq} where {expected} comes next")) }
    }

    fn into_log(self) -> FineLog {
        let mut tally = Tally::default();
        for case in &self.cases {
            tally.count_case(case);
        }
        FineLog { cases: self.cases, tally }
    }
}

#[cfg(test)]
mod tests;
