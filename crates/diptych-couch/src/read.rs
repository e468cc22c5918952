//! Reading rows as they stood at checkpoints that were read before them.
//!
//! A document holds its row twice, so that a reader who is one batch behind a row still finds what stood
//! there at its checkpoint. A row that moved twice since is read again with newer checkpoints. Where a model
//! moves faster than it can be read, a page may at last hold rows newer than its checkpoint, never older
//! ones; scans, snapshots and exports fail instead.

use crate::CouchStore;
use crate::document::{Document, Told};
use crate::order::{after, beginning, end_of, id_of, table_bounds};
use crate::part::Part;
use crate::store::Build;
use diptych_core::{Code, Fault, Value};
use diptych_query::{
    Checkpoint, Condition, Found, Group, Matching, Operator, Partition, RawFind, RowRef, ScannedRow, Schema,
    StoredRow, TableSnapshot,
};
use serde_json::Value as Json;
use std::sync::Arc;

/// How often rows are read with newer checkpoints because they have moved.
const SETTLE_ROUNDS_MAX: usize = 8;

/// What is done with a row that has moved more than once since its checkpoint was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moved {
    /// Everything is read again.
    Again,
    /// It is taken as it stood before its last batch, which is newer than the checkpoint.
    Newer,
}

/// A moment of a build: where each of its partitions stood.
struct Moment<'a> {
    build: &'a Build,
    parts: &'a [Part],
    moved: Moved,
}

impl Moment<'_> {
    /// The row of a document at that moment, with its tombstone; an error where it has moved on.
    fn row(&self, document: &Document) -> Result<Option<StoredRow>, ()> {
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
        exact: bool,
    ) -> Result<Found, Fault> {
        for round in 1..=SETTLE_ROUNDS_MAX {
            let (build, parts) = self.at(group).await?;
            let last = round == SETTLE_ROUNDS_MAX;
            if last && exact {
                break;
            }
            let moment = Moment {
                build: &build,
                parts: &parts,
                moved: if last { Moved::Newer } else { Moved::Again },
            };
            let rows = self.walk(&moment, build.table(schema)?, schema, find).await?;
            if let Some(rows) = rows {
                return Ok(Found { rows, checkpoint: lowest(&parts), build: build.id });
            }
        }
        Err(too_fast(group))
    }

    /// Looks at the rows that may fit, in the order of their keys; none where one has moved on.
    async fn walk(
        &self,
        moment: &Moment<'_>,
        table: usize,
        schema: &'static Schema,
        find: &RawFind,
    ) -> Result<Option<Vec<Vec<Value>>>, Fault> {
        let begins = beginning(table, &find.tenant, &fixed_key(schema, &find.conditions));
        let ranked = schema.key.iter().any(|column| schema.columns[*column].ranked);
        // Then documents come in the order that was asked for, and the first that fit are the answer.
        let by_key = find.sort.is_none() && !ranked;
        let mut from = match &find.after {
            Some(cursor) if by_key => {
                let row = RowRef { tenant: find.tenant.clone(), key: cursor.key.clone() };
                after(&id_of(table, &row)).max(begins.clone())
            }
            _ => begins.clone(),
        };
        let (to, mut rows, mut walked) = (end_of(&begins), Vec::new(), 0);
        loop {
            let page = self.limits.request_documents_max.max(1);
            let found = self.range(&moment.build.database, (&from, &to), page).await?;
            // Looked at again, the build is made anew or another one answers.
            let Some(found) = found else { return Ok(None) };
            for json in &found {
                let document = Document::read(table, schema, json)?;
                let Ok(row) = moment.row(&document) else { return Ok(None) };
                let values = row.and_then(|row| row.values);
                let fits = |row: &Vec<Value>| find.fits(schema, row) && find.is_beyond(schema, row);
                rows.extend(values.filter(fits));
                if by_key && rows.len() >= find.rows_max {
                    rows.truncate(find.rows_max);
                    return Ok(Some(rows));
                }
            }
            walked += found.len();
            if walked > self.limits.walk_rows_max {
                return Err(too_many(schema, self.limits.walk_rows_max));
            }
            match found.last().and_then(|last| last["_id"].as_str()) {
                Some(last) if found.len() == page => from = after(last),
                _ => break,
            }
        }
        rows.sort_by(|a, b| find.compare(schema, a, b));
        rows.truncate(find.rows_max);
        Ok(Some(rows))
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
        Err(too_fast(group))
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
        Err(too_fast(group))
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

    /// The documents of a table's rows that may hold a value in a column.
    pub(crate) async fn holding(
        &self,
        build: &Arc<Build>,
        table: usize,
        wanted: &Matching,
        _: &Part,
    ) -> Result<Vec<Json>, Fault> {
        let begins = beginning(table, &wanted.tenant, &[]);
        let (mut from, to, mut all) = (begins.clone(), end_of(&begins), Vec::new());
        loop {
            let page = self.limits.request_documents_max.max(1);
            let found = self.range(&build.database, (&from, &to), page).await?.unwrap_or_default();
            let full = found.len() == page;
            let last = found.last().and_then(|last| last["_id"].as_str()).map(after);
            all.extend(found);
            match last {
                Some(last) if full => from = last,
                _ => return Ok(all),
            }
        }
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

fn too_fast(group: &Group) -> Fault {
    let message = format!("the rows of `{}` move faster than they can be read", group.label());
    Fault::transient(Code::DocumentsUnavailable, message)
}

fn too_many(schema: &Schema, walk_rows_max: usize) -> Fault {
    let message = format!(
        "the question to `{}` would look at more than {walk_rows_max} documents: fix the first columns of \
         its key",
        schema.name
    );
    Fault::permanent(Code::Unbounded, message)
}
