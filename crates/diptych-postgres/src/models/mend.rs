//! Holding keys back, and putting rows right where a partition stands: under the lock that folds take.

use super::advance::settings;
use super::attach::Attached;
use super::checkpoint::Place;
use super::load::{ROWS_PER_STATEMENT_MAX, Tombstones};
use super::parked;
use super::pipeline::{Statement, execute_all};
use super::rows::{is_storable, key_cells};
use super::write::write;
use crate::fault::OrFault;
use crate::shared::Shared;
use diptych_core::Fault;
use diptych_query::{AdvanceError, Checkpoint, Lease, Mend, Parked, RowRef, TableChanges};
use tokio_postgres::Client;

/// Holds keys back from now on.
pub(crate) async fn park(
    shared: &Shared,
    attached: &Attached,
    lease: Option<Lease>,
    keys: &[Parked],
) -> Result<(), AdvanceError> {
    let mut writer = shared.models().await?;
    let transaction = writer.transaction().await.or_fault()?;
    let client = transaction.client();
    // INVARIANT: a fold locks the checkpoint before it asks for parked keys: it meets these, or is over.
    let place = lease.map_or(attached.place, |lease| attached.place.of(lease.partition));
    locked(client, shared, attached, place, lease).await?;
    parked::insert(client, &shared.schema, attached.place, keys).await?;
    place.count_repair(client, &shared.schema).await?;
    transaction.commit().await.or_fault()?;
    Ok(())
}

/// Puts rows right, and heals keys with them.
pub(crate) async fn mend(shared: &Shared, attached: &Attached, mend: Mend) -> Result<(), AdvanceError> {
    let Mend { partition, lease, at, changes, healed, parked } = mend;
    let mut writer = shared.models().await?;
    let transaction = writer.transaction().await.or_fault()?;
    let client = transaction.client();
    let place = attached.place.of(partition);
    let standing = locked(client, shared, attached, place, lease).await?.mark.position();
    if standing != at {
        return Err(AdvanceError::Moved { checkpoint: standing });
    }
    let changes = as_new(changes);
    remove(client, attached, &changes).await?;
    let tombstones = vec![Tombstones::default(); attached.tables.len()];
    let written = write(client, &shared.schema, &attached.tables, &changes, &tombstones, false).await;
    written.map_err(Fault::from)?;
    if !healed.is_empty() {
        parked::heal(client, &shared.schema, attached, &healed).await?;
    }
    if !parked.is_empty() {
        parked::insert(client, &shared.schema, attached.place, &parked).await?;
    }
    place.count_repair(client, &shared.schema).await?;
    transaction.commit().await.or_fault()?;
    Ok(())
}

/// Locks the checkpoint of a partition; refuses a lease that another one has followed.
async fn locked(
    client: &Client,
    shared: &Shared,
    attached: &Attached,
    place: Place,
    lease: Option<Lease>,
) -> Result<Checkpoint, AdvanceError> {
    let settings = settings(&shared.limits, shared.is_waited_for(attached));
    let (set, held) =
        tokio::join!(biased; client.batch_execute(&settings), place.lock(client, &shared.schema));
    set.or_fault()?;
    let (checkpoint, fence) = held?;
    match lease {
        Some(lease) if lease.fence != fence => Err(AdvanceError::Fenced),
        _ => Ok(checkpoint),
    }
}

/// Rows are put right because what the table holds is not what it should, so that whether one is there is not
/// believed.
fn as_new(mut changes: Vec<TableChanges>) -> Vec<TableChanges> {
    changes.iter_mut().flat_map(|table| &mut table.rows).for_each(|change| change.existed = false);
    changes
}

/// Removes what stands in the place of rows, and their tombstones.
async fn remove(client: &Client, attached: &Attached, changes: &[TableChanges]) -> Result<(), Fault> {
    let mut statements = Vec::new();
    for (table, changes) in attached.tables.iter().zip(changes) {
        let rows = changes.rows.iter().map(|change| &change.stored.row);
        let rows: Vec<&RowRef> = rows.filter(|row| row.key.iter().all(is_storable)).collect();
        for rows in rows.chunks(ROWS_PER_STATEMENT_MAX) {
            for sql in [&table.delete, &table.delete_tombstones] {
                statements.push(Statement { sql, cells: key_cells(table.schema, rows) });
            }
        }
    }
    execute_all(client, &statements).await.or_fault()?;
    Ok(())
}
