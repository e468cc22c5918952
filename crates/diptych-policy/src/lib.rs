//! Who may do and see what: Cedar policies (<https://docs.cedarpolicy.com/>) that both panels ask,
//! and signed tokens that say who asks. Absent on purpose: SQL, HTTP, and what a command means.

mod breakage;
mod caller;
mod compare;
mod declared;
#[cfg(any(test, feature = "differential"))]
pub mod differential;
mod doing;
mod error;
mod guard;
mod jwt;
mod policies;
mod recent;
mod sight;
mod simplify;
#[cfg(test)]
mod test_world;
#[cfg(test)]
mod tests;
mod vocabulary;
mod walker;

pub use compare::{
    ActionChange, Allowance, FieldChange, PolicyChanges, SightChange, SightComparison, action_changes,
    principal_in_words, principals_named,
};
pub use declared::{CategoryDeclaration, CommandDeclaration, Declarations};
pub use error::PolicyError;
pub use guard::{PRINCIPALS_MAX, PolicyGuard};
pub use jwt::{ClaimNames, Jwt, TOKEN_BYTES_MAX, TOKEN_LIFE_MAX, write_secret};
pub use policies::{POLICIES_MAX, POLICY_TEXT_BYTES_MAX, Policies, PolicyText};
pub use sight::EXPORT_PERMITS_MAX;
