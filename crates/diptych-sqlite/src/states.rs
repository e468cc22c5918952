//! Stored states outside of commands: read for a decision, walked, written and removed by an operator.

use crate::SqliteStore;
use crate::fault::OrFault;
use crate::store::blocking;
use crate::writer::Writer;
use diptych_command::{Shape, StateColumn, StateRow, StateStore, StreamStanding};
use diptych_core::{BoxFuture, Category, Fault, StreamId, StreamKey, StreamRef, Tenant, Version};
use rusqlite::{Connection, OptionalExtension};
use std::sync::Arc;

mod view;

const SELECT_STATE: &str = "SELECT version, shape, state FROM state WHERE stream = (\
    SELECT stream.id FROM stream \
    JOIN tenant ON tenant.id = stream.tenant JOIN category ON category.id = stream.category \
    WHERE tenant.name = ?1 AND category.name = ?2 AND stream.key = ?3)";
const SELECT_TENANTS: &str = "SELECT id, name FROM tenant \
    WHERE id >= coalesce((SELECT id FROM tenant WHERE name = ?1), 0) ORDER BY id";
/// A stream that only commands without events have named has no version.
const SELECT_STREAMS: &str = "SELECT stream.key, \
        (SELECT max(event.version) FROM event WHERE event.stream = stream.id), state.version, state.shape \
    FROM stream LEFT JOIN state ON state.stream = stream.id \
    WHERE stream.tenant = ?1 AND stream.category = (SELECT id FROM category WHERE name = ?2) \
        AND stream.key > ?3 AND EXISTS (SELECT 1 FROM event WHERE event.stream = stream.id) \
    ORDER BY stream.key LIMIT ?4";
const WRITE_STATE: &str = "INSERT INTO state (stream, category, version, shape, state) \
    SELECT stream.id, stream.category, ?4, ?5, ?6 FROM stream \
    JOIN tenant ON tenant.id = stream.tenant JOIN category ON category.id = stream.category \
    WHERE tenant.name = ?1 AND category.name = ?2 AND stream.key = ?3 \
        AND EXISTS (SELECT 1 FROM event WHERE event.stream = stream.id) \
    ON CONFLICT (stream) DO UPDATE SET version = excluded.version, shape = excluded.shape, \
        state = excluded.state WHERE state.version <= excluded.version";
const DELETE_STATES: &str = "DELETE FROM state WHERE stream IN (SELECT stream FROM state \
    WHERE category = (SELECT id FROM category WHERE name = ?1) LIMIT ?2)";

impl StateStore for SqliteStore {
    fn load_state<'a>(&'a self, stream: &'a StreamRef) -> BoxFuture<'a, Result<Option<StateRow>, Fault>> {
        // In place, as a stream is read.
        Box::pin(async move { load(&self.shared.readers.now()?.connection, stream) })
    }

    fn streams_of<'a>(
        &'a self,
        category: &'a str,
        after: Option<&'a StreamRef>,
        streams_max: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamStanding>, Fault>> {
        let (shared, category, after) = (Arc::clone(&self.shared), category.to_owned(), after.cloned());
        Box::pin(blocking(move || {
            let reader = shared.readers.wait()?;
            streams_of(&reader.connection, &category, after.as_ref(), streams_max)
        }))
    }

    fn write_state<'a>(&'a self, stream: &'a StreamRef, row: StateRow) -> BoxFuture<'a, Result<bool, Fault>> {
        let stream = stream.clone();
        Box::pin(async move { self.writer.run(move |writer| write(writer, &stream, &row)).await? })
    }

    fn drop_states<'a>(&'a self, category: &'a str, rows_max: usize) -> BoxFuture<'a, Result<usize, Fault>> {
        let category = category.to_owned();
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        Box::pin(async move {
            let dropped = self.writer.run(move |writer| {
                let mut statement = writer.connection.prepare_cached(DELETE_STATES).or_fault()?;
                statement.execute((category, limit)).or_fault()
            });
            dropped.await?
        })
    }

    fn show_states<'a>(
        &'a self,
        category: &'a str,
        columns: &'static [StateColumn],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        let category = category.to_owned();
        Box::pin(async move { self.writer.run(move |writer| view::show(writer, &category, columns)).await? })
    }

    fn hide_states<'a>(&'a self, category: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        let category = category.to_owned();
        Box::pin(async move { self.writer.run(move |writer| view::hide(writer, &category)).await? })
    }
}

fn load(connection: &Connection, stream: &StreamRef) -> Result<Option<StateRow>, Fault> {
    let StreamRef { tenant, stream } = stream;
    let mut statement = connection.prepare_cached(SELECT_STATE).or_fault()?;
    let names = (tenant.as_str(), stream.category.as_str(), stream.key.as_str());
    let row = statement.query_row(names, |row| {
        let (version, shape): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (version, shape) = (Version(version.cast_unsigned()), Shape(shape.cast_unsigned()));
        Ok(StateRow { version, shape, state: row.get(2)? })
    });
    row.optional().or_fault()
}

/// Tenant by tenant, each in the order of its keys: the order of the index.
fn streams_of(
    connection: &Connection,
    category: &str,
    after: Option<&StreamRef>,
    streams_max: usize,
) -> Result<Vec<StreamStanding>, Fault> {
    let mut tenants = connection.prepare_cached(SELECT_TENANTS).or_fault()?;
    let from = after.map(|after| after.tenant.as_str());
    let tenants = tenants.query_map([from], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
    let mut statement = connection.prepare_cached(SELECT_STREAMS).or_fault()?;
    let mut found = Vec::new();
    for tenant in tenants.or_fault()? {
        let (id, name) = tenant.or_fault()?;
        let tenant = Tenant::from_stored(name);
        let beyond =
            after.filter(|after| after.tenant == tenant).map_or("", |after| after.stream.key.as_str());
        let left = i64::try_from(streams_max - found.len()).unwrap_or(i64::MAX);
        let rows = statement.query_map((id, category, beyond, left), |row| {
            let stream = StreamId {
                category: Category::from_stored(category),
                key: StreamKey::from_stored(row.get::<_, String>(0)?),
            };
            let held: (Option<i64>, Option<i64>) = (row.get(2)?, row.get(3)?);
            let held = held.0.zip(held.1);
            Ok(StreamStanding {
                stream: StreamRef { tenant: tenant.clone(), stream },
                version: Version(row.get::<_, i64>(1)?.cast_unsigned()),
                row: held.map(|(at, shape)| (Version(at.cast_unsigned()), Shape(shape.cast_unsigned()))),
            })
        });
        for standing in rows.or_fault()? {
            found.push(standing.or_fault()?);
        }
        if found.len() == streams_max {
            break;
        }
    }
    Ok(found)
}

fn write(writer: &mut Writer, stream: &StreamRef, row: &StateRow) -> Result<bool, Fault> {
    let StreamRef { tenant, stream } = stream;
    let mut statement = writer.connection.prepare_cached(WRITE_STATE).or_fault()?;
    let (version, shape) = (row.version.0.cast_signed(), row.shape.0.cast_signed());
    let names = (tenant.as_str(), stream.category.as_str(), stream.key.as_str());
    let written = statement.execute((names.0, names.1, names.2, version, shape, &row.state));
    Ok(written.or_fault()? == 1)
}
