//! What both panels share: identities, values, the policies of decisions and the events, whose names are the stored
//! format.

mod events;
mod policy;
mod values;

pub use events::{CaseEvent, DecisionEvent, PartyEvent};
pub use policy::{CURRENT_POLICY, DecisionPolicy};
pub use values::{
    CaseId, DecisionId, DecisionStatus, Evidence, PartyId, PolicyVersion, RiskBand, SensitivityLevel, TeamId,
    VisibilityScope,
};
