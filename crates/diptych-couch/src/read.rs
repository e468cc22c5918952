//! Reading rows as they stood at checkpoints that were read before them.
//!
//! A document holds its row twice, so that a reader who is one batch behind a row still finds what stood
//! there at its checkpoint. A row that moved twice since is read again with newer checkpoints. Where a model
//! moves faster than it can be read, a page may at last hold rows newer than its checkpoint, never older
//! ones; scans, snapshots and exports fail instead.

use crate::CouchStore;
use crate::document::{Document, Told};
use crate::index::Ways;
use crate::order::{after, id_of, table_bounds};
use crate::part::Part;
use crate::plan::{Along, Reach, ways_to};
use crate::scan::{Gone, Question};
use crate::store::Build;
use diptych_core::{Code, Fault, Value};
use diptych_query::{
    Checkpoint, Found, Group, Partition, RawFind, RowRef, ScannedRow, Schema, StoredRow, TableSnapshot,
};
use serde_json::Value as Json;
use std::sync::Arc;

/// How often rows are read with newer checkpoints because they have moved.
const SETTLE_ROUNDS_MAX: usize = 8;

/// What is done with a row that has moved more than once since its checkpoint was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moved {
    /// Everything is read again.
    Again,
    /// It is taken as it stood before its last batch, which is newer than the checkpoint.
    Newer,
}

/// A moment of a build: where each of its partitions stood.
pub(crate) struct Moment<'a> {
    pub(crate) build: &'a Build,
    pub(crate) parts: &'a [Part],
    pub(crate) moved: Moved,
}

/// Rows of one moment, with the moment.
pub(crate) struct Settled {
    pub(crate) build: Arc<Build>,
    pub(crate) parts: Vec<Part>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Moment<'_> {
    /// The row of a document at that moment, with its tombstone; an error where it has moved on.
    pub(crate) fn row(&self, document: &Document) -> Result<Option<StoredRow>, ()> {
        let part = self.parts.get(usize::from(document.part)).ok_or(())?;
        match document.at(part) {
            Told::Version(version) => Ok(Some(document.stored(version))),
            Told::Nothing => Ok(None),
            Told::Passed if self.moved == Moved::Again => Err(()),
            Told::Passed => Ok(document.before.as_ref().map(|before| document.stored(before))),
        }
    }
}

impl CouchStore {
    /// Rows of one tenant that fit, in order, with the lowest checkpoint.
    pub(crate) async fn fitting(
        &self,
        group: &Group,
        schema: &'static Schema,
        find: &RawFind,
    ) -> Result<Found, Fault> {
        let reach = self.limits.walk_rows_max;
        let Settled { build, parts, rows } = self.settled(group, schema, find, Moved::Newer, reach).await?;
        Ok(Found { rows, checkpoint: lowest(&parts), build: build.id })
    }

    /// Rows of one tenant that fit, in order, of one moment; `at_last` says what is done with rows that have
    /// moved in every round.
    pub(crate) async fn settled(
        &self,
        group: &Group,
        schema: &'static Schema,
        find: &RawFind,
        at_last: Moved,
        documents_max: usize,
    ) -> Result<Settled, Fault> {
        for round in 1..=SETTLE_ROUNDS_MAX {
            let (build, parts) = self.at(group).await?;
            let last = round == SETTLE_ROUNDS_MAX;
            let moved = if last { at_last } else { Moved::Again };
            let moment = Moment { build: &build, parts: &parts, moved };
            let question = Question { moment: &moment, table: build.table(schema)?, schema, find };
            // In the index, a row that moves while somebody reads may be missed; by key it is met once.
            if let Some(rows) = self.answer(&question, !last, documents_max).await? {
                return Ok(Settled { build, parts, rows });
            }
        }
        Err(too_fast(&group.label()))
    }

    /// The rows of a moment that fit; none where they have moved on.
    pub(crate) async fn answer(
        &self,
        question: &Question<'_>,
        indexes: bool,
        documents_max: usize,
    ) -> Result<Option<Vec<Vec<Value>>>, Fault> {
        let &Question { moment, table, schema, find } = question;
        let indexed = &moment.build.indexed[table];
        let has = if indexes { indexed.clone() } else { vec![Ways::None; indexed.len()] };
        for (way, reach) in ways_to(table, schema, &has, find) {
            let most = match reach {
                Reach::Short => self.limits.request_documents_max,
                Reach::Whole => documents_max,
            };
            match self.go(question, &way, most).await? {
                Gone::TooFar => {}
                Gone::Moved => return Ok(None),
                Gone::Whole(rows) if matches!(way.along, Along::Keys(_)) => return Ok(Some(rows)),
                // What stood here once and does so no more is not in the index: was it lost meanwhile?
                Gone::Whole(rows) => {
                    let Some(later) = self.parts(moment.build).await? else { return Ok(None) };
                    let mut both = moment.parts.iter().zip(&later);
                    return Ok(both.all(|(read, later)| !read.is_left_behind(later)).then_some(rows));
                }
            }
        }
        if !indexes && !indexed.iter().all(|ways| *ways == Ways::None) {
            // The index would have led to an answer, had the rows not moved.
            return Ok(None);
        }
        Err(too_many(schema, documents_max))
    }

    /// The row of one key, with the checkpoint of its partition.
    pub(crate) async fn one(
        &self,
        group: &Group,
        schema: &'static Schema,
        row: &RowRef,
    ) -> Result<Found, Fault> {
        for _ in 0..SETTLE_ROUNDS_MAX {
            let (build, parts) = self.at(group).await?;
            let table = build.table(schema)?;
            let found = self.documents(&build.database, &[id_of(table, row)]).await?;
            let owner = owner(&build, &parts, row);
            let checkpoint = owner.map_or_else(|| lowest(&parts), Part::checkpoint);
            let held = match found.and_then(|found| found.into_iter().next()).unwrap_or(Json::Null) {
                Json::Null => None,
                json => Some(Document::read(table, schema, &json)?),
            };
            let moment = Moment { build: &build, parts: &parts, moved: Moved::Again };
            let Ok(stands) = held.map(|held| moment.row(&held)).transpose() else { continue };
            let rows = stands.flatten().and_then(|stands| stands.values).into_iter().collect();
            return Ok(Found { rows, checkpoint, build: build.id });
        }
        Err(too_fast(&group.label()))
    }

    /// Rows of every tenant after one, with digest and checkpoints, all of one moment.
    pub(crate) async fn snapshot_of(
        &self,
        group: &Group,
        schema: &'static Schema,
        begin: Option<&RowRef>,
        rows_max: usize,
    ) -> Result<TableSnapshot, Fault> {
        for _ in 0..SETTLE_ROUNDS_MAX {
            let (build, parts) = self.at(group).await?;
            let table = build.table(schema)?;
            let moment = Moment { build: &build, parts: &parts, moved: Moved::Again };
            let Some(rows) = self.rows_after(&moment, table, schema, begin, rows_max).await? else {
                continue;
            };
            let checkpoints = parts.iter().map(Part::checkpoint).collect();
            return Ok(TableSnapshot { checkpoints, digest: digest_of(&parts, table), rows });
        }
        Err(too_fast(&group.label()))
    }

    async fn rows_after(
        &self,
        moment: &Moment<'_>,
        table: usize,
        schema: &'static Schema,
        begin: Option<&RowRef>,
        rows_max: usize,
    ) -> Result<Option<Vec<ScannedRow>>, Fault> {
        let (first, to) = table_bounds(table);
        let mut from = begin.map_or(first, |row| after(&id_of(table, row)));
        let mut rows = Vec::new();
        while rows.len() < rows_max {
            let page = (rows_max - rows.len()).clamp(1, self.limits.request_documents_max.max(1));
            let found = self.range(&moment.build.database, (&from, &to), page).await?;
            // Looked at again, the build is made anew or another one answers.
            let Some(found) = found else { return Ok(None) };
            for json in &found {
                let document = Document::read(table, schema, json)?;
                let Ok(row) = moment.row(&document) else { return Ok(None) };
                rows.extend(row.filter(|row| row.values.is_some()));
            }
            match found.last().and_then(|last| last["_id"].as_str()) {
                Some(last) if found.len() == page => from = after(last),
                _ => break,
            }
        }
        Ok(Some(rows))
    }
}

/// The lowest mark of the partitions, with the first fact that stopped one of them.
pub(crate) fn lowest(parts: &[Part]) -> Checkpoint {
    let checkpoints = || parts.iter().map(Part::checkpoint);
    let mut lowest = checkpoints().min_by_key(|checkpoint| checkpoint.mark.position());
    if let Some(lowest) = &mut lowest {
        let stopped = checkpoints().filter_map(|checkpoint| checkpoint.stopped);
        lowest.stopped = stopped.min_by_key(|stopped| stopped.position);
    }
    lowest.expect("a build has a partition")
}

/// The digest of a table. Partitions own whole buckets, so each comes from one of them.
pub(crate) fn digest_of(parts: &[Part], table: usize) -> Vec<diptych_query::BucketDigest> {
    let mut buckets: Vec<_> = parts.iter().flat_map(|part| part.digest(table)).collect();
    buckets.sort_unstable_by_key(|(bucket, ..)| *bucket);
    buckets
}

fn owner<'a>(build: &Build, parts: &'a [Part], row: &RowRef) -> Option<&'a Part> {
    let of = u8::try_from(build.partitions.len()).unwrap_or(u8::MAX);
    parts.get(usize::from(Partition::owner(of, &row.tenant, &row.key).index()))
}

pub(crate) fn too_fast(label: &str) -> Fault {
    let message = format!("the rows of `{label}` move faster than they can be read");
    Fault::transient(Code::DocumentsUnavailable, message)
}

fn too_many(schema: &Schema, walk_rows_max: usize) -> Fault {
    let message = format!(
        "the question to `{}` would look at more than {walk_rows_max} documents: narrow it by a column that \
         it filters by",
        schema.name
    );
    Fault::permanent(Code::Unbounded, message)
}
