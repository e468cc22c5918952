//! Reading an export line by line, for a store to take over. What does not fit is told with its line; memory
//! grows with the streams of the file, not with its events.

use super::format::{Checksum, EXPORT_FORMAT, EndLine, EventLine, Lineage};
use diptych_command::{RestoreSource, RestoredEvent};
use diptych_core::{Code, Fault, StreamRef, Timestamp, Version};
use std::collections::HashMap;
use std::io::{BufRead, Lines};

/// An export being read.
pub struct ExportReader<R> {
    lines: Lines<R>,
    name: String,
    line: u64,
    lineage: Lineage,
    checksum: Checksum,
    versions: HashMap<StreamRef, Version>,
    last: Timestamp,
    ended: bool,
}

impl<R: BufRead> ExportReader<R> {
    /// Begins to read; `name` is what messages call the file.
    ///
    /// # Errors
    /// A first line that is not an export's.
    pub fn new(source: R, name: &str) -> Result<Self, Fault> {
        let mut lines = source.lines();
        let first = lines.next().transpose().map_err(|error| damaged(name, 1, &error.to_string()))?;
        let first = first.ok_or_else(|| damaged(name, 1, "the file is empty"))?;
        let lineage: Lineage = serde_json::from_str(&first)
            .map_err(|error| damaged(name, 1, &format!("this is not the beginning of an export: {error}")))?;
        if lineage.diptych_export != EXPORT_FORMAT {
            let form = lineage.diptych_export;
            return Err(damaged(name, 1, &format!("the file has form {form}, known is {EXPORT_FORMAT}")));
        }
        Ok(Self {
            lines,
            name: name.to_owned(),
            line: 1,
            lineage,
            checksum: Checksum::default(),
            versions: HashMap::new(),
            last: Timestamp::from_stored(i64::MIN),
            ended: false,
        })
    }

    /// Where the events come from.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    fn event(&mut self) -> Result<Option<RestoredEvent>, Fault> {
        let Some(text) = self.lines.next() else {
            return Err(self.damaged("the file ends without its last line, so that it was cut off"));
        };
        self.line += 1;
        let text = text.map_err(|error| self.damaged(&error.to_string()))?;
        if text.starts_with("{\"end\":") {
            return self.end(&text).map(|()| None);
        }
        let line: EventLine = serde_json::from_str(&text)
            .map_err(|error| self.damaged(&format!("this is no event: {error}")))?;
        self.checksum.add(&line);
        let position = line.position();
        let event = line.event().map_err(|error| self.damaged(&error))?;
        let version = self.versions.entry(event.stream.clone()).or_default();
        let expected = Version(version.0 + 1);
        if event.version != expected {
            let (stream, found) = (event.stream.to_string(), event.version);
            return Err(self.damaged(&format!(
                "stream `{stream}` has version {found} where {expected} must stand: an export that does not \
                 hold whole streams cannot be a log of its own"
            )));
        }
        *version = expected;
        if event.recorded_at < self.last {
            return Err(
                self.damaged(&format!("the event of position {position} was recorded before the last"))
            );
        }
        self.last = event.recorded_at;
        Ok(Some(event))
    }

    fn end(&mut self, text: &str) -> Result<(), Fault> {
        let EndLine { end: told } =
            serde_json::from_str(text).map_err(|error| self.damaged(&format!("this is no end: {error}")))?;
        let found = self.checksum.end();
        if told.events != found.events {
            let (told, found) = (told.events, found.events);
            return Err(self.damaged(&format!("the file tells of {told} events and holds {found}")));
        }
        if told.checksum != found.checksum {
            return Err(self.damaged("the events do not have the checksum that the file tells"));
        }
        if self.lines.next().is_some() {
            self.line += 1;
            return Err(self.damaged("something follows the last line"));
        }
        self.ended = true;
        Ok(())
    }

    fn damaged(&self, reason: &str) -> Fault {
        damaged(&self.name, self.line, reason)
    }
}

impl<R: BufRead + Send> RestoreSource for ExportReader<R> {
    fn next(&mut self, events_max: usize) -> Result<Vec<RestoredEvent>, Fault> {
        let mut events = Vec::with_capacity(events_max.min(1_000));
        while !self.ended && events.len() < events_max {
            events.extend(self.event()?);
        }
        Ok(events)
    }
}

fn damaged(name: &str, line: u64, reason: &str) -> Fault {
    Fault::permanent(Code::ExportDamaged, format!("line {line} of `{name}`: {reason}"))
}
