//! Many writers in several stores race for the last seats of a course, after all of them have seen that
//! there are some: no seat is given twice. The same race with the condition checked outside of the
//! transaction gives them to everybody.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::*;
use diptych_command::{
    CommandLimits, CommandRecord, Commands, Commit, CommitError, Committed, Condition, Conflict, EventStore,
    HandleError, Matched, Request, erase_boundary,
};
use diptych_conformance::fixtures::{
    Enrolment, EnrolmentCommand, EnrolmentEvent, EnrolmentId, EnrolmentRejection,
};
use diptych_core::{
    BoxFuture, CommandId, Fault, Position, Principal, RawFact, StreamRef, TagQuery, Tenant, Timestamp,
    Unrestricted, Version,
};
use diptych_postgres::PostgresStore;
use diptych_query::{Categories, Feed};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Barrier;

const WRITERS: usize = 24;
const STORES: usize = 3;
const SEATS: usize = 5;

/// Where a condition is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Checked {
    /// By the store, under the lock of the head.
    Inside,
    /// Before the transaction, as a program does that asks first and writes then.
    Outside,
}

/// What the writers of all stores meet at.
struct Race {
    checked: Checked,
    loads: AtomicUsize,
    /// Passed once everybody has loaded what the decision rests on.
    loaded: Barrier,
    /// Passed once everybody has found the condition to hold.
    found_to_hold: Barrier,
}

/// A store whose callers decide together.
struct Racing {
    inner: Arc<PostgresStore>,
    race: Arc<Race>,
}

impl EventStore for Racing {
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        self.inner.load(stream, after, events_max)
    }

    fn load_query<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a TagQuery,
        after: Position,
        facts_max: usize,
    ) -> BoxFuture<'a, Result<Matched, Fault>> {
        Box::pin(async move {
            let found = self.inner.load_query(tenant, query, after, facts_max).await?;
            if self.race.loads.fetch_add(1, Ordering::SeqCst) < WRITERS {
                self.race.loaded.wait().await;
            }
            Ok(found)
        })
    }

    fn commit(&self, mut commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(async move {
            if self.race.checked == Checked::Outside
                && let Some(Condition { query, after }) = commit.condition.take()
            {
                let StreamRef { tenant, stream } = &commit.header.stream;
                let found = self.inner.load_query(tenant, &query, after, 1).await.unwrap();
                if let Some(fact) = found.facts.first() {
                    let conflict = Conflict::of_boundary(stream.clone(), Version::NONE, fact.position);
                    return Err(CommitError::Conflict(conflict));
                }
                self.race.found_to_hold.wait().await;
            }
            self.inner.commit(commit).await
        })
    }

    fn recorded<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<CommandRecord>, Fault>> {
        self.inner.recorded(tenant, id)
    }

    fn expire_keys(&self, before: Timestamp, keys_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        self.inner.expire_keys(before, keys_max)
    }
}

diptych_conformance::pass_on!(Racing, inner);

fn panel(place: &Place, store: Arc<dyn EventStore>) -> Commands {
    let limits = CommandLimits { attempts_max: 1_000, ..CommandLimits::default() };
    let deciders = vec![erase_boundary::<Enrolment>()];
    Commands::new(store, deciders, Arc::new(Unrestricted), Arc::clone(&place.clock) as _, limits)
}

/// Lets all writers race; answers how many were told yes and how many students the log has.
async fn race(checked: Checked) -> (usize, usize) {
    let place = Place::new().await;
    let ann = Principal::new("main", "ann").unwrap();
    let (course, seats) = ("rust".to_owned(), SEATS);
    let first = place.open().await;
    let offer = Request::by(&ann).to(&EnrolmentId(course.clone()), EnrolmentCommand::Offer { course, seats });
    panel(&place, Arc::clone(&first) as _).handle::<Enrolment>(offer).await.unwrap();
    let race = Arc::new(Race {
        checked,
        loads: AtomicUsize::new(0),
        loaded: Barrier::new(WRITERS),
        found_to_hold: Barrier::new(WRITERS),
    });
    let mut panels = Vec::new();
    for _ in 0..STORES {
        let racing = Racing { inner: place.open().await, race: Arc::clone(&race) };
        panels.push(Arc::new(panel(&place, Arc::new(racing))));
    }
    let writers = (0..WRITERS).map(|number| {
        let (commands, ann) = (Arc::clone(&panels[number % STORES]), ann.clone());
        let (course, student) = ("rust".to_owned(), format!("student {number}"));
        tokio::spawn(async move {
            let id = EnrolmentId(student.clone());
            let enrol = EnrolmentCommand::Enrol { course, student };
            commands.handle::<Enrolment>(Request::by(&ann).to(&id, enrol)).await
        })
    });
    let mut accepted = 0;
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(HandleError::Rejected(EnrolmentRejection::CourseFull {})) => {}
            Err(other) => panic!("{other}"),
        }
    }
    let block = first.read(Position::START, &Categories::All, usize::MAX).await.unwrap();
    let events = block.facts.iter().map(|fact| fact.decode::<EnrolmentEvent>().unwrap());
    (accepted, events.filter(|event| matches!(event, Some(EnrolmentEvent::Enrolled { .. }))).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_writers_never_take_more_seats_than_there_are() {
    assert_eq!(race(Checked::Inside).await, (SEATS, SEATS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_checked_outside_the_transaction_is_seen_to_give_a_seat_to_everybody() {
    assert_eq!(race(Checked::Outside).await, (WRITERS, WRITERS));
}
