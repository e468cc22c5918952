//! Export files on disk: what a file says of itself, whether it is what it says, files that follow each other
//! as a chain, and the events of a part of one. Knows no log: what only a log can tell is held against it by
//! the feed.

use super::EXPORT_FORMAT;
use super::format::{Checksum, End, EndLine, EventLine, ExportFilter, Lineage};
use diptych_core::{Code, EventName, Fault, Position, RawFact, StreamId, StreamRef};
use diptych_query::Categories;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How the names of export files end.
pub(crate) const EXTENSION: &str = "ndjson";

/// Of how many events one is found without reading those before it.
const STRIDE_EVENTS: u64 = 1_000;

/// The longest first or last line of a file that is read: a lineage is some hundred bytes.
const EDGE_BYTES_MAX: u64 = 64 * 1024;

/// How much is read from the disk at once.
const BUFFER_BYTES: usize = 1 << 18;

/// A file by what its first and its last line say.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ExportFile {
    pub(crate) path: PathBuf,
    pub(crate) lineage: Lineage,
    pub(crate) end: End,
    pub(crate) stamp: Stamp,
}

/// By what it is noticed that a file is not the one that was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) bytes: u64,
    modified: Option<SystemTime>,
}

/// How long a file must have been as it is for its stamp to tell a later change: file systems keep the time
/// of a change in steps, FAT in those of two seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// Where every so many events begin in a file whose every byte was looked at, in bytes.
pub(crate) type Places = Vec<u64>;

pub(crate) fn damaged(path: &Path, reason: impl std::fmt::Display) -> Fault {
    Fault::permanent(Code::ExportDamaged, format!("export file `{}` {reason}", path.display()))
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> Result<Self, Fault> {
        let found = std::fs::metadata(path);
        let found = found.map_err(|error| damaged(path, format!("cannot be read: {error}")))?;
        Ok(Self { bytes: found.len(), modified: found.modified().ok() })
    }

    /// Whether a file that was looked at then cannot have been changed since and have the same stamp.
    pub(crate) fn had_settled(&self, looked_at: SystemTime) -> bool {
        let age = self.modified.and_then(|modified| looked_at.duration_since(modified).ok());
        age.is_some_and(|age| age >= SETTLED)
    }
}

impl ExportFile {
    /// Reads the first and the last line.
    pub(crate) fn open(path: &Path) -> Result<Self, Fault> {
        let unreadable = |error: std::io::Error| damaged(path, format!("cannot be read: {error}"));
        let stamp = Stamp::of(path)?;
        let mut file = File::open(path).map_err(unreadable)?;
        let mut first = Vec::new();
        let mut head = BufReader::new((&mut file).take(EDGE_BYTES_MAX));
        head.read_until(b'\n', &mut first).map_err(unreadable)?;
        let lineage: Lineage = serde_json::from_slice(&first)
            .map_err(|error| damaged(path, format!("does not begin as an export does: {error}")))?;
        if lineage.diptych_export != EXPORT_FORMAT {
            let form = lineage.diptych_export;
            return Err(damaged(path, format!("has form {form}, known is {EXPORT_FORMAT}")));
        }
        if lineage.filter != ExportFilter::default() {
            return Err(damaged(path, "holds only some of the events: nothing can be folded from it"));
        }
        file.seek(SeekFrom::Start(stamp.bytes.saturating_sub(EDGE_BYTES_MAX))).map_err(unreadable)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).map_err(unreadable)?;
        let whole = tail.ends_with(b"\n");
        let last = tail.strip_suffix(b"\n").unwrap_or(&tail);
        let last = last.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let end = serde_json::from_slice::<EndLine>(last).ok().filter(|_| whole);
        let Some(EndLine { end }) = end else {
            return Err(damaged(path, "ends without its last line, so that it was cut off"));
        };
        Ok(Self { path: path.to_owned(), lineage, end, stamp })
    }

    /// After which position it begins.
    pub(crate) fn from(&self) -> Position {
        self.lineage.from
    }

    /// Up to where it goes.
    pub(crate) fn through(&self) -> Position {
        self.lineage.through.position
    }

    /// Whether it holds all events of another file.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        self.from() <= other.from() && other.through() <= self.through()
    }

    /// Looks at every byte: each position once and in order, as many events and the checksum that the last
    /// line says.
    pub(crate) fn verify(&self) -> Result<Places, Fault> {
        self.walk(|_, _| Ok(()))
    }

    /// The same, and hands out every event as it stands there. What was handed out counts only once all of
    /// it was found to be right.
    pub(super) fn walk(
        &self,
        mut each: impl FnMut(&[u8], &EventLine) -> Result<(), Fault>,
    ) -> Result<Places, Fault> {
        let path = &self.path;
        let damaged = |line: u64, reason: String| damaged(path, format!("line {line}: {reason}"));
        let unreadable = |error: std::io::Error| damaged(0, format!("it cannot be read: {error}"));
        let mut lines = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(unreadable)?);
        let (mut text, mut number, mut places) = (Vec::new(), 1_u64, Places::new());
        let mut offset = lines.read_until(b'\n', &mut text).map_err(unreadable)? as u64;
        let (mut checksum, mut reached) = (Checksum::default(), self.from());
        loop {
            text.clear();
            number += 1;
            let bytes = lines.read_until(b'\n', &mut text).map_err(unreadable)? as u64;
            if text.starts_with(b"{\"end\":") {
                if offset + bytes != self.stamp.bytes {
                    return Err(damaged(number, "something follows the last line".to_owned()));
                }
                break;
            }
            let line: EventLine = serde_json::from_slice(&text)
                .map_err(|error| damaged(number, format!("this is no event: {error}")))?;
            if line.position() != reached.next() {
                let (found, expected) = (line.position(), reached.next());
                return Err(damaged(number, format!("position {found} stands where {expected} must")));
            }
            if self.from().lag_to(reached).is_multiple_of(STRIDE_EVENTS) {
                places.push(offset);
            }
            reached = line.position();
            checksum.add(&line);
            each(&text, &line)?;
            offset += bytes;
        }
        let (found, told, through) = (checksum.end(), &self.end, self.through());
        if reached != through || found.events != told.events {
            let (events, told) = (found.events, told.events);
            let reason = format!("it says that it holds {told} events up to {through}, it holds {events}");
            return Err(damaged(number, reason));
        }
        if found.checksum != told.checksum {
            return Err(damaged(number, "the events do not have the checksum that the file says".to_owned()));
        }
        Ok(places)
    }

    /// The events of wanted categories in `(after, through]`, of a file that was verified.
    pub(crate) fn read(
        &self,
        places: &Places,
        (after, through): (Position, Position),
        categories: &Categories,
    ) -> Result<Vec<Arc<RawFact>>, Fault> {
        let path = &self.path;
        let unreadable = |error: std::io::Error| damaged(path, format!("cannot be read: {error}"));
        let skipped = self.from().lag_to(after);
        let place = usize::try_from(skipped / STRIDE_EVENTS).ok().and_then(|at| places.get(at));
        let place =
            *place.ok_or_else(|| damaged(path, format!("does not hold position {}", after.next())))?;
        let mut file = File::open(path).map_err(unreadable)?;
        file.seek(SeekFrom::Start(place)).map_err(unreadable)?;
        let mut lines = BufReader::with_capacity(BUFFER_BYTES, file);
        let (mut text, mut facts, mut interned) = (Vec::new(), Vec::new(), Interned::default());
        for _ in 0..skipped % STRIDE_EVENTS {
            text.clear();
            lines.read_until(b'\n', &mut text).map_err(unreadable)?;
        }
        for expected in after.0 + 1..=through.0 {
            text.clear();
            lines.read_until(b'\n', &mut text).map_err(unreadable)?;
            let line: EventLine = serde_json::from_slice(&text)
                .map_err(|error| damaged(path, format!("holds no event {expected}: {error}")))?;
            if line.position() != Position(expected) {
                return Err(damaged(path, format!("holds no event {expected} where it must stand")));
            }
            let fact = interned.fact(line).map_err(|reason| damaged(path, reason))?;
            if categories.contains(fact.stream.stream.category.as_str()) {
                facts.push(Arc::new(fact));
            }
        }
        Ok(facts)
    }
}

/// The names that the events of one reading share.
#[derive(Default)]
struct Interned {
    streams: HashMap<(String, String), Arc<StreamRef>>,
    names: HashMap<String, Arc<str>>,
}

impl Interned {
    fn fact(&mut self, line: EventLine) -> Result<RawFact, String> {
        let key = (line.tenant.to_string(), line.stream);
        let stream = match self.streams.get(&key) {
            Some(stream) => Arc::clone(stream),
            None => {
                let stream = StreamId::parse(&key.1).map_err(|error| error.to_string())?;
                let stream = Arc::new(StreamRef { tenant: line.tenant, stream });
                self.streams.insert(key, Arc::clone(&stream));
                stream
            }
        };
        let name = self.names.entry(line.r#type).or_insert_with_key(|name| name.as_str().into());
        Ok(RawFact {
            position: line.position,
            stream,
            version: line.version,
            event: EventName { name: Arc::clone(name), schema_version: line.schema_version },
            recorded_at: line.recorded_at,
            occurred_at: line.occurred_at,
            metadata: line.metadata.into(),
            payload: line.payload.into(),
        })
    }
}

/// The export files of a folder by their names; none where there is no folder yet. What is not finished has
/// another name.
pub(crate) fn listed(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let unreadable = |error: std::io::Error| {
        let message = format!("the folder of exports `{}` cannot be read", folder.display());
        Fault::permanent(Code::ExportDamaged, message).because(error)
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Puts files into the order of their events. A file all of whose events another one holds as well is left
/// out: it was joined to others, and is still there.
///
/// # Errors
/// Files that do not follow each other without a gap from the beginning of one log, each named.
pub(crate) fn in_order(mut files: Vec<Arc<ExportFile>>) -> Result<Vec<Arc<ExportFile>>, Fault> {
    files.sort_by_key(|file| (file.from(), Reverse(file.through())));
    let mut chain: Vec<Arc<ExportFile>> = Vec::with_capacity(files.len());
    for file in files {
        let (path, from) = (&file.path, file.from());
        let Some(before) = chain.last() else {
            if from > Position::START {
                return Err(missing(path, from, Position::START));
            }
            chain.push(file);
            continue;
        };
        if file.lineage.epoch != before.lineage.epoch {
            let (epoch, other) = (file.lineage.epoch.0, before.lineage.epoch.0);
            return Err(damaged(path, format!("is of epoch {epoch} of the log, those before of {other}")));
        }
        if file.lineage.log != before.lineage.log {
            return Err(damaged(path, "is of another log than those before"));
        }
        let reached = before.through();
        if from > reached {
            return Err(missing(path, from, reached));
        }
        if from < reached {
            if !before.holds(&file) {
                let other = before.path.display();
                return Err(damaged(path, format!("holds positions that `{other}` holds too, and others")));
            }
            continue;
        }
        chain.push(file);
    }
    Ok(chain)
}

fn missing(path: &Path, from: Position, reached: Position) -> Fault {
    let next = reached.next();
    damaged(path, format!("begins after position {from}: a file with those from {next} is missing"))
}
