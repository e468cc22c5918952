//! What breaks folds that run ahead of what is written.

use super::Defect;
use diptych_query::{AdvanceError, Advanced, Batch, Fold, FoldAhead, Group, ModelStore, RowsAhead};
use std::sync::Arc;

/// Begins a fold ahead, told or not which keys are held back.
pub(super) async fn begin(
    defect: Defect,
    models: &Arc<dyn ModelStore>,
    group: &Group,
    fold: Fold,
) -> Result<Option<FoldAhead>, AdvanceError> {
    let (lease, mark) = (fold.lease(), fold.through());
    let begun = models.ahead(group, fold).await?;
    Ok(match begun {
        Some((_, rows)) if defect == Defect::AheadUntold => Some((Fold::lasting(group, lease, mark), rows)),
        begun => begun,
    })
}

/// Writes a batch, over what others have written or not.
pub(super) async fn write(
    defect: Defect,
    models: &Arc<dyn ModelStore>,
    group: &Group,
    rows: &Arc<dyn RowsAhead>,
    batch: Batch,
) -> Result<Advanced, AdvanceError> {
    let again = (defect == Defect::WrittenOver).then(|| batch.clone());
    match (models.write_ahead(group, rows, batch).await, again) {
        (Err(AdvanceError::Overtaken), Some(batch)) => {
            let mark = models.checkpoint(group).await?.mark;
            let begun = models.ahead(group, Fold::lasting(group, batch.lease, mark)).await?;
            let (_, rows) = begun.ok_or(AdvanceError::Overtaken)?;
            models.write_ahead(group, &rows, batch).await
        }
        (written, _) => written,
    }
}
