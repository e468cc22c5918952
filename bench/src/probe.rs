//! How fast the disk is at this moment: the fdatasync calls per second that one page at a time reaches.

use crate::Outcome;
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const PAGE: [u8; 4_096] = [0x5a; 4_096];
const FILE_PAGES: u64 = 1_024;
const TIME: Duration = Duration::from_millis(200);

/// Writes page after page into a file that has its size already, each with its own fdatasync.
pub(crate) fn fdatasync_per_second(directory: &Path) -> Outcome<f64> {
    let mut file =
        OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("probe"))?;
    if file.metadata()?.len() < FILE_PAGES * PAGE.len() as u64 {
        for _ in 0..FILE_PAGES {
            file.write_all(&PAGE)?;
        }
        file.sync_all()?;
    }
    let started = Instant::now();
    let mut calls = 0_u64;
    while started.elapsed() < TIME {
        if calls.is_multiple_of(FILE_PAGES) {
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&PAGE)?;
        file.sync_data()?;
        calls += 1;
    }
    Ok(calls as f64 / started.elapsed().as_secs_f64())
}
