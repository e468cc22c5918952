//! Streams as this process's groups have left them, so that they need not be asked for again. They are right
//! for as long as nobody else moves the head, which every group sees under its lock.

use super::decide::{NewEvent, StreamRow};
use diptych_core::{StreamRef, Token};
use std::collections::HashMap;
use std::sync::Arc;

/// Streams that are remembered; beyond it, all are forgotten.
const STREAMS_MAX: usize = 100_000;

/// For how many groups nothing is remembered after somebody else has appended: where several processes do, it
/// would be wrong each time and cost a journey.
const GROUPS_WITHOUT: u32 = 64;

/// What is known of streams.
#[derive(Default)]
pub(super) struct Known {
    /// The head that the last group left.
    head: Option<Token>,
    streams: HashMap<Arc<StreamRef>, StreamRow, foldhash::fast::RandomState>,
    groups_without: u32,
}

impl Known {
    /// A stream; none where it has to be asked for.
    pub(super) fn get(&self, stream: &StreamRef) -> Option<StreamRow> {
        self.streams.get(stream).copied()
    }

    /// Whether all of it holds under a head. Where somebody else has appended, all of it is forgotten.
    pub(super) fn holds(&mut self, head: Token) -> bool {
        if self.streams.is_empty() || self.head == Some(head) {
            return true;
        }
        self.streams.clear();
        self.groups_without = GROUPS_WITHOUT;
        false
    }

    /// Takes in what a group has left that is committed, under a head that was found to hold.
    pub(super) fn note(&mut self, head: Token, events: &[NewEvent<'_>]) {
        self.head = Some(head);
        if self.groups_without > 0 {
            self.groups_without -= 1;
            return;
        }
        if self.streams.len() > STREAMS_MAX {
            self.streams.clear();
        }
        for NewEvent { stream, fact, .. } in events {
            let row = StreamRow { id: Some(*stream), version: fact.version };
            self.streams.insert(Arc::clone(&fact.stream), row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych_core::{
        Epoch, EventName, Fingerprint, Position, RawFact, SharedText, StreamId, Tenant, Timestamp, Version,
    };

    fn token(position: u64) -> Token {
        Token { epoch: Epoch(1), position: Position(position), fingerprint: Fingerprint(7) }
    }

    fn stream() -> StreamRef {
        StreamRef { tenant: Tenant::new("main").unwrap(), stream: StreamId::new("order", "42").unwrap() }
    }

    fn event(version: u64) -> NewEvent<'static> {
        let fact = RawFact {
            position: Position(version),
            stream: Arc::new(stream()),
            version: Version(version),
            event: EventName { name: "Placed".into(), schema_version: 1 },
            recorded_at: Timestamp::EPOCH,
            occurred_at: Timestamp::EPOCH,
            metadata: SharedText::from(String::new()),
            payload: SharedText::from(String::new()),
        };
        NewEvent { tenant: 1, stream: 5, kind: 1, fact: Arc::new(fact), tags: &[] }
    }

    #[test]
    fn a_stream_is_as_the_last_group_left_it() {
        let mut known = Known::default();
        assert!(known.holds(token(0)));
        known.note(token(2), &[event(1), event(2)]);
        let row = known.get(&stream()).unwrap();
        assert_eq!((row.id, row.version), (Some(5), Version(2)));
        assert!(known.holds(token(2)));
    }

    #[test]
    fn nothing_is_known_once_somebody_else_has_appended() {
        let mut known = Known::default();
        known.note(token(1), &[event(1)]);
        assert!(!known.holds(token(2)));
        assert!(known.get(&stream()).is_none());
        known.note(token(3), &[event(3)]);
        assert!(known.get(&stream()).is_none(), "for a while nothing is remembered");
        for position in 4..=u64::from(3 + GROUPS_WITHOUT) {
            assert!(known.holds(token(position - 1)));
            known.note(token(position), &[event(position)]);
        }
        assert!(known.get(&stream()).is_some());
    }
}
