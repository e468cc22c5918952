//! The reference's log on PostgreSQL: one table of events with two indexes, streams as integers, and a key
//! for every command.

use super::copy;
use crate::Outcome;
use crate::database::Connected;
use crate::reference::events::AccountEvent;
use crate::reference::log::metadata;
use crate::workload::{Workload, account_key};

const SCHEMA: &str = "
    CREATE SCHEMA IF NOT EXISTS reference;
    CREATE TABLE reference.stream (id bigint PRIMARY KEY, key text COLLATE \"C\" NOT NULL UNIQUE);
    CREATE TABLE reference.event (
        position bigint PRIMARY KEY, stream bigint NOT NULL, version bigint NOT NULL, type integer NOT NULL,
        time bigint NOT NULL, metadata text COLLATE \"C\" NOT NULL, payload text COLLATE \"C\" NOT NULL);
    CREATE UNIQUE INDEX event_stream ON reference.event (stream, version);
    CREATE TABLE reference.command (key bytea PRIMARY KEY, input bytea NOT NULL, position bigint NOT NULL);";
const COPY_STREAMS: &str = "COPY reference.stream (id, key) FROM STDIN (FORMAT binary)";
const COPY_EVENTS: &str = "COPY reference.event (position, stream, version, type, time, metadata, payload) \
    FROM STDIN (FORMAT binary)";
const COPY_COMMANDS: &str = "COPY reference.command (key, input, position) FROM STDIN (FORMAT binary)";
const SETTLE: &str = "VACUUM (ANALYZE) reference.event; VACUUM (ANALYZE) reference.command; \
    VACUUM (ANALYZE) reference.stream";

/// Makes the tables, with a stream for every account: the account's number plus one.
pub(crate) async fn make(client: &Connected, accounts: usize) -> Outcome<()> {
    client.batch_execute(SCHEMA).await?;
    let mut account = 0;
    copy::write(client, COPY_STREAMS, 2, |rows| {
        if account == accounts {
            return Ok(false);
        }
        rows.begin();
        rows.long(account as i64 + 1);
        rows.bytes(account_key(account).as_bytes())?;
        account += 1;
        Ok(true)
    })
    .await?;
    Ok(())
}

/// A source of events that continues where it was left: every account is opened, then actions at random.
pub(crate) struct Loader {
    workload: Workload,
    versions: Vec<i64>,
    position: i64,
}

impl Loader {
    pub(crate) fn new(accounts: usize) -> Self {
        Self { workload: Workload::new(accounts, 0), versions: vec![0; accounts], position: 0 }
    }

    /// Adds events, each with its command.
    pub(crate) async fn load(&mut self, client: &Connected, events: usize) -> Outcome<()> {
        let from = self.position;
        let mut keys = Vec::with_capacity(events);
        copy::write(client, COPY_EVENTS, 7, |rows| {
            if keys.len() == events {
                return Ok(false);
            }
            let next = usize::try_from(self.position)?;
            let opens = next < self.versions.len();
            let account = if opens { next } else { self.workload.account() };
            let action = if opens { self.workload.opening() } else { self.workload.next() };
            let event = AccountEvent::of(action);
            let id = uuid::Uuid::now_v7();
            self.versions[account] += 1;
            self.position += 1;
            rows.begin();
            rows.long(self.position);
            rows.long(account as i64 + 1);
            rows.long(self.versions[account]);
            rows.int(i32::try_from(event.kind())?);
            rows.long(self.position);
            rows.bytes(metadata(&id)?.as_bytes())?;
            rows.bytes(event.encode()?.as_bytes())?;
            keys.push(id);
            Ok(true)
        })
        .await?;
        let mut written = 0;
        copy::write(client, COPY_COMMANDS, 3, |rows| {
            let Some(key) = keys.get(written) else { return Ok(false) };
            written += 1;
            rows.begin();
            rows.bytes(key.as_bytes())?;
            rows.bytes(&[0; 16])?;
            rows.long(from + written as i64);
            Ok(true)
        })
        .await?;
        Ok(())
    }

    /// Leaves the tables as a running server would have them after a while.
    pub(crate) async fn settle(client: &Connected) -> Outcome<()> {
        for statement in SETTLE.split(';') {
            client.batch_execute(statement).await?;
        }
        Ok(())
    }
}
