//! A command as it waits for the writer, with what its caller's task could do for it already. Knows nothing
//! of SQL.

use diptych_command::{Arrival, Base, CommandHeader, Commit, Condition, Effect, NewState, RefusedFor};
use diptych_core::{SharedText, StreamRef, Tag, Version};
use std::sync::Arc;

/// What was asked, in the forms in which it is written. A group that failed is tried again from these.
pub(super) struct Prepared {
    pub(super) header: CommandHeader,
    /// The stream, as its facts will share it.
    pub(super) stream: Arc<StreamRef>,
    /// What will stand beside each event.
    pub(super) metadata: SharedText,
    pub(super) effect: PreparedEffect,
    /// What must hold, beside the stream's version.
    pub(super) condition: Option<Condition>,
    /// The state that its events lead to.
    pub(super) state: Option<NewState>,
    pub(super) claim: Claim,
}

/// Whether what is appended claims the key of its id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    Key,
    /// The id belongs to whoever gave it.
    Nothing,
}

/// An [`Effect`] whose texts are shared.
pub(super) enum PreparedEffect {
    Append { base: Base, events: Vec<PreparedEvent> },
    Reject { base: Base, name: String, data: String },
    Refuse { reason: RefusedFor, version: Version },
}

/// An event on its way.
pub(super) struct PreparedEvent {
    pub(super) name: &'static str,
    pub(super) schema_version: u32,
    pub(super) payload: SharedText,
    pub(super) tags: Vec<Tag>,
}

impl Prepared {
    pub(super) fn of(commit: Commit) -> Self {
        let Commit { header, effect, state, condition } = commit;
        let metadata = match &effect {
            Effect::Append { events, .. } if !events.is_empty() => header.metadata(),
            _ => String::new(),
        };
        let effect = match effect {
            Effect::Append { base, events } => {
                let events = events.into_iter().map(|event| PreparedEvent {
                    name: event.name,
                    schema_version: event.schema_version,
                    payload: event.payload.into(),
                    tags: event.tags,
                });
                PreparedEffect::Append { base, events: events.collect() }
            }
            Effect::Reject { base, name, data } => PreparedEffect::Reject { base, name, data },
            Effect::Refuse { reason, version } => PreparedEffect::Refuse { reason, version },
        };
        let stream = Arc::new(header.stream.clone());
        Self { header, stream, metadata: metadata.into(), effect, condition, state, claim: Claim::Key }
    }

    /// What comes from elsewhere: behind whatever its stream holds.
    pub(super) fn of_arrival(arrival: Arrival) -> Self {
        let (header, events) = arrival.into_commit();
        let commit = Commit::new(header, Effect::Append { base: Base::Any, events });
        Self { claim: Claim::Nothing, ..Self::of(commit) }
    }

    /// The types of its events.
    pub(super) fn types(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let events: &[PreparedEvent] = match &self.effect {
            PreparedEffect::Append { events, .. } => events,
            PreparedEffect::Reject { .. } | PreparedEffect::Refuse { .. } => &[],
        };
        events.iter().map(|event| (event.name, event.schema_version))
    }
}
