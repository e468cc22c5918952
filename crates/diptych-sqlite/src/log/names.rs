//! Names behind the log's integers, as readers see them, and facts put together from rows.

use crate::fault::damaged;
use diptych_core::{
    Category, EventName, Fault, Position, RawFact, SharedText, StreamId, StreamKey, StreamRef, Tenant,
    Timestamp, Version,
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
    streams: Map<i64, KnownStream>,
    /// The keys of streams, one after the other.
    keys: String,
    streams_max: usize,
}

/// A stream by its parts. It is copied, not counted: many streams are met once in a while, and a counter that
/// is not at hand would be waited for.
#[derive(Clone, Copy)]
struct KnownStream {
    scope: Scope,
    from: usize,
    to: usize,
}

/// A tenant and a category, which many streams have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Scope {
    tenant: i64,
    category: i64,
}

/// A type with its category.
#[derive(Clone)]
pub(crate) struct KnownType {
    pub(crate) category: Category,
    pub(crate) name: EventName,
}

/// Facts being put together from rows. Their texts lie in one piece of memory, and the names they share are
/// of their own: a fact is often used by another thread than it was made by, while that one makes the next,
/// and counters that both change cost more than the facts themselves.
#[derive(Default)]
pub(crate) struct Gathered {
    texts: String,
    rows: Vec<GatheredRow>,
    events: Vec<(i64, EventName)>,
    scopes: Vec<(Scope, Tenant, Category)>,
    /// Where each scope stands, for blocks of many tenants.
    places: Map<Scope, usize>,
}

/// A row whose texts are not yet shared.
struct GatheredRow {
    position: Position,
    stream: i64,
    /// The places of its tenant and category, and of its type.
    scope: usize,
    event: usize,
    version: Version,
    recorded_at: Timestamp,
    occurred_at: Timestamp,
    /// Where its texts end: key, metadata, payload; the first begins where the last of the row before ends.
    ends: [usize; 3],
}

impl Gathered {
    /// The columns that [`Gathered::add`] reads.
    pub(crate) const COLUMNS: &str =
        "position, type, stream, version, recorded_at, occurred_at, metadata, payload";

    /// Adds the fact of a row, of which position and type are known by now.
    pub(crate) fn add(
        &mut self,
        connection: &Connection,
        names: &mut Names,
        (position, kind): (i64, i64),
        row: &Row<'_>,
    ) -> rusqlite::Result<()> {
        let stream: i64 = row.get(2)?;
        let known = names.stream(connection, stream)?;
        let scope = self.scope(connection, names, known.scope)?;
        let event = match self.events.iter().position(|(held, _)| *held == kind) {
            Some(event) => event,
            None => {
                let EventName { name, schema_version } = &names.type_of(connection, kind)?.name;
                let name = EventName { name: Arc::from(&**name), schema_version: *schema_version };
                self.events.push((kind, name));
                self.events.len() - 1
            }
        };
        let recorded_at = Timestamp::from_stored(row.get(4)?);
        let occurred_at: Option<i64> = row.get(5)?;
        let ends = [
            self.text(&names.keys[known.from..known.to]),
            self.text(row.get_ref(6)?.as_str()?),
            self.text(row.get_ref(7)?.as_str()?),
        ];
        self.rows.push(GatheredRow {
            position: Position(position.cast_unsigned()),
            stream,
            scope,
            event,
            version: Version(row.get::<_, i64>(3)?.cast_unsigned()),
            recorded_at,
            occurred_at: occurred_at.map_or(recorded_at, Timestamp::from_stored),
            ends,
        });
        Ok(())
    }

    /// The facts, in the order in which they were added.
    pub(crate) fn facts(self) -> Vec<Arc<RawFact>> {
        let Self { texts, rows, events, scopes, .. } = self;
        let texts = Arc::new(texts);
        let mut facts: Vec<Arc<RawFact>> = Vec::with_capacity(rows.len());
        let (mut from, mut last) = (0, None);
        for row in rows {
            let [key, metadata, payload] = row.ends;
            let stream = match (&last, facts.last()) {
                (Some(last), Some(fact)) if *last == row.stream => Arc::clone(&fact.stream),
                _ => {
                    let (_, tenant, category) = &scopes[row.scope];
                    let key = StreamKey::from_stored(&texts[from..key]);
                    let stream = StreamId { category: category.clone(), key };
                    Arc::new(StreamRef { tenant: tenant.clone(), stream })
                }
            };
            facts.push(Arc::new(RawFact {
                position: row.position,
                stream,
                version: row.version,
                event: events[row.event].1.clone(),
                recorded_at: row.recorded_at,
                occurred_at: row.occurred_at,
                metadata: SharedText::part(&texts, key..metadata),
                payload: SharedText::part(&texts, metadata..payload),
            }));
            (from, last) = (payload, Some(row.stream));
        }
        facts
    }

    /// The place of a tenant and a category; most rows have those of the row before.
    fn scope(&mut self, connection: &Connection, names: &mut Names, scope: Scope) -> rusqlite::Result<usize> {
        if let Some(GatheredRow { scope: last, .. }) = self.rows.last()
            && self.scopes[*last].0 == scope
        {
            return Ok(*last);
        }
        if let Some(place) = self.places.get(&scope) {
            return Ok(*place);
        }
        let tenant = Tenant::from_stored(names.tenant(connection, scope.tenant)?.as_str());
        let category = Category::from_stored(names.category(connection, scope.category)?.as_str());
        self.scopes.push((scope, tenant, category));
        self.places.insert(scope, self.scopes.len() - 1);
        Ok(self.scopes.len() - 1)
    }

    /// Adds a text; answers where it ends.
    fn text(&mut self, text: &str) -> usize {
        self.texts.push_str(text);
        self.texts.len()
    }
}

impl Names {
    pub(crate) fn new(streams_max: usize) -> Self {
        Self {
            tenants: Map::default(),
            categories: Map::default(),
            types: Map::default(),
            streams: Map::default(),
            keys: String::new(),
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

    fn stream(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<KnownStream> {
        if let Some(known) = self.streams.get(&id) {
            return Ok(*known);
        }
        if self.streams.len() >= self.streams_max {
            self.streams.clear();
            self.keys.clear();
        }
        let mut statement = connection.prepare_cached(SELECT_STREAM)?;
        let known = statement.query_row([id], |row| {
            let from = self.keys.len();
            self.keys.push_str(row.get_ref(2)?.as_str()?);
            let scope = Scope { tenant: row.get(0)?, category: row.get(1)? };
            Ok(KnownStream { scope, from, to: self.keys.len() })
        })?;
        self.streams.insert(id, known);
        Ok(known)
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
