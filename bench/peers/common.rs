//! What every peer's program does: load a log, build its read model, give commands, and print what it
//! reached as one line of JSON. Each program includes this file and the workload.

use crate::workload::{Action, Workload};
use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How often a command is given again that lost a race.
const ATTEMPTS_MAX: usize = 1_000;

/// Accounts that are loaded together.
const LOAD_ACCOUNTS_MAX: usize = 200;

/// The callers of the two measures.
const CALLERS: [usize; 2] = [1, 32];

/// A peer with an empty store.
pub(crate) trait Peer: Send + Sync + 'static {
    /// Name, version and settings, for the report.
    fn about(&self) -> String;

    /// Appends what has happened to one account, in its order, in one go.
    fn load(&self, account: usize, actions: Vec<Action>) -> impl Future<Output = Outcome<()>> + Send;

    /// Builds the read model from the start of the log. Answers its rows.
    fn rebuild(&self, events: usize) -> impl Future<Output = Outcome<u64>> + Send;

    /// Gives one command. False when it lost a race and is to be given again.
    fn give(&self, account: usize, action: Action) -> impl Future<Output = Outcome<bool>> + Send;
}

/// What the program is told.
pub(crate) struct Arguments {
    pub(crate) url: String,
    events: usize,
    rows: usize,
    slice: Duration,
}

/// Runs a peer that `open` opens.
pub(crate) fn main_of<P: Peer>(open: impl AsyncFnOnce(&Arguments) -> Outcome<P>) -> ExitCode {
    let ran = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Into::into).and_then(
        |runtime| {
            runtime.block_on(async {
                let arguments = arguments()?;
                let peer = Arc::new(open(&arguments).await?);
                measure(peer, &arguments).await
            })
        },
    );
    match ran {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Outcome<Arguments> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [url, events, rows, seconds] = given.as_slice() else {
        return Err("usage: URL EVENTS ROWS SECONDS".into());
    };
    let slice = Duration::try_from_secs_f64(seconds.parse()?)?;
    Ok(Arguments { url: url.clone(), events: events.parse()?, rows: rows.parse()?, slice })
}

async fn measure<P: Peer>(peer: Arc<P>, arguments: &Arguments) -> Outcome<serde_json::Value> {
    let Arguments { events, rows, slice, .. } = *arguments;
    load(&*peer, events, rows).await?;
    let started = Instant::now();
    let built = peer.rebuild(events).await?;
    let rebuild = events as f64 / started.elapsed().as_secs_f64();
    if built != rows as u64 {
        return Err(format!("the read model has {built} rows of {rows}").into());
    }
    let [(one, _), (many, again)] =
        [give(&peer, CALLERS[0], rows, slice).await?, give(&peer, CALLERS[1], rows, slice).await?];
    Ok(serde_json::json!({
        "about": peer.about(), "rebuild": rebuild, "one": one, "many": many, "again": again,
    }))
}

/// Every account is opened, then things happen to accounts at random.
async fn load<P: Peer>(peer: &P, events: usize, rows: usize) -> Outcome<()> {
    let mut workload = Workload::new(rows, 0);
    let mut actions: HashMap<usize, Vec<Action>> = HashMap::new();
    for account in 0..rows {
        actions.insert(account, vec![workload.opening()]);
    }
    for _ in rows..events {
        let account = workload.account();
        actions.entry(account).or_default().push(workload.next());
    }
    let mut accounts: Vec<_> = actions.into_iter().collect();
    accounts.sort_unstable_by_key(|(account, _)| *account);
    while !accounts.is_empty() {
        let rest = accounts.split_off(accounts.len().min(LOAD_ACCOUNTS_MAX));
        for (account, actions) in accounts {
            peer.load(account, actions).await?;
        }
        accounts = rest;
    }
    Ok(())
}

/// So many callers for a time. Answers commands per second, and how many were given again.
async fn give<P: Peer>(peer: &Arc<P>, callers: usize, rows: usize, time: Duration) -> Outcome<(f64, u64)> {
    let again = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut tasks = Vec::new();
    for lane in 0..callers {
        let (peer, again) = (Arc::clone(peer), Arc::clone(&again));
        tasks.push(tokio::spawn(async move {
            let mut workload = Workload::new(rows, 10_000 * callers as u64 + lane as u64);
            let mut given = 0_u64;
            while started.elapsed() < time {
                let (account, action) = (workload.account(), workload.next());
                let mut attempts = 1;
                while !peer.give(account, action.clone()).await? {
                    again.fetch_add(1, Ordering::Relaxed);
                    attempts += 1;
                    if attempts > ATTEMPTS_MAX {
                        return Err(format!("a command lost {ATTEMPTS_MAX} races").into());
                    }
                }
                given += 1;
            }
            Outcome::Ok(given)
        }));
    }
    let mut given = 0;
    for task in tasks {
        given += task.await??;
    }
    Ok((given as f64 / started.elapsed().as_secs_f64(), again.load(Ordering::Relaxed)))
}
