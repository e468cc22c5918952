//! The server finds and orders rows: it sends the documents of a page and few others, and the answer is
//! that of the whole table, also while a batch is half written.

mod harness;

use diptych_conformance::answering::{accounts, every_question_is_answered, moves, seats};
use diptych_conformance::fixtures::{Balance, Seat, group};
use diptych_conformance::half_written::step;
use diptych_conformance::{Harness, Stores, passed};
use diptych_core::{Code, Fault, Money, Tenant, Value};
use diptych_query::{Condition, Direction, Found, Group, Operator, RawExport, RawFind, RowRule, Words};
use harness::{AtRequest, CouchHarness, Proxy, Server};
use std::sync::Arc;
use std::time::Duration;

/// How many rows the table has.
const ROWS: i64 = 300;

/// How many positions a batch takes.
const POSITIONS_MAX: usize = 500;

/// Long enough for every question.
const QUERY_MAX: Duration = Duration::from_secs(60);

/// A table of many rows behind a proxy.
async fn table(prefix: &str, rows: i64) -> (Proxy, Stores, Arc<Group>) {
    let proxy = Proxy::before(Server::shared().port());
    let harness = CouchHarness::at(&proxy.address(prefix), prefix);
    let stores = harness.open(Vec::new()).await.expect("the store opens");
    passed(accounts(&stores, rows).await);
    let balance = group::<Balance>(&harness);
    stores.models.attach(&balance).await.expect("the group is attached");
    while !step(&stores, &balance, POSITIONS_MAX).await.expect("the server answers").expect("a batch") {}
    (proxy, stores, balance)
}

fn column(group: &Group, name: &str) -> usize {
    group.models()[0].schema().column(name).expect("a column")
}

fn page(rows_max: usize) -> RawFind {
    let tenant = Tenant::new("main").expect("a tenant");
    let (conditions, rule, words) = (Vec::new(), RowRule::All, Words::default());
    RawFind { tenant, conditions, rule, words, sort: None, after: None, rows_max }
}

fn one(column: usize, operator: Operator, value: Value) -> Vec<Condition> {
    vec![Condition { column, operator, values: vec![value] }]
}

fn pounds(amount: i64) -> Value {
    Value::Money(Money::from_thousandths(amount * 1_000, diptych_core::Currency::GBP).expect("money"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_many_rows_takes_no_more_documents_than_it_has_rows() {
    let (proxy, stores, group) = table("sent_", ROWS).await;
    let (balance, owner, open) = (column(&group, "balance"), column(&group, "owner"), column(&group, "open"));
    let descending = Some((balance, Direction::Descending));
    let owned = |operator| one(owner, operator, Value::Text("owner 6".to_owned()));
    for (most, find) in [
        (5, page(5)),
        (5, RawFind { sort: descending, ..page(5) }),
        (5, RawFind { conditions: one(balance, Operator::AtMost, pounds(9)), sort: descending, ..page(5) }),
        (5, RawFind { conditions: owned(Operator::Equal), ..page(5) }),
        (5, RawFind { conditions: one(open, Operator::Equal, Value::Bool(true)), ..page(5) }),
        // Seven rows of one balance are fewer than one request brings: they are put in order here.
        (
            7,
            RawFind {
                conditions: one(balance, Operator::Equal, pounds(9)),
                sort: Some((owner, Direction::Ascending)),
                ..page(5)
            },
        ),
    ] {
        proxy.disarm();
        let schema = group.models()[0].schema();
        let found = stores.models.find(&group, schema, &find, QUERY_MAX).await.expect("an answer");
        assert_eq!(found.rows.len(), 5, "{find:?}");
        let sent = proxy.documents();
        assert!((5..=most).contains(&sent), "{sent} documents were sent for {find:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_is_answered_as_the_whole_table_would() {
    let (_, stores, group) = table("asked_", 40).await;
    let asked = every_question_is_answered(&stores, &group).await;
    assert!(asked.as_ref().map_or(true, |asked| *asked > 100), "{asked:?} pages were asked for");
    passed(asked.map(drop));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_half_written_changes_no_answer_until_it_counts() {
    let (proxy, stores, group) = table("half_", 24).await;
    passed(moves(&stores, 24, 2).await);
    let before = stores.models.checkpoint(&group).await.expect("a checkpoint").mark;
    // A batch looks where the partition stands, reads its rows, takes a number, writes in pieces, and counts.
    let mut requests = 0;
    for nth in 1.. {
        proxy.arm(nth, AtRequest::Withheld, || {});
        let stepped = step(&stores, &group, POSITIONS_MAX).await;
        requests = nth;
        let counts = proxy.requests();
        proxy.disarm();
        if stepped.is_ok() {
            break;
        }
        if counts.iter().any(|request| request.contains("_bulk_docs")) {
            passed(every_question_is_answered(&stores, &group).await.map(drop));
            assert_eq!(stores.models.checkpoint(&group).await.expect("a checkpoint").mark, before);
        }
    }
    assert!(requests > 6, "a batch took {requests} requests");
    assert_ne!(stores.models.checkpoint(&group).await.expect("a checkpoint").mark, before);
    passed(every_question_is_answered(&stores, &group).await.map(drop));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_moves_twice_while_somebody_reads_is_not_missing_at_the_checkpoint() {
    let (proxy, stores, group) = table("twice_", 24).await;
    for _ in 0..2 {
        passed(moves(&stores, 24, 2).await);
    }
    let owner = column(&group, "owner");
    let find =
        RawFind { conditions: one(owner, Operator::Equal, Value::Text("owner 6".to_owned())), ..page(10) };
    let schema = group.models()[0].schema();
    let before = stores.models.find(&group, schema, &find, QUERY_MAX).await.expect("an answer");
    let (half, runtime) = (24, tokio::runtime::Handle::current());
    let (stores, moving) = (Arc::new(stores), Arc::clone(&group));
    let writer = Arc::clone(&stores);
    // Between the checkpoint and the index come two batches, and both move rows that fitted.
    proxy.arm(2, AtRequest::Late, move || {
        for _ in 0..2 {
            let moved = runtime.block_on(step(&writer, &moving, half));
            moved.expect("the server answers").expect("a batch");
        }
    });
    let found = stores.models.find(&group, schema, &find, QUERY_MAX).await.expect("an answer");
    assert!(proxy.is_done() && proxy.requests()[1].contains("_view"), "{:?}", proxy.requests());
    assert!(found.rows.len() < before.rows.len(), "no row that fitted has moved");
    assert!(
        found.checkpoint.mark.position() > before.checkpoint.mark.position(),
        "rows are newer than it says"
    );
    passed(every_question_is_answered(&stores, &group).await.map(drop));
}

/// Has every account move twice whenever rows are asked for after where the partition stands, so many times.
fn keep_moving(proxy: Arc<Proxy>, stores: Arc<Stores>, group: Arc<Group>, times: usize) {
    let (again, runtime) = (Arc::clone(&proxy), tokio::runtime::Handle::current());
    proxy.arm(2, AtRequest::Late, move || {
        let _entered = runtime.enter();
        for _ in 0..2 {
            let moved = runtime.block_on(step(&stores, &group, FEW * 2));
            moved.expect("the server answers").expect("a batch");
        }
        if times > 1 {
            keep_moving(again, stores, group, times - 1);
        }
    });
}

/// How many accounts there are that move all the time.
const FEW: usize = 8;

/// How often whoever reads looks again.
const ROUNDS: usize = 8;

/// A table whose rows move whenever somebody reads them, with a page of it or an export.
async fn read_while_all_move(prefix: &str, export: bool) -> (Arc<Stores>, Arc<Group>, Result<Found, Fault>) {
    let few = i64::try_from(FEW).expect("few");
    let (proxy, stores, group) = table(prefix, few).await;
    for _ in 0..2 * ROUNDS {
        passed(moves(&stores, few, 1).await);
    }
    let (proxy, stores) = (Arc::new(proxy), Arc::new(stores));
    keep_moving(Arc::clone(&proxy), Arc::clone(&stores), Arc::clone(&group), ROUNDS);
    let schema = group.models()[0].schema();
    let page = page(FEW);
    let found = if export {
        let RawFind { tenant, conditions, rule, words, .. } = page;
        let wanted = RawExport { tenant, conditions, rule, words };
        let exporting = stores.models.export(&group, schema, &wanted, QUERY_MAX).await;
        exporting.map(|e| Found { rows: Vec::new(), checkpoint: e.checkpoint, build: e.build })
    } else {
        stores.models.find(&group, schema, &page, QUERY_MAX).await
    };
    assert!(proxy.is_done(), "the rows moved in every round");
    (stores, group, found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_rows_that_always_move_holds_newer_ones_and_none_is_missing() {
    let (_, _, found) = read_while_all_move("page_", false).await;
    assert_eq!(found.expect("an answer").rows.len(), FEW, "the accounts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_rows_that_always_move_fails_rather_than_hold_newer_ones() {
    let (stores, group, found) = read_while_all_move("export_", true).await;
    let fault = found.expect_err("no row is newer than the checkpoint of an export");
    assert_eq!(fault.code(), Code::DocumentsUnavailable, "{fault}");
    assert!(fault.is_transient() && fault.to_string().contains("move faster"), "{fault}");
    passed(every_question_is_answered(&stores, &group).await.map(drop));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_that_is_routed_by_a_column_takes_no_more_documents_than_it_touches() {
    let proxy = Proxy::before(Server::shared().port());
    let harness = CouchHarness::at(&proxy.address("routed_"), "routed_");
    let stores = harness.open(Vec::new()).await.expect("the store opens");
    passed(seats(&stores, ROWS).await);
    let group = group::<Seat>(&harness);
    stores.models.attach(&group).await.expect("the group is attached");
    step(&stores, &group, 2).await.expect("the server answers").expect("many seats and two");
    proxy.disarm();
    step(&stores, &group, 1).await.expect("the server answers").expect("the two are found");
    assert_eq!(proxy.documents(), 2, "documents were sent for two rows");
    let (schema, found) = (group.models()[0].schema(), column(&group, "found"));
    let find = RawFind { conditions: one(found, Operator::Equal, Value::Integer(1)), ..page(10) };
    let found = stores.models.find(&group, schema, &find, QUERY_MAX).await.expect("an answer");
    assert_eq!(found.rows.len(), 2, "{found:?}");
}
