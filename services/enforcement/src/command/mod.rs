//! The left panel: what may be asked of a case, a decision, a fine and a party. Knows nothing of read models.

mod case;
mod decision;
mod fine;
mod party;

pub use case::{Case, CaseCommand, CaseRejection};
pub use decision::{Decision, DecisionCommand, DecisionRejection};
pub use fine::{Fine, FineCommand, FineRejection};
pub use party::{Party, PartyCommand, PartyRejection};

/// Whether a text says anything.
fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
