//! A row by its name: model, tenant and key as JSON, as records keep it and operators say it.

use diptych_core::Tenant;
use diptych_query::{Group, Parked, RowRef, key_from_text};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RowName {
    /// The read model.
    pub model: String,
    /// Whose row.
    pub tenant: Tenant,
    /// Its key, one entry for each key column.
    pub key: Vec<serde_json::Value>,
}

impl RowName {
    /// The name of a row of a model.
    #[must_use]
    pub fn of(model: &str, row: &RowRef) -> Self {
        let key = row.key.iter().map(diptych_core::Value::to_json).collect();
        Self { model: model.to_owned(), tenant: row.tenant.clone(), key }
    }

    /// The name of a row that is parked.
    #[must_use]
    pub fn of_parked(parked: &Parked) -> Self {
        Self::of(&parked.model, &parked.row)
    }

    /// The name of a row by the text of its key, one part for each key column; none where there can be
    /// no such row in the group.
    #[must_use]
    pub fn from_text(group: &Group, model: &str, tenant: Tenant, key: &[&str]) -> Option<Self> {
        let held = group.models().iter().find(|held| held.schema().name == model)?;
        let key = key_from_text(held.schema(), key).ok()?;
        Some(Self::of(model, &RowRef { tenant, key }))
    }

    /// The table of a group, by its index, and the row in it; none where there can be no such row.
    #[must_use]
    pub fn resolve(&self, group: &Group) -> Option<(usize, RowRef)> {
        let named = |model: &std::sync::Arc<dyn diptych_query::AnyModel>| model.schema().name == self.model;
        let table = group.models().iter().position(named)?;
        let key = group.models()[table].schema().key_from_json(&self.key)?;
        Some((table, RowRef { tenant: self.tenant.clone(), key }))
    }
}

impl fmt::Display for RowName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<_> = self.key.iter().map(ToString::to_string).collect();
        write!(out, "{} of `{}` (tenant {})", key.join(", "), self.model, self.tenant.as_str())
    }
}
