//! Putting a service together: its deciders, its read models, what it is called.

use crate::correction::{self, CorrectionEvent};
use crate::problems::problems;
use crate::{Place, Roles, Running, Store, SystemClock, Verb};
use diptych_command::{
    AnyDecider, Boundary, CommandLimits, Decider, Editions, EditionsError, Languages, OutboxLimits,
    Persistence, QueueLimits, Reference, References, StoredState,
};
use diptych_core::{Authenticate, Authorize, Clock, Code, Event, Fault, Principal, Unrestricted};
use diptych_couch::{Address, CouchLimits};
use diptych_http::{HttpLimits, MetricsAccess, OwnPage};
use diptych_ops::catalog::Catalog;
use diptych_ops::{Job, JobLimits};
use diptych_policy::{Declarations, Policies, PolicyError, PolicyGuard};
use diptych_postgres::PostgresLimits;
use diptych_projector::ProjectorLimits;
use diptych_query::{
    AnyModel, CORRECTION, Corrections, Group, GroupError, JoinedProjection, QueryLimits, ReadPolicy,
    SqlProjection, Tables,
};
use diptych_sqlite::{Durability, SqliteLimits};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A service, before it is opened.
///
/// ```no_run
/// # use diptych::prelude::*;
/// # #[derive(Clone, Event)]
/// # #[event(category = "run", owner = "platform")]
/// # enum RunEvent { RunRecorded }
/// # #[derive(Clone, Command)]
/// # enum RunCommand { Record }
/// # #[derive(Debug, Rejection)]
/// # enum RunRejection { #[reject("it is recorded")] RunAlreadyRecorded }
/// # #[derive(Default, Data)]
/// # struct Run {}
/// # impl Decider for Run {
/// #     type Command = RunCommand;
/// #     type Event = RunEvent;
/// #     type Rejection = RunRejection;
/// #     fn decide(&self, _: RunCommand, _: &Context) -> Result<Vec<RunEvent>, RunRejection> { Ok(vec![]) }
/// #     fn evolve(self, _: &RunEvent) -> Self { self }
/// # }
/// fn main() -> ExitCode {
///     Service::new("runs").about("Records how runs ended").decider::<Run>().main()
/// }
/// ```
#[derive(Clone)]
pub struct Service {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) about: String,
    pub(crate) deciders: Vec<Arc<dyn AnyDecider>>,
    /// Every language that is written here.
    pub(crate) languages: Languages,
    pub(crate) outbox: Languages,
    pub(crate) groups: Vec<GroupDraft>,
    pub(crate) collections: BTreeMap<String, String>,
    pub(crate) references: References,
    /// By name, how a file with other editions is read.
    pub(crate) reference_readers: BTreeMap<&'static str, ReadReference>,
    pub(crate) links: Vec<String>,
    /// Pages of its own.
    pub(crate) own_pages: Vec<Arc<dyn OwnPage>>,
    pub(crate) verbs: Vec<Arc<dyn Verb>>,
    pub(crate) before_serving: Option<Arc<dyn Verb>>,
    pub(crate) authorize: Arc<dyn Authorize>,
    pub(crate) policy: Arc<dyn ReadPolicy>,
    pub(crate) policies: Option<Result<Policies, PolicyError>>,
    pub(crate) policy_principals: Vec<Principal>,
    /// What policies may speak of, once the service is opened.
    pub(crate) declared: Arc<Declarations>,
    /// The policies in force, once the service is opened.
    pub(crate) guard: Option<Arc<PolicyGuard>>,
    pub(crate) authenticate: Option<Arc<dyn Authenticate>>,
    pub(crate) development: Option<Principal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) jobs: Vec<Job>,
}

/// Reads editions of one kind from a text, and puts them among the others.
pub(crate) type ReadReference = fn(References, &str) -> Result<References, EditionsError>;

/// Read models that move together, while they are put together.
pub struct GroupTables(Tables);

impl GroupTables {
    /// Adds a read model, and before it those that it looks rows up in.
    #[must_use]
    pub fn read_model<M: JoinedProjection>(mut self) -> Self {
        self.0.add::<M>();
        self
    }

    /// Adds a read model whose rows SQL of its own keeps; see [`SqlProjection`] for what that gives up.
    #[must_use]
    pub fn sql_read_model<M: SqlProjection>(mut self) -> Self {
        self.0.add_sql::<M>();
        self
    }
}

/// A group that was named and may still be wrong.
#[derive(Clone)]
pub(crate) struct GroupDraft {
    pub(crate) name: &'static str,
    pub(crate) models: Vec<Arc<dyn AnyModel>>,
}

impl GroupDraft {
    pub(crate) fn group(&self) -> Result<Group, GroupError> {
        Group::new(self.name, self.models.clone())
    }
}

/// Where and how a service runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the store is.
    pub store: Place,
    /// The server that keeps read models declared `document`, by the CouchDB protocol; none is the store.
    pub documents: Option<Address>,
    /// On whose behalf requests come while there is no authentication: only this machine can reach the
    /// service.
    pub principal: Principal,
    /// How sure a commit is before it is acknowledged.
    pub durability: Durability,
    /// How long an idempotency key is kept.
    pub idempotency_retention: Duration,
    /// The application's own SQLite file, whose outbox is taken in; on PostgreSQL the outbox is in the
    /// store's database and needs no naming.
    pub outbox: Option<PathBuf>,
    /// By category, where a decider's state comes from instead of where its service says; only for deciders
    /// whose state can be stored.
    pub persistence: BTreeMap<String, Persistence>,
    /// By name, files whose editions of reference data replace those of the service; see
    /// [`Service::reference`].
    pub references: BTreeMap<String, PathBuf>,
    /// What this process does of the service.
    pub roles: Roles,
    /// Who may read the metrics where callers have to prove who they are.
    pub metrics_access: MetricsAccess,
    /// Limits of handling commands.
    pub commands: CommandLimits,
    /// Limits of taking in what an application records in its outbox.
    pub outbox_limits: OutboxLimits,
    /// Limits of the queue of commands that are done later.
    pub queue: QueueLimits,
    /// Limits of asking.
    pub queries: QueryLimits,
    /// Limits of following.
    pub projector: ProjectorLimits,
    /// Limits of the embedded store.
    pub sqlite: SqliteLimits,
    /// Limits of the production store.
    pub postgres: PostgresLimits,
    /// Limits of the server of documents.
    pub couch: CouchLimits,
    /// Limits of the wire.
    pub http: HttpLimits,
    /// The folder under which jobs write their files; none is `exports` in the folder of the embedded store,
    /// or in the working folder. All processes that run jobs, or models that are folded from exports, see it.
    pub exports: Option<PathBuf>,
    /// Limits of scheduled jobs.
    pub jobs: JobLimits,
}

impl Config {
    /// The defaults, with the store in a folder or a [`Database`](crate::Database).
    ///
    /// # Panics
    /// Never: the built-in principal is valid.
    #[must_use]
    pub fn at(store: impl Into<Place>) -> Self {
        Self {
            store: store.into(),
            documents: None,
            principal: Principal::new("main", "local").expect("both are valid names"),
            durability: Durability::Full,
            idempotency_retention: Duration::from_secs(7 * 24 * 3_600),
            outbox: None,
            persistence: BTreeMap::new(),
            references: BTreeMap::new(),
            roles: Roles::ALL,
            metrics_access: MetricsAccess::default(),
            commands: CommandLimits::default(),
            outbox_limits: OutboxLimits::default(),
            queue: QueueLimits::default(),
            queries: QueryLimits::default(),
            projector: ProjectorLimits::default(),
            sqlite: SqliteLimits::default(),
            postgres: PostgresLimits::default(),
            couch: CouchLimits::default(),
            http: HttpLimits::default(),
            exports: None,
            jobs: JobLimits::default(),
        }
    }
}

impl Service {
    /// Starts a service of a name: lower-case letters, digits and `-`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: "0.0.0".to_owned(),
            about: String::new(),
            deciders: Vec::new(),
            languages: Languages::default(),
            outbox: Languages::default(),
            groups: Vec::new(),
            collections: BTreeMap::new(),
            references: References::default(),
            reference_readers: BTreeMap::new(),
            links: Vec::new(),
            own_pages: Vec::new(),
            verbs: Vec::new(),
            before_serving: None,
            authorize: Arc::new(Unrestricted),
            policy: Arc::new(Unrestricted),
            policies: None,
            policy_principals: Vec::new(),
            declared: Arc::default(),
            guard: None,
            authenticate: None,
            development: None,
            clock: Arc::new(SystemClock),
            jobs: Vec::new(),
        }
    }

    /// Says what it is, in a sentence for people.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Says its version, as its interface description shows it.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Adds a decider: its commands can be given from now on.
    #[must_use]
    pub fn decider<D: Decider>(mut self) -> Self {
        self.languages.add::<D::Event>();
        self.deciders.push(diptych_command::erase::<D>());
        self
    }

    /// Adds a decider whose collection is not its category with an `s`: `parties` for `party`.
    #[must_use]
    pub fn decider_in<D: Decider>(self, collection: impl Into<String>) -> Self {
        self.collection(D::Event::CATEGORY, collection).decider::<D>()
    }

    /// Adds an event-sourced decider that leaves its state in a row every so many events, so that a long
    /// stream is not folded from its beginning.
    #[must_use]
    pub fn snapshots<D: StoredState>(mut self) -> Self {
        self.languages.add::<D::Event>();
        self.deciders.push(diptych_command::erase_stored::<D>(Persistence::EventSourced));
        self
    }

    /// Adds a state-stored decider: a row holds its state, written with the events of every command.
    ///
    /// ```
    /// # use diptych::prelude::*;
    /// # #[derive(Clone, Event)]
    /// # #[event(category = "party", owner = "platform")]
    /// # enum PartyEvent { PartyMet }
    /// # #[derive(Clone, Command)]
    /// # enum PartyCommand { Meet }
    /// # #[derive(Debug, Rejection)]
    /// # enum PartyRejection { #[reject("it is met")] PartyAlreadyMet }
    /// # impl Decider for Party {
    /// #     type Command = PartyCommand;
    /// #     type Event = PartyEvent;
    /// #     type Rejection = PartyRejection;
    /// #     fn decide(&self, _: PartyCommand, _: &Context) -> Result<Vec<PartyEvent>, PartyRejection> {
    /// #         Ok(vec![])
    /// #     }
    /// #     fn evolve(self, _: &PartyEvent) -> Self { self }
    /// # }
    /// #[derive(Default, Data)]
    /// struct Party { met: i64, name: Option<String> }
    ///
    /// impl StoredState for Party {
    ///     const COLUMNS: &'static [StateColumn] =
    ///         &[StateColumn::integer("met", "met"), StateColumn::text("name", "name").indexed()];
    /// }
    ///
    /// let service = Service::new("parties").state_stored::<Party>().collection("party", "parties");
    /// assert!(service.problems().is_empty());
    /// ```
    #[must_use]
    pub fn state_stored<D: StoredState>(mut self) -> Self {
        self.languages.add::<D::Event>();
        self.deciders.push(diptych_command::erase_stored::<D>(Persistence::StateStored));
        self
    }

    /// Names the collection of a category where it is not the category with an `s`: `parties` for `party`.
    #[must_use]
    pub fn collection(mut self, category: impl Into<String>, collection: impl Into<String>) -> Self {
        self.collections.insert(category.into(), collection.into());
        self
    }

    /// Hands deciders reference data that they decide under, which they find by
    /// [`Context::reference`](diptych_command::Context::reference): a command may name the version that it
    /// was decided under, and an event records it. [`Config::references`] names a file to read other
    /// editions from when the service is opened.
    ///
    /// ```
    /// # use diptych::prelude::*;
    /// #[derive(Clone, Data)]
    /// struct Tariff { fee_cents: i64 }
    ///
    /// impl Reference for Tariff {
    ///     const NAME: &'static str = "tariff";
    ///     fn editions() -> Editions<Self> { Editions::new("2026", Tariff { fee_cents: 900 }) }
    /// }
    ///
    /// let service = Service::new("fees").reference(Tariff::editions());
    /// assert!(service.problems().is_empty());
    /// ```
    #[must_use]
    pub fn reference<T: Reference>(mut self, editions: Editions<T>) -> Self {
        self.references = self.references.with(editions);
        let read: ReadReference = |references, text| Ok(references.with(Editions::<T>::from_json(text)?));
        self.reference_readers.insert(T::NAME, read);
        self
    }

    /// Has facts of a language come by the outbox of an application that keeps its own tables: what it
    /// appends with `Outbox::append`, in its own transactions and without a decider, is taken into the
    /// log. On SQLite [`Config::outbox`] names the application's file.
    #[must_use]
    pub fn outbox<E: Event>(mut self) -> Self {
        self.languages.add::<E>();
        self.outbox.add::<E>();
        self
    }

    /// Adds a decider whose commands are decided on facts of several streams, found by their tags.
    #[must_use]
    pub fn boundary<D: Boundary>(mut self) -> Self {
        self.languages.add::<D::Event>();
        self.deciders.push(diptych_command::erase_boundary::<D>());
        self
    }

    /// Adds a decider with boundaries whose collection is not its category with an `s`.
    #[must_use]
    pub fn boundary_in<D: Boundary>(mut self, collection: impl Into<String>) -> Self {
        self.collections.insert(D::Event::CATEGORY.to_owned(), collection.into());
        self.boundary::<D>()
    }

    /// Adds a read model: its questions can be asked from now on. If it looks up rows of others, they come
    /// with it and move under its checkpoint; [`Service::group`] gives such a group a name of its own.
    #[must_use]
    pub fn read_model<M: JoinedProjection>(self) -> Self {
        self.group(M::SCHEMA.name, |group| group.read_model::<M>())
    }

    /// Adds a read model whose rows SQL of its own keeps; see [`SqlProjection`] for what that gives up.
    #[must_use]
    pub fn sql_read_model<M: SqlProjection>(self) -> Self {
        self.group(M::SCHEMA.name, |group| group.sql_read_model::<M>())
    }

    /// Adds read models that move together, under one checkpoint of this name, in this order.
    ///
    /// ```text
    /// Service::new("enforcement").group("work_queue", |group| {
    ///     group.read_model::<CaseTitle>().read_model::<PartyName>().read_model::<WorkQueueRow>()
    /// })
    /// ```
    #[must_use]
    pub fn group(mut self, name: &'static str, fill: impl FnOnce(GroupTables) -> GroupTables) -> Self {
        let GroupTables(tables) = fill(GroupTables(Tables::default()));
        self.groups.push(GroupDraft { name, models: tables.into_models() });
        self.corrections()
    }

    /// Has the decider of corrections take those of every read model that declares any.
    fn corrections(mut self) -> Self {
        let mut taking: Vec<_> = self.models().map(|model| model.schema()).collect();
        taking.retain(|schema| schema.upkeep.corrections != Corrections::Refused);
        self.deciders.retain(|decider| decider.category() != CORRECTION);
        if !taking.is_empty() {
            self.languages.add::<CorrectionEvent>();
            self.deciders.push(correction::decider(taking));
            self.collections.insert(CORRECTION.to_owned(), correction::COLLECTION.to_owned());
        }
        self
    }

    /// Adds a scheduled job, which is run once across all processes that move read models.
    ///
    /// ```
    /// use diptych::prelude::*;
    /// let service = Service::new("orders").job(Job::export("nightly-events").daily_at("02:00"));
    /// assert!(service.problems().is_empty());
    /// let wrong = Service::new("orders").job(Job::export("nightly-events").daily_at("2 am"));
    /// assert!(wrong.problems()[0].contains("not a time of the day"));
    /// ```
    #[must_use]
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// Adds a link to try to the first page, such as `/order-summary?pageSize=5`.
    #[must_use]
    pub fn link(mut self, path: impl Into<String>) -> Self {
        self.links.push(path.into());
        self
    }

    /// Adds a page of the service's own, HTML for people at `/{segment}/{key}`.
    #[must_use]
    pub fn own_page(mut self, page: impl OwnPage) -> Self {
        self.own_pages.push(Arc::new(page));
        self
    }

    /// Adds a verb to the command line.
    #[must_use]
    pub fn verb(mut self, verb: impl Verb) -> Self {
        self.verbs.push(Arc::new(verb));
        self
    }

    /// Adds a verb that also runs first when the service is started without any verb.
    #[must_use]
    pub fn verb_before_serving(mut self, verb: impl Verb) -> Self {
        let verb: Arc<dyn Verb> = Arc::new(verb);
        self.before_serving = Some(Arc::clone(&verb));
        self.verbs.push(verb);
        self
    }

    /// Decides who may do what. Everything is allowed where this is not called, and only this machine is
    /// served.
    #[must_use]
    pub fn authorize(mut self, authorize: impl Authorize) -> Self {
        self.authorize = Arc::new(authorize);
        self
    }

    /// Decides what of the read models anybody may see, and by what they may ask. Everything where this is
    /// not called.
    #[must_use]
    pub fn read_policy(mut self, policy: impl ReadPolicy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Tells who sends a request. Where this is not called everybody is the configured principal, and only
    /// this machine is served.
    #[must_use]
    pub fn authenticate(mut self, authenticate: impl Authenticate) -> Self {
        self.authenticate = Some(Arc::new(authenticate));
        self
    }

    /// Says whom everybody is taken for where the command line serves without proof and names nobody by
    /// `--principal`, `--tenant` or `--actor`: somebody who, by the service's policies, sees something.
    #[must_use]
    pub fn development_principal(mut self, principal: Principal) -> Self {
        self.development = Some(principal);
        self
    }

    /// Takes the time from somewhere else than the system, as tests do.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Every event language that is written here, by deciders or by an outbox.
    #[must_use]
    pub fn languages(&self) -> &Languages {
        &self.languages
    }

    /// Every read model, group by group.
    pub(crate) fn models(&self) -> impl Iterator<Item = &Arc<dyn AnyModel>> {
        self.groups.iter().flat_map(|group| &group.models)
    }

    /// What is wrong with how the service is put together; empty when nothing is.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = problems(self);
        problems.extend(self.guard().err().into_iter().flat_map(|error| error.problems));
        problems
    }

    /// The event catalog: every event type with its schema, who writes and who reads it. Opens no store.
    ///
    /// # Errors
    /// A service put together wrongly, with every problem named.
    pub fn catalog(&self) -> Result<Catalog, Fault> {
        self.check()?;
        let groups: Result<Vec<Group>, GroupError> = self.groups.iter().map(GroupDraft::group).collect();
        let groups = groups.map_err(|error| {
            Fault::permanent(Code::ServiceInvalid, "the read models cannot be grouped").because(error)
        })?;
        Ok(Catalog::of(&self.name, &self.deciders, &groups))
    }

    fn check(&self) -> Result<(), Fault> {
        let problems = problems(self);
        if problems.is_empty() {
            return Ok(());
        }
        let message = format!("service `{}` is put together wrongly: {}", self.name, problems.join("; "));
        Err(Fault::permanent(Code::ServiceInvalid, message))
    }

    /// Opens the service on its store.
    ///
    /// # Errors
    /// A service put together wrongly, with every problem named, or a fault of the store.
    pub async fn open(&self, config: Config) -> Result<Running, Fault> {
        self.check()?;
        let service = self.persisted(&config.persistence)?.referring(&config.references)?.guarded()?;
        Running::open(service, config).await
    }

    /// The same service with other persistences for some categories.
    fn persisted(&self, persistence: &BTreeMap<String, Persistence>) -> Result<Self, Fault> {
        let mut service = self.clone();
        for (category, persistence) in persistence {
            let mut deciders = service.deciders.iter_mut();
            let decider = deciders.find(|decider| decider.category() == category);
            let Some(decider) = decider else {
                let message = format!("no decider has category `{category}`, so it cannot be {persistence}");
                return Err(Fault::permanent(Code::ServiceInvalid, message));
            };
            if decider.persistence() == *persistence {
                continue;
            }
            *decider = decider.persisted(*persistence).ok_or_else(|| {
                let message = format!(
                    "`{category}` cannot be {persistence}: its service adds it by `decider`, and only \
                     `snapshots` and `state_stored` know how its state is stored"
                );
                Fault::permanent(Code::ServiceInvalid, message)
            })?;
        }
        Ok(service)
    }

    /// The same service with other editions of some kinds of reference data, read from files.
    fn referring(mut self, files: &BTreeMap<String, PathBuf>) -> Result<Self, Fault> {
        for (name, path) in files {
            let refused = |why: String| {
                let message =
                    format!("reference data `{name}` cannot be taken from {}: {why}", path.display());
                Fault::permanent(Code::ServiceInvalid, message)
            };
            let read = self.reference_readers.get(name.as_str());
            let read =
                read.ok_or_else(|| refused("the service has no reference data of that name".to_owned()))?;
            let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
            self.references = read(self.references, &text).map_err(|error| refused(error.to_string()))?;
        }
        Ok(self)
    }

    /// Opens the store alone, without any read model: to be filled with an export by `restore` of what this
    /// answers. Close it before the service is opened.
    ///
    /// # Errors
    /// A service put together wrongly, with every problem named, or a fault of the store.
    pub async fn open_store(&self, config: &Config) -> Result<Arc<dyn Store>, Fault> {
        self.check()?;
        crate::store::open(config, &self.clock, &[], &Arc::default()).await
    }

    /// Runs the command line of the service: `serve`, the operator's verbs and the service's own.
    #[must_use]
    pub fn main(self) -> std::process::ExitCode {
        crate::command_line::main(self)
    }
}
