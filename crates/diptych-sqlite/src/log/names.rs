//! Names behind the log's integers, as readers see them.

use crate::fault::damaged;
use diptych_core::{Category, EventName, Fault, RawFact, Tenant, Version};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

const SELECT_TENANT: &str = "SELECT name FROM tenant WHERE id = ?1";
const SELECT_CATEGORY: &str = "SELECT name FROM category WHERE id = ?1";
const SELECT_TYPE: &str = "SELECT category, name, schema_version FROM event_type WHERE id = ?1";
const SELECT_STREAM: &str = "SELECT tenant, category, key FROM stream WHERE id = ?1";

/// How many bytes of keys are kept: what their places can tell, less the longest key.
const KEYS_BYTES_MAX: usize = 1 << 31;

/// Names that one connection has seen. Names never change, so they are never asked for twice.
pub(crate) struct Names {
    tenants: Map<i64, Tenant>,
    categories: Map<i64, Category>,
    types: Map<i64, KnownType>,
    scopes: Vec<Scope>,
    scope_numbers: Map<Scope, u32>,
    /// Streams at their number modulo the most that are known: numbers have no gaps, so a log with fewer
    /// streams has each at a place of its own, and they lie as close together as they can.
    streams: Vec<KnownStream>,
    /// The keys of streams, one after the other.
    keys: String,
    /// How many streams were learned since it last started over.
    learned: usize,
    streams_max: usize,
}

/// A stream by its parts. It is copied, not counted: many streams are met once in a while, and a counter that
/// is not at hand would be waited for.
#[derive(Clone, Copy, Default)]
pub(crate) struct KnownStream {
    /// Its number, which is never 0.
    id: i64,
    /// Its tenant and category, as [`Names::scope`] has them.
    pub(crate) scope: u32,
    from: u32,
    to: u32,
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

impl Names {
    pub(crate) fn new(streams_max: usize) -> Self {
        Self {
            tenants: Map::default(),
            categories: Map::default(),
            types: Map::default(),
            scopes: Vec::new(),
            scope_numbers: Map::default(),
            streams: Vec::new(),
            keys: String::new(),
            learned: 0,
            streams_max: streams_max.max(1),
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

    /// A stream by its number.
    pub(crate) fn stream(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<KnownStream> {
        let place = self.place(id);
        match self.streams.get(place) {
            Some(known) if known.id == id => Ok(*known),
            _ => self.learn(connection, id, place),
        }
    }

    /// Brings what is known of some streams near the processor: first their places, then their keys, so that
    /// in neither of both one read waits for another.
    pub(crate) fn approach(&self, ids: impl Iterator<Item = i64> + Clone) {
        let known = |id| self.streams.get(self.place(id));
        let places = ids.clone().fold(0, |seen, id| seen ^ known(id).map_or(0, |known| known.from));
        let keys = self.keys.as_bytes();
        let first = |id| known(id).and_then(|known| keys.get(known.from as usize)).copied();
        black_box((places, ids.fold(0, |seen, id| seen ^ first(id).unwrap_or_default())));
    }

    fn place(&self, id: i64) -> usize {
        // Dividing is left to logs that need it: it takes as long as all the rest.
        let (number, streams_max) = (id.cast_unsigned(), self.streams_max as u64);
        (if number < streams_max { number } else { number % streams_max }) as usize
    }

    /// The key of a stream that was just asked for.
    pub(crate) fn key(&self, known: KnownStream) -> &str {
        &self.keys[known.from as usize..known.to as usize]
    }

    /// The tenant and the category of a stream's scope.
    pub(crate) fn scope(
        &mut self,
        connection: &Connection,
        scope: u32,
    ) -> rusqlite::Result<(Tenant, Category)> {
        let Scope { tenant, category } = self.scopes[scope as usize];
        Ok((self.tenant(connection, tenant)?, self.category(connection, category)?))
    }

    fn learn(&mut self, connection: &Connection, id: i64, place: usize) -> rusqlite::Result<KnownStream> {
        if self.learned >= self.streams_max || self.keys.len() > KEYS_BYTES_MAX {
            self.streams.clear();
            self.keys.clear();
            self.learned = 0;
        }
        let from = self.keys.len();
        let mut statement = connection.prepare_cached(SELECT_STREAM)?;
        let scope = statement.query_row([id], |row| {
            self.keys.push_str(row.get_ref(2)?.as_str()?);
            Ok(Scope { tenant: row.get(0)?, category: row.get(1)? })
        })?;
        let scopes = &mut self.scopes;
        let number = *self.scope_numbers.entry(scope).or_insert_with(|| {
            scopes.push(scope);
            (scopes.len() - 1) as u32
        });
        let known = KnownStream { id, scope: number, from: from as u32, to: self.keys.len() as u32 };
        if self.streams.len() <= place {
            self.streams.resize(place + 1, KnownStream::default());
        }
        self.streams[place] = known;
        self.learned += 1;
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
