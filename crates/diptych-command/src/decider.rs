//! The decider: the pure heart of the left panel.

use crate::{Command, Context, Rejection};
use diptych_core::{Event, PolicyAttribute};

/// Decides commands and evolves state. The implementing type is the state; its `Default` is the state before
/// any event. Both functions are pure: no clock, no randomness, no I/O.
///
/// The state serializes because `GET /{collection}/{id}` answers it; a text property `status` also stands in
/// every command's answer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a decider",
    note = "implement `Decider` on the state, which is `Default` and `Serialize` (or `#[derive(Data)]`)"
)]
pub trait Decider: Default + serde::Serialize + Send + Sync + 'static {
    /// What may be asked.
    type Command: Command;
    /// What may have happened.
    type Event: Event;
    /// What the domain may answer instead.
    type Rejection: Rejection;

    /// The properties of the state that access policies may judge commands by, under their names in its JSON.
    /// None where nothing is offered: then policies judge by who asks, the key and the command.
    ///
    /// ```text
    /// const POLICY_VIEW: &'static [PolicyAttribute] =
    ///     &[PolicyAttribute::text("teamId"), PolicyAttribute::integer("penalty").always()];
    /// ```
    const POLICY_VIEW: &'static [PolicyAttribute] = &[];

    /// Answers a command with the events it causes, none when nothing changes.
    ///
    /// # Errors
    /// The domain's no.
    fn decide(&self, command: Self::Command, context: &Context) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// The state after an event.
    #[must_use]
    fn evolve(self, event: &Self::Event) -> Self;
}
