//! Conditions of a group's commands, asked for by one statement under the lock of the head.

use super::command::Prepared;
use super::group::GroupFailure;
use super::statements::{Statements, Value};
use crate::fault::damaged;
use crate::log::ItemCells;
use diptych_command::Condition;
use diptych_core::{Position, QueryItem};
use std::collections::BTreeMap;
use tokio_postgres::{Client, Error, Row};

/// The conditions of a group, item by item. Nothing is allocated where no command has one.
#[derive(Default)]
pub(super) struct ConditionCells<'a> {
    items: ItemCells<'a>,
    /// For each item with tags: the command's place in the group, and what it is confined to.
    tagged: Scopes<'a>,
    /// For each item that is a stream.
    streams: Scopes<'a>,
}

#[derive(Default)]
struct Scopes<'a> {
    commands: Vec<i32>,
    tenants: Vec<i32>,
    categories: Vec<Option<&'a str>>,
    after: Vec<i64>,
}

impl<'a> ConditionCells<'a> {
    /// Adds what a command at a place of the group is committed on.
    pub(super) fn add(&mut self, place: usize, tenant: i32, command: &'a Prepared) {
        let Some(Condition { query, after }) = &command.condition else {
            return;
        };
        for item in query.items() {
            let scopes = match item {
                QueryItem::Tagged { .. } => &mut self.tagged,
                QueryItem::Stream(stream) if query.admits(stream) => &mut self.streams,
                QueryItem::Stream(_) => continue,
            };
            self.items.add(item);
            scopes.commands.push(i32::try_from(place).unwrap_or(i32::MAX));
            scopes.tenants.push(tenant);
            scopes.categories.push(query.category().map(|category| category.as_str()));
            scopes.after.push(after.0.cast_signed());
        }
    }

    /// Asks which of them are broken. It is on its way once this has been polled.
    pub(super) async fn ask(&self, client: &Client, statements: &Statements) -> Result<Vec<Row>, Error> {
        let Self { items, tagged, streams } = self;
        if tagged.commands.is_empty() && streams.commands.is_empty() {
            return Ok(Vec::new());
        }
        let asked: [Value<'_>; 15] = [
            &tagged.commands,
            &items.items,
            &tagged.tenants,
            &tagged.categories,
            &tagged.after,
            &items.leading,
            &items.other_items,
            &items.others,
            &items.typed_items,
            &items.types,
            &streams.commands,
            &streams.tenants,
            &items.categories,
            &items.keys,
            &streams.after,
        ];
        statements.select_conditions.query(client, &asked).await
    }
}

/// The commands whose condition is broken by what is committed, by their place, each with the position that
/// breaks it.
pub(super) fn broken(rows: &[Row]) -> Result<BTreeMap<usize, Position>, GroupFailure> {
    let mut broken = BTreeMap::new();
    for row in rows {
        let (place, position): (i32, i64) = (row.try_get(0)?, row.try_get(1)?);
        let place = usize::try_from(place).map_err(|_| damaged("a condition was not asked for"))?;
        let position = Position(position.cast_unsigned());
        let first = broken.entry(place).or_insert(position);
        *first = position.min(*first);
    }
    Ok(broken)
}
