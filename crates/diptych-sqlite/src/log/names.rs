//! Names behind the log's integers, as readers see them, and facts put together from rows.

use crate::fault::damaged;
use diptych_core::{
    Category, EventName, Fault, Position, RawFact, StreamId, StreamKey, StreamRef, Tenant, Timestamp, Version,
};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::HashMap;
use std::sync::Arc;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

const SELECT_TENANT: &str = "SELECT name FROM tenant WHERE id = ?1";
const SELECT_CATEGORY: &str = "SELECT name FROM category WHERE id = ?1";
const SELECT_TYPE: &str = "SELECT category, name, schema_version FROM event_type WHERE id = ?1";
const SELECT_STREAM: &str = "SELECT tenant, category, key FROM stream WHERE id = ?1";

/// Names that one connection has seen. Names never change, so they are never asked for twice.
pub(crate) struct Names {
    tenants: Map<i64, Tenant>,
    categories: Map<i64, Category>,
    types: Map<i64, KnownType>,
    streams: Map<i64, StreamRef>,
    streams_max: usize,
}

/// A type with its category.
#[derive(Clone)]
pub(crate) struct KnownType {
    pub(crate) category: Category,
    pub(crate) name: EventName,
}

/// The columns of an event's row after its type, in the order of every statement here.
pub(crate) struct StoredFact;

impl StoredFact {
    /// The columns that [`Names::fact`] reads.
    pub(crate) const COLUMNS: &str =
        "position, type, stream, version, recorded_at, occurred_at, metadata, payload";
}

impl Names {
    pub(crate) fn new(streams_max: usize) -> Self {
        Self {
            tenants: Map::default(),
            categories: Map::default(),
            types: Map::default(),
            streams: Map::default(),
            streams_max,
        }
    }

    /// The type of an event's row.
    pub(crate) fn type_of(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<&KnownType> {
        if !self.types.contains_key(&id) {
            let (category, name, schema_version) = connection
                .prepare_cached(SELECT_TYPE)?
                .query_row([id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)))?;
            let category = self.category(connection, category)?;
            let name = EventName { name: name.into(), schema_version };
            self.types.insert(id, KnownType { category, name });
        }
        Ok(&self.types[&id])
    }

    /// The fact of a row with the columns of [`StoredFact::COLUMNS`].
    pub(crate) fn fact(&mut self, connection: &Connection, row: &Row<'_>) -> rusqlite::Result<RawFact> {
        let event = self.type_of(connection, row.get(1)?)?.name.clone();
        let stream = self.stream(connection, row.get(2)?)?;
        let recorded_at = Timestamp::from_stored(row.get(4)?);
        let occurred_at: Option<i64> = row.get(5)?;
        Ok(RawFact {
            position: Position(row.get::<_, i64>(0)?.cast_unsigned()),
            stream,
            version: Version(row.get::<_, i64>(3)?.cast_unsigned()),
            event,
            recorded_at,
            occurred_at: occurred_at.map_or(recorded_at, Timestamp::from_stored),
            metadata: row.get_ref(6)?.as_str()?.into(),
            payload: row.get_ref(7)?.as_str()?.into(),
        })
    }

    fn stream(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<StreamRef> {
        if let Some(known) = self.streams.get(&id) {
            return Ok(known.clone());
        }
        let (tenant, category, key) = connection
            .prepare_cached(SELECT_STREAM)?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
        let stream = StreamRef {
            tenant: self.tenant(connection, tenant)?,
            stream: StreamId {
                category: self.category(connection, category)?,
                key: StreamKey::from_stored(key),
            },
        };
        if self.streams.len() >= self.streams_max {
            self.streams.clear();
        }
        self.streams.insert(id, stream.clone());
        Ok(stream)
    }

    fn tenant(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<Tenant> {
        if let Some(known) = self.tenants.get(&id) {
            return Ok(known.clone());
        }
        let tenant = Tenant::from_stored(name(connection, SELECT_TENANT, id)?);
        self.tenants.insert(id, tenant.clone());
        Ok(tenant)
    }

    fn category(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<Category> {
        if let Some(known) = self.categories.get(&id) {
            return Ok(known.clone());
        }
        let category = Category::from_stored(name(connection, SELECT_CATEGORY, id)?);
        self.categories.insert(id, category.clone());
        Ok(category)
    }
}

/// Checks that versions of a stream follow each other: the second proof that nothing was skipped.
pub(crate) fn contiguous(after: Version, facts: &[Arc<RawFact>]) -> Result<(), Fault> {
    let gap = facts.iter().zip(after.0 + 1..).find(|(fact, expected)| fact.version.0 != *expected);
    match gap {
        None => Ok(()),
        Some((fact, expected)) => {
            let (stream, version) = (&fact.stream, fact.version);
            Err(damaged(format!("stream `{stream}` has version {version} where {expected} must stand")))
        }
    }
}

fn name(connection: &Connection, select: &str, id: i64) -> rusqlite::Result<String> {
    connection
        .prepare_cached(select)?
        .query_row([id], |row| row.get(0))
        .optional()?
        .ok_or(rusqlite::Error::QueryReturnedNoRows)
}
