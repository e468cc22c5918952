//! Cedar's own decision about a row, to hold the rules for stores against it: an oracle, and random policies,
//! principals and rows. For tests, here and of the stores; nothing that serves uses it.

mod draw;
#[cfg(test)]
mod tests;

use crate::PolicyGuard;
use crate::caller::Caller;
use crate::sight::field_context;
use crate::vocabulary::{Attribute, EXPORT, VIEW_FIELD, VIEW_REDACTED, VIEW_ROW, View, action_uid, uid};
use cedar_policy::{
    Authorizer, Context, Decision, Entity, PolicySet, Request, RestrictedExpression as Constant,
};
use diptych_core::{Principal, Value};
use diptych_query::{Purpose, Schema};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use draw::Draw;

/// Decides about rows of one read model for one principal, each by itself.
pub struct Oracle<'a> {
    guard: &'a PolicyGuard,
    view: &'a View,
    caller: Arc<Caller>,
    all: &'a PolicySet,
}

impl<'a> Oracle<'a> {
    /// An oracle over the policies of a guard, all of them at once: `policies` are those that it was made of.
    /// None where the model is not declared.
    #[must_use]
    pub fn new(
        guard: &'a PolicyGuard,
        policies: &'a crate::Policies,
        principal: &Principal,
        schema: &Schema,
    ) -> Option<Self> {
        let view = guard.vocabulary.views.get(schema.name)?;
        Some(Self { guard, view, caller: guard.caller(principal)?, all: &policies.set })
    }

    /// Whether the row may be seen, or carried away.
    #[must_use]
    pub fn sees(&self, row: &[Value], purpose: Purpose) -> bool {
        let exported = purpose == Purpose::View || self.decides(EXPORT, row, Vec::new());
        exported && self.decides(VIEW_ROW, row, Vec::new())
    }

    /// Whether the row may be seen with its public columns.
    #[must_use]
    pub fn sees_redacted(&self, row: &[Value]) -> bool {
        self.decides(VIEW_REDACTED, row, Vec::new())
    }

    /// Whether a column of the row may be seen.
    #[must_use]
    pub fn sees_field(&self, row: &[Value], column: usize) -> bool {
        self.decides(VIEW_FIELD, row, field_context(self.view.schema, column))
    }

    fn decides(&self, action: &str, row: &[Value], context: Vec<(String, Constant)>) -> bool {
        let resource = uid(&self.view.type_name, "the row");
        let attributes = self.view.attributes.iter().filter_map(|(name, attribute)| {
            Some((name.clone(), constant(self.view.schema, row, *attribute)?))
        });
        let attributes: HashMap<_, _> = attributes.collect();
        let entity = Entity::new(resource.clone(), attributes, HashSet::new());
        let schema = Some(&self.guard.vocabulary.schema);
        let entities = self.caller.entities.clone();
        let entities = entities.add_entities(entity, schema).expect("the row has the columns of its model");
        let context = Context::from_pairs(context).expect("the context is made of constants");
        let request = Request::new(self.caller.uid.clone(), action_uid(action), resource, context, schema);
        let request = request.expect("the question fits the schema");
        Authorizer::new().is_authorized(&request, self.all, &entities).decision() == Decision::Allow
    }
}

fn constant(schema: &Schema, row: &[Value], attribute: Attribute) -> Option<Constant> {
    match attribute {
        Attribute::Column(column) => match row.get(column)? {
            Value::Text(text) => Some(Constant::new_string(text.clone())),
            Value::Integer(number) => Some(Constant::new_long(*number)),
            Value::Bool(flag) => Some(Constant::new_bool(*flag)),
            Value::Timestamp(time) => Some(Constant::new_long(time.as_micros())),
            _ => None,
        },
        Attribute::Rank(column) => {
            let Value::Text(text) = row.get(column)? else { return None };
            let rank = schema.columns[column].choices.iter().position(|choice| choice == text)?;
            Some(Constant::new_long(i64::try_from(rank).ok()?))
        }
    }
}
