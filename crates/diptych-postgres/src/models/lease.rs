//! Leases on partitions, kept beside their checkpoints, and the workers that live. Time is the database's
//! own: the clocks of processes may differ.
//!
//! A checkpoint's row that another transaction holds is passed over: its partition is being moved, so its
//! lease is in use, whatever its time says.

use super::attach::Attached;
use super::checkpoint::{COLUMNS, COLUMNS_COUNT, Place, checkpoint_of};
use super::rows::Typed;
use crate::fault::{OrFault, damaged, unsigned};
use crate::shared::Shared;
use diptych_core::Fault;
use diptych_query::{Fence, Lease, Partition, PartitionState, Readiness, Shares, WorkerId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

/// A sign of life that is lost with the server is given again in a moment.
const SETTINGS: &str = "SET LOCAL synchronous_commit = off";
const ENTER: &str = "INSERT INTO diptych.worker (name, group_name, revision, generation, until) \
    SELECT $1, group_name, revision, generation, clock_timestamp() + make_interval(secs => $5) \
    FROM unnest($2, $3, $4) AS able (group_name, revision, generation) ORDER BY 2, 3, 4 \
    ON CONFLICT (name, group_name, revision, generation) DO UPDATE SET until = excluded.until";
/// Those whose time is over, and the builds that this worker can no longer move.
const CLEAR: &str = "DELETE FROM diptych.worker WHERE (name, group_name, revision, generation) IN ( \
        SELECT name, group_name, revision, generation FROM diptych.worker \
        WHERE until <= clock_timestamp() OR (name = $1 AND NOT EXISTS ( \
            SELECT 1 FROM unnest($2, $3, $4) AS able (group_name, revision, generation) \
            WHERE able.group_name = worker.group_name AND able.revision = worker.revision \
            AND able.generation = worker.generation)) \
        FOR UPDATE SKIP LOCKED)";
const PROLONG: &str = "UPDATE diptych.checkpoint \
    SET held_until = clock_timestamp() + make_interval(secs => $2) \
    WHERE (group_name, revision, generation, partition) IN ( \
        SELECT group_name, revision, generation, partition FROM diptych.checkpoint WHERE holder = $1 \
        FOR UPDATE SKIP LOCKED)";
const SELECT_WORKERS: &str = "SELECT group_name, revision, generation, name FROM diptych.worker \
    WHERE until > clock_timestamp() ORDER BY name";
const CLAIM: &str = "UPDATE diptych.checkpoint \
    SET holder = $5, held_until = clock_timestamp() + make_interval(secs => $6), \
    fence = nextval('diptych.lease_fence') \
    WHERE (group_name, revision, generation, partition) IN ( \
        SELECT group_name, revision, generation, partition FROM diptych.checkpoint \
        WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4 \
        AND (holder IS NULL OR holder = $5 OR held_until <= clock_timestamp()) \
        FOR UPDATE SKIP LOCKED) \
    RETURNING fence";
const RELEASE: &str = "UPDATE diptych.checkpoint SET holder = NULL, held_until = NULL \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4 AND fence = $5";
const LEAVE: &str = "DELETE FROM diptych.worker WHERE name = $1";

/// Every partition of some builds, with whoever holds it.
fn select_states() -> String {
    format!(
        "SELECT {COLUMNS}, checkpoint.group_name, checkpoint.revision, checkpoint.generation, \
         checkpoint.partition, \
         CASE WHEN checkpoint.held_until > clock_timestamp() THEN checkpoint.holder END, \
         checkpoint.fence \
         FROM diptych.checkpoint JOIN unnest($1, $2, $3) AS asked (group_name, revision, generation) \
         USING (group_name, revision, generation) ORDER BY checkpoint.partition"
    )
}

/// A sign of life, and what it finds: nothing of a group whose builds are all retired.
pub(crate) async fn share(
    shared: &Shared,
    worker: &WorkerId,
    groups: &[(Option<Arc<Attached>>, Readiness)],
    lasting: Duration,
) -> Result<Vec<Shares>, Fault> {
    let (name, lasting) = (worker.as_str(), lasting.as_secs_f64());
    let places = || {
        let places = groups.iter().map(|(attached, readiness)| Some((attached.as_ref()?.place, *readiness)));
        places.flatten()
    };
    let able = places().filter(|(_, readiness)| *readiness == Readiness::Able).map(|(place, _)| place);
    let (able, asked) = (BuildsOf::of(able), BuildsOf::of(places().map(|(place, _)| place)));
    let worker: Typed<'_> = (&name, Type::TEXT);
    let seconds: Typed<'_> = (&lasting, Type::FLOAT8);
    let able = able.typed();
    let mut connection = shared.models().await?;
    let transaction = connection.transaction().await.or_fault()?;
    let client = transaction.client();
    let settings = format!("{SETTINGS}; {}", shared.limits.settings());
    client.batch_execute(&settings).await.or_fault()?;
    let clearing: Vec<_> = std::iter::once(worker.clone()).chain(able).collect();
    let entering: Vec<_> = clearing.iter().cloned().chain([seconds.clone()]).collect();
    client.execute_typed(&shared.sql(ENTER), &entering).await.or_fault()?;
    client.execute_typed(&shared.sql(CLEAR), &clearing).await.or_fault()?;
    client.execute_typed(&shared.sql(PROLONG), &[worker, seconds]).await.or_fault()?;
    let states = client.query_typed(&shared.sql(&select_states()), &asked.typed()).await.or_fault()?;
    let workers = client.query_typed(&shared.sql(SELECT_WORKERS), &[]).await.or_fault()?;
    transaction.commit().await.or_fault()?;
    let shares = groups.iter().map(|(attached, _)| match attached {
        Some(attached) => shares_of(attached, &states, &workers),
        None => Ok(Shares { workers: Vec::new(), partitions: Vec::new() }),
    });
    shares.collect()
}

/// Builds of several groups as the parameters of a statement.
struct BuildsOf {
    names: Vec<&'static str>,
    revisions: Vec<i32>,
    generations: Vec<i32>,
}

impl BuildsOf {
    fn of(places: impl Iterator<Item = Place>) -> Self {
        let build = |Place { group, revision, generation, .. }: Place| (group, (revision, generation));
        // Each once: a group may be asked for as its revision's own build and as that build.
        let builds: BTreeSet<_> = places.map(build).collect();
        let (names, (revisions, generations)) = builds.into_iter().unzip();
        Self { names, revisions, generations }
    }

    fn typed(&self) -> [Typed<'_>; 3] {
        let Self { names, revisions, generations } = self;
        [(names, Type::TEXT_ARRAY), (revisions, Type::INT4_ARRAY), (generations, Type::INT4_ARRAY)]
    }
}

/// What was found of one group.
fn shares_of(attached: &Attached, states: &[Row], workers: &[Row]) -> Result<Shares, Fault> {
    let is_of = |row: &Row, from: usize| -> Result<bool, Fault> {
        let name: &str = row.try_get(from).or_fault()?;
        let build: (i32, i32) = (row.try_get(from + 1).or_fault()?, row.try_get(from + 2).or_fault()?);
        let Place { group, revision, generation, .. } = attached.place;
        Ok((name, build) == (group, (revision, generation)))
    };
    let mut shares = Shares { workers: Vec::new(), partitions: Vec::new() };
    for row in workers {
        if is_of(row, 0)? {
            shares.workers.push(WorkerId::new(row.try_get::<_, String>(3).or_fault()?));
        }
    }
    for row in states {
        if !is_of(row, COLUMNS_COUNT)? {
            continue;
        }
        let number: i16 = row.try_get(COLUMNS_COUNT + 3).or_fault()?;
        let partition = usize::try_from(number).ok().and_then(|number| attached.partitions.get(number));
        let partition =
            *partition.ok_or_else(|| damaged("a checkpoint is of a partition that is not there"))?;
        let holder: Option<String> = row.try_get(COLUMNS_COUNT + 4).or_fault()?;
        let (checkpoint, holder) = (checkpoint_of(row, 0)?, holder.map(WorkerId::new));
        let fence = Fence(unsigned(row, COLUMNS_COUNT + 5)?);
        shares.partitions.push(PartitionState { partition, checkpoint, holder, fence });
    }
    Ok(shares)
}

/// Takes a lease that is free, over, or the worker's own.
pub(crate) async fn claim(
    client: &Client,
    shared: &Shared,
    place: Place,
    partition: Partition,
    worker: &WorkerId,
    lasting: Duration,
) -> Result<Option<Lease>, Fault> {
    let (name, seconds) = (worker.as_str(), lasting.as_secs_f64());
    let mut row = place.typed().to_vec();
    row.extend([(&name as _, Type::TEXT), (&seconds as _, Type::FLOAT8)]);
    let claimed = client.query_typed_opt(&shared.sql(CLAIM), &row).await.or_fault()?;
    claimed.map(|row| Ok(Lease { partition, fence: Fence(unsigned(&row, 0)?) })).transpose()
}

/// Gives a lease back, unless another one has followed it.
pub(crate) async fn release(
    client: &Client,
    shared: &Shared,
    place: Place,
    lease: Lease,
) -> Result<(), Fault> {
    let fence = lease.fence.0.cast_signed();
    let mut row = place.typed().to_vec();
    row.push((&fence, Type::INT8));
    client.execute_typed(&shared.sql(RELEASE), &row).await.or_fault()?;
    Ok(())
}

/// Forgets a worker.
pub(crate) async fn leave(client: &Client, shared: &Shared, worker: &WorkerId) -> Result<(), Fault> {
    let name = worker.as_str();
    client.execute_typed(&shared.sql(LEAVE), &[(&name, Type::TEXT)]).await.or_fault()?;
    Ok(())
}
