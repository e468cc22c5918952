//! Waiting for a position: whether it is of this log, and until when it is worth waiting. Looks at no row.

use super::{Ask, Queries, Reading, Served};
use crate::{Contract, QueryError};
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
        let strong = served.model.schema().contract == Contract::Strong;
        let mut target = None;
        if let Some(token) = ask.at_least {
            self.verify(token).await?;
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
            self.wait(served, reading, target, wait).await?;
        }
        Ok(ask.at_least.map(|token| token.position).or(target.filter(|_| strong)))
    }

    /// A token must be of this log as it is now.
    async fn verify(&self, token: Token) -> Result<(), QueryError> {
        match self.feed.mark(token.position).await? {
            Some(mark) if mark.token == token => Ok(()),
            _ => Err(QueryError::EpochChanged { token }),
        }
    }

    /// Waits until a group stands at a position, stops moving, or time is up.
    async fn wait(
        &self,
        served: &Served,
        reading: &Reading,
        target: Position,
        at_most: Duration,
    ) -> Result<(), QueryError> {
        let Served { entry, .. } = served;
        let mut watch = entry.watch();
        let reached = async {
            loop {
                let reached = *watch.borrow_and_update() >= target || entry.health().is_stalled();
                if reached && reading.is_own {
                    return Ok(());
                }
                if entry.is_followed() && reading.is_own {
                    // The sender lives as long as the entry does.
                    let _ = watch.changed().await;
                    continue;
                }
                let checkpoint = self.store.checkpoint(&reading.group).await?;
                if reading.is_own {
                    entry.advance(checkpoint.mark.position());
                }
                if checkpoint.mark.position() >= target || checkpoint.stopped.is_some() {
                    return Ok(());
                }
                let _ = tokio::time::timeout(self.limits.foreign_poll, watch.changed()).await;
            }
        };
        match tokio::time::timeout(at_most, reached).await {
            Ok(result) => result,
            Err(_) => Ok(()),
        }
    }
}
