//! The first step of a rebuild: the new build is filled, in memory as far as that goes, then in batches.

use super::RebuildStep;
use super::drive::{Drive, Driving};
use super::filling::Filling;
use crate::steward::Tended;
use diptych_core::{Code, Fault, Position};
use diptych_query::{AdvanceError, BuildMove, Mark, Order, Stage};
use std::time::Instant;

/// What a row takes in memory, by what it takes in its table: keys, slots and allocations come with it.
const MEMORY_BY_TABLE: u64 = 2;

impl Driving<'_> {
    /// Fills the new build by one slice.
    pub(super) async fn fill(&mut self, drive: &mut Drive) -> Result<Tended, Fault> {
        self.announce().await?;
        if !drive.shadow.hold().await? {
            return Ok(Tended::AtRest);
        }
        if drive.filling.is_some() {
            return self.fill_in_memory(drive).await;
        }
        if !drive.batches {
            let head = match self.open_source(drive).await {
                Ok(head) => head,
                Err(fault) if fault.code() == Code::ExportDamaged => {
                    return self.fail(fault.to_string()).await;
                }
                Err(fault) => return Err(fault),
            };
            drive.batches = true;
            let mut targets = self.targets(drive).await?;
            targets.iter_mut().for_each(|target| *target = (*target).min(head));
            let lowest = targets.iter().min().copied().unwrap_or(Position::START);
            let start = self.start(drive).await?.filter(|_| !self.group.has_statements());
            if let Some(start) = start.filter(|_| lowest > Position::START) {
                let positions_max = self.parts.follower.limits.build_block_positions_max;
                let (group, leases) = (drive.shadow.group(), drive.shadow.leases());
                let (store, registry) = (&*self.parts.follower.store, &*self.parts.registry);
                let exceptions = crate::parking::exceptions(store, registry, group).await?;
                let filling = Filling::new(group, leases, start, &exceptions, positions_max);
                drive.filling = Some(filling);
                drive.fill_target = lowest;
                drive.row_bytes = self.row_bytes(drive).await;
            } else {
                drive.fill_target = targets.iter().max().copied().unwrap_or(lowest);
            }
            return Ok(Tended::Moved);
        }
        let parts = drive.shadow.positions().len();
        let before = lowest(&drive.shadow.positions());
        let began = Instant::now();
        let targets = vec![drive.fill_target; parts];
        let moved = self.follow(drive, &targets).await?;
        drive.worked += began.elapsed();
        self.held.rebuild.measured.positions += before.lag_to(lowest(&drive.shadow.positions()));
        if moved == Tended::Moved {
            return Ok(moved);
        }
        if drive.shadow.positions().iter().any(|position| *position < drive.fill_target) {
            return Ok(Tended::AtRest);
        }
        let (worked, measured) = (drive.worked.as_secs_f64(), &mut self.held.rebuild.measured);
        measured.events_per_second = if worked > 0.0 { measured.positions as f64 / worked } else { 0.0 };
        for model in self.group.models() {
            self.parts.follower.metrics.built(model.schema().name, drive.worked);
        }
        // What follows comes from where the group is folded from in any case.
        drive.shadow.set_feed(&drive.feed);
        self.go_to(RebuildStep::CatchingUp).await
    }

    /// Opens what the new build is filled from, and answers where it ends.
    async fn open_source(&self, drive: &mut Drive) -> Result<Position, Fault> {
        if let Some(path) = &self.held.rebuild.filled_from {
            drive.filled_by = self.parts.follower.sources.opened(path).await?;
            drive.shadow.set_feed(&drive.filled_by);
        }
        Ok(drive.filled_by.head().await?.position())
    }

    /// Says of the build that answers that a successor is under way.
    async fn announce(&mut self) -> Result<(), Fault> {
        let Some(build) = self.held.rebuild.from else { return Ok(()) };
        if self.stage(build) == Some(Stage::Serving) {
            let moves = [BuildMove { build, from: Stage::Serving, to: Stage::Rebuilding }];
            let order: Order = self.held.rebuild.order.clone();
            if self.transit(&moves, &order).await?.is_err() {
                self.reload_builds().await?;
            }
        }
        Ok(())
    }

    /// The start of the log, if every partition of the new build stands there.
    async fn start(&self, drive: &Drive) -> Result<Option<Mark>, Fault> {
        let (store, group) = (&self.parts.follower.store, drive.shadow.group());
        let mut start = None;
        for partition in store.partitions_of(group) {
            let mark = store.checkpoint_of(group, partition).await?.mark;
            if mark.position() != Position::START {
                return Ok(None);
            }
            start = Some(mark);
        }
        Ok(start)
    }

    /// About how many bytes a row will take in memory, by those of the build that answers.
    async fn row_bytes(&self, drive: &Drive) -> u64 {
        let (Ok(old), Some(from)) = (&drive.old, self.held.rebuild.from) else { return drive.row_bytes };
        let mut rows = 0;
        for model in old.models() {
            rows += self.parts.follower.store.row_count(old, model.schema()).await.unwrap_or(0);
        }
        let bytes = self.parts.registry.build_bytes(self.group, from).await.unwrap_or(0);
        match bytes.checked_div(rows) {
            Some(each) if each > 0 => (each * MEMORY_BY_TABLE).clamp(128, 1 << 20),
            _ => drive.row_bytes,
        }
    }

    async fn fill_in_memory(&mut self, drive: &mut Drive) -> Result<Tended, Fault> {
        let Some(mut filling) = drive.filling.take() else { return Ok(Tended::Moved) };
        let (began, before) = (Instant::now(), filling.position());
        let reached = match filling.slice(&drive.filled_by, drive.fill_target).await {
            Ok(reached) => reached,
            Err(AdvanceError::Fault(fault)) if fault.code() == Code::ExportDamaged => {
                drive.shadow.forget();
                return self.fail(fault.to_string()).await;
            }
            Err(AdvanceError::Fault(fault)) => {
                drive.filling = Some(filling).filter(Filling::is_whole);
                return Err(fault);
            }
            // A fact that cannot be folded is found again in a batch, where it is judged.
            Err(_) => {
                drive.shadow.forget();
                return Ok(Tended::Moved);
            }
        };
        drive.worked += began.elapsed();
        self.held.rebuild.measured.positions += before.lag_to(filling.position());
        let (position, target) = (filling.position(), drive.fill_target);
        drive.note_progress(&mut self.held.rebuild.progress, position, target);
        let bytes = filling.rows_held() as u64 * drive.row_bytes;
        let full = bytes >= self.parts.follower.limits.rebuild_memory_bytes_max;
        if !reached && !full {
            drive.filling = Some(filling);
            self.save_now_and_then(drive).await?;
            return Ok(Tended::Moved);
        }
        let measured = &mut self.held.rebuild.measured;
        measured.facts += filling.facts();
        measured.spills += u64::from(!reached);
        let began = Instant::now();
        let written = self.write(drive, filling).await;
        drive.worked += began.elapsed();
        drive.shadow.forget();
        match written {
            Ok(()) => Ok(Tended::Moved),
            Err(AdvanceError::Fault(fault)) => Err(fault),
            Err(error) => {
                tracing::warn!(?error, model = self.group.name(), "what was folded could not be written");
                Ok(Tended::Moved)
            }
        }
    }

    /// Writes what is in memory, and says meanwhile that this process lives: it may take longer than a lease.
    async fn write(&mut self, drive: &Drive, filling: Filling) -> Result<(), AdvanceError> {
        let store = std::sync::Arc::clone(&self.parts.follower.store);
        let beat = self.parts.follower.limits.lease_beat;
        let writing = filling.write(&*store);
        tokio::pin!(writing);
        loop {
            tokio::select! {
                written = &mut writing => return written.map(drop),
                () = tokio::time::sleep(beat) => {
                    drive.shadow.prolong().await?;
                    self.save().await?;
                }
            }
        }
    }
}

fn lowest(positions: &[Position]) -> Position {
    positions.iter().min().copied().unwrap_or(Position::START)
}
