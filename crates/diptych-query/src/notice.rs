//! What an operator has announced of a group of read models: that it is deprecated, that it is gone and what
//! replaces it, that it is suspended. Kept as a record; the wire and the right panel read it.

use crate::{Order, Registry};
use diptych_core::{Code, Fault, Timestamp};
use serde::{Deserialize, Serialize};

/// The kind of record that a notice is kept as, by the name of its group.
pub const NOTICE: &str = "notice";

/// How often a change of a notice is tried against others that change it at the same time.
const CHANGE_ATTEMPTS_MAX: usize = 8;

/// How many notices are read at once: more groups than a service has.
const NOTICES_MAX: usize = 10_000;

/// What was announced of a group. Nothing of it, as long as nobody has announced anything.
///
/// ```
/// use diptych_query::Notice;
/// let notice: Notice = serde_json::from_str(r#"{"successor":"order-lines","segments":["order-summary"]}"#)?;
/// assert_eq!(notice.successor.as_deref(), Some("order-lines"));
/// assert_eq!(notice, serde_json::from_str(&serde_json::to_string(&notice)?)?);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Notice {
    /// Since when it is deprecated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated_at: Option<Timestamp>,
    /// From when on it may be gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sunset: Option<Timestamp>,
    /// What answers instead: the path segment of a read model, or an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
    /// Since when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
    /// The path segments under which its read models answer, for the time when no code declares them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<String>,
    /// Who suspended it, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Suspension>,
}

/// That a group answers nobody until somebody resumes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// Who ordered it.
    pub actor: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

impl Suspension {
    /// What an order says.
    #[must_use]
    pub fn by(order: &Order, at: Timestamp) -> Self {
        Self { actor: order.actor.as_str().to_owned(), reason: order.reason.clone(), at }
    }
}

impl Notice {
    /// What was announced of a group.
    ///
    /// # Errors
    /// A fault of the store, or a record that is not a notice.
    pub async fn of(registry: &dyn Registry, group: &str) -> Result<Self, Fault> {
        match registry.record(NOTICE, group).await? {
            Some(record) => Self::read(group, &record.body),
            None => Ok(Self::default()),
        }
    }

    /// Everything that was announced, by group.
    ///
    /// # Errors
    /// A fault of the store, or a record that is not a notice.
    pub async fn all(registry: &dyn Registry) -> Result<Vec<(String, Self)>, Fault> {
        let records = registry.records(NOTICE, NOTICES_MAX).await?;
        let read = |record: crate::Record| Self::read(&record.name, &record.body).map(|it| (record.name, it));
        records.into_iter().map(read).collect()
    }

    /// Changes what is announced of a group, and answers what holds now.
    ///
    /// # Errors
    /// A fault of the store, among them one that is transient: others changed it all the time.
    pub async fn change(
        registry: &dyn Registry,
        group: &str,
        change: impl Fn(&mut Self) + Send,
    ) -> Result<Self, Fault> {
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let record = registry.record(NOTICE, group).await?;
            let (seen, mut notice) = match &record {
                Some(record) => (record.version, Self::read(group, &record.body)?),
                None => (0, Self::default()),
            };
            change(&mut notice);
            let body = serde_json::to_string(&notice).map_err(|error| {
                Fault::permanent(Code::Internal, "a notice cannot be written").because(error)
            })?;
            if registry.write_record(NOTICE, group, seen, &body).await?.is_some() {
                return Ok(notice);
            }
        }
        let message = format!("others change what is announced of `{group}`; try again");
        Err(Fault::transient(Code::Overloaded, message))
    }

    fn read(group: &str, body: &str) -> Result<Self, Fault> {
        serde_json::from_str(body).map_err(|error| {
            let message = format!("what is announced of `{group}` cannot be read");
            Fault::permanent(Code::StoreVersion, message).because(error)
        })
    }
}
