//! What of the rows whoever asks may see, and by what they may ask. Decides nothing itself: the policy does.

use super::{Ask, Queries, RawRow, Served, unreadable};
use crate::{AnyModel, FieldRule, Purpose, QueryError, RowRule, Schema, Sight};
use diptych_core::{Principal, Timestamp, Value};
use std::sync::Arc;

impl Queries {
    /// What a principal may see of a model.
    pub(super) fn sight(
        &self,
        principal: &Principal,
        served: &Served,
        purpose: Purpose,
    ) -> Result<Arc<Sight>, QueryError> {
        let sight = self.policy.sight(principal, served.model.schema(), purpose);
        sight.map_err(QueryError::Forbidden)
    }

    /// Which rows may answer a question, after it is checked that the principal may ask it: neither a filter
    /// nor an order tells anything of a column that is withheld. Puts the model's own order into a question
    /// that names none, if the principal may see it.
    pub(super) fn rule_of(
        &self,
        principal: &Principal,
        schema: &'static Schema,
        sight: &Sight,
        ask: &mut Ask,
    ) -> Result<RowRule, QueryError> {
        let mut asked = self.asked_by(principal, schema, sight, ask)?;
        match ask.sort {
            Some((column, _)) => self.may_ask_by(principal, schema, sight, (column, None))?,
            None => {
                let own = schema.default_sort;
                let may = |column| self.may_ask_by(principal, schema, sight, (column, None)).is_ok();
                ask.sort = own.filter(|(column, _)| may(*column));
            }
        }
        asked.extend(ask.sort.map(|(column, _)| column));
        Ok(sight.rule_by(schema, &asked))
    }

    /// The columns that a question asks by, its order aside, after it is checked that the principal may.
    pub(super) fn asked_by(
        &self,
        principal: &Principal,
        schema: &'static Schema,
        sight: &Sight,
        ask: &Ask,
    ) -> Result<Vec<usize>, QueryError> {
        let mut asked = Vec::new();
        for condition in &ask.conditions {
            for value in &condition.values {
                self.may_ask_by(principal, schema, sight, (condition.column, Some(value)))?;
            }
            asked.push(condition.column);
        }
        if !ask.words.is_empty() {
            let searched = (0..schema.columns.len()).filter(|index| schema.columns[*index].facets.full_text);
            for column in searched {
                self.may_ask_by(principal, schema, sight, (column, None))?;
                asked.push(column);
            }
        }
        Ok(asked)
    }

    fn may_ask_by(
        &self,
        principal: &Principal,
        schema: &'static Schema,
        sight: &Sight,
        (column, value): (usize, Option<&Value>),
    ) -> Result<(), QueryError> {
        if sight.fields.get(column).is_some_and(|rule| *rule != FieldRule::Visible) {
            return Err(QueryError::withheld(schema, column));
        }
        self.policy.may_ask_by(principal, schema, column, value).map_err(QueryError::Forbidden)
    }
}

impl Sight {
    /// Which rows may answer a question by some columns.
    pub(super) fn rule_by(&self, schema: &Schema, asked: &[usize]) -> RowRule {
        // Rows that are seen without their guarded columns answer no question by one.
        let by_guarded = asked.iter().any(|column| schema.is_guarded(*column));
        if by_guarded { self.rows.clone() } else { self.rows.or(&self.redacted) }
    }
}

/// A row as it may be seen, with its computed columns: they are computed from what is shown.
pub(super) fn shown(
    model: &dyn AnyModel,
    sight: &Sight,
    mut row: Vec<Value>,
    now: Timestamp,
) -> Result<RawRow, QueryError> {
    let schema = model.schema();
    let mut withheld = sight.withheld(schema, &row);
    for column in &withheld {
        row[*column] = Value::Null;
    }
    let computed = match model.computed(&row, now) {
        Ok(computed) => computed,
        // Without a value that is withheld nothing can be computed, and nothing is told by it.
        Err(_) if !withheld.is_empty() => {
            withheld.extend(row.len()..row.len() + schema.computed.len());
            vec![Value::Null; schema.computed.len()]
        }
        Err(error) => return Err(unreadable(error)),
    };
    row.extend(computed);
    Ok(RawRow { values: row, withheld })
}
