//! What was: one stream as it stood at a version or at a time, and its events with who and when.

use crate::reading::{contiguous, unreadable_stream};
use crate::{Aggregate, Commands, RawError, Refusal};
use diptych_core::{Action, Principal, RawFact, StreamId, StreamRef, Timestamp, Version};
use std::sync::Arc;

/// The moment that a past state is asked for. Which time counts is said, never guessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AsOf {
    /// After exactly so many events.
    Version(Version),
    /// As we knew it then: everything that the store had recorded by that time.
    Recorded(Timestamp),
    /// As it had happened by then: the events up to the first that happened later. What an import recorded
    /// late counts from when it happened, unless something before it in the stream happened later still.
    Occurred(Timestamp),
}

/// A past state.
#[derive(Clone, PartialEq, Debug)]
pub struct PastAggregate {
    /// The state, with the version that it stood at.
    pub aggregate: Aggregate,
    /// The last event in it.
    pub last: Arc<RawFact>,
}

/// What is known of a moment.
#[derive(Clone, PartialEq, Debug)]
pub enum Past {
    /// The state then.
    State(Box<PastAggregate>),
    /// The stream has no event to this day.
    NeverBegan,
    /// The stream began later: its first event.
    NotYet(Arc<RawFact>),
    /// The stream has not come to that version: where it is.
    Beyond(Version),
}

impl Commands {
    /// Reads one aggregate as it stood at a moment. It is folded from the log, never from what is cached.
    ///
    /// # Errors
    /// A refusal (not allowed, not a valid key, no such category) or a fault.
    pub async fn aggregate_as_of(
        &self,
        principal: &Principal,
        category: &str,
        key: &str,
        moment: AsOf,
    ) -> Result<Past, RawError> {
        let unknown = || Refusal::Unknown { what: format!("category `{category}`") };
        let decider = self.deciders.get(category).ok_or_else(unknown)?;
        let stream = self.past_stream(principal, category, key)?;
        let (mut state, mut version, mut last) = (decider.initial(), Version::NONE, None);
        loop {
            let events = self.store.load(&stream, version, self.limits.load_events_max).await?;
            contiguous(&stream, version, &events)?;
            let read = events.len();
            let before = events.iter().take_while(|event| moment.includes(event)).count();
            if before == 0 && version == Version::NONE {
                return Ok(events.into_iter().next().map_or(Past::NeverBegan, Past::NotYet));
            }
            let evolved = decider.evolve(state, &events[..before]);
            state = evolved.map_err(|error| unreadable_stream(&stream, &error))?;
            version = version.plus(before);
            last = events[..before].last().cloned().or(last);
            if before < read || read < self.limits.load_events_max {
                break;
            }
        }
        match (moment, last) {
            (AsOf::Version(wanted), _) if wanted > version => Ok(Past::Beyond(version)),
            (_, None) => Ok(Past::NeverBegan),
            (_, Some(last)) => {
                let state = decider.to_json(&state)?;
                let aggregate = Aggregate { stream: stream.stream, version, state };
                Ok(Past::State(Box::new(PastAggregate { aggregate, last })))
            }
        }
    }

    /// The events of one stream after a version, at most so many, with all that is recorded of them.
    ///
    /// # Errors
    /// A refusal (not allowed, not a valid key) or a fault.
    pub async fn stream_events(
        &self,
        principal: &Principal,
        stream: &StreamId,
        after: Version,
        events_max: usize,
    ) -> Result<Vec<Arc<RawFact>>, RawError> {
        let stream = self.past_stream(principal, stream.category.as_str(), stream.key.as_str())?;
        let events = self.store.load(&stream, after, events_max).await?;
        contiguous(&stream, after, &events)?;
        Ok(events)
    }

    fn past_stream(&self, principal: &Principal, category: &str, key: &str) -> Result<StreamRef, RawError> {
        let allowed = self.authorize.authorize(principal, Action::ReadHistory { category, key });
        allowed.map_err(Refusal::Forbidden)?;
        let stream = StreamId::new(category, key).map_err(Refusal::Text)?;
        Ok(StreamRef { tenant: principal.tenant.clone(), stream })
    }
}

impl AsOf {
    fn includes(self, event: &RawFact) -> bool {
        match self {
            Self::Version(version) => event.version <= version,
            Self::Recorded(time) => event.recorded_at <= time,
            Self::Occurred(time) => event.occurred_at <= time,
        }
    }
}
