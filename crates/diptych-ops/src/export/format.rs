//! The lines of an export: where it comes from, one event each, how many there were and a checksum. Pure.

use diptych_command::RestoredEvent;
use diptych_core::{Epoch, Position, RawFact, StreamId, StreamRef, Tenant, Timestamp, Token, Version};
use serde::{Deserialize, Serialize};

/// The form of the file. A program refuses a file of another form.
pub const EXPORT_FORMAT: u32 = 1;

/// The first line: where the events come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lineage {
    /// The form of the file, [`EXPORT_FORMAT`].
    pub diptych_export: u32,
    /// The service.
    pub service: String,
    /// Which log it was: the token before its first event.
    pub log: Token,
    /// The life of that log.
    pub epoch: Epoch,
    /// After which position it begins.
    pub from: Position,
    /// The last entry that was looked at: the head when the export began.
    pub through: Token,
    /// Which events were taken.
    pub filter: ExportFilter,
    /// When it began.
    pub exported_at: Timestamp,
}

/// Which events an export takes: those for which everything holds that is said.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportFilter {
    /// One stream, such as `order-42`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The streams of one category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The streams of one tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Recorded then or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Recorded before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl ExportFilter {
    /// Whether an event is taken.
    #[must_use]
    pub fn admits(&self, fact: &RawFact) -> bool {
        let Self { stream, category, tenant, since, until } = self;
        let id = &fact.stream.stream;
        stream.as_ref().is_none_or(|stream| *stream == id.to_string())
            && category.as_ref().is_none_or(|category| category == id.category.as_str())
            && tenant.as_ref().is_none_or(|tenant| tenant == fact.stream.tenant.as_str())
            && since.is_none_or(|since| fact.recorded_at >= since)
            && until.is_none_or(|until| fact.recorded_at < until)
    }
}

/// One line for each event. Metadata and payload are texts, so that no byte of them is lost.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EventLine {
    pub(super) position: Position,
    pub(super) tenant: Tenant,
    pub(super) stream: String,
    pub(super) version: Version,
    pub(super) r#type: String,
    pub(super) schema_version: u32,
    pub(super) recorded_at: Timestamp,
    pub(super) occurred_at: Timestamp,
    pub(super) metadata: String,
    pub(super) payload: String,
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndLine {
    pub(super) end: End,
}

/// How many events there were, and what they say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct End {
    /// How many lines of events.
    pub events: u64,
    /// BLAKE3 over everything that the events say but their positions, in order.
    pub checksum: String,
}

impl EventLine {
    pub(super) fn of(fact: &RawFact) -> Self {
        Self {
            position: fact.position,
            tenant: fact.stream.tenant.clone(),
            stream: fact.stream.stream.to_string(),
            version: fact.version,
            r#type: fact.event.name.to_string(),
            schema_version: fact.event.schema_version,
            recorded_at: fact.recorded_at,
            occurred_at: fact.occurred_at,
            metadata: fact.metadata.to_string(),
            payload: fact.payload.to_string(),
        }
    }

    /// The event, if its stream has a name that a stream may have.
    pub(super) fn event(self) -> Result<RestoredEvent, String> {
        let stream = StreamId::parse(&self.stream).map_err(|error| error.to_string())?;
        Ok(RestoredEvent {
            stream: StreamRef { tenant: self.tenant, stream },
            version: self.version,
            name: self.r#type,
            schema_version: self.schema_version,
            recorded_at: self.recorded_at,
            occurred_at: self.occurred_at,
            metadata: self.metadata,
            payload: self.payload,
            tags: Vec::new(),
        })
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }
}

/// The checksum of an export in the making.
#[derive(Default)]
pub(super) struct Checksum {
    hasher: blake3::Hasher,
    events: u64,
}

impl Checksum {
    pub(super) fn add(&mut self, line: &EventLine) {
        let texts = [line.tenant.as_str(), &line.stream, &line.r#type, &line.metadata, &line.payload];
        for text in texts {
            self.hasher.update(&(text.len() as u64).to_le_bytes());
            self.hasher.update(text.as_bytes());
        }
        let times = [line.recorded_at.as_micros(), line.occurred_at.as_micros()];
        for time in times {
            self.hasher.update(&time.to_le_bytes());
        }
        self.hasher.update(&line.version.0.to_le_bytes());
        self.hasher.update(&line.schema_version.to_le_bytes());
        self.events += 1;
    }

    pub(super) fn end(&self) -> End {
        End { events: self.events, checksum: format!("blake3:{}", self.hasher.finalize().to_hex()) }
    }
}
