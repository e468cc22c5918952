//! Folds and repairs over documents: each is one batch.

use crate::CouchStore;
use crate::batch::Batch;
use crate::store::{Build, part_of};
use diptych_core::{Code, Fault};
use diptych_query::{AdvanceError, Advanced, Fold, Group, Mark, Mend, Parked, Partition, RowRef};
use std::sync::Arc;

impl CouchStore {
    /// Applies a planned fold: see [`diptych_query::ModelStore::advance`].
    pub(crate) async fn fold(&self, group: &Group, mut fold: Fold) -> Result<Advanced, AdvanceError> {
        let (build, mut parts) = self.at(group).await?;
        let part = part_of(&build, &mut parts, fold.partition())?.clone();
        if part.position() != fold.from()
            && fold.lease().is_none_or(|held| held.fence == part.fence(build.id))
        {
            return Err(AdvanceError::Moved { checkpoint: part.position() });
        }
        let through = fold.through();
        let mut batch = Batch::begin(self, build, part, fold.partition(), fold.lease())?;
        self.check_log(through, &batch.build.label).await?;
        for table in 0..group.models().len() {
            let held = batch.part.held(group, table);
            fold.hold(table, held.ok_or_else(|| unreadable(&batch.build))?);
        }
        while let Some(needs) = fold.run()? {
            for (table, needs) in needs {
                let rows = batch.load(table, &needs.rows).await?;
                fold.supply(table, rows)?;
                for wanted in &needs.matching {
                    let rows = batch.matching(table, wanted).await?;
                    fold.supply(table, rows)?;
                }
            }
        }
        let changes = fold.changes()?;
        let rows = batch.write(&changes, through.position()).await?;
        batch.part.moved(through, self.clock.now());
        let part = batch.commit().await?;
        Ok(Advanced { checkpoint: part.checkpoint(), rows, passed: fold.passed() })
    }

    /// Puts rows right where a partition stands: see [`diptych_query::ModelStore::mend`].
    pub(crate) async fn put_right(&self, group: &Group, mend: Mend) -> Result<(), AdvanceError> {
        let Mend { partition, lease, at, changes, healed, parked } = mend;
        let (build, mut parts) = self.at(group).await?;
        let part = part_of(&build, &mut parts, partition)?.clone();
        let mut batch = Batch::begin(self, build, part, partition, lease)?;
        let stands = batch.part.position();
        if stands != at {
            return Err(AdvanceError::Moved { checkpoint: stands });
        }
        batch.write(&changes, at).await?;
        for (table, row) in &healed {
            if let Some(schema) = batch.build.tables.get(*table) {
                batch.part.heal(schema.name, row);
            }
        }
        parked.iter().for_each(|parked| batch.part.park(parked));
        batch.part.repairs += 1;
        batch.commit().await?;
        Ok(())
    }

    /// Holds keys back, each in its partition.
    pub(crate) async fn hold_back(
        &self,
        group: &Group,
        lease: Option<diptych_query::Lease>,
        parked: &[Parked],
    ) -> Result<(), AdvanceError> {
        let partitions: Vec<_> = group.partitions().collect();
        for partition in partitions {
            let own: Vec<_> = parked.iter().filter(|one| owns(partition, &one.row)).collect();
            if own.is_empty() && !parked.is_empty() {
                continue;
            }
            let mut fenced = false;
            let hold = |build: &Build, part: &mut crate::part::Part| {
                let lease = lease.filter(|lease| lease.partition == partition);
                fenced = lease.is_some_and(|lease| lease.fence != part.fence(build.id));
                if fenced {
                    return None;
                }
                own.iter().for_each(|parked| part.park(parked));
                part.repairs += 1;
                Some(())
            };
            let held = self.change(group, partition, hold).await?;
            if held.is_none() && fenced {
                return Err(AdvanceError::Fenced);
            }
        }
        Ok(())
    }

    /// Refuses a mark that is no entry of this log.
    pub(crate) async fn check_log(&self, mark: Mark, label: &str) -> Result<(), Fault> {
        if self.feed.mark(mark.position()).await?.as_ref() == Some(&mark) {
            return Ok(());
        }
        let message = format!("the checkpoint `{}` of `{label}` is not an entry of this log", mark.token);
        Err(Fault::permanent(Code::LogDiffers, message))
    }
}

fn owns(partition: Partition, row: &RowRef) -> bool {
    partition.owns(&row.tenant, &row.key)
}

/// The fault of a key that is held back and cannot be read.
pub(crate) fn unreadable(build: &Arc<Build>) -> Fault {
    let message = format!("a key that is held back in `{}` cannot be read", build.label);
    Fault::permanent(Code::Storage, message)
}
