//! One table of a fold, without its types.

use super::{Decoded, Earlier, FoldError};
use crate::{RowRef, StoredRow, TableChanges, TableNeeds};
use diptych_core::{Position, RawFact};
use std::any::Any;
use std::sync::Arc;

/// One table of a fold, without its types.
pub trait TableFold: Send {
    /// Decodes and routes facts, which `decoded` is about. A table that is known to be empty folds them at
    /// once; the earlier tables have taken them before.
    ///
    /// # Errors
    /// A fact that cannot be decoded or routed.
    fn plan(
        &mut self,
        facts: &[Arc<RawFact>],
        decoded: &mut Decoded,
        earlier: Earlier<'_>,
    ) -> Result<(), FoldError>;
    /// The rows still to be supplied, each named once.
    fn needs(&mut self) -> TableNeeds;
    /// Hands over stored rows.
    ///
    /// # Errors
    /// A row that is not what was written.
    fn supply(&mut self, rows: Vec<StoredRow>) -> Result<(), FoldError>;
    /// About how many bytes its rows take.
    fn bytes(&self) -> usize {
        0
    }
    /// Lets the rows go that were not met since this was last asked. Said when the store holds all of them.
    fn let_go(&mut self) {}
    /// Lets all rows go that pass nothing over. Said when the store holds all of them.
    fn empty(&mut self) {}
    /// Folds the planned facts; `clock` is the position that the group had reached before. When a row of an
    /// earlier table was missing, nothing has changed and the table runs again once it is there.
    ///
    /// # Errors
    /// A fact at which the projection failed although nothing was missing.
    fn run(&mut self, clock: Position, earlier: Earlier<'_>) -> Result<Ran, FoldError>;
    /// Asks for a row that a later table has looked for.
    fn want(&mut self, row: &RowRef);
    /// Forgets how rows stood before: every later table has folded.
    ///
    /// # Errors
    /// A row that no store can keep, of a table whose rows stay.
    fn settle(&mut self) -> Result<(), FoldError>;
    /// What changed since it was last asked.
    ///
    /// # Errors
    /// A row that no store can keep.
    fn changes(&mut self) -> Result<TableChanges, FoldError>;
    /// As `changes`, but at most so many rows, which are moved out of a fold that is at its end; all of them
    /// are told when there are fewer. A table that cannot be asked for a part answers all at once.
    ///
    /// # Errors
    /// As `changes`.
    fn rows_up_to(&mut self, rows_max: usize) -> Result<TableChanges, FoldError> {
        let _ = rows_max;
        self.changes()
    }
    /// Passes over the facts of these rows, each from a position on. Said when everything is planned, or
    /// before anything is where the table is known to be empty.
    fn hold(&mut self, rows: Vec<(RowRef, Position)>);
    /// Passes over one fact of each of these rows. Said when `hold` is.
    fn skip(&mut self, rows: Vec<(RowRef, Position)>);
    /// Folds these rows and no others, each from a fact on. Said before anything is planned.
    fn only(&mut self, rows: Vec<(RowRef, Position)>);
    /// How many facts met no row and left none.
    fn no_ops(&self) -> u64;
    /// How many facts were passed over because the projection does not know their type and ignores it.
    fn ignored(&self) -> u64;
    /// How many rows are held.
    fn rows_held(&self) -> usize;
    /// The typed table, in which later ones look rows up.
    fn as_any(&self) -> &dyn Any;
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ran {
    /// Everything planned is folded.
    Done,
    /// Rows of earlier tables were missing: nothing is folded.
    Missed,
}
