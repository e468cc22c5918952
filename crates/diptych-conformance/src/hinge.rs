//! What cases about the hinge are written with: a projector over a store, and rows changed behind its back.

use crate::drive::{MAIN, tenant};
use crate::{Failure, Outcome, Stores};
use diptych_core::{Actor, Clock, Portable, Value};
use diptych_projector::{
    DrainError, Drained, Projector, ProjectorLimits, ProjectorParts, RowName, TroubleError, VerifyError,
};
use diptych_query::fold::{bucket_of, row_digest};
use diptych_query::{
    Changed, Group, Mend, Order, Partition, RowChange, RowRef, StoredRow, TableChanges, WorkerId,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

impl From<TroubleError> for Failure {
    #[track_caller]
    fn from(error: TroubleError) -> Self {
        Self::new(format!("unexpected: {error:?}"))
    }
}

impl From<VerifyError> for Failure {
    #[track_caller]
    fn from(error: VerifyError) -> Self {
        Self::new(format!("unexpected: {error:?}"))
    }
}

impl From<DrainError> for Failure {
    #[track_caller]
    fn from(error: DrainError) -> Self {
        Self::new(format!("unexpected: {error:?}"))
    }
}

/// Limits with short pauses.
pub(crate) fn limits() -> ProjectorLimits {
    ProjectorLimits {
        fold_retries_max: 1,
        retry_pause_min: Duration::from_micros(10),
        retry_pause_max: Duration::from_micros(100),
        ..ProjectorLimits::default()
    }
}

/// A process that moves a group, attached, when it is told to.
pub(crate) async fn process(stores: &Stores, group: &Arc<Group>) -> Outcome<Projector> {
    process_within(stores, group, limits()).await
}

pub(crate) async fn process_within(
    stores: &Stores,
    group: &Arc<Group>,
    limits: ProjectorLimits,
) -> Outcome<Projector> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    stores.models.attach(group).await?;
    let worker = WorkerId::new(format!("case:{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    let clock: Arc<dyn Clock> = Arc::<diptych_memory::ManualClock>::clone(&stores.clock);
    Ok(Projector::new(ProjectorParts {
        worker,
        feed: Arc::clone(&stores.feed),
        store: Arc::clone(&stores.models),
        registry: Arc::clone(&stores.registry),
        clock,
        progress: Arc::clone(&stores.progress),
        groups: vec![Arc::clone(group)],
        limits,
    }))
}

/// Folds everything.
pub(crate) async fn drain(projector: &Projector, group: &Group) -> Outcome<Drained> {
    Ok(projector.drain(group.name()).await?)
}

/// An order with a reason.
pub(crate) fn order(reason: &str) -> Outcome<Order> {
    Ok(Order { actor: Actor::new("eve")?, reason: reason.to_owned() })
}

/// The row of a text key in the main tenant.
pub(crate) fn row(key: &str) -> Outcome<RowRef> {
    Ok(RowRef { tenant: tenant(MAIN)?, key: vec![key.to_owned().to_value()] })
}

/// Its name.
pub(crate) fn name(group: &Group, key: &str) -> Outcome<RowName> {
    Ok(RowName::of(group.models()[0].schema().name, &row(key)?))
}

/// What somebody does to a table by hand.
pub(crate) enum Tamper {
    /// Writes a value into a column; the row's own hash stays.
    Column(usize, Value),
    /// The same, and makes the hash fit.
    ColumnAndHash(usize, Value),
    /// Removes the row.
    Delete,
    /// Puts a row there.
    Add(Vec<Value>),
    /// Changes the digest of the row's bucket, and no row.
    Digest,
    /// Changes the hash of the row, and no column.
    Hash,
}

/// Changes a row of a text key behind the projection's back.
pub(crate) async fn tamper(stores: &Stores, group: &Group, key: &str, tamper: Tamper) -> Outcome {
    let (row, schema) = (row(key)?, group.models()[0].schema());
    let found = stores.models.get(group, schema, &row).await?;
    let held = found.rows.into_iter().next();
    let hash = |values: &[Value]| row_digest(&row.tenant, values) as u64;
    let before = held.as_deref().map_or(0, hash);
    let existed = held.is_some();
    let mut changes = TableChanges::default();
    let stored = match (tamper, held) {
        (Tamper::Digest, _) => {
            changes.digest.push((bucket_of(&row.tenant, &row.key), 0, 4_711));
            None
        }
        (Tamper::Column(column, value), Some(mut values)) => {
            values[column] = value;
            Some((Some(values), before))
        }
        (Tamper::ColumnAndHash(column, value), Some(mut values)) => {
            values[column] = value;
            let after = hash(&values);
            Some((Some(values), after))
        }
        (Tamper::Delete, Some(_)) => Some((None, 0)),
        (Tamper::Hash, Some(values)) => Some((Some(values), before ^ 1)),
        (Tamper::Add(values), None) => {
            let after = hash(&values);
            Some((Some(values), after))
        }
        _ => return Err(Failure::new(format!("there is no such row to change: {row:?}"))),
    };
    let partition = stores.models.partitions_of(group).into_iter();
    let mut partition = partition.filter(|partition| partition.owns(&row.tenant, &row.key));
    let partition = partition.next().unwrap_or(Partition::WHOLE);
    let guard = stores.models.checkpoint_of(group, partition).await?.mark.position();
    if let Some((values, hash)) = stored {
        let stored = StoredRow { row, values, guard, hash };
        changes.rows.push(RowChange { stored, existed, changed: Changed::ALL });
    }
    let mut all = vec![TableChanges::default(); group.models().len()];
    all[0] = changes;
    let mend =
        Mend { partition, lease: None, at: guard, changes: all, healed: Vec::new(), parked: Vec::new() };
    stores.models.mend(group, mend).await?;
    Ok(())
}
