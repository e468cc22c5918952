//! Deciding on facts of several streams: the boundary of a command, and the loop's way through it. Knows
//! nothing of how a store finds facts by their tags. States of boundaries are not kept: no two commands
//! share one.
//!
//! The model is the dynamic consistency boundary (<https://dcb.events/specification/>).

use crate::error::RawRejection;
use crate::handler::{Checked, Settled, commit_error, decide_error, receipt, unreadable_ledger};
use crate::ledger::Outcome;
use crate::reading::contiguous;
use crate::store::{Base, Commit, Committed, Condition, Effect};
use crate::{Commands, Context, Decided, Decider, HandleError, RawError, State, Typed};
use diptych_core::{Code, ExpectedVersion, Fault, Position, RawFact, TagQuery, Tenant};
use std::sync::Arc;

/// A decider whose invariants span streams: each command names the facts that it is decided on, by their
/// tags. Its state is the fold of exactly these, in order of position; what it decides is recorded only if
/// no further one has come. Only facts of its own event language can match.
///
/// ```text
/// impl Boundary for Enrolment {
///     fn boundary(command: &EnrolmentCommand, _: &Context) -> TagQuery {
///         let EnrolmentCommand::Enrol { course, student } = command;
///         TagQuery::tagged("course", course).or_tagged("student", student)
///     }
/// }
/// ```
///
/// INVARIANT (the decider's): the events of every command that could break the invariant match the query of
/// every command that rests on it. A query that leaves some out is not noticed by anybody.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no boundary",
    note = "implement `Boundary` beside `Decider`, or register it with `.decider::<{Self}>()`"
)]
pub trait Boundary: Decider {
    /// The facts that a command is decided on. Pure, and small: all of them are read for each command. The
    /// command's own stream belongs to them only if the query names it, with `or_stream(&context.stream)`.
    #[must_use]
    fn boundary(command: &Self::Command, context: &Context) -> TagQuery;
}

impl Commands {
    /// One decision on the facts of a boundary, committed if none has come to it since.
    pub(crate) async fn attempt_within(
        &self,
        checked: &Checked<'_>,
        query: TagQuery,
        typed: Option<Typed>,
    ) -> Result<Settled, RawError> {
        let Checked { decider, header, command, context, expected, .. } = checked;
        let (state, after) = self.load_within(checked, &query).await?;
        let base = match expected {
            ExpectedVersion::Any => Base::Any,
            ExpectedVersion::Exactly(version) => Base::At(*version),
        };
        self.judge(checked, &state)?;
        let (effect, typed) = match decider.decide(&state, command, typed, context).map_err(decide_error)? {
            Decided::Events { stored, typed } => (Effect::Append { base, events: stored }, Some(typed)),
            Decided::Rejected(RawRejection { name, data, .. }) => (Effect::Reject { base, name, data }, None),
        };
        let commit = Commit::new(header.clone(), effect).on(Condition { query, after });
        let committed = self.store.commit(commit).await.map_err(|error| commit_error(error, &header.id))?;
        if committed.replayed {
            return self.replay(checked.decider, committed.record).await.map(Settled::read_back);
        }
        let Committed { record, events, .. } = committed;
        match &record.outcome {
            Outcome::Accepted { base } => {
                contiguous(&header.stream, *base, &events)?;
                Ok(Settled { receipt: receipt(record, events, false), typed })
            }
            Outcome::Rejected { name, data } => {
                let rejection = decider.rejection(name, data);
                Err(HandleError::Rejected(rejection.map_err(|error| unreadable_ledger(&error))?))
            }
            Outcome::Refused(_) => {
                Err(Fault::permanent(Code::Internal, "a decision was recorded as a refusal").into())
            }
        }
    }

    /// The state that the facts of a boundary make, and the position up to which they are all of them.
    async fn load_within(&self, checked: &Checked<'_>, query: &TagQuery) -> Result<(State, Position), Fault> {
        let facts_max = self.limits.boundary_facts_max;
        let tenant = &checked.header.stream.tenant;
        let (mut state, mut after, mut count) = (checked.decider.initial(), Position::START, 0);
        loop {
            let most = self.limits.load_events_max.min(facts_max.saturating_add(1) - count);
            let found = self.store.load_query(tenant, query, after, most).await?;
            in_order(tenant, after, &found.facts, found.through)?;
            count += found.facts.len();
            if count > facts_max {
                let name = checked.name;
                let message = format!("the boundary of `{name}` holds more than {facts_max} facts");
                return Err(Fault::permanent(Code::BoundaryLimit, message));
            }
            state = checked.decider.evolve(state, &found.facts).map_err(|error| {
                let message =
                    format!("the boundary of `{}` holds an event that cannot be read", checked.name);
                Fault::permanent(error.code(), message).because(error)
            })?;
            after = found.through;
            if found.facts.len() < most {
                return Ok((state, after));
            }
        }
    }
}

/// Facts must be the tenant's, follow each other and stay within what the store calls complete.
fn in_order(
    tenant: &Tenant,
    after: Position,
    facts: &[Arc<RawFact>],
    through: Position,
) -> Result<(), Fault> {
    let mut last = after;
    for fact in facts {
        if fact.position <= last || fact.position > through || fact.stream.tenant != *tenant {
            let message =
                format!("the fact at {} does not belong behind {last} in a boundary", fact.position);
            return Err(Fault::permanent(Code::Storage, message));
        }
        last = fact.position;
    }
    Ok(())
}
