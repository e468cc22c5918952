//! Verification: every row of a group against a fresh fold of the log, at the same position.

use crate::Differs;
use crate::refold::Expected;
use crate::skips::Exceptions;
use diptych_core::{Fault, Position, Tenant, Value};
use diptych_query::fold::{bucket_of, row_digest};
use diptych_query::{
    BucketDigest, Feed, FoldError, Group, ModelStore, Partition, Registry, RowRef, ScannedRow, Schema,
    StoredRow,
};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// How many rows are scanned at once.
const SCAN_ROWS_MAX: usize = 5_000;

/// What verification found in one table.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// The read model.
    pub model: &'static str,
    /// The position at which rows and log were compared.
    pub position: Position,
    /// How many facts were folded afresh.
    pub facts: usize,
    /// How many rows the log says there are.
    pub rows_expected: usize,
    /// How many rows there are.
    pub rows_actual: usize,
    /// Whether the digest kept with the checkpoint is that of the rows; none when the model moved
    /// meanwhile.
    pub digest_matches: Option<bool>,
    /// Why nothing could be compared: SQL keeps the rows.
    pub unverifiable: Option<&'static str>,
    /// How many rows differ.
    pub differing_rows: usize,
    /// The first of them.
    pub differences: Vec<Difference>,
}

impl VerifyReport {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differing_rows == 0 && self.digest_matches != Some(false)
    }

    /// Adds what was found in another partition.
    fn add(&mut self, other: Self) {
        self.position = self.position.min(other.position);
        self.facts = self.facts.max(other.facts);
        self.rows_expected += other.rows_expected;
        self.rows_actual += other.rows_actual;
        self.digest_matches = match (self.digest_matches, other.digest_matches) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        self.differing_rows += other.differing_rows;
        self.differences.extend(other.differences);
    }
}

/// A row that is not what the log says.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Whose row.
    pub tenant: Tenant,
    /// Its key, one entry for each key column.
    pub key: Vec<serde_json::Value>,
    /// The column; none when the whole row is missing or extra.
    pub column: Option<&'static str>,
    /// What the log says; null for no row.
    pub expected: serde_json::Value,
    /// What stands there; null for no row.
    pub actual: serde_json::Value,
}

impl From<Difference> for Differs {
    fn from(difference: Difference) -> Self {
        let Difference { column, expected, actual, .. } = difference;
        Self { column: column.map(str::to_owned), expected, actual }
    }
}

/// Why verification could not finish.
#[derive(Debug)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no such read model.
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The log cannot be folded up to the checkpoint.
    Fold(FoldError),
    /// Infrastructure failed.
    Fault(Fault),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(out, "there is no read model `{name}`"),
            Self::Fold(error) => error.fmt(out),
            Self::Fault(fault) => fault.fmt(out),
        }
    }
}

impl std::error::Error for VerifyError {}

impl From<Fault> for VerifyError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<FoldError> for VerifyError {
    fn from(error: FoldError) -> Self {
        Self::Fold(error)
    }
}

/// Counts and compares every row of a group with a fresh fold of the log, partition by partition. The group
/// may move meanwhile: a row that seems to differ is read again with its checkpoint, and the fold is
/// taken to exactly there. Rows pass over what they were told to; keys that are held back are compared
/// as they stand.
///
/// # Errors
/// A fact that cannot be folded, or a fault.
pub async fn verify(
    feed: &dyn Feed,
    store: &dyn ModelStore,
    registry: &dyn Registry,
    group: &Arc<Group>,
    differences_max: usize,
) -> Result<Vec<VerifyReport>, VerifyError> {
    let exceptions = Exceptions::of(store, registry, group).await?;
    let mut reports: Vec<VerifyReport> = Vec::new();
    for partition in store.partitions_of(group) {
        let target = store.checkpoint_of(group, partition).await?.mark.position();
        let mut expected = Expected::of_partition(feed, group, partition, &exceptions).await?;
        expected.fold_to(feed, target).await?;
        let share = Share { partition, of_store: partition };
        let of_partition = compare_share(feed, store, group, share, &mut expected).await?;
        if reports.is_empty() {
            reports = of_partition;
        } else {
            reports.iter_mut().zip(of_partition).for_each(|(report, more)| report.add(more));
        }
    }
    reports.iter_mut().for_each(|report| report.differences.truncate(differences_max));
    Ok(reports)
}

/// Some buckets of a group's tables, which all belong to one partition of the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Which buckets, as a partition of its own.
    pub(crate) partition: Partition,
    /// The partition of the store that they belong to.
    pub(crate) of_store: Partition,
}

/// Compares the rows of a share with those that the log says there are.
pub(crate) async fn compare_share(
    feed: &dyn Feed,
    store: &dyn ModelStore,
    group: &Group,
    share: Share,
    expected: &mut Expected,
) -> Result<Vec<VerifyReport>, VerifyError> {
    let Share { partition, of_store } = share;
    let mut reports = Vec::new();
    for (table, model) in group.models().iter().enumerate() {
        let schema = model.schema();
        if model.statements().is_some() {
            reports.push(unverifiable(store, group, schema, expected.position).await?);
            continue;
        }
        let before = store.checkpoint_of(group, of_store).await?;
        let scanned = scan(store, group, schema, partition, &expected.tables[table]).await?;
        let Scanned { mut suspects, rows: rows_actual, digest } = scanned;
        let kept = store.digest(group, schema).await?;
        let own =
            |(bucket, rows, sum): &BucketDigest| partition.owns_bucket(*bucket) && (*rows, *sum) != (0, 0);
        let kept: Vec<_> = kept.into_iter().filter(own).collect();
        let after = store.checkpoint_of(group, of_store).await?;
        let still = before == after;
        let mut differing = HashSet::new();
        let mut differences = Vec::new();
        suspects.sort_by(|a, b| format!("{a:?}").cmp(&format!("{b:?}")));
        for row in suspects {
            let found = store.get(group, schema, &row).await?;
            expected.fold_to(feed, found.checkpoint.mark.position()).await?;
            let said = expected.tables[table].get(&row);
            let stands = found.rows.first();
            let columns = compare(schema, &row, said, stands);
            if !columns.is_empty() {
                differing.insert(row);
                differences.extend(columns);
            }
        }
        reports.push(VerifyReport {
            model: schema.name,
            position: expected.position,
            facts: expected.facts,
            rows_expected: expected.tables[table].len(),
            rows_actual,
            // While the group moves, the digest has no position to be compared at.
            digest_matches: still.then(|| digest == kept),
            unverifiable: None,
            differing_rows: differing.len(),
            differences,
        });
    }
    Ok(reports)
}

/// What can be said of a model whose rows SQL keeps: no fold knows what they should be.
async fn unverifiable(
    store: &dyn ModelStore,
    group: &Group,
    schema: &'static Schema,
    position: Position,
) -> Result<VerifyReport, Fault> {
    let rows = usize::try_from(store.row_count(group, schema).await?).unwrap_or(usize::MAX);
    Ok(VerifyReport {
        model: schema.name,
        position,
        facts: 0,
        rows_expected: rows,
        rows_actual: rows,
        digest_matches: None,
        unverifiable: Some("its rows are kept by SQL, so no fold can tell what they should be"),
        differing_rows: 0,
        differences: Vec::new(),
    })
}

type Digest = BTreeMap<u8, (i64, u128)>;

/// What a scan of a table found of one partition.
struct Scanned {
    /// The rows that are not as expected.
    suspects: Vec<RowRef>,
    rows: usize,
    digest: Vec<BucketDigest>,
}

async fn scan(
    store: &dyn ModelStore,
    group: &Group,
    schema: &'static Schema,
    partition: Partition,
    expected: &HashMap<RowRef, Vec<Value>>,
) -> Result<Scanned, Fault> {
    let mut suspects = Vec::new();
    let mut seen = HashSet::new();
    let mut digest = Digest::new();
    let mut after: Option<RowRef> = None;
    loop {
        let rows: Vec<ScannedRow> = store.scan(group, schema, after.as_ref(), SCAN_ROWS_MAX).await?;
        let full = rows.len() == SCAN_ROWS_MAX;
        after = rows.last().map(|row| row.row.clone());
        for StoredRow { row, values, .. } in rows {
            let bucket = bucket_of(&row.tenant, &row.key);
            if !partition.owns_bucket(bucket) {
                continue;
            }
            let values = values.unwrap_or_default();
            let (count, sum) = digest.entry(bucket).or_default();
            *count += 1;
            *sum = sum.wrapping_add(row_digest(&row.tenant, &values));
            if expected.get(&row) != Some(&values) {
                suspects.push(row.clone());
            }
            seen.insert(row);
        }
        if !full {
            break;
        }
    }
    suspects.extend(expected.keys().filter(|row| !seen.contains(*row)).cloned());
    let digest = digest.into_iter().map(|(bucket, (rows, sum))| (bucket, rows, sum)).collect();
    Ok(Scanned { suspects, rows: seen.len(), digest })
}

/// The columns in which two versions of a row differ.
pub(crate) fn compare(
    schema: &'static Schema,
    row: &RowRef,
    expected: Option<&Vec<Value>>,
    actual: Option<&Vec<Value>>,
) -> Vec<Difference> {
    let key: Vec<_> = row.key.iter().map(Value::to_json).collect();
    let difference = |column, expected: serde_json::Value, actual: serde_json::Value| Difference {
        tenant: row.tenant.clone(),
        key: key.clone(),
        column,
        expected,
        actual,
    };
    match (expected, actual) {
        (Some(expected), Some(actual)) => {
            let pairs = schema.columns.iter().zip(expected.iter().zip(actual));
            let differing = pairs.filter(|(_, (expected, actual))| expected != actual);
            differing
                .map(|(column, (expected, actual))| {
                    difference(Some(column.name), expected.to_json(), actual.to_json())
                })
                .collect()
        }
        (Some(expected), None) => vec![difference(None, whole(schema, expected), serde_json::Value::Null)],
        (None, Some(actual)) => vec![difference(None, serde_json::Value::Null, whole(schema, actual))],
        (None, None) => Vec::new(),
    }
}

fn whole(schema: &'static Schema, values: &[Value]) -> serde_json::Value {
    let pairs =
        schema.columns.iter().zip(values).map(|(column, value)| (column.public.to_owned(), value.to_json()));
    serde_json::Value::Object(pairs.collect())
}
