//! Parked keys on their way from the fact that each waits at: one pass over the log for all of them. Writes
//! nothing; says what is to be written.

use crate::TroubleError;
use crate::refold::{BLOCK_POSITIONS_MAX, Standing, digest_of_change};
use crate::skips::Exceptions;
use diptych_core::{Code, Fault, Position, RawFact, Timestamp, Value};
use diptych_query::{
    Changed, Feed, FoldError, FoldErrorKind, Group, Lease, Mark, Mend, ModelStore, Parked, Partition,
    RowChange, RowRef, TableChanges, Touch,
};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Parked keys of one partition, folded on together.
pub(crate) struct Retry {
    group: Arc<Group>,
    exceptions: Exceptions,
    keys: Vec<Waiting>,
    /// Which of the keys, by table and row.
    by_row: HashMap<(usize, RowRef), usize>,
    /// Everything up to here is in those that did not fail.
    through: Mark,
}

/// One key.
struct Waiting {
    parked: Parked,
    /// What the store holds.
    before: Option<Vec<Value>>,
    standing: Standing,
    /// The fact that it fails at now.
    failed: Option<Failed>,
    /// Its facts of the block at hand.
    facts: Vec<Arc<RawFact>>,
}

struct Failed {
    position: Position,
    event: String,
    reason: String,
}

impl Retry {
    /// The keys as they stand.
    pub(crate) async fn of(
        feed: &dyn Feed,
        store: &dyn ModelStore,
        group: &Arc<Group>,
        parked: Vec<Parked>,
        exceptions: Exceptions,
    ) -> Result<Self, TroubleError> {
        let first = parked.iter().map(|parked| parked.position).min().unwrap_or(Position(1));
        let before = Position(first.0.saturating_sub(1));
        let through = feed.mark(before).await?;
        let through =
            through.ok_or_else(|| Fault::permanent(Code::LogDiffers, "a parked fact is not there"))?;
        let (mut keys, mut by_row) = (Vec::new(), HashMap::new());
        for parked in parked {
            let table = group.models().iter().position(|model| model.schema().name == parked.model);
            let Some(table) = table else { continue };
            let (schema, row) = (group.models()[table].schema(), parked.row.clone());
            let values = store.get(group, schema, &row).await?.rows.into_iter().next();
            by_row.insert((table, row.clone()), keys.len());
            let (before, facts) = (values.clone(), Vec::new());
            keys.push(Waiting {
                parked,
                before,
                standing: Standing { table, row, values },
                failed: None,
                facts,
            });
        }
        Ok(Self { group: Arc::clone(group), exceptions, keys, by_row, through })
    }

    /// Folds the keys on to where a partition stands.
    pub(crate) async fn fold_to(&mut self, feed: &dyn Feed, target: Position) -> Result<(), TroubleError> {
        while self.through.position() < target {
            let after = self.through;
            let left = usize::try_from(after.position().lag_to(target)).unwrap_or(usize::MAX);
            let categories = self.group.categories();
            let block = feed.read(after.position(), categories, left.min(BLOCK_POSITIONS_MAX)).await?;
            if block.through.position() == after.position() {
                return Ok(());
            }
            for fact in &block.facts {
                self.hand_out(fact)?;
            }
            for key in &mut self.keys {
                key.take(&self.group, (after, block.through), &self.exceptions)?;
            }
            self.through = block.through;
        }
        Ok(())
    }

    /// Gives a fact to the keys that it is routed to.
    fn hand_out(&mut self, fact: &Arc<RawFact>) -> Result<(), TroubleError> {
        for (table, model) in self.group.models().iter().enumerate() {
            if self.keys.iter().all(|key| key.standing.table != table) {
                continue;
            }
            // It has been routed before, but maybe by other code.
            let touches = catch_unwind(AssertUnwindSafe(|| model.routed(fact)));
            let touches = touches.unwrap_or_else(|_| Err(unroutable(fact)))?;
            for touch in touches {
                let Touch::Row(key) = touch else { continue };
                let tenant = model.schema().tenants.owner(&fact.stream.tenant).clone();
                let row = RowRef { tenant, key };
                let Some(index) = self.by_row.get(&(table, row)) else { continue };
                let waiting = &mut self.keys[*index];
                let last = waiting.facts.last().map(|last| last.position);
                // A route may name a row twice.
                if fact.position >= waiting.parked.position && last != Some(fact.position) {
                    waiting.facts.push(Arc::clone(fact));
                }
            }
        }
        Ok(())
    }

    /// Whether everything up to a position is in the keys that wait there, and nothing beyond.
    pub(crate) fn stands_at(&self, at: Position) -> bool {
        at == self.through.position() || self.keys.iter().all(|key| key.parked.position > at)
    }

    /// What is to be written where the keys [stand](Retry::stands_at); the keys that are healed by it,
    /// and those that stay parked. A key whose fact is beyond stays as it is.
    pub(crate) fn mend(
        &self,
        (partition, at): (Partition, Position),
        lease: Option<Lease>,
        now: Timestamp,
    ) -> (Mend, Vec<Parked>, Vec<Parked>) {
        let changes = vec![TableChanges::default(); self.group.models().len()];
        let mut mend = Mend { partition, lease, at, changes, healed: Vec::new(), parked: Vec::new() };
        let (mut healed, mut parked) = (Vec::new(), Vec::new());
        for key in &self.keys {
            if key.parked.position > at {
                parked.push(key.parked.clone());
                continue;
            }
            let guard =
                key.failed.as_ref().map_or(at, |failed| Position(failed.position.0.saturating_sub(1)));
            let Standing { table, row, values } = &key.standing;
            if *values != key.before {
                let stored = key.standing.stored(guard);
                let table = &mut mend.changes[*table];
                table.digest.push(digest_of_change(row, key.before.as_deref(), values.as_deref()));
                let existed = key.before.is_some();
                table.rows.push(RowChange { stored, existed, changed: Changed::ALL });
            }
            mend.healed.push((*table, row.clone()));
            match &key.failed {
                None => healed.push(key.parked.clone()),
                Some(Failed { position, event, reason }) => {
                    let (position, event, reason) = (*position, event.clone(), reason.clone());
                    let again = Parked { position, event, reason, parked_at: now, ..key.parked.clone() };
                    mend.parked.push(again.clone());
                    parked.push(again);
                }
            }
        }
        for table in &mut mend.changes {
            table.rows.sort_by(|a, b| a.stored.row.table_cmp(&b.stored.row));
        }
        (mend, healed, parked)
    }
}

impl Waiting {
    /// Takes its facts of a block, up to the one that it fails at.
    fn take(&mut self, group: &Group, range: (Mark, Mark), exceptions: &Exceptions) -> Result<(), FoldError> {
        let facts = std::mem::take(&mut self.facts);
        if self.failed.is_some() || facts.is_empty() {
            return Ok(());
        }
        if let Some(error) = self.standing.take(group, &facts, range, exceptions)? {
            let fact = facts.iter().find(|fact| fact.position == error.position);
            let event = fact.map(|fact| fact.event.name.to_string()).unwrap_or_default();
            self.failed = Some(Failed { position: error.position, event, reason: error.to_string() });
        }
        Ok(())
    }
}

fn unroutable(fact: &RawFact) -> FoldError {
    let kind = FoldErrorKind::Panicked { message: "while it was routed".to_owned() };
    FoldError { position: fact.position, event: fact.event.name.to_string(), ..FoldError::of_no_fact(kind) }
}
