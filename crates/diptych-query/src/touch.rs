//! Which rows a fact touches, without the types of the read model: for whoever asks what a command has
//! changed.

use crate::{ReadModel, Route, Schema};
use diptych_core::Value;
use serde_json::{Map, json};

/// What a fact touches in a read model, as its route says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Touch {
    /// The row of a key.
    Row(Vec<Value>),
    /// Every row that held a value in a column at that moment.
    Where {
        /// The column, by its index in the declaration.
        column: usize,
        /// What it held.
        value: Value,
    },
    /// Whatever the model's own SQL did with it.
    BySql,
}

/// A read model that a fact touches.
#[derive(Clone)]
pub struct Touched {
    /// The read model's declaration.
    pub schema: &'static Schema,
    /// What it touches there, or why that cannot be said.
    pub touches: Result<Vec<Touch>, String>,
}

impl Touched {
    /// As JSON: `{"model":"order_summary","rows":[{"orderId":"42"}]}`; routes by column stand under
    /// `rowsWhere`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let Self { schema, touches } = self;
        let mut out = json!({ "model": schema.name });
        let public = |column: &usize| schema.columns.get(*column).map_or("", |column| column.public);
        match touches {
            Err(reason) => out["unknown"] = json!(reason),
            Ok(touches) => {
                let (mut rows, mut places) = (Vec::new(), Vec::new());
                for touch in touches {
                    match touch {
                        Touch::Row(key) => {
                            let parts = schema.key.iter().zip(key);
                            let parts =
                                parts.map(|(column, value)| (public(column).to_owned(), value.to_json()));
                            rows.push(serde_json::Value::Object(parts.collect::<Map<_, _>>()));
                        }
                        Touch::Where { column, value } => {
                            places.push(json!({ "column": public(column), "value": value.to_json() }));
                        }
                        Touch::BySql => out["keptBySql"] = json!(true),
                    }
                }
                if !rows.is_empty() {
                    out["rows"] = json!(rows);
                }
                if !places.is_empty() {
                    out["rowsWhere"] = json!(places);
                }
            }
        }
        out
    }

    /// In words: `order_summary: row orderId 42`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self { schema, touches } = self;
        let public = |column: &usize| schema.columns.get(*column).map_or("", |column| column.public);
        let bare = |value: &Value| match value.to_json() {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let words = match touches {
            Err(reason) => vec![format!("unknown: {reason}")],
            Ok(touches) => touches
                .iter()
                .map(|touch| match touch {
                    Touch::Row(key) => {
                        let parts = schema.key.iter().zip(key);
                        let parts =
                            parts.map(|(column, value)| format!("{} {}", public(column), bare(value)));
                        format!("row {}", parts.collect::<Vec<_>>().join(", "))
                    }
                    Touch::Where { column, value } => {
                        format!("rows where {} = {}", public(column), bare(value))
                    }
                    Touch::BySql => "whatever its SQL did".to_owned(),
                })
                .collect(),
        };
        format!("{}: {}", schema.name, words.join("; "))
    }
}

impl<M: ReadModel> Route<M> {
    /// What it names, without the model's types.
    pub(crate) fn touches(self, into: &mut Vec<Touch>) {
        let row = |key: &M::Key| Touch::Row(M::key_values(key));
        match self {
            Self::None | Self::Matching { value: Value::Null, .. } => {}
            Self::Key(key) => into.push(row(&key)),
            Self::Keys(keys) => into.extend(keys.iter().map(row)),
            Self::Starting(rows) => into.extend(rows.iter().map(|starting| row(&starting.key()))),
            Self::Matching { column, value } => into.push(Touch::Where { column, value }),
            Self::All(routes) => routes.into_iter().for_each(|route| route.touches(into)),
        }
    }
}
