//! Looks after builds: notices what was switched, lets first builds serve once they are filled, and has every
//! rebuild driven that no other process drives. What is done with a rebuild is decided in `rebuild::drive`.

use crate::follower::FollowerParts;
use crate::operate::new_rebuild;
use crate::rebuild::{
    Drive, Driving, Held, Rebuild, RebuildError, RebuildOrder, RebuildProgress, RebuildStep, Records,
    Switching, Wish,
};
use diptych_core::{Fault, Position, Timestamp};
use diptych_query::{
    Build, BuildId, BuildMove, Group, Mode, Order, Progress, ProgressEntry, Registry, Serving, Stage,
    WorkerId,
};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify, watch};

/// Who looks after builds in this process. Cheap to clone.
#[derive(Clone)]
pub struct Steward {
    parts: Arc<StewardParts>,
    tended: Arc<Mutex<Vec<TendedGroup>>>,
    /// How far the rebuilds that are driven here have come, which is newer than what is written down.
    newest: Arc<std::sync::Mutex<BTreeMap<String, RebuildProgress>>>,
}

/// What a steward needs.
pub(crate) struct StewardParts {
    pub(crate) worker: WorkerId,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) follower: FollowerParts,
    pub(crate) progress: Arc<Progress>,
    pub(crate) groups: Vec<Arc<Group>>,
    /// Has the keeper look at once.
    pub(crate) keeper: Arc<Notify>,
    /// Has the steward look at once.
    pub(crate) nudge: Notify,
}

/// One group as the steward sees it.
struct TendedGroup {
    group: Arc<Group>,
    entry: Arc<ProgressEntry>,
    builds: Vec<Build>,
    held: Option<Held>,
    drive: Option<Drive>,
    /// Where the head stood when the group was last looked at.
    head: Position,
}

/// What a step of the steward did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tended {
    /// Something moved, and more may be waiting.
    Moved,
    /// Nothing is to be done before something happens.
    AtRest,
}

/// Whether a step looks at the store first, or goes on with what it knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    First,
    Lately,
}

impl Steward {
    pub(crate) fn new(parts: StewardParts) -> Self {
        let tended = parts.groups.iter().map(|group| TendedGroup {
            group: Arc::clone(group),
            entry: parts.progress.entry(group.name()),
            builds: Vec::new(),
            held: None,
            drive: None,
            head: Position::START,
        });
        let tended = Arc::new(Mutex::new(tended.collect()));
        Self { parts: Arc::new(parts), tended, newest: Arc::default() }
    }

    /// Looks once and does one slice of what is to be done for each group, without waiting for anything.
    ///
    /// # Errors
    /// A fault of the store. What was begun goes on with the next step.
    pub async fn step(&self) -> Result<Tended, Fault> {
        self.work(Look::First).await
    }

    /// Steps until nothing is left to do.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn settle(&self) -> Result<(), Fault> {
        while self.step().await? == Tended::Moved {}
        Ok(())
    }

    /// Looks which builds there are, so that this process follows what another has switched.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn learn(&self) -> Result<(), Fault> {
        self.parts.registry.refresh().await?;
        for group in &self.parts.groups {
            let builds = self.parts.registry.builds(group.name()).await?;
            self.note(group, &builds);
        }
        Ok(())
    }

    fn note(&self, group: &Group, builds: &[Build]) {
        group.know(builds);
        let entry = self.parts.progress.entry(group.name());
        let serving = Serving::of(builds, group.revision());
        let before = entry.serving();
        if *before == serving {
            return;
        }
        // A first look finds things as they are; after that, the keeper has to see to what another build is.
        let moved = before.own.map(|(own, _)| own) != serving.own.map(|(own, _)| own);
        entry.set_serving(serving);
        if moved {
            self.parts.keeper.notify_one();
        }
    }

    /// Looks once every beat, for a process that moves nothing itself, until told to stop.
    pub(crate) async fn keep_learning(self, mut stop: watch::Receiver<bool>) {
        let mut failing = false;
        while !*stop.borrow() {
            let learnt = self.learn().await;
            if let (Err(fault), false) = (&learnt, failing) {
                tracing::warn!(%fault, "the builds of read models cannot be looked at");
            }
            failing = learnt.is_err();
            tokio::select! {
                () = tokio::time::sleep(self.parts.follower.limits.lease_beat) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Looks after builds until told to stop. Rebuilds yield to commands and questions.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let beat = self.parts.follower.limits.lease_beat;
        let (mut foreground, mut looked, mut failing) = (Foreground::default(), None::<Instant>, false);
        while !*stop.borrow() {
            let due = looked.is_none_or(|at| at.elapsed() >= beat);
            let look = if due { Look::First } else { Look::Lately };
            if due {
                looked = Some(Instant::now());
            }
            let began = Instant::now();
            let rest = match self.work(look).await {
                Ok(Tended::Moved) => {
                    failing = false;
                    self.rest_after(began.elapsed(), foreground.is_busy(&self.parts))
                }
                Ok(Tended::AtRest) => {
                    failing = false;
                    beat
                }
                Err(fault) => {
                    if !failing {
                        tracing::warn!(%fault, "the builds of read models cannot be looked after");
                    }
                    failing = true;
                    looked = None;
                    beat
                }
            };
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.parts.nudge.notified() => looked = None,
                _ = stop.changed() => {}
            }
        }
        self.let_go().await;
    }

    /// How long to rest after a slice, so that its share of time is kept.
    fn rest_after(&self, took: Duration, busy: bool) -> Duration {
        let share = self.parts.follower.limits.rebuild_share.clamp(0.01, 1.0);
        if busy { took.mul_f64(1.0 / share - 1.0) } else { Duration::ZERO }
    }

    /// Gives back what this process drives, so that another need not wait until it has been silent for long.
    async fn let_go(&self) {
        let mut tended = self.tended.lock().await;
        for group in tended.iter_mut() {
            if let (Some(drive), Some(held)) = (group.drive.take(), group.held.as_mut())
                && let Err(fault) = drive.let_go(held, &self.records(), self.parts.worker.as_str()).await
            {
                tracing::warn!(%fault, model = group.group.name(), "a rebuild could not be handed over");
            }
        }
    }

    async fn work(&self, look: Look) -> Result<Tended, Fault> {
        let mut tended = self.tended.lock().await;
        if look == Look::First {
            self.parts.registry.refresh().await?;
        }
        let mut moved = Ok(Tended::AtRest);
        for group in tended.iter_mut() {
            // What one group cannot do must not hold up the others.
            moved = match (self.work_on(group, look).await, moved) {
                (_, Err(fault)) | (Err(fault), _) => Err(fault),
                (Ok(Tended::Moved), _) => Ok(Tended::Moved),
                (Ok(Tended::AtRest), moved) => moved,
            };
        }
        moved
    }

    async fn work_on(&self, group: &mut TendedGroup, look: Look) -> Result<Tended, Fault> {
        if look == Look::First {
            self.look_at(group).await?;
        }
        self.tend(group).await
    }

    async fn look_at(&self, tended: &mut TendedGroup) -> Result<(), Fault> {
        tended.builds = self.parts.registry.builds(tended.group.name()).await?;
        self.note(&tended.group, &tended.builds);
        let fresh = self.records().of(tended.group.name()).await?;
        let known = fresh.as_ref().map(|held| held.rebuild.to);
        if tended.drive.as_ref().is_some_and(|drive| Some(drive.to()) != known) {
            tended.drive = None;
        }
        let me = self.parts.worker.as_str();
        tended.held = match (fresh, tended.held.take()) {
            // What was measured here since it was last written down is not to be lost.
            (Some(fresh), Some(own)) if tended.drive.is_some() && fresh.rebuild.is_driven_by(me) => {
                let Rebuild { order, intended, switching, asked, .. } = fresh.rebuild;
                let rebuild = Rebuild { order, intended, switching, asked, ..own.rebuild };
                Some(Held { rebuild, version: fresh.version })
            }
            (fresh, _) => fresh,
        };
        Ok(())
    }

    /// Does one slice of what a group needs.
    async fn tend(&self, tended: &mut TendedGroup) -> Result<Tended, Fault> {
        if tended.held.is_none() {
            return self.begin(tended).await;
        }
        let TendedGroup { group, entry, builds, held, drive, .. } = tended;
        let Some(mut rebuild) = held.take() else { return Ok(Tended::AtRest) };
        // What leads to another revision is driven by its code.
        if rebuild.rebuild.to.revision != group.revision() {
            *held = Some(rebuild);
            return Ok(Tended::AtRest);
        }
        let mut driving = Driving {
            parts: &self.parts,
            records: self.records(),
            group,
            entry,
            builds,
            held: &mut rebuild,
            drive,
        };
        let done = driving.slice().await;
        let Rebuild { group: name, progress, .. } = &rebuild.rebuild;
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if drive.is_some() {
            newest.insert(name.clone(), progress.clone());
        } else {
            newest.remove(name);
        }
        drop(newest);
        let share = progress.share();
        self.parts.follower.metrics.rebuilding(group, (!rebuild.rebuild.step.is_over()).then_some(share));
        if !rebuild.rebuild.step.is_over() {
            *held = Some(rebuild);
        } else {
            *drive = None;
        }
        let (group, builds) = (Arc::clone(group), builds.clone());
        self.note(&group, &builds);
        done
    }

    /// Sees to a group of which no rebuild is known: a first build that is filled begins to serve; a build
    /// that was begun beside one that answers is to replace it.
    async fn begin(&self, tended: &mut TendedGroup) -> Result<Tended, Fault> {
        let TendedGroup { group, builds, head, .. } = tended;
        let serving = Serving::of(builds, group.revision());
        let Some((own, stage)) = serving.own else { return Ok(Tended::AtRest) };
        if !stage.answers() && serving.predecessor.is_none() {
            let reached = self.filled(group, head).await?;
            return if reached { self.serve(tended, own, stage).await } else { Ok(Tended::AtRest) };
        }
        let orphan = |build: &&Build| build.id.revision == own.revision && build.stage == Stage::Building;
        let (from, to, reason) = if serving.waits_for_comparison() {
            (serving.predecessor, own, format!("revision {} was opened", own.revision))
        } else if let Some(begun) = builds.iter().find(orphan).filter(|_| stage.answers()) {
            (Some(own), begun.id, "it was begun, and whoever began it is gone".to_owned())
        } else {
            return Ok(Tended::AtRest);
        };
        let order =
            RebuildOrder { switching: Switching::Automatic, ..RebuildOrder::by(Order::of_the_hinge(reason)) };
        let rebuild = new_rebuild(group, from, to, order, self.now());
        let mut held = Held { rebuild, version: 0 };
        if self.records().write(&mut held).await? {
            tended.held = Some(held);
        }
        Ok(Tended::Moved)
    }

    /// Whether a first build has reached the head, where it stands now or stood at the last look.
    async fn filled(&self, group: &Group, seen: &mut Position) -> Result<bool, Fault> {
        let (feed, store) = (self.parts.follower.feeds().of(group), &self.parts.follower.store);
        if group.mode() == Mode::OnDemand {
            // It stands where it was last drained to, and answers from there.
            return Ok(true);
        }
        let before = std::mem::replace(seen, feed.head().await?.position());
        let checkpoint = store.checkpoint(group).await?;
        let reached = checkpoint.mark.position();
        let filled = reached >= *seen || (before > Position::START && reached >= before);
        Ok(filled && checkpoint.stopped.is_none())
    }

    /// Lets a first build serve.
    async fn serve(&self, tended: &mut TendedGroup, own: BuildId, stage: Stage) -> Result<Tended, Fault> {
        let TendedGroup { group, builds, .. } = tended;
        let steps = [(Stage::Building, Stage::Shadowing), (Stage::Shadowing, Stage::Serving)];
        let moves = steps.into_iter().skip_while(|(from, _)| *from != stage);
        let moves: Vec<_> = moves.map(|(from, to)| BuildMove { build: own, from, to }).collect();
        let order = Order::of_the_hinge("it has caught up with the log");
        match self.parts.registry.transit(group, &moves, &order).await {
            Ok(after) => {
                self.note(group, &after);
                *builds = after;
                self.parts.keeper.notify_one();
            }
            Err(diptych_query::TransitError::Fault(fault)) => return Err(fault),
            // Another process was first.
            Err(error) => tracing::debug!(%error, model = group.name(), "a first build was moved elsewhere"),
        }
        Ok(Tended::Moved)
    }

    /// Works until an order that was written into a rebuild's record is seen to, here or elsewhere.
    pub(crate) async fn see_to(&self, asked: &Rebuild) -> Result<Rebuild, RebuildError> {
        let wish = asked.asked.as_ref().map(|asked| asked.what);
        loop {
            let moved = self.step().await?;
            let Some(Held { rebuild, .. }) = self.records().of(&asked.group).await? else {
                let done = self.records().done_of(&asked.group, asked.to).await?;
                return done.ok_or_else(|| RebuildError::None { group: asked.group.clone() });
            };
            let waits = matches!(wish, Some(Wish::Compare | Wish::Switch(_)));
            let about_to = rebuild.step == RebuildStep::Ready && rebuild.switching == Switching::Automatic;
            if rebuild.asked.is_none() && (!waits || (rebuild.step.rests() && !about_to)) {
                return Ok(rebuild);
            }
            if moved == Tended::AtRest {
                tokio::time::sleep(self.parts.follower.limits.foreign_poll).await;
            }
        }
    }

    /// A rebuild with the newest that is known of its progress.
    pub(crate) fn newest(&self, mut rebuild: Rebuild) -> Rebuild {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = newest.get(&rebuild.group) {
            rebuild.progress = progress.clone();
        }
        rebuild
    }

    pub(crate) fn registry(&self) -> &Arc<dyn Registry> {
        &self.parts.registry
    }

    pub(crate) fn records(&self) -> Records {
        Records::new(Arc::clone(&self.parts.registry))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.parts.follower.clock.now()
    }

    pub(crate) fn nudge(&self) {
        self.parts.nudge.notify_one();
    }
}

/// Whether commands come or questions are asked, by what has changed since the last look.
#[derive(Default)]
struct Foreground {
    looked: Option<Instant>,
    seen: (Position, u64),
    busy: bool,
}

impl Foreground {
    /// How long somebody is taken to be about after something was seen.
    const QUIET_AFTER: Duration = Duration::from_millis(500);

    fn is_busy(&mut self, parts: &StewardParts) -> bool {
        let head = *parts.follower.feed.watch().borrow();
        let asked = parts.groups.iter().map(|group| parts.progress.entry(group.name()).samples().count());
        let now = (head, asked.sum());
        if now != self.seen {
            self.busy = self.looked.is_some();
            (self.seen, self.looked) = (now, Some(Instant::now()));
        } else if self.looked.is_none_or(|at| at.elapsed() > Self::QUIET_AFTER) {
            self.busy = false;
        }
        self.busy
    }
}
