//! The registry of builds where some live as documents: the home store's, with their databases made, removed
//! and kept still while one takes over from another.

use crate::Documents;
use crate::part::Part;
use diptych_core::{BoxFuture, Code, Fault};
use diptych_query::{
    Build, BuildId, BuildMove, Group, ModelStore, Order, Record, RecordOf, Registry, Stage, StageMove,
    TransitError, judge, taken_over,
};
use std::time::Duration;

/// How long a build stands still at most while another takes over from it: the move of the pointer is one
/// transaction of the home store. A process that dies in it holds the build up no longer than that.
const TAKE_OVER_WAIT_MAX: Duration = Duration::from_secs(10);

impl Registry for Documents {
    fn builds<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<Vec<Build>, Fault>> {
        self.registry.builds(group)
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, Fault>> {
        self.registry.groups()
    }

    fn begin_build<'a>(&'a self, group: &'a Group, order: &'a Order) -> BoxFuture<'a, Result<Build, Fault>> {
        Box::pin(async move {
            let build = self.registry.begin_build(group, order).await?;
            if (self.there)(group) {
                // A process that dies before this leaves a build whose database is made when it is needed.
                self.couch.attach(&group.at(build.id)).await?;
            }
            Ok(build)
        })
    }

    fn begin_recorded<'a>(
        &'a self,
        group: &'a Group,
        order: &'a Order,
        kind: &'a str,
        body: RecordOf,
    ) -> BoxFuture<'a, Result<Option<Build>, Fault>> {
        Box::pin(async move {
            let begun = self.registry.begin_recorded(group, order, kind, body).await?;
            if let Some(build) = begun.as_ref().filter(|_| (self.there)(group)) {
                // A process that dies before this leaves a build whose database is made when it is needed.
                self.couch.attach(&group.at(build.id)).await?;
            }
            Ok(begun)
        })
    }

    fn transit<'a>(
        &'a self,
        group: &'a Group,
        moves: &'a [BuildMove],
        order: &'a Order,
    ) -> BoxFuture<'a, Result<Vec<Build>, TransitError>> {
        Box::pin(async move {
            if !(self.there)(group) {
                return self.registry.transit(group, moves, order).await;
            }
            let before = self.registry.builds(group.name()).await?;
            let after = judge(&before, moves)?;
            let mut still = None;
            if let Some((new, Some(gone))) = taken_over(&before, &after) {
                self.take_over(group, new, gone).await?;
                still = Some(gone.id);
            }
            let moved = self.registry.transit(group, moves, order).await;
            // Whoever moved a build before has lost it, and the one that stood still goes on.
            let own = moves.iter().map(|moved| moved.build).filter(|_| moved.is_ok());
            for build in own.chain(still.filter(|_| moved.is_err())) {
                self.couch.fence_off(group, build, None).await?;
            }
            moved
        })
    }

    fn drop_build<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            if (self.there)(group) {
                let builds = self.registry.builds(group.name()).await?;
                let known = builds.iter().find(|held| held.id == build);
                if known.is_some_and(|held| held.stage != Stage::Retired) {
                    let message = format!("build {build} of `{}` is not retired", group.name());
                    return Err(Fault::permanent(Code::MoveRefused, message));
                }
                self.couch.remove(group, build).await?;
            }
            self.registry.drop_build(group, build).await
        })
    }

    fn build_bytes<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(async move {
            if (self.there)(group) {
                return self.couch.bytes(group, build).await;
            }
            self.registry.build_bytes(group, build).await
        })
    }

    fn stage_moves<'a>(
        &'a self,
        group: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<StageMove>, Fault>> {
        self.registry.stage_moves(group, most)
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.registry.refresh()
    }

    fn record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        self.registry.record(kind, name)
    }

    fn records<'a>(&'a self, kind: &'a str, most: usize) -> BoxFuture<'a, Result<Vec<Record>, Fault>> {
        self.registry.records(kind, most)
    }

    fn write_record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
        seen: u64,
        body: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, Fault>> {
        self.registry.write_record(kind, name, seen, body)
    }

    fn forget_record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        self.registry.forget_record(kind, name)
    }
}

impl Documents {
    /// Has the build that answers stand still, and looks whether the new one has come as far. The new one
    /// only moves on: where it stands now, it stands later.
    async fn take_over(&self, group: &Group, new: &Build, gone: &Build) -> Result<(), TransitError> {
        let until = self.couch.clock.now().plus(TAKE_OVER_WAIT_MAX);
        let stands = self.couch.fence_off(group, gone.id, Some(until)).await?;
        let Some(other) = stands.iter().map(Part::position).min() else { return Ok(()) };
        let position = self.couch.checkpoint(&group.at(new.id)).await?.mark.position();
        if position >= other {
            return Ok(());
        }
        self.couch.fence_off(group, gone.id, None).await?;
        Err(TransitError::Behind { position, other })
    }
}
