//! Finding facts by their tags: for a decision that is about to be made, and under the writer's lock for
//! one that was made. Absent here: the pure rules, `TagQuery::selects` and `matches`, which say the same.

use super::gathered::Gathered;
use super::read::position_of_head;
use crate::fault::OrFault;
use crate::pool::Reader;
use diptych_command::Matched;
use diptych_core::{Fault, Position, QueryItem, StreamId, Tag, TagQuery, Tenant};
use diptych_query::Categories;
use rusqlite::{Connection, OptionalExtension, Result};
use std::collections::BTreeSet;

const SELECT_TENANT: &str = "SELECT id FROM tenant WHERE name = ?1";
/// The first tag of an item leads; the others, type and category are looked at one by one.
const SELECT_TAGGED: &str = "SELECT position FROM event_tag \
    WHERE tenant = ?1 AND tag = ?2 AND position > ?3 AND position <= ?4 ORDER BY position";
const SELECT_TAGGED_NEWEST: &str = "SELECT position FROM event_tag \
    WHERE tenant = ?1 AND tag = ?2 AND position <= ?3 ORDER BY position DESC";
const HAS_TAG: &str = "SELECT 1 FROM event_tag WHERE tenant = ?1 AND tag = ?2 AND position = ?3";
const SELECT_KIND: &str = "SELECT category.name, event_type.name FROM event \
    JOIN event_type ON event_type.id = event.type JOIN category ON category.id = event_type.category \
    WHERE event.position = ?1";
const SELECT_OF_STREAM: &str = "SELECT position FROM event WHERE stream = (SELECT stream.id FROM stream \
        JOIN category ON category.id = stream.category \
        WHERE stream.tenant = ?1 AND category.name = ?2 AND stream.key = ?3) \
    AND position > ?4 AND position <= ?5 ORDER BY version LIMIT ?6";
/// What is new in a stream stands at its end.
const SELECT_NEWEST: &str = "SELECT position FROM event WHERE stream = (SELECT stream.id FROM stream \
        JOIN category ON category.id = stream.category \
        WHERE stream.tenant = ?1 AND category.name = ?2 AND stream.key = ?3) ORDER BY version DESC LIMIT 1";
const SELECT_EVENT: &str = "SELECT \
    position, type, stream, version, recorded_at, occurred_at, metadata, payload \
    FROM event WHERE position = ?1";

/// A part of the log.
#[derive(Clone, Copy)]
struct Range {
    after: Position,
    through: Position,
}

/// The facts of a tenant that match a query after a position.
pub(crate) fn load_query(
    reader: &mut Reader,
    tenant: &Tenant,
    query: &TagQuery,
    after: Position,
    facts_max: usize,
) -> std::result::Result<Matched, Fault> {
    let Reader { connection, names } = reader;
    // INVARIANT: the head is read first and what is beyond it left out, so that everything up to it is seen.
    let head = position_of_head(connection)?;
    let mut select = connection.prepare_cached(SELECT_TENANT).or_fault()?;
    let tenant: Option<i64> = select.query_row([tenant.as_str()], |row| row.get(0)).optional().or_fault()?;
    let range = Range { after, through: head };
    let found = match tenant {
        Some(tenant) => positions(connection, tenant, query, range, facts_max).or_fault()?,
        None => BTreeSet::new(),
    };
    let mut gathered = Gathered::default();
    let mut select = connection.prepare_cached(SELECT_EVENT).or_fault()?;
    debug_assert!(SELECT_EVENT.contains(Gathered::COLUMNS), "facts are read by column number");
    for position in &found {
        let mut rows = select.query([position]).or_fault()?;
        if let Some(row) = rows.next().or_fault()? {
            let kind = row.get(1).or_fault()?;
            if let Some(event) = gathered.event(connection, names, kind, &Categories::All).or_fault()? {
                gathered.add(connection, names, (*position, event), row).or_fault()?;
            }
        }
    }
    let last = found.last().filter(|_| found.len() >= facts_max);
    let through = last.map_or(head, |position| Position(position.cast_unsigned()));
    Ok(Matched { facts: gathered.cut(connection, names).or_fault()?.rest(), through })
}

/// The position of a fact after another position that matches, if there is one. Inside a transaction it
/// sees what that has written.
pub(crate) fn any_after(
    connection: &Connection,
    tenant: i64,
    query: &TagQuery,
    after: Position,
) -> Result<Option<Position>> {
    let range = Range { after, through: Position(i64::MAX.cast_unsigned()) };
    for item in query.items() {
        let found: Option<i64> = match item {
            QueryItem::Tagged { tags, types, .. } => {
                let wanted = Wanted { tenant, tags, types, query };
                wanted.positions(connection, range, 1)?.first().copied()
            }
            QueryItem::Stream(stream) if query.admits(stream) => {
                let mut select = connection.prepare_cached(SELECT_NEWEST)?;
                let key = (tenant, stream.category.as_str(), stream.key.as_str());
                let newest: Option<i64> = select.query_row(key, |row| row.get(0)).optional()?;
                newest.filter(|newest| *newest > after.0.cast_signed())
            }
            QueryItem::Stream(_) => None,
        };
        if let Some(found) = found {
            return Ok(Some(Position(found.cast_unsigned())));
        }
    }
    Ok(None)
}

/// The first positions in a range whose facts match.
fn positions(
    connection: &Connection,
    tenant: i64,
    query: &TagQuery,
    range: Range,
    positions_max: usize,
) -> Result<BTreeSet<i64>> {
    let mut found = BTreeSet::new();
    for item in query.items() {
        match item {
            QueryItem::Tagged { tags, types, since } => {
                let beginning = match since.is_empty() {
                    true => None,
                    false => {
                        Wanted { tenant, tags, types: since, query }.newest(connection, range.through)?
                    }
                };
                let before = beginning.map_or(range.after, |position| Position(position.0 - 1));
                let range = Range { after: range.after.max(before), ..range };
                let wanted = Wanted { tenant, tags, types, query };
                found.extend(wanted.positions(connection, range, positions_max)?);
            }
            QueryItem::Stream(stream) if query.admits(stream) => {
                found.extend(of_stream(connection, tenant, stream, range, positions_max)?);
            }
            QueryItem::Stream(_) => {}
        }
    }
    while found.len() > positions_max {
        found.pop_last();
    }
    Ok(found)
}

/// An item of a query.
struct Wanted<'a> {
    tenant: i64,
    tags: &'a [Tag],
    types: &'a [String],
    query: &'a TagQuery,
}

impl Wanted<'_> {
    fn positions(&self, connection: &Connection, range: Range, positions_max: usize) -> Result<Vec<i64>> {
        let Some((first, others)) = self.tags.split_first() else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let mut select = connection.prepare_cached(SELECT_TAGGED)?;
        let (after, through) = (range.after.0.cast_signed(), range.through.0.cast_signed());
        let mut rows = select.query((self.tenant, first.as_str(), after, through))?;
        while found.len() < positions_max
            && let Some(row) = rows.next()?
        {
            let position = row.get(0)?;
            if self.has_all(connection, others, position)? && self.is_of_kind(connection, position)? {
                found.push(position);
            }
        }
        Ok(found)
    }

    /// The newest up to a position. What it looks at on the way is what is read from there on.
    fn newest(&self, connection: &Connection, through: Position) -> Result<Option<Position>> {
        let Some((first, others)) = self.tags.split_first() else {
            return Ok(None);
        };
        let mut select = connection.prepare_cached(SELECT_TAGGED_NEWEST)?;
        let mut rows = select.query((self.tenant, first.as_str(), through.0.cast_signed()))?;
        while let Some(row) = rows.next()? {
            let position = row.get(0)?;
            if self.has_all(connection, others, position)? && self.is_of_kind(connection, position)? {
                return Ok(Some(Position(position.cast_unsigned())));
            }
        }
        Ok(None)
    }

    fn has_all(&self, connection: &Connection, tags: &[Tag], position: i64) -> Result<bool> {
        for tag in tags {
            if !connection.prepare_cached(HAS_TAG)?.exists((self.tenant, tag.as_str(), position))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_of_kind(&self, connection: &Connection, position: i64) -> Result<bool> {
        if self.types.is_empty() && self.query.category().is_none() {
            return Ok(true);
        }
        connection.prepare_cached(SELECT_KIND)?.query_row([position], |row| {
            let (category, name) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
            let inside = self.query.category().is_none_or(|only| only.as_str() == category);
            Ok(inside && (self.types.is_empty() || self.types.iter().any(|wanted| wanted == name)))
        })
    }
}

fn of_stream(
    connection: &Connection,
    tenant: i64,
    StreamId { category, key }: &StreamId,
    range: Range,
    positions_max: usize,
) -> Result<Vec<i64>> {
    let mut select = connection.prepare_cached(SELECT_OF_STREAM)?;
    let (after, through) = (range.after.0.cast_signed(), range.through.0.cast_signed());
    let limit = i64::try_from(positions_max).unwrap_or(i64::MAX);
    let found = select
        .query_map((tenant, category.as_str(), key.as_str(), after, through, limit), |row| row.get(0))?;
    found.collect()
}
