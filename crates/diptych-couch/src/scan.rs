//! One way to the answer of a question, gone page by page: every row that it meets is judged here, as it
//! stood at the moment that the question is about.

use crate::CouchStore;
use crate::document::Document;
use crate::index::Span;
use crate::order::{after, beginning, end_of, id_of};
use crate::plan::{Along, Way};
use crate::read::Moment;
use diptych_core::{Fault, Value};
use diptych_query::{RawFind, RowRef, Schema};
use serde_json::Value as Json;

/// How many rows are kept at least of those that may be in a page, before the others are let go.
const ROWS_KEPT_MIN: usize = 1_000;

/// A question to one table, at one moment.
pub(crate) struct Question<'a> {
    pub(crate) moment: &'a Moment<'a>,
    pub(crate) table: usize,
    pub(crate) schema: &'static Schema,
    pub(crate) find: &'a RawFind,
}

/// What became of going one way.
pub(crate) enum Gone {
    /// All the way: these are the rows.
    Whole(Vec<Vec<Value>>),
    /// Further than it should.
    TooFar,
    /// Rows have moved meanwhile: everything is read again.
    Moved,
}

/// Rows of which the first ones are wanted.
struct First<'a> {
    question: &'a Question<'a>,
    rows: Vec<Vec<Value>>,
}

impl First<'_> {
    fn add(&mut self, row: Vec<Value>) {
        self.rows.push(row);
        if self.rows.len() >= self.question.find.rows_max.saturating_mul(2).max(ROWS_KEPT_MIN) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let Question { find, schema, .. } = self.question;
        self.rows.sort_by(|a, b| find.compare(schema, a, b));
        self.rows.truncate(find.rows_max);
    }
}

impl Question<'_> {
    /// The row of a document, if it fits; an error where it has moved on.
    fn fitting(&self, document: &Document) -> Result<Option<Vec<Value>>, ()> {
        let values = self.moment.row(document)?.and_then(|row| row.values);
        let Self { find, schema, .. } = self;
        Ok(values.filter(|row| find.fits(schema, row) && find.is_beyond(schema, row)))
    }
}

impl CouchStore {
    /// Goes one way, past so many documents at most.
    pub(crate) async fn go(
        &self,
        question: &Question<'_>,
        way: &Way,
        documents_max: usize,
    ) -> Result<Gone, Fault> {
        let mut first = First { question, rows: Vec::new() };
        let mut left = documents_max;
        match &way.along {
            Along::Keys(fixed) => {
                if let Some(gone) = self.along_keys(&mut first, fixed, way.in_order, left).await? {
                    return Ok(gone);
                }
            }
            Along::Index(spans) => {
                for span in spans {
                    if let Some(gone) = self.along_index(&mut first, span, way.in_order, &mut left).await? {
                        return Ok(gone);
                    }
                }
            }
        }
        first.settle();
        Ok(Gone::Whole(first.rows))
    }

    /// Looks at the rows whose keys begin with some values, by key. Answers nothing once it has seen enough.
    async fn along_keys(
        &self,
        first: &mut First<'_>,
        fixed: &[Value],
        in_order: bool,
        documents_max: usize,
    ) -> Result<Option<Gone>, Fault> {
        let &Question { moment, table, schema, find } = first.question;
        let begins = beginning(table, &find.tenant, fixed);
        let mut from = match &find.after {
            Some(cursor) if in_order => {
                let row = RowRef { tenant: find.tenant.clone(), key: cursor.key.clone() };
                after(&id_of(table, &row)).max(begins.clone())
            }
            _ => begins.clone(),
        };
        let (to, mut found_rows, mut walked) = (end_of(&begins), 0, 0);
        let mut page = self.first_page(find, in_order);
        loop {
            let found = self.range(&moment.build.database, (&from, &to), page).await?;
            let Some(found) = found else { return Ok(Some(Gone::Moved)) };
            for json in &found {
                let document = Document::read(table, schema, json)?;
                let Ok(row) = first.question.fitting(&document) else { return Ok(Some(Gone::Moved)) };
                let Some(row) = row else { continue };
                first.add(row);
                found_rows += 1;
                if in_order && found_rows >= find.rows_max {
                    return Ok(None);
                }
            }
            walked += found.len();
            match found.last().and_then(|last| last["_id"].as_str()) {
                Some(_) if found.len() == page && walked >= documents_max => return Ok(Some(Gone::TooFar)),
                Some(last) if found.len() == page => from = after(last),
                _ => return Ok(None),
            }
            page = self.next_page(page);
        }
    }

    /// Looks at the rows of a part of the index. Answers nothing once it has seen enough.
    async fn along_index(
        &self,
        first: &mut First<'_>,
        span: &Span,
        in_order: bool,
        left: &mut usize,
    ) -> Result<Option<Gone>, Fault> {
        let &Question { moment, table, schema, find } = first.question;
        let (mut span, mut found_rows, mut page) = (span.clone(), 0, self.first_page(find, in_order));
        loop {
            let found = self.indexed(&moment.build.database, &span, page).await?;
            let Some(found) = found else { return Ok(Some(Gone::Moved)) };
            for (form, _, json) in &found {
                if json.is_null() {
                    continue;
                }
                let document = Document::read(table, schema, json)?;
                let Ok(row) = first.question.fitting(&document) else { return Ok(Some(Gone::Moved)) };
                // Its other place is where it stands at another moment.
                let Some(row) = row.filter(|row| span.form_of(schema, &row[span.column]) == *form) else {
                    continue;
                };
                first.add(row);
                found_rows += 1;
                if in_order && found_rows >= find.rows_max {
                    return Ok(None);
                }
            }
            match found.last() {
                Some(_) if found.len() == page && *left <= page => return Ok(Some(Gone::TooFar)),
                Some((form, id, _)) if found.len() == page => span.go_on(form, id),
                _ => return Ok(None),
            }
            *left -= page;
            page = self.next_page(page);
        }
    }

    /// How many documents the first request asks for: no more than an answer in order has rows.
    fn first_page(&self, find: &RawFind, in_order: bool) -> usize {
        let most = self.limits.request_documents_max.max(1);
        if in_order { find.rows_max.clamp(1, most) } else { most }
    }

    fn next_page(&self, page: usize) -> usize {
        page.saturating_mul(2).min(self.limits.request_documents_max.max(1))
    }

    /// Documents of a part of an index, in its order, each with its form there and its name.
    pub(crate) async fn indexed(
        &self,
        database: &str,
        span: &Span,
        most: usize,
    ) -> Result<Option<Vec<(String, String, Json)>>, Fault> {
        let Some(rows) = self.index_rows(database, span, most).await? else { return Ok(None) };
        let told = |mut row: Json| {
            let form = row["key"][1].as_str()?.to_owned();
            let id = row["id"].as_str()?.to_owned();
            Some((form, id, row["doc"].take()))
        };
        Ok(Some(rows.into_iter().filter_map(told).collect()))
    }
}
