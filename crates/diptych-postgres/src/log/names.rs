//! Names behind the log's integers, as readers see them, and facts put together from rows. Names never
//! change, so that what was read once holds for as long as the process lives.

use super::read::{EventRow, EventRows};
use crate::fault::{OrFault, damaged};
use crate::shared::Schema;
use diptych_core::{
    Category, EventName, Fault, RawFact, SharedText, StreamId, StreamKey, StreamRef, Tenant, Version,
};
use diptych_query::Categories;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

const SELECT_TYPES: &str = "SELECT event_type.id, category.name, event_type.name, event_type.schema_version \
    FROM diptych.event_type JOIN diptych.category ON category.id = event_type.category";
const SELECT_STREAMS: &str = "SELECT stream.id, tenant.name, category.name, stream.key \
    FROM diptych.stream JOIN diptych.tenant ON tenant.id = stream.tenant \
    JOIN diptych.category ON category.id = stream.category WHERE stream.id = ANY($1)";

/// Names that this process has met.
pub(crate) struct Names {
    types: RwLock<Map<i32, KnownType>>,
    streams: RwLock<Map<i64, Arc<StreamRef>>>,
    streams_max: usize,
}

/// A type with its category.
#[derive(Clone)]
struct KnownType {
    category: Category,
    name: EventName,
}

impl Names {
    pub(crate) fn new(streams_max: usize) -> Self {
        Self { types: RwLock::default(), streams: RwLock::default(), streams_max }
    }

    /// The types that are known not to be wanted. Others may not be either: whoever reads looks again.
    pub(super) fn unwanted(&self, categories: &Categories) -> Vec<i32> {
        let types = self.types.read().unwrap_or_else(PoisonError::into_inner);
        let unwanted = types.iter().filter(|(_, known)| !categories.contains(known.category.as_str()));
        unwanted.map(|(id, _)| *id).collect()
    }

    /// The facts of rows, those that are not wanted left out.
    pub(super) async fn facts(
        &self,
        client: &Client,
        schema: &Schema,
        rows: EventRows,
        categories: &Categories,
    ) -> Result<Vec<Arc<RawFact>>, Fault> {
        let EventRows { rows, pieces } = rows;
        let pieces: Vec<Arc<String>> = pieces.into_iter().map(Arc::new).collect();
        let mut types: Map<i32, KnownType> = Map::default();
        self.learn_types(client, schema, &rows, &mut types).await?;
        let type_of = |row: &EventRow| {
            types.get(&row.kind).ok_or_else(|| damaged(format!("an event has the unknown type {}", row.kind)))
        };
        let mut wanted = Vec::with_capacity(rows.len());
        for row in rows {
            if categories.contains(type_of(&row)?.category.as_str()) {
                wanted.push(row);
            }
        }
        let streams = self.streams(client, schema, &wanted).await?;
        let mut facts = Vec::with_capacity(wanted.len());
        for row in wanted {
            let event = type_of(&row)?.name.clone();
            let stream = streams.get(&row.stream);
            let stream = stream.ok_or_else(|| damaged("an event belongs to no stream"))?;
            facts.push(Arc::new(fact(row, &pieces, event, Arc::clone(stream))?));
        }
        Ok(facts)
    }

    /// Finds the types of rows, reading them anew when there is one that was not met before.
    async fn learn_types(
        &self,
        client: &Client,
        schema: &Schema,
        rows: &[EventRow],
        found: &mut Map<i32, KnownType>,
    ) -> Result<(), Fault> {
        if !self.find_types(rows, found) {
            let read = client.query_typed(&schema.sql(SELECT_TYPES), &[]).await.or_fault()?;
            let mut types = Map::default();
            for row in read {
                let schema_version: i64 = row.try_get(3).or_fault()?;
                let name = EventName {
                    name: row.try_get::<_, &str>(2).or_fault()?.into(),
                    schema_version: u32::try_from(schema_version)
                        .map_err(|_| damaged("a type has no valid schema version"))?,
                };
                let category = Category::from_stored(row.try_get::<_, &str>(1).or_fault()?);
                types.insert(row.try_get(0).or_fault()?, KnownType { category, name });
            }
            *self.types.write().unwrap_or_else(PoisonError::into_inner) = types;
            self.find_types(rows, found);
        }
        Ok(())
    }

    /// Copies the types of rows; whether all are known.
    fn find_types(&self, rows: &[EventRow], found: &mut Map<i32, KnownType>) -> bool {
        let types = self.types.read().unwrap_or_else(PoisonError::into_inner);
        let mut complete = true;
        for row in rows {
            let Entry::Vacant(vacant) = found.entry(row.kind) else {
                continue;
            };
            match types.get(&row.kind) {
                Some(known) => {
                    vacant.insert(known.clone());
                }
                None => complete = false,
            }
        }
        complete
    }

    /// The streams of rows, asked for together where they are not known.
    async fn streams(
        &self,
        client: &Client,
        schema: &Schema,
        rows: &[EventRow],
    ) -> Result<Map<i64, Arc<StreamRef>>, Fault> {
        let mut found: Map<i64, Arc<StreamRef>> = Map::default();
        let mut missing: Vec<i64> = Vec::new();
        {
            let known = self.streams.read().unwrap_or_else(PoisonError::into_inner);
            for row in rows {
                if found.contains_key(&row.stream) {
                    continue;
                }
                match known.get(&row.stream) {
                    Some(stream) => {
                        found.insert(row.stream, Arc::clone(stream));
                    }
                    None => missing.push(row.stream),
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        missing.sort_unstable();
        missing.dedup();
        let asked = [(&missing as &(dyn tokio_postgres::types::ToSql + Sync), Type::INT8_ARRAY)];
        let read = client.query_typed(&schema.sql(SELECT_STREAMS), &asked).await.or_fault()?;
        for row in read {
            let text = |column: usize| row.try_get::<_, &str>(column).or_fault();
            let stream =
                StreamId { category: Category::from_stored(text(2)?), key: StreamKey::from_stored(text(3)?) };
            let stream = StreamRef { tenant: Tenant::from_stored(text(1)?), stream };
            found.insert(row.try_get(0).or_fault()?, Arc::new(stream));
        }
        let mut known = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() + missing.len() > self.streams_max {
            known.clear();
        }
        for id in missing.into_iter().take(self.streams_max) {
            if let Some(stream) = found.get(&id) {
                known.insert(id, Arc::clone(stream));
            }
        }
        drop(known);
        Ok(found)
    }
}

fn fact(
    row: EventRow,
    pieces: &[Arc<String>],
    event: EventName,
    stream: Arc<StreamRef>,
) -> Result<RawFact, Fault> {
    let text = |range: Option<Range<usize>>| {
        let part = range.zip(pieces.get(row.piece)).map(|(range, piece)| SharedText::part(piece, range));
        part.ok_or_else(|| damaged("a wanted event was read without its text"))
    };
    Ok(RawFact {
        position: row.position,
        stream,
        version: Version(row.version),
        event,
        recorded_at: row.recorded_at,
        occurred_at: row.occurred_at,
        metadata: text(row.metadata)?,
        payload: text(row.payload)?,
    })
}

/// Checks that versions of a stream follow each other: the second proof that nothing was skipped.
pub(super) fn contiguous(after: Version, facts: &[Arc<RawFact>]) -> Result<(), Fault> {
    let gap = facts.iter().zip(after.0 + 1..).find(|(fact, expected)| fact.version.0 != *expected);
    match gap {
        None => Ok(()),
        Some((fact, expected)) => {
            let (stream, version) = (&fact.stream, fact.version);
            Err(damaged(format!("stream `{stream}` has version {version} where {expected} must stand")))
        }
    }
}
