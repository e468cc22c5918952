//! How read models stand, without any of their rows, and one position awaited over several of them at once.

use super::answering::health;
use super::{Queries, Served};
use crate::{Freshness, Health, QueryError, Schema};
use diptych_core::{Action, Principal, Token};
use std::time::Duration;

/// How a read model stands.
#[derive(Clone, Debug)]
pub struct Awaited {
    /// The declaration, with the contract.
    pub schema: &'static Schema,
    /// How fresh an answer would be now.
    pub freshness: Freshness,
    /// How the model is doing.
    pub health: Health,
    /// What waiting came to; none where no position was asked for.
    pub outcome: Option<WaitOutcome>,
}

/// What waiting for a position came to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WaitOutcome {
    /// Everything up to the position is in the rows.
    Reached,
    /// It is not, and the time is up.
    TimedOut,
    /// It is not, the time is up, and the model moves no further before the next export.
    AwaitsExport {
        /// For which one it waits, in a sentence.
        reason: String,
    },
    /// It is not, and the model will not move on by itself.
    Stalled {
        /// Why, in a sentence.
        reason: String,
    },
    /// An operator has taken the model out of service.
    Suspended {
        /// Why, in a sentence.
        reason: String,
    },
    /// The position is from another life of the log, or from another log: it will never be reached.
    EpochChanged,
}

impl WaitOutcome {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::TimedOut | Self::AwaitsExport { .. } => "timed_out",
            Self::Stalled { .. } => "stalled",
            Self::Suspended { .. } => "suspended",
            Self::EpochChanged => "epoch_changed",
        }
    }

    /// Why, where there is a reason beside the word.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Stalled { reason } | Self::Suspended { reason } | Self::AwaitsExport { reason } => {
                Some(reason)
            }
            Self::Reached | Self::TimedOut | Self::EpochChanged => None,
        }
    }
}

impl Queries {
    /// How several models stand; with a token, after waiting for it over all of them at once, at most so long
    /// altogether. A model that fails to reach it spoils nothing for the others: each has its own outcome.
    ///
    /// ```
    /// # use diptych_core::{Principal, Token};
    /// # use diptych_query::{Queries, QueryError, WaitOutcome};
    /// # use std::time::Duration;
    /// # type Asked = Result<bool, QueryError>;
    /// # async fn shown_everywhere(queries: &Queries, ann: &Principal, token: Token) -> Asked {
    /// let models = ["order_summary", "customer_ledger"];
    /// let all = queries.wait_all(ann, &models, Some(token), Duration::from_secs(2)).await?;
    /// Ok(all.iter().all(|awaited| awaited.outcome == Some(WaitOutcome::Reached)))
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`QueryError::UnknownModel`], [`QueryError::Forbidden`] for a model that the principal may not ask, or
    /// a fault of the store. No outcome of waiting is an error.
    pub async fn wait_all(
        &self,
        principal: &Principal,
        models: &[&str],
        at_least: Option<Token>,
        at_most: Duration,
    ) -> Result<Vec<Awaited>, QueryError> {
        let served = models.iter().map(|model| self.known(principal, model));
        let served: Vec<&Served> = served.collect::<Result<_, _>>()?;
        let of_this_log = match at_least {
            Some(token) => self.is_of_this_log(token).await?,
            None => true,
        };
        let at_least = at_least.filter(|_| of_this_log);
        if let Some(token) = at_least.filter(|_| !at_most.is_zero()) {
            // One after the other is at once: all wait for the same position, and while one is waited for,
            // the others come nearer to it.
            let all = async {
                for served in &served {
                    self.moves(served, &served.reading(None)).reach(token.position).await;
                }
            };
            // What was reached is told by the rows' own positions below.
            let _ = tokio::time::timeout(at_most.min(self.limits.wait_max), all).await;
        }
        let mut all = Vec::with_capacity(served.len());
        for served in served {
            let mut awaited = self.stands(served, at_least).await?;
            if !of_this_log {
                awaited.outcome = Some(WaitOutcome::EpochChanged);
                awaited.freshness.caught_up_to_requested_position = Some(false);
            }
            all.push(awaited);
        }
        Ok(all)
    }

    /// Whether a principal may ask a model.
    #[must_use]
    pub fn may_ask(&self, principal: &Principal, model: &str) -> bool {
        self.authorize.authorize(principal, Action::Query { model }).is_ok()
    }

    async fn stands(&self, served: &Served, at_least: Option<Token>) -> Result<Awaited, QueryError> {
        let reading = served.reading(None);
        let checkpoint = self.store.checkpoint(&reading.group).await?;
        let health = health(served, &reading, &checkpoint);
        let target = at_least.map(|token| token.position);
        let freshness = self.measure(served, &checkpoint, target).await?;
        let reached = freshness.caught_up_to_requested_position;
        let export = match reached {
            Some(false) => self.export_of(served, checkpoint.mark.position()).await,
            _ => None,
        };
        // Whoever took it out of service outdoes what else is wrong with it.
        let outcome = reached.map(|reached| match served.entry.troubles().suspended {
            Some(reason) => WaitOutcome::Suspended { reason },
            None => match (waited(reached, &health), export) {
                (WaitOutcome::TimedOut, Some(export)) => {
                    WaitOutcome::AwaitsExport { reason: export.awaited_in_words(self.clock.now()) }
                }
                (outcome, _) => outcome,
            },
        });
        Ok(Awaited { schema: served.model.schema(), freshness, health, outcome })
    }
}

fn waited(reached: bool, health: &Health) -> WaitOutcome {
    match health {
        _ if reached => WaitOutcome::Reached,
        Health::Stopped { reason, .. } | Health::OlderCode { reason, .. } => {
            WaitOutcome::Stalled { reason: reason.clone() }
        }
        _ => WaitOutcome::TimedOut,
    }
}
