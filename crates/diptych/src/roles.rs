//! What a process does of a service: take commands, answer questions, move read models. Values only.

use diptych_core::{Code, Fault};
use diptych_http::Panels;
use std::fmt;
use std::str::FromStr;

/// One thing that a process does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// It takes commands and shows aggregates.
    Command,
    /// It answers questions to read models.
    Query,
    /// It takes a share of moving the read models that follow the log by themselves.
    Projector,
}

impl Role {
    const ALL: [Self; 3] = [Self::Command, Self::Query, Self::Projector];

    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Projector => "projector",
        }
    }
}

/// What a process does, in any combination.
///
/// ```
/// use diptych::{Role, Roles};
/// let roles: Roles = "query,projector".parse().unwrap();
/// assert!(roles.contains(Role::Query) && !roles.contains(Role::Command));
/// assert_eq!(roles, Roles::ALL.without(Role::Command));
/// assert!("query,reader".parse::<Roles>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roles([bool; 3]);

impl Roles {
    /// Everything: what a service does unless it is told otherwise.
    pub const ALL: Self = Self([true; 3]);

    /// The same but for one.
    #[must_use]
    pub fn without(mut self, role: Role) -> Self {
        self.0[role as usize] = false;
        self
    }

    /// Whether a role is among them.
    #[must_use]
    pub fn contains(self, role: Role) -> bool {
        self.0[role as usize]
    }

    /// The panels that it serves over HTTP.
    pub(crate) fn panels(self) -> Panels {
        match (self.contains(Role::Command), self.contains(Role::Query)) {
            (true, true) => Panels::Both,
            (true, false) => Panels::Left,
            (false, true) => Panels::Right,
            (false, false) => Panels::Neither,
        }
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held: Vec<_> = Role::ALL.into_iter().filter(|role| self.contains(*role)).collect();
        let words: Vec<_> = held.into_iter().map(Role::as_str).collect();
        out.write_str(&words.join(","))
    }
}

impl FromStr for Roles {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let mut roles = Self([false; 3]);
        for word in text.split(',').map(str::trim) {
            let Some(role) = Role::ALL.into_iter().find(|role| role.as_str() == word) else {
                let message = format!("`{word}` is not a role; known are command, query, projector");
                return Err(Fault::permanent(Code::ServiceInvalid, message));
            };
            roles.0[role as usize] = true;
        }
        Ok(roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_named_in_any_order_and_combination() {
        for text in ["command", "query", "projector", "command,query", "query,projector"] {
            assert_eq!(text.parse::<Roles>().unwrap().to_string(), text);
        }
        assert_eq!("projector, query ,command".parse::<Roles>().unwrap(), Roles::ALL);
        for text in ["", "commands", "query,"] {
            let refused = text.parse::<Roles>().unwrap_err().to_string();
            assert!(refused.contains("known are command, query, projector"), "{refused}");
        }
    }
}
