//! What one slice of a patrol does: counts a page, folds a row from its stream, folds a share on. What
//! it finds is told as incidents; what it remembers between slices is thrown away when the process ends.

use crate::patrol::{Pass, Phase};
use crate::projector::Followed;
use crate::recount::{PAGE_ROWS_MAX, Recount, Recounted};
use crate::refold::{Expected, Standing, hash_of, start};
use crate::skips::Exceptions;
use crate::verify::{Share, VerifyReport, compare, compare_share};
use crate::{Differs, Finding, FoundBy, INCIDENTS_MAX, Incident, Projector, RowName, Subject, TroubleError};
use diptych_core::{Fault, Position, RawFact, StreamId, StreamRef, Value, Version};
use diptych_query::fold::{BUCKETS, bucket_of};
use diptych_query::{Group, Parked, Partition, Patrol as How, RowRef, Schema, StoredRow};
use std::collections::HashMap;
use std::sync::Arc;

/// How many events of a stream are read at once.
const STREAM_EVENTS_MAX: usize = 1_000;

/// How many rows are folded from their streams in one slice.
const STREAM_ROWS_MAX: usize = 500;

/// How often a table is counted in a pass when it moves on meanwhile.
const RECOUNTS_MAX: u8 = 3;

/// A row of a table that has another hash than its columns, and that hash.
type Edited = (usize, RowRef, u64);

/// What is in memory of a pass.
#[derive(Default)]
pub(crate) struct Working {
    recount: Option<Recount>,
    /// Rows whose hash is not that of their columns.
    edited: Vec<Edited>,
    /// A share on its way, with the position up to which it is folded.
    share: Option<(Share, Expected, Position)>,
}

impl Projector {
    /// Does the next slice of a pass.
    pub(crate) async fn patrol_on(
        &self,
        followed: &Followed,
        working: &mut Working,
        pass: &mut Pass,
    ) -> Result<Vec<Incident>, TroubleError> {
        match pass.phase.clone() {
            Phase::Recount { table, moved } => self.recount(followed, working, pass, (table, moved)).await,
            Phase::Streams { table, after } => self.refold_streams(followed, pass, table, after).await,
            Phase::Shares { next, of } => {
                let share = share(followed, next, of);
                let Some(found) = self.refold_share(followed, working, pass, share).await? else {
                    return Ok(Vec::new());
                };
                pass.phase =
                    if next + 1 < of { Phase::Shares { next: next + 1, of } } else { Phase::Suspects };
                Ok(found)
            }
            Phase::Suspects => {
                let Some((_, bucket)) = pass.suspects.first().copied() else { return Ok(Vec::new()) };
                let share = smallest_share(followed, bucket);
                let Some(found) = self.refold_share(followed, working, pass, share).await? else {
                    return Ok(Vec::new());
                };
                Ok(found)
            }
        }
    }

    /// Counts a page of a table; at its end, notes which buckets do not add up and which rows were edited.
    async fn recount(
        &self,
        followed: &Followed,
        working: &mut Working,
        pass: &mut Pass,
        (table, moved): (usize, u8),
    ) -> Result<Vec<Incident>, TroubleError> {
        let group = &followed.group;
        let Some(model) = group.models().get(table) else {
            pass.phase = self.first_fold(followed).await?;
            return Ok(Vec::new());
        };
        if model.statements().is_some() {
            pass.phase = Phase::Recount { table: table + 1, moved: 0 };
            return Ok(Vec::new());
        }
        let store = &*self.parts.store;
        let partitions = store.partitions_of(group);
        let recount = working.recount.get_or_insert_default();
        if recount.page(store, group, model.schema(), &partitions).await? {
            return Ok(Vec::new());
        }
        let recount = working.recount.take().unwrap_or_default();
        if recount.has_moved() && moved + 1 < RECOUNTS_MAX {
            pass.phase = Phase::Recount { table, moved: moved + 1 };
            return Ok(Vec::new());
        }
        if recount.has_moved() {
            pass.uncounted.push(model.schema().name.to_owned());
        }
        pass.phase = Phase::Recount { table: table + 1, moved: 0 };
        pass.suspects.extend(recount.differing(&partitions).iter().map(|wrong| (table, wrong.bucket)));
        for (row, hash) in recount.edited.into_iter().take(INCIDENTS_MAX) {
            pass.suspects.push((table, bucket_of(&row.tenant, &row.key)));
            working.edited.push((table, row, hash));
        }
        pass.suspects.sort_unstable();
        pass.suspects.dedup();
        Ok(Vec::new())
    }

    /// How the rows of a group are compared with the log: from their streams where all of them can be,
    /// or share by share.
    async fn first_fold(&self, followed: &Followed) -> Result<Phase, TroubleError> {
        let group = &followed.group;
        if group.models().iter().all(|model| by_stream(model.schema())) {
            return Ok(Phase::Streams { table: 0, after: None });
        }
        let partitions = followed.parts.len().max(1);
        let looks_up = group.models().iter().any(|model| !model.schema().reads.is_empty());
        if looks_up {
            // Rows that are looked up may be anywhere.
            return Ok(Phase::Shares { next: 0, of: u8::try_from(partitions).unwrap_or(u8::MAX) });
        }
        let mut rows = 0;
        for model in group.models() {
            rows += self.parts.store.row_count(group, model.schema()).await?;
        }
        let rows_max = (self.parts.limits.patrol_rows_max as u64).max(1);
        let wanted = usize::try_from(rows.div_ceil(rows_max)).unwrap_or(usize::MAX).max(1);
        let times = wanted.div_ceil(partitions).min(usize::from(BUCKETS) / partitions).max(1);
        Ok(Phase::Shares { next: 0, of: u8::try_from(partitions * times).unwrap_or(BUCKETS) })
    }

    /// Folds a share on by a slice. Answers what differs once it is folded to where its partition stands.
    async fn refold_share(
        &self,
        followed: &Followed,
        working: &mut Working,
        pass: &mut Pass,
        share: Share,
    ) -> Result<Option<Vec<Incident>>, TroubleError> {
        let (feed, store, group) = (&*self.parts.feed, &*self.parts.store, &followed.group);
        let (mut expected, target) = match working.share.take() {
            Some((held, expected, target)) if held == share => (expected, target),
            _ => {
                let exceptions = Exceptions::of(store, &*self.parts.registry, group).await?;
                let expected = Expected::of_partition(feed, group, share.partition, &exceptions).await?;
                (expected, store.checkpoint_of(group, share.of_store).await?.mark.position())
            }
        };
        let positions_max = self.parts.limits.patrol_events_per_second;
        if expected.fold_some(feed, target, positions_max).await? {
            working.share = Some((share, expected, target));
            return Ok(None);
        }
        // What has come meanwhile, and then the rows with it.
        let target = store.checkpoint_of(group, share.of_store).await?.mark.position();
        expected.fold_to(feed, target).await?;
        let reports = compare_share(feed, store, group, share, &mut expected).await?;
        let parked = store.parked(group).await?;
        let mut found = Vec::new();
        for (table, report) in reports.iter().enumerate() {
            pass.rows += report.rows_actual as u64;
            pass.lowest = Some(pass.lowest.map_or(report.position, |lowest| lowest.min(report.position)));
            let compared = Compared { table, share, report, expected: &expected.tables[table] };
            found.extend(self.report_share(followed, &working.edited, pass, &parked, compared).await?);
        }
        pass.suspects.retain(|(_, bucket)| !share.partition.owns_bucket(*bucket));
        working.edited.retain(|(_, row, _)| !share.partition.owns(&row.tenant, &row.key));
        Ok(Some(found))
    }

    /// Records what differs in a table: its rows, their hashes, and the digest of buckets whose rows do
    /// not.
    async fn report_share(
        &self,
        followed: &Followed,
        edited: &[Edited],
        pass: &Pass,
        parked: &[Parked],
        compared: Compared<'_>,
    ) -> Result<Vec<Incident>, TroubleError> {
        let Compared { table, share, report, expected } = compared;
        let mut rows = by_row(report);
        // What is held back is not where the log is.
        rows.retain(|(name, _)| parked.iter().all(|parked| RowName::of_parked(parked) != *name));
        for (_, row, hash) in edited.iter().filter(|(held, ..)| *held == table) {
            let name = RowName::of(report.model, row);
            let values = expected.get(row).filter(|_| share.partition.owns(&row.tenant, &row.key));
            if let Some(values) = values.filter(|_| rows.iter().all(|(held, _)| *held != name)) {
                // Its columns are right: it is the hash that somebody wrote.
                let (expected, actual) = (hash_of(row, values), *hash);
                let told = |hash: u64| format!("{hash:016x}").into();
                let column = Some("(hash)".to_owned());
                rows.push((name, vec![Differs { column, expected: told(expected), actual: told(actual) }]));
            }
        }
        let mut found = Vec::new();
        let mut explained = Vec::new();
        for (name, differences) in rows.into_iter().take(INCIDENTS_MAX) {
            explained.extend(name.resolve(&followed.group).map(|(_, row)| bucket_of(&row.tenant, &row.key)));
            found.push(self.report(followed, Subject::Row(name), differences, report.position).await?);
        }
        let suspect = |(held, bucket): &(usize, u8)| *held == table && share.partition.owns_bucket(*bucket);
        if report.digest_matches == Some(false) || pass.suspects.iter().any(suspect) {
            for wrong in self.recounted(followed, table).await? {
                if !share.partition.owns_bucket(wrong.bucket) || explained.contains(&wrong.bucket) {
                    continue;
                }
                let subject = Subject::Digest { model: report.model.to_owned(), bucket: wrong.bucket };
                let (expected, actual) = (Recounted::told(wrong.counted), Recounted::told(wrong.kept));
                let differences = vec![Differs { column: None, expected, actual }];
                found.push(self.report(followed, subject, differences, report.position).await?);
            }
        }
        Ok(found)
    }

    /// The buckets of a table that do not add up.
    async fn recounted(&self, followed: &Followed, table: usize) -> Result<Vec<Recounted>, TroubleError> {
        let (store, group) = (&*self.parts.store, &followed.group);
        let partitions = store.partitions_of(group);
        let mut recount = Recount::default();
        while recount.page(store, group, group.models()[table].schema(), &partitions).await? {}
        Ok(recount.differing(&partitions))
    }

    /// Folds some rows of a table again from their streams.
    async fn refold_streams(
        &self,
        followed: &Followed,
        pass: &mut Pass,
        table: usize,
        after: Option<RowName>,
    ) -> Result<Vec<Incident>, TroubleError> {
        let (store, group) = (&*self.parts.store, &followed.group);
        let Some(model) = group.models().get(table) else {
            pass.phase = Phase::Suspects;
            return Ok(Vec::new());
        };
        let after = after.as_ref().and_then(|after| after.resolve(group)).map(|(_, row)| row);
        let rows_max = STREAM_ROWS_MAX.min(PAGE_ROWS_MAX).min(self.parts.limits.patrol_rows_max.max(1));
        let rows = store.scan(group, model.schema(), after.as_ref(), rows_max).await?;
        let full = rows.len() == rows_max;
        let last = rows.last().map(|row| RowName::of(model.schema().name, &row.row));
        let mut found = Vec::new();
        for StoredRow { row, .. } in rows {
            let compared = self.compare_stream(followed, table, &row).await?;
            let Some((position, differences)) = compared else { continue };
            pass.rows += 1;
            pass.lowest = Some(pass.lowest.map_or(position, |lowest| lowest.min(position)));
            if !differences.is_empty() {
                let subject = Subject::Row(RowName::of(model.schema().name, &row));
                found.push(self.report(followed, subject, differences, position).await?);
            }
        }
        pass.phase = match last {
            Some(last) if full => Phase::Streams { table, after: Some(last) },
            _ => Phase::Streams { table: table + 1, after: None },
        };
        Ok(found)
    }

    /// Compares a row with a fold of the stream that it comes from, exactly where its partition stands.
    /// Answers nothing of a row that is held back, and of one that has gone.
    async fn compare_stream(
        &self,
        followed: &Followed,
        table: usize,
        row: &RowRef,
    ) -> Result<Option<(Position, Vec<Differs>)>, TroubleError> {
        let (feed, store, group) = (&*self.parts.feed, &*self.parts.store, &followed.group);
        let schema = group.models()[table].schema();
        let exceptions = Exceptions::of(store, &*self.parts.registry, group).await?;
        if exceptions.held_from(table, row).is_some() {
            return Ok(None);
        }
        let found = store.get(group, schema, row).await?;
        let through = found.checkpoint.mark;
        let facts = self.stream_of(group, table, row, through.position()).await?;
        let mut standing = Standing { table, row: row.clone(), values: None };
        let range = (start(feed).await?, through);
        if standing.take(group, &facts, range, &exceptions)?.is_some() {
            // It has just been parked, or code that could take the fact has moved the model.
            return Ok(None);
        }
        let differences = compare(schema, row, standing.values.as_ref(), found.rows.first());
        Ok(Some((through.position(), differences.into_iter().map(Into::into).collect())))
    }

    /// The facts of the stream that a row comes from, up to a position.
    async fn stream_of(
        &self,
        group: &Group,
        table: usize,
        row: &RowRef,
        through: Position,
    ) -> Result<Vec<Arc<RawFact>>, TroubleError> {
        let mut all: Vec<Arc<RawFact>> = Vec::new();
        let key = match row.key.first() {
            Some(Value::Text(text)) => text.clone(),
            other => other.map(|value| value.to_json().to_string()).unwrap_or_default(),
        };
        for category in group.models()[table].categories() {
            // A key that no stream can have was made by hand.
            let Ok(id) = StreamId::new(category, &key) else { continue };
            let stream = StreamRef { tenant: row.tenant.clone(), stream: id };
            let mut after = Version::NONE;
            loop {
                let facts = self.parts.feed.stream(&stream, after, STREAM_EVENTS_MAX).await?;
                let full = facts.len() == STREAM_EVENTS_MAX;
                let within = facts.len();
                all.extend(facts.into_iter().filter(|fact| fact.position <= through));
                after = after.plus(within);
                if !full {
                    break;
                }
            }
        }
        all.sort_by_key(|fact| fact.position);
        Ok(all)
    }

    async fn report(
        &self,
        followed: &Followed,
        subject: Subject,
        differences: Vec<Differs>,
        position: Position,
    ) -> Result<Incident, Fault> {
        let finding = Finding { subject, differences, position, found_by: FoundBy::Patrol };
        self.kept_incidents().report(followed.group.name(), finding).await
    }
}

/// What became of the comparison of a share of a table.
#[derive(Clone, Copy)]
struct Compared<'a> {
    table: usize,
    share: Share,
    report: &'a VerifyReport,
    expected: &'a HashMap<RowRef, Vec<Value>>,
}

/// The differences of a table, row by row.
fn by_row(report: &VerifyReport) -> Vec<(RowName, Vec<Differs>)> {
    let mut rows: Vec<(RowName, Vec<Differs>)> = Vec::new();
    for difference in &report.differences {
        let (tenant, key) = (difference.tenant.clone(), difference.key.clone());
        let name = RowName { model: report.model.to_owned(), tenant, key };
        match rows.last_mut().filter(|(held, _)| *held == name) {
            Some((_, differs)) => differs.push(difference.clone().into()),
            None => rows.push((name, vec![difference.clone().into()])),
        }
    }
    rows
}

/// Whether every row of a table comes from the stream whose key is its own.
fn by_stream(schema: &'static Schema) -> bool {
    schema.upkeep.patrol == How::ByStream && schema.key.len() == 1 && schema.reads.is_empty()
}

/// A share by its number. Into how many the rows are split is a multiple of the partitions, so that each
/// share belongs to one.
fn share(followed: &Followed, index: u8, of: u8) -> Share {
    let partition = Partition::all(of).nth(usize::from(index)).unwrap_or(Partition::WHOLE);
    let mut of_store = followed.parts.iter().map(|part| part.partition);
    let of_store = of_store.find(|held| held.owns_bucket(index)).unwrap_or(Partition::WHOLE);
    Share { partition, of_store }
}

/// The smallest share with a bucket.
fn smallest_share(followed: &Followed, bucket: u8) -> Share {
    let looks_up = followed.group.models().iter().any(|model| !model.schema().reads.is_empty());
    let partitions = u8::try_from(followed.parts.len()).unwrap_or(BUCKETS).max(1);
    let of = if looks_up { partitions } else { BUCKETS / partitions * partitions };
    share(followed, bucket % of, of)
}
