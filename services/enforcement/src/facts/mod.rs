//! What both panels share: identities, values, the known policies and the events, whose names are the stored
//! format.

mod events;
mod policy;
mod values;

pub use events::{CaseEvent, DecisionEvent, PartyEvent};
pub use policy::{CURRENT_POLICY, Standing, standing};
pub use values::{
    CaseId, DecisionId, DecisionStatus, Evidence, PartyId, PolicyVersion, RiskBand, SensitivityLevel, TeamId,
    VisibilityScope,
};
