//! Joining: one file in the place of several that follow each other, line for line what they hold. The others
//! go once every byte of the one was read back; whoever reads meanwhile finds them, or the one. Decides
//! nothing about when.

use super::files::{EXTENSION, ExportFile, damaged, in_order, listed};
use super::format::{Checksum, EndLine, Lineage};
use super::{finished, line, unwritable, with_suffix};
use diptych_core::{Fault, Position};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much is written to the disk at once.
const BUFFER_BYTES: usize = 1 << 18;

/// The file of the events of a range. Names sort as their events do.
pub(crate) fn file_of(folder: &Path, from: Position, through: Position) -> PathBuf {
    let (first, last) = (from.next().0, through.0);
    folder.join(format!("events-{first:012}-{last:012}.{EXTENSION}"))
}

/// Writes one file that holds what the files of a chain hold that follow each other, and reads it back.
/// `suffix` is what nobody else uses who joins the same. The files stay.
///
/// # Errors
/// A file that is not what its last line says, or one that cannot be written.
pub(crate) fn join(folder: &Path, files: &[Arc<ExportFile>], suffix: &str) -> Result<(), Fault> {
    let (Some(first), Some(last)) = (files.first(), files.last()) else { return Ok(()) };
    let lineage = Lineage { from: first.from(), log: first.lineage.log, ..last.lineage.clone() };
    let file = file_of(folder, lineage.from, last.through());
    let unfinished = with_suffix(&file, &format!(".{suffix}.partial"));
    // INVARIANT: under its name it is read instead of the others, so it is whole before it has it.
    finished(write(&lineage, files, &unfinished), &unfinished, &file)?;
    let (joined, events) = (ExportFile::open(&file)?, files.iter().map(|file| file.end.events).sum::<u64>());
    joined.verify()?;
    if joined.end.events != events {
        let found = joined.end.events;
        return Err(damaged(&file, format!("holds {found} events of {events} that were joined")));
    }
    Ok(())
}

fn write(lineage: &Lineage, files: &[Arc<ExportFile>], unfinished: &Path) -> Result<(), Fault> {
    let out = File::create(unfinished).map_err(|error| unwritable(unfinished, error))?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    let mut checksum = Checksum::default();
    line(&mut out, unfinished, lineage)?;
    for file in files {
        file.walk(|text, event| {
            checksum.add(event);
            out.write_all(text).map_err(|error| unwritable(unfinished, error))
        })?;
    }
    line(&mut out, unfinished, &EndLine { end: checksum.end() })?;
    let out = out.into_inner().map_err(|error| unwritable(unfinished, error.into_error()))?;
    out.sync_all().map_err(|error| unwritable(unfinished, error))
}

/// Removes the files of a folder all of whose events another one holds, every byte of which is looked at
/// before. Answers how many.
///
/// # Errors
/// A file that is not what its last line says, or one that cannot be removed.
pub(crate) fn remove_joined(folder: &Path) -> Result<usize, Fault> {
    let files = listed(folder)?.into_iter().map(|path| ExportFile::open(&path).map(Arc::new));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let chain = in_order(files.clone())?;
    let mut removed = 0;
    for one in &chain {
        let held = |file: &&Arc<ExportFile>| file.path != one.path && one.holds(file);
        let joined: Vec<_> = files.iter().filter(held).collect();
        if joined.is_empty() {
            continue;
        }
        one.verify()?;
        for file in joined {
            match std::fs::remove_file(&file.path) {
                Ok(()) => removed += 1,
                // Another process that did the same was first.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unwritable(&file.path, error)),
            }
        }
    }
    Ok(removed)
}
