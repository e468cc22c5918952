//! Filling an empty log with one that was recorded elsewhere, in one transaction.

use crate::fault::OrFault;
use diptych_command::{RestoreSource, RestoredEvent};
use diptych_core::{Code, Epoch, Fault, StreamRef};
use rusqlite::{Connection, TransactionBehavior};
use std::collections::HashMap;

/// How many events are asked of the source at once.
const BLOCK_EVENTS: usize = 1_000;

const SELECT_HELD: &str = "SELECT (SELECT coalesce(max(position), 0) FROM event), \
    (SELECT count(*) FROM command), \
    (SELECT count(*) FROM build WHERE mode <> 'inline')";
const INSERT_TENANT: &str = "INSERT INTO tenant (name) VALUES (?1) ON CONFLICT DO NOTHING";
const SELECT_TENANT: &str = "SELECT id FROM tenant WHERE name = ?1";
const INSERT_CATEGORY: &str = "INSERT INTO category (name) VALUES (?1) ON CONFLICT DO NOTHING";
const SELECT_CATEGORY: &str = "SELECT id FROM category WHERE name = ?1";
const INSERT_TYPE: &str = "INSERT INTO event_type (category, name, schema_version) VALUES (?1, ?2, ?3) \
    ON CONFLICT DO NOTHING";
const SELECT_TYPE: &str =
    "SELECT id FROM event_type WHERE category = ?1 AND name = ?2 AND schema_version = ?3";
const INSERT_STREAM: &str = "INSERT INTO stream (tenant, category, key) VALUES (?1, ?2, ?3) \
    ON CONFLICT DO NOTHING";
const SELECT_STREAM: &str = "SELECT id FROM stream WHERE tenant = ?1 AND category = ?2 AND key = ?3";
const INSERT_EVENT: &str = "INSERT INTO event \
    (position, stream, version, type, recorded_at, occurred_at, metadata, payload) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const INSERT_TAG: &str = "INSERT INTO event_tag (tenant, tag, position) VALUES (?1, ?2, ?3) \
    ON CONFLICT DO NOTHING";
const SET_EPOCH: &str = "UPDATE log SET epoch = ?1 WHERE id = 1";

/// The integers of names that were met, the newest of them.
#[derive(Default)]
struct Known {
    streams: HashMap<StreamRef, NamedStream>,
    types: HashMap<(i64, String, u32), i64>,
}

/// At most so many names are remembered; beyond it they are asked for again.
const NAMES_MAX: usize = 100_000;

pub(crate) fn restore(
    connection: &mut Connection,
    epoch: Epoch,
    source: &mut dyn RestoreSource,
) -> Result<u64, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    let held = transaction.query_row(SELECT_HELD, [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    let (events, commands, models) = held.or_fault()?;
    if (events, commands, models) != (0, 0, 0) {
        let message = format!(
            "the store holds {events} events, {commands} commands and {models} read models; only one that \
             was never used is filled"
        );
        return Err(Fault::permanent(Code::StoreNotEmpty, message));
    }
    let (mut position, mut known) = (0, Known::default());
    loop {
        let block = source.next(BLOCK_EVENTS)?;
        if block.is_empty() {
            break;
        }
        for event in &block {
            position += 1;
            insert(&transaction, position, event, &mut known).or_fault()?;
        }
    }
    transaction.execute(SET_EPOCH, [epoch.0]).or_fault()?;
    transaction.commit().or_fault()?;
    Ok(position.unsigned_abs())
}

fn insert(
    connection: &Connection,
    position: i64,
    event: &RestoredEvent,
    known: &mut Known,
) -> rusqlite::Result<()> {
    let NamedStream { id: stream, tenant, category } = known.stream(connection, &event.stream)?;
    let kind = known.kind(connection, category, event)?;
    let (recorded_at, occurred_at) = (event.recorded_at.as_micros(), event.occurred_at.as_micros());
    let occurred_at = Some(occurred_at).filter(|time| *time != recorded_at);
    connection.prepare_cached(INSERT_EVENT)?.execute((
        position,
        stream,
        event.version.0.cast_signed(),
        kind,
        recorded_at,
        occurred_at,
        &event.metadata,
        &event.payload,
    ))?;
    for tag in &event.tags {
        connection.prepare_cached(INSERT_TAG)?.execute((tenant, tag.as_str(), position))?;
    }
    Ok(())
}

/// The integers of a stream, of its tenant and of its category.
#[derive(Clone, Copy)]
struct NamedStream {
    id: i64,
    tenant: i64,
    category: i64,
}

impl Known {
    fn stream(&mut self, connection: &Connection, stream: &StreamRef) -> rusqlite::Result<NamedStream> {
        if let Some(known) = self.streams.get(stream) {
            return Ok(*known);
        }
        let (tenant, category) = (stream.tenant.as_str(), stream.stream.category.as_str());
        let tenant = interned(connection, INSERT_TENANT, SELECT_TENANT, [tenant])?;
        let category = interned(connection, INSERT_CATEGORY, SELECT_CATEGORY, [category])?;
        let key = (tenant, category, stream.stream.key.as_str());
        let id = interned(connection, INSERT_STREAM, SELECT_STREAM, key)?;
        if self.streams.len() >= NAMES_MAX {
            self.streams.clear();
        }
        let named = NamedStream { id, tenant, category };
        self.streams.insert(stream.clone(), named);
        Ok(named)
    }

    fn kind(
        &mut self,
        connection: &Connection,
        category: i64,
        event: &RestoredEvent,
    ) -> rusqlite::Result<i64> {
        let key = (category, event.name.clone(), event.schema_version);
        if let Some(known) = self.types.get(&key) {
            return Ok(*known);
        }
        let asked = (category, event.name.as_str(), event.schema_version);
        let id = interned(connection, INSERT_TYPE, SELECT_TYPE, asked)?;
        if self.types.len() >= NAMES_MAX {
            self.types.clear();
        }
        self.types.insert(key, id);
        Ok(id)
    }
}

/// The integer of a name, which is made where it is not there.
fn interned<P: rusqlite::Params + Clone>(
    connection: &Connection,
    insert: &str,
    select: &str,
    name: P,
) -> rusqlite::Result<i64> {
    connection.prepare_cached(insert)?.execute(name.clone())?;
    connection.prepare_cached(select)?.query_row(name, |row| row.get(0))
}
