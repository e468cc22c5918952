//! A server that answers, but not as it should: whatever that is, nothing of it is taken for rows, everybody
//! is told what it was, and what may pass is tried again until it has passed.

mod harness;

use diptych_conformance::fixtures::{Total, group};
use diptych_conformance::half_written::{fill, is_the_fold, step};
use diptych_conformance::{Harness, Stores, passed};
use diptych_core::{Code, Fault};
use diptych_query::{AdvanceError, Fold, Group};
use harness::{AtRequest, CouchHarness, Proxy, Server};
use std::net::TcpListener;
use std::sync::Arc;

/// How many positions a batch takes: few, so that there are many.
const POSITIONS_MAX: usize = 24;

/// So many requests a batch has at most.
const REQUESTS_OF_A_BATCH: usize = 9;

/// The page of what all of this is called.
const PAGE: &str = include_str!("../../../docs/errors/DP0068.md");

/// Where the server of the page is.
const SERVER_OF_PAGE: &str = "127.0.0.1:5984";

/// What a server in trouble, or what stands before it, may say.
const PASSING: [(&str, &str); 8] = [
    ("failed: status 500", "HTTP/1.1 500 Failed\r\ncontent-length: 20\r\n\r\n{\"error\":\"internal\"}"),
    ("failed: status 503", "HTTP/1.1 503 Away\r\ncontent-length: 15\r\n\r\n<h1>Later.</h1>"),
    ("no JSON", "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<h1>Hello.</h1>"),
    ("no JSON", "HTTP/1.1 404 None\r\ncontent-length: 14\r\n\r\n<h1>None.</h1>"),
    ("no JSON", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"rows\":["),
    ("does not end its answer", "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"rows\":["),
    ("with status 200", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
    ("does not answer", ""),
];

/// Stores behind a proxy, with a log and a group that is attached.
async fn behind(prefix: &str) -> (Proxy, Stores, Arc<Group>) {
    let proxy = Proxy::before(Server::shared().port());
    let harness = CouchHarness::at(&proxy.address(prefix), prefix);
    let stores = harness.open(Vec::new()).await.expect("the store opens");
    passed(fill(&stores).await);
    let total = group::<Total>(&harness);
    stores.models.attach(&total).await.expect("the group is attached");
    (proxy, stores, total)
}

/// The line of the page that begins like the others but for the server, with a server's port.
fn line_of_page(says: &str, port: u16) -> String {
    let mut lines = PAGE.lines().filter(|line| line.starts_with("the document store at"));
    let line = lines.find(|line| line.contains(says)).expect("the page shows what is printed");
    line.replace(SERVER_OF_PAGE, &format!("127.0.0.1:{port}"))
}

/// An answer as often as a question meets it: one that had no answer at all over a connection that had waited
/// is asked once more.
fn times(answer: &'static str) -> impl Iterator<Item = &'static str> {
    std::iter::repeat_n(answer, if answer.ends_with('[') || answer.is_empty() { 2 } else { 1 })
}

fn port_of(proxy: &Proxy) -> u16 {
    let address = proxy.address("");
    address.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_none_may_pass_and_a_batch_that_met_it_is_made_again() {
    let (proxy, stores, total) = behind("passing_").await;
    let (mut met, mut at_head) = (0, false);
    for (number, (says, answer)) in PASSING.iter().cycle().enumerate() {
        // Every answer comes at another request than before, and at last at none.
        proxy.answer(1 + number % REQUESTS_OF_A_BATCH, times(answer));
        match step(&stores, &total, POSITIONS_MAX).await {
            Err(fault) => {
                assert_eq!(fault.code(), Code::DocumentsUnavailable, "{fault}");
                assert!(fault.to_string().contains(says), "{says}: {fault}");
                met += 1;
            }
            Ok(stepped) => at_head = stepped.expect("a batch"),
        }
        proxy.disarm();
        passed(is_the_fold(&stores, &total).await.map(drop));
        if at_head {
            break;
        }
    }
    assert!(met >= PASSING.len(), "{met} answers were met");
}

/// What a batch says that is refused.
async fn refused(stores: &Stores, total: &Group) -> Fault {
    let checkpoint = match stores.models.checkpoint(total).await {
        Err(fault) => return fault,
        Ok(checkpoint) => checkpoint,
    };
    let from = checkpoint.mark.position();
    let block = stores.feed.read(from, total.categories(), POSITIONS_MAX).await.expect("the log");
    let mut fold = Fold::new(total, &checkpoint);
    fold.plan(&block).expect("the fold takes every fact");
    let advanced = stores.models.advance(total, fold).await;
    let Err(AdvanceError::Fault(fault)) = advanced else { unreachable!("it went through: {advanced:?}") };
    fault
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_who_asks_does_not_count_as_passing_and_says_what_to_mend() {
    let (proxy, stores, total) = behind("refusing_").await;
    for (status, answer) in [
        (401, "HTTP/1.1 401 Who\r\ncontent-length: 24\r\n\r\n{\"error\":\"unauthorized\"}"),
        (403, "HTTP/1.1 403 No\r\ncontent-length: 21\r\n\r\n{\"error\":\"forbidden\"}"),
        (401, "HTTP/1.1 401 Who\r\ncontent-length: 0\r\n\r\n"),
    ] {
        for nth in 1..=3 {
            proxy.answer(nth, [answer]);
            let fault = refused(&stores, &total).await;
            assert_eq!(fault.code(), Code::DocumentsUnavailable, "{fault}");
            assert!(!fault.is_transient(), "{fault}");
            let shown = line_of_page("refuses who asks", port_of(&proxy));
            assert_eq!(fault.to_string(), shown.replace("401", &status.to_string()));
        }
    }
    proxy.disarm();
    while !step(&stores, &total, POSITIONS_MAX).await.expect("the server answers").expect("a batch") {}
    passed(is_the_fold(&stores, &total).await.map(drop));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_what_is_printed_where_no_server_listens() {
    let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let harness = CouchHarness::at(&format!("http://127.0.0.1:{port}/away_"), "away");
    let stores = harness.open(Vec::new()).await.expect("the home store opens");
    let total = group::<Total>(&harness);
    stores.models.attach(&total).await.expect("it begins without its documents");
    let fault = stores.models.checkpoint(&total).await.expect_err("nobody listens");
    assert!(fault.is_transient(), "{fault}");
    // The number in it is the operating system's.
    let told = |text: &str| text.split(" (os error").next().map(str::to_owned);
    assert_eq!(told(&fault.to_string()), told(&line_of_page("does not answer:", port)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_meets_no_answer_says_so_and_is_answered_when_it_is_asked_again() {
    let (proxy, stores, total) = behind("asking_").await;
    while !step(&stores, &total, POSITIONS_MAX).await.expect("the server answers").expect("a batch") {}
    let (schema, mut scanned) = (total.models()[0].schema(), Vec::new());
    for (says, answer) in PASSING {
        for nth in [1, 2] {
            proxy.answer(nth, times(answer));
            let fault = stores.models.scan(&total, schema, None, 10).await.expect_err("no rows were sent");
            assert!(fault.is_transient() && fault.to_string().contains(says), "{says}: {fault}");
            proxy.arm(usize::MAX, AtRequest::Withheld, || {});
            scanned.push(stores.models.scan(&total, schema, None, 10).await.expect("the rows"));
        }
    }
    assert!(scanned.windows(2).all(|pair| pair[0] == pair[1]) && !scanned[0].is_empty());
}
