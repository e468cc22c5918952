//! A question without its types: first what is meant and whether it may be asked, then the rows.

use super::{Ask, Queries, RawPage, RawRow, Reading, Served};
use crate::page::{Place, Question};
use crate::text::key_from_text;
use crate::{Answer, Cursor, Purpose, QueryError, RawFind, RowRef, RowRule, Schema, Sight};
use diptych_core::{Position, Principal, Value};
use std::sync::Arc;

/// A question that may be asked, and everything but the rows that its answer depends on. What it waits for
/// has been waited for.
pub(super) struct Meant<'a> {
    pub(super) principal: &'a Principal,
    pub(super) served: &'a Served,
    pub(super) reading: Reading,
    pub(super) sight: Arc<Sight>,
    pub(super) target: Option<Position>,
    /// The question with what it leaves to the model: the order.
    pub(super) ask: Ask,
    pub(super) of: Of,
}

/// What is asked for.
pub(super) enum Of {
    /// A page: rows that the rule lets through, after a place, so many.
    Page { rule: RowRule, place: Option<Place>, rows: usize, walked: u64 },
    /// The row of a key.
    Row { key: Vec<Value> },
}

impl Meant<'_> {
    pub(super) fn schema(&self) -> &'static Schema {
        self.served.model.schema()
    }
}

impl Queries {
    /// Asks for a page of rows without their types.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn ask(
        &self,
        principal: &Principal,
        model: &str,
        ask: &Ask,
    ) -> Result<Answer<RawPage>, QueryError> {
        let meant = self.page_meant(principal, model, ask).await?;
        self.page(&meant).await
    }

    /// Asks for one row by the text of its key, one segment for each key column.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn get_text(
        &self,
        principal: &Principal,
        model: &str,
        key: &[&str],
        ask: &Ask,
    ) -> Result<Answer<Option<RawRow>>, QueryError> {
        let key = key_from_text(self.known(principal, model)?.model.schema(), key)?;
        let meant = self.row_meant(principal, model, key, ask).await?;
        self.row(&meant).await
    }

    /// What is meant by a question for a page.
    pub(super) async fn page_meant<'a>(
        &'a self,
        principal: &'a Principal,
        model: &str,
        ask: &Ask,
    ) -> Result<Meant<'a>, QueryError> {
        let served = self.served(principal, model)?;
        let schema = served.model.schema();
        let rows = self.page_rows(schema, ask)?;
        let mut ask = ask.clone();
        let sight = self.sight(principal, served, Purpose::View)?;
        let rule = self.rule_of(principal, schema, &sight, &mut ask)?;
        let question = Question { schema, principal, ask: &ask };
        let place =
            ask.page_token.as_deref().map(|token| self.page_key.read(&question, token)).transpose()?;
        let walked = self.walked(schema, place.as_ref().map_or(0, |place| place.walked), rows)?;
        let reading = served.reading(place.as_ref().map(|place| place.build));
        let target = self.prepare(served, &reading, &ask).await?;
        Ok(Meant {
            principal,
            served,
            reading,
            sight,
            target,
            ask,
            of: Of::Page { rule, place, rows, walked },
        })
    }

    /// What is meant by a question for a row.
    pub(super) async fn row_meant<'a>(
        &'a self,
        principal: &'a Principal,
        model: &str,
        key: Vec<Value>,
        ask: &Ask,
    ) -> Result<Meant<'a>, QueryError> {
        let served = self.served(principal, model)?;
        let sight = self.sight(principal, served, Purpose::View)?;
        let reading = served.reading(None);
        let target = self.prepare(served, &reading, ask).await?;
        Ok(Meant { principal, served, reading, sight, target, ask: ask.clone(), of: Of::Row { key } })
    }

    /// The page that a question means.
    pub(super) async fn page(&self, meant: &Meant<'_>) -> Result<Answer<RawPage>, QueryError> {
        let Meant { principal, served, reading, ask, .. } = meant;
        let schema = meant.schema();
        let Of::Page { rule, place, rows, walked } = &meant.of else {
            return Err(QueryError::parameter("query", "is for one row and asks for a page"));
        };
        let find = RawFind {
            tenant: schema.tenants.owner(&principal.tenant).clone(),
            conditions: ask.conditions.clone(),
            rule: rule.clone(),
            words: ask.words.clone(),
            sort: ask.sort,
            after: place.as_ref().map(|place| place.cursor.clone()),
            rows_max: rows + 1,
        };
        served.entry.samples().asked(schema, &find);
        let mut found = self.store.find(&reading.group, schema, &find, self.limits.query_max).await?;
        if place.as_ref().is_some_and(|place| place.build != found.build) {
            return Err(QueryError::PageTokenExpired);
        }
        let more = found.rows.len() > *rows;
        found.rows.truncate(*rows);
        let last = found.rows.last().filter(|_| more);
        let question = Question { schema, principal, ask };
        let next_page_token = last.map(|row| {
            let place = Place { build: found.build, cursor: cursor(schema, ask, row), walked: *walked };
            self.page_key.issue(&question, &place)
        });
        let (freshness, health) = self.finish(meant, &found.checkpoint).await?;
        let rows = self.all_shown(meant, found.rows)?;
        Ok(Answer { value: RawPage { schema, rows, next_page_token }, freshness, health })
    }

    /// The row that a question means.
    pub(super) async fn row(&self, meant: &Meant<'_>) -> Result<Answer<Option<RawRow>>, QueryError> {
        let (schema, sight) = (meant.schema(), &meant.sight);
        let Of::Row { key } = &meant.of else {
            return Err(QueryError::parameter("query", "is for a page and asks for one row"));
        };
        let tenant = schema.tenants.owner(&meant.principal.tenant).clone();
        let row = RowRef { tenant, key: key.clone() };
        let mut found = self.store.get(&meant.reading.group, schema, &row).await?;
        let rule = sight.rows.or(&sight.redacted);
        found.rows.retain(|row| rule.admits(schema, row));
        let (freshness, health) = self.finish(meant, &found.checkpoint).await?;
        let rows = self.all_shown(meant, found.rows)?;
        Ok(Answer { value: rows.into_iter().next(), freshness, health })
    }
}

/// The place of a row in the order that was asked for.
fn cursor(schema: &Schema, ask: &Ask, row: &[Value]) -> Cursor {
    let value = |column: usize| row.get(column).cloned().unwrap_or(Value::Null);
    Cursor {
        sorted: ask.sort.map(|(column, _)| value(column)),
        key: schema.key.iter().map(|column| value(*column)).collect(),
    }
}
