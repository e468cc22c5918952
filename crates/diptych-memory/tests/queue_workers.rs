//! Workers over a store that fails, answers too late or never, at any step, and processes that die there:
//! each command has exactly one effect, in the order of its stream, and ends.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

use diptych_command::{
    Accepted, Claim, ClaimError, ClaimedCommand, CommandLimits, CommandQueue, CommandRecord, CommandRef,
    Commands, Commit, CommitError, Committed, Ending, EnqueueError, Enqueued, EventStore, Holder, Matched,
    Outcome, QueueChanges, QueueCounts, QueueEntry, QueueLimits, QueuePanel, QueueState, QueueStatus,
    QueueWorkers, QueueWorkersParts, QueuedCommand, RawCommand, Request, Revived, Trouble, erase,
};
use diptych_conformance::fixtures::Account;
use diptych_core::{
    BoxFuture, Category, Clock, Code, CommandId, Fault, Position, Principal, RawFact, StreamKey, StreamRef,
    TagQuery, Tenant, Timestamp, Unrestricted, Version,
};
use diptych_memory::MemoryStore;
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Builder;
use tokio::sync::Notify;

/// Histories, each with a seed of its own.
const HISTORIES: u64 = 40;
/// Commands of a history, over so many streams.
const COMMANDS: usize = 40;
const STREAMS: usize = 5;
/// How often processes die before they are left in peace.
const LIVES: usize = 8;
/// How long anything may take before the test says that it hangs.
const HANG: Duration = Duration::from_secs(60);

struct Real;

impl Clock for Real {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp::from_stored(i64::try_from(since.as_micros()).unwrap())
    }
}

/// What happens at the next step.
enum Step {
    Goes,
    FailsBefore,
    FailsAfter,
    DiesBefore,
    DiesAfter,
}

/// Decides what happens, by a seed.
struct Chaos {
    state: AtomicU64,
    calm: AtomicBool,
    died: Notify,
}

impl Chaos {
    /// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
    fn random(&self) -> u64 {
        let state = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next(&self) -> Step {
        if self.calm.load(Ordering::SeqCst) {
            return Step::Goes;
        }
        match self.random() % 40 {
            0..=3 => Step::FailsBefore,
            4..=7 => Step::FailsAfter,
            8 => Step::DiesBefore,
            9 | 10 => Step::DiesAfter,
            _ => Step::Goes,
        }
    }

    /// Never answers; the process ends with it.
    async fn die<T>(&self) -> T {
        self.died.notify_one();
        pending().await
    }
}

/// A sound store behind everything that can go wrong on the way.
struct Shaky {
    store: Arc<MemoryStore>,
    chaos: Arc<Chaos>,
}

impl Shaky {
    async fn shake<T, E>(
        &self,
        act: impl Future<Output = Result<T, E>>,
        lost: impl Fn() -> E,
    ) -> Result<T, E> {
        match self.chaos.next() {
            Step::Goes => act.await,
            Step::FailsBefore => Err(lost()),
            Step::FailsAfter => act.await.and_then(|_| Err(lost())),
            Step::DiesBefore => self.chaos.die().await,
            Step::DiesAfter => {
                let _ = act.await;
                self.chaos.die().await
            }
        }
    }
}

fn lost() -> Fault {
    Fault::transient(Code::Storage, "the connection was lost")
}

fn claim_lost() -> ClaimError {
    ClaimError::Fault(lost())
}

impl EventStore for Shaky {
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        Box::pin(self.shake(self.store.load(stream, after, events_max), lost))
    }

    fn load_query<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a TagQuery,
        after: Position,
        facts_max: usize,
    ) -> BoxFuture<'a, Result<Matched, Fault>> {
        Box::pin(self.shake(self.store.load_query(tenant, query, after, facts_max), lost))
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(self.shake(self.store.commit(commit), || CommitError::Indeterminate))
    }

    fn recorded<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<CommandRecord>, Fault>> {
        Box::pin(self.shake(self.store.recorded(tenant, id), lost))
    }

    fn expire_keys(&self, before: Timestamp, keys_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        self.store.expire_keys(before, keys_max)
    }
}

diptych_conformance::pass_on!(Shaky, store);

impl CommandQueue for Shaky {
    fn enqueue(
        &self,
        command: QueuedCommand,
        commands_max: u64,
    ) -> BoxFuture<'_, Result<Enqueued, EnqueueError>> {
        self.store.enqueue(command, commands_max)
    }

    fn claim<'a>(
        &'a self,
        holder: &'a Holder,
        lasting: Duration,
        commands_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ClaimedCommand>, Fault>> {
        Box::pin(self.shake(self.store.claim(holder, lasting, commands_max), lost))
    }

    fn prolong<'a>(
        &'a self,
        claims: &'a [Claim],
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claim>, Fault>> {
        Box::pin(self.shake(self.store.prolong(claims, lasting), lost))
    }

    fn finish<'a>(&'a self, claim: &'a Claim, ending: Ending) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(self.shake(self.store.finish(claim, ending), claim_lost))
    }

    fn retry<'a>(
        &'a self,
        claim: &'a Claim,
        trouble: Trouble,
        pause: Duration,
    ) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(self.shake(self.store.retry(claim, trouble, pause), claim_lost))
    }

    fn release<'a>(&'a self, claims: &'a [Claim]) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.shake(self.store.release(claims), lost))
    }

    fn entry<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Option<QueueEntry>, Fault>> {
        self.store.entry(command)
    }

    fn unfinished<'a>(
        &'a self,
        tenant: &'a Tenant,
        category: &'a Category,
        keys: &'a [StreamKey],
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<QueueEntry>, Fault>> {
        self.store.unfinished(tenant, category, keys, rows_max)
    }

    fn list<'a>(
        &'a self,
        tenant: &'a Tenant,
        status: Option<QueueStatus>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<QueueEntry>, Fault>> {
        self.store.list(tenant, status, rows_max)
    }

    fn revive<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Revived, Fault>> {
        self.store.revive(command)
    }

    fn sweep(&self, kept_for: Duration, rows_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        CommandQueue::sweep(&*self.store, kept_for, rows_max)
    }

    fn counts(&self) -> BoxFuture<'_, Result<QueueCounts, Fault>> {
        self.store.counts()
    }

    fn changes(&self) -> QueueChanges {
        self.store.changes()
    }
}

fn commands(store: Arc<dyn EventStore>, queue: Arc<dyn CommandQueue>) -> Commands {
    let limits = CommandLimits { retry_pause_max: Duration::from_millis(1), ..CommandLimits::default() };
    let commands =
        Commands::new(store, vec![erase::<Account>()], Arc::new(Unrestricted), Arc::new(Real), limits);
    commands.with_queue(QueuePanel { queue, commands_max: 1_000 })
}

/// The workers of a process of its own over what is committed.
fn workers(store: &MemoryStore, chaos: &Arc<Chaos>, name: String) -> Arc<QueueWorkers> {
    let store = Arc::new(store.reopen(Vec::new()).unwrap());
    let shaky = Arc::new(Shaky { store, chaos: Arc::clone(chaos) });
    let limits = QueueLimits {
        queue_workers_max: 3,
        // So short that leases are lost to workers that live, too.
        lease: Duration::from_millis(15),
        attempts_max: 100_000,
        retry_pause: Duration::from_millis(1),
        retry_pause_max: Duration::from_millis(4),
        poll: Duration::from_millis(2),
        stop_wait_max: Duration::from_millis(5),
        ..QueueLimits::default()
    };
    let commands = Arc::new(commands(Arc::clone(&shaky) as _, Arc::clone(&shaky) as _));
    let holder = Holder::new(name);
    Arc::new(QueueWorkers::new(QueueWorkersParts { commands, queue: shaky, holder, limits }))
}

/// Two processes until one of them dies, and the other with it; or until all commands have ended.
fn live(store: &MemoryStore, chaos: &Arc<Chaos>, life: usize) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let both = ["ann", "bob"].map(|name| workers(store, chaos, format!("{name} {life}")));
        both.iter().for_each(QueueWorkers::start);
        let done = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(2));
            while store.counts().await.unwrap() != QueueCounts::default() {
                ticks.tick().await;
            }
        };
        let ended = async {
            tokio::select! {
                () = chaos.died.notified() => {}
                () = done => {}
            }
        };
        tokio::time::timeout(HANG, ended).await.expect("the workers hang");
        if chaos.calm.load(Ordering::SeqCst) {
            for workers in &both {
                workers.stop().await;
            }
        }
    });
    runtime.shutdown_background();
}

fn history(seed: u64) {
    let chaos = Chaos { state: AtomicU64::new(seed), calm: AtomicBool::new(false), died: Notify::new() };
    let chaos = Arc::new(chaos);
    let store = Arc::new(MemoryStore::open(Arc::new(Real), Vec::new()).unwrap());
    let order = Mutex::new(BTreeMap::<String, Vec<String>>::new());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let commands = commands(Arc::clone(&store) as _, Arc::clone(&store) as _);
        let ann = Principal::new("main", "ann").unwrap();
        for number in 0..COMMANDS {
            let key = format!("k{}", chaos.random() % STREAMS as u64);
            let (name, body) = [
                ("Open", format!("{{\"owner\":\"{number}\"}}")),
                ("Rename", format!("{{\"owner\":\"{number}\"}}")),
                ("Close", "{}".to_owned()),
            ][chaos.random() as usize % 3]
                .clone();
            let (name, id) = (name.to_owned(), format!("c{number}"));
            let request = Request::by(&ann).to_raw("account", &key, RawCommand { name, body });
            let accepted = commands.accept(request.command_id(&id)).await.unwrap();
            assert!(matches!(accepted, Accepted::Now(_)));
            order.lock().unwrap().entry(key).or_default().push(id);
        }
    });
    for life in 0..LIVES {
        live(&store, &chaos, life);
    }
    chaos.calm.store(true, Ordering::SeqCst);
    // What a process of the last life still holds it lets go of by dying; the leases are short.
    for life in LIVES.. {
        live(&store, &chaos, life);
        if runtime.block_on(store.counts()).unwrap() == QueueCounts::default() {
            break;
        }
    }
    runtime.block_on(prove(&store, &order.into_inner().unwrap()));
}

async fn prove(store: &MemoryStore, order: &BTreeMap<String, Vec<String>>) {
    let audit = store.audit();
    let done: Vec<_> = audit.iter().filter(|row| !matches!(row.outcome, Outcome::Refused(_))).collect();
    assert_eq!(done.len(), COMMANDS, "effects");
    for (key, accepted) in order {
        let of_stream = done.iter().filter(|row| row.header.stream.stream.key.as_str() == key);
        let ids: Vec<_> = of_stream.clone().map(|row| row.header.id.as_str()).collect();
        assert_eq!(&ids, accepted, "the order of `{key}`");
        let mut version = Version::NONE;
        for row in of_stream {
            let base = match &row.outcome {
                Outcome::Accepted { base } => *base,
                _ => row.version,
            };
            assert_eq!(base, version, "the version before {:?}", row.header.id);
            version = row.version;
            let tenant = row.header.stream.tenant.clone();
            let command = CommandRef { tenant, id: row.header.id.clone() };
            let entry = store.entry(&command).await.unwrap().unwrap();
            let expected = match &row.outcome {
                Outcome::Accepted { .. } => Ending::Succeeded { version: row.version, token: row.token },
                Outcome::Rejected { name, data } => {
                    Ending::Rejected { name: name.clone(), data: data.clone() }
                }
                Outcome::Refused(_) => panic!("a refusal is no effect"),
            };
            assert_eq!(entry.state, QueueState::Ended(expected), "{:?}", entry.command.id);
        }
        let stream = done.iter().find(|row| row.header.stream.stream.key.as_str() == key).unwrap();
        let facts = store.load(&stream.header.stream, Version::NONE, usize::MAX).await.unwrap();
        assert_eq!(facts.len() as u64, version.0, "the events of `{key}`");
    }
}

#[test]
fn whatever_fails_and_dies_each_command_has_one_effect_and_ends() {
    let given = std::env::var("DIPTYCH_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds: Vec<u64> = match given {
        Some(seed) => vec![seed],
        None => (0..HISTORIES).map(|number| Real.now().as_micros().cast_unsigned() + number).collect(),
    };
    for seed in seeds {
        eprintln!("the same again: DIPTYCH_SEED={seed}");
        history(seed);
    }
}
