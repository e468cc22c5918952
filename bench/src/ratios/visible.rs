//! Ratio 12: how long after a command's answer its row is visible in an asynchronous model, at half the
//! highest rate.

use super::say;
use crate::Outcome;
use crate::callers::{ACCOUNTS, Caller};
use crate::domain::{AccountId, AccountSummary};
use crate::measure::{Line, Sample, Target, percentile};
use crate::options::Options;
use crate::probe::fdatasync_per_second;
use crate::stores::{Place, open};
use crate::workload::{Workload, account_key};
use diptych::Running;
use diptych::prelude::ReadModel;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CALLERS: usize = 32;

/// Every so many commands one is followed into the read model.
const FOLLOWED_EVERY: usize = 8;

const WAIT_MAX: Duration = Duration::from_secs(20);

/// What the callers of one run saw.
#[derive(Default)]
struct Seen {
    answers: Vec<Duration>,
    visible: Vec<Duration>,
}

/// Measures the highest rate while the model follows, then paces the callers at half of it.
pub(super) async fn on_sqlite(options: &Options) -> Outcome<Vec<Line>> {
    let place = Place::new(&options.directory, "visible")?;
    let running = open(&place, true).await?;
    measure(options, running, || fdatasync_per_second(place.path())).await
}

/// The same on a store that is open and follows.
pub(super) async fn measure(
    options: &Options,
    running: Running,
    probe: impl Fn() -> Outcome<f64>,
) -> Outcome<Vec<Line>> {
    let running = Arc::new(running);
    let caller = Caller::of(&running);
    caller.open_accounts(256).await?;
    let mut tail = Line::new("12", "p99 answer to visible row / p99 command", "us", Target::AtMost(3.0));
    let mut middle = Line::new("12 (p50)", "the same at the median", "us", Target::None);
    for number in 0..options.runs {
        say(format!("12: visible rows, run {} of {}", number + 1, options.runs));
        let before = probe()?;
        let highest = caller.rate(CALLERS, options.slice, 500 + number as u64).await?;
        running.projector().drain("account_summary").await?;
        let mut seen = paced(&running, highest / 2.0, options.slice * 2, number as u64).await?;
        let after = probe()?;
        say(format!("12: {highest:.0} commands/s at most, {} rows followed", seen.visible.len()));
        for (line, share) in [(&mut tail, 0.99), (&mut middle, 0.5)] {
            let (visible, answer) =
                (percentile(&mut seen.visible, share), percentile(&mut seen.answers, share));
            line.samples.push(Sample::of(visible, answer).probe(before, after));
        }
    }
    drop(caller);
    Arc::into_inner(running).ok_or("callers still hold the service")?.stop().await?;
    Ok(vec![tail, middle])
}

/// Callers that each keep to a schedule of their own; one that is late does not make up for it in a burst.
async fn paced(running: &Arc<Running>, rate: f64, time: Duration, seed: u64) -> Outcome<Seen> {
    let interval = Duration::from_secs_f64(CALLERS as f64 / rate);
    let started = Instant::now();
    let mut tasks = Vec::new();
    for lane in 0..CALLERS {
        let running = Arc::clone(running);
        tasks.push(tokio::spawn(async move {
            let caller = Caller::of(&running);
            let mut workload = Workload::new(ACCOUNTS, 1_000_000 + seed * 10_000 + lane as u64);
            let mut seen = Seen::default();
            let mut followed = Vec::new();
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for number in 0.. {
                ticks.tick().await;
                if started.elapsed() >= time {
                    break;
                }
                let account = workload.account();
                let asked = Instant::now();
                let receipt = caller.give(account, workload.next()).await?;
                let answered = Instant::now();
                seen.answers.push(answered - asked);
                if number % FOLLOWED_EVERY == lane % FOLLOWED_EVERY {
                    followed.push(tokio::spawn(follow(
                        Arc::clone(&running),
                        account,
                        receipt.token,
                        answered,
                    )));
                }
            }
            for task in followed {
                seen.visible.push(task.await??);
            }
            Outcome::Ok(seen)
        }));
    }
    let mut all = Seen::default();
    for task in tasks {
        let seen = task.await??;
        all.answers.extend(seen.answers);
        all.visible.extend(seen.visible);
    }
    Ok(all)
}

/// Asks the right panel for the row with everything up to the command, and waits for it.
async fn follow(
    running: Arc<Running>,
    account: usize,
    token: diptych::prelude::Token,
    answered: Instant,
) -> Outcome<Duration> {
    let id = AccountId::new(account_key(account));
    let find = AccountSummary::find().filter(AccountSummary::ACCOUNT.eq(id)).at_least(token).wait(WAIT_MAX);
    let answer = running.queries().find(running.principal(), find).await?;
    let took = answered.elapsed();
    if answer.value.items.is_empty() || answer.freshness.projection_position < token.position {
        return Err("the row was not visible within the wait".into());
    }
    Ok(took)
}
