//! Reading the log: ranges, streams, single entries. The log never changes, so that each statement's own
//! snapshot is enough.

use super::LogIdentity;
use super::names::contiguous;
use crate::fault::{OrFault, damaged, unsigned};
use crate::shared::Shared;
use crate::time::Stamp;
use diptych_core::{
    Category, Code, Fault, Fingerprint, Position, RawFact, StreamId, StreamKey, StreamRef, Tenant, Timestamp,
    Token, Version,
};
use diptych_query::{Block, Categories, Mark, Statistics};
use std::ops::Range;
use std::sync::Arc;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

/// A parameter with its type: unnamed statements are told the types.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

const SELECT_HEAD: &str = "SELECT position, fingerprint, entry_recorded_at FROM diptych.head";
/// Texts that nobody wants are not sent.
const SELECT_RANGE: &str = "SELECT \
    position, type, stream, version, recorded_at, occurred_at, \
    CASE WHEN type = ANY($3) THEN NULL ELSE metadata END, \
    CASE WHEN type = ANY($3) THEN NULL ELSE payload END \
    FROM diptych.event WHERE position > $1 AND position <= $2 ORDER BY position";
const SELECT_STREAM_EVENTS: &str = "SELECT \
    position, type, stream, version, recorded_at, occurred_at, metadata, payload \
    FROM diptych.event WHERE stream = (SELECT stream.id FROM diptych.stream \
        JOIN diptych.tenant ON tenant.id = stream.tenant \
        JOIN diptych.category ON category.id = stream.category \
        WHERE tenant.name = $1 AND category.name = $2 AND stream.key = $3) \
    AND version > $4 ORDER BY version LIMIT $5";
const SELECT_ENTRY: &str = "SELECT tenant.name, category.name, stream.key, event.version, event_type.name, \
        event.recorded_at, event.payload \
    FROM diptych.event JOIN diptych.event_type ON event_type.id = event.type \
    JOIN diptych.stream ON stream.id = event.stream \
    JOIN diptych.tenant ON tenant.id = stream.tenant \
    JOIN diptych.category ON category.id = stream.category \
    WHERE event.position = $1";
const SELECT_STATISTICS: &str = "SELECT head.position, head.command, \
    (SELECT count(*) FROM diptych.stream \
        WHERE EXISTS (SELECT 1 FROM diptych.event WHERE event.stream = stream.id)), \
    (SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class \
        WHERE relkind = 'r' AND relnamespace = $1::text::regnamespace AND relname = ANY($2)), \
    (SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class \
        WHERE relkind = 'r' AND relnamespace = $1::text::regnamespace AND relname <> ALL($2)) \
    FROM diptych.head";

/// The tables of the log and its ledger; every other one belongs to read models.
const LOG_TABLES: &[&str] = &[
    "actor",
    "category",
    "command",
    "command_key",
    "command_name",
    "event",
    "event_tag",
    "event_type",
    "head",
    "migration",
    "page_key",
    "policy",
    "queued_command",
    "state",
    "stream",
    "tenant",
];

/// From how many bytes on the texts of further rows go into another piece of memory.
const PIECE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Rows of the log before their names are known, with their texts in few pieces of memory.
#[derive(Default)]
pub(super) struct EventRows {
    pub(super) rows: Vec<EventRow>,
    pub(super) pieces: Vec<String>,
}

/// A row of the log before its names are known.
pub(super) struct EventRow {
    pub(super) position: Position,
    pub(super) kind: i32,
    pub(super) stream: i64,
    pub(super) version: u64,
    pub(super) recorded_at: Timestamp,
    pub(super) occurred_at: Timestamp,
    /// The piece of memory that holds its texts, and where they are in it.
    pub(super) piece: usize,
    pub(super) metadata: Option<Range<usize>>,
    pub(super) payload: Option<Range<usize>>,
}

/// Reads what is wanted of the range after a position.
pub(crate) async fn read(
    client: &Client,
    shared: &Shared,
    after: Position,
    categories: &Categories,
    positions_max: usize,
) -> Result<Block, Fault> {
    let bound = Position(after.0.saturating_add(positions_max as u64).min(i64::MAX.cast_unsigned()));
    let unwanted = shared.names.unwanted(categories);
    // INVARIANT: both go over the same connection in this order, so that the range is read in a later
    // snapshot than the head and has everything up to there.
    let (head, rows) = tokio::join!(
        biased;
        head(client, shared),
        select_range(client, shared, after, bound, &unwanted),
    );
    let head = head?;
    if after > head.position() {
        let message =
            format!("position {after} lies beyond the head of the log, which is {}", head.position());
        return Err(Fault::permanent(Code::LogDiffers, message));
    }
    let end = bound.min(head.position());
    let rows = complete(&rows?, after, end, &unwanted)?;
    let facts = shared.names.facts(client, &shared.schema, rows, categories).await?;
    let through = match facts.last() {
        _ if end == head.position() => head,
        Some(last) if last.position == end => mark_of(shared.identity, last),
        _ => existing_mark(client, shared, end).await?,
    };
    Ok(Block { after, through, facts, head: head.position() })
}

/// The wanted facts of a range, which must be complete.
pub(crate) async fn range(
    client: &Client,
    shared: &Shared,
    after: Position,
    end: Position,
    categories: &Categories,
) -> Result<Vec<Arc<RawFact>>, Fault> {
    if after >= end {
        return Ok(Vec::new());
    }
    let unwanted = shared.names.unwanted(categories);
    let read = select_range(client, shared, after, end, &unwanted).await?;
    let rows = complete(&read, after, end, &unwanted)?;
    shared.names.facts(client, &shared.schema, rows, categories).await
}

async fn select_range(
    client: &Client,
    shared: &Shared,
    after: Position,
    end: Position,
    unwanted: &Vec<i32>,
) -> Result<Vec<Row>, Fault> {
    let asked: [Parameter<'_>; 3] = [
        (&after.0.cast_signed(), Type::INT8),
        (&end.0.cast_signed(), Type::INT8),
        (unwanted, Type::INT4_ARRAY),
    ];
    client.query_typed(&shared.sql(SELECT_RANGE), &asked).await.or_fault()
}

/// The wanted rows of a range, which must be complete; rows beyond it are left out.
fn complete(read: &[Row], after: Position, end: Position, unwanted: &[i32]) -> Result<EventRows, Fault> {
    let mut expected = after;
    let mut rows = EventRows::default();
    for row in read {
        if expected == end {
            break;
        }
        expected = expected.next();
        if Position(unsigned(row, 0)?) != expected {
            return Err(damaged(format!("the log has a gap at position {expected}")));
        }
        if !unwanted.contains(&row.try_get(1).or_fault()?) {
            rows.add(row)?;
        }
    }
    // INVARIANT: a completed range has every position; what readers are given is all there is.
    if expected < end {
        return Err(damaged(format!("the log has a gap at position {}", expected.next())));
    }
    Ok(rows)
}

/// The events of one stream after a version.
pub(crate) async fn load(
    client: &Client,
    shared: &Shared,
    stream: &StreamRef,
    after: Version,
    events_max: usize,
) -> Result<Vec<Arc<RawFact>>, Fault> {
    let StreamRef { tenant, stream: StreamId { category, key } } = stream;
    let limit = i64::try_from(events_max).unwrap_or(i64::MAX);
    let asked: [Parameter<'_>; 5] = [
        (&tenant.as_str(), Type::TEXT),
        (&category.as_str(), Type::TEXT),
        (&key.as_str(), Type::TEXT),
        (&after.0.cast_signed(), Type::INT8),
        (&limit, Type::INT8),
    ];
    let read = client.query_typed(&shared.sql(SELECT_STREAM_EVENTS), &asked).await.or_fault()?;
    let mut rows = EventRows::default();
    read.iter().try_for_each(|row| rows.add(row))?;
    let facts = shared.names.facts(client, &shared.schema, rows, &Categories::All).await?;
    contiguous(after, &facts)?;
    Ok(facts)
}

/// The last entry.
pub(crate) async fn head(client: &Client, shared: &Shared) -> Result<Mark, Fault> {
    let row = client.query_typed_opt(&shared.sql(SELECT_HEAD), &[]).await.or_fault()?;
    let row = row.ok_or_else(|| damaged("the log has lost its head"))?;
    head_of(shared.identity, &row)
}

/// The entry that a row of the head names, whose first columns are position, fingerprint and time.
pub(crate) fn head_of(identity: LogIdentity, row: &Row) -> Result<Mark, Fault> {
    let fingerprint = u32::try_from(unsigned(row, 1)?).map_err(|_| damaged("the head has no fingerprint"))?;
    let recorded_at: Stamp = row.try_get(2).or_fault()?;
    Ok(mark(identity, Position(unsigned(row, 0)?), Fingerprint(fingerprint), recorded_at.0))
}

/// The entry at a position, with the fingerprint of what is stored there now; none beyond the head.
pub(crate) async fn mark_at(
    client: &Client,
    shared: &Shared,
    position: Position,
) -> Result<Option<Mark>, Fault> {
    if position == Position::START {
        return Ok(Some(shared.start()));
    }
    let Ok(number) = i64::try_from(position.0) else {
        return Ok(None);
    };
    let row = client.query_typed_opt(&shared.sql(SELECT_ENTRY), &[(&number, Type::INT8)]).await.or_fault()?;
    let Some(row) = row else {
        return Ok(None);
    };
    let text = |column: usize| row.try_get::<_, &str>(column).or_fault();
    let stream = StreamRef {
        tenant: Tenant::from_stored(text(0)?),
        stream: StreamId { category: Category::from_stored(text(1)?), key: StreamKey::from_stored(text(2)?) },
    };
    let version = Version(unsigned(&row, 3)?);
    let Stamp(recorded_at) = row.try_get(5).or_fault()?;
    let fingerprint = Fingerprint::of_entry(&stream, version, text(4)?, recorded_at.as_micros(), text(6)?);
    Ok(Some(mark(shared.identity, position, fingerprint, recorded_at)))
}

/// Where a fact stands.
pub(crate) fn mark_of(identity: LogIdentity, fact: &RawFact) -> Mark {
    let RawFact { stream, version, event, recorded_at, payload, .. } = fact;
    let fingerprint = Fingerprint::of_entry(stream, *version, &event.name, recorded_at.as_micros(), payload);
    mark(identity, fact.position, fingerprint, *recorded_at)
}

/// Counts for an operator. Streams are walked, so it takes a moment on a large log.
pub(crate) async fn statistics(client: &Client, shared: &Shared) -> Result<Statistics, Fault> {
    let schema = shared.schema.quoted();
    let asked: [Parameter<'_>; 2] = [(&schema, Type::TEXT), (&LOG_TABLES, Type::TEXT_ARRAY)];
    let row = client.query_typed_one(&shared.sql(SELECT_STATISTICS), &asked).await.or_fault()?;
    let bytes = |column: usize| {
        let bytes: Option<i64> = row.try_get(column).or_fault()?;
        Ok::<_, Fault>(bytes.unwrap_or(0).cast_unsigned())
    };
    Ok(Statistics {
        events: unsigned(&row, 0)?,
        commands: unsigned(&row, 1)?,
        streams: unsigned(&row, 2)?,
        log_bytes: bytes(3)?,
        model_bytes: bytes(4)?,
    })
}

async fn existing_mark(client: &Client, shared: &Shared, position: Position) -> Result<Mark, Fault> {
    let mark = mark_at(client, shared, position).await?;
    mark.ok_or_else(|| damaged(format!("the log has no entry at position {position}")))
}

impl EventRows {
    pub(super) fn add(&mut self, row: &Row) -> Result<(), Fault> {
        let Stamp(recorded_at) = row.try_get(4).or_fault()?;
        let occurred_at: Option<Stamp> = row.try_get(5).or_fault()?;
        let (metadata, payload) = (row.try_get(6).or_fault()?, row.try_get(7).or_fault()?);
        if self.pieces.last().is_none_or(|piece| piece.len() >= PIECE_BYTES_MAX) {
            self.pieces.push(String::new());
        }
        let event = EventRow {
            position: Position(unsigned(row, 0)?),
            kind: row.try_get(1).or_fault()?,
            stream: row.try_get(2).or_fault()?,
            version: unsigned(row, 3)?,
            recorded_at,
            occurred_at: occurred_at.map_or(recorded_at, |stamp| stamp.0),
            piece: self.pieces.len() - 1,
            metadata: self.keep(metadata),
            payload: self.keep(payload),
        };
        self.rows.push(event);
        Ok(())
    }

    /// Puts a text into the last piece.
    fn keep(&mut self, text: Option<&str>) -> Option<Range<usize>> {
        let (text, piece) = (text?, self.pieces.last_mut()?);
        let from = piece.len();
        piece.push_str(text);
        Some(from..piece.len())
    }
}

fn mark(identity: LogIdentity, position: Position, fingerprint: Fingerprint, recorded_at: Timestamp) -> Mark {
    let token = Token { epoch: identity.epoch, position, fingerprint };
    Mark { token, recorded_at }
}
