//! What both panels share: identities, values, the policies of decisions and the events, whose names are the
//! stored format.

mod events;
mod fine;
mod policy;
mod values;

pub use events::{CaseEvent, DecisionEvent, PartyEvent};
pub(crate) use fine::euros;
pub use fine::{Balance, FineEvent, FineStatus, FineStep, Settlement};
pub use policy::{CURRENT_POLICY, DecisionPolicy};
pub use values::{
    Article, CaseId, DecisionId, DecisionStatus, DismissalCode, Evidence, FineId, NotificationCode,
    OfficerId, PartyId, PolicyVersion, RiskBand, SensitivityLevel, TeamId, VehicleClass, VisibilityScope,
};
