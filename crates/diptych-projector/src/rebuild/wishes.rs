//! What an operator wants of a rebuild, carried out by whoever drives it.

use super::drive::{Drive, Driving, blocked_by};
use super::{Asked, Gate, Rebuild, RebuildStep, Switching, Wish};
use crate::shadow::{Followed, Shadow};
use crate::steward::{StewardParts, Tended};
use diptych_core::Fault;
use diptych_query::{BuildMove, Order, Stage, TransitError};

/// How often the old build is brought up to date and tried again, when the new one moved meanwhile.
const TAKE_BACK_ATTEMPTS_MAX: usize = 50;

impl Driving<'_> {
    /// Carries out what is wanted, if anything is.
    pub(super) async fn see_to_wish(&mut self, drive: &mut Drive) -> Result<Option<Tended>, Fault> {
        let Some(Asked { what, order }) = self.held.rebuild.asked.take() else { return Ok(None) };
        let step = self.held.rebuild.step;
        let stands = matches!(step, RebuildStep::Ready | RebuildStep::Blocked | RebuildStep::RolledBack);
        let done = match what {
            Wish::Pause
                if !matches!(step, RebuildStep::Paused | RebuildStep::Failed | RebuildStep::Switched) =>
            {
                self.held.rebuild.resumes_at =
                    Some(if step == RebuildStep::Comparing { RebuildStep::Shadowing } else { step });
                self.held.rebuild.reason = Some(order.reason);
                self.go_to(RebuildStep::Paused).await?
            }
            Wish::Resume if matches!(step, RebuildStep::Paused | RebuildStep::Failed) => {
                drive.shadow.try_again().await?;
                let resumes_at = self.held.rebuild.resumes_at.take().unwrap_or(RebuildStep::CatchingUp);
                // What stood against the switch before the pause does so still.
                let compared = self.held.rebuild.compared.as_ref();
                let blocked = compared.filter(|_| resumes_at == RebuildStep::Blocked).and_then(blocked_by);
                self.held.rebuild.reason = blocked;
                self.go_to(resumes_at).await?
            }
            Wish::Compare if stands => {
                // Whoever asks for a comparison wants to see it before anything else happens.
                self.held.rebuild.switching = Switching::Ordered;
                self.go_to(RebuildStep::Shadowing).await?
            }
            Wish::Switch(Gate::Compared) if step != RebuildStep::Switched => {
                self.held.rebuild.switching = Switching::Automatic;
                self.held.rebuild.switch_ordered = Some(order);
                let again = if stands { RebuildStep::Shadowing } else { step };
                self.go_to(again).await?
            }
            Wish::Switch(Gate::Forced) if stands => {
                let reason = format!("forced: {}", order.reason);
                self.switch(drive, &Order { reason, ..order }).await?
            }
            Wish::RollBack if step == RebuildStep::Switched => self.roll_back(drive, &order).await?,
            Wish::Finish if step == RebuildStep::Switched => self.finish(drive, &order).await?,
            Wish::Cancel if step != RebuildStep::Switched => self.cancel(drive, &order).await?,
            // It has gone on since it was wanted.
            _ => {
                self.save().await?;
                Tended::Moved
            }
        };
        Ok(Some(done))
    }

    /// Lets the old build answer again.
    async fn roll_back(&mut self, drive: &mut Drive, order: &Order) -> Result<Tended, Fault> {
        let Rebuild { from, to, .. } = self.held.rebuild.clone();
        let Some(from) = from else { return self.refuse("there is no build to go back to".to_owned()).await };
        let own = from.revision == self.group.revision();
        let mut former = drive.former.take().unwrap_or_else(|| {
            let StewardParts { worker, follower, progress, .. } = self.parts;
            Shadow::new(self.group, from, progress, worker, follower)
        });
        let mut refused = "the old build could not be brought up to date".to_owned();
        for _ in 0..TAKE_BACK_ATTEMPTS_MAX {
            // That of another revision is as far as its own processes have brought it.
            while own && self.follow_former(&mut former).await? == Followed::Moved {}
            let Some(stage) = self.stage(to) else { break };
            let moves = [
                BuildMove { build: to, from: stage, to: Stage::Shadowing },
                BuildMove { build: from, from: Stage::Shadowing, to: Stage::Serving },
            ];
            match self.transit(&moves, order).await? {
                Ok(()) => {
                    former.let_go().await?;
                    drive.shadow.forget();
                    self.held.rebuild.switching = Switching::Ordered;
                    self.held.rebuild.switched_at = None;
                    self.held.rebuild.reason = Some(order.reason.clone());
                    self.parts.keeper.notify_one();
                    return self.go_to(RebuildStep::RolledBack).await;
                }
                Err(error @ TransitError::Behind { .. }) => refused = error.to_string(),
                Err(error) => {
                    refused = error.to_string();
                    self.reload_builds().await?;
                    break;
                }
            }
        }
        drive.former = Some(former);
        self.refuse(refused).await
    }

    /// Lets the old build go: the end of a rebuild.
    pub(super) async fn finish(&mut self, drive: &mut Drive, order: &Order) -> Result<Tended, Fault> {
        if let Some(mut former) = drive.former.take() {
            former.let_go().await?;
        }
        if let Some(from) = self.held.rebuild.from {
            if self.stage(from) == Some(Stage::Shadowing) {
                let moves = [BuildMove { build: from, from: Stage::Shadowing, to: Stage::Retired }];
                if let Err(error) = self.transit(&moves, order).await? {
                    return self.refuse(error.to_string()).await;
                }
            }
            self.parts.registry.drop_build(self.group, from).await?;
        }
        self.end(RebuildStep::Finished).await
    }

    /// Gives the new build up.
    async fn cancel(&mut self, drive: &mut Drive, order: &Order) -> Result<Tended, Fault> {
        let Rebuild { from, to, .. } = self.held.rebuild.clone();
        if from.is_some_and(|from| from.revision != to.revision) {
            let reason = "a new revision is given up by running the code of the one before again";
            return self.refuse(reason.to_owned()).await;
        }
        (drive.filling, drive.comparison) = (None, None);
        drive.shadow.let_go().await?;
        let mut moves = Vec::new();
        if let Some(stage @ (Stage::Building | Stage::Shadowing)) = self.stage(to) {
            moves.push(BuildMove { build: to, from: stage, to: Stage::Retired });
        }
        if let Some(build) = from.filter(|from| self.stage(*from) == Some(Stage::Rebuilding)) {
            moves.push(BuildMove { build, from: Stage::Rebuilding, to: Stage::Serving });
        }
        if !moves.is_empty()
            && let Err(error) = self.transit(&moves, order).await?
        {
            self.reload_builds().await?;
            return self.refuse(error.to_string()).await;
        }
        self.parts.registry.drop_build(self.group, to).await?;
        self.held.rebuild.reason = Some(order.reason.clone());
        self.end(RebuildStep::Cancelled).await
    }

    async fn end(&mut self, step: RebuildStep) -> Result<Tended, Fault> {
        self.held.rebuild.ended_at = Some(self.parts.follower.clock.now());
        self.go_to(step).await?;
        self.records.close(self.held).await?;
        Ok(Tended::Moved)
    }
}
