//! Ratio 15: how much slower commands and questions are while a read model is built anew beside them, and
//! how fast that build is against the raw scan of the same log. On the log of fines where it is there,
//! otherwise on accounts.

use super::say;
use crate::Outcome;
use crate::callers::{ACCOUNTS, Caller};
use crate::domain::{AccountId, AccountSummary};
use crate::fines;
use crate::loader::Loader;
use crate::measure::{Line, Sample, Target, percentile};
use crate::options::Options;
use crate::workload::{Workload, account_key};
use diptych::Running;
use diptych_command::EventStore;
use diptych_projector::{Rebuild, RebuildOrder, RebuildStep, Switching};
use diptych_query::Order;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const CALLERS: usize = 16;

/// How often it is looked whether a build has ended.
const LOOK: Duration = Duration::from_millis(5);

/// What callers saw.
#[derive(Default)]
struct Seen {
    commands: Vec<Duration>,
    questions: Vec<Duration>,
}

/// What is built anew, over how many events of the log.
struct Rebuilt {
    model: &'static str,
    events: usize,
}

/// Measures on a store that is open, follows, and is still empty. `scan` reads the log raw, in events a
/// second.
pub(super) async fn measure(
    options: &Options,
    running: Running,
    scan: impl AsyncFn() -> Outcome<f64>,
) -> Outcome<Vec<Line>> {
    let running = Arc::new(running);
    let caller = Caller::of(&running);
    let rebuilt = load(options, &running, &caller).await?;
    let at_most = Target::AtMost(2.0);
    let mut commands = Line::new("15", "p99 command while a model is rebuilt / without", "us", at_most);
    let mut questions = Line::new("15 (reads)", "p99 question, the same", "us", at_most);
    let what = format!("rebuild of {} beside them / raw scan of the log", rebuilt.model);
    let mut rate = Line::new("15 (rebuild)", what, "events/s", Target::None);
    let mut alone = Line::new("15 (alone)", "the same without anybody beside it", "events/s", Target::None);
    for number in 0..options.runs {
        say(format!("15: rebuild beside commands, run {} of {}", number + 1, options.runs));
        let highest = caller.rate(CALLERS, options.slice, 700 + number as u64).await?;
        let seed = number as u64 * 2;
        let mut quiet = paced(&running, highest / 2.0, options.slice * 3, seed).await?;
        let (stop, stopped) = watch::channel(false);
        let builder = tokio::spawn(rebuild_again_and_again(Arc::clone(&running), rebuilt.model, stopped));
        let mut busy = paced(&running, highest / 2.0, options.slice * 3, seed + 1).await?;
        stop.send_replace(true);
        let beside = builder.await??;
        let raw = scan().await?;
        let by_itself = rebuild(&running, rebuilt.model, None).await?;
        say(format!("15: {highest:.0} commands/s at most, {} builds beside half of them", beside.len()));
        for (line, busy, quiet) in [
            (&mut commands, &mut busy.commands, &mut quiet.commands),
            (&mut questions, &mut busy.questions, &mut quiet.questions),
        ] {
            line.samples.push(Sample::of(percentile(busy, 0.99), percentile(quiet, 0.99)));
        }
        let mean = beside.iter().sum::<f64>() / beside.len().max(1) as f64;
        rate.samples.push(Sample::of(mean, raw));
        alone.samples.push(Sample::of(by_itself, raw));
    }
    say(format!("15: the log held {} events of what was rebuilt", rebuilt.events));
    drop(caller);
    Arc::into_inner(running).ok_or("callers still hold the service")?.stop().await?;
    Ok(vec![commands, questions, rate, alone])
}

async fn load(options: &Options, running: &Running, caller: &Caller) -> Outcome<Rebuilt> {
    caller.open_accounts(256).await?;
    let store = Arc::clone(running.store()) as Arc<dyn EventStore>;
    let rebuilt = match fines::file() {
        Some(path) => {
            say("15: loading the log of fines");
            Rebuilt { model: fines::MODEL, events: fines::load(&store, &path).await? }
        }
        None => {
            say(format!("15: {} names no file: accounts are rebuilt instead", fines::FILE));
            let mut loader = Loader::elsewhere(options.rows);
            loader.load(&*store, options.events).await?;
            Rebuilt { model: super::MODEL, events: options.events }
        }
    };
    for model in [super::MODEL, fines::MODEL] {
        running.projector().drain(model).await?;
    }
    Ok(rebuilt)
}

/// Rebuilds until it is told to stop. Answers the rate of each build, in events of the log a second.
async fn rebuild_again_and_again(
    running: Arc<Running>,
    model: &'static str,
    stopped: watch::Receiver<bool>,
) -> Outcome<Vec<f64>> {
    let mut rates = Vec::new();
    while !*stopped.borrow() {
        rates.push(rebuild(&running, model, Some(&stopped)).await?);
    }
    Ok(rates)
}

/// Builds a model anew and gives the build up again before it answers. Answers how fast it came how far.
async fn rebuild(running: &Running, model: &str, stopped: Option<&watch::Receiver<bool>>) -> Outcome<f64> {
    let order = |reason: &str| Order { actor: running.principal().actor.clone(), reason: reason.to_owned() };
    let asked = RebuildOrder { switching: Switching::Ordered, ..RebuildOrder::by(order("to measure it")) };
    running.projector().rebuild(model, asked).await?;
    let started = Instant::now();
    let rate = loop {
        let rebuild = running.projector().rebuild_of(model).await?.ok_or("the rebuild is gone")?;
        let Rebuild { step, reason, progress, measured, .. } = rebuild;
        if step == RebuildStep::Failed {
            return Err(format!("the rebuild failed: {reason:?}").into());
        }
        let told = stopped.is_some_and(|stopped| *stopped.borrow());
        if told || step != RebuildStep::Building {
            break progress.position.0.max(measured.positions) as f64 / started.elapsed().as_secs_f64();
        }
        tokio::time::sleep(LOOK).await;
    };
    running.projector().cancel(model, order("measured")).await?;
    Ok(rate)
}

/// Callers that each keep to a schedule of their own: a command, then a question for a row.
async fn paced(running: &Arc<Running>, rate: f64, time: Duration, seed: u64) -> Outcome<Seen> {
    let interval = Duration::from_secs_f64(CALLERS as f64 / rate);
    let started = Instant::now();
    let mut tasks = Vec::new();
    for lane in 0..CALLERS {
        let running = Arc::clone(running);
        tasks.push(tokio::spawn(async move {
            let caller = Caller::of(&running);
            let mut workload = Workload::new(ACCOUNTS, 2_000_000 + seed * 10_000 + lane as u64);
            let mut seen = Seen::default();
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while started.elapsed() < time {
                ticks.tick().await;
                let account = workload.account();
                let asked = Instant::now();
                caller.give(account, workload.next()).await?;
                let answered = Instant::now();
                let key = AccountId::new(account_key(account));
                running.queries().get::<AccountSummary>(running.principal(), &key, None).await?;
                seen.commands.push(answered - asked);
                seen.questions.push(answered.elapsed());
            }
            Outcome::Ok(seen)
        }));
    }
    let mut all = Seen::default();
    for task in tasks {
        let seen = task.await??;
        all.commands.extend(seen.commands);
        all.questions.extend(seen.questions);
    }
    Ok(all)
}
