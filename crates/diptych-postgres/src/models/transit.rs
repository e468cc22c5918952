//! Moving builds from stage to stage: one transaction under the lock of the registry, and for an inline group
//! under that of the head.

use super::attach::{Attached, shape_of};
use super::checkpoint::{fence_off, lock_builds};
use super::inline::bring;
use super::{parked, registry};
use crate::fault::{OrFault, damaged};
use crate::log;
use crate::shared::Shared;
use diptych_core::{Fault, Position, Timestamp};
use diptych_query::{
    AdvanceError, Build, BuildId, BuildMove, Group, Mark, Mode, Order, TransitError, judge, taken_over,
};
use tokio_postgres::Client;

/// What whoever appends waits for, too.
const LOCK_HEAD: &str = "SELECT position, fingerprint, entry_recorded_at FROM diptych.head FOR UPDATE";

/// Where every partition of some builds stands, each build's in order.
type Standings = Vec<(BuildId, Position)>;

/// Moves builds, all or none. Answers every build of the group as it stands then.
///
/// INVARIANT: locks are taken in the order registry, head, checkpoints. Whoever appends takes the last two,
/// and whoever folds the last one, so that none of them waits for the other in a circle.
pub(crate) async fn transit(
    shared: &Shared,
    group: &Group,
    moves: &[BuildMove],
    order: &Order,
) -> Result<Vec<Build>, TransitError> {
    let (schema, name, now) = (&shared.schema, group.name(), shared.clock.now());
    let mut writer = shared.models().await?;
    let transaction = writer.transaction().await.or_fault()?;
    let client = transaction.client();
    client.batch_execute(&shared.limits.settings()).await.or_fault()?;
    registry::lock(client, schema).await?;
    let head = match group.mode() {
        Mode::Inline => Some(lock_head(client, shared).await?),
        _ => None,
    };
    let before = registry::builds(client, schema, name).await?;
    let mut after = judge(&before, moves)?;
    let moved: Vec<_> = moves.iter().map(|moved| moved.build).collect();
    let standings = lock_builds(client, schema, name, &moved).await?;
    if let Some((new, gone)) = taken_over(&before, &after) {
        let opened = readable(client, shared, group, new).await?;
        if let Some(gone) = gone {
            let caught_up = match (head, &opened) {
                (Some(head), Some(opened)) => catch_up(client, shared, (opened, group), head, now).await?,
                _ => false,
            };
            if !caught_up {
                has_come_as_far(&standings, new.id, gone.id)?;
            }
        }
        if let Some(opened) = opened.filter(|_| is_the_newest(&after, new.id)) {
            for table in &opened.tables {
                table.show(client, schema).await?;
            }
        }
    }
    fence_off(client, schema, name, &moved).await?;
    for moved in moves {
        registry::make(client, schema, name, *moved, order, now).await?;
        after.iter_mut().filter(|build| build.id == moved.build).for_each(|build| build.moved_at = now);
    }
    transaction.commit().await.or_fault()?;
    shared.builds.learn(name, &after);
    Ok(after)
}

async fn lock_head(client: &Client, shared: &Shared) -> Result<Mark, Fault> {
    let head = client.query_typed_opt(&shared.sql(LOCK_HEAD), &[]).await.or_fault()?;
    log::head_of(shared.identity, &head.ok_or_else(|| damaged("the log has lost its head"))?)
}

/// A build, if its tables are what this code declares.
async fn readable(
    client: &Client,
    shared: &Shared,
    group: &Group,
    build: &Build,
) -> Result<Option<Attached>, Fault> {
    if build.shape != shape_of(group) {
        return Ok(None);
    }
    Attached::existing(client, &shared.schema, group, build.id).await.map(Some)
}

/// Whether no build of a newer revision answers: the view for people shows the newest.
fn is_the_newest(builds: &[Build], new: BuildId) -> bool {
    !builds.iter().any(|build| build.stage.answers() && build.id.revision > new.revision)
}

/// Brings an inline build to the head, where it takes over. Answers whether it stands there: one that is far
/// behind is left where it is, because appends wait.
async fn catch_up(
    client: &Client,
    shared: &Shared,
    (attached, group): (&Attached, &Group),
    head: Mark,
    now: Timestamp,
) -> Result<bool, Fault> {
    let (checkpoint, _) = attached.place.lock(client, &shared.schema).await?;
    let (from, through) = (checkpoint.mark, head.position());
    if from.position() == through {
        return Ok(true);
    }
    if from.position().lag_to(through) > shared.limits.inline_catch_up_events_max {
        return Ok(false);
    }
    let held_back = parked::held_back(client, &shared.schema, attached, group).await?;
    match bring(client, shared, (attached, group), from, head, &held_back, now).await {
        Ok(_) => Ok(true),
        Err(AdvanceError::Fold(error)) => {
            let message = format!("the new build of `{}` cannot take a fact", group.name());
            Err(Fault::permanent(error.code(), message).because(error))
        }
        Err(AdvanceError::Fault(fault)) => Err(fault),
        Err(_) => Err(damaged(format!("read model `{}` moved inside a transaction", group.name()))),
    }
}

/// Refuses a build that answers would go back in time with: partition by partition where both are split
/// alike, because an answer about one row is as new as the row's own partition; else by the lowest.
fn has_come_as_far(standings: &Standings, new: BuildId, gone: BuildId) -> Result<(), TransitError> {
    let of = |id: BuildId| -> Vec<Position> {
        standings.iter().filter(|(build, _)| *build == id).map(|(_, position)| *position).collect()
    };
    let (mut positions, mut others) = (of(new), of(gone));
    if positions.len() != others.len() {
        positions = positions.into_iter().min().into_iter().collect();
        others = others.into_iter().min().into_iter().collect();
    }
    match positions.into_iter().zip(others).find(|(position, other)| position < other) {
        Some((position, other)) => Err(TransitError::Behind { position, other }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: BuildId = BuildId { revision: 1, generation: 1 };
    const NEW: BuildId = BuildId { revision: 1, generation: 2 };

    #[track_caller]
    fn check(new: &[u64], old: &[u64], behind: Option<(u64, u64)>) {
        let of = |id: BuildId, at: &[u64]| at.iter().map(|at| (id, Position(*at))).collect::<Vec<_>>();
        let judged = has_come_as_far(&[of(OLD, old), of(NEW, new)].concat(), NEW, OLD);
        let found = match judged {
            Err(TransitError::Behind { position, other }) => Some((position.0, other.0)),
            _ => None,
        };
        assert_eq!(found, behind, "{new:?} for {old:?}");
    }

    #[test]
    fn no_partition_of_the_new_build_may_be_behind_that_of_the_old_one() {
        check(&[7], &[7], None);
        check(&[6], &[7], Some((6, 7)));
        check(&[7, 9], &[7, 8], None);
        check(&[9, 7], &[7, 8], Some((7, 8)));
        check(&[7, 9], &[8], Some((7, 8)));
        check(&[8], &[9, 8], None);
    }
}
