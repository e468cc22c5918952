//! A process that moves read models when a case says so: a projector and the right panel over one store.

use crate::cases::builds::order;
use crate::failure::ensure;
use crate::{Failure, Outcome, Stores};
use diptych_core::{Clock, Unrestricted};
use diptych_projector::{
    Projector, ProjectorLimits, ProjectorParts, Rebuild, RebuildError, RebuildOrder, Switching, Tended,
};
use diptych_query::{BuildId, Group, PageKey, Progress, Queries, QueryLimits, QueryParts, Stage, WorkerId};
use std::sync::Arc;
use std::time::Duration;

/// More slices than any case needs.
pub(crate) const SLICES_MAX: usize = 5_000;

/// A process with a projector that moves only when the case says so.
pub(crate) struct Process {
    pub(crate) projector: Projector,
    pub(crate) queries: Queries,
}

pub(crate) fn limits() -> ProjectorLimits {
    ProjectorLimits { batch_positions_max: 7, build_block_positions_max: 5, ..ProjectorLimits::default() }
}

pub(crate) async fn process(
    stores: &Stores,
    name: &str,
    groups: &[Arc<Group>],
    limits: ProjectorLimits,
) -> Outcome<Process> {
    for group in groups {
        stores.models.attach(group).await?;
    }
    let clock: Arc<dyn Clock> = Arc::<diptych_memory::ManualClock>::clone(&stores.clock);
    let progress = Arc::new(Progress::default());
    let projector = Projector::new(ProjectorParts {
        worker: WorkerId::new(name),
        feed: Arc::clone(&stores.feed),
        store: Arc::clone(&stores.models),
        registry: Arc::clone(&stores.registry),
        clock: Arc::clone(&clock),
        progress: Arc::clone(&progress),
        groups: groups.to_vec(),
        limits,
    });
    let queries = Queries::new(QueryParts {
        store: Arc::clone(&stores.models),
        feed: Arc::clone(&stores.feed),
        groups: groups.to_vec(),
        progress,
        authorize: Arc::new(Unrestricted),
        policy: Arc::new(Unrestricted),
        clock,
        page_key: PageKey::new([7; 32], None),
        limits: QueryLimits::default(),
    });
    Ok(Process { projector, queries })
}

pub(crate) const fn build(revision: u32, generation: u32) -> BuildId {
    BuildId { revision, generation }
}

pub(crate) fn refused(error: RebuildError) -> Failure {
    Failure::new(format!("unexpected: {error}"))
}

pub(crate) async fn stages(stores: &Stores, group: &str) -> Outcome<Vec<(BuildId, Stage)>> {
    let builds = stores.registry.builds(group).await?;
    Ok(builds.into_iter().map(|build| (build.id, build.stage)).collect())
}

impl Process {
    pub(crate) async fn drain(&self, group: &str) -> Outcome {
        self.projector.drain(group).await.map_err(|error| Failure::new(error.to_string()))?;
        Ok(())
    }

    /// Steps until nothing is left to do, bounded.
    pub(crate) async fn settle(&self) -> Outcome {
        for _ in 0..SLICES_MAX {
            if self.projector.steward().step().await? == Tended::AtRest {
                return Ok(());
            }
        }
        Err(Failure::new("the steward never comes to rest"))
    }

    /// Serves a group from its first build.
    pub(crate) async fn serve(&self, group: &str) -> Outcome {
        self.drain(group).await?;
        self.settle().await
    }

    pub(crate) async fn begin(&self, group: &str, switching: Switching) -> Outcome<Rebuild> {
        let order = RebuildOrder { switching, ..RebuildOrder::by(order("to be sure")?) };
        self.projector.rebuild(group, order).await.map_err(refused)
    }

    pub(crate) async fn under_way(&self, group: &str) -> Outcome<Rebuild> {
        let rebuild = self.projector.rebuild_of(group).await?;
        rebuild.ok_or_else(|| Failure::new("no rebuild is under way"))
    }

    /// Proves that every row is what the log says.
    pub(crate) async fn verify(&self, group: &str) -> Outcome {
        let reports =
            self.projector.verify(group, 5).await.map_err(|error| Failure::new(error.to_string()))?;
        for report in reports {
            ensure!(report.is_clean(), "rows are not what the log says: {report:?}");
        }
        Ok(())
    }
}

/// Waits a little, again and again, up to a minute.
pub(crate) struct Patience(std::time::Instant);

impl Default for Patience {
    fn default() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Patience {
    pub(crate) async fn pause(&self) -> Outcome {
        ensure!(self.0.elapsed() < Duration::from_secs(60), "it does not happen within a minute");
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(())
    }
}
