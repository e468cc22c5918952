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
/// What is looked up one by one is never joined with a whole table, whatever the planner believes of it.
const SELECT_STREAMS: &str = "SELECT wanted.number, found.id, found.version \
    FROM unnest($1, $2, $3) WITH ORDINALITY AS wanted (tenant, category, key, number), \
    LATERAL (SELECT stream.id, \
            (SELECT max(event.version) FROM diptych.event WHERE event.stream = stream.id) AS version \
        FROM diptych.stream WHERE stream.key = wanted.key AND stream.category = wanted.category \
        AND stream.tenant = wanted.tenant LIMIT 1) AS found";
const SELECT_KEYS: &str = "SELECT wanted.number, found.hash \
    FROM unnest($1, $2) WITH ORDINALITY AS wanted (tenant, id, number), \
    LATERAL (SELECT command_key.hash FROM diptych.command_key WHERE command_key.tenant = wanted.tenant \
        AND command_key.command_id = wanted.id LIMIT 1) AS found";
/// Conditions, by the commands' places in their group: the first fact of each item that stands after what
/// the decision has seen. As in the log's `SELECT_MATCHING`, the first tag leads; of a stream the newest is
/// enough.
const SELECT_CONDITIONS: &str = "SELECT wanted.command, found.position \
    FROM unnest($1, $2, $3, $4, $5, $6) AS wanted (command, item, tenant, category, after, tag), \
    LATERAL (SELECT event_tag.position FROM diptych.event_tag \
        WHERE event_tag.tenant = wanted.tenant AND event_tag.tag = wanted.tag \
        AND event_tag.position > wanted.after \
        AND NOT EXISTS (SELECT 1 FROM unnest($7, $8) AS other (item, tag) \
            WHERE other.item = wanted.item AND NOT EXISTS (SELECT 1 FROM diptych.event_tag AS held \
                WHERE held.tenant = event_tag.tenant AND held.tag = other.tag \
                AND held.position = event_tag.position)) \
        AND EXISTS (SELECT 1 FROM diptych.event JOIN diptych.event_type ON event_type.id = event.type \
            JOIN diptych.category ON category.id = event_type.category \
            WHERE event.position = event_tag.position \
            AND (wanted.category IS NULL OR category.name = wanted.category) \
            AND (NOT wanted.item = ANY($9) OR EXISTS (\
                SELECT 1 FROM unnest($9, $10) AS kind (item, name) \
                WHERE kind.item = wanted.item AND kind.name = event_type.name))) \
        ORDER BY event_tag.position LIMIT 1) AS found \
    UNION ALL SELECT wanted.command, found.position \
    FROM unnest($11, $12, $13, $14, $15) AS wanted (command, tenant, category, key, after), \
    LATERAL (SELECT event.position FROM diptych.event \
        WHERE event.stream = (SELECT stream.id FROM diptych.stream \
            JOIN diptych.category ON category.id = stream.category \
            WHERE stream.tenant = wanted.tenant AND category.name = wanted.category \
            AND stream.key = wanted.key) \
        ORDER BY event.version DESC LIMIT 1) AS found \
    WHERE found.position > wanted.after";
/// Tags go in front of the rest, in a statement of their own, because most groups have none.
const INSERT_TAGS: &str =
    "INSERT INTO diptych.event_tag (tenant, tag, position) SELECT * FROM unnest($1, $2, $3)";
/// Everything else that a group leaves, as one statement: streams, events, audit, keys and the head.
const WRITE: &str = "WITH new_stream AS ( \
        INSERT INTO diptych.stream (id, tenant, category, key) SELECT * FROM unnest($2, $3, $4, $5) \
    ), new_event AS ( \
        INSERT INTO diptych.event \
        (position, stream, version, recorded_at, occurred_at, type, metadata, payload) \
        SELECT position, stream, version, $1, occurred_at, type, metadata, payload \
        FROM unnest($6, $7, $8, $9, $10, $11, $12) \
            AS new (position, stream, version, occurred_at, type, metadata, payload) \
    ), new_command AS ( \
        INSERT INTO diptych.command \
        (id, stream, version, position, recorded_at, occurred_at, events, name, actor, policy, outcome, \
        command_id, correlation, causation, rejection, data, hash) \
        SELECT id, stream, version, position, $1, occurred_at, events, name, actor, policy, outcome, \
        command_id, correlation, causation, rejection, data, hash \
        FROM unnest($13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28) \
            AS new (id, stream, version, position, occurred_at, events, name, actor, policy, outcome, \
            command_id, correlation, causation, rejection, data, hash) \
    ), new_key AS ( \
        INSERT INTO diptych.command_key (command, tenant, command_id, hash) \
        SELECT * FROM unnest($29, $30, $31, $32) \
    ) \
    UPDATE diptych.head SET position = $33, fingerprint = $34, entry_recorded_at = $35, latest_at = $36, \
        stream = $37, command = $38";

/// One row for a stream, which the group has found at the state's base: no later one can be there.
const WRITE_STATES: &str = "INSERT INTO diptych.state (stream, category, version, shape, state) \
    SELECT * FROM unnest($1, $2, $3, $4, $5) \
    ON CONFLICT (stream) DO UPDATE SET version = excluded.version, shape = excluded.shape, \
        state = excluded.state";

/// The types of their parameters.
static STREAMS_ASKED: [Type; 3] = [Type::INT4_ARRAY, Type::INT4_ARRAY, Type::TEXT_ARRAY];
static KEYS_ASKED: [Type; 2] = [Type::INT4_ARRAY, Type::TEXT_ARRAY];
static STATES: [Type; 5] =
    [Type::INT8_ARRAY, Type::INT4_ARRAY, Type::INT8_ARRAY, Type::INT8_ARRAY, Type::TEXT_ARRAY];
static CONDITIONS_ASKED: [Type; 15] = [
    // Items with tags.
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
    // Their other tags, and their types.
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    // Streams.
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
];
static TAGGED: [Type; 3] = [Type::INT4_ARRAY, Type::TEXT_ARRAY, Type::INT8_ARRAY];
static WRITTEN: [Type; 38] = [
    Type::TIMESTAMPTZ,
    // Streams.
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    // Events.
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    // Audit.
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
    // Keys.
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::BYTEA_ARRAY,
    // The head.
    Type::INT8,
    Type::INT8,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
    Type::INT8,
    Type::INT8,
];

/// The statements of one connection. All are prepared before the first is run: one that had to be prepared in
/// the middle of an append would be overtaken by those that travel with it.
pub(super) struct Statements {
    pub(super) lock_head: Held,
    pub(super) select_streams: Held,
    pub(super) select_keys: Held,
    pub(super) write_states: Held,
    pub(super) select_conditions: Held,
    pub(super) insert_tags: Held,
    pub(super) write: Held,
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
            write_states: held(WRITE_STATES, &STATES).await?,
            select_conditions: held(SELECT_CONDITIONS, &CONDITIONS_ASKED).await?,
            insert_tags: held(INSERT_TAGS, &TAGGED).await?,
            write: held(WRITE, &WRITTEN).await?,
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
