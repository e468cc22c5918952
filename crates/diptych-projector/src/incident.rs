//! What was found to differ from the log, and what was done about it. Kept as records: the same finding
//! twice is one incident, until it is over.

use crate::RowName;
use diptych_core::{Actor, Clock, Code, Fault, Position, Tenant, Timestamp};
use diptych_query::{Order, Record, Registry};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of record that incidents are kept as, by their ids.
pub const INCIDENT: &str = "incident";

/// The kind of record that says which incident is open about a subject.
const OPEN: &str = "incident_open";

/// The most incidents that are open at once and told apart. Where more rows differ, it is the read model
/// that has to be built anew, not its rows one by one.
pub const INCIDENTS_MAX: usize = 1_000;

/// How often a change of an incident is tried against others that change it at the same time.
const CHANGE_ATTEMPTS_MAX: usize = 8;

/// Something that is not what the log says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// Its id, which sorts by time.
    pub id: String,
    /// The group of the read model.
    pub group: String,
    /// What differs.
    #[serde(flatten)]
    pub subject: Subject,
    /// In what.
    pub differences: Vec<Differs>,
    /// The position at which rows and log were compared.
    pub position: Position,
    /// What found it.
    pub found_by: FoundBy,
    /// When it was found.
    pub found_at: Timestamp,
    /// Whether it is over.
    pub status: IncidentStatus,
    /// What was done about it, in order.
    pub actions: Vec<ActionTaken>,
}

/// What an incident is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "subject")]
pub enum Subject {
    /// A row.
    Row(RowName),
    /// A bucket of the digest of a table, whose rows are what the log says.
    #[serde(rename_all = "camelCase")]
    Digest {
        /// The read model.
        model: String,
        /// Which bucket.
        bucket: u8,
    },
}

impl Subject {
    /// The read model.
    #[must_use]
    pub fn model(&self) -> &str {
        match self {
            Self::Row(row) => &row.model,
            Self::Digest { model, .. } => model,
        }
    }

    /// Whose row; none for a digest.
    #[must_use]
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Self::Row(row) => Some(&row.tenant),
            Self::Digest { .. } => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row) => write!(out, "row {row}"),
            Self::Digest { model, bucket } => write!(out, "bucket {bucket} of the digest of `{model}`"),
        }
    }
}

/// One difference.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Differs {
    /// The column, by its name in SQL; none when the whole row is missing or extra, and for a digest.
    pub column: Option<String>,
    /// What the log says; null for no row.
    pub expected: serde_json::Value,
    /// What stands there; null for no row.
    pub actual: serde_json::Value,
}

/// What found an incident.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// A patrol.
    Patrol,
    /// A fold that loaded the row.
    Load,
    /// A verification that somebody ordered.
    Verify,
    /// A comparison of two builds.
    Compare,
}

/// Whether an incident is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStatus {
    /// The difference is there.
    Open,
    /// It was put right.
    Repaired,
    /// It is over without a repair: the rows were built anew, or somebody has explained it.
    Closed,
}

/// What was done about an incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionTaken {
    /// Who ordered it.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// What was done, in a sentence.
    pub what: String,
}

impl ActionTaken {
    /// What an order led to.
    #[must_use]
    pub fn by(order: &Order, at: Timestamp, what: impl Into<String>) -> Self {
        Self { actor: order.actor.clone(), reason: order.reason.clone(), at, what: what.into() }
    }
}

/// A difference that was found just now.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// What differs.
    pub subject: Subject,
    /// In what.
    pub differences: Vec<Differs>,
    /// The position at which rows and log were compared.
    pub position: Position,
    /// What found it.
    pub found_by: FoundBy,
}

/// Which incident is open about a subject.
#[derive(Serialize, Deserialize)]
struct OpenEntry {
    id: String,
    group: String,
}

/// The incidents of a store.
#[derive(Clone, Copy)]
pub struct Incidents<'a> {
    registry: &'a dyn Registry,
    clock: &'a dyn Clock,
}

impl<'a> Incidents<'a> {
    /// Those that a registry keeps.
    #[must_use]
    pub fn new(registry: &'a dyn Registry, clock: &'a dyn Clock) -> Self {
        Self { registry, clock }
    }

    /// Records a finding; one about a subject that has an open incident is that incident.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn report(&self, group: &str, finding: Finding) -> Result<Incident, Fault> {
        let index = index_name(group, &finding.subject)?;
        let own = uuid::Uuid::now_v7().to_string();
        let entry = OpenEntry { id: own.clone(), group: group.to_owned() };
        let written = self.registry.write_record(OPEN, &index, 0, &to_json(&entry)?).await?;
        let id = match written {
            Some(_) => own,
            None => self.open_id(&index).await?.unwrap_or(own),
        };
        if let Some((_, held)) = self.read(&id).await? {
            return Ok(held);
        }
        let Finding { subject, differences, position, found_by } = finding;
        let (group, found_at) = (group.to_owned(), self.clock.now());
        let (status, actions) = (IncidentStatus::Open, Vec::new());
        let incident =
            Incident { id, group, subject, differences, position, found_by, found_at, status, actions };
        tracing::error!(
            group = incident.group,
            incident = incident.id,
            subject = %incident.subject,
            "something is not what the log says"
        );
        self.registry.write_record(INCIDENT, &incident.id, 0, &to_json(&incident)?).await?;
        Ok(incident)
    }

    /// An incident.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn get(&self, id: &str) -> Result<Option<Incident>, Fault> {
        Ok(self.read(id).await?.map(|(_, incident)| incident))
    }

    /// The incidents, the last changed first.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn list(&self, most: usize) -> Result<Vec<Incident>, Fault> {
        let records = self.registry.records(INCIDENT, most).await?;
        records.iter().map(from_record).collect()
    }

    /// The open incident about a subject.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn open_about(&self, group: &str, subject: &Subject) -> Result<Option<Incident>, Fault> {
        match self.open_id(&index_name(group, subject)?).await? {
            Some(id) => self.get(&id).await,
            None => Ok(None),
        }
    }

    /// How many incidents are open, by group.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn open_by_group(&self) -> Result<std::collections::BTreeMap<String, u64>, Fault> {
        let mut counts = std::collections::BTreeMap::new();
        for record in self.registry.records(OPEN, INCIDENTS_MAX).await? {
            *counts.entry(from_record::<OpenEntry>(&record)?.group).or_default() += 1;
        }
        Ok(counts)
    }

    /// Notes what was done about an incident, and how it stands then.
    ///
    /// # Errors
    /// A fault of the store, among them one that is transient: others changed it all the time.
    pub async fn note(
        &self,
        id: &str,
        action: &ActionTaken,
        status: IncidentStatus,
    ) -> Result<Option<Incident>, Fault> {
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let Some((seen, mut incident)) = self.read(id).await? else { return Ok(None) };
            incident.actions.push(action.clone());
            incident.status = status;
            if self.registry.write_record(INCIDENT, id, seen, &to_json(&incident)?).await?.is_some() {
                if status != IncidentStatus::Open {
                    let index = index_name(&incident.group, &incident.subject)?;
                    self.registry.forget_record(OPEN, &index).await?;
                }
                return Ok(Some(incident));
            }
        }
        Err(Fault::transient(Code::Overloaded, format!("others change incident `{id}`; try again")))
    }

    async fn open_id(&self, index: &str) -> Result<Option<String>, Fault> {
        let record = self.registry.record(OPEN, index).await?;
        Ok(record.map(|record| from_record::<OpenEntry>(&record)).transpose()?.map(|entry| entry.id))
    }

    async fn read(&self, id: &str) -> Result<Option<(u64, Incident)>, Fault> {
        let record = self.registry.record(INCIDENT, id).await?;
        record.map(|record| Ok((record.version, from_record(&record)?))).transpose()
    }
}

/// The name of a subject within all groups.
fn index_name(group: &str, subject: &Subject) -> Result<String, Fault> {
    to_json(&(group, subject))
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value)
        .map_err(|error| Fault::permanent(Code::Internal, "a record cannot be written").because(error))
}

pub(crate) fn from_record<T: for<'de> Deserialize<'de>>(record: &Record) -> Result<T, Fault> {
    serde_json::from_str(&record.body).map_err(|error| {
        let message = format!("record `{}` of kind `{}` cannot be read", record.name, record.kind);
        Fault::permanent(Code::StoreVersion, message).because(error)
    })
}
