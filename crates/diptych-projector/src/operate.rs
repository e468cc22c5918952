//! What an operator orders about builds. An order about a rebuild is written into its record, and whoever
//! drives it sees to it: this process, if no other does.

use crate::compare::CompareReport;
use crate::rebuild::{
    Asked, Gate, Held, Measured, Rebuild, RebuildError, RebuildOrder, RebuildProgress, RebuildStep, Wish,
};
use crate::{Projector, Steward};
use diptych_core::{Fault, Timestamp};
use diptych_query::{
    Build, BuildId, BuildMove, Group, Notice, Order, Stage, StageMove, TransitError, own_build,
};
use std::sync::Arc;

/// How many rebuilds are looked at: more groups than a service has.
const REBUILDS_MAX: usize = 10_000;

/// How often an order is written into a record that others write at the same time.
const ASK_ATTEMPTS_MAX: usize = 50;

/// What is announced of a group that is deprecated.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Deprecation {
    /// From when on it may be gone.
    pub sunset: Option<Timestamp>,
    /// What answers instead: the path segment of a read model, or an address.
    pub successor: Option<String>,
}

impl Projector {
    /// Who looks after builds in this process.
    #[must_use]
    pub fn steward(&self) -> &Steward {
        &self.steward
    }

    /// Begins to build a group anew beside the build that answers. Comes back at once; the steward of this or
    /// another process does the work.
    ///
    /// # Errors
    /// An unknown group, a rebuild that is under way, a group that no build answers for or that is
    /// deprecated, or a fault.
    pub async fn rebuild(&self, group: &str, order: RebuildOrder) -> Result<Rebuild, RebuildError> {
        let (registry, records) = (self.steward.registry(), self.steward.records());
        let group = self.ordered_group(group)?;
        if let Some(Held { rebuild, .. }) = records.of(group.name()).await? {
            return Err(RebuildError::UnderWay { rebuild: Box::new(rebuild) });
        }
        let builds = registry.builds(group.name()).await?;
        let own = own_build(&builds, group.revision()).filter(|own| own.stage.answers());
        let Some(from) = own else {
            let reason = format!(
                "no build of revision {} of `{}` answers yet, so there is nothing to rebuild",
                group.revision(),
                group.name()
            );
            return Err(RebuildError::Failed { reason });
        };
        if from.stage != Stage::Rebuilding {
            from.stage.check(Stage::Rebuilding).map_err(TransitError::from)?;
        }
        if let Some(rebuild) = records.begin(&group, from.id, order, self.steward.now()).await? {
            self.steward.nudge();
            return Ok(rebuild);
        }
        // Another operator was first.
        match records.of(group.name()).await? {
            Some(Held { rebuild, .. }) => Err(RebuildError::UnderWay { rebuild: Box::new(rebuild) }),
            None => {
                Err(RebuildError::Failed { reason: "another rebuild has just ended; try again".to_owned() })
            }
        }
    }

    /// The rebuilds that are under way, of all groups.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn rebuilds(&self) -> Result<Vec<Rebuild>, Fault> {
        let held = self.steward.records().under_way(REBUILDS_MAX).await?;
        Ok(held.into_iter().map(|held| self.steward.newest(held.rebuild)).collect())
    }

    /// The rebuild of a group that is under way.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn rebuild_of(&self, group: &str) -> Result<Option<Rebuild>, Fault> {
        let held = self.steward.records().of(group).await?;
        Ok(held.map(|held| self.steward.newest(held.rebuild)))
    }

    /// The rebuilds that are over, the last first, with what was measured of each.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn rebuilds_done(&self, most: usize) -> Result<Vec<Rebuild>, Fault> {
        self.steward.records().done(most).await
    }

    /// Lets a rebuild stand still. Its builds stay where they are.
    ///
    /// # Errors
    /// No rebuild, one that has switched already, or a fault.
    pub async fn pause(&self, group: &str, order: Order) -> Result<Rebuild, RebuildError> {
        let legal = |step: RebuildStep| !matches!(step, RebuildStep::Switched) && !step.is_over();
        self.order(group, Wish::Pause, order, legal, "only one that has not switched can pause").await
    }

    /// Lets a rebuild go on after a pause or a failure.
    ///
    /// # Errors
    /// No rebuild, one that does not stand still, or a fault.
    pub async fn resume(&self, group: &str, order: Order) -> Result<Rebuild, RebuildError> {
        let legal = |step| matches!(step, RebuildStep::Paused | RebuildStep::Failed);
        self.order(group, Wish::Resume, order, legal, "it is going on").await
    }

    /// Gives a rebuild up: nothing of the new build is left.
    ///
    /// # Errors
    /// No rebuild, one that has switched, or a fault.
    pub async fn cancel(&self, group: &str, order: Order) -> Result<Rebuild, RebuildError> {
        let legal = |step| step != RebuildStep::Switched;
        self.order(group, Wish::Cancel, order, legal, "roll it back first, then cancel it").await
    }

    /// Compares the builds of a rebuild again.
    ///
    /// # Errors
    /// No rebuild, one that is not far enough, paused or switched, or a fault.
    pub async fn compare(&self, group: &str, order: Order) -> Result<CompareReport, RebuildError> {
        let legal =
            |step| matches!(step, RebuildStep::Ready | RebuildStep::Blocked | RebuildStep::RolledBack);
        let instead = "it is compared once it has caught up, and not after it has switched";
        let rebuild = self.order(group, Wish::Compare, order, legal, instead).await?;
        let failed = || RebuildError::Failed { reason: "the comparison did not come to an end".to_owned() };
        rebuild.compared.ok_or_else(failed)
    }

    /// Lets the new build answer, after it was compared once more unless forced.
    ///
    /// # Errors
    /// No rebuild, one that is not far enough, differences that were not declared, or a fault.
    pub async fn switch(&self, group: &str, order: Order, gate: Gate) -> Result<Rebuild, RebuildError> {
        let legal = move |step| match step {
            RebuildStep::Ready | RebuildStep::Blocked | RebuildStep::RolledBack => true,
            RebuildStep::Building | RebuildStep::CatchingUp => false,
            RebuildStep::Shadowing | RebuildStep::Comparing => gate == Gate::Compared,
            _ => false,
        };
        let instead = "it can be switched once it was compared";
        let rebuild = self.order(group, Wish::Switch(gate), order, legal, instead).await?;
        match (rebuild.step, &rebuild.compared) {
            (RebuildStep::Switched | RebuildStep::Finished, _) => Ok(rebuild),
            (RebuildStep::Blocked, Some(report)) => {
                Err(RebuildError::Differs { report: Box::new(report.clone()) })
            }
            _ => Err(failed(&rebuild)),
        }
    }

    /// Lets the old build answer again, at once. The new one goes on following, and can be compared, switched
    /// or cancelled. An old build that is behind, because whoever moved it died or is under load, is waited
    /// for twice as long as a lease lasts.
    ///
    /// # Errors
    /// No rebuild, one that has not switched, an old build that nobody has brought up to date, or a fault.
    pub async fn rollback(&self, group: &str, order: Order) -> Result<Rebuild, RebuildError> {
        let legal = |step| step == RebuildStep::Switched;
        let instead = "only one that has switched can be taken back";
        let rebuild = self.order(group, Wish::RollBack, order, legal, instead).await?;
        if rebuild.step == RebuildStep::RolledBack { Ok(rebuild) } else { Err(failed(&rebuild)) }
    }

    /// Retires a build and removes its tables. Of a rebuild this is the end: of the old build after a
    /// switch, of the new one before.
    ///
    /// # Errors
    /// A build that answers and is not deprecated, one that does not exist, or a fault.
    pub async fn retire(
        &self,
        group: &str,
        build: BuildId,
        order: Order,
    ) -> Result<Vec<Build>, RebuildError> {
        let group = self.ordered_group(group)?;
        let registry = Arc::clone(self.steward.registry());
        if let Some(Held { rebuild, .. }) = self.steward.records().of(group.name()).await? {
            if rebuild.from == Some(build) && rebuild.step == RebuildStep::Switched {
                self.order(group.name(), Wish::Finish, order, |_| true, "").await?;
                return Ok(registry.builds(group.name()).await?);
            }
            if rebuild.to == build && rebuild.step != RebuildStep::Switched {
                self.cancel(group.name(), order).await?;
                return Ok(registry.builds(group.name()).await?);
            }
        }
        let builds = registry.builds(group.name()).await?;
        let stage = builds.iter().find(|held| held.id == build).map(|held| held.stage);
        let Some(from) = stage else {
            return Err(TransitError::Elsewhere { build, stage: None }.into());
        };
        let moves = [BuildMove { build, from, to: Stage::Retired }];
        let after = registry.transit(&group, &moves, &order).await?;
        if from == Stage::Deprecated {
            let (now, segments) = (self.steward.now(), segments(&group));
            Notice::change(&*registry, group.name(), |notice| {
                (notice.retired_at, notice.segments) = (Some(now), segments.clone());
            })
            .await?;
        }
        registry.drop_build(&group, build).await?;
        self.steward.learn().await?;
        Ok(after)
    }

    /// Says of a group that it will not answer for ever.
    ///
    /// # Errors
    /// A group whose build does not serve, or a fault.
    pub async fn deprecate(
        &self,
        group: &str,
        order: Order,
        announced: Deprecation,
    ) -> Result<Vec<Build>, RebuildError> {
        let after = self.move_own(group, Stage::Deprecated, &order).await?;
        let group = self.ordered_group(group)?;
        let (now, segments) = (self.steward.now(), segments(&group));
        Notice::change(&**self.steward.registry(), group.name(), |notice| {
            notice.deprecated_at = Some(now);
            (notice.sunset, notice.successor) = (announced.sunset, announced.successor.clone());
            notice.segments.clone_from(&segments);
        })
        .await?;
        Ok(after)
    }

    /// Takes a deprecation back.
    ///
    /// # Errors
    /// A group that is not deprecated, or a fault.
    pub async fn reinstate(&self, group: &str, order: Order) -> Result<Vec<Build>, RebuildError> {
        let after = self.move_own(group, Stage::Serving, &order).await?;
        Notice::change(&**self.steward.registry(), group, |notice| {
            (notice.deprecated_at, notice.sunset, notice.successor) = (None, None, None);
        })
        .await?;
        Ok(after)
    }

    /// Every build of a group, of all revisions and retired ones included, oldest first.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn builds(&self, group: &str) -> Result<Vec<Build>, Fault> {
        self.steward.registry().builds(group).await
    }

    /// The moves of one group's builds, or of all groups', newest first.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn stage_moves(&self, group: Option<&str>, most: usize) -> Result<Vec<StageMove>, Fault> {
        self.steward.registry().stage_moves(group, most).await
    }

    /// Moves the build that answers for this code.
    async fn move_own(&self, group: &str, to: Stage, order: &Order) -> Result<Vec<Build>, RebuildError> {
        let group = self.ordered_group(group)?;
        let registry = self.steward.registry();
        let builds = registry.builds(group.name()).await?;
        let Some(own) = own_build(&builds, group.revision()) else {
            return Err(RebuildError::Unknown { name: group.name().to_owned() });
        };
        let moves = [BuildMove { build: own.id, from: own.stage, to }];
        let after = registry.transit(&group, &moves, order).await?;
        self.steward.learn().await?;
        Ok(after)
    }

    /// Writes an order into a rebuild's record, and waits until it was seen to.
    async fn order(
        &self,
        group: &str,
        what: Wish,
        order: Order,
        legal: impl Fn(RebuildStep) -> bool,
        instead: &'static str,
    ) -> Result<Rebuild, RebuildError> {
        let group = self.ordered_group(group)?;
        let mut written = None;
        for _ in 0..ASK_ATTEMPTS_MAX {
            let none = || RebuildError::None { group: group.name().to_owned() };
            let mut held = self.steward.records().of(group.name()).await?.ok_or_else(none)?;
            if !legal(held.rebuild.step) {
                let step = held.rebuild.step;
                return Err(RebuildError::NotNow { group: group.name().to_owned(), step, instead });
            }
            held.rebuild.asked = Some(Asked { what, order: order.clone() });
            if self.steward.records().write(&mut held).await? {
                written = Some(held.rebuild);
                break;
            }
        }
        let Some(asked) = written else {
            let reason = "others change the rebuild all the time; try again".to_owned();
            return Err(RebuildError::Failed { reason });
        };
        self.steward.see_to(&asked).await
    }

    fn ordered_group(&self, name: &str) -> Result<Arc<Group>, RebuildError> {
        let unknown = || RebuildError::Unknown { name: name.to_owned() };
        self.group(name).ok_or_else(unknown)
    }
}

/// A rebuild that has just been ordered.
pub(crate) fn new_rebuild(
    group: &Group,
    from: Option<BuildId>,
    to: BuildId,
    order: RebuildOrder,
    now: Timestamp,
) -> Rebuild {
    let RebuildOrder { order, intended, switching, filled_from } = order;
    Rebuild {
        group: group.name().to_owned(),
        from,
        to,
        step: RebuildStep::Building,
        resumes_at: None,
        reason: None,
        order,
        intended,
        switching,
        filled_from,
        switch_ordered: None,
        asked: None,
        driver: None,
        started_at: now,
        step_at: now,
        switched_at: None,
        ended_at: None,
        progress: RebuildProgress::default(),
        measured: Measured::default(),
        compared: None,
    }
}

fn failed(rebuild: &Rebuild) -> RebuildError {
    let Rebuild { group, step, reason, .. } = rebuild;
    let stands = || format!("the rebuild of `{group}` is {step}");
    RebuildError::Failed { reason: reason.clone().unwrap_or_else(stands) }
}

fn segments(group: &Group) -> Vec<String> {
    group.models().iter().map(|model| model.schema().segment()).collect()
}
