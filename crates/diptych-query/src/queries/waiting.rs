//! Waiting for a position: whether it is of this log, and until when it is worth waiting. Looks at no row.

use super::{Ask, Queries, Reading, Served};
use crate::{Consistency, Contract, QueryError, Schema};
use diptych_core::{Position, Token};
use std::time::Duration;

impl Queries {
    /// Checks the position that an answer must hold, and waits for it as long as was asked.
    pub(super) async fn prepare(
        &self,
        served: &Served,
        reading: &Reading,
        ask: &Ask,
    ) -> Result<Option<Position>, QueryError> {
        let schema = served.model.schema();
        if ask.consistency == Some(Consistency::Bounded)
            && schema.contract == Contract::Eventual
            && ask.max_stale.is_none()
        {
            let reason = "is `bounded`, and the read model declares no bound: name one, such as maxStale=5";
            return Err(QueryError::parameter("consistency", reason));
        }
        let strong = is_strong(schema, ask);
        let mut target = None;
        if let Some(token) = ask.at_least {
            if !self.is_of_this_log(token).await? {
                return Err(QueryError::EpochChanged { token });
            }
            target = Some(token.position);
        }
        if strong {
            let head = self.feed.head().await?.position();
            target = Some(target.map_or(head, |position: Position| position.max(head)));
        }
        let wait = match ask.wait {
            Some(wait) => wait.min(self.limits.wait_max),
            None if strong => self.limits.query_max,
            None => Duration::ZERO,
        };
        if let Some(target) = target
            && !wait.is_zero()
        {
            // Whether it was reached is told by the rows' own position.
            let _ = tokio::time::timeout(wait, self.moves(served, reading).reach(target)).await;
        }
        Ok(target)
    }

    /// Whether a token is of this log as it is now.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn is_of_this_log(&self, token: Token) -> Result<bool, QueryError> {
        let mark = self.feed.mark(token.position).await?;
        Ok(mark.is_some_and(|mark| mark.token == token))
    }
}

/// Whether everything committed before the question must be in its answer.
pub(super) fn is_strong(schema: &Schema, ask: &Ask) -> bool {
    schema.contract == Contract::Strong || ask.consistency == Some(Consistency::Strong)
}
