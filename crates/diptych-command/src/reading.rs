//! Reading the command side: a state for the next decision, one aggregate, what became of a command.

use crate::cache::Loaded;
use crate::ledger::{CommandRecord, Outcome};
use crate::{AnyDecider, Commands, RawError, Refusal};
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
    pub(crate) async fn load(&self, decider: &dyn AnyDecider, stream: &StreamRef) -> Result<Loaded, Fault> {
        match self.cache.check_out(stream) {
            Some(loaded) => Ok(loaded),
            None => {
                let fresh = Loaded { state: decider.initial(), version: Version::NONE };
                self.catch_up(decider, stream, fresh).await
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
            contiguous(stream, loaded.version, &events)?;
            let version = loaded.version.plus(events.len());
            let state = decider.evolve(loaded.state, &events);
            loaded = Loaded { state: state.map_err(|error| unreadable_stream(stream, &error))?, version };
            if events.len() < self.limits.load_events_max {
                return Ok(loaded);
            }
        }
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

    /// Reads one aggregate from the command side; `None` when its stream is empty.
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
        let allowed = self.authorize.authorize(principal, Action::ReadAggregate { category, key });
        allowed.map_err(Refusal::Forbidden)?;
        let stream = StreamId::new(category, key).map_err(Refusal::Text)?;
        let stream = StreamRef { tenant: principal.tenant.clone(), stream };
        // A state cached at exactly that version is the answer: a command's own status needs no read.
        let cached = at.and_then(|version| self.cache.check_out_at(&stream, version));
        let from_cache = cached.is_some();
        let loaded = match (cached, at) {
            (Some(loaded), _) => loaded,
            (None, Some(version)) => {
                let events = self.events(&stream, Version::NONE, version).await?;
                let version = Version(events.len() as u64);
                let state = decider.evolve(decider.initial(), &events);
                Loaded { state: state.map_err(|error| unreadable_stream(&stream, &error))?, version }
            }
            (None, None) => {
                let loaded = self.load(decider.as_ref(), &stream).await?;
                self.catch_up(decider.as_ref(), &stream, loaded).await?
            }
        };
        let state = decider.to_json(&loaded.state)?;
        let version = loaded.version;
        let stream_id = stream.stream.clone();
        if (at.is_none() || from_cache) && version > Version::NONE {
            self.cache.put_back(&stream, loaded);
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
