//! Command languages: intent-named data that asks one stream to change.

use crate::ShapeError;
use diptych_core::{EncodeError, INDEXED_TEXT_BYTES_MAX};
use schemars::{Schema, SchemaGenerator};

/// The name of one kind of command, with its place in an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandType {
    /// The stable name, imperative, such as `ChangeShippingAddress`.
    pub name: &'static str,
    /// The last segment of its address, such as `change-shipping-address`.
    pub segment: &'static str,
    /// What it means, from the doc comment.
    pub meaning: &'static str,
    /// Whether a caller must bring an idempotency key.
    pub key_required: bool,
    /// The member of an envelope that must name the authenticated actor, such as `approvedBy`; it is not
    /// part of the body.
    pub actor: Option<&'static str>,
}

/// The commands of one decider. Derived by `#[derive(Command)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command language",
    note = "write `#[derive(Command)]` on its enum"
)]
pub trait Command: Sized + Send + Sync + 'static {
    /// Every command.
    const TYPES: &'static [CommandType];

    /// How many bytes a text of a body may have, as `decode` checks it.
    const TEXT_BYTES_MAX: usize = INDEXED_TEXT_BYTES_MAX;

    /// The type of this command.
    fn command_type(&self) -> CommandType;

    /// The body as JSON text. A typed command whose texts are within the limit is decided without `decode`.
    ///
    /// # Errors
    /// Refuses a command that could not be read back, such as one holding an empty id.
    fn encode(&self) -> Result<String, EncodeError>;

    /// Reads a body; unknown properties are refused by name, and every bad field is named.
    ///
    /// # Errors
    /// [`ShapeError`] with one entry for each field that is missing, unknown or of the wrong form.
    fn decode(name: &str, body: &str) -> Result<Self, ShapeError>;

    /// The JSON Schema of every body, in the order of `TYPES`.
    fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema>;
}
