//! Where money stands inside of `#[json]` columns, as their JSON Schemas say, and that it is money there:
//! judged by the one validator that there is. Pure; knows no store.
//!
//! A typed field of `Money` holds nothing else anyway. The guard is for what a type does not promise: a
//! column of any JSON whose schema says money, a row that a person corrects, text from elsewhere.

use crate::{AnyModel, ReadModel};
use diptych_core::{Money, Value};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// How deep a schema is followed: one that refers to itself never ends.
const DEPTH_MAX: usize = 12;

/// One step on the way to money.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MoneyStep {
    /// A member of an object.
    Member(String),
    /// Every element of an array.
    Each,
    /// Every member of an object.
    Any,
}

/// The way to a money field from the value of its column; no step where the column itself is money.
pub type MoneyPath = Vec<MoneyStep>;

/// The money fields of a JSON Schema whose references `generator` knows.
///
/// Where a value may be of several kinds, a field counts that is money, or without a value, in all of them
/// that have it.
#[must_use]
pub fn money_paths(schema: &schemars::Schema, generator: &SchemaGenerator) -> Vec<MoneyPath> {
    let money = Money::json_schema(&mut SchemaGenerator::default()).to_value();
    let mut walk = Walk { money, generator, found: BTreeMap::new() };
    walk.schema(&schema.clone().to_value(), &mut Vec::new(), 0);
    let found = walk.found.into_iter();
    found.filter(|(_, all_money)| *all_money).map(|(path, _)| path).collect()
}

/// A path as people write it: `lines[].unitPrice`.
#[must_use]
pub fn money_field(column: &str, path: &[MoneyStep]) -> String {
    let steps = path.iter().map(|step| match step {
        MoneyStep::Member(name) => format!(".{name}"),
        MoneyStep::Each => "[]".to_owned(),
        MoneyStep::Any => ".*".to_owned(),
    });
    std::iter::once(column.to_owned()).chain(steps).collect()
}

struct Walk<'g> {
    money: Json,
    generator: &'g SchemaGenerator,
    /// Every path that a kind of value has, and whether it is money in all of them.
    found: BTreeMap<MoneyPath, bool>,
}

impl Walk<'_> {
    fn schema(&mut self, schema: &Json, path: &mut MoneyPath, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            let Some(meant) = self.generator.definitions().get(name).cloned() else { return };
            self.schema(&meant, path, depth + 1);
            return;
        }
        if self.is_money(schema) {
            self.found.entry(path.clone()).or_insert(true);
            return;
        }
        let kinds = ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| schema.get(word)?.as_array());
        let mut of_kinds = false;
        for kind in kinds.flatten() {
            of_kinds = true;
            self.schema(kind, path, depth + 1);
        }
        let is_nothing = schema.get("type").and_then(Json::as_str) == Some("null");
        if !of_kinds && !is_nothing {
            self.found.insert(path.clone(), false);
        }
        for (name, member) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
            self.step(MoneyStep::Member(name.clone()), member, path, depth);
        }
        for (word, step) in [("items", MoneyStep::Each), ("additionalProperties", MoneyStep::Any)] {
            if let Some(inner) = schema.get(word).filter(|inner| inner.is_object()) {
                self.step(step, inner, path, depth);
            }
        }
    }

    fn step(&mut self, step: MoneyStep, schema: &Json, path: &mut MoneyPath, depth: usize) {
        path.push(step);
        self.schema(schema, path, depth + 1);
        path.pop();
    }

    /// A field's doc comment stands in place of the description of its type.
    fn is_money(&self, schema: &Json) -> bool {
        let without = |schema: &Json| {
            let mut object = schema.as_object().cloned().unwrap_or_default();
            object.retain(|word, _| matches!(word.as_str(), "type" | "properties" | "required"));
            object
        };
        without(schema) == without(&self.money)
    }
}

/// The money fields of the `#[json]` columns of a read model without its type: column by column.
#[must_use]
pub fn money_in_columns(model: &dyn AnyModel) -> Vec<(usize, MoneyPath)> {
    let mut all = Vec::new();
    for index in 0..model.schema().columns.len() {
        let mut generator = SchemaGenerator::default();
        let Some(schema) = model.json_schema(index, &mut generator) else { continue };
        all.extend(money_paths(&schema, &generator).into_iter().map(|path| (index, path)));
    }
    all
}

/// The money fields of the `#[json]` columns of a read model.
#[derive(Default)]
pub(crate) struct MoneyGuard {
    columns: Vec<(usize, &'static str, MoneyPlaces)>,
}

/// A money field that does not hold money.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NotMoney {
    /// The field, such as `lines[].unitPrice`.
    pub(crate) field: String,
    /// What the validator says.
    pub(crate) reason: String,
}

impl MoneyGuard {
    /// The guard of a model, which is made once.
    pub(crate) fn of<M: ReadModel>() -> Arc<Self> {
        static GUARDS: LazyLock<Mutex<HashMap<TypeId, Arc<MoneyGuard>>>> = LazyLock::new(Mutex::default);
        let mut guards = GUARDS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(guards.entry(TypeId::of::<M>()).or_insert_with(|| Arc::new(Self::made::<M>())))
    }

    fn made<M: ReadModel>() -> Self {
        let columns = M::SCHEMA.columns.iter().enumerate().filter_map(|(index, column)| {
            let mut generator = SchemaGenerator::default();
            let schema = M::json_schema(index, &mut generator)?;
            let paths = money_paths(&schema, &generator);
            (!paths.is_empty()).then(|| (index, column.public, MoneyPlaces::of(&paths)))
        });
        Self { columns: columns.collect() }
    }

    /// Looks at the money fields of a row.
    pub(crate) fn check(&self, values: &[Value]) -> Result<(), NotMoney> {
        for (index, column, guarded) in &self.columns {
            if let Some(Value::Json(text)) = values.get(*index) {
                guarded.check(column, text)?;
            }
        }
        Ok(())
    }
}

/// Where money is in a value: paths that begin alike share their beginning.
#[derive(Default, Debug)]
pub struct MoneyPlaces {
    /// Whether the value itself is money.
    pub money: bool,
    /// Where it is in members of an object, by their names.
    pub members: BTreeMap<String, Self>,
    /// Where it is in every element of an array.
    pub each: Option<Box<Self>>,
    /// Where it is in every member of an object that has no places of its own.
    pub any: Option<Box<Self>>,
}

impl MoneyPlaces {
    /// Adds the place at the end of a path.
    pub fn add(&mut self, path: &[MoneyStep]) {
        let mut at = self;
        for step in path {
            at = match step {
                MoneyStep::Member(name) => at.members.entry(name.clone()).or_default(),
                MoneyStep::Each => at.each.get_or_insert_default(),
                MoneyStep::Any => at.any.get_or_insert_default(),
            };
        }
        at.money = true;
    }

    fn of(paths: &[MoneyPath]) -> Self {
        let mut root = Self::default();
        paths.iter().for_each(|path| root.add(path));
        root
    }

    fn check(&self, column: &str, text: &str) -> Result<(), NotMoney> {
        let way = RefCell::new(Vec::new());
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let looked = Look { guarded: self, way: &way }.deserialize(&mut deserializer);
        looked.map_err(|error| {
            let field = money_field(column, &way.borrow());
            NotMoney { field, reason: error.to_string() }
        })
    }
}

/// Looks through a value without keeping any of it.
#[derive(Clone, Copy)]
struct Look<'g> {
    guarded: &'g MoneyPlaces,
    /// Where it looks, which stays where it fails.
    way: &'g RefCell<MoneyPath>,
}

impl Look<'_> {
    fn enter(&self, step: MoneyStep) {
        self.way.borrow_mut().push(step);
    }

    fn leave(&self) {
        self.way.borrow_mut().pop();
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.guarded.money {
            return Option::<Money>::deserialize(deserializer).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let guarded = self.guarded.members.get(&name);
            match guarded.or(self.guarded.any.as_deref()) {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(guarded) => {
                    self.enter(MoneyStep::Member(name));
                    map.next_value_seed(Look { guarded, ..self })?;
                    self.leave();
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Some(guarded) = self.guarded.each.as_deref() else {
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        self.enter(MoneyStep::Each);
        while elements.next_element_seed(Look { guarded, ..self })?.is_some() {}
        self.leave();
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych_core::MONEY_CASES;

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Basket {
        lines: Vec<Line>,
        /// What it comes to, by customer.
        totals: BTreeMap<String, Money>,
        voucher: Option<Money>,
        note: String,
        paid: Payment,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Line {
        sku: String,
        /// What one costs.
        unit_price: Money,
        parts: Vec<Line>,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    #[serde(tag = "by")]
    enum Payment {
        Card { amount: Money, reference: String },
        Barter { amount: String },
    }

    fn paths<T: JsonSchema>() -> (Vec<MoneyPath>, Vec<String>) {
        let mut generator = SchemaGenerator::default();
        let schema = generator.subschema_for::<T>();
        let paths = money_paths(&schema, &generator);
        let named = paths.iter().map(|path| money_field("basket", path)).collect();
        (paths, named)
    }

    #[test]
    fn money_is_found_where_the_schema_says_so() {
        let (_, named) = paths::<Basket>();
        for field in ["basket.lines[].unit_price", "basket.totals.*", "basket.voucher"] {
            assert!(named.iter().any(|named| named == field), "{field}: {named:?}");
        }
        assert!(named.contains(&"basket.lines[].parts[].unit_price".to_owned()), "{named:?}");
        // It is money in one kind of payment and a text in the other.
        assert!(!named.contains(&"basket.paid.amount".to_owned()), "{named:?}");
        assert_eq!(paths::<Money>().1, ["basket"]);
        assert_eq!(paths::<Vec<String>>().1, [""; 0]);
    }

    #[test]
    fn every_case_is_judged_alike_wherever_it_stands() {
        let guarded = MoneyPlaces::of(&paths::<Basket>().0);
        for (case, expected) in MONEY_CASES {
            for (field, text) in [
                ("basket.voucher", format!(r#"{{"note":"1","voucher":{case}}}"#)),
                ("basket.totals.ann", format!(r#"{{"totals":{{"ann":{case}}}}}"#)),
                (
                    "basket.lines[].unit_price",
                    format!(r#"{{"lines":[{{"sku":"a"}},{{"unit_price":{case}}}]}}"#),
                ),
            ] {
                let judged = guarded.check("basket", &text);
                assert_eq!(judged.is_ok(), expected.is_ok(), "{text}: {judged:?}");
                if let Err(refused) = judged {
                    assert_eq!(refused.field, field);
                }
            }
        }
    }

    #[test]
    fn no_value_is_no_money_and_the_rest_is_none_of_its_business() {
        let guarded = MoneyPlaces::of(&paths::<Basket>().0);
        for text in ["{\"voucher\":null,\"note\":1e400}", "[]", "null", "1.5", "{\"lines\":\"none\"}"] {
            assert_eq!(guarded.check("basket", text), Ok(()), "{text}");
        }
    }
}
