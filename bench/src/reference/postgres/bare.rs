//! Bare PostgreSQL: prepared statements in a loop and nothing else. What the server gives to whoever asks
//! directly.

use super::copy;
use crate::Outcome;
use crate::database::{Connected, Database};
use crate::reference::events::AccountEvent;
use crate::reference::log::metadata;
use crate::workload::{Action, Workload, account_key};
use futures_util::future::try_join_all;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Statement;

const SCHEMA: &str = "
    CREATE SCHEMA bare;
    CREATE TABLE bare.event (
        position bigint PRIMARY KEY, stream bigint NOT NULL, version bigint NOT NULL, type integer NOT NULL,
        time bigint NOT NULL, metadata text NOT NULL, payload text NOT NULL, key bytea NOT NULL);
    CREATE UNIQUE INDEX event_stream ON bare.event (stream, version);
    CREATE UNIQUE INDEX event_key ON bare.event (key);";
const INSERT: &str = "INSERT INTO bare.event (position, stream, version, type, time, metadata, payload, key) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const INSERT_MANY: &str = "INSERT INTO bare.event \
    (position, stream, version, type, time, metadata, payload, key) \
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::bigint[], $6::text[], \
        $7::text[], $8::bytea[])";

const MODEL: &str = "
    CREATE SCHEMA bare_model;
    CREATE TABLE bare_model.account (
        tenant text COLLATE \"C\" NOT NULL, account text COLLATE \"C\" NOT NULL,
        owner text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL, balance bigint NOT NULL,
        entries bigint NOT NULL, updated_at bigint NOT NULL);";
const MODEL_INDEXES: &str = "
    ALTER TABLE bare_model.account ADD PRIMARY KEY (tenant, account);
    CREATE INDEX account_owner ON bare_model.account (tenant, owner, account);
    CREATE INDEX account_balance ON bare_model.account (tenant, balance DESC, account);
    ANALYZE bare_model.account;";
const COPY_ACCOUNTS: &str = "COPY bare_model.account (tenant, account, owner, name, balance, entries, \
    updated_at) FROM STDIN (FORMAT binary)";
const MODEL_MOVE: &str = "UPDATE bare_model.account \
    SET balance = balance + $2, entries = entries + 1, updated_at = $3 \
    WHERE tenant = 'main' AND account = $1";
const MODEL_RENAME: &str = "UPDATE bare_model.account SET name = $2, updated_at = $3 \
    WHERE tenant = 'main' AND account = $1";

/// The product's whole table of events, as it is stored.
const SCAN: &str = "COPY diptych.event TO STDOUT (FORMAT binary)";
/// The reference's.
const SCAN_REFERENCE: &str = "COPY reference.event TO STDOUT (FORMAT binary)";

/// Payloads made in advance, so that the loop does nothing but insert.
const PAYLOADS: usize = 4_096;

/// How many updates are on their way at once: enough that none waits for the network.
const UPDATES_AHEAD: usize = 1_000;

/// Durable inserts into one table with the index of streams and the index of keys, over connections of their
/// own.
pub(crate) struct Inserts {
    connections: Vec<Arc<Inserting>>,
    table: Arc<Table>,
    slices: u64,
}

struct Inserting {
    connection: Connected,
    one: Statement,
    many: Statement,
}

/// What all connections draw from.
struct Table {
    payloads: Vec<(i32, String)>,
    versions: Vec<AtomicI64>,
    position: AtomicI64,
}

/// Rows as columns, for one statement.
#[derive(Default)]
struct Columns<'a> {
    positions: Vec<i64>,
    streams: Vec<i64>,
    versions: Vec<i64>,
    types: Vec<i32>,
    metadata: Vec<String>,
    payloads: Vec<&'a str>,
    keys: Vec<Vec<u8>>,
}

impl Inserts {
    pub(crate) async fn open(database: &Database, accounts: usize, connections: usize) -> Outcome<Self> {
        database.connect().await?.batch_execute(SCHEMA).await?;
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            let connection = database.connect().await?;
            let (one, many) = (connection.prepare(INSERT).await?, connection.prepare(INSERT_MANY).await?);
            open.push(Arc::new(Inserting { connection, one, many }));
        }
        let mut workload = Workload::new(accounts, 7);
        let mut payloads = Vec::with_capacity(PAYLOADS);
        for _ in 0..PAYLOADS {
            let event = AccountEvent::of(workload.next());
            payloads.push((i32::try_from(event.kind())?, event.encode()?));
        }
        let versions = (0..accounts).map(|_| AtomicI64::new(0)).collect();
        let table = Arc::new(Table { payloads, versions, position: AtomicI64::new(0) });
        Ok(Self { connections: open, table, slices: 0 })
    }

    /// Inserts for a time over some of the connections, so many rows to a commit. Answers rows per second.
    pub(crate) async fn run(
        &mut self,
        connections: usize,
        per_commit: usize,
        time: Duration,
    ) -> Outcome<f64> {
        self.slices += 1;
        let started = Instant::now();
        let mut tasks = Vec::new();
        for (lane, inserting) in self.connections.iter().take(connections).enumerate() {
            let (inserting, table) = (Arc::clone(inserting), Arc::clone(&self.table));
            let mut workload = Workload::new(table.versions.len(), 1_000 * self.slices + lane as u64);
            tasks.push(tokio::spawn(async move {
                let mut rows = 0;
                while started.elapsed() < time {
                    let columns = table.draw(&mut workload, per_commit)?;
                    inserting.insert(&columns).await?;
                    rows += per_commit;
                }
                Outcome::Ok(rows)
            }));
        }
        let mut rows = 0;
        for task in tasks {
            rows += task.await??;
        }
        Ok(rows as f64 / started.elapsed().as_secs_f64())
    }
}

impl Inserting {
    /// One statement, which is one commit.
    async fn insert(&self, rows: &Columns<'_>) -> Outcome<()> {
        let Columns { positions, streams, versions, types, metadata, payloads, keys } = rows;
        if let [position] = positions[..] {
            let (stream, version, kind) = (streams[0], versions[0], types[0]);
            self.connection
                .execute(
                    &self.one,
                    &[&position, &stream, &version, &kind, &position, &metadata[0], &payloads[0], &keys[0]],
                )
                .await?;
        } else {
            self.connection
                .execute(
                    &self.many,
                    &[positions, streams, versions, types, positions, metadata, payloads, keys],
                )
                .await?;
        }
        Ok(())
    }
}

impl Table {
    fn draw(&self, workload: &mut Workload, count: usize) -> Outcome<Columns<'_>> {
        let mut rows = Columns::default();
        for _ in 0..count {
            let account = workload.account();
            let id = uuid::Uuid::now_v7();
            let position = self.position.fetch_add(1, Ordering::Relaxed) + 1;
            let (kind, payload) = &self.payloads[usize::try_from(position)? % PAYLOADS];
            rows.positions.push(position);
            rows.streams.push(account as i64 + 1);
            rows.versions.push(self.versions[account].fetch_add(1, Ordering::Relaxed) + 1);
            rows.types.push(*kind);
            rows.metadata.push(metadata(&id)?);
            rows.payloads.push(payload);
            rows.keys.push(id.as_bytes().to_vec());
        }
        Ok(rows)
    }
}

/// Copies the product's table of events out and touches every field. Answers rows per second.
pub(crate) async fn scan(database: &Database) -> Outcome<f64> {
    scan_by(database, SCAN, 8).await
}

/// The same of the reference's table.
pub(crate) async fn scan_reference(database: &Database) -> Outcome<f64> {
    scan_by(database, SCAN_REFERENCE, 7).await
}

async fn scan_by(database: &Database, copy: &str, fields_per_row: usize) -> Outcome<f64> {
    let connection = database.connect().await?;
    let started = Instant::now();
    let mut touched = 0_usize;
    let rows = copy::read(&connection, copy, |fields| {
        for _ in 0..fields_per_row {
            let field = fields.next()?.unwrap_or_default();
            touched = field.iter().step_by(64).fold(touched, |sum, byte| sum.wrapping_add((*byte).into()));
        }
        Ok(())
    });
    let rows = rows.await?;
    black_box(touched);
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

/// A read model that is moved by one relative UPDATE for each event.
pub(crate) struct Updates {
    connection: Connected,
    moved: Statement,
    renamed: Statement,
    workload: Workload,
}

impl Updates {
    /// A table of as many accounts, with the product's key and the product's two indexes.
    pub(crate) async fn open(database: &Database, accounts: usize) -> Outcome<Self> {
        let connection = database.connect().await?;
        connection.batch_execute(MODEL).await?;
        let mut workload = Workload::new(accounts, 8);
        let mut keys: Vec<_> = (0..accounts).map(account_key).collect();
        keys.sort_unstable();
        let mut keys = keys.into_iter();
        copy::write(&connection, COPY_ACCOUNTS, 7, |rows| {
            let Some(key) = keys.next() else { return Ok(false) };
            let Action::Open(opening) = workload.opening() else { return Ok(false) };
            rows.begin();
            for text in ["main", &key, &opening.owner, &opening.name] {
                rows.bytes(text.as_bytes())?;
            }
            for _ in 0..3 {
                rows.long(0);
            }
            Ok(true)
        })
        .await?;
        connection.batch_execute(MODEL_INDEXES).await?;
        let (moved, renamed) =
            (connection.prepare(MODEL_MOVE).await?, connection.prepare(MODEL_RENAME).await?);
        Ok(Self { connection, moved, renamed, workload })
    }

    /// Applies so many events in transactions of a size. Answers events per second.
    pub(crate) async fn run(&mut self, events: usize, per_commit: usize) -> Outcome<f64> {
        let Self { connection, moved, renamed, workload } = self;
        let work: Vec<_> = (0..events).map(|_| (account_key(workload.account()), workload.next())).collect();
        let started = Instant::now();
        for batch in work.chunks(per_commit) {
            let transaction = connection.transaction().await?;
            for ahead in batch.chunks(UPDATES_AHEAD) {
                let updates = ahead.iter().enumerate().map(|(time, (key, action))| {
                    let (transaction, moved, renamed) = (&transaction, &*moved, &*renamed);
                    async move {
                        let time = time as i64;
                        match action {
                            Action::Deposit(movement) => {
                                transaction.execute(moved, &[key, &movement.amount, &time]).await
                            }
                            Action::Withdraw(movement) => {
                                transaction.execute(moved, &[key, &-movement.amount, &time]).await
                            }
                            Action::Rename(renaming) => {
                                transaction.execute(renamed, &[key, &renaming.name, &time]).await
                            }
                            Action::Open(_) => Ok(0),
                        }
                    }
                });
                try_join_all(updates).await?;
            }
            transaction.commit().await?;
        }
        Ok(events as f64 / started.elapsed().as_secs_f64())
    }
}
