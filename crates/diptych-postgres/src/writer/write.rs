//! The statements of an append: what a group asks for under the lock of the head, and the rows it leaves.
//! Each is one statement for the whole group.

use super::command::Prepared;
use super::decide::{Decided, Found, NewCommand, Standing, StreamRow};
use super::group::GroupFailure;
use super::intern::Interned;
use super::statements::{Statements, Value};
use crate::fault::damaged;
use crate::time::Stamp;
use diptych_core::{StreamRef, Timestamp, Version};
use std::collections::HashMap;
use tokio_postgres::{Client, Error};

/// Asks for the streams of a group with their versions, and for the keys it would claim.
pub(super) async fn find(
    client: &Client,
    statements: &Statements,
    interned: &Interned,
    commands: &[Prepared],
) -> Result<Found, GroupFailure> {
    let mut places: HashMap<&StreamRef, usize> = HashMap::new();
    let (mut tenants, mut categories, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    let (mut stream_of, mut key_tenants, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for command in commands {
        let names = interned.of(command).ok_or_else(|| damaged("a name was not kept"))?;
        let place = *places.entry(&command.stream).or_insert_with(|| {
            tenants.push(names.tenant);
            categories.push(names.category);
            keys.push(command.stream.stream.key.as_str());
            keys.len() - 1
        });
        stream_of.push(place);
        key_tenants.push(names.tenant);
        ids.push(command.header.id.as_str());
    }
    let streams: [Value<'_>; 3] = [&tenants, &categories, &keys];
    let claims: [Value<'_>; 2] = [&key_tenants, &ids];
    let (stream_rows, key_rows) = tokio::join!(
        biased;
        statements.select_streams.query(client, &streams),
        statements.select_keys.query(client, &claims),
    );
    let mut found = Found {
        streams: vec![StreamRow::default(); keys.len()],
        stream_of,
        claimed: vec![None; commands.len()],
    };
    for row in stream_rows? {
        let version: Option<i64> = row.try_get(2)?;
        let version = Version(version.unwrap_or(0).cast_unsigned());
        let stream = found.streams.get_mut(place(row.try_get(0)?));
        *stream.ok_or_else(|| damaged("a stream was not asked for"))? =
            StreamRow { id: Some(row.try_get(1)?), version };
    }
    for row in key_rows? {
        let hash = <[u8; 16]>::try_from(row.try_get::<_, &[u8]>(1)?);
        let hash = hash.map_err(|_| damaged("a key has no hash of 128 bits"))?;
        let claimed = found.claimed.get_mut(place(row.try_get(0)?));
        *claimed.ok_or_else(|| damaged("a key was not asked for"))? = Some(hash);
    }
    Ok(found)
}

/// The place of a number that `WITH ORDINALITY` has counted from 1.
fn place(number: i64) -> usize {
    usize::try_from(number - 1).unwrap_or(usize::MAX)
}

/// Writes everything that a group leaves, in one go.
pub(super) async fn write(
    client: &Client,
    statements: &Statements,
    decided: &Decided<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    let (streams, events, commands, keys, head) = tokio::join!(
        biased;
        streams(client, statements, decided),
        events(client, statements, decided, now),
        commands(client, statements, &decided.commands, now),
        keys(client, statements, &decided.commands),
        head(client, statements, decided),
    );
    // The first error is the cause; those after it say only that the transaction has failed.
    streams.and(events).and(commands).and(keys).and(head)
}

async fn streams(client: &Client, statements: &Statements, decided: &Decided<'_>) -> Result<(), Error> {
    if decided.streams.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = decided.streams.iter().map(|new| new.id).collect();
    let tenants: Vec<i32> = decided.streams.iter().map(|new| new.names.tenant).collect();
    let categories: Vec<i32> = decided.streams.iter().map(|new| new.names.category).collect();
    let keys: Vec<&str> = decided.streams.iter().map(|new| new.stream.stream.key.as_str()).collect();
    let row: [Value<'_>; 4] = [&ids, &tenants, &categories, &keys];
    statements.insert_streams.execute(client, &row).await
}

async fn events(
    client: &Client,
    statements: &Statements,
    decided: &Decided<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    let new = &decided.events;
    if new.is_empty() {
        return Ok(());
    }
    let positions: Vec<i64> = new.iter().map(|new| new.fact.position.0.cast_signed()).collect();
    let streams: Vec<i64> = new.iter().map(|new| new.stream).collect();
    let versions: Vec<i64> = new.iter().map(|new| new.fact.version.0.cast_signed()).collect();
    let occurred: Vec<Option<Stamp>> = new.iter().map(|new| other(new.fact.occurred_at, now)).collect();
    let types: Vec<i32> = new.iter().map(|new| new.kind).collect();
    let metadata: Vec<&str> = new.iter().map(|new| &*new.fact.metadata).collect();
    let payloads: Vec<&str> = new.iter().map(|new| &*new.fact.payload).collect();
    let row: [Value<'_>; 8] =
        [&positions, &streams, &versions, &occurred, &types, &metadata, &payloads, &Stamp(now)];
    statements.insert_events.execute(client, &row).await
}

async fn commands(
    client: &Client,
    statements: &Statements,
    new: &[NewCommand<'_>],
    now: Timestamp,
) -> Result<(), Error> {
    if new.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = new.iter().map(|new| new.id).collect();
    let streams: Vec<i64> = new.iter().map(|new| new.stream).collect();
    let versions: Vec<i64> = new.iter().map(|new| new.version.0.cast_signed()).collect();
    let positions: Vec<i64> = new.iter().map(|new| new.position.0.cast_signed()).collect();
    let header = |new: &NewCommand<'_>| new.prepared.header.occurred_at;
    let occurred: Vec<Option<Stamp>> = new.iter().map(|new| other(header(new), now)).collect();
    let events: Vec<i32> = new.iter().map(|new| i32::try_from(new.events).unwrap_or(i32::MAX)).collect();
    let names: Vec<i32> = new.iter().map(|new| new.names.name).collect();
    let actors: Vec<i32> = new.iter().map(|new| new.names.actor).collect();
    let policies: Vec<Option<i32>> = new.iter().map(|new| new.names.policy).collect();
    let outcomes: Vec<i16> = new.iter().map(|new| new.outcome).collect();
    let headers: Vec<_> = new.iter().map(|new| &new.prepared.header).collect();
    let keys: Vec<&str> = headers.iter().map(|header| header.id.as_str()).collect();
    let correlations: Vec<Option<&str>> =
        headers.iter().map(|header| header.correlation.as_ref().map(|id| id.as_str())).collect();
    let causations: Vec<Option<&str>> =
        headers.iter().map(|header| header.causation.as_ref().map(|id| id.as_str())).collect();
    let rejections: Vec<Option<&str>> = new.iter().map(|new| new.rejection.map(|(name, _)| name)).collect();
    let data: Vec<Option<&str>> = new.iter().map(|new| new.rejection.map(|(_, data)| data)).collect();
    // A claimed key holds the hash.
    let hash = |new: &NewCommand<'_>| (!new.claims).then(|| new.prepared.header.hash.0.to_vec());
    let hashes: Vec<Option<Vec<u8>>> = new.iter().map(hash).collect();
    let row: [Value<'_>; 17] = [
        &ids,
        &streams,
        &versions,
        &positions,
        &occurred,
        &events,
        &names,
        &actors,
        &policies,
        &outcomes,
        &keys,
        &correlations,
        &causations,
        &rejections,
        &data,
        &hashes,
        &Stamp(now),
    ];
    statements.insert_commands.execute(client, &row).await
}

async fn keys(client: &Client, statements: &Statements, new: &[NewCommand<'_>]) -> Result<(), Error> {
    let claims: Vec<_> = new.iter().filter(|new| new.claims).collect();
    if claims.is_empty() {
        return Ok(());
    }
    let commands: Vec<i64> = claims.iter().map(|new| new.id).collect();
    let tenants: Vec<i32> = claims.iter().map(|new| new.names.tenant).collect();
    let ids: Vec<&str> = claims.iter().map(|new| new.prepared.header.id.as_str()).collect();
    let hashes: Vec<&[u8]> = claims.iter().map(|new| &new.prepared.header.hash.0[..]).collect();
    let row: [Value<'_>; 4] = [&commands, &tenants, &ids, &hashes];
    statements.insert_keys.execute(client, &row).await
}

async fn head(client: &Client, statements: &Statements, decided: &Decided<'_>) -> Result<(), Error> {
    if decided.commands.is_empty() {
        return Ok(());
    }
    let Standing { head, latest, stream, command } = decided.standing;
    let row: [Value<'_>; 6] = [
        &head.position().0.cast_signed(),
        &i64::from(head.token.fingerprint.0),
        &Stamp(head.recorded_at),
        &Stamp(latest),
        &stream,
        &command,
    ];
    statements.update_head.execute(client, &row).await
}

/// A time that is not the one that stands beside it already.
fn other(time: Timestamp, beside: Timestamp) -> Option<Stamp> {
    (time != beside).then_some(Stamp(time))
}
