//! The migrations that make a store's schema: the objects of the first one file each, then what changed. Text
//! once released never changes.

use crate::PostgresLimits;
use crate::connection::Opened;
use crate::fault::{OrFault, damaged, unsigned};
use crate::log::{LogIdentity, Parameter};
use crate::shared::{Schema, quoted};
use crate::time::Stamp;
use diptych_core::{Code, Epoch, Fault, Fingerprint, Timestamp};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// The migrations, oldest first; each is the texts it runs.
const MIGRATIONS: &[&[&str]] = &[
    &[
        include_str!("schema/migration.sql"),
        include_str!("schema/head.sql"),
        include_str!("schema/tenant.sql"),
        include_str!("schema/category.sql"),
        include_str!("schema/actor.sql"),
        include_str!("schema/command_name.sql"),
        include_str!("schema/policy.sql"),
        include_str!("schema/event_type.sql"),
        include_str!("schema/stream.sql"),
        include_str!("schema/event.sql"),
        include_str!("schema/event_stream.sql"),
        include_str!("schema/command.sql"),
        include_str!("schema/command_refused.sql"),
        include_str!("schema/command_key.sql"),
        include_str!("schema/page_key.sql"),
        include_str!("schema/generation.sql"),
        include_str!("schema/checkpoint.sql"),
        include_str!("schema/checkpoint_history.sql"),
        include_str!("schema/digest.sql"),
        include_str!("schema/projection_checkpoint.sql"),
        include_str!("schema/fact.sql"),
        include_str!("schema/audit.sql"),
    ],
    &[include_str!("migrations/0002_partitions.sql")],
    &[include_str!("migrations/0003_state.sql")],
    &[include_str!("migrations/0004_tag.sql")],
    &[include_str!("migrations/0005_intake.sql")],
    &[include_str!("migrations/0006_queue.sql")],
    &[include_str!("migrations/0007_audit.sql")],
    &[include_str!("migrations/0008_builds.sql")],
    &[include_str!("migrations/0009_repairs.sql")],
    &[include_str!("migrations/0010_claims.sql")],
];

/// The oldest server whose features are used here, as `server_version_num` counts.
const SERVER_VERSION_MIN: i32 = 150_000;

/// What processes that start together wait for. Ends with the transaction, so that it holds through a pooler.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('diptych migration of ' || $1, 0))";
const SELECT_SERVER: &str = "SELECT current_setting('server_version_num')::int, system_identifier, \
    ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int, \
    current_setting('synchronous_commit') = 'off' FROM pg_control_system()";
const SELECT_SCHEMA: &str = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1), \
    EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)), \
    EXISTS (SELECT 1 FROM pg_class WHERE relname = 'migration' \
        AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1))";
const SELECT_MIGRATIONS: &str = "SELECT number, checksum FROM diptych.migration ORDER BY number";
const INSERT_MIGRATION: &str =
    "INSERT INTO diptych.migration (number, checksum, applied_at) VALUES ($1, $2, $3)";
const INSERT_HEAD: &str = "INSERT INTO diptych.head (position, epoch, fingerprint, entry_recorded_at, \
    latest_at, stream, command, keys_swept, timeline, system_identifier, created_at, identity) \
    SELECT 0, $1, 0, $2, $2, 0, 0, 0, $4, $5, $3, gen_random_uuid()::text";
/// The identity is known only once it is there, and so is the fingerprint at the start.
const SET_START: &str = "UPDATE diptych.head SET fingerprint = $1 WHERE position = 0";
/// Three random UUIDs hold 366 random bits.
const INSERT_PAGE_KEY: &str = "INSERT INTO diptych.page_key (current) SELECT sha256(convert_to(\
    concat(gen_random_uuid(), gen_random_uuid(), gen_random_uuid()), 'UTF8'))";
const SELECT_HEAD: &str = "SELECT identity, epoch, timeline, system_identifier FROM diptych.head FOR UPDATE";
const BEGIN_EPOCH: &str = "UPDATE diptych.head SET epoch = $1, timeline = $2, system_identifier = $3";
/// Rows and log are in one database and were put back together, so that checkpoints go with the log; each is
/// held against the log before it is used.
const MOVE_CHECKPOINTS: &str = "UPDATE diptych.checkpoint SET epoch = $1";
const MAY_READ: &str = "SELECT has_table_privilege($1, $2, 'SELECT')";

/// The server as it answers now.
struct Server {
    timeline: i32,
    system_identifier: i64,
}

/// Makes a new log, brings an older one up to this code, and refuses a newer one. `reader` is the role that
/// only reads, if it is one of its own.
pub(crate) async fn migrate(
    connection: &mut Opened,
    schema: &Schema,
    reader: Option<&str>,
    limits: &PostgresLimits,
    now: Timestamp,
) -> Result<LogIdentity, Fault> {
    let transaction = connection.transaction().await.or_fault()?;
    let client = transaction.client();
    // It locks the head at its end.
    client.batch_execute(&limits.idle_setting()).await.or_fault()?;
    client.execute_typed(LOCK, &[(&schema.name(), Type::TEXT)]).await.or_fault()?;
    let server = server(client).await?;
    let applied = applied(client, schema).await?;
    for (number, texts) in (1i32..).zip(MIGRATIONS).skip(applied) {
        for text in *texts {
            client.batch_execute(&schema.sql(text)).await.or_fault()?;
        }
        let row: [Parameter<'_>; 3] =
            [(&number, Type::INT4), (&checksum(texts), Type::TEXT), (&Stamp(now), Type::TIMESTAMPTZ)];
        client.execute_typed(&schema.sql(INSERT_MIGRATION), &row).await.or_fault()?;
    }
    if applied == 0 {
        begin(client, schema, &server, now).await?;
    }
    let identity = identity(client, schema, &server).await?;
    if let Some(reader) = reader {
        let_read(client, schema, reader).await?;
    }
    transaction.commit().await.or_fault()?;
    Ok(identity)
}

/// Refuses a server that is too old, or that acknowledges what it may lose.
async fn server(client: &Client) -> Result<Server, Fault> {
    let row = client.query_typed_one(SELECT_SERVER, &[]).await.or_fault()?;
    let version: i32 = row.try_get(0).or_fault()?;
    if version < SERVER_VERSION_MIN {
        let message =
            format!("PostgreSQL {} is too old, 15 is the oldest that is safe here", version / 10_000);
        return Err(Fault::permanent(Code::StoreVersion, message));
    }
    if row.try_get(3).or_fault()? {
        let message = "`synchronous_commit` is off for this role, and what was acknowledged could be lost \
            with the server: switch it on (ALTER ROLE … SET synchronous_commit = on)";
        return Err(Fault::permanent(Code::ServiceInvalid, message));
    }
    Ok(Server { system_identifier: row.try_get(1).or_fault()?, timeline: row.try_get(2).or_fault()? })
}

/// How many migrations have been applied, all of which must be what this code would have applied. Makes the
/// schema; refuses one of another program, and one that newer code has written.
async fn applied(client: &Client, schema: &Schema) -> Result<usize, Fault> {
    let row = client.query_typed_one(SELECT_SCHEMA, &[(&schema.name(), Type::TEXT)]).await.or_fault()?;
    let flag = |column: usize| row.try_get::<_, bool>(column).or_fault();
    let (exists, holds_something, migrated) = (flag(0)?, flag(1)?, flag(2)?);
    if !exists {
        client.batch_execute(&format!("CREATE SCHEMA {}", schema.quoted())).await.or_fault()?;
    }
    if !migrated {
        if holds_something {
            let message =
                format!("schema `{}` belongs to another program; choose another one", schema.name());
            return Err(Fault::permanent(Code::StoreVersion, message));
        }
        return Ok(0);
    }
    let rows = client.query_typed(&schema.sql(SELECT_MIGRATIONS), &[]).await.or_fault()?;
    for row in &rows {
        let (number, stored): (i32, String) = (row.try_get(0).or_fault()?, row.try_get(1).or_fault()?);
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        if index >= MIGRATIONS.len() {
            let known = MIGRATIONS.len();
            let message = format!(
                "the store has schema {number} and this program knows {known}; run the newer program"
            );
            return Err(Fault::permanent(Code::StoreVersion, message));
        }
        if checksum(MIGRATIONS[index]) != stored {
            let message = format!("migration {number} of the store is not the one this program knows");
            return Err(Fault::permanent(Code::StoreVersion, message));
        }
    }
    Ok(rows.len())
}

/// Writes the rows that a new log begins with.
async fn begin(client: &Client, schema: &Schema, server: &Server, now: Timestamp) -> Result<(), Fault> {
    let row: [Parameter<'_>; 5] = [
        (&i64::from(Epoch::FIRST.0), Type::INT8),
        (&Stamp(Timestamp::EPOCH), Type::TIMESTAMPTZ),
        (&Stamp(now), Type::TIMESTAMPTZ),
        (&server.timeline, Type::INT4),
        (&server.system_identifier, Type::INT8),
    ];
    client.execute_typed(&schema.sql(INSERT_HEAD), &row).await.or_fault()?;
    client.batch_execute(&schema.sql(INSERT_PAGE_KEY)).await.or_fault()?;
    let head = client.query_typed_one(&schema.sql(SELECT_HEAD), &[]).await.or_fault()?;
    let start = Fingerprint::of_log(head.try_get(0).or_fault()?);
    client.execute_typed(&schema.sql(SET_START), &[(&i64::from(start.0), Type::INT8)]).await.or_fault()?;
    Ok(())
}

/// Which log this is. On another server, or after its timeline has forked, what was acknowledged last may be
/// missing: a new life of the log begins, in which no older token counts.
async fn identity(client: &Client, schema: &Schema, server: &Server) -> Result<LogIdentity, Fault> {
    let head = client.query_typed_opt(&schema.sql(SELECT_HEAD), &[]).await.or_fault()?;
    let head = head.ok_or_else(|| damaged("the log has lost its head"))?;
    let fingerprint = Fingerprint::of_log(head.try_get(0).or_fault()?);
    let epoch = u32::try_from(unsigned(&head, 1)?).map_err(|_| damaged("the log has no valid epoch"))?;
    let seen: (i32, i64) = (head.try_get(2).or_fault()?, head.try_get(3).or_fault()?);
    if seen == (server.timeline, server.system_identifier) {
        return Ok(LogIdentity { epoch: Epoch(epoch), fingerprint });
    }
    let next = epoch.saturating_add(1);
    tracing::warn!(epoch = next, "the server or its timeline has changed: a new life of the log begins");
    let row: [Parameter<'_>; 3] = [
        (&i64::from(next), Type::INT8),
        (&server.timeline, Type::INT4),
        (&server.system_identifier, Type::INT8),
    ];
    client.execute_typed(&schema.sql(BEGIN_EPOCH), &row).await.or_fault()?;
    client.execute_typed(&schema.sql(MOVE_CHECKPOINTS), &row[..1]).await.or_fault()?;
    Ok(LogIdentity { epoch: Epoch(next), fingerprint })
}

/// Lets a role read everything that is here and that will be, but for the key that signs page tokens.
async fn let_read(client: &Client, schema: &Schema, reader: &str) -> Result<(), Fault> {
    let table = schema.sql("diptych.head");
    let asked: [Parameter<'_>; 2] = [(&reader, Type::TEXT), (&table, Type::TEXT)];
    let may_read = client.query_typed_one(MAY_READ, &asked).await.or_fault()?;
    if may_read.try_get(0).or_fault()? {
        return Ok(());
    }
    let (schema, role) = (schema.quoted(), quoted(reader));
    let grants = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}; \
         REVOKE SELECT ON {schema}.page_key FROM {role}; \
         ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {role}"
    );
    client.batch_execute(&grants).await.or_fault()
}

fn checksum(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
