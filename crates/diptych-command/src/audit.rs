//! The port to the audit: every command that was given, refused ones included, newest first. And asking it.

use crate::{CommandRecord, Commands, Outcome, RawError, Refusal, RefusedFor};
use diptych_core::{
    Action, Actor, BoxFuture, Category, CausationId, CommandId, CorrelationId, Fault, PolicyVersion,
    Position, Principal, StreamKey, StreamRef, Tenant, Timestamp, Version,
};
use std::fmt;
use std::str::FromStr;

/// The most rows of one page of the audit.
pub const AUDIT_ROWS_MAX: usize = 1_000;

/// A place in the audit: the number of a row, which only grows. Of use to the store that gave it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AuditPlace(pub u64);

/// What an audit is asked for: rows of one tenant, newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditQuery {
    /// Whose commands.
    pub tenant: Tenant,
    /// Which of them.
    pub filter: AuditFilter,
    /// Only rows before this place; the newest where there is none.
    pub before: Option<AuditPlace>,
    /// At most so many rows.
    pub rows_max: usize,
}

/// Which commands are wanted: those for which everything holds that is said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditFilter {
    /// The command's id. A key that has expired is still found, by looking at every row.
    pub id: Option<CommandId>,
    /// Who asked.
    pub actor: Option<Actor>,
    /// The category of the stream.
    pub category: Option<Category>,
    /// The key of the stream.
    pub key: Option<StreamKey>,
    /// The command's name.
    pub command: Option<String>,
    /// What became of it.
    pub outcome: Option<AuditOutcome>,
    /// Recorded then or later.
    pub since: Option<Timestamp>,
    /// Recorded before then.
    pub until: Option<Timestamp>,
    /// The conversation.
    pub correlation: Option<CorrelationId>,
    /// Any of these caused it; everything where none is named.
    pub causation: Vec<CausationId>,
}

/// What became of a command, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditOutcome {
    /// It was accepted.
    Accepted,
    /// The domain said no.
    Rejected,
    /// It was refused, for whatever reason.
    Refused,
    /// It was refused because the stream was at another version.
    Conflict,
    /// It was refused because the principal may not.
    Forbidden,
}

impl AuditOutcome {
    /// Every word.
    pub const ALL: [Self; 5] =
        [Self::Accepted, Self::Rejected, Self::Refused, Self::Conflict, Self::Forbidden];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Forbidden => "forbidden",
        }
    }

    /// Whether an outcome is one of these.
    #[must_use]
    pub fn admits(self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Accepted { .. } => self == Self::Accepted,
            Outcome::Rejected { .. } => self == Self::Rejected,
            Outcome::Refused(RefusedFor::Conflict) => matches!(self, Self::Refused | Self::Conflict),
            Outcome::Refused(RefusedFor::Forbidden) => matches!(self, Self::Refused | Self::Forbidden),
        }
    }
}

impl fmt::Display for AuditOutcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for AuditOutcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("`{text}` is not an outcome; known are {known}")
        })
    }
}

/// A row of the audit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    /// The command's identity within its tenant.
    pub id: CommandId,
    /// The stream it was for, with the tenant.
    pub stream: StreamRef,
    /// The command's name.
    pub command: String,
    /// Who asked.
    pub actor: Actor,
    /// What ties the whole conversation.
    pub correlation: Option<CorrelationId>,
    /// What directly caused it.
    pub causation: Option<CausationId>,
    /// The policies that allowed it.
    pub policy: Option<PolicyVersion>,
    /// What became of it.
    pub outcome: Outcome,
    /// The stream's version after it.
    pub version: Version,
    /// The log's position after it.
    pub position: Position,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The store's clock when it was recorded.
    pub recorded_at: Timestamp,
}

impl From<CommandRecord> for AuditEntry {
    fn from(record: CommandRecord) -> Self {
        let CommandRecord { header, outcome, version, token, recorded_at } = record;
        Self {
            id: header.id,
            stream: header.stream,
            command: header.name,
            actor: header.actor,
            correlation: header.correlation,
            causation: header.causation,
            policy: header.policy,
            outcome,
            version,
            position: token.position,
            occurred_at: header.occurred_at,
            recorded_at,
        }
    }
}

/// Rows of the audit, and where the next ones begin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditPage {
    /// The rows, newest first.
    pub entries: Vec<AuditEntry>,
    /// The place of the last of them, if there are more.
    pub next: Option<AuditPlace>,
}

impl AuditPage {
    /// The page out of rows with their places, of which one more than wanted was read.
    #[must_use]
    pub fn of(mut rows: Vec<(AuditPlace, AuditEntry)>, rows_max: usize) -> Self {
        let more = rows.len() > rows_max;
        rows.truncate(rows_max);
        let next = rows.last().map(|(place, _)| *place).filter(|_| more);
        Self { entries: rows.into_iter().map(|(_, entry)| entry).collect(), next }
    }
}

/// The audit: what everybody tried, and what came of it.
pub trait AuditLog: Send + Sync + 'static {
    /// Rows of one tenant for which everything holds that is asked for, newest first. Every command leaves
    /// one row: accepted, rejected and refused ones.
    fn audited<'a>(&'a self, query: &'a AuditQuery) -> BoxFuture<'a, Result<AuditPage, Fault>>;
}

impl Commands {
    /// Reads the audit of the principal's tenant, newest first.
    ///
    /// # Errors
    /// A refusal (not allowed) or a fault.
    pub async fn audit(
        &self,
        principal: &Principal,
        filter: AuditFilter,
        before: Option<AuditPlace>,
        rows_max: usize,
    ) -> Result<AuditPage, RawError> {
        let allowed = self.authorize.authorize(principal, Action::ReadAudit);
        allowed.map_err(Refusal::Forbidden)?;
        let rows_max = rows_max.clamp(1, AUDIT_ROWS_MAX);
        let query = AuditQuery { tenant: principal.tenant.clone(), filter, before, rows_max };
        Ok(self.store.audited(&query).await?)
    }
}
