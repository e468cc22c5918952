//! A log after each of whose appends a night comes: what is new is exported by the job that a service runs,
//! and whoever reads the log reads the files. Only the feed is another than that of the store behind it.

use crate::harness::MemoryHarness;
use diptych_command::{
    Arrival, CommandLimits, CommandRecord, Commands, Commit, CommitError, Committed, EventStore, Intake,
    Matched, Source, TakenIn, Watermark,
};
use diptych_conformance::{Harness, ManualClock, Stores};
use diptych_core::{
    BoxFuture, Clock, Code, CommandId, Fault, Position, Principal, RawFact, StreamRef, TagQuery, Tenant,
    Timestamp, Unrestricted, Version,
};
use diptych_memory::MemoryStore;
use diptych_ops::export::ExportSources;
use diptych_ops::{ActionError, Job, JobDesk, JobLimits, LogStatus, Operator, PoliciesInForce, order_job};
use diptych_policy::Declarations;
use diptych_projector::{Projector, ProjectorLimits, ProjectorParts};
use diptych_query::{
    Feed, Group, JobBoard, Order, PageKey, Queries, QueryLimits, QueryParts, Sources, WorkerId,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// The name of the job.
const NIGHTLY: &str = "nightly-events";

/// A place for a log, and a folder for its export.
pub(crate) struct Nights {
    log: MemoryHarness,
    office: Arc<Office>,
}

/// What all processes over one place share: the folder, and what the job is run with. Records of the job are
/// kept apart from the store that is tested.
struct Office {
    folder: PathBuf,
    job: Job,
    clock: Arc<ManualClock>,
    records: Arc<MemoryStore>,
    commands: Commands,
    queries: Queries,
    projector: Projector,
    principal: Principal,
    declarations: Declarations,
    desks: Mutex<Vec<Weak<JobDesk>>>,
    /// Whether it is day for good.
    day: AtomicBool,
    /// One night at a time.
    alone: tokio::sync::Mutex<()>,
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Office {
    fn new(job: Job) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("diptych-nights-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let clock = Arc::new(ManualClock::at(Timestamp::from_stored(1_800_000_000_000_000)));
        let time = || Arc::clone(&clock) as Arc<dyn Clock>;
        let records = Arc::new(MemoryStore::open(time(), Vec::new()).unwrap());
        let queries = Queries::new(QueryParts {
            store: Arc::clone(&records) as _,
            feed: Arc::clone(&records) as _,
            groups: Vec::new(),
            progress: records.progress(),
            authorize: Arc::new(Unrestricted),
            policy: Arc::new(Unrestricted),
            clock: time(),
            page_key: PageKey::new([7; 32], None),
            limits: QueryLimits::default(),
        });
        let projector = Projector::new(ProjectorParts {
            worker: WorkerId::new("nights"),
            feed: Arc::clone(&records) as _,
            store: Arc::clone(&records) as _,
            registry: Arc::clone(&records) as _,
            clock: time(),
            progress: records.progress(),
            groups: Vec::new(),
            limits: ProjectorLimits::default(),
        });
        let (events, authorize) = (Arc::clone(&records) as _, Arc::new(Unrestricted));
        let commands = Commands::new(events, Vec::new(), authorize, time(), CommandLimits::default());
        Self {
            folder: std::env::temp_dir().join(name),
            job,
            clock,
            records,
            commands,
            queries,
            projector,
            principal: Principal::new("main", "night").unwrap(),
            declarations: Declarations::default(),
            desks: Mutex::default(),
            day: AtomicBool::new(false),
            alone: tokio::sync::Mutex::default(),
        }
    }
}

/// One process: its log, and the files as it sees them.
#[derive(Clone)]
struct Process {
    office: Arc<Office>,
    log: Arc<dyn Feed>,
    desk: Arc<JobDesk>,
    export: Arc<dyn Feed>,
}

impl Process {
    fn new(office: &Arc<Office>, log: &Arc<dyn Feed>) -> Self {
        let (jobs, board) = (vec![office.job.clone()], Arc::<JobBoard>::default());
        let exports = office.folder.clone();
        let sources = Arc::new(ExportSources::new(log, &jobs, &exports, &board));
        let export = sources.scheduled(NIGHTLY).unwrap();
        let (process, limits) = ("nights".to_owned(), JobLimits::default());
        let desk = Arc::new(JobDesk { jobs, process, exports, limits, sources, board });
        office.desks.lock().unwrap().push(Arc::downgrade(&desk));
        Self { office: Arc::clone(office), log: Arc::clone(log), desk, export }
    }

    /// A night: what is new is exported, and every process looks at the files.
    async fn night(&self) -> Result<(), Fault> {
        let office = &*self.office;
        let _alone = office.alone.lock().await;
        if office.day.load(Ordering::SeqCst) {
            return Ok(());
        }
        let head = self.log.head().await?;
        let operator = Operator {
            service: "nights",
            principal: &office.principal,
            commands: &office.commands,
            queue: &*office.records,
            queries: &office.queries,
            projector: &office.projector,
            outbox: None,
            feed: &*self.log,
            models: &*office.records,
            registry: &*office.records,
            policies: PoliciesInForce { declarations: &office.declarations, own: None, principals: &[] },
            jobs: &self.desk,
            log: LogStatus {
                location: "memory".to_owned(),
                documents: None,
                head,
                streams: 0,
                commands: 0,
                bytes: 0,
            },
        };
        let order = Order { actor: office.principal.actor.clone(), reason: "it is night".to_owned() };
        let run = order_job(&operator, NIGHTLY, order).await.map_err(failed)?;
        if let Some(untidied) = run.done.and_then(|done| done.untidied) {
            return Err(Fault::permanent(Code::JobFailed, untidied));
        }
        let desks: Vec<_> = office.desks.lock().unwrap().iter().filter_map(Weak::upgrade).collect();
        for desk in desks {
            desk.look(&*office.records, office.clock.now()).await?;
        }
        Ok(())
    }
}

fn failed(error: ActionError) -> Fault {
    match error {
        ActionError::Fault(fault) => fault,
        error => Fault::permanent(Code::JobFailed, error.to_string()),
    }
}

impl Nights {
    /// A place where nothing is yet; so many files of the export stay as they are, or all.
    pub(crate) fn new(kept: Option<usize>) -> Self {
        let job = Job::export(NIGHTLY);
        let job = match kept {
            Some(files) => job.keep_last(files),
            None => job,
        };
        Self { log: MemoryHarness::new(), office: Arc::new(Office::new(job)) }
    }

    /// The files of the export, in order.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.office.job.folder(&self.office.folder)).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// No night comes any more.
    pub(crate) fn stay_day(&self) {
        self.office.day.store(true, Ordering::SeqCst);
    }
}

impl Harness for Nights {
    fn open(&self, inline: Vec<Arc<Group>>) -> BoxFuture<'_, Result<Stores, Fault>> {
        Box::pin(async move {
            let stores = self.log.open(inline).await?;
            let process = Process::new(&self.office, &stores.feed);
            process.night().await?;
            let feed = Arc::clone(&process.export);
            let events = Arc::new(Exported { inner: stores.events, process: process.clone() });
            let intake = Arc::new(ExportedIntake { inner: stores.intake, process });
            Ok(Stores { events, intake, feed, ..stores })
        })
    }

    fn stop(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        self.log.stop(stores)
    }

    fn crash(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        self.log.crash(stores)
    }

    fn inline_catch_up_events_max(&self) -> u64 {
        self.log.inline_catch_up_events_max()
    }

    fn audit_rows<'a>(
        &'a self,
        stores: &'a Stores,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Option<usize>> {
        self.log.audit_rows(stores, tenant, id)
    }
}

/// Commands after each of which a night comes.
struct Exported {
    inner: Arc<dyn EventStore>,
    process: Process,
}

diptych_conformance::pass_on!(Exported, inner);

impl EventStore for Exported {
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        self.inner.load(stream, after, events_max)
    }

    fn load_query<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a TagQuery,
        after: Position,
        facts_max: usize,
    ) -> BoxFuture<'a, Result<Matched, Fault>> {
        self.inner.load_query(tenant, query, after, facts_max)
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(async move {
            let done = self.inner.commit(commit).await?;
            if !done.events.is_empty() {
                self.process.night().await.map_err(CommitError::Fault)?;
            }
            Ok(done)
        })
    }

    fn recorded<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<CommandRecord>, Fault>> {
        self.inner.recorded(tenant, id)
    }

    fn expire_keys(&self, before: Timestamp, keys_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        self.inner.expire_keys(before, keys_max)
    }
}

/// Arrivals after each of which a night comes.
struct ExportedIntake {
    inner: Arc<dyn Intake>,
    process: Process,
}

impl Intake for ExportedIntake {
    fn take_in<'a>(
        &'a self,
        source: &'a Source,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'a, Result<TakenIn, Fault>> {
        Box::pin(async move {
            let taken = self.inner.take_in(source, arrivals).await?;
            if taken.taken > 0 {
                self.process.night().await?;
            }
            Ok(taken)
        })
    }

    fn watermark<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Option<Watermark>, Fault>> {
        self.inner.watermark(source)
    }
}
