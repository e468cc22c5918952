//! The statements of an append: prepared once for each connection where PostgreSQL is reached directly, since
//! planning them costs more than running them; unnamed where a pooler stands between.

use crate::connection::Reach;
use crate::shared::Schema;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

/// INVARIANT: a statement of its own. What is decided is asked for in later ones, whose snapshots are taken
/// under the lock, so that they see everything that was committed before.
const LOCK_HEAD: &str = "SELECT position, fingerprint, entry_recorded_at, latest_at, stream, command, epoch \
    FROM diptych.head FOR UPDATE";
const SELECT_STREAMS: &str = "SELECT wanted.number, stream.id, \
        (SELECT max(event.version) FROM diptych.event WHERE event.stream = stream.id) \
    FROM unnest($1, $2, $3) WITH ORDINALITY AS wanted (tenant, category, key, number) \
    JOIN diptych.stream ON stream.key = wanted.key AND stream.category = wanted.category \
        AND stream.tenant = wanted.tenant";
const SELECT_KEYS: &str = "SELECT wanted.number, command_key.hash \
    FROM unnest($1, $2) WITH ORDINALITY AS wanted (tenant, id, number) \
    JOIN diptych.command_key ON command_key.tenant = wanted.tenant AND command_key.command_id = wanted.id";
const INSERT_STREAMS: &str =
    "INSERT INTO diptych.stream (id, tenant, category, key) SELECT * FROM unnest($1, $2, $3, $4)";
const INSERT_EVENTS: &str = "INSERT INTO diptych.event \
    (position, stream, version, recorded_at, occurred_at, type, metadata, payload) \
    SELECT position, stream, version, $8, occurred_at, type, metadata, payload \
    FROM unnest($1, $2, $3, $4, $5, $6, $7) \
        AS new (position, stream, version, occurred_at, type, metadata, payload)";
const INSERT_COMMANDS: &str = "INSERT INTO diptych.command \
    (id, stream, version, position, recorded_at, occurred_at, events, name, actor, policy, outcome, \
    command_id, correlation, causation, rejection, data, hash) \
    SELECT id, stream, version, position, $17, occurred_at, events, name, actor, policy, outcome, \
    command_id, correlation, causation, rejection, data, hash \
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
        AS new (id, stream, version, position, occurred_at, events, name, actor, policy, outcome, \
        command_id, correlation, causation, rejection, data, hash)";
const INSERT_KEYS: &str = "INSERT INTO diptych.command_key (command, tenant, command_id, hash) \
    SELECT * FROM unnest($1, $2, $3, $4)";
const UPDATE_HEAD: &str = "UPDATE diptych.head SET position = $1, fingerprint = $2, entry_recorded_at = $3, \
    latest_at = $4, stream = $5, command = $6";

/// The types of their parameters.
static STREAMS_ASKED: [Type; 3] = [Type::INT4_ARRAY, Type::INT4_ARRAY, Type::TEXT_ARRAY];
static KEYS_ASKED: [Type; 2] = [Type::INT4_ARRAY, Type::TEXT_ARRAY];
static STREAM: [Type; 4] = [Type::INT8_ARRAY, Type::INT4_ARRAY, Type::INT4_ARRAY, Type::TEXT_ARRAY];
static EVENT: [Type; 8] = [
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ,
];
static COMMAND: [Type; 17] = [
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::INT2_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::BYTEA_ARRAY,
    Type::TIMESTAMPTZ,
];
static KEY: [Type; 4] = [Type::INT8_ARRAY, Type::INT4_ARRAY, Type::TEXT_ARRAY, Type::BYTEA_ARRAY];
static HEAD: [Type; 6] =
    [Type::INT8, Type::INT8, Type::TIMESTAMPTZ, Type::TIMESTAMPTZ, Type::INT8, Type::INT8];

/// The statements of one connection. All are prepared before the first is run: one that had to be prepared in
/// the middle of an append would be overtaken by those that travel with it.
pub(super) struct Statements {
    pub(super) lock_head: Held,
    pub(super) select_streams: Held,
    pub(super) select_keys: Held,
    pub(super) insert_streams: Held,
    pub(super) insert_events: Held,
    pub(super) insert_commands: Held,
    pub(super) insert_keys: Held,
    pub(super) update_head: Held,
}

/// A parameter. Its type stands with the statement.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);

/// One statement.
pub(super) enum Held {
    /// PostgreSQL keeps it for the connection.
    Prepared(Statement),
    /// It is sent each time.
    Unnamed(String, &'static [Type]),
}

impl Statements {
    pub(super) async fn of(client: &Client, schema: &Schema, reach: Reach) -> Result<Self, Error> {
        let held = |text, types| Held::of(client, schema, reach, text, types);
        Ok(Self {
            lock_head: held(LOCK_HEAD, &[]).await?,
            select_streams: held(SELECT_STREAMS, &STREAMS_ASKED).await?,
            select_keys: held(SELECT_KEYS, &KEYS_ASKED).await?,
            insert_streams: held(INSERT_STREAMS, &STREAM).await?,
            insert_events: held(INSERT_EVENTS, &EVENT).await?,
            insert_commands: held(INSERT_COMMANDS, &COMMAND).await?,
            insert_keys: held(INSERT_KEYS, &KEY).await?,
            update_head: held(UPDATE_HEAD, &HEAD).await?,
        })
    }
}

impl Held {
    async fn of(
        client: &Client,
        schema: &Schema,
        reach: Reach,
        text: &str,
        types: &'static [Type],
    ) -> Result<Self, Error> {
        let text = schema.sql(text);
        Ok(match reach {
            Reach::Direct => Self::Prepared(client.prepare_typed(&text, types).await?),
            Reach::Pooled => Self::Unnamed(text.into_owned(), types),
        })
    }

    /// Runs it for its rows. It is on its way once this has been polled.
    pub(super) async fn query(&self, client: &Client, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        match self {
            Self::Prepared(statement) => client.query(statement, values).await,
            Self::Unnamed(text, types) => client.query_typed(text, &typed(values, types)).await,
        }
    }

    /// Runs it for what it does. It is on its way once this has been polled.
    pub(super) async fn execute(&self, client: &Client, values: &[Value<'_>]) -> Result<(), Error> {
        match self {
            Self::Prepared(statement) => client.execute(statement, values).await.map(drop),
            Self::Unnamed(text, types) => client.execute_typed(text, &typed(values, types)).await.map(drop),
        }
    }
}

fn typed<'a>(values: &[Value<'a>], types: &[Type]) -> Vec<(Value<'a>, Type)> {
    values.iter().copied().zip(types.iter().cloned()).collect()
}
