//! The seam for permission: one question, asked by both panels. No policy language here.

use crate::{Code, Principal};
use std::borrow::Cow;
use std::fmt;

/// The version of the policies that allowed something, kept on the audit row.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PolicyVersion(pub Cow<'static, str>);

/// What a principal asks to do.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Give a command to one stream.
    Command {
        /// The category of the stream.
        category: &'a str,
        /// The key of the stream.
        key: &'a str,
        /// The command's name.
        name: &'a str,
        /// Its data, a JSON object.
        body: &'a str,
        /// What the decider offers of the stream's state to be judged by, a JSON object; none before the
        /// state is loaded, and none where nothing is offered.
        state: Option<&'a serde_json::Value>,
    },
    /// Set the time of a command to one in the past, as an import does.
    Import {
        /// The category of the stream.
        category: &'a str,
    },
    /// Read one aggregate from the command side.
    ReadAggregate {
        /// The category of the stream.
        category: &'a str,
        /// The key of the stream.
        key: &'a str,
        /// What the decider offers of the state to be judged by, a JSON object; none before it is loaded.
        state: Option<&'a serde_json::Value>,
    },
    /// Read what one aggregate was at a version or at a time, and its events.
    ReadHistory {
        /// The category of the stream.
        category: &'a str,
        /// The key of the stream.
        key: &'a str,
    },
    /// Read what became of a command.
    ReadCommand,
    /// Read who gave which command, and what caused what.
    ReadAudit,
    /// Ask a read model.
    Query {
        /// The model's name.
        model: &'a str,
    },
    /// Ask a read model for the rows of all tenants.
    QueryAllTenants {
        /// The model's name.
        model: &'a str,
    },
}

/// Something that policies may judge by, of a state or of a command's data.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PolicyAttribute {
    /// Its name in policies and in JSON, such as `assignedTeamId`.
    pub name: Cow<'static, str>,
    /// The type that policies see.
    pub kind: AttributeKind,
    /// Whether it always has a value; policies must ask `has` for one that may have none.
    pub always: bool,
}

/// The type of something that policies judge by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AttributeKind {
    /// A text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// True or false.
    Bool,
    /// A time, which policies see as a number of microseconds since 1970.
    Time,
    /// A set of texts.
    Texts,
}

impl PolicyAttribute {
    /// A property of the state that is a text or null.
    #[must_use]
    pub const fn text(name: &'static str) -> Self {
        Self::new(name, AttributeKind::Text)
    }

    /// A property of the state that is a whole number or null.
    #[must_use]
    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, AttributeKind::Integer)
    }

    /// A property of the state that is true, false or null.
    #[must_use]
    pub const fn bool(name: &'static str) -> Self {
        Self::new(name, AttributeKind::Bool)
    }

    /// A property of the state that is a time or null.
    #[must_use]
    pub const fn time(name: &'static str) -> Self {
        Self::new(name, AttributeKind::Time)
    }

    /// A property of the state that is a list of texts or null.
    #[must_use]
    pub const fn texts(name: &'static str) -> Self {
        Self::new(name, AttributeKind::Texts)
    }

    /// The same, of which every state has a value, the one before any event included.
    #[must_use]
    pub const fn always(mut self) -> Self {
        self.always = true;
        self
    }

    const fn new(name: &'static str, kind: AttributeKind) -> Self {
        Self { name: Cow::Borrowed(name), kind, always: false }
    }
}

/// Permission, with the policies it came from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Permit {
    /// Which policies allowed it; none where none are configured.
    pub policy: Option<PolicyVersion>,
    /// Whether it is only provisional: the policies ask for the state, and the same must be asked again with
    /// it before anything is decided.
    pub needs_state: bool,
}

/// Permission refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forbidden {
    /// Why, in words that may be shown to the caller.
    pub reason: String,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "not allowed: {} ({})", self.reason, Code::Forbidden)
    }
}

impl std::error::Error for Forbidden {}

/// Decides who may do what. Asked before anything is looked up, so that a refusal tells nothing.
pub trait Authorize: Send + Sync + 'static {
    /// Allows or refuses an action.
    ///
    /// # Errors
    /// [`Forbidden`] with a reason that may be shown.
    fn authorize(&self, principal: &Principal, action: Action<'_>) -> Result<Permit, Forbidden>;
}

/// Allows everything within the caller's tenant: for a service that only its own machine can reach. What is
/// of all tenants takes policies that allow it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unrestricted;

impl Authorize for Unrestricted {
    fn authorize(&self, _: &Principal, action: Action<'_>) -> Result<Permit, Forbidden> {
        if let Action::QueryAllTenants { model } = action {
            let reason = format!("`{model}` is of all tenants, and no policy allows to ask it");
            return Err(Forbidden { reason });
        }
        Ok(Permit::default())
    }
}
