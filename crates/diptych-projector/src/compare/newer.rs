//! What a new build has taken that the old one never will: code of a new revision moves its inline build with
//! every command, and the build of code that runs nowhere stands still. The two have no position in common
//! then; but rows that no fact in between names must be the same.

use diptych_core::{Fault, Position};
use diptych_query::{Feed, Group, RowRef, Touch};
use std::collections::HashSet;

/// How many positions may lie between two builds that are compared all the same.
const POSITIONS_MAX: u64 = 100_000;

/// How many positions are read at once.
const BLOCK_POSITIONS_MAX: usize = 10_000;

/// The rows that facts between two positions name, table by table.
#[derive(Default)]
pub(crate) struct Newer {
    read: Option<(Position, Position)>,
    rows: Vec<HashSet<RowRef>>,
}

impl Newer {
    /// Reads on until everything in `(after, through]` is known. Says why that cannot be known.
    pub(crate) async fn read(
        &mut self,
        group: &Group,
        feed: &dyn Feed,
        after: Position,
        through: Position,
    ) -> Result<Result<(), String>, Fault> {
        if after.lag_to(through) > POSITIONS_MAX {
            let between = after.lag_to(through);
            return Ok(Err(format!("the new build stands {between} positions further than the old one")));
        }
        self.rows.resize(group.models().len(), HashSet::new());
        let known = self.read.filter(|(from, _)| *from <= after);
        let mut position = known.map_or(after, |(_, known)| known);
        while position < through {
            let left = usize::try_from(position.lag_to(through)).unwrap_or(usize::MAX);
            let block = feed.read(position, group.categories(), left.min(BLOCK_POSITIONS_MAX)).await?;
            if block.through.position() == position {
                break;
            }
            for fact in &block.facts {
                for (model, rows) in group.models().iter().zip(&mut self.rows) {
                    for touch in model.routed(fact).unwrap_or_default() {
                        let Touch::Row(key) = touch else {
                            return Ok(Err("newer facts name rows by what stands in them".to_owned()));
                        };
                        let tenant = model.schema().tenants.owner(&fact.stream.tenant).clone();
                        rows.insert(RowRef { tenant, key });
                    }
                }
            }
            position = block.through.position();
        }
        self.read = Some((known.map_or(after, |(from, _)| from), position.max(through)));
        Ok(Ok(()))
    }

    /// The rows of a table.
    pub(crate) fn of(&self, table: usize) -> HashSet<RowRef> {
        self.rows.get(table).cloned().unwrap_or_default()
    }
}
