//! Which ways there are to the answer of a question, in the order in which they are tried. Asks nothing.
//!
//! A way that comes in the order that was asked for ends with the page. One that does not has to be gone to
//! its end, which is worth it where few rows fit: so it is first tried for a little while.

use crate::index::{Span, Ways};
use diptych_core::Value;
use diptych_query::{Condition, Direction, Operator, RawFind, Schema};

/// A way to an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Way {
    pub(crate) along: Along,
    /// Whether rows come in the order that was asked for.
    pub(crate) in_order: bool,
}

/// What a way goes along.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Along {
    /// The rows whose keys begin with these values, by key.
    Keys(Vec<Value>),
    /// Parts of the index.
    Index(Vec<Span>),
}

/// How many documents a way may look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Those that one request brings.
    Short,
    /// As many as a question may look at.
    Whole,
}

/// Whether rows come by their keys as a question without an order is answered.
pub(crate) fn is_by_key(schema: &Schema, find: &RawFind) -> bool {
    find.sort.is_none() && !has_ranked_key(schema)
}

/// The ways to an answer that are tried one after the other, until one does not go too far.
pub(crate) fn ways_to(table: usize, schema: &Schema, has: &[Ways], find: &RawFind) -> Vec<(Way, Reach)> {
    let (narrow, by_order) = (narrow_ways(table, schema, has, find), sorted_way(table, schema, has, find));
    let walk =
        Way { along: Along::Keys(fixed_key(schema, &find.conditions)), in_order: is_by_key(schema, find) };
    let mut all: Vec<Way> = narrow.into_iter().chain(by_order).collect();
    if !all.contains(&walk) {
        all.push(walk.clone());
    }
    if let [only] = all.as_slice() {
        return vec![(only.clone(), Reach::Whole)];
    }
    let main = all.iter().position(|way| way.in_order && *way != walk);
    let main = main.or_else(|| all.iter().position(|way| way.in_order));
    let widest = all.len() - 1;
    let short = (0..all.len()).filter(|way| Some(*way) != main && (*way != widest || all[*way] != walk));
    let whole = main.into_iter().chain((0..all.len()).filter(|way| Some(*way) != main));
    let tried = short.map(|way| (way, Reach::Short)).chain(whole.map(|way| (way, Reach::Whole)));
    tried.map(|(way, reach)| (all[way].clone(), reach)).collect()
}

/// Ways along what conditions leave over.
fn narrow_ways(table: usize, schema: &Schema, has: &[Ways], find: &RawFind) -> Vec<Way> {
    let (mut ways, by_key) = (Vec::new(), is_by_key(schema, find));
    let fixed = fixed_key(schema, &find.conditions);
    let is_fixed = |column: usize| schema.key.iter().take(fixed.len()).any(|key| *key == column);
    let indexed = |condition: &&Condition| has[condition.column] != Ways::None && !is_fixed(condition.column);
    let equal = |condition: &&Condition| condition.operator == Operator::Equal;
    let equals = find.conditions.iter().filter(indexed).filter(equal);
    let equal_one = equals.min_by_key(|condition| condition.values.len());
    let range = find.conditions.iter().filter(indexed).find(|condition| !equal(condition));
    if !fixed.is_empty() {
        ways.push(Way { along: Along::Keys(fixed.clone()), in_order: by_key });
    }
    if let Some(condition) = equal_one {
        ways.push(Way { along: Along::Index(spans(table, schema, find, condition)), in_order: by_key });
    } else if let Some(condition) = range {
        let sort = (condition.column, Direction::Ascending);
        if find.sort.is_none_or(|(column, _)| column != condition.column) {
            let span = Span::asked(table, schema, find, sort);
            ways.push(Way { along: Along::Index(vec![span]), in_order: false });
        }
    }
    ways
}

/// One part of the index for each value that a condition names.
fn spans(table: usize, schema: &Schema, find: &RawFind, condition: &Condition) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::with_capacity(condition.values.len());
    for value in condition.values.iter().filter(|value| **value != Value::Null) {
        let span = Span::holding(table, schema, &find.tenant, condition.column, value);
        let span = if is_by_key(schema, find) { span.after_key(table, find) } else { span };
        if !spans.contains(&span) {
            spans.push(span);
        }
    }
    spans
}

/// The way along the order that was asked for, where the index has it.
fn sorted_way(table: usize, schema: &Schema, has: &[Ways], find: &RawFind) -> Option<Way> {
    let (column, direction) = find.sort.filter(|(column, direction)| has[*column].run(*direction))?;
    let span = Span::asked(table, schema, find, (column, direction));
    // Rows of one value come by their identities there, which know no rank.
    Some(Way { along: Along::Index(vec![span]), in_order: !has_ranked_key(schema) })
}

fn has_ranked_key(schema: &Schema) -> bool {
    schema.key.iter().any(|column| schema.columns[*column].ranked)
}

/// The values of a key that conditions fix, from its first column on.
fn fixed_key(schema: &Schema, conditions: &[Condition]) -> Vec<Value> {
    let fixed = |column: &usize| {
        let own = |condition: &&Condition| {
            condition.column == *column
                && condition.operator == Operator::Equal
                && matches!(condition.values.as_slice(), [value] if *value != Value::Null)
        };
        conditions.iter().find(own).and_then(|condition| condition.values.first().cloned())
    };
    schema.key.iter().map_while(fixed).collect()
}
