//! What an operator wants of a rebuild, carried out by whoever drives it.

use super::drive::{Drive, Driving, blocked_by};
use super::{Asked, Gate, Rebuild, RebuildStep, Switching, Wish};
use crate::shadow::{Followed, Shadow};
use crate::steward::Tended;
use diptych_core::Fault;
use diptych_query::{BuildId, BuildMove, Order, Stage, TransitError};
use std::time::Instant;

/// How often the old build is brought up to date and tried again, when the new one moved meanwhile.
const TAKE_BACK_ATTEMPTS_MAX: usize = 50;

/// How many times the life of a lease an order to go back stands while the old build is behind: whoever held
/// it may have died, and its processes may be under load.
const TAKE_BACK_LEASES_MAX: u32 = 2;

/// Whether the old build answers again.
enum TakenBack {
    Done,
    /// It is behind, which may pass.
    Behind(String),
    /// Something stands against it that does not pass by itself.
    Refused(String),
}

impl Driving<'_> {
    /// Carries out what is wanted, if anything is.
    pub(super) async fn see_to_wish(&mut self, drive: &mut Drive) -> Result<Option<Tended>, Fault> {
        let Some(Asked { what, order }) = self.held.rebuild.asked.take() else { return Ok(None) };
        let step = self.held.rebuild.step;
        let stands = matches!(step, RebuildStep::Ready | RebuildStep::Blocked | RebuildStep::RolledBack);
        if what != Wish::RollBack {
            drive.taking_back_since = None;
        }
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
        let mut former = self.former(drive, from);
        let refused = match self.take_back(&mut former, from, to, order).await? {
            TakenBack::Done => {
                former.let_go().await?;
                drive.shadow.forget();
                return self.rolled_back(drive, order).await;
            }
            TakenBack::Behind(_) if self.may_still_come(drive) => {
                drive.former = Some(former);
                self.held.rebuild.asked = Some(Asked { what: Wish::RollBack, order: order.clone() });
                return Ok(Tended::AtRest);
            }
            TakenBack::Behind(reason) | TakenBack::Refused(reason) => reason,
        };
        drive.former = Some(former);
        drive.taking_back_since = None;
        self.refuse(refused).await
    }

    /// Moves the two builds back, with the old one brought as far as it comes now.
    async fn take_back(
        &mut self,
        former: &mut Shadow,
        from: BuildId,
        to: BuildId,
        order: &Order,
    ) -> Result<TakenBack, Fault> {
        // That of another revision is as far as its own processes have brought it.
        let own = from.revision == self.group.revision();
        let mut behind = String::new();
        for _ in 0..TAKE_BACK_ATTEMPTS_MAX {
            let followed = if own { self.bring_up(former).await? } else { Followed::NotNow };
            let Some(stage) = self.stage(to) else {
                return Ok(TakenBack::Refused(format!("there is no build {to} any more")));
            };
            let moves = [
                BuildMove { build: to, from: stage, to: Stage::Shadowing },
                BuildMove { build: from, from: Stage::Shadowing, to: Stage::Serving },
            ];
            behind = match self.transit(&moves, order).await? {
                Ok(()) => return Ok(TakenBack::Done),
                Err(error @ TransitError::Behind { .. }) => error.to_string(),
                Err(error) => {
                    self.reload_builds().await?;
                    return Ok(TakenBack::Refused(error.to_string()));
                }
            };
            match followed {
                Followed::There | Followed::Moved => {}
                Followed::NotNow => break,
                Followed::Stopped(reason) => return Ok(TakenBack::Refused(reason)),
            }
        }
        Ok(TakenBack::Behind(behind))
    }

    async fn rolled_back(&mut self, drive: &mut Drive, order: &Order) -> Result<Tended, Fault> {
        drive.taking_back_since = None;
        self.held.rebuild.switching = Switching::Ordered;
        self.held.rebuild.switched_at = None;
        self.held.rebuild.reason = Some(order.reason.clone());
        self.parts.keeper.notify_one();
        self.go_to(RebuildStep::RolledBack).await
    }

    /// Brings the old build as far as it comes now.
    async fn bring_up(&self, former: &mut Shadow) -> Result<Followed, Fault> {
        loop {
            match self.follow_former(former).await? {
                Followed::Moved => {}
                followed => return Ok(followed),
            }
        }
    }

    /// Whether an old build that is behind is waited for any longer.
    fn may_still_come(&self, drive: &mut Drive) -> bool {
        let since = *drive.taking_back_since.get_or_insert_with(Instant::now);
        since.elapsed() < self.parts.follower.limits.lease_duration * TAKE_BACK_LEASES_MAX
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
