//! A case: commands, rejections, state, decisions.

use super::is_blank;
use crate::facts::{CaseEvent, PartyId, RiskBand};
use diptych::prelude::*;

/// What may be asked of a case.
#[derive(Clone, Debug, PartialEq, Command)]
pub enum CaseCommand {
    /// Opens a case.
    Open {
        /// What it is about.
        title: String,
        /// Whom it concerns.
        party_id: PartyId,
        /// How much is at stake, as far as is known.
        risk_band: RiskBand,
    },
    /// Says that more or less is at stake than was thought.
    ChangeRiskBand {
        /// How much.
        risk_band: RiskBand,
        /// Why.
        reason: String,
    },
}

/// What the domain may answer instead.
#[derive(Clone, Debug, PartialEq, Rejection)]
pub enum CaseRejection {
    /// Nobody has opened it.
    #[reject("the case does not exist", not_found)]
    CaseNotFound,
    /// It is opened once.
    #[reject("the case is already open: {title}")]
    CaseAlreadyOpen {
        /// What it is about.
        title: String,
    },
    /// A change changes something.
    #[reject("the risk band of the case is {risk_band} already")]
    RiskBandUnchanged {
        /// What it is.
        risk_band: RiskBand,
    },
    /// A case without a title, or a change without a reason, helps nobody.
    #[reject("the {field} of the case says nothing")]
    CaseTextBlank {
        /// Which text.
        field: String,
    },
}

/// A case. The default is a case that nobody has opened.
#[derive(Clone, Debug, Default, PartialEq, Data)]
pub struct Case {
    /// What it is about, once it is open.
    pub title: Option<String>,
    /// Whom it concerns.
    pub party_id: Option<PartyId>,
    /// How much is at stake.
    pub risk_band: Option<RiskBand>,
}

impl Decider for Case {
    type Command = CaseCommand;
    type Event = CaseEvent;
    type Rejection = CaseRejection;

    fn decide(&self, command: CaseCommand, _: &Context) -> Result<Vec<CaseEvent>, CaseRejection> {
        use CaseCommand::{ChangeRiskBand, Open};
        let event = match (&self.title, command) {
            (Some(title), Open { .. }) => {
                return Err(CaseRejection::CaseAlreadyOpen { title: title.clone() });
            }
            (None, Open { title, party_id, risk_band }) => {
                says_something("title", &title)?;
                CaseEvent::CaseOpened { title, party_id, risk_band }
            }
            (None, ChangeRiskBand { .. }) => return Err(CaseRejection::CaseNotFound),
            (Some(_), ChangeRiskBand { risk_band, .. }) if self.risk_band == Some(risk_band) => {
                return Err(CaseRejection::RiskBandUnchanged { risk_band });
            }
            (Some(_), ChangeRiskBand { risk_band, reason }) => {
                says_something("reason", &reason)?;
                CaseEvent::CaseRiskBandChanged { risk_band, reason }
            }
        };
        Ok(vec![event])
    }

    fn evolve(self, event: &CaseEvent) -> Self {
        match event {
            CaseEvent::CaseOpened { title, party_id, risk_band } => Self {
                title: Some(title.clone()),
                party_id: Some(party_id.clone()),
                risk_band: Some(*risk_band),
            },
            CaseEvent::CaseRiskBandChanged { risk_band, .. } => Self { risk_band: Some(*risk_band), ..self },
        }
    }
}

fn says_something(field: &str, text: &str) -> Result<(), CaseRejection> {
    if is_blank(text) { Err(CaseRejection::CaseTextBlank { field: field.to_owned() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
