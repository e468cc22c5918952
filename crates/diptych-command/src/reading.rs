//! Reading the command side: a state for the next decision, one aggregate, what became of a command.

use crate::cache::{Loaded, Weight};
use crate::ledger::{CommandRecord, Outcome};
use crate::permission::offered;
use crate::{AnyDecider, Commands, Persistence, RawError, Refusal, StateRow};
use diptych_core::{
    Action, Code, CommandId, DecodeError, Fault, Principal, RawFact, StreamId, StreamRef, Version,
};
use std::sync::Arc;

/// One aggregate, read from the command side.
#[derive(Clone, PartialEq, Debug)]
pub struct Aggregate {
    /// The stream.
    pub stream: StreamId,
    /// Its version, at least 1.
    pub version: Version,
    /// The state as JSON.
    pub state: serde_json::Value,
}

impl Commands {
    /// A state for the next decision: from memory, or else from the stream's row, or else by folding. Where a
    /// row is all that was read, only the commit can say whether it is the latest.
    pub(crate) async fn load(&self, decider: &dyn AnyDecider, stream: &StreamRef) -> Result<Loaded, Fault> {
        if let Some(loaded) = self.cache.check_out(stream) {
            return Ok(loaded);
        }
        match self.load_row(decider, stream, None).await? {
            Some(loaded) if decider.persistence() == Persistence::StateStored => Ok(loaded),
            Some(loaded) => self.catch_up(decider, stream, loaded).await,
            None => self.catch_up(decider, stream, Loaded::initial(decider)).await,
        }
    }

    /// What the stream's row holds, if it is of the code's shape and stands at `latest` or before.
    pub(crate) async fn load_row(
        &self,
        decider: &dyn AnyDecider,
        stream: &StreamRef,
        latest: Option<Version>,
    ) -> Result<Option<Loaded>, Fault> {
        let Some(stored) = decider.stored() else {
            return Ok(None);
        };
        let Some(row) = self.store.load_state(stream).await? else {
            return Ok(None);
        };
        let StateRow { version, shape, state: text } = row;
        if shape != stored.shape || latest.is_some_and(|latest| version > latest) {
            return Ok(None);
        }
        match decider.read_text(&text) {
            Ok(state) => {
                let weight = Weight::of(&state, &text);
                Ok(Some(Loaded { state, version, row: version, weight }))
            }
            Err(error) => {
                // The log has everything; the next row replaces this one.
                tracing::warn!(%stream, %error, "a stored state cannot be read, its stream is folded");
                Ok(None)
            }
        }
    }

    /// Folds what the store has beyond a state, and checks that no version is missing.
    pub(crate) async fn catch_up(
        &self,
        decider: &dyn AnyDecider,
        stream: &StreamRef,
        mut loaded: Loaded,
    ) -> Result<Loaded, Fault> {
        loop {
            let events = self.store.load(stream, loaded.version, self.limits.load_events_max).await?;
            loaded = folded(decider, stream, loaded, &events)?;
            if events.len() < self.limits.load_events_max {
                return Ok(loaded);
            }
        }
    }

    /// Folds what the store has beyond a state up to a version, or to the end where that comes first.
    pub(crate) async fn catch_up_to(
        &self,
        decider: &dyn AnyDecider,
        stream: &StreamRef,
        mut loaded: Loaded,
        version: Version,
    ) -> Result<Loaded, Fault> {
        while loaded.version < version {
            let wanted = usize::try_from(version.0 - loaded.version.0).unwrap_or(usize::MAX);
            let wanted = wanted.min(self.limits.load_events_max);
            let events = self.store.load(stream, loaded.version, wanted).await?;
            loaded = folded(decider, stream, loaded, &events)?;
            if events.len() < wanted {
                break;
            }
        }
        Ok(loaded)
    }

    /// The events of a stream in the range `(base, last]`.
    pub(crate) async fn events(
        &self,
        stream: &StreamRef,
        base: Version,
        last: Version,
    ) -> Result<Vec<Arc<RawFact>>, Fault> {
        let count = usize::try_from(last.0.saturating_sub(base.0)).unwrap_or(usize::MAX);
        if count == 0 {
            return Ok(Vec::new());
        }
        let events = self.store.load(stream, base, count).await?;
        contiguous(stream, base, &events)?;
        Ok(events)
    }

    /// Reads one aggregate from the command side; `None` when its stream is empty, or when the policies, which
    /// could not tell without the state, do not allow to read it.
    ///
    /// # Errors
    /// A refusal (not allowed, not a valid key, no such category) or a fault.
    pub async fn aggregate(
        &self,
        principal: &Principal,
        category: &str,
        key: &str,
        at: Option<Version>,
    ) -> Result<Option<Aggregate>, RawError> {
        let unknown = || Refusal::Unknown { what: format!("category `{category}`") };
        let decider = self.deciders.get(category).ok_or_else(unknown)?;
        let action = Action::ReadAggregate { category, key, state: None };
        let permit = self.authorize.authorize(principal, action).map_err(Refusal::Forbidden)?;
        let stream = StreamId::new(category, key).map_err(Refusal::Text)?;
        let stream = StreamRef { tenant: principal.tenant.clone(), stream };
        // A state cached at exactly that version is the answer: a command's own status needs no read.
        let cached = at.and_then(|version| self.cache.check_out_at(&stream, version));
        let from_cache = cached.is_some();
        let loaded = match (cached, at) {
            (Some(loaded), _) => loaded,
            (None, Some(version)) => {
                let row = self.load_row(decider.as_ref(), &stream, Some(version)).await?;
                let from = row.unwrap_or_else(|| Loaded::initial(decider.as_ref()));
                self.catch_up_to(decider.as_ref(), &stream, from, version).await?
            }
            (None, None) => {
                let loaded = self.load(decider.as_ref(), &stream).await?;
                self.catch_up(decider.as_ref(), &stream, loaded).await?
            }
        };
        let state = decider.to_json(&loaded.state)?;
        let version = loaded.version;
        let stream_id = stream.stream.clone();
        let judged = if permit.needs_state { Some(offered(decider.as_ref(), &loaded.state)?) } else { None };
        if (at.is_none() || from_cache) && version > Version::NONE {
            self.keep(decider.as_ref(), &stream, loaded);
        }
        if judged.is_some() {
            let action = Action::ReadAggregate { category, key, state: judged.as_ref() };
            // Whoever may not see it is not told that it is there.
            if !self.authorize.authorize(principal, action).is_ok_and(|permit| !permit.needs_state) {
                return Ok(None);
            }
        }
        Ok((version > Version::NONE).then_some(Aggregate { stream: stream_id, version, state }))
    }

    /// What became of a command.
    ///
    /// # Errors
    /// A refusal (not allowed) or a fault.
    pub async fn recorded(
        &self,
        principal: &Principal,
        id: &CommandId,
    ) -> Result<Option<CommandRecord>, RawError> {
        let allowed = self.authorize.authorize(principal, Action::ReadCommand);
        allowed.map_err(Refusal::Forbidden)?;
        Ok(self.store.recorded(&principal.tenant, id).await?)
    }

    /// The events that a recorded command caused; none unless it was accepted.
    ///
    /// # Errors
    /// A refusal (not allowed, another tenant's record) or a fault.
    pub async fn events_of(
        &self,
        principal: &Principal,
        record: &CommandRecord,
    ) -> Result<Vec<Arc<RawFact>>, RawError> {
        let allowed = self.authorize.authorize(principal, Action::ReadCommand);
        allowed.map_err(Refusal::Forbidden)?;
        if record.header.stream.tenant != principal.tenant {
            let what = format!("command `{}`", record.header.id);
            return Err(Refusal::Unknown { what }.into());
        }
        match record.outcome {
            Outcome::Accepted { base } => {
                Ok(self.events(&record.header.stream, base, record.version).await?)
            }
            Outcome::Rejected { .. } | Outcome::Refused(_) => Ok(Vec::new()),
        }
    }
}

/// A state after further events of its stream, which must follow each other.
fn folded(
    decider: &dyn AnyDecider,
    stream: &StreamRef,
    loaded: Loaded,
    events: &[Arc<RawFact>],
) -> Result<Loaded, Fault> {
    contiguous(stream, loaded.version, events)?;
    let version = loaded.version.plus(events.len());
    let state = decider.evolve(loaded.state, events).map_err(|error| unreadable_stream(stream, &error))?;
    Ok(Loaded { state, version, ..loaded }.grown(events))
}

/// Versions must follow each other: a second proof, beside positions, that nothing was skipped.
pub(crate) fn contiguous(stream: &StreamRef, after: Version, events: &[Arc<RawFact>]) -> Result<(), Fault> {
    let gap = events.iter().zip(after.0 + 1..).find(|(event, expected)| event.version.0 != *expected);
    match gap {
        None => Ok(()),
        Some((event, expected)) => {
            let message =
                format!("stream `{stream}` has version {} where {expected} must stand", event.version);
            Err(Fault::permanent(Code::Storage, message))
        }
    }
}

pub(crate) fn unreadable_stream(stream: &StreamRef, error: &DecodeError) -> Fault {
    let message = format!("stream `{stream}` holds an event that cannot be read");
    Fault::permanent(error.code(), message).because(error.clone())
}

pub(crate) fn unreadable(raw: &RawFact, error: &DecodeError) -> Fault {
    let message = format!("the event at position {} cannot be read", raw.position);
    Fault::permanent(error.code(), message).because(error.clone())
}
