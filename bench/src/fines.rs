//! A real log as what is rebuilt: the fines of the Italian police, one event for each row of the publisher's
//! file (doi:10.4121/uuid:270fd440-1057-4fb9-89a9-b699b47990f5).
//!
//! The file may not be copied into the project; `DIPTYCH_FINES` says where it is.

use crate::Outcome;
use diptych::SystemClock;
use diptych::prelude::*;
use diptych_command::{CommandHeader, Commit, Effect, EventStore, InputHash};
use diptych_core::{Actor, Clock, CommandId, Event, NewEvent, StreamId, StreamRef, Tenant, Version};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

/// Names the file; `cargo xtask bench` sets it where the file is.
pub(crate) const FILE: &str = "DIPTYCH_FINES";

/// The read model that is rebuilt.
pub(crate) const MODEL: &str = "fine_summary";

/// Cases that are appended at once.
const CALLERS: usize = 2_048;

/// Identifies a fine.
#[derive(Id)]
pub(crate) struct FineId(String);

/// What happens to a fine.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "fine", owner = "bench")]
pub(crate) enum FineEvent {
    /// Something was done, on that day.
    FineMoved { activity: String, day: String, amount: String, paid: String, vehicle: String },
}

/// One fine in one row.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "fine_summary", revision = 1, owner = "bench", contract = "eventual")]
#[index(last_activity, last_day desc)]
#[index(vehicle)]
pub(crate) struct FineSummary {
    #[key]
    pub(crate) fine: FineId,
    #[filter]
    pub(crate) last_activity: String,
    #[sort]
    pub(crate) last_day: String,
    #[filter]
    pub(crate) vehicle: Option<String>,
    pub(crate) amount: String,
    pub(crate) payments: i64,
    pub(crate) activities: i64,
}

impl Projection for FineSummary {
    type Event = FineEvent;

    fn route(fact: &Fact<FineEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<FineEvent>) -> Option<Self> {
        let FineEvent::FineMoved { activity, day, amount, paid, vehicle } = &fact.event;
        let row = row.unwrap_or_else(|| Self {
            fine: fact.id(),
            last_activity: String::new(),
            last_day: String::new(),
            vehicle: None,
            amount: String::new(),
            payments: 0,
            activities: 0,
        });
        Some(Self {
            last_activity: activity.clone(),
            last_day: day.clone(),
            vehicle: if vehicle.is_empty() { row.vehicle } else { Some(vehicle.clone()) },
            amount: if amount.is_empty() { row.amount } else { amount.clone() },
            payments: row.payments + i64::from(!paid.is_empty()),
            activities: row.activities + 1,
            ..row
        })
    }
}

/// Where the file is.
pub(crate) fn file() -> Option<PathBuf> {
    std::env::var_os(FILE).map(PathBuf::from)
}

type Case = (String, Vec<FineEvent>);

/// Appends every case, each by one command. Answers how many events that were.
pub(crate) async fn load(store: &Arc<dyn EventStore>, path: &Path) -> Outcome<usize> {
    let cases = Arc::new(read(path)?);
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (store, cases, next) = (Arc::clone(store), Arc::clone(&cases), Arc::clone(&next));
        callers.spawn(async move {
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                store.commit(commit(case)?).await.map_err(|error| format!("loading failed: {error:?}"))?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    Ok(cases.iter().map(|(_, events)| events.len()).sum())
}

fn read(path: &Path) -> Outcome<Vec<Case>> {
    let mut reader = csv::Reader::from_reader(flate2::read::GzDecoder::new(File::open(path)?));
    let columns = reader.headers()?.clone();
    let column = |name: &str| {
        let found = columns.iter().position(|column| column == name);
        found.ok_or_else(|| format!("the file of fines has no column `{name}`"))
    };
    let [case, activity, day, amount, paid, vehicle] = [
        column("case")?,
        column("activity")?,
        column("timestamp")?,
        column("amount")?,
        column("paymentAmount")?,
        column("vehicleClass")?,
    ];
    let mut cases: Vec<Case> = Vec::new();
    for row in reader.records() {
        let row = row?;
        let text = |column: usize| row[column].to_owned();
        if cases.last().is_none_or(|(id, _)| *id != row[case]) {
            cases.push((text(case), Vec::new()));
        }
        let event = FineEvent::FineMoved {
            activity: text(activity),
            day: text(day),
            amount: text(amount),
            paid: text(paid),
            vehicle: text(vehicle),
        };
        cases.last_mut().ok_or("a case is not there")?.1.push(event);
    }
    Ok(cases)
}

fn commit((id, events): &Case) -> Outcome<Commit> {
    let stream = StreamId::new(FineEvent::CATEGORY, id)?;
    let header = CommandHeader {
        id: CommandId::new(uuid::Uuid::now_v7().to_string())?,
        stream: StreamRef { tenant: Tenant::new("main")?, stream },
        name: "Load".to_owned(),
        hash: InputHash([0; 16]),
        actor: Actor::new("local")?,
        correlation: None,
        causation: None,
        policy: None,
        occurred_at: SystemClock.now(),
    };
    let events = events.iter().map(NewEvent::from_event).collect::<Result<_, _>>()?;
    Ok(Commit::new(header, Effect::Append { base: Version(0).into(), events }))
}
