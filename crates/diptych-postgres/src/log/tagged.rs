//! Finding facts by their tags, for a decision that is about to be made. Absent here: the check of a
//! condition, which is the writer's, and the pure rule, which is `TagQuery::selects` and says the same.

use super::read::{EventRows, Parameter, head};
use crate::fault::OrFault;
use crate::shared::Shared;
use diptych_command::Matched;
use diptych_core::{Fault, Position, QueryItem, TagQuery, Tenant};
use diptych_query::Categories;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// The first tag of an item leads; the others, type and category are looked at one by one.
const SELECT_MATCHING: &str = "SELECT \
    event.position, event.type, event.stream, event.version, event.recorded_at, event.occurred_at, \
    event.metadata, event.payload \
    FROM (SELECT found.position FROM unnest($5, $6) AS wanted (item, tag), LATERAL (\
            SELECT event_tag.position FROM diptych.event_tag \
            WHERE event_tag.tenant = (SELECT id FROM diptych.tenant WHERE name = $1) \
            AND event_tag.tag = wanted.tag AND event_tag.position > $3 \
            AND event_tag.position >= coalesce(CASE WHEN wanted.item = ANY($13) THEN (\
                SELECT begun.position FROM diptych.event_tag AS begun \
                JOIN diptych.event AS first ON first.position = begun.position \
                JOIN diptych.event_type AS first_type ON first_type.id = first.type \
                JOIN diptych.category AS first_category ON first_category.id = first_type.category \
                WHERE begun.tenant = (SELECT id FROM diptych.tenant WHERE name = $1) \
                AND begun.tag = wanted.tag AND ($2 IS NULL OR first_category.name = $2) \
                AND NOT EXISTS (SELECT 1 FROM unnest($7, $8) AS other (item, tag) \
                    WHERE other.item = wanted.item AND NOT EXISTS (SELECT 1 FROM diptych.event_tag AS held \
                        WHERE held.tenant = begun.tenant AND held.tag = other.tag \
                        AND held.position = begun.position)) \
                AND EXISTS (SELECT 1 FROM unnest($13, $14) AS since (item, name) \
                    WHERE since.item = wanted.item AND since.name = first_type.name) \
                ORDER BY begun.position DESC LIMIT 1) END, 0) \
            AND NOT EXISTS (SELECT 1 FROM unnest($7, $8) AS other (item, tag) \
                WHERE other.item = wanted.item AND NOT EXISTS (SELECT 1 FROM diptych.event_tag AS held \
                    WHERE held.tenant = event_tag.tenant AND held.tag = other.tag \
                    AND held.position = event_tag.position)) \
            AND EXISTS (SELECT 1 FROM diptych.event AS led \
                JOIN diptych.event_type ON event_type.id = led.type \
                JOIN diptych.category ON category.id = event_type.category \
                WHERE led.position = event_tag.position AND ($2 IS NULL OR category.name = $2) \
                AND (NOT wanted.item = ANY($9) OR EXISTS (\
                    SELECT 1 FROM unnest($9, $10) AS kind (item, name) \
                    WHERE kind.item = wanted.item AND kind.name = event_type.name))) \
            ORDER BY event_tag.position LIMIT $4) AS found \
        UNION SELECT found.position FROM unnest($11, $12) AS wanted (category, key), LATERAL (\
            SELECT event.position FROM diptych.event \
            WHERE event.stream = (SELECT stream.id FROM diptych.stream \
                JOIN diptych.category ON category.id = stream.category \
                WHERE stream.tenant = (SELECT id FROM diptych.tenant WHERE name = $1) \
                AND category.name = wanted.category AND stream.key = wanted.key) \
            AND event.position > $3 AND ($2 IS NULL OR wanted.category = $2) \
            ORDER BY event.version LIMIT $4) AS found) AS matching \
    JOIN diptych.event ON event.position = matching.position ORDER BY event.position LIMIT $4";

/// The items of queries, column by column. An item is known by its number.
#[derive(Default)]
pub(crate) struct ItemCells<'a> {
    /// Items with tags, each with the tag that leads.
    pub(crate) items: Vec<i32>,
    pub(crate) leading: Vec<&'a str>,
    /// Their other tags.
    pub(crate) other_items: Vec<i32>,
    pub(crate) others: Vec<&'a str>,
    /// Their types; none where every type will do.
    pub(crate) typed_items: Vec<i32>,
    pub(crate) types: Vec<&'a str>,
    /// Their beginnings; none where everything is read.
    pub(crate) since_items: Vec<i32>,
    pub(crate) since: Vec<&'a str>,
    /// Items for whole streams.
    pub(crate) categories: Vec<&'a str>,
    pub(crate) keys: Vec<&'a str>,
}

impl<'a> ItemCells<'a> {
    /// Adds an item that has not been added before.
    pub(crate) fn add(&mut self, item: &'a QueryItem) {
        match item {
            QueryItem::Stream(stream) => {
                self.categories.push(stream.category.as_str());
                self.keys.push(stream.key.as_str());
            }
            QueryItem::Tagged { tags, types, since } => {
                let Some((first, others)) = tags.split_first() else {
                    return;
                };
                let number = i32::try_from(self.items.len()).unwrap_or(i32::MAX);
                self.items.push(number);
                self.leading.push(first.as_str());
                self.other_items.extend(others.iter().map(|_| number));
                self.others.extend(others.iter().map(|tag| tag.as_str()));
                self.typed_items.extend(types.iter().map(|_| number));
                self.types.extend(types.iter().map(String::as_str));
                self.since_items.extend(since.iter().map(|_| number));
                self.since.extend(since.iter().map(String::as_str));
            }
        }
    }
}

/// The facts of a tenant that match a query after a position.
pub(crate) async fn load_query(
    client: &Client,
    shared: &Shared,
    tenant: &Tenant,
    query: &TagQuery,
    after: Position,
    facts_max: usize,
) -> Result<Matched, Fault> {
    let mut cells = ItemCells::default();
    query.items().iter().for_each(|item| cells.add(item));
    let (tenant, category) = (tenant.as_str(), query.category().map(|category| category.as_str()));
    let (after, limit) = (after.0.cast_signed(), i64::try_from(facts_max).unwrap_or(i64::MAX));
    let ItemCells { items, leading, other_items, others, typed_items, types, .. } = &cells;
    let ItemCells { since_items, since, categories, keys, .. } = &cells;
    let asked: [Parameter<'_>; 14] = [
        (&tenant, Type::TEXT),
        (&category, Type::TEXT),
        (&after, Type::INT8),
        (&limit, Type::INT8),
        (items, Type::INT4_ARRAY),
        (leading, Type::TEXT_ARRAY),
        (other_items, Type::INT4_ARRAY),
        (others, Type::TEXT_ARRAY),
        (typed_items, Type::INT4_ARRAY),
        (types, Type::TEXT_ARRAY),
        (categories, Type::TEXT_ARRAY),
        (keys, Type::TEXT_ARRAY),
        (since_items, Type::INT4_ARRAY),
        (since, Type::TEXT_ARRAY),
    ];
    let sql = shared.sql(SELECT_MATCHING);
    // INVARIANT: both go over the same connection in this order, so that the facts are read in a later
    // snapshot than the head and everything up to there is seen. A fact beyond it stays: the snapshot has
    // every fact before it, and an item that begins with it has none else.
    let (head, read) = tokio::join!(biased; head(client, shared), client.query_typed(&sql, &asked));
    let head = head?.position();
    let mut rows = EventRows::default();
    for row in &read.or_fault()? {
        rows.add(row)?;
    }
    let facts = shared.names.facts(client, &shared.schema, rows, &Categories::All).await?;
    let last = facts.last().map(|fact| fact.position);
    let through = match last {
        Some(last) if facts.len() >= facts_max => last,
        Some(last) => last.max(head),
        None => head,
    };
    Ok(Matched { facts, through })
}
