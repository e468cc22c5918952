//! Moving builds from stage to stage in the transaction of an append's turn: judged, brought to the head
//! where the build is inline, written and recorded together.

use super::Writer;
use super::group::GroupTx;
use super::inline::{bring_to_the_head, run};
use crate::fault::OrFault;
use crate::models::{Attached, registry};
use diptych_query::{Build, BuildId, BuildMove, Group, Mode, Order, TransitError, judge, taken_over};
use rusqlite::Connection;

/// Moves of a group's builds.
pub(crate) struct Switch {
    pub(crate) group: Group,
    pub(crate) moves: Vec<BuildMove>,
    pub(crate) order: Order,
    /// Where a build with a file takes over from another: that these two were looked at.
    pub(crate) standstill: Option<Standstill>,
}

/// Two builds in files of their own: the new one has come as far as the one that answered, which cannot move
/// on while this is held.
pub(crate) struct Standstill {
    pub(crate) new: BuildId,
    pub(crate) gone: BuildId,
    /// A write transaction in the file of the one that answered, if it has one.
    pub(crate) _held: Option<Connection>,
}

impl Writer {
    /// Moves builds. Whoever appends or reads in this process sees it at once, every other at its next append
    /// or look.
    pub(crate) fn transit(&mut self, switch: Switch) -> Result<Vec<Build>, TransitError> {
        let moved = self.transit_now(&switch);
        if moved.is_err() {
            self.recover();
        }
        drop(switch);
        if let Err(error) = self.refresh() {
            tracing::warn!(%error, "could not look where inline read models stand");
        }
        moved
    }

    fn transit_now(&mut self, switch: &Switch) -> Result<Vec<Build>, TransitError> {
        let Switch { group, moves, order, standstill } = switch;
        let Self { connection, shared, state, inline } = self;
        run(connection, "BEGIN IMMEDIATE")?;
        let turn = GroupTx::begin(connection, shared, state, inline)?;
        let (head, now) = (turn.state.head, turn.now);
        turn.finish()?;
        let before = registry::of_group(connection, group.name()).or_fault()?;
        let after = judge(&before, moves)?;
        if let Some((new, Some(gone))) = taken_over(&before, &after) {
            let looked_at = standstill.as_ref().is_some_and(|held| held.is_of(new.id, gone.id));
            if group.mode() == Mode::Inline {
                let attached = Attached::in_log(group, new.id)?;
                bring_to_the_head(connection, shared, group, &attached, head, now)?;
            } else if !looked_at {
                // Somebody moved a build since the files were looked at.
                return Err(TransitError::Elsewhere { build: gone.id, stage: Some(gone.stage) });
            }
        }
        registry::make_moves(connection, group.name(), moves, order, now).or_fault()?;
        run(connection, "COMMIT")?;
        let builds = shared.builds.learn_of(connection, group.name()).or_fault()?;
        self.announce();
        Ok(builds)
    }
}

impl Standstill {
    fn is_of(&self, new: BuildId, gone: BuildId) -> bool {
        (self.new, self.gone) == (new, gone)
    }
}
