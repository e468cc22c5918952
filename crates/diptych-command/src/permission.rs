//! Permission for commands: asked for before anything is loaded, and again with the state where the policies
//! cannot tell without it. Knows no policy language.

use crate::handler::Checked;
use crate::ledger::{CommandHeader, RefusedFor};
use crate::request::Envelope;
use crate::store::{Commit, Effect};
use crate::{AnyDecider, Commands, HandleError, RawError, Refusal, State};
use diptych_core::{Action, Fault, Forbidden, Permit, Version};

impl Commands {
    pub(crate) fn permit(
        &self,
        envelope: &Envelope,
        header: &CommandHeader,
        body: &str,
    ) -> Result<Permit, Forbidden> {
        let (category, key) = (header.stream.stream.category.as_str(), header.stream.stream.key.as_str());
        if envelope.time.is_some() {
            self.authorize.authorize(&envelope.principal, Action::Import { category })?;
        }
        let action = Action::Command { category, key, name: &header.name, body, state: None };
        self.authorize.authorize(&envelope.principal, action)
    }

    pub(crate) async fn refuse_forbidden<T>(
        &self,
        header: CommandHeader,
        forbidden: Forbidden,
    ) -> Result<T, RawError> {
        let effect = Effect::Refuse { reason: RefusedFor::Forbidden, version: Version::NONE };
        self.keep_evidence(Commit::new(header, effect)).await;
        Err(Refusal::Forbidden(forbidden).into())
    }

    /// Asks for permission again with the state, where the policies could not tell without it.
    pub(crate) fn judge(&self, checked: &Checked<'_>, state: &State) -> Result<(), JudgeError> {
        if !checked.needs_state {
            return Ok(());
        }
        let Checked { decider, header, command, context, .. } = checked;
        let (category, key) = (header.stream.stream.category.as_str(), header.stream.stream.key.as_str());
        let offered = offered(*decider, state).map_err(JudgeError::Fault)?;
        let (name, body, state) = (header.name.as_str(), command.body.as_str(), Some(&offered));
        let action = Action::Command { category, key, name, body, state };
        let permit = self.authorize.authorize(&context.principal, action).map_err(JudgeError::Forbidden)?;
        if permit.needs_state {
            let reason = format!("to give `{name}` to `{category}`");
            return Err(JudgeError::Forbidden(Forbidden { reason }));
        }
        Ok(())
    }

    /// An error of which evidence is kept, where evidence is due.
    pub(crate) async fn evident(&self, checked: &Checked<'_>, error: RawError) -> RawError {
        let (reason, version) = match &error {
            HandleError::Conflict(conflict) => (RefusedFor::Conflict, conflict.actual),
            HandleError::Refused(Refusal::Forbidden(_)) => (RefusedFor::Forbidden, Version::NONE),
            _ => return error,
        };
        let effect = Effect::Refuse { reason, version };
        self.keep_evidence(Commit::new(checked.header.clone(), effect)).await;
        error
    }

    /// Evidence of a refusal is kept when it can be; the refusal stands either way.
    async fn keep_evidence(&self, commit: Commit) {
        if let Err(error) = self.store.commit(commit).await {
            tracing::warn!(?error, "a refused command left no audit row");
        }
    }
}

/// Why a command may not be given to a stream in its state.
pub(crate) enum JudgeError {
    Forbidden(Forbidden),
    Fault(Fault),
}

impl From<JudgeError> for RawError {
    fn from(error: JudgeError) -> Self {
        match error {
            JudgeError::Forbidden(forbidden) => Refusal::Forbidden(forbidden).into(),
            JudgeError::Fault(fault) => fault.into(),
        }
    }
}

/// What a decider offers of a state for policies to judge by.
pub(crate) fn offered(decider: &dyn AnyDecider, state: &State) -> Result<serde_json::Value, Fault> {
    let view = decider.policy_view();
    let mut offered = serde_json::Map::new();
    if !view.is_empty() {
        let state = decider.to_json(state)?;
        for attribute in view {
            if let Some(value) = state.get(&*attribute.name) {
                offered.insert(attribute.name.to_string(), value.clone());
            }
        }
    }
    Ok(offered.into())
}
