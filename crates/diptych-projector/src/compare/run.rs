//! The comparison itself, slice by slice. The build that answers is only read; the new one, which nobody else
//! moves, is brought to exactly where the other stood.

use super::newer::Newer;
use super::refold::Refold;
use super::rows::{LeftOut, Named, common_end, compare_page};
use super::sides::{Pair, Sides};
use super::{CompareReport, QuestionDifference, QuestionsCompared, Refolded, TableCompared};
use crate::shadow::{Followed, Shadow};
use crate::skips::Exceptions;
use diptych_core::{Fault, Position, Timestamp, Value};
use diptych_query::{
    AdvanceError, BucketDigest, Checkpoint, Feed, Operator, RawFind, RowRef, Schema, TableSnapshot,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many rows of each side are read at once.
const PAGE_ROWS_MAX: usize = 2_000;

/// How often a question is tried again when the build that answers moved meanwhile.
const QUESTION_ATTEMPTS_MAX: usize = 5;

/// How long a question may take.
const QUESTION_MAX: Duration = Duration::from_secs(30);

/// After how many slices that find the new build further than the old one it is taken to stay so.
const AHEAD_AFTER: u32 = 3;

/// How many slices in a row may find no position that both builds can stand at.
const MEETINGS_MISSED_MAX: u32 = 300;

/// A comparison under way.
pub(crate) struct Comparison {
    sides: Sides,
    feed: Arc<dyn Feed>,
    questions: Vec<(&'static Schema, RawFind)>,
    phase: Phase,
    /// Slices in a row that could not be done.
    missed: u32,
    left_out: Vec<LeftOut>,
    named: Named,
    newer: Newer,
    /// What an earlier comparison has found of keys folded afresh.
    refolded: Option<Refolded>,
    report: CompareReport,
}

enum Phase {
    /// The digests of a table.
    Digests(usize),
    /// The rows of a table, after one.
    Rows(usize, Option<RowRef>),
    /// The questions from one on.
    Questions(usize),
    /// Whether and what to fold afresh.
    Sample,
    /// Keys are folded afresh.
    Refold(Box<Refold>),
}

/// What a slice of a comparison did.
pub(crate) enum Compared {
    /// More is to be done.
    Further,
    /// The builds could not be brought to one position; it is worth trying again later.
    NotNow,
    /// It is over.
    Over(Box<CompareReport>),
    /// A fact stopped the new build.
    Stopped(String),
}

/// Where the new build was brought.
enum Meeting {
    At(Vec<Position>),
    /// It stands further already.
    Ahead,
    NotNow,
    Stopped(String),
}

impl Comparison {
    pub(crate) fn new(
        sides: Sides,
        feed: Arc<dyn Feed>,
        questions: Vec<(&'static Schema, RawFind)>,
        differences_max: usize,
        at: Timestamp,
        refolded: Option<Refolded>,
    ) -> Self {
        let tables = sides.tables.iter().map(|pair| TableCompared {
            table: pair.new.name.to_owned(),
            columns_added: pair.added.clone(),
            columns_removed: pair.removed.clone(),
            uncomparable: pair.uncomparable.clone(),
            ..TableCompared::default()
        });
        let report = CompareReport {
            group: sides.new.name().to_owned(),
            from: sides.from,
            to: sides.to,
            at,
            seconds: 0.0,
            tables: tables.collect(),
            questions: QuestionsCompared::default(),
            refolded: Refolded::default(),
            differences: Vec::new(),
        };
        let left_out = sides.tables.iter().map(|_| LeftOut::default()).collect();
        let named = Named::at_most(differences_max);
        let phase = Phase::Digests(0);
        let newer = Newer::default();
        Self { sides, feed, questions, phase, missed: 0, left_out, named, newer, refolded, report }
    }

    /// Does one bounded piece of the comparison.
    pub(crate) async fn slice(
        &mut self,
        shadow: &mut Shadow,
        now: Timestamp,
    ) -> Result<Compared, AdvanceError> {
        let phase = std::mem::replace(&mut self.phase, Phase::Sample);
        let compared = match phase {
            Phase::Digests(table) => self.digests(table, shadow).await?,
            Phase::Rows(table, after) => self.rows(table, after, shadow).await?,
            Phase::Questions(number) => self.question(number, shadow).await?,
            Phase::Sample => self.sample(shadow).await?,
            Phase::Refold(refold) => self.refold(refold).await?,
        };
        match compared {
            Compared::NotNow => self.missed += 1,
            // Once found to be further, it stays so.
            _ if self.missed >= AHEAD_AFTER => {}
            _ => self.missed = 0,
        }
        if self.missed > MEETINGS_MISSED_MAX {
            for table in self.report.tables.iter_mut().filter(|table| table.uncomparable.is_none()) {
                table.uncomparable = Some("no position was found that both builds stood at".to_owned());
            }
            return Ok(self.over(now));
        }
        Ok(if matches!(compared, Compared::Over(_)) { self.over(now) } else { compared })
    }

    fn over(&mut self, now: Timestamp) -> Compared {
        let mut report = self.report.clone();
        report.seconds = now.seconds_since(report.at);
        report.differences = self.named.take();
        Compared::Over(Box::new(report))
    }

    fn after_table(&mut self, table: usize) -> Compared {
        let more = table + 1 < self.sides.tables.len();
        self.phase = if more { Phase::Digests(table + 1) } else { Phase::Questions(0) };
        Compared::Further
    }

    /// Rows and digests of one table on both sides.
    async fn digests(&mut self, table: usize, shadow: &mut Shadow) -> Result<Compared, AdvanceError> {
        let Some(pair) = self.sides.tables.get(table) else {
            self.phase = Phase::Questions(0);
            return Ok(Compared::Further);
        };
        if pair.uncomparable.is_some() || self.report.tables[table].uncomparable.is_some() {
            return Ok(self.after_table(table));
        }
        self.leave_out_parked(table).await?;
        if !self.sides.tables[table].by_digest {
            self.phase = Phase::Rows(table, None);
            return Ok(Compared::Further);
        }
        let (old, new, at) = match self.both(table, None, 0, shadow).await? {
            Ok(both) => both,
            Err(not) => {
                self.phase = Phase::Digests(table);
                return Ok(not);
            }
        };
        let (before, after) = (by_bucket(&old.digest), by_bucket(&new.digest));
        let buckets = before.keys().chain(after.keys().filter(|bucket| !before.contains_key(*bucket)));
        let differing = buckets.filter(|bucket| before.get(*bucket) != after.get(*bucket)).count();
        let rows = |digest: &BTreeMap<u8, (i64, u128)>| {
            u64::try_from(digest.values().map(|(rows, _)| rows).sum::<i64>()).unwrap_or(0)
        };
        let told = &mut self.report.tables[table];
        (told.rows_before, told.rows_after) = (rows(&before), rows(&after));
        told.position = lowest(&at);
        told.buckets_differing = Some(u32::try_from(differing).unwrap_or(u32::MAX));
        if differing == 0 {
            return Ok(self.after_table(table));
        }
        self.phase = Phase::Rows(table, None);
        Ok(Compared::Further)
    }

    /// A page of rows of one table on both sides.
    async fn rows(
        &mut self,
        table: usize,
        after: Option<RowRef>,
        shadow: &mut Shadow,
    ) -> Result<Compared, AdvanceError> {
        if self.report.tables[table].uncomparable.is_some() {
            return Ok(self.after_table(table));
        }
        let (old, new, at) = match self.both(table, after.as_ref(), PAGE_ROWS_MAX, shadow).await? {
            Ok(both) => both,
            Err(not) => {
                self.phase = Phase::Rows(table, after);
                return Ok(not);
            }
        };
        let goes_on = |side: &TableSnapshot| side.rows.len() == PAGE_ROWS_MAX;
        let end = common_end(&old.rows, &new.rows, goes_on(&old), goes_on(&new));
        let (pair, told) = (&self.sides.tables[table], &mut self.report.tables[table]);
        if !pair.by_digest {
            let within = |row: &&diptych_query::ScannedRow| {
                end.as_ref().is_none_or(|end| row.row.table_cmp(end).is_le())
            };
            told.rows_before += old.rows.iter().filter(within).count() as u64;
            told.rows_after += new.rows.iter().filter(within).count() as u64;
        }
        told.position = lowest(&at);
        let left_out = &self.left_out[table];
        compare_page(pair, &old.rows, &new.rows, end.as_ref(), left_out, told, &mut self.named);
        if end.is_none() {
            return Ok(self.after_table(table));
        }
        self.phase = Phase::Rows(table, end);
        Ok(Compared::Further)
    }

    /// A page of a table as both builds have it at one position, with that position.
    async fn both(
        &mut self,
        table: usize,
        after: Option<&RowRef>,
        rows_max: usize,
        shadow: &mut Shadow,
    ) -> Result<Result<(TableSnapshot, TableSnapshot, Vec<Position>), Compared>, AdvanceError> {
        let Sides { store, old, new, tables, .. } = &self.sides;
        let Pair { old: old_schema, new: new_schema, .. } = &tables[table];
        let before = store.snapshot(old, old_schema, after, rows_max).await?;
        let at = match meet(shadow, &before.checkpoints).await? {
            Meeting::At(at) => at,
            Meeting::Ahead
                if self.missed >= AHEAD_AFTER && self.sides.from.revision != self.sides.to.revision =>
            {
                return self.ahead(table, before, after, rows_max).await;
            }
            Meeting::Ahead | Meeting::NotNow => return Ok(Err(Compared::NotNow)),
            Meeting::Stopped(reason) => return Ok(Err(Compared::Stopped(reason))),
        };
        let now = store.snapshot(new, new_schema, after, rows_max).await?;
        if positions(&now.checkpoints) != at {
            shadow.forget();
            return Ok(Err(Compared::NotNow));
        }
        Ok(Ok((before, now, at)))
    }

    /// A page of a table, where the new build stands further than the old one ever will: rows that newer facts
    /// name are left out.
    async fn ahead(
        &mut self,
        table: usize,
        before: TableSnapshot,
        after: Option<&RowRef>,
        rows_max: usize,
    ) -> Result<Result<(TableSnapshot, TableSnapshot, Vec<Position>), Compared>, AdvanceError> {
        let Sides { store, new, tables, .. } = &self.sides;
        let schema = tables[table].new;
        let now = store.snapshot(new, schema, after, rows_max).await?;
        let (old_at, new_at) = (positions(&before.checkpoints), positions(&now.checkpoints));
        let through = new_at.iter().max().copied().unwrap_or(Position::START);
        if let Err(why) = self.newer.read(new, &*self.feed, lowest(&old_at), through).await? {
            self.report.tables[table].uncomparable = Some(why);
            return Ok(Err(Compared::Further));
        }
        let index = new.models().iter().position(|model| model.schema().name == schema.name);
        self.left_out[table].newer = self.newer.of(index.unwrap_or(table));
        Ok(Ok((before, now, old_at)))
    }

    async fn leave_out_parked(&mut self, table: usize) -> Result<(), Fault> {
        let Sides { store, old, new, tables, .. } = &self.sides;
        if !new.may_park() {
            return Ok(());
        }
        let name = tables[table].new.name;
        for group in [old, new] {
            let parked = store.parked(group).await?;
            let own = parked.into_iter().filter(|parked| parked.model == name);
            self.left_out[table].parked.extend(own.map(|parked| parked.row));
        }
        Ok(())
    }

    /// One question, asked of both builds at one position.
    async fn question(&mut self, number: usize, shadow: &mut Shadow) -> Result<Compared, AdvanceError> {
        let Some((schema, find)) = self.questions.get(number).cloned() else {
            self.phase = Phase::Sample;
            return Ok(Compared::Further);
        };
        self.phase = Phase::Questions(number + 1);
        let pair = self.sides.tables.iter().find(|pair| pair.new.name == schema.name);
        let asked = pair.filter(|pair| pair.uncomparable.is_none() && pair.intended.same_rows());
        let Some((pair, of_old)) = asked.and_then(|pair| Some((pair, pair.asked_of_old(&find)?))) else {
            self.report.questions.left_out += 1;
            return Ok(Compared::Further);
        };
        let held_back = self.left_out.iter().any(|left_out| !left_out.parked.is_empty());
        let answers = if held_back { None } else { self.answers(pair, &of_old, &find, shadow).await? };
        let Some((before, after)) = answers else {
            self.report.questions.left_out += 1;
            return Ok(Compared::Further);
        };
        self.report.questions.asked += 1;
        let same = |(before, after): (&Vec<Value>, &Vec<Value>)| {
            pair.differing(before, after).all(|(.., declared)| declared)
        };
        let first = before.iter().zip(&after).position(|pair| !same(pair));
        let first = first.or((before.len() != after.len()).then(|| before.len().min(after.len())));
        if let Some(row) = first {
            self.report.questions.undeclared += 1;
            let shown = |schema: &Schema, rows: &[Vec<Value>]| {
                rows.get(row).map_or(serde_json::Value::Null, |values| super::sides::whole(schema, values))
            };
            let (before, after) = (shown(pair.old, &before), shown(pair.new, &after));
            let (table, question) = (schema.name.to_owned(), in_words(schema, &find));
            let difference = QuestionDifference { table, question, row: row as u64, before, after };
            self.report.questions.differing.push(difference);
        }
        Ok(Compared::Further)
    }

    /// The answers of both builds, if the one that answers stands still for long enough.
    async fn answers(
        &self,
        pair: &Pair,
        of_old: &RawFind,
        find: &RawFind,
        shadow: &mut Shadow,
    ) -> Result<Option<(Vec<Vec<Value>>, Vec<Vec<Value>>)>, AdvanceError> {
        let Sides { store, old, new, .. } = &self.sides;
        for _ in 0..QUESTION_ATTEMPTS_MAX {
            let at = store.snapshot(old, pair.old, None, 0).await?.checkpoints;
            let before = store.find(old, pair.old, of_old, QUESTION_MAX).await?.rows;
            let still = store.snapshot(old, pair.old, None, 0).await?.checkpoints;
            if positions(&at) != positions(&still) {
                continue;
            }
            let Meeting::At(_) = meet(shadow, &at).await? else { continue };
            let after = store.find(new, pair.new, find, QUESTION_MAX).await?.rows;
            return Ok(Some((before, after)));
        }
        Ok(None)
    }

    async fn sample(&mut self, shadow: &mut Shadow) -> Result<Compared, AdvanceError> {
        if let Some(refolded) = self.refolded.take() {
            self.report.refolded = refolded;
            return Ok(Compared::Over(Box::new(self.report.clone())));
        }
        let start = self.feed.mark(Position::START).await?;
        let begun = match start {
            Some(start) => {
                let Sides { store, registry, new, .. } = &self.sides;
                let exceptions = Exceptions::of(&**store, &**registry, new).await?;
                let bucket = Refold::bucket(&self.sides).await?;
                Refold::begin(&self.sides, bucket, &shadow.positions(), start, &exceptions)
            }
            None => Err("the log has no start"),
        };
        match begun {
            Ok(refold) => {
                self.phase = Phase::Refold(Box::new(refold));
                Ok(Compared::Further)
            }
            Err(why) => {
                self.report.refolded.left_out = Some(why.to_owned());
                Ok(Compared::Over(Box::new(self.report.clone())))
            }
        }
    }

    async fn refold(&mut self, mut refold: Box<Refold>) -> Result<Compared, AdvanceError> {
        if !refold.slice(&self.sides, &*self.feed).await? {
            self.phase = Phase::Refold(refold);
            return Ok(Compared::Further);
        }
        self.report.refolded = refold.finish(&self.sides, &self.left_out, &mut self.named).await?;
        Ok(Compared::Over(Box::new(self.report.clone())))
    }
}

/// Brings the new build to exactly where the old one stood.
async fn meet(shadow: &mut Shadow, old: &[Checkpoint]) -> Result<Meeting, Fault> {
    let mut targets = positions(old);
    let parts = shadow.positions().len();
    if targets.len() != parts {
        // Split otherwise: a position that all of the old partitions stand at is one that all new ones can.
        let first = targets.first().copied().unwrap_or(Position::START);
        if targets.iter().any(|target| *target != first) {
            return Ok(Meeting::NotNow);
        }
        targets = vec![first; parts];
    }
    loop {
        match shadow.step(Some(&targets)).await {
            Followed::Moved => {}
            Followed::There => break,
            Followed::NotNow => {
                shadow.hold().await?;
                return Ok(Meeting::NotNow);
            }
            Followed::Stopped(reason) => return Ok(Meeting::Stopped(reason)),
        }
    }
    let now = shadow.positions();
    let ahead = now.iter().zip(&targets).any(|(position, target)| position > target);
    Ok(match now == targets {
        true => Meeting::At(targets),
        false if ahead => Meeting::Ahead,
        false => Meeting::NotNow,
    })
}

fn positions(checkpoints: &[Checkpoint]) -> Vec<Position> {
    checkpoints.iter().map(|checkpoint| checkpoint.mark.position()).collect()
}

fn lowest(positions: &[Position]) -> Position {
    positions.iter().min().copied().unwrap_or(Position::START)
}

/// Buckets by number, without empty ones.
fn by_bucket(digest: &[BucketDigest]) -> BTreeMap<u8, (i64, u128)> {
    let buckets = digest.iter().filter(|(_, rows, sum)| (*rows, *sum) != (0, 0));
    buckets.map(|(bucket, rows, sum)| (*bucket, (*rows, *sum))).collect()
}

/// A question as a person would put it.
fn in_words(schema: &Schema, find: &RawFind) -> String {
    let name = |column: usize| schema.columns.get(column).map_or("?", |column| column.name);
    let mut words: Vec<String> = Vec::new();
    for condition in &find.conditions {
        let operator = match condition.operator {
            Operator::Equal => "=",
            Operator::Less => "<",
            Operator::AtMost => "<=",
            Operator::Greater => ">",
            Operator::AtLeast => ">=",
        };
        let values: Vec<_> = condition.values.iter().map(|value| value.to_json().to_string()).collect();
        words.push(format!("{} {operator} {}", name(condition.column), values.join(" or ")));
    }
    let mut question =
        if words.is_empty() { "all".to_owned() } else { format!("where {}", words.join(" and ")) };
    if let Some((column, direction)) = find.sort {
        question.push_str(&format!(" by {} {direction:?}", name(column)).to_lowercase());
    }
    if find.after.is_some() {
        question.push_str(", a later page");
    }
    question
}
