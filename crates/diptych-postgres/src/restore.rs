//! Filling an empty log with one that was recorded elsewhere, in one transaction under the lock of the head.

use crate::fault::{OrFault, unsigned};
use crate::log::Parameter;
use crate::shared::Shared;
use crate::time::Stamp;
use diptych_command::{RestoreSource, RestoredEvent};
use diptych_core::{Code, Epoch, Fault, Fingerprint, StreamRef};
use std::collections::HashMap;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// How many events are asked of the source, and sent, at once.
const BLOCK_EVENTS: usize = 1_000;

const LOCK_HEAD: &str = "SELECT position, command, \
    (SELECT count(*) FROM diptych.generation) FROM diptych.head FOR UPDATE";
const INSERT_TENANT: &str = "INSERT INTO diptych.tenant (name) VALUES ($1) RETURNING id";
const INSERT_CATEGORY: &str = "INSERT INTO diptych.category (name) VALUES ($1) RETURNING id";
const INSERT_TYPE: &str = "INSERT INTO diptych.event_type (category, name, schema_version) \
    VALUES ($1, $2, $3) RETURNING id";
const INSERT_STREAMS: &str = "INSERT INTO diptych.stream (id, tenant, category, key) \
    SELECT * FROM unnest($1, $2, $3, $4)";
const INSERT_EVENTS: &str = "INSERT INTO diptych.event \
    (position, stream, version, recorded_at, occurred_at, type, metadata, payload) \
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)";
const INSERT_TAGS: &str = "INSERT INTO diptych.event_tag (tenant, tag, position) \
    SELECT * FROM unnest($1, $2, $3) ON CONFLICT DO NOTHING";
const SET_HEAD: &str = "UPDATE diptych.head SET position = $1, fingerprint = $2, entry_recorded_at = $3, \
    latest_at = $3, stream = $4";
const SET_EPOCH: &str = "UPDATE diptych.head SET epoch = $1";

/// The integers of names. The store is empty, so that a name that was not met is not there.
#[derive(Default)]
struct Known {
    tenants: HashMap<String, i32>,
    categories: HashMap<String, i32>,
    types: HashMap<(i32, String, u32), i32>,
    streams: HashMap<StreamRef, i64>,
}

/// Streams that a block is the first to name.
#[derive(Default)]
struct NewStreams<'a> {
    ids: Vec<i64>,
    tenants: Vec<i32>,
    categories: Vec<i32>,
    keys: Vec<&'a str>,
}

/// Tags of a block.
#[derive(Default)]
struct NewTags<'a> {
    tenants: Vec<i32>,
    tags: Vec<&'a str>,
    positions: Vec<i64>,
}

pub(crate) async fn restore(
    shared: &Shared,
    epoch: Epoch,
    source: &mut dyn RestoreSource,
) -> Result<u64, Fault> {
    let mut connection = shared.models().await?;
    let transaction = connection.transaction().await.or_fault()?;
    transaction.batch_execute(&shared.limits.settings()).await.or_fault()?;
    let client = transaction.client();
    let held = client.query_typed_one(&shared.sql(LOCK_HEAD), &[]).await.or_fault()?;
    let (events, commands, models) = (unsigned(&held, 0)?, unsigned(&held, 1)?, unsigned(&held, 2)?);
    if (events, commands, models) != (0, 0, 0) {
        let message = format!(
            "the store holds {events} events, {commands} commands and {models} read models; only one that \
             was never used is filled"
        );
        return Err(Fault::permanent(Code::StoreNotEmpty, message));
    }
    let (mut position, mut known) = (0_i64, Known::default());
    let mut last = None;
    loop {
        let mut block = source.next(BLOCK_EVENTS)?;
        if block.is_empty() {
            break;
        }
        write(client, shared, position, &block, &mut known).await?;
        position += i64::try_from(block.len()).unwrap_or(i64::MAX);
        last = block.pop();
    }
    if let Some(RestoredEvent { stream, version, name, recorded_at, payload, .. }) = last {
        let print = Fingerprint::of_entry(&stream, version, &name, recorded_at.as_micros(), &payload);
        let streams = i64::try_from(known.streams.len()).unwrap_or(i64::MAX);
        let asked: [Parameter<'_>; 4] = [
            (&position, Type::INT8),
            (&i64::from(print.0), Type::INT8),
            (&Stamp(recorded_at), Type::TIMESTAMPTZ),
            (&streams, Type::INT8),
        ];
        client.execute_typed(&shared.sql(SET_HEAD), &asked).await.or_fault()?;
    }
    let asked: [Parameter<'_>; 1] = [(&i64::from(epoch.0), Type::INT8)];
    client.execute_typed(&shared.sql(SET_EPOCH), &asked).await.or_fault()?;
    transaction.commit().await.or_fault()?;
    Ok(position.unsigned_abs())
}

/// Writes a block behind a position.
async fn write(
    client: &Client,
    shared: &Shared,
    after: i64,
    block: &[RestoredEvent],
    known: &mut Known,
) -> Result<(), Fault> {
    let (mut streams, mut kinds, mut new) = (Vec::new(), Vec::new(), NewStreams::default());
    let mut tagged = NewTags::default();
    for (event, position) in block.iter().zip(after + 1..) {
        let StreamRef { tenant, stream } = &event.stream;
        let tenant = known.tenant(client, shared, tenant.as_str()).await?;
        let category = known.category(client, shared, stream.category.as_str()).await?;
        kinds.push(known.kind(client, shared, category, event).await?);
        let next = i64::try_from(known.streams.len()).unwrap_or(i64::MAX) + 1;
        let id = *known.streams.entry(event.stream.clone()).or_insert(next);
        if id == next {
            new.ids.push(id);
            new.tenants.push(tenant);
            new.categories.push(category);
            new.keys.push(stream.key.as_str());
        }
        streams.push(id);
        for tag in &event.tags {
            tagged.tenants.push(tenant);
            tagged.tags.push(tag.as_str());
            tagged.positions.push(position);
        }
    }
    let asked: [Parameter<'_>; 4] = [
        (&new.ids, Type::INT8_ARRAY),
        (&new.tenants, Type::INT4_ARRAY),
        (&new.categories, Type::INT4_ARRAY),
        (&new.keys, Type::TEXT_ARRAY),
    ];
    client.execute_typed(&shared.sql(INSERT_STREAMS), &asked).await.or_fault()?;
    let positions: Vec<i64> = (after + 1..).take(block.len()).collect();
    let versions: Vec<i64> = block.iter().map(|event| event.version.0.cast_signed()).collect();
    let recorded: Vec<Stamp> = block.iter().map(|event| Stamp(event.recorded_at)).collect();
    let occurred =
        |event: &RestoredEvent| (event.occurred_at != event.recorded_at).then_some(Stamp(event.occurred_at));
    let occurred: Vec<Option<Stamp>> = block.iter().map(occurred).collect();
    let metadata: Vec<&str> = block.iter().map(|event| event.metadata.as_str()).collect();
    let payloads: Vec<&str> = block.iter().map(|event| event.payload.as_str()).collect();
    let asked: [Parameter<'_>; 8] = [
        (&positions, Type::INT8_ARRAY),
        (&streams, Type::INT8_ARRAY),
        (&versions, Type::INT8_ARRAY),
        (&recorded, Type::TIMESTAMPTZ_ARRAY),
        (&occurred, Type::TIMESTAMPTZ_ARRAY),
        (&kinds, Type::INT4_ARRAY),
        (&metadata, Type::TEXT_ARRAY),
        (&payloads, Type::TEXT_ARRAY),
    ];
    client.execute_typed(&shared.sql(INSERT_EVENTS), &asked).await.or_fault()?;
    tagged.write(client, shared).await
}

impl NewTags<'_> {
    async fn write(&self, client: &Client, shared: &Shared) -> Result<(), Fault> {
        let Self { tenants, tags, positions } = self;
        if tags.is_empty() {
            return Ok(());
        }
        let asked: [Parameter<'_>; 3] =
            [(tenants, Type::INT4_ARRAY), (tags, Type::TEXT_ARRAY), (positions, Type::INT8_ARRAY)];
        client.execute_typed(&shared.sql(INSERT_TAGS), &asked).await.or_fault()?;
        Ok(())
    }
}

impl Known {
    async fn tenant(&mut self, client: &Client, shared: &Shared, name: &str) -> Result<i32, Fault> {
        if let Some(id) = self.tenants.get(name) {
            return Ok(*id);
        }
        let id = made(client, &shared.sql(INSERT_TENANT), &[(&name, Type::TEXT)]).await?;
        self.tenants.insert(name.to_owned(), id);
        Ok(id)
    }

    async fn category(&mut self, client: &Client, shared: &Shared, name: &str) -> Result<i32, Fault> {
        if let Some(id) = self.categories.get(name) {
            return Ok(*id);
        }
        let id = made(client, &shared.sql(INSERT_CATEGORY), &[(&name, Type::TEXT)]).await?;
        self.categories.insert(name.to_owned(), id);
        Ok(id)
    }

    async fn kind(
        &mut self,
        client: &Client,
        shared: &Shared,
        category: i32,
        event: &RestoredEvent,
    ) -> Result<i32, Fault> {
        let key = (category, event.name.clone(), event.schema_version);
        if let Some(id) = self.types.get(&key) {
            return Ok(*id);
        }
        let (name, version) = (event.name.as_str(), i64::from(event.schema_version));
        let asked: [Parameter<'_>; 3] =
            [(&category, Type::INT4), (&name, Type::TEXT), (&version, Type::INT8)];
        let id = made(client, &shared.sql(INSERT_TYPE), &asked).await?;
        self.types.insert(key, id);
        Ok(id)
    }
}

/// The integer of a name that was made.
async fn made(client: &Client, sql: &str, asked: &[Parameter<'_>]) -> Result<i32, Fault> {
    client.query_typed_one(sql, asked).await.or_fault()?.try_get(0).or_fault()
}
