//! The accounts' events as plain structs that serde reads, with numbers for their types.

use crate::Outcome;
use crate::workload::{Action, Movement, Opening, Renaming};
use serde::{Deserialize, Serialize};

/// An event, each kind a struct of its own.
pub(crate) enum AccountEvent {
    Opened(Opened),
    Deposited(Moved),
    Withdrawn(Moved),
    Renamed(Renamed),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Opened {
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) branch: String,
    pub(crate) address: String,
    pub(crate) terms: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Moved {
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) reference: String,
    pub(crate) counterparty: String,
    pub(crate) channel: String,
    pub(crate) description: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Renamed {
    pub(crate) name: String,
    pub(crate) previous: String,
    pub(crate) clerk: String,
    pub(crate) reason: String,
}

/// What stands beside every payload: who, and by which command.
#[derive(Serialize)]
pub(crate) struct Metadata<'a> {
    pub(crate) actor: &'a str,
    pub(crate) command: &'a str,
}

impl AccountEvent {
    /// The event of an action.
    pub(crate) fn of(action: Action) -> Self {
        let moved = |movement: Movement| {
            let Movement { amount, currency, reference, counterparty, channel, description } = movement;
            Moved { amount, currency, reference, counterparty, channel, description }
        };
        match action {
            Action::Open(Opening { owner, name, branch, address, terms }) => {
                Self::Opened(Opened { owner, name, branch, address, terms })
            }
            Action::Deposit(movement) => Self::Deposited(moved(movement)),
            Action::Withdraw(movement) => Self::Withdrawn(moved(movement)),
            Action::Rename(Renaming { name, previous, clerk, reason }) => {
                Self::Renamed(Renamed { name, previous, clerk, reason })
            }
        }
    }

    /// The number of its type, as stored.
    pub(crate) fn kind(&self) -> i64 {
        match self {
            Self::Opened(_) => 1,
            Self::Deposited(_) => 2,
            Self::Withdrawn(_) => 3,
            Self::Renamed(_) => 4,
        }
    }

    /// Its payload.
    pub(crate) fn encode(&self) -> Outcome<String> {
        Ok(match self {
            Self::Opened(opened) => serde_json::to_string(opened)?,
            Self::Deposited(moved) | Self::Withdrawn(moved) => serde_json::to_string(moved)?,
            Self::Renamed(renamed) => serde_json::to_string(renamed)?,
        })
    }

    /// Reads a payload as text, as the product keeps it.
    pub(crate) fn decode_text(kind: i64, payload: &str) -> Outcome<Self> {
        Ok(match kind {
            1 => Self::Opened(serde_json::from_str(payload)?),
            2 => Self::Deposited(serde_json::from_str(payload)?),
            3 => Self::Withdrawn(serde_json::from_str(payload)?),
            4 => Self::Renamed(serde_json::from_str(payload)?),
            other => return Err(format!("event type {other} is not known").into()),
        })
    }

    /// Reads a payload as bytes: one match, then serde straight into the struct.
    pub(crate) fn decode(kind: i64, payload: &[u8]) -> Outcome<Self> {
        Ok(match kind {
            1 => Self::Opened(serde_json::from_slice(payload)?),
            2 => Self::Deposited(serde_json::from_slice(payload)?),
            3 => Self::Withdrawn(serde_json::from_slice(payload)?),
            4 => Self::Renamed(serde_json::from_slice(payload)?),
            other => return Err(format!("event type {other} is not known").into()),
        })
    }
}
