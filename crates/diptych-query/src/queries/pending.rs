//! What is committed and not in the rows of an answer yet: facts after the answer's position that touch them.
//! Knows nothing of commands that wait to be done; whoever knows the left panel adds them.

use super::{Queries, RawRow};
use crate::{Freshness, QueryError, Touch};
use diptych_core::{Actor, CommandId, Metadata, Position, Principal, RawFact, Timestamp, Value};
use std::sync::Arc;

/// A row that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct AskedRow<'a> {
    /// Its key.
    pub key: &'a [Value],
    /// What was answered; none where there is no such row, or none that may be seen.
    pub row: Option<&'a RawRow>,
}

/// A command whose events a row lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PendingCommand {
    /// The row, by its key.
    pub key: Vec<Value>,
    /// The command.
    pub command: CommandId,
    /// Who gave it.
    pub actor: Actor,
    /// The position that the model must reach to show all of it.
    pub position: Position,
    /// Since when it is committed.
    pub since: Timestamp,
}

/// The commands whose events rows lack, in the order of their commits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PendingCommands {
    /// The commands, each once for each row.
    pub commands: Vec<PendingCommand>,
    /// Whether more may lie beyond what was looked through, `pending_events_max`.
    pub more: bool,
}

impl Queries {
    /// The commands whose events the rows of an answer lack. Looks through the log from the answer's
    /// position on, at most `pending_events_max` events.
    ///
    /// Where a model is split into partitions the answer's position is that of the last of them, so that a
    /// row of another may show already what is named here.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn pending(
        &self,
        principal: &Principal,
        model: &str,
        rows: &[AskedRow<'_>],
        answered: &Freshness,
    ) -> Result<PendingCommands, QueryError> {
        let served = self.known(principal, model)?;
        let mut found = PendingCommands::default();
        if rows.is_empty() || answered.lag_events == 0 {
            return Ok(found);
        }
        let (after, most) = (answered.projection_position, self.limits.pending_events_max);
        let block = self.feed.read(after, served.group.categories(), most).await?;
        found.more = block.through.position() < block.head;
        let own = block.facts.iter().filter(|raw| raw.stream.tenant == principal.tenant);
        for raw in own {
            // What cannot be routed stops the model, whose health says so.
            let touches = served.model.routed(raw).unwrap_or_default();
            let lacking = rows.iter().filter(|asked| touches.iter().any(|touch| asked.is_touched(touch)));
            for asked in lacking {
                found.add(asked.key, raw);
            }
        }
        Ok(found)
    }
}

impl AskedRow<'_> {
    fn is_touched(&self, touch: &Touch) -> bool {
        match touch {
            Touch::Row(key) => key == self.key,
            Touch::Where { column, value } => {
                self.row.is_some_and(|row| row.values.get(*column).is_some_and(|held| held == value))
            }
            Touch::BySql => false,
        }
    }
}

impl PendingCommands {
    fn add(&mut self, key: &[Value], raw: &Arc<RawFact>) {
        // Facts that no command of ours wrote have no command to name.
        let Ok(Metadata { actor, command, .. }) = Metadata::decode(&raw.metadata) else { return };
        let same = |held: &&mut PendingCommand| held.command == command && held.key == key;
        match self.commands.iter_mut().find(same) {
            Some(held) => held.position = raw.position,
            None => {
                let (key, position, since) = (key.to_vec(), raw.position, raw.recorded_at);
                self.commands.push(PendingCommand { key, command, actor, position, since });
            }
        }
    }
}
