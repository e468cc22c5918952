//! An export of a long table holds a few of its rows in memory and sends them as they are taken, all of one
//! moment: what has moved since is as it stood then, and what cannot be told any more ends it with an error.

mod harness;

use diptych_conformance::answering::{accounts, moves};
use diptych_conformance::fixtures::{Balance, group};
use diptych_conformance::half_written::step;
use diptych_conformance::{Harness, Stores, passed};
use diptych_core::{Code, Fault, Tenant, Value};
use diptych_query::{Condition, ExportRows, Group, Operator, RawExport, RowRule, Words};
use harness::{CouchHarness, Proxy, Server};
use std::sync::Arc;
use std::time::Duration;

/// How many rows the table has.
const ROWS: i64 = 120;

/// How many of them an export holds.
const HELD: usize = 5;

/// Batches at most that are read before anybody takes them: two that wait, one for which there is no room.
const PAGES_AHEAD: usize = 3;

/// So many positions a batch takes: every account moves once in it.
const POSITIONS_MAX: usize = 2 * ROWS as usize;

/// Long enough for every export.
const EXPORT_MAX: Duration = Duration::from_secs(60);

fn everything() -> RawExport {
    let tenant = Tenant::new("main").expect("a tenant");
    RawExport { tenant, conditions: Vec::new(), rule: RowRule::All, words: Words::default() }
}

async fn begin(stores: &Stores, group: &Group, export: &RawExport) -> ExportRows {
    let exporting = stores.models.export(group, group.models()[0].schema(), export, EXPORT_MAX).await;
    let exporting = exporting.expect("the export begins");
    let checkpoint = exporting.checkpoint.mark;
    assert_eq!(checkpoint, stores.models.checkpoint(group).await.expect("a checkpoint").mark);
    exporting.rows
}

/// What is left of an export, or how it ended.
async fn rest(mut rows: ExportRows) -> Result<Vec<Vec<Value>>, Fault> {
    let mut all = Vec::new();
    while let Some(batch) = rows.next().await? {
        all.extend(batch);
    }
    Ok(all)
}

async fn follow(stores: &Stores, group: &Group, batches: usize) {
    for _ in 0..batches {
        step(stores, group, POSITIONS_MAX).await.expect("the server answers").expect("a batch");
    }
}

/// A table of many rows, with two moves of each that are not folded yet.
async fn table(prefix: &str) -> (Proxy, Stores, Arc<Group>) {
    let proxy = Proxy::before(Server::shared().port());
    let harness = CouchHarness::at(&proxy.address(prefix), prefix).holding(HELD);
    let stores = harness.open(Vec::new()).await.expect("the store opens");
    passed(accounts(&stores, ROWS).await);
    let balance = group::<Balance>(&harness);
    stores.models.attach(&balance).await.expect("the group is attached");
    while !step(&stores, &balance, 500).await.expect("the server answers").expect("a batch") {}
    for _ in 0..2 {
        passed(moves(&stores, ROWS, 1).await);
    }
    (proxy, stores, balance)
}

/// All rows, as they stand.
async fn rows(stores: &Stores, group: &Group) -> Vec<Vec<Value>> {
    let scanned = stores.models.scan(group, group.models()[0].schema(), None, usize::MAX).await;
    let scanned = scanned.expect("the rows").into_iter();
    scanned.filter(|row| row.row.tenant == everything().tenant).filter_map(|row| row.values).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_rows_are_read_than_somebody_takes_and_all_are_of_the_moment_that_it_began_at() {
    let (proxy, stores, group) = table("long_").await;
    let before = rows(&stores, &group).await;
    assert_eq!(before.len() as i64, ROWS);
    proxy.disarm();
    let mut export = begin(&stores, &group, &everything()).await;
    let mut taken = export.next().await.expect("rows").expect("a batch");
    assert_eq!(taken.len(), HELD);
    let sent = proxy.documents();
    assert!(sent <= HELD * (1 + PAGES_AHEAD), "{sent} documents were sent for {} rows", taken.len());
    // Every row moves once meanwhile.
    follow(&stores, &group, 1).await;
    taken.extend(rest(export).await.expect("the rows of that moment"));
    assert!(taken == before, "rows of another moment than that of the export");
    let after = rows(&stores, &group).await;
    assert!(
        after != before && rest(begin(&stores, &group, &everything()).await).await.expect("rows") == after
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_export_whose_rows_move_twice_ends_with_an_error_and_holds_none_that_is_newer() {
    let (_, stores, group) = table("twice_").await;
    let before = rows(&stores, &group).await;
    let mut export = begin(&stores, &group, &everything()).await;
    follow(&stores, &group, 2).await;
    let mut taken = Vec::new();
    let fault = loop {
        match export.next().await {
            Ok(Some(batch)) => taken.extend(batch),
            Ok(None) => unreachable!("{} rows of {ROWS} are of one moment", taken.len()),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.code(), Code::DocumentsUnavailable, "{fault}");
    assert!(fault.is_transient() && fault.to_string().contains("move faster"), "{fault}");
    assert!(before.starts_with(&taken) && taken.len() < before.len(), "{} rows", taken.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_conditions_let_through_is_exported_page_by_page_as_well() {
    let (_, stores, group) = table("some_").await;
    let schema = group.models()[0].schema();
    let owner = schema.column("owner").expect("a column");
    let all = rows(&stores, &group).await;
    let mut longest = 0;
    for values in [vec!["owner 1"], vec!["owner 0", "owner 2", "owner 5"], vec!["nobody"]] {
        let values: Vec<_> = values.into_iter().map(|name| Value::Text(name.to_owned())).collect();
        let expected: Vec<_> = all.iter().filter(|row| values.contains(&row[owner])).cloned().collect();
        longest = longest.max(expected.len());
        let conditions = vec![Condition { column: owner, operator: Operator::Equal, values }];
        let export = RawExport { conditions, ..everything() };
        let taken = rest(begin(&stores, &group, &export).await).await.expect("the rows");
        assert!(taken == expected, "{} rows of {}", taken.len(), expected.len());
    }
    assert!(longest > 3 * HELD, "{longest} rows are no long export");
}
