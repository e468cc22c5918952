//! Names to integers, on the writing side. What was interned in a transaction that failed must be forgotten.

use super::command::Prepared;
use super::group::GroupFailure;
use crate::fault::damaged;
use crate::log::Parameter;
use crate::shared::Schema;
use diptych_core::EventName;
use std::collections::{HashMap, HashSet};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Names of each kind that are remembered; beyond it, all kinds start over.
const NAMES_MAX: usize = 10_000;

/// Names are made under the lock of the head only, so that none is made twice. Those that are there are asked
/// for first: a conflict would cost an integer.
macro_rules! intern {
    ($table:literal) => {
        concat!(
            "WITH made AS (INSERT INTO diptych.",
            $table,
            " (name) SELECT wanted FROM unnest($1) AS wanted WHERE NOT EXISTS (SELECT 1 FROM diptych.",
            $table,
            " WHERE name = wanted) RETURNING id, name) SELECT id, name FROM made UNION ALL \
             SELECT id, name FROM diptych.",
            $table,
            " WHERE name = ANY($1)"
        )
    };
}

const TENANTS: &str = intern!("tenant");
const CATEGORIES: &str = intern!("category");
const ACTORS: &str = intern!("actor");
const COMMANDS: &str = intern!("command_name");
const POLICIES: &str = intern!("policy");
const TYPES: &str = "WITH wanted AS (\
        SELECT * FROM unnest($1, $2, $3) AS asked (category, name, schema_version)), \
    made AS (INSERT INTO diptych.event_type (category, name, schema_version) \
        SELECT category, name, schema_version FROM wanted WHERE NOT EXISTS (\
            SELECT 1 FROM diptych.event_type AS held WHERE held.category = wanted.category \
            AND held.name = wanted.name AND held.schema_version = wanted.schema_version) \
        RETURNING id, category, name, schema_version) \
    SELECT id, category, name, schema_version FROM made UNION ALL \
    SELECT held.id, held.category, held.name, held.schema_version \
    FROM diptych.event_type AS held JOIN wanted USING (category, name, schema_version)";

/// A type within its category.
type TypeKey = (i32, &'static str, u32);

/// The integers of names that the writer has met.
#[derive(Default)]
pub(super) struct Interned {
    tenants: Map<String, i32>,
    categories: Map<String, i32>,
    actors: Map<String, i32>,
    commands: Map<String, i32>,
    policies: Map<String, i32>,
    types: Map<TypeKey, (i32, EventName)>,
}

/// Names that the writer has not met.
#[derive(Default)]
struct Missing<'a> {
    tenants: HashSet<&'a str>,
    categories: HashSet<&'a str>,
    actors: HashSet<&'a str>,
    commands: HashSet<&'a str>,
    policies: HashSet<&'a str>,
}

/// The integers behind one command.
#[derive(Clone, Copy)]
pub(super) struct CommandNames {
    pub(super) tenant: i32,
    pub(super) category: i32,
    pub(super) actor: i32,
    pub(super) name: i32,
    pub(super) policy: Option<i32>,
}

impl Interned {
    /// The integers of a command's names; none before they were learnt.
    pub(super) fn of(&self, command: &Prepared) -> Option<CommandNames> {
        let header = &command.header;
        let policy = match &header.policy {
            None => None,
            Some(policy) => Some(*self.policies.get(&*policy.0)?),
        };
        Some(CommandNames {
            tenant: *self.tenants.get(header.stream.tenant.as_str())?,
            category: *self.categories.get(header.stream.stream.category.as_str())?,
            actor: *self.actors.get(header.actor.as_str())?,
            name: *self.commands.get(&header.name)?,
            policy,
        })
    }

    /// The integer of a type, and its name to be shared by facts; none before it was learnt.
    pub(super) fn event_type(
        &self,
        category: i32,
        name: &'static str,
        version: u32,
    ) -> Option<&(i32, EventName)> {
        self.types.get(&(category, name, version))
    }

    /// Whether nothing of a group must be learnt.
    pub(super) fn knows(&self, commands: &[Prepared]) -> bool {
        commands.iter().all(|command| {
            self.of(command).is_some_and(|names| {
                let known = |(name, version)| self.event_type(names.category, name, version).is_some();
                command.types().all(known)
            })
        })
    }

    /// Learns the names of a group, making those that nobody has written before. The head is locked.
    pub(super) async fn learn(
        &mut self,
        client: &Client,
        schema: &Schema,
        commands: &[Prepared],
    ) -> Result<(), GroupFailure> {
        let held = [&self.tenants, &self.categories, &self.actors, &self.commands, &self.policies];
        if held.iter().any(|held| held.len() > NAMES_MAX) || self.types.len() > NAMES_MAX {
            *self = Self::default();
        }
        let missing = self.missing(commands);
        let (tenants, categories, actors, names, policies) = tokio::join!(
            biased;
            learn(client, schema, TENANTS, &missing.tenants),
            learn(client, schema, CATEGORIES, &missing.categories),
            learn(client, schema, ACTORS, &missing.actors),
            learn(client, schema, COMMANDS, &missing.commands),
            learn(client, schema, POLICIES, &missing.policies),
        );
        self.tenants.extend(tenants?);
        self.categories.extend(categories?);
        self.actors.extend(actors?);
        self.commands.extend(names?);
        self.policies.extend(policies?);
        self.learn_types(client, schema, commands).await
    }

    fn missing<'a>(&self, commands: &'a [Prepared]) -> Missing<'a> {
        let mut missing = Missing::default();
        for command in commands {
            let header = &command.header;
            let stream = &header.stream;
            note(&mut missing.tenants, &self.tenants, stream.tenant.as_str());
            note(&mut missing.categories, &self.categories, stream.stream.category.as_str());
            note(&mut missing.actors, &self.actors, header.actor.as_str());
            note(&mut missing.commands, &self.commands, &header.name);
            if let Some(policy) = &header.policy {
                note(&mut missing.policies, &self.policies, &policy.0);
            }
        }
        missing
    }

    async fn learn_types(
        &mut self,
        client: &Client,
        schema: &Schema,
        commands: &[Prepared],
    ) -> Result<(), GroupFailure> {
        let mut missing: HashSet<TypeKey> = HashSet::new();
        for command in commands {
            let category = self.categories.get(command.header.stream.stream.category.as_str());
            let category = *category.ok_or_else(|| damaged("a category was not kept"))?;
            let keys = command.types().map(|(name, version)| (category, name, version));
            missing.extend(keys.filter(|key| !self.types.contains_key(key)));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<TypeKey> = missing.into_iter().collect();
        let categories: Vec<i32> = missing.iter().map(|key| key.0).collect();
        let names: Vec<&str> = missing.iter().map(|key| key.1).collect();
        let versions: Vec<i64> = missing.iter().map(|key| i64::from(key.2)).collect();
        let asked: [Parameter<'_>; 3] =
            [(&categories, Type::INT4_ARRAY), (&names, Type::TEXT_ARRAY), (&versions, Type::INT8_ARRAY)];
        for row in client.query_typed(&schema.sql(TYPES), &asked).await? {
            let (id, category): (i32, i32) = (row.try_get(0)?, row.try_get(1)?);
            let (name, version): (&str, i64) = (row.try_get(2)?, row.try_get(3)?);
            let is = |key: &&TypeKey| (key.0, key.1, i64::from(key.2)) == (category, name, version);
            if let Some(key) = missing.iter().find(is) {
                let event = EventName { name: key.1.into(), schema_version: key.2 };
                self.types.insert(*key, (id, event));
            }
        }
        Ok(())
    }
}

fn note<'a>(missing: &mut HashSet<&'a str>, known: &Map<String, i32>, name: &'a str) {
    if !known.contains_key(name) {
        missing.insert(name);
    }
}

async fn learn(
    client: &Client,
    schema: &Schema,
    sql: &str,
    names: &HashSet<&str>,
) -> Result<Vec<(String, i32)>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = names.iter().copied().collect();
    let rows = client.query_typed(&schema.sql(sql), &[(&names, Type::TEXT_ARRAY)]).await?;
    rows.iter().map(|row| Ok((row.try_get(1)?, row.try_get(0)?))).collect()
}
