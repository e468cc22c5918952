//! What the domain says when it says no: a name, its data, a sentence.

use diptych_core::{DecodeError, EncodeError};
use schemars::{Schema, SchemaGenerator};

/// How a rejection reads to a caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RejectionKind {
    /// The rule forbids it in this state.
    Refused,
    /// What the command is about does not exist.
    NotFound,
}

/// The name and kind of one rejection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RejectionType {
    /// The stable name, such as `order_already_cancelled`.
    pub name: &'static str,
    /// How it reads to a caller.
    pub kind: RejectionKind,
    /// What it means, from the doc comment.
    pub meaning: &'static str,
}

/// The rejections of one decider. Derived by `#[derive(Rejection)]`; kept in the ledger and rebuilt from it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a rejection",
    note = "write `#[derive(Rejection)]` on its enum"
)]
pub trait Rejection: std::error::Error + Sized + Send + Sync + 'static {
    /// Every rejection.
    const TYPES: &'static [RejectionType];

    /// The type of this rejection.
    fn rejection_type(&self) -> RejectionType;

    /// Its data as JSON text.
    ///
    /// # Errors
    /// Refuses data that could not be read back.
    fn encode(&self) -> Result<String, EncodeError>;

    /// Rebuilds it from the ledger.
    ///
    /// # Errors
    /// An unknown name, or data that does not fit it.
    fn decode(name: &str, data: &str) -> Result<Self, DecodeError>;

    /// The JSON Schema of each data, in the order of `TYPES`.
    fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema>;
}
