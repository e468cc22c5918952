//! The whole real log of fines through the command side, on both stores: the published figures come out of
//! the log and of the read models exactly (doi:10.4121/uuid:270fd440-1057-4fb9-89a9-b699b47990f5).
//!
//! The file may not be copied into the project. `DIPTYCH_FINES` says where it is; without it nothing runs
//! here, and `cargo xtask test` says so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]
#![allow(clippy::print_stderr, reason = "a test that did not run says so")]

mod support;

use diptych::prelude::*;
use diptych::query::{Categories, QueryLimits};
use enforcement::facts::{FineStatus, FineStep, Settlement};
use enforcement::import::{Imported, activity, import};
use enforcement::people::person;
use enforcement::query::{FineBalance, FinesByStatus};
use indicatif::ProgressBar;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Instant;
use support::folder::Folder;
use support::postgres::fresh;

/// What the publishers counted: how often each activity happened.
const EVENTS: [(&str, u64); 11] = [
    ("Add penalty", 79_860),
    ("Appeal to Judge", 555),
    ("Create Fine", 150_370),
    ("Insert Date Appeal to Prefecture", 4_188),
    ("Insert Fine Notification", 79_860),
    ("Notify Result Appeal to Offender", 896),
    ("Payment", 77_601),
    ("Receive Result Appeal from Prefecture", 999),
    ("Send Appeal to Prefecture", 4_141),
    ("Send Fine", 103_987),
    ("Send for Credit Collection", 59_013),
];

/// What others counted and published: which activity was the last of how many fines.
const LAST: [(&str, u64); 7] = [
    ("Appeal to Judge", 134),
    ("Notify Result Appeal to Offender", 86),
    ("Payment", 67_201),
    ("Receive Result Appeal from Prefecture", 53),
    ("Send Appeal to Prefecture", 3_144),
    ("Send Fine", 20_755),
    ("Send for Credit Collection", 58_997),
];

/// What was counted from the file, in thousandths of a euro.
const MONEY: [(&str, i64); 4] = [
    ("Add penalty", 7_937_576_030),
    ("Create Fine", 6_723_851_640),
    ("Payment", 3_601_464_530),
    ("Send Fine", 1_242_539_040),
];

const FINES: u64 = 150_370;
const VARIANTS: usize = 231;
const EVENTS_PER_FINE_MAX: usize = 20;
const PAYMENTS_PER_FINE_MAX: i64 = 15;
const OUTSTANDING: i64 = 8_401_095_540;

/// How many fines were paid not at all, partly, exactly, and with too much.
const SETTLED: [(Settlement, u64); 4] = [
    (Settlement::Unpaid, 80_656),
    (Settlement::PartlyPaid, 9_427),
    (Settlement::Paid, 59_101),
    (Settlement::Overpaid, 1_186),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_log_of_fines_comes_in_by_commands_on_sqlite() {
    let folder = Folder::new("fines");
    check_import(Config::at(folder.store())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_log_of_fines_comes_in_by_commands_on_postgresql() {
    check_import(Config::at(fresh().to_str().unwrap())).await;
}

/// Imports the log twice: the second time nothing is left to do.
async fn check_import(config: Config) {
    let Some(file) = std::env::var_os("DIPTYCH_FINES").map(PathBuf::from) else {
        eprintln!("not run: DIPTYCH_FINES names no file");
        return;
    };
    let place = config.store.to_string();
    let started = Instant::now();
    // The test reads every fine page by page, where a client would take the export.
    let queries = QueryLimits { walk_rows_max: u64::MAX, ..config.queries.clone() };
    let running = enforcement::service().open(Config { queries, ..config }).await.unwrap();
    let Imported { given, tally } = import(&running, &file, &ProgressBar::hidden()).await.unwrap();
    assert_eq!((given, tally.events(), tally.cases), (561_470, 561_470, FINES));
    eprintln!("{place}: imported in {:.1} s", started.elapsed().as_secs_f64());
    check_log(&running).await;
    running.projector().drain("fines").await.unwrap();
    check_fines(&all(&running).await);
    check_sums(&all(&running).await);
    for report in running.projector().verify("fines", 10).await.unwrap() {
        assert!(report.is_clean() && report.digest_matches == Some(true), "{report:?}");
    }
    let head = running.feed().head().await.unwrap();
    let again = import(&running, &file, &ProgressBar::hidden()).await.unwrap();
    assert_eq!((again.given, again.tally), (0, tally));
    assert_eq!(running.feed().head().await.unwrap(), head, "the second import appended something");
    running.stop().await.unwrap();
    eprintln!("{place}: imported and checked in {:.1} s", started.elapsed().as_secs_f64());
}

/// The figures from the stored bytes, with nothing of the service's code but the names of its events.
async fn check_log(running: &Running) {
    let (mut counts, mut money) = (BTreeMap::new(), BTreeMap::new());
    let mut fines: HashMap<String, Vec<&str>> = HashMap::new();
    let (mut first, mut last) = (None, None);
    let mut position = Position::START;
    loop {
        let block = running.feed().read(position, &Categories::All, 10_000).await.unwrap();
        for fact in &block.facts {
            let (name, cents) = told(&fact.event.name, &fact.payload);
            *counts.entry(name).or_default() += 1;
            cents.into_iter().for_each(|cents| *money.entry(name).or_default() += cents);
            let fine = fines.entry(fact.stream.stream.key.to_string()).or_default();
            fine.push(name);
            assert_eq!(fact.version.0, fine.len() as u64, "a gap in {}", fact.stream);
            first = Some(first.map_or(fact.occurred_at, |first: Timestamp| first.min(fact.occurred_at)));
            last = last.max(Some(fact.occurred_at));
        }
        position = block.through.position();
        if block.facts.is_empty() {
            break;
        }
    }
    assert_eq!(counts, BTreeMap::from(EVENTS));
    assert_eq!(money, BTreeMap::from(MONEY));
    assert_eq!(fines.len() as u64, FINES);
    assert_eq!(fines.values().map(Vec::len).max(), Some(EVENTS_PER_FINE_MAX));
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    fines.values().for_each(|fine| *ends.entry(fine[fine.len() - 1]).or_default() += 1);
    assert_eq!(ends, BTreeMap::from(LAST));
    assert_eq!(fines.into_values().collect::<BTreeSet<_>>().len(), VARIANTS);
    // Days in Rome, in winter and in summer.
    let days = [first, last].map(|time| time.unwrap().to_string());
    assert_eq!(days, ["1999-12-31T23:00:00Z", "2013-06-17T22:00:00Z"]);
}

/// The activity that a stored event tells of, and its money in thousandths of a euro.
fn told(name: &str, payload: &str) -> (&'static str, Option<i64>) {
    let (activity, money) = match name {
        "FineCreated" => ("Create Fine", Some("amount")),
        "FineSent" => ("Send Fine", Some("expense")),
        "FineNotificationInserted" => ("Insert Fine Notification", None),
        "FinePenaltyAdded" => ("Add penalty", Some("amount")),
        "FinePaid" => ("Payment", Some("amount")),
        "FineAppealDateInserted" => ("Insert Date Appeal to Prefecture", None),
        "FineAppealSent" => ("Send Appeal to Prefecture", None),
        "FineAppealResultReceived" => ("Receive Result Appeal from Prefecture", None),
        "FineAppealResultNotified" => ("Notify Result Appeal to Offender", None),
        "FineAppealedToJudge" => ("Appeal to Judge", None),
        "FineSentForCreditCollection" => ("Send for Credit Collection", None),
        other => panic!("a `{other}` in the log"),
    };
    (activity, money.map(|field| thousandths(&serde_json::from_str::<Value>(payload).unwrap()[field])))
}

fn thousandths(money: &Value) -> i64 {
    assert_eq!(money["currency"], "EUR");
    let (whole, fraction) = money["amount"].as_str().unwrap().split_once('.').unwrap();
    format!("{whole}{fraction:0<3}").parse().unwrap()
}

/// The figures from the rows of the fines.
fn check_fines(fines: &[FineBalance]) {
    assert_eq!(fines.len() as u64, FINES);
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut settled: BTreeMap<Settlement, u64> = BTreeMap::new();
    for fine in fines {
        *last.entry(activity(fine.last_activity)).or_default() += 1;
        *settled.entry(fine.settlement).or_default() += 1;
    }
    assert_eq!(last, BTreeMap::from(LAST));
    assert_eq!(settled, BTreeMap::from(SETTLED));
    let sum = |money: fn(&FineBalance) -> Money| fines.iter().map(money).map(Money::thousandths).sum::<i64>();
    assert_eq!(sum(|fine| fine.amount), 6_723_851_640);
    assert_eq!(sum(|fine| fine.penalty.unwrap_or(Money::zero(Currency::EUR))), 7_937_576_030);
    assert_eq!(sum(|fine| fine.expense.unwrap_or(Money::zero(Currency::EUR))), 1_242_539_040);
    assert_eq!((sum(|fine| fine.paid), sum(|fine| fine.outstanding)), (3_601_464_530, OUTSTANDING));
    let count = |holds: fn(&FineBalance) -> bool| fines.iter().filter(|fine| holds(fine)).count();
    assert_eq!(count(|fine| fine.payments > 1), 7_542);
    assert_eq!(count(|fine| fine.dismissal.is_some()), 2_577);
    assert_eq!(count(|fine| fine.appeal == Some(FineStep::AppealToJudge)), 515);
    assert_eq!(count(|fine| fine.recorded_paid.is_some_and(|recorded| recorded != fine.paid)), 50);
    let payments = fines.iter().map(|fine| fine.payments);
    assert_eq!(payments.clone().max(), Some(PAYMENTS_PER_FINE_MAX));
    assert_eq!(payments.sum::<i64>(), 77_601);
    let officers: BTreeSet<_> = fines.iter().map(|fine| fine.officer_id.clone()).collect();
    let articles: BTreeSet<_> = fines.iter().map(|fine| fine.article.clone()).collect();
    assert_eq!((officers.len(), articles.len()), (147, 66));
}

/// The figures from the sums by status.
fn check_sums(rows: &[FinesByStatus]) {
    let statuses: BTreeMap<_, _> = rows.iter().map(|row| (row.status, row.fines)).collect();
    // Every fine that somebody was notified of became dearer.
    let expected = [
        (FineStatus::Created, 46_383),
        (FineStatus::Sent, 24_127),
        (FineStatus::PenaltyAdded, 20_847),
        (FineStatus::InCreditCollection, 59_013),
    ];
    assert_eq!(statuses, BTreeMap::from(expected));
    let sum = |figure: fn(&FinesByStatus) -> i64| rows.iter().map(figure).sum::<i64>();
    let settled = [sum(|row| row.unpaid), sum(|row| row.partly_paid), sum(|row| row.paid_exactly)];
    let settled = settled.into_iter().chain([sum(|row| row.overpaid)]);
    assert!(settled.eq(SETTLED.map(|(_, fines)| fines as i64)));
    assert_eq!(sum(|row| row.paid.thousandths()), 3_601_464_530);
    assert_eq!(sum(|row| row.outstanding.thousandths()), OUTSTANDING);
}

/// Every row of a model, page by page.
async fn all<M: JoinedProjection>(running: &Running) -> Vec<M> {
    let collector = person(&running.principal().tenant, "user-502").unwrap();
    let mut rows = Vec::new();
    let mut find = M::find().page(500);
    loop {
        let answer = running.queries().find(&collector, find).await.unwrap();
        assert_eq!(answer.freshness.lag_events, 0);
        rows.extend(answer.value.items);
        match answer.value.next_page_token {
            Some(token) => find = M::find().page(500).after(token),
            None => return rows,
        }
    }
}
