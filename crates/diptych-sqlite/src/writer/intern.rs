//! Names to integers, on the writing side. What was interned in a transaction that failed must be forgotten.

use diptych_core::EventName;
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Names of each kind that are remembered; beyond it, the kind starts over.
const NAMES_MAX: usize = 10_000;

const SELECT_TYPE: &str =
    "SELECT id FROM event_type WHERE category = ?1 AND name = ?2 AND schema_version = ?3";
const INSERT_TYPE: &str = "INSERT INTO event_type (category, name, schema_version) VALUES (?1, ?2, ?3)";

/// A table of names, each written once.
struct Kind {
    select: &'static str,
    insert: &'static str,
    known: Map<String, i64>,
}

macro_rules! kind {
    ($table:literal) => {
        Kind {
            select: concat!("SELECT id FROM ", $table, " WHERE name = ?1"),
            insert: concat!("INSERT INTO ", $table, " (name) VALUES (?1)"),
            known: Map::default(),
        }
    };
}

/// The integers of names that the writer has met.
pub(crate) struct Interned {
    tenants: Kind,
    categories: Kind,
    actors: Kind,
    commands: Kind,
    policies: Kind,
    types: Map<(i64, &'static str, u32), (i64, EventName)>,
}

impl Default for Interned {
    fn default() -> Self {
        Self {
            tenants: kind!("tenant"),
            categories: kind!("category"),
            actors: kind!("actor"),
            commands: kind!("command_name"),
            policies: kind!("policy"),
            types: Map::default(),
        }
    }
}

impl Interned {
    pub(crate) fn tenant(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        self.tenants.id(connection, name)
    }

    pub(crate) fn category(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        self.categories.id(connection, name)
    }

    pub(crate) fn actor(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        self.actors.id(connection, name)
    }

    pub(crate) fn command(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        self.commands.id(connection, name)
    }

    pub(crate) fn policy(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        self.policies.id(connection, name)
    }

    /// The integer of a type, and its name to be shared by facts.
    pub(crate) fn event_type(
        &mut self,
        connection: &Connection,
        category: i64,
        name: &'static str,
        schema_version: u32,
    ) -> rusqlite::Result<(i64, EventName)> {
        let key = (category, name, schema_version);
        if let Some(known) = self.types.get(&key) {
            return Ok(known.clone());
        }
        let found = connection.prepare_cached(SELECT_TYPE)?.query_row(key, |row| row.get(0)).optional()?;
        let id = match found {
            Some(id) => id,
            None => connection.prepare_cached(INSERT_TYPE)?.insert(key)?,
        };
        let shared = EventName { name: name.into(), schema_version };
        self.types.insert(key, (id, shared.clone()));
        Ok((id, shared))
    }
}

impl Kind {
    fn id(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.known.get(name) {
            return Ok(*id);
        }
        let found = connection.prepare_cached(self.select)?.query_row([name], |row| row.get(0)).optional()?;
        let id = match found {
            Some(id) => id,
            None => connection.prepare_cached(self.insert)?.insert([name])?,
        };
        if self.known.len() >= NAMES_MAX {
            self.known.clear();
        }
        self.known.insert(name.to_owned(), id);
        Ok(id)
    }
}
