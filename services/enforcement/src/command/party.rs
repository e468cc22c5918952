//! A party: commands, rejections, state, decisions.

use super::is_blank;
use crate::facts::PartyEvent;
use diptych::prelude::*;

/// What may be asked of a party.
#[derive(Clone, Debug, PartialEq, Command)]
pub enum PartyCommand {
    /// Makes a party known.
    Register {
        /// What it is called.
        display_name: String,
    },
    /// Puts a wrong name right.
    CorrectName {
        /// What it is called.
        display_name: String,
        /// Why it was wrong.
        reason: String,
    },
}

/// What the domain may answer instead.
#[derive(Clone, Debug, PartialEq, Rejection)]
pub enum PartyRejection {
    /// Nobody has registered it.
    #[reject("the party does not exist", not_found)]
    PartyNotFound,
    /// It is registered once.
    #[reject("the party is already registered")]
    PartyAlreadyRegistered,
    /// A correction corrects something.
    #[reject("the party is called that already")]
    PartyNameUnchanged,
    /// A party without a name, or a correction without a reason, helps nobody.
    #[reject("the {field} of the party says nothing")]
    PartyTextBlank {
        /// Which text.
        field: String,
    },
}

/// A party. The default is a party that nobody has registered.
#[derive(Clone, Debug, Default, PartialEq, Data)]
pub struct Party {
    /// What it is called, once it is registered.
    pub display_name: Option<String>,
}

impl Decider for Party {
    type Command = PartyCommand;
    type Event = PartyEvent;
    type Rejection = PartyRejection;

    fn decide(&self, command: PartyCommand, _: &Context) -> Result<Vec<PartyEvent>, PartyRejection> {
        use PartyCommand::{CorrectName, Register};
        let event = match (&self.display_name, command) {
            (Some(_), Register { .. }) => return Err(PartyRejection::PartyAlreadyRegistered),
            (None, Register { display_name }) => {
                says_something("name", &display_name)?;
                PartyEvent::PartyRegistered { display_name }
            }
            (None, CorrectName { .. }) => return Err(PartyRejection::PartyNotFound),
            (Some(known), CorrectName { display_name, .. }) if *known == display_name => {
                return Err(PartyRejection::PartyNameUnchanged);
            }
            (Some(_), CorrectName { display_name, reason }) => {
                says_something("name", &display_name)?;
                says_something("reason", &reason)?;
                PartyEvent::PartyNameCorrected { display_name, reason }
            }
        };
        Ok(vec![event])
    }

    fn evolve(self, event: &PartyEvent) -> Self {
        match event {
            PartyEvent::PartyRegistered { display_name }
            | PartyEvent::PartyNameCorrected { display_name, .. } => {
                Self { display_name: Some(display_name.clone()) }
            }
        }
    }
}

fn says_something(field: &str, text: &str) -> Result<(), PartyRejection> {
    if is_blank(text) { Err(PartyRejection::PartyTextBlank { field: field.to_owned() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
