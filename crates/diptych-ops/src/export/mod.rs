//! `export` and `import-log`: a log, or a part of it, as lines that any program reads; and a store filled
//! from them. What a log says of every event is carried byte for byte; ledger and audit are not, but for the
//! actor and the command that stand beside each event.

mod feed;
pub(crate) mod files;
mod format;
pub(crate) mod join;
mod read;
mod sources;

pub use format::{EXPORT_FORMAT, End, ExportFilter, Lineage};
pub use read::ExportReader;
pub use sources::ExportSources;

use crate::{ActionError, Operator, Report};
use diptych_command::{Languages, LogRestore, RestoreSource, RestoredEvent};
use diptych_core::{Code, Epoch, Fault, Position, RawFact, Timestamp};
use diptych_query::{Categories, Feed};
use format::{Checksum, EndLine, EventLine};
use serde::Serialize;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// How many positions are read at once.
const BLOCK_POSITIONS: usize = 1_000;

/// What was written or taken over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportReport {
    /// The file.
    pub file: String,
    /// What was done with it: `exported` or `imported`.
    pub done: &'static str,
    /// Where the events come from.
    pub lineage: Lineage,
    /// How many there are, and what they say.
    pub end: End,
}

impl ExportReport {
    pub(crate) fn to_text(&self) -> String {
        let Self { file, done, lineage, end } = self;
        format!(
            "{file}: {} events {done}, of `{}` through {}\n{}",
            end.events, lineage.service, lineage.through, end.checksum
        )
    }
}

/// Writes the events of the log that fit, up to where it ends now, to a file. It is written under another
/// name and gets its own when it is whole.
///
/// # Errors
/// A file that cannot be written, or a fault of the store.
pub async fn export(
    operator: &Operator<'_>,
    filter: ExportFilter,
    file: &Path,
    now: Timestamp,
) -> Result<Report, ActionError> {
    let start = operator.feed.mark(Position::START).await?;
    let start = start.ok_or_else(|| Fault::permanent(Code::Storage, "the log has no beginning"))?;
    let head = operator.feed.head().await?;
    let lineage = Lineage {
        diptych_export: EXPORT_FORMAT,
        service: operator.service.to_owned(),
        log: start.token,
        epoch: head.token.epoch,
        from: Position::START,
        through: head.token,
        filter,
        exported_at: now,
    };
    let end = write_whole(operator.feed, &lineage, file, "partial").await?;
    let file = file.display().to_string();
    Ok(Report::Exported(Box::new(ExportReport { file, done: "exported", lineage, end })))
}

/// Writes what a lineage says to a file, under another name until it is whole: the file's with a suffix that
/// nobody else uses who writes the same file.
pub(crate) async fn write_whole(
    feed: &dyn Feed,
    lineage: &Lineage,
    file: &Path,
    suffix: &str,
) -> Result<End, Fault> {
    let unfinished = with_suffix(file, &format!(".{suffix}"));
    let written = write(feed, lineage, &unfinished).await;
    finished(written, &unfinished, file)
}

/// Gives a file that was written whole its name, and removes one that was not.
fn finished<T>(written: Result<T, Fault>, unfinished: &Path, file: &Path) -> Result<T, Fault> {
    if written.is_err() {
        // What is not whole is of no use; that it cannot be removed is not the failure to tell.
        let _ = std::fs::remove_file(unfinished);
        return written;
    }
    std::fs::rename(unfinished, file).map_err(|error| unwritable(file, error))?;
    // A name is kept by its folder. Where folders cannot be synchronised, the system does what it can.
    if let Some(folder) = file.parent().and_then(|folder| File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
    written
}

/// A file beside another one, by its name and a suffix.
pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

async fn write(feed: &dyn Feed, lineage: &Lineage, file: &Path) -> Result<End, Fault> {
    let out = File::create(file).map_err(|error| unwritable(file, error))?;
    let mut out = BufWriter::with_capacity(1 << 18, out);
    let (through, mut reached) = (lineage.through.position, lineage.from);
    let mut checksum = Checksum::default();
    line(&mut out, file, lineage)?;
    while reached < through {
        let wanted = usize::try_from(reached.lag_to(through)).unwrap_or(usize::MAX).min(BLOCK_POSITIONS);
        let block = feed.read(reached, &Categories::All, wanted).await?;
        reached = block.through.position();
        let taken = |fact: &&std::sync::Arc<RawFact>| lineage.filter.admits(fact);
        for fact in block.facts.iter().filter(taken) {
            let event = EventLine::of(fact);
            checksum.add(&event);
            line(&mut out, file, &event)?;
        }
    }
    let end = checksum.end();
    line(&mut out, file, &EndLine { end: end.clone() })?;
    let out = out.into_inner().map_err(|error| unwritable(file, error.into_error()))?;
    out.sync_all().map_err(|error| unwritable(file, error))?;
    Ok(end)
}

fn line(out: &mut impl Write, file: &Path, value: &impl Serialize) -> Result<(), Fault> {
    let written = serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from);
    written.and_then(|()| out.write_all(b"\n")).map_err(|error| unwritable(file, error))
}

pub(crate) fn unwritable(file: &Path, error: std::io::Error) -> Fault {
    Fault::permanent(Code::Storage, format!("`{}` cannot be written", file.display())).because(error)
}

/// Fills an empty store with an export, in one transaction, under the epoch after that of the export.
///
/// # Errors
/// A store that holds something, a file that is not whole, or a fault: the store is as it was.
pub async fn import_log(
    store: &dyn LogRestore,
    languages: &Languages,
    file: &Path,
) -> Result<Report, ActionError> {
    let name = file.display().to_string();
    let unreadable = |error: std::io::Error| {
        Fault::permanent(Code::ExportDamaged, format!("`{name}` cannot be read")).because(error)
    };
    let open = || -> Result<_, Fault> {
        let source = File::open(file).map_err(unreadable)?;
        ExportReader::new(BufReader::with_capacity(1 << 18, source), &name)
    };
    let reader = open()?;
    let lineage = reader.lineage().clone();
    let epoch = Epoch(lineage.epoch.0.saturating_add(1));
    let languages = languages.clone();
    store.restore(epoch, Box::new(Tagged { reader, languages, name: name.clone(), events: 0 })).await?;
    // What has been taken over was held against the last line; it is read once more to be told.
    let end = last_line(file).map_err(unreadable)?;
    Ok(Report::Exported(Box::new(ExportReport { file: name, done: "imported", lineage, end })))
}

/// An export whose events are tagged as their languages say now.
struct Tagged<S> {
    reader: S,
    languages: Languages,
    name: String,
    events: u64,
}

impl<S: RestoreSource> RestoreSource for Tagged<S> {
    fn next(&mut self, events_max: usize) -> Result<Vec<RestoredEvent>, Fault> {
        let mut events = self.reader.next(events_max)?;
        for event in &mut events {
            self.events += 1;
            let RestoredEvent { stream, name, schema_version, payload, .. } = &*event;
            let category = stream.stream.category.as_str();
            let read = self.languages.read(category, name, *schema_version, payload).map_err(|error| {
                let message = format!(
                    "event {} of `{}` cannot be read by this program, which could not say what it is about",
                    self.events, self.name
                );
                Fault::permanent(Code::ExportDamaged, message).because(error)
            })?;
            event.tags = read.map(|read| read.tags).unwrap_or_default();
        }
        Ok(events)
    }
}

fn last_line(file: &Path) -> Result<End, std::io::Error> {
    use std::io::{Read, Seek, SeekFrom};
    const TAIL_BYTES: u64 = 4_096;
    let mut source = File::open(file)?;
    let length = source.metadata()?.len();
    source.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    source.read_to_end(&mut tail)?;
    let text = String::from_utf8_lossy(&tail);
    let last = text.trim_end().rsplit('\n').next().unwrap_or_default();
    let EndLine { end } = serde_json::from_str(last)?;
    Ok(end)
}

#[cfg(test)]
mod tests;
