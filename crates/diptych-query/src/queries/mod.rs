//! The running right panel: asks the model store, measures freshness, keeps contracts.

mod answering;
mod asking;
mod awaiting;
mod bounding;
mod exporting;
mod looking;
mod pending;
mod seeing;
mod tagging;
mod waiting;

pub use awaiting::{Awaited, WaitOutcome};
pub use exporting::{ExportTotals, RowStream};
pub use looking::Moves;
pub use pending::{AskedRow, PendingCommand, PendingCommands};
pub use tagging::{AnswerTag, Unless};

use crate::held_back::held_back;
use crate::{
    Answer, AnyModel, BuildId, Condition, Consistency, Direction, Feed, Find, Freshness, Group, Health,
    JobBoard, ModelStore, Page, PageKey, Parked, Progress, ProgressEntry, QueryError, QueryMetrics,
    ReadModel, ReadPolicy, Schema, Tenants, Touched, Words,
};
use answering::{health, refuse_troubled};
use diptych_core::{
    Action, Authorize, Clock, Code, Fault, Position, Principal, RawFact, Timestamp, Token, Value,
};
use looking::Looks;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The limits of asking.
#[derive(Clone, Debug)]
pub struct QueryLimits {
    /// Rows of a page that asks for no number.
    pub page_rows_default: usize,
    /// The most rows of a page; whoever asks for more is pointed to the export (DP0065).
    pub page_rows_max: usize,
    /// The most rows that are walked through page by page; beyond them DP0065.
    pub walk_rows_max: u64,
    /// The most values of one condition.
    pub condition_values_max: usize,
    /// How many events beyond an answer's position are looked through for what its rows lack.
    pub pending_events_max: usize,
    /// The longest wait for a position.
    pub wait_max: Duration,
    /// The longest time a query may run in the store.
    pub query_max: Duration,
    /// The longest time an export may take. The store keeps what it was in the beginning for as long.
    pub export_max: Duration,
    /// The most exports at a time.
    pub exports_max: usize,
    /// How long lies between two looks at the store for a group that another process moves, made for all who
    /// wait for it together.
    pub foreign_poll: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            page_rows_default: 50,
            page_rows_max: 500,
            walk_rows_max: 50_000,
            condition_values_max: 200,
            pending_events_max: 1_000,
            wait_max: Duration::from_secs(30),
            query_max: Duration::from_secs(5),
            export_max: Duration::from_secs(600),
            exports_max: 2,
            foreign_poll: Duration::from_millis(50),
        }
    }
}

/// A question without its types.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ask {
    /// What must hold, all of it.
    pub conditions: Vec<Condition>,
    /// Words that a row must have.
    pub words: Words,
    /// The order; the model's own where none is asked for.
    pub sort: Option<(usize, Direction)>,
    /// At most this many rows.
    pub page_size: Option<usize>,
    /// Where an earlier page ended.
    pub page_token: Option<String>,
    /// With everything up to this position.
    pub at_least: Option<Token>,
    /// Waiting at most this long for it.
    pub wait: Option<Duration>,
    /// No older than this.
    pub max_stale: Option<Duration>,
    /// At least this consistent.
    pub consistency: Option<Consistency>,
}

/// Rows without their types, with the columns computed at the time of the answer.
#[derive(Clone, Debug)]
pub struct RawPage {
    /// The declaration that names the columns.
    pub schema: &'static Schema,
    /// The rows.
    pub rows: Vec<RawRow>,
    /// Where the next page starts; none when this is the last.
    pub next_page_token: Option<String>,
}

/// A row without its type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawRow {
    /// Stored columns followed by computed ones. What is withheld has no value.
    pub values: Vec<Value>,
    /// The columns that are withheld from whoever asks, by their place among the values.
    pub withheld: Vec<usize>,
}

/// Whether a command's events can be seen in a read model.
#[derive(Clone, PartialEq, Debug)]
pub struct Visibility {
    /// The read model.
    pub model: &'static str,
    /// The position that must be reached.
    pub position: Position,
    /// Since when, or why not yet.
    pub state: VisibleSince,
}

/// Since when something is visible, or why it is not.
#[derive(Clone, PartialEq, Debug)]
pub enum VisibleSince {
    /// It is visible, at the latest since then; none when that is not kept any more.
    Visible(Option<Timestamp>),
    /// Not before its row's key is parked no longer.
    Parked {
        /// The fact that the row could not take.
        position: Position,
        /// Why, in a sentence with a code.
        reason: String,
    },
    /// Not yet.
    Pending {
        /// How many events lie before it.
        lag_events: u64,
        /// How the model is doing.
        health: Health,
    },
}

/// One read model of a running service.
struct Served {
    model: Arc<dyn AnyModel>,
    group: Arc<Group>,
    entry: Arc<ProgressEntry>,
    looks: Arc<Looks>,
}

/// The right panel of a running service.
pub struct Queries {
    store: Arc<dyn ModelStore>,
    feed: Arc<dyn Feed>,
    models: BTreeMap<&'static str, Served>,
    authorize: Arc<dyn Authorize>,
    policy: Arc<dyn ReadPolicy>,
    clock: Arc<dyn Clock>,
    page_key: PageKey,
    limits: QueryLimits,
    metrics: QueryMetrics,
    exports: Arc<Semaphore>,
    jobs: Arc<JobBoard>,
}

/// What [`Queries`] is made of.
pub struct QueryParts {
    /// Where rows live.
    pub store: Arc<dyn ModelStore>,
    /// The log.
    pub feed: Arc<dyn Feed>,
    /// The groups, attached.
    pub groups: Vec<Arc<Group>>,
    /// How far they have come.
    pub progress: Arc<Progress>,
    /// Who may ask.
    pub authorize: Arc<dyn Authorize>,
    /// What they may see.
    pub policy: Arc<dyn ReadPolicy>,
    /// The present time.
    pub clock: Arc<dyn Clock>,
    /// What signs page tokens.
    pub page_key: PageKey,
    /// The limits.
    pub limits: QueryLimits,
}

impl Queries {
    /// Joins read models with a store.
    #[must_use]
    pub fn new(parts: QueryParts) -> Self {
        let QueryParts { store, feed, groups, progress, authorize, policy, clock, page_key, limits } = parts;
        let served = groups.iter().flat_map(|group| {
            let (looks, entry) = (Arc::<Looks>::default(), progress.entry(group.name()));
            group.models().iter().map(move |model| {
                let entry = Arc::clone(&entry);
                let looks = Arc::clone(&looks);
                let served = Served { model: Arc::clone(model), group: Arc::clone(group), entry, looks };
                (model.schema().name, served)
            })
        });
        let models = served.collect();
        let metrics = QueryMetrics::default();
        let exports = Arc::new(Semaphore::new(limits.exports_max));
        let jobs = Arc::default();
        Self { store, feed, models, authorize, policy, clock, page_key, limits, metrics, exports, jobs }
    }

    /// The same, told how the scheduled jobs stand whose exports models are folded from.
    #[must_use]
    pub fn with_jobs(mut self, jobs: Arc<JobBoard>) -> Self {
        self.jobs = jobs;
        self
    }

    /// How the scheduled jobs stand.
    #[must_use]
    pub fn jobs(&self) -> &JobBoard {
        &self.jobs
    }

    /// The present time, as answers are measured by it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The read models, by name.
    pub fn models(&self) -> impl Iterator<Item = (&Arc<dyn AnyModel>, &Arc<Group>)> {
        self.models.values().map(|served| (&served.model, &served.group))
    }

    /// What this panel counts.
    #[must_use]
    pub fn metrics(&self) -> &QueryMetrics {
        &self.metrics
    }

    /// The limits of asking.
    #[must_use]
    pub fn limits(&self) -> &QueryLimits {
        &self.limits
    }

    /// Asks for a page of typed rows.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn find<M: ReadModel>(
        &self,
        principal: &Principal,
        find: Find<M>,
    ) -> Result<Answer<Page<M>>, QueryError> {
        let answer = self.ask(principal, M::SCHEMA.name, &find.ask).await?;
        let items = answer.value.rows.iter().map(typed::<M>).collect::<Result<_, _>>()?;
        let next_page_token = answer.value.next_page_token.clone();
        Ok(answer.map(|_| Page { items, next_page_token }))
    }

    /// Asks for the row of one key.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn get<M: ReadModel>(
        &self,
        principal: &Principal,
        key: &M::Key,
        at_least: Option<Token>,
    ) -> Result<Answer<Option<M>>, QueryError> {
        let ask = Ask { at_least, ..Ask::default() };
        let key = <M as ReadModel>::key_values(key);
        let meant = self.row_meant(principal, M::SCHEMA.name, key, &ask).await?;
        let answer = self.row(&meant).await?;
        let row = answer.value.as_ref().map(typed::<M>).transpose()?;
        Ok(answer.map(|_| row))
    }

    /// How fresh a model is, without any of its rows.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn freshness(&self, model: &str) -> Result<(Freshness, Health), QueryError> {
        let served =
            self.models.get(model).ok_or_else(|| QueryError::UnknownModel { name: model.to_owned() })?;
        let reading = served.reading(None);
        let checkpoint = self.store.checkpoint(&reading.group).await?;
        let health = health(served, &reading, &checkpoint);
        Ok((self.measure(served, &checkpoint, None).await?, health))
    }

    /// The read models that a fact touches, each with the rows that its route names. Asks no store.
    #[must_use]
    pub fn touched(&self, raw: &Arc<RawFact>) -> Vec<Touched> {
        let all = self.models.values().map(|served| {
            let touches = served.model.routed(raw).map_err(|error| error.to_string());
            Touched { schema: served.model.schema(), touches }
        });
        all.filter(|touched| !matches!(&touched.touches, Ok(touches) if touches.is_empty())).collect()
    }

    /// For each read model that the events of a command touch: since when they are visible, or why not yet.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn visibility(&self, events: &[Arc<RawFact>]) -> Result<Vec<Visibility>, QueryError> {
        let mut all = Vec::new();
        for served in self.models.values() {
            let touching = events.iter().rev().find(|raw| served.model.touches(raw).unwrap_or(true));
            let Some(position) = touching.map(|raw| raw.position) else {
                continue;
            };
            let reading = served.reading(None);
            let checkpoint = self.store.checkpoint(&reading.group).await?;
            let reached = checkpoint.mark.position();
            let suspended = served.entry.troubles().suspended.is_some();
            let parked = held_back(&*self.store, &reading.group, &*served.model, events).await?;
            let state = if let Some(Parked { position, reason, .. }) = parked {
                VisibleSince::Parked { position, reason }
            } else if reached >= position && !suspended {
                VisibleSince::Visible(self.store.passed_at(&reading.group, position).await?)
            } else {
                let health = health(served, &reading, &checkpoint);
                VisibleSince::Pending { lag_events: reached.lag_to(position), health }
            };
            all.push(Visibility { model: served.model.schema().name, position, state });
        }
        Ok(all)
    }

    /// A model that a principal may ask.
    fn known(&self, principal: &Principal, model: &str) -> Result<&Served, QueryError> {
        let allowed = self.authorize.authorize(principal, Action::Query { model });
        allowed.map_err(QueryError::Forbidden)?;
        let served = self.models.get(model);
        served.ok_or_else(|| QueryError::UnknownModel { name: model.to_owned() })
    }

    /// A model of which a principal may see rows, if it can answer now.
    fn served(&self, principal: &Principal, model: &str) -> Result<&Served, QueryError> {
        let served = self.known(principal, model)?;
        if served.model.schema().tenants == Tenants::All {
            let allowed = self.authorize.authorize(principal, Action::QueryAllTenants { model });
            allowed.map_err(QueryError::Forbidden)?;
        }
        // Before anybody waits for anything.
        if let Some(health) = served.entry.troubles().health() {
            refuse_troubled(served.model.schema(), health)?;
        }
        Ok(served)
    }
}

/// The build that a question is answered from.
struct Reading {
    group: Arc<Group>,
    /// Whether it is the build that the code moves.
    is_own: bool,
}

impl Served {
    /// The build to answer from: that of a page that was begun, if it still follows; or else the own one; or
    /// else, while that is not ready, the one that stands in for it.
    fn reading(&self, begun_on: Option<BuildId>) -> Reading {
        let serving = self.entry.serving();
        let own = serving.own.map(|(own, _)| own);
        let meant = begun_on.filter(|begun| serving.readable.contains(begun)).or(serving.stand_in);
        match meant.filter(|meant| Some(*meant) != own) {
            Some(build) => Reading { group: Arc::new(self.group.at(build)), is_own: false },
            None => Reading { group: Arc::clone(&self.group), is_own: true },
        }
    }
}

/// A row as its type, where nothing that the type needs is withheld.
fn typed<M: ReadModel>(row: &RawRow) -> Result<M, QueryError> {
    let width = M::SCHEMA.columns.len().min(row.values.len());
    M::from_row(&row.values[..width]).map_err(|error| match row.withheld.first() {
        Some(column) => QueryError::withheld(M::SCHEMA, *column),
        None => unreadable(error),
    })
}

fn unreadable(error: diptych_core::DecodeError) -> QueryError {
    QueryError::Fault(
        Fault::permanent(Code::Storage, "a stored row cannot be read as its type").because(error),
    )
}
