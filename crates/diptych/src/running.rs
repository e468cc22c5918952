//! A service that is open: both panels, the hinge and the store, wired together.

use crate::jobs::{self, JobMetrics, Jobs};
use crate::metrics::Metrics;
use crate::store::{self, Models, Store};
use crate::{Config, Place, Role, Roles, Service, policing};
use diptych_command::{
    CommandQueue, Commands, Holder, OutboxWorker, Persistence, QueuePanel, QueueWorkers, QueueWorkersParts,
};
use diptych_core::{Authenticate, Clock, Code, Everybody, Fault, Principal};
use diptych_http::{Hosts, Readiness, ServiceInfo, Wire};
use diptych_ops::{JobDesk, JobRun, Operator};
use diptych_projector::{Projector, ProjectorParts};
use diptych_query::{Feed, Group, Progress, Queries, QueryParts, Sources, WorkerId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often expired idempotency keys are swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);

/// How many keys one sweep frees at most, so that it never holds up commands for long.
const SWEEP_KEYS_MAX: usize = 10_000;

/// How many finished commands of the queue one sweep forgets at most.
const SWEEP_COMMANDS_MAX: usize = 1_000;

/// A service that is open. Stop it by [`Running::stop`]; a process that dies instead loses nothing
/// acknowledged.
pub struct Running {
    service: Service,
    pub(crate) config: Config,
    store: Arc<dyn Store>,
    /// Where read models live: the store, or beside it.
    models: Arc<dyn Models>,
    commands: Arc<Commands>,
    queries: Arc<Queries>,
    projector: Arc<Projector>,
    workers: Arc<QueueWorkers>,
    outbox: Option<Arc<OutboxWorker>>,
    metrics: Arc<Metrics>,
    taker: Option<JoinHandle<()>>,
    pub(crate) stopping: watch::Sender<bool>,
    sweeper: JoinHandle<()>,
    measurer: JoinHandle<()>,
    jobs: Arc<Jobs>,
    keeper: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) async fn open(service: Service, config: Config) -> Result<Self, Fault> {
        let progress = Arc::new(Progress::default());
        let groups = declared(&service)?;
        let store = store::open(&config, &service.clock, &groups, &progress).await?;
        let models = store::models(&config, &service.clock, &groups, &store)?;
        let groups = attach(&*models, groups, &progress).await?;
        let commands = left_panel(&service, &config, &store).await?;
        let worker = worker_id();
        let desk = jobs::desk(&service, &config, &store, worker.as_str()).await?;
        let queries = right_panel(&service, &config, (&store, &models), (&groups, &progress), &desk).await?;
        let followed = groups.clone();
        let workers = queue_workers(&commands, &store, &worker, &config);
        let parts = ProjectorParts {
            worker,
            feed: Arc::clone(&store) as _,
            store: Arc::clone(&models) as _,
            registry: Arc::clone(&models) as _,
            clock: Arc::clone(&service.clock),
            progress,
            groups,
            limits: config.projector.clone(),
        };
        let projector = Arc::new(Projector::with_sources(parts, Arc::clone(&desk.sources) as _));
        start(&projector, config.roles).await?;
        note_policies(&service, &config, &store, &followed).await?;
        let outbox = outbox(&service, &config, &store)?;
        let mut taker = None;
        if config.roles.contains(Role::Command) {
            workers.start();
            taker = outbox.as_ref().map(|outbox| tokio::spawn(Arc::clone(outbox).keep_taking()));
        }
        let measured = JobMetrics::default();
        let panels = (&*commands, &*queries);
        let metrics = Arc::new(Metrics::new(panels, &projector, outbox.clone(), &workers, &measured));
        let sweeper = tokio::spawn(sweep(Arc::clone(&store), Arc::clone(&service.clock), config.clone()));
        let measurer = tokio::spawn(Arc::clone(&metrics).keep_measuring());
        let stopping = watch::Sender::new(false);
        let jobs = Arc::new(Jobs {
            service: service.clone(),
            config: config.clone(),
            store: Arc::clone(&store),
            models: Arc::clone(&models),
            commands: Arc::clone(&commands),
            queries: Arc::clone(&queries),
            projector: Arc::clone(&projector),
            outbox: outbox.clone(),
            desk,
            metrics: measured,
        });
        let keeper = (!service.jobs.is_empty()).then(|| tokio::spawn(Arc::clone(&jobs).keep()));
        Ok(Self {
            service,
            config,
            store,
            models,
            commands,
            queries,
            projector,
            workers,
            outbox,
            metrics,
            taker,
            stopping,
            sweeper,
            measurer,
            jobs,
            keeper,
        })
    }

    /// The left panel.
    #[must_use]
    pub fn commands(&self) -> &Arc<Commands> {
        &self.commands
    }

    /// The right panel.
    #[must_use]
    pub fn queries(&self) -> &Arc<Queries> {
        &self.queries
    }

    /// The hinge.
    #[must_use]
    pub fn projector(&self) -> &Arc<Projector> {
        &self.projector
    }

    /// The outbox that applications record facts in, where the service has one.
    #[must_use]
    pub fn outbox(&self) -> Option<&Arc<OutboxWorker>> {
        self.outbox.as_ref()
    }

    /// The workers of the queue of commands.
    #[must_use]
    pub fn queue_workers(&self) -> &Arc<QueueWorkers> {
        &self.workers
    }

    /// Runs every scheduled job that is due and that no other process runs, as a process that moves read
    /// models does by itself, and answers how each ended.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn run_due_jobs(&self) -> Result<Vec<(String, JobRun)>, Fault> {
        self.jobs.step().await
    }

    /// The exports that read models may be folded from.
    #[must_use]
    pub fn sources(&self) -> &dyn Sources {
        &*self.jobs.desk.sources
    }

    /// The log as readers see it.
    #[must_use]
    pub fn feed(&self) -> &dyn Feed {
        &*self.store
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Where read models live, with what is known beside their rows: the store, or the store and a server of
    /// documents.
    #[must_use]
    pub fn models(&self) -> &Arc<dyn Models> {
        &self.models
    }

    /// On whose behalf the operator and this machine's requests come.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.config.principal
    }

    /// What an operator looks at and acts on.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn operator(&self) -> Result<Operator<'_>, Fault> {
        self.jobs.operator().await
    }

    /// Where the store is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.config.store
    }

    /// The name of the service.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.service.name
    }

    /// What tells on whose behalf a request acts: the service's authentication, or else everybody is the
    /// configured principal.
    pub(crate) fn authenticate(&self) -> Arc<dyn Authenticate> {
        match &self.service.authenticate {
            Some(authenticate) => Arc::clone(authenticate),
            None => Arc::new(Everybody(self.config.principal.clone())),
        }
    }

    /// The service's HTTP interface, which nests in any axum application.
    ///
    /// # Errors
    /// Addresses that clash, all of them named.
    pub fn router(&self) -> Result<axum::Router, Fault> {
        let metrics = Arc::clone(&self.metrics);
        let watched = Arc::clone(&self.metrics);
        diptych_http::router(Wire {
            service: ServiceInfo {
                name: self.service.name.clone(),
                version: self.service.version.clone(),
                description: self.service.about.clone(),
            },
            commands: Arc::clone(&self.commands),
            queries: Arc::clone(&self.queries),
            registry: Arc::clone(&self.models) as _,
            authenticate: self.authenticate(),
            metrics: Arc::new(move || metrics.exposition()),
            ready: Arc::new(move || Readiness { reasons: watched.failure().into_iter().collect() }),
            limits: self.config.http.clone(),
            collections: self.service.collections.clone(),
            entries: self.service.links.clone(),
            own_pages: self.service.own_pages.clone(),
            metrics_access: self.config.metrics_access,
            hosts: if self.authenticate().is_proof() { Hosts::Any } else { Hosts::Loopback },
            panels: self.config.roles.panels(),
            stopping: self.stopping.subscribe(),
        })
    }

    /// Lets what has begun finish, and closes the store.
    ///
    /// # Errors
    /// A fault while closing; nothing acknowledged is lost by it.
    pub async fn stop(self) -> Result<(), Fault> {
        self.sweeper.abort();
        if let Some(taker) = self.taker {
            // What it has begun the store finishes or takes back.
            taker.abort();
        }
        self.measurer.abort();
        if let Some(keeper) = self.keeper {
            // A run that is cut off is begun again by whoever comes next.
            keeper.abort();
            let _ = keeper.await;
            self.jobs.let_go().await;
        }
        self.stopping.send_replace(true);
        self.workers.stop().await;
        self.projector.stop().await;
        self.store.close().await;
        Ok(())
    }
}

/// The right panel over an opened store.
async fn right_panel(
    service: &Service,
    config: &Config,
    (store, models): (&Arc<dyn Store>, &Arc<dyn Models>),
    (groups, progress): (&[Arc<Group>], &Arc<Progress>),
    desk: &JobDesk,
) -> Result<Arc<Queries>, Fault> {
    let queries = Queries::new(QueryParts {
        store: Arc::clone(models) as _,
        feed: Arc::clone(store) as _,
        groups: groups.to_vec(),
        progress: Arc::clone(progress),
        authorize: Arc::clone(&service.authorize),
        policy: Arc::clone(&service.policy),
        clock: Arc::clone(&service.clock),
        page_key: store.page_key().await?,
        limits: config.queries.clone(),
    });
    Ok(Arc::new(queries.with_jobs(Arc::clone(&desk.board))))
}

/// Keeps which policies are in force. Operators look with other roles: what they look by is not what is
/// served by.
async fn note_policies(
    service: &Service,
    config: &Config,
    store: &Arc<dyn Store>,
    groups: &[Arc<Group>],
) -> Result<(), Fault> {
    if config.roles.contains(Role::Command) || config.roles.contains(Role::Projector) {
        let by = (&config.principal, service.clock.now());
        policing::note_change(service, store, by, groups).await?;
    }
    Ok(())
}

/// Starts the hinge: it moves read models, or only looks how others move them.
async fn start(projector: &Arc<Projector>, roles: Roles) -> Result<(), Fault> {
    // Before the first answer: what is parked or suspended was so in another life.
    projector.look().await?;
    if roles.contains(Role::Projector) {
        // A build that holds everything already serves from the first question on.
        if let Err(fault) = projector.steward().step().await {
            tracing::warn!(%fault, "the builds of read models could not be looked after");
        }
        projector.start();
        projector.start_patrol();
    } else {
        projector.steward().learn().await?;
        projector.start_looking();
    }
    Ok(())
}

/// The groups of a service as its code declares them.
fn declared(service: &Service) -> Result<Vec<Arc<Group>>, Fault> {
    let groups = service.groups.iter().map(|draft| draft.group().map(Arc::new));
    groups.collect::<Result<_, _>>().map_err(|error| {
        Fault::permanent(Code::ServiceInvalid, "the read models cannot be grouped").because(error)
    })
}

/// Opens the tables of every group. A group that an operator has retired is left out: the wire answers that
/// it is gone, and everything else goes on.
async fn attach(
    models: &dyn Models,
    groups: Vec<Arc<Group>>,
    progress: &Progress,
) -> Result<Vec<Arc<Group>>, Fault> {
    let mut attached = Vec::with_capacity(groups.len());
    for group in groups {
        match models.attach(&group).await {
            Ok(checkpoint) => {
                progress.entry(group.name()).advance(checkpoint.mark.position());
                group.know(&models.builds(group.name()).await?);
                attached.push(group);
            }
            Err(fault) if fault.code() == Code::ModelRetired => {
                tracing::warn!(
                    group = group.name(),
                    "is retired and answers no more; remove its declaration"
                );
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(attached)
}

/// The service's outbox, where facts come by one.
fn outbox(
    service: &Service,
    config: &Config,
    store: &Arc<dyn Store>,
) -> Result<Option<Arc<OutboxWorker>>, Fault> {
    let file = config.outbox.as_deref();
    if service.outbox.is_empty() {
        return match file {
            None => Ok(None),
            Some(file) => {
                let message = format!(
                    "`{}` is named as an outbox, and no language comes by one: add `.outbox::<E>()`",
                    file.display()
                );
                Err(Fault::permanent(Code::ServiceInvalid, message))
            }
        };
    }
    let table = Arc::clone(store).outbox(file)?;
    let (languages, clock, limits) = (&service.outbox, &service.clock, &config.outbox_limits);
    let worker = |table| OutboxWorker::new(table, languages.clone(), Arc::clone(clock), limits.clone());
    Ok(table.map(|table| Arc::new(worker(table))))
}

/// The left panel over an opened store, which shows stored states to those who read SQL.
async fn left_panel(
    service: &Service,
    config: &Config,
    store: &Arc<dyn Store>,
) -> Result<Arc<Commands>, Fault> {
    for decider in &service.deciders {
        if let Some(stored) = decider.stored().filter(|stored| stored.persistence == Persistence::StateStored)
        {
            store.show_states(decider.category(), stored.columns).await?;
        }
    }
    let commands = Commands::new(
        Arc::clone(store) as _,
        service.deciders.clone(),
        Arc::clone(&service.authorize),
        Arc::clone(&service.clock),
        config.commands.clone(),
    );
    let queue = Arc::clone(store) as Arc<dyn CommandQueue>;
    let commands_max = config.queue.queue_commands_max;
    let commands = commands.with_references(service.references.clone());
    Ok(Arc::new(commands.with_queue(QueuePanel { queue, commands_max })))
}

/// The workers of the queue, under the name that this process has as a mover of read models.
fn queue_workers(
    commands: &Arc<Commands>,
    store: &Arc<dyn Store>,
    worker: &WorkerId,
    config: &Config,
) -> Arc<QueueWorkers> {
    Arc::new(QueueWorkers::new(QueueWorkersParts {
        commands: Arc::clone(commands),
        queue: Arc::clone(store) as _,
        holder: Holder::new(worker.as_str()),
        limits: config.queue.clone(),
    }))
}

/// A name that no other process has, and that tells an operator where this one is.
fn worker_id() -> WorkerId {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or("host");
    let unique = uuid::Uuid::now_v7().simple().to_string();
    WorkerId::new(format!("{host}:{}:{}", std::process::id(), &unique[unique.len() - 8..]))
}

/// Frees idempotency keys and forgets finished commands of the queue past their retention, now and then,
/// for as long as the service runs.
async fn sweep(store: Arc<dyn Store>, clock: Arc<dyn Clock>, config: Config) {
    let retention = i64::try_from(config.idempotency_retention.as_micros()).unwrap_or(i64::MAX);
    loop {
        let before = clock.now().as_micros().saturating_sub(retention);
        let before = diptych_core::Timestamp::from_stored(before);
        let keys = store.expire_keys(before, SWEEP_KEYS_MAX).await;
        let commands = store.sweep(config.queue.command_retention, SWEEP_COMMANDS_MAX).await;
        let mut more = false;
        for (what, swept, most) in
            [("idempotency keys", keys, SWEEP_KEYS_MAX), ("queued commands", commands, SWEEP_COMMANDS_MAX)]
        {
            match swept {
                Ok(swept) => more |= swept == most,
                Err(fault) => tracing::warn!(%fault, "expired {what} could not be swept"),
            }
        }
        if !more {
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }
}
