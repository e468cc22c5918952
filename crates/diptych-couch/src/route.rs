//! The documents of rows that hold a value in a column, page by page: where a fact is routed by a column.
//! Judges none of them.

use crate::CouchStore;
use crate::index::{Span, Ways};
use crate::order::{after, beginning, end_of};
use crate::store::Build;
use diptych_core::{Code, Fault};
use diptych_query::Matching;
use serde_json::Value as Json;

/// How many documents the first request asks for: most facts are routed to few rows.
const FIRST_DOCUMENTS: usize = 64;

/// The documents that may hold a value, those that were not looked at yet.
pub(crate) struct Holders<'a> {
    store: &'a CouchStore,
    build: &'a Build,
    table: usize,
    column: usize,
    left: Left,
    page: usize,
    walked: usize,
}

/// Where they are.
enum Left {
    /// Between two names, each of them a holder.
    Keys(String, String),
    /// Between two names, and others among them.
    Walk(String, String),
    /// In a part of the index.
    Index(Span),
    /// Nowhere any more.
    Nothing,
}

impl<'a> Holders<'a> {
    /// Those of a table.
    pub(crate) fn of(store: &'a CouchStore, build: &'a Build, table: usize, wanted: &Matching) -> Self {
        let (schema, column) = (build.tables[table], wanted.column);
        let between = |begins: String| {
            let end = end_of(&begins);
            (begins, end)
        };
        let left = if schema.key.first() == Some(&column) {
            let (from, to) = between(beginning(table, &wanted.tenant, std::slice::from_ref(&wanted.value)));
            Left::Keys(from, to)
        } else if build.indexed[table][column] != Ways::None {
            Left::Index(Span::holding(table, schema, &wanted.tenant, column, &wanted.value))
        } else {
            let (from, to) = between(beginning(table, &wanted.tenant, &[]));
            Left::Walk(from, to)
        };
        Self { store, build, table, column, left, page: FIRST_DOCUMENTS, walked: 0 }
    }

    /// The next of them; none after the last.
    ///
    /// # Errors
    /// The index has not got the column, and there are more rows to look at than a batch may.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Json>>, Fault> {
        let limits = &self.store.limits;
        let (database, most) = (&self.build.database, self.page.min(limits.request_documents_max.max(1)));
        if matches!(self.left, Left::Walk(..)) && self.walked > limits.walk_rows_max {
            return Err(self.too_many());
        }
        let (found, full) = match &mut self.left {
            Left::Nothing => return Ok(None),
            Left::Keys(from, to) | Left::Walk(from, to) => {
                let found = self.store.range(database, (from, to), most).await?;
                let found = found.ok_or_else(|| gone(self.build))?;
                if let Some(last) = found.last().and_then(|last| last["_id"].as_str()) {
                    *from = after(last);
                }
                let full = found.len() == most;
                (found, full)
            }
            Left::Index(span) => {
                let found = self.store.indexed(database, span, most).await?;
                let found = found.ok_or_else(|| gone(self.build))?;
                if let Some((form, id, _)) = found.last() {
                    span.go_on(form, id);
                }
                let full = found.len() == most;
                (found.into_iter().map(|(_, _, json)| json).filter(|json| !json.is_null()).collect(), full)
            }
        };
        self.walked += found.len();
        if full {
            self.page = self.page.saturating_mul(2);
        } else {
            self.left = Left::Nothing;
        }
        Ok(Some(found))
    }

    fn too_many(&self) -> Fault {
        let schema = self.build.tables[self.table];
        let message = format!(
            "a fact of `{}` is routed by `{}`, and looks at more than {} documents: its database has no \
             index for that, build it anew",
            schema.name, schema.columns[self.column].name, self.store.limits.walk_rows_max
        );
        Fault::permanent(Code::Unbounded, message)
    }
}

fn gone(build: &Build) -> Fault {
    Fault::transient(
        Code::DocumentsUnavailable,
        format!("the index or database of `{}` is gone", build.label),
    )
}
