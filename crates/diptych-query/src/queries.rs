//! The running right panel: asks the model store, measures freshness, keeps contracts.

use crate::held_back::held_back;
use crate::page::Question;
use crate::text::key_from_text;
use crate::{
    Answer, AnyModel, Breach, BuildId, Checkpoint, Condition, Contract, Cursor, Degraded, Direction, Feed,
    Find, Found, Freshness, Group, Health, Lag, ModelStore, Page, PageKey, Parked, Progress, ProgressEntry,
    QueryError, QueryMetrics, RawFind, ReadModel, RowRef, Schema, Stage, Touched,
};
use diptych_core::{
    Action, Authorize, Clock, Code, Fault, Position, Principal, RawFact, Timestamp, Token, Value,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The limits of asking.
#[derive(Clone, Debug)]
pub struct QueryLimits {
    /// Rows of a page that asks for no number.
    pub page_rows_default: usize,
    /// The most rows of a page.
    pub page_rows_max: usize,
    /// The most values of one condition.
    pub condition_values_max: usize,
    /// The longest wait for a position.
    pub wait_max: Duration,
    /// The longest time a query may run in the store.
    pub query_max: Duration,
    /// How often a wait looks at the store for a group that another process moves.
    pub foreign_poll: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            page_rows_default: 50,
            page_rows_max: 500,
            condition_values_max: 200,
            wait_max: Duration::from_secs(30),
            query_max: Duration::from_secs(5),
            foreign_poll: Duration::from_millis(50),
        }
    }
}

/// A question without its types.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ask {
    /// What must hold, all of it.
    pub conditions: Vec<Condition>,
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
}

/// Rows without their types, with the columns computed at the time of the answer.
#[derive(Clone, Debug)]
pub struct RawPage {
    /// The declaration that names the columns.
    pub schema: &'static Schema,
    /// Stored columns followed by computed ones.
    pub rows: Vec<Vec<Value>>,
    /// Where the next page starts; none when this is the last.
    pub next_page_token: Option<String>,
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
}

/// The right panel of a running service.
pub struct Queries {
    store: Arc<dyn ModelStore>,
    feed: Arc<dyn Feed>,
    models: BTreeMap<&'static str, Served>,
    authorize: Arc<dyn Authorize>,
    clock: Arc<dyn Clock>,
    page_key: PageKey,
    limits: QueryLimits,
    metrics: QueryMetrics,
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
        let QueryParts { store, feed, groups, progress, authorize, clock, page_key, limits } = parts;
        let served = groups.iter().flat_map(|group| {
            group.models().iter().map(|model| {
                let entry = progress.entry(group.name());
                let served = Served { model: Arc::clone(model), group: Arc::clone(group), entry };
                (model.schema().name, served)
            })
        });
        let models = served.collect();
        let metrics = QueryMetrics::default();
        Self { store, feed, models, authorize, clock, page_key, limits, metrics }
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
        let width = M::SCHEMA.columns.len();
        let rows = answer.value.rows.iter().map(|row| M::from_row(&row[..width.min(row.len())]));
        let items = rows.collect::<Result<_, _>>().map_err(unreadable)?;
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
        let served = self.served(principal, M::SCHEMA.name)?;
        let answer = self.get_values(served, principal, key, &ask).await?;
        let width = M::SCHEMA.columns.len();
        let row = answer.value.as_ref().map(|row| M::from_row(&row[..width.min(row.len())]));
        let row = row.transpose().map_err(unreadable)?;
        Ok(answer.map(|_| row))
    }

    /// Asks for a page of rows without their types.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn ask(
        &self,
        principal: &Principal,
        model: &str,
        ask: &Ask,
    ) -> Result<Answer<RawPage>, QueryError> {
        let served = self.served(principal, model)?;
        let schema = served.model.schema();
        let rows = self.page_rows(ask)?;
        let mut ask = ask.clone();
        ask.sort = ask.sort.or(schema.default_sort);
        let question = Question { schema, principal, ask: &ask };
        let place =
            ask.page_token.as_deref().map(|token| self.page_key.read(&question, token)).transpose()?;
        let reading = served.reading(place.as_ref().map(|(build, _)| *build));
        let target = self.prepare(served, &reading, &ask).await?;
        let find = RawFind {
            tenant: principal.tenant.clone(),
            conditions: ask.conditions.clone(),
            sort: ask.sort,
            after: place.as_ref().map(|(_, cursor)| cursor.clone()),
            rows_max: rows + 1,
        };
        served.entry.samples().asked(schema, &find);
        let mut found = self.store.find(&reading.group, schema, &find, self.limits.query_max).await?;
        if place.is_some_and(|(build, _)| build != found.build) {
            return Err(QueryError::PageTokenExpired);
        }
        let more = found.rows.len() > rows;
        found.rows.truncate(rows);
        let last = found.rows.last().filter(|_| more);
        let next_page_token =
            last.map(|row| self.page_key.issue(&question, found.build, &cursor(schema, &ask, row)));
        let (rows, freshness, health) = self.finish(served, &reading, found, target, &ask).await?;
        Ok(Answer { value: RawPage { schema, rows, next_page_token }, freshness, health })
    }

    /// Asks for one row by the text of its key, one segment for each key column.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn get_text(
        &self,
        principal: &Principal,
        model: &str,
        key: &[&str],
        ask: &Ask,
    ) -> Result<Answer<Option<Vec<Value>>>, QueryError> {
        let served = self.served(principal, model)?;
        let key = key_from_text(served.model.schema(), key)?;
        self.get_values(served, principal, key, ask).await
    }

    async fn get_values(
        &self,
        served: &Served,
        principal: &Principal,
        key: Vec<Value>,
        ask: &Ask,
    ) -> Result<Answer<Option<Vec<Value>>>, QueryError> {
        let reading = served.reading(None);
        let target = self.prepare(served, &reading, ask).await?;
        let row = RowRef { tenant: principal.tenant.clone(), key };
        let found = self.store.get(&reading.group, served.model.schema(), &row).await?;
        let (rows, freshness, health) = self.finish(served, &reading, found, target, ask).await?;
        Ok(Answer { value: rows.into_iter().next(), freshness, health })
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
        Ok((self.measure(&checkpoint, None).await?, health))
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

    fn served(&self, principal: &Principal, model: &str) -> Result<&Served, QueryError> {
        let allowed = self.authorize.authorize(principal, Action::Query { model });
        allowed.map_err(QueryError::Forbidden)?;
        let served = self.models.get(model);
        let served = served.ok_or_else(|| QueryError::UnknownModel { name: model.to_owned() })?;
        // Before anybody waits for anything.
        if let Some(health) = served.entry.troubles().health() {
            refuse_troubled(served.model.schema(), health)?;
        }
        Ok(served)
    }

    fn page_rows(&self, ask: &Ask) -> Result<usize, QueryError> {
        let QueryLimits { page_rows_default, page_rows_max, condition_values_max, .. } = self.limits;
        let rows = ask.page_size.unwrap_or(page_rows_default);
        if rows == 0 || rows > page_rows_max {
            return Err(QueryError::parameter("pageSize", format!("must be between 1 and {page_rows_max}")));
        }
        if ask.conditions.iter().any(|condition| condition.values.len() > condition_values_max) {
            let reason = format!("has more than {condition_values_max} values");
            return Err(QueryError::parameter("filter", reason));
        }
        Ok(rows)
    }

    /// Checks the position that an answer must hold, and waits for it as long as was asked.
    async fn prepare(
        &self,
        served: &Served,
        reading: &Reading,
        ask: &Ask,
    ) -> Result<Option<Position>, QueryError> {
        let strong = served.model.schema().contract == Contract::Strong;
        let mut target = None;
        if let Some(token) = ask.at_least {
            self.verify(token).await?;
            target = Some(token.position);
        }
        if strong {
            let head = self.feed.head().await?.position();
            target = Some(target.map_or(head, |position: Position| position.max(head)));
        }
        let wait = match ask.wait {
            Some(wait) => wait.min(self.limits.wait_max),
            None if strong => self.limits.query_max,
            None => Duration::ZERO,
        };
        if let Some(target) = target
            && !wait.is_zero()
        {
            self.wait(served, reading, target, wait).await?;
        }
        Ok(ask.at_least.map(|token| token.position).or(target.filter(|_| strong)))
    }

    /// A token must be of this log as it is now.
    async fn verify(&self, token: Token) -> Result<(), QueryError> {
        match self.feed.mark(token.position).await? {
            Some(mark) if mark.token == token => Ok(()),
            _ => Err(QueryError::EpochChanged { token }),
        }
    }

    /// Waits until a group stands at a position, stops moving, or time is up.
    async fn wait(
        &self,
        served: &Served,
        reading: &Reading,
        target: Position,
        at_most: Duration,
    ) -> Result<(), QueryError> {
        let Served { entry, .. } = served;
        let mut watch = entry.watch();
        let reached = async {
            loop {
                let reached = *watch.borrow_and_update() >= target || entry.health().is_stalled();
                if reached && reading.is_own {
                    return Ok(());
                }
                if entry.is_followed() && reading.is_own {
                    // The sender lives as long as the entry does.
                    let _ = watch.changed().await;
                    continue;
                }
                let checkpoint = self.store.checkpoint(&reading.group).await?;
                if reading.is_own {
                    entry.advance(checkpoint.mark.position());
                }
                if checkpoint.mark.position() >= target || checkpoint.stopped.is_some() {
                    return Ok(());
                }
                let _ = tokio::time::timeout(self.limits.foreign_poll, watch.changed()).await;
            }
        };
        match tokio::time::timeout(at_most, reached).await {
            Ok(result) => result,
            Err(_) => Ok(()),
        }
    }

    /// Measures freshness after the rows were read, and holds it against the contract.
    async fn finish(
        &self,
        served: &Served,
        reading: &Reading,
        found: Found,
        target: Option<Position>,
        ask: &Ask,
    ) -> Result<(Vec<Vec<Value>>, Freshness, Health), QueryError> {
        let mut freshness = self.measure(&found.checkpoint, target).await?;
        let health = health(served, reading, &found.checkpoint);
        if freshness.caught_up_to_requested_position == Some(false) && health.is_stalled() {
            return Err(QueryError::Stalled { health });
        }
        refuse_troubled(served.model.schema(), health.clone())?;
        self.hold_contract(served.model.schema(), &mut freshness, ask)?;
        let now = self.clock.now();
        let mut rows = found.rows;
        for row in &mut rows {
            let computed = served.model.computed(row, now).map_err(unreadable)?;
            row.extend(computed);
        }
        Ok((rows, freshness, health))
    }

    fn hold_contract(&self, schema: &Schema, freshness: &mut Freshness, ask: &Ask) -> Result<(), QueryError> {
        let lag = freshness.lag_seconds;
        let refuse = |within| {
            let retry_after = Duration::from_secs(1);
            Err(QueryError::NotFreshEnough { lag_seconds: lag, within, retry_after })
        };
        if let Some(within) = ask.max_stale.filter(|within| lag > within.as_secs_f64()) {
            self.metrics.stale(schema.name);
            return refuse(Some(within));
        }
        match schema.contract {
            Contract::Strong if freshness.caught_up_to_requested_position == Some(false) => {
                self.metrics.stale(schema.name);
                refuse(None)
            }
            Contract::Bounded { within, breach } if lag > within.as_secs_f64() => {
                self.metrics.stale(schema.name);
                freshness.stale = true;
                if breach == Breach::Refuse { refuse(Some(within)) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Lag against the head as it is now, which is after the rows were read.
    async fn measure(
        &self,
        checkpoint: &Checkpoint,
        target: Option<Position>,
    ) -> Result<Freshness, QueryError> {
        let mark = checkpoint.mark;
        let position = mark.position();
        let lag = Lag::measure(&*self.feed, &*self.clock, position).await?;
        Ok(Freshness {
            projection_position: position,
            lag_seconds: lag.seconds,
            lag_events: lag.events,
            as_of: (position > Position::START).then_some(mark.recorded_at),
            caught_up_to_requested_position: target.map(|target| position >= target),
            token: mark.token,
            stale: false,
        })
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

/// How a model is doing, by what its worker says, what stands beside its rows, and where its builds stand.
fn health(served: &Served, reading: &Reading, checkpoint: &Checkpoint) -> Health {
    let serving = served.entry.serving();
    if !reading.is_own {
        return served.entry.troubles().health().unwrap_or(Health::Rebuilding);
    }
    let live = served.entry.health();
    // What was written down about a fact that is in the rows by now no longer holds.
    let reached = checkpoint.mark.position();
    let stopped = checkpoint.stopped.as_ref().filter(|stopped| stopped.position > reached);
    match (stopped, live) {
        (Some(stopped), Health::Live) => {
            Health::Stopped { position: stopped.position, reason: stopped.reason.clone() }
        }
        (_, live @ (Health::Live | Health::CatchingUp)) => {
            let troubled = served.entry.troubles().health();
            troubled.unwrap_or_else(|| match serving.stage() {
                Some(Stage::Building | Stage::Shadowing) => Health::Building,
                Some(Stage::Rebuilding) => Health::Rebuilding,
                _ => live,
            })
        }
        (_, health) => health,
    }
}

/// Refuses to answer where an operator or the model's declaration says so.
fn refuse_troubled(schema: &Schema, health: Health) -> Result<(), QueryError> {
    match health {
        Health::Suspended { reason } => Err(QueryError::Suspended { reason }),
        Health::Degraded { .. } if schema.upkeep.degraded == Degraded::Refuse => {
            Err(QueryError::Degraded { health })
        }
        _ => Ok(()),
    }
}

/// The place of a row in the order that was asked for.
fn cursor(schema: &Schema, ask: &Ask, row: &[Value]) -> Cursor {
    let value = |column: usize| row.get(column).cloned().unwrap_or(Value::Null);
    Cursor {
        sorted: ask.sort.map(|(column, _)| value(column)),
        key: schema.key.iter().map(|column| value(*column)).collect(),
    }
}

fn unreadable(error: diptych_core::DecodeError) -> QueryError {
    QueryError::Fault(
        Fault::permanent(Code::Storage, "a stored row cannot be read as its type").because(error),
    )
}
