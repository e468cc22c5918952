//! The key that signs page tokens: a file of its own that only its owner may read.

use crate::fault::{OrFault, damaged};
use diptych_core::Fault;
use diptych_query::PageKey;
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// SQLite's generator is ChaCha20 seeded by the operating system.
const RANDOM_BYTES: &str = "SELECT randomblob(32)";

/// Reads `page.key`, or makes it. The first line signs; a second line, if there is one, is the key before it.
///
/// The caller holds the directory's lock, so that two processes do not make two keys.
pub(crate) fn page_key(directory: &Path) -> Result<PageKey, Fault> {
    let path = directory.join("page.key");
    if !path.exists() {
        make(&path)?;
    }
    let mut text = String::new();
    File::open(&path).and_then(|mut file| file.read_to_string(&mut text)).or_fault()?;
    let mut keys = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(parse);
    let wrong =
        || damaged("`page.key` does not hold 64 hexadecimal digits a line; remove it to have a new one");
    let current = keys.next().flatten().ok_or_else(wrong)?;
    let previous = match keys.next() {
        None => None,
        Some(key) => Some(key.ok_or_else(wrong)?),
    };
    Ok(PageKey::new(current, previous))
}

/// Writes a new key beside its place and moves it there whole.
fn make(path: &Path) -> Result<(), Fault> {
    let memory = Connection::open_in_memory().or_fault()?;
    let key: [u8; 32] = memory.query_row(RANDOM_BYTES, [], |row| row.get(0)).or_fault()?;
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let unfinished = path.with_extension("key.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    owner_only(&mut options);
    let mut file = options.open(&unfinished).or_fault()?;
    file.write_all(format!("{text}\n").as_bytes()).or_fault()?;
    file.sync_all().or_fault()?;
    std::fs::rename(&unfinished, path).or_fault()
}

#[cfg(unix)]
fn owner_only(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn owner_only(_: &mut OpenOptions) {}

fn parse(line: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    let digits = line.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}
