//! The statements of an append: what a group asks for under the lock of the head, and the rows it leaves.
//! Each is one statement for the whole group.

use super::command::Prepared;
use super::condition::{ConditionCells, broken};
use super::decide::{Decided, Found, NewCommand, NewStateRow, Standing, StreamRow};
use super::group::GroupFailure;
use super::intern::Interned;
use super::known::Known;
use super::statements::{Statements, Value};
use crate::fault::damaged;
use crate::time::Stamp;
use diptych_core::{StreamRef, Timestamp, Version};
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::{Client, Error};

/// Asks for the streams of a group with their versions, where they are not known, for the keys it would
/// claim, and for the conditions that do not hold.
pub(super) async fn find(
    client: &Client,
    statements: &Statements,
    interned: &Interned,
    known: &Known,
    commands: &[Prepared],
) -> Result<Found, GroupFailure> {
    let mut places: HashMap<&StreamRef, usize, foldhash::fast::RandomState> = HashMap::default();
    // Those that are asked for, by their places among all.
    let (mut rows, mut asked) = (Vec::new(), Vec::new());
    let (mut tenants, mut categories, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    let (mut stream_of, mut key_tenants, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let mut conditions = ConditionCells::default();
    for (number, command) in commands.iter().enumerate() {
        let names = interned.of(command).ok_or_else(|| damaged("a name was not kept"))?;
        conditions.add(number, names.tenant, command);
        let place = *places.entry(&command.stream).or_insert_with(|| {
            let row = known.get(&command.stream);
            if row.is_none() {
                asked.push(rows.len());
                tenants.push(names.tenant);
                categories.push(names.category);
                keys.push(command.stream.stream.key.as_str());
            }
            rows.push(row.unwrap_or_default());
            rows.len() - 1
        });
        stream_of.push(place);
        key_tenants.push(names.tenant);
        ids.push(command.header.id.as_str());
    }
    let streams: [Value<'_>; 3] = [&tenants, &categories, &keys];
    let claims: [Value<'_>; 2] = [&key_tenants, &ids];
    let (stream_rows, key_rows, condition_rows) = tokio::join!(
        biased;
        async {
            match asked.is_empty() {
                true => Ok(Vec::new()),
                false => statements.select_streams.query(client, &streams).await,
            }
        },
        statements.select_keys.query(client, &claims),
        conditions.ask(client, statements),
    );
    let mut found =
        Found { streams: rows, stream_of, claimed: vec![None; commands.len()], broken: BTreeMap::new() };
    for row in stream_rows? {
        let version: Option<i64> = row.try_get(2)?;
        let version = Version(version.unwrap_or(0).cast_unsigned());
        let stream = asked.get(place(row.try_get(0)?)).and_then(|place| found.streams.get_mut(*place));
        *stream.ok_or_else(|| damaged("a stream was not asked for"))? =
            StreamRow { id: Some(row.try_get(1)?), version };
    }
    for row in key_rows? {
        let hash = <[u8; 16]>::try_from(row.try_get::<_, &[u8]>(1)?);
        let hash = hash.map_err(|_| damaged("a key has no hash of 128 bits"))?;
        let claimed = found.claimed.get_mut(place(row.try_get(0)?));
        *claimed.ok_or_else(|| damaged("a key was not asked for"))? = Some(hash);
    }
    found.broken = broken(&condition_rows?)?;
    Ok(found)
}

/// The place of a number that `WITH ORDINALITY` has counted from 1.
fn place(number: i64) -> usize {
    usize::try_from(number - 1).unwrap_or(usize::MAX)
}

/// Writes everything that a group leaves: by one statement, with one in front where it leaves states and one
/// where it leaves tags. All are on their way, or one has failed and none behind it was sent, once this has
/// been polled.
pub(super) async fn write(
    client: &Client,
    statements: &Statements,
    decided: &Decided<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    if decided.states.is_empty() {
        return write_log(client, statements, decided, now).await;
    }
    // INVARIANT: one that could not even be sent ends this at once, before the next is sent.
    let states = write_states(client, statements, &decided.states);
    tokio::try_join!(biased; states, write_log(client, statements, decided, now)).map(drop)
}

/// Writes the states, each over the one before.
async fn write_states(
    client: &Client,
    statements: &Statements,
    new: &[NewStateRow<'_>],
) -> Result<(), Error> {
    let streams: Vec<i64> = new.iter().map(|new| new.stream).collect();
    let categories: Vec<i32> = new.iter().map(|new| new.category).collect();
    let versions: Vec<i64> = new.iter().map(|new| new.version.0.cast_signed()).collect();
    let shapes: Vec<i64> = new.iter().map(|new| new.state.shape.0.cast_signed()).collect();
    let states: Vec<&str> = new.iter().map(|new| &*new.state.state).collect();
    let row: [Value<'_>; 5] = [&streams, &categories, &versions, &shapes, &states];
    statements.write_states.execute(client, &row).await
}

/// Writes log, audit and keys by one statement. It is on its way, or has failed, once this has been polled.
async fn write_log(
    client: &Client,
    statements: &Statements,
    decided: &Decided<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    if decided.commands.is_empty() {
        return Ok(());
    }
    let (streams, events) = (StreamCells::of(decided), EventCells::of(decided, now));
    let (commands, keys) = (CommandCells::of(&decided.commands, now), KeyCells::of(&decided.commands));
    let Standing { head, latest, stream, command } = &decided.standing;
    let (position, fingerprint) = (head.position().0.cast_signed(), i64::from(head.token.fingerprint.0));
    let (now, recorded_at, latest) = (Stamp(now), Stamp(head.recorded_at), Stamp(*latest));
    let mut row: Vec<Value<'_>> = vec![&now];
    streams.add_to(&mut row);
    events.add_to(&mut row);
    commands.add_to(&mut row);
    keys.add_to(&mut row);
    row.extend([&position as Value<'_>, &fingerprint, &recorded_at, &latest, stream, command]);
    let writing = statements.write.execute(client, &row);
    if decided.events.iter().all(|new| new.tags.is_empty()) {
        return writing.await;
    }
    let TagCells { tenants, tags, positions } = TagCells::of(decided);
    let tagged: [Value<'_>; 3] = [&tenants, &tags, &positions];
    // INVARIANT: whichever could not be sent ends this at once, so that no commit follows it.
    tokio::try_join!(biased; statements.insert_tags.execute(client, &tagged), writing).map(drop)
}

/// Tags of new events, column by column.
#[derive(Default)]
struct TagCells<'a> {
    tenants: Vec<i32>,
    tags: Vec<&'a str>,
    positions: Vec<i64>,
}

impl<'a> TagCells<'a> {
    fn of(decided: &'a Decided<'_>) -> Self {
        let mut cells = Self::default();
        for new in &decided.events {
            for tag in new.tags {
                cells.tenants.push(new.tenant);
                cells.tags.push(tag.as_str());
                cells.positions.push(new.fact.position.0.cast_signed());
            }
        }
        cells
    }
}

/// New streams, column by column.
struct StreamCells<'a> {
    ids: Vec<i64>,
    tenants: Vec<i32>,
    categories: Vec<i32>,
    keys: Vec<&'a str>,
}

impl<'a> StreamCells<'a> {
    fn of(decided: &'a Decided<'_>) -> Self {
        let new = &decided.streams;
        Self {
            ids: new.iter().map(|new| new.id).collect(),
            tenants: new.iter().map(|new| new.names.tenant).collect(),
            categories: new.iter().map(|new| new.names.category).collect(),
            keys: new.iter().map(|new| new.stream.stream.key.as_str()).collect(),
        }
    }

    fn add_to<'c>(&'c self, row: &mut Vec<Value<'c>>) {
        let Self { ids, tenants, categories, keys } = self;
        row.extend([ids as Value<'c>, tenants, categories, keys]);
    }
}

/// New events.
struct EventCells<'a> {
    positions: Vec<i64>,
    streams: Vec<i64>,
    versions: Vec<i64>,
    occurred: Vec<Option<Stamp>>,
    types: Vec<i32>,
    metadata: Vec<&'a str>,
    payloads: Vec<&'a str>,
}

impl<'a> EventCells<'a> {
    fn of(decided: &'a Decided<'_>, now: Timestamp) -> Self {
        let new = &decided.events;
        Self {
            positions: new.iter().map(|new| new.fact.position.0.cast_signed()).collect(),
            streams: new.iter().map(|new| new.stream).collect(),
            versions: new.iter().map(|new| new.fact.version.0.cast_signed()).collect(),
            occurred: new.iter().map(|new| other(new.fact.occurred_at, now)).collect(),
            types: new.iter().map(|new| new.kind).collect(),
            metadata: new.iter().map(|new| &*new.fact.metadata).collect(),
            payloads: new.iter().map(|new| &*new.fact.payload).collect(),
        }
    }

    fn add_to<'c>(&'c self, row: &mut Vec<Value<'c>>) {
        let Self { positions, streams, versions, occurred, types, metadata, payloads } = self;
        row.extend([positions as Value<'c>, streams, versions, occurred, types, metadata, payloads]);
    }
}

/// New rows of the audit.
struct CommandCells<'a> {
    ids: Vec<i64>,
    streams: Vec<i64>,
    versions: Vec<i64>,
    positions: Vec<i64>,
    occurred: Vec<Option<Stamp>>,
    events: Vec<i32>,
    names: Vec<i32>,
    actors: Vec<i32>,
    policies: Vec<Option<i32>>,
    outcomes: Vec<i16>,
    keys: Vec<&'a str>,
    correlations: Vec<Option<&'a str>>,
    causations: Vec<Option<&'a str>>,
    rejections: Vec<Option<&'a str>>,
    data: Vec<Option<&'a str>>,
    /// A claimed key holds the hash.
    hashes: Vec<Option<&'a [u8]>>,
}

impl<'a> CommandCells<'a> {
    fn of(new: &'a [NewCommand<'_>], now: Timestamp) -> Self {
        let headers: Vec<_> = new.iter().map(|new| &new.prepared.header).collect();
        Self {
            ids: new.iter().map(|new| new.id).collect(),
            streams: new.iter().map(|new| new.stream).collect(),
            versions: new.iter().map(|new| new.version.0.cast_signed()).collect(),
            positions: new.iter().map(|new| new.position.0.cast_signed()).collect(),
            occurred: headers.iter().map(|header| other(header.occurred_at, now)).collect(),
            events: new.iter().map(|new| i32::try_from(new.events).unwrap_or(i32::MAX)).collect(),
            names: new.iter().map(|new| new.names.name).collect(),
            actors: new.iter().map(|new| new.names.actor).collect(),
            policies: new.iter().map(|new| new.names.policy).collect(),
            outcomes: new.iter().map(|new| new.outcome).collect(),
            keys: headers.iter().map(|header| header.id.as_str()).collect(),
            correlations: headers
                .iter()
                .map(|header| header.correlation.as_ref().map(|id| id.as_str()))
                .collect(),
            causations: headers
                .iter()
                .map(|header| header.causation.as_ref().map(|id| id.as_str()))
                .collect(),
            rejections: new.iter().map(|new| new.rejection.map(|(name, _)| name)).collect(),
            data: new.iter().map(|new| new.rejection.map(|(_, data)| data)).collect(),
            hashes: new.iter().map(|new| (!new.claims).then_some(&new.prepared.header.hash.0[..])).collect(),
        }
    }

    fn add_to<'c>(&'c self, row: &mut Vec<Value<'c>>) {
        let Self { ids, streams, versions, positions, occurred, events, names, .. } = self;
        let Self { actors, policies, outcomes, keys, correlations, causations, .. } = self;
        let Self { rejections, data, hashes, .. } = self;
        row.extend([ids as Value<'c>, streams, versions, positions, occurred, events, names]);
        row.extend([actors as Value<'c>, policies, outcomes, keys, correlations, causations]);
        row.extend([rejections as Value<'c>, data, hashes]);
    }
}

/// Keys that are claimed.
struct KeyCells<'a> {
    commands: Vec<i64>,
    tenants: Vec<i32>,
    ids: Vec<&'a str>,
    hashes: Vec<&'a [u8]>,
}

impl<'a> KeyCells<'a> {
    fn of(new: &'a [NewCommand<'_>]) -> Self {
        let claims: Vec<_> = new.iter().filter(|new| new.claims).collect();
        Self {
            commands: claims.iter().map(|new| new.id).collect(),
            tenants: claims.iter().map(|new| new.names.tenant).collect(),
            ids: claims.iter().map(|new| new.prepared.header.id.as_str()).collect(),
            hashes: claims.iter().map(|new| &new.prepared.header.hash.0[..]).collect(),
        }
    }

    fn add_to<'c>(&'c self, row: &mut Vec<Value<'c>>) {
        let Self { commands, tenants, ids, hashes } = self;
        row.extend([commands as Value<'c>, tenants, ids, hashes]);
    }
}

/// A time that is not the one that stands beside it already.
fn other(time: Timestamp, beside: Timestamp) -> Option<Stamp> {
    (time != beside).then_some(Stamp(time))
}
