//! The statements that a group runs for each command. Each is prepared at its first use and held until the
//! commit, because asking the connection's cache for one costs about as much as running it.

use rusqlite::{CachedStatement, Connection, Result};

const SELECT_STREAM: &str = "SELECT id, (SELECT max(version) FROM event WHERE stream = stream_row.id) \
    FROM stream AS stream_row WHERE tenant = ?1 AND category = ?2 AND key = ?3";
const INSERT_EVENT: &str = "INSERT INTO event \
    (position, stream, version, type, recorded_at, occurred_at, metadata, payload) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const INSERT_TAG: &str = "INSERT INTO event_tag (tenant, tag, position) VALUES (?1, ?2, ?3)";
const INSERT_COMMAND: &str = "INSERT INTO command \
    (id, command_id, stream, name, actor, outcome, version, events, position, recorded_at, occurred_at, \
    policy, correlation, causation, rejection, data, hash) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
const CLAIM_KEY: &str = "INSERT INTO command_key (tenant, command_id, command, hash) \
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";

const WRITE_STATE: &str = "INSERT INTO state (stream, category, version, shape, state) \
    VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (stream) DO UPDATE SET version = excluded.version, shape = excluded.shape, \
        state = excluded.state";

/// One statement, with the text it is prepared from.
pub(super) struct Held<'a> {
    text: &'static str,
    prepared: Option<CachedStatement<'a>>,
}

/// The statements of one group.
pub(super) struct Statements<'a> {
    pub(super) select_stream: Held<'a>,
    pub(super) claim_key: Held<'a>,
    pub(super) insert_event: Held<'a>,
    pub(super) insert_tag: Held<'a>,
    pub(super) insert_command: Held<'a>,
    pub(super) write_state: Held<'a>,
}

impl Statements<'_> {
    pub(super) fn new() -> Self {
        let held = |text| Held { text, prepared: None };
        Self {
            select_stream: held(SELECT_STREAM),
            claim_key: held(CLAIM_KEY),
            insert_event: held(INSERT_EVENT),
            insert_tag: held(INSERT_TAG),
            insert_command: held(INSERT_COMMAND),
            write_state: held(WRITE_STATE),
        }
    }
}

impl<'a> Held<'a> {
    pub(super) fn get(&mut self, connection: &'a Connection) -> Result<&mut CachedStatement<'a>> {
        let prepared = match self.prepared.take() {
            Some(prepared) => prepared,
            None => connection.prepare_cached(self.text)?,
        };
        Ok(self.prepared.insert(prepared))
    }
}
