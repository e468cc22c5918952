//! A batch over documents is several requests. Whoever dies between any two of them, the process that writes
//! or the server, nothing is lost and nothing is half there: rows and digest are the fold of the log up to
//! the checkpoint, at once and after going on.

mod harness;

use diptych_conformance::fixtures::{Party, Total, group};
use diptych_conformance::half_written::{fill, is_the_fold, step};
use diptych_conformance::{Harness, Stores, passed};
use diptych_core::Code;
use diptych_query::Group;
use harness::{AtRequest, CouchHarness, Kept, Proxy, Server};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex};

/// Tells this program that it is the process that is killed, and where its documents are.
const WRITER: &str = "DIPTYCH_COUCH_WRITER";

/// The name of the test that such a process runs.
const WRITING: &str = "a_killed_writer_loses_nothing_and_leaves_nothing_half_there";

/// The name of the log that every process makes alike.
const LOG: &str = "crashes";

/// How many positions a batch takes: few, so that there are many.
const POSITIONS_MAX: usize = 4;

/// How many positions a batch takes where the server is killed, which takes its time to start again.
const POSITIONS_OF_KILLED_MAX: usize = 24;

/// A process makes this many requests before it begins to fold.
const REQUESTS_TO_OPEN: usize = 12;

/// So many requests a batch has at most.
const REQUESTS_OF_A_BATCH: usize = 9;

fn groups(harness: &dyn Harness) -> [Arc<Group>; 2] {
    [group::<Party>(harness), group::<Total>(harness)]
}

/// Stores over documents at an address, with the log that every process makes alike.
async fn stores(address: &str) -> (CouchHarness, Stores) {
    let harness = CouchHarness::at(address, LOG);
    let stores = harness.open(Vec::new()).await.expect("the store opens");
    passed(fill(&stores).await);
    (harness, stores)
}

/// Folds both groups to the head, and ends.
async fn write(address: &str) {
    let (harness, stores) = stores(address).await;
    for group in groups(&harness) {
        stores.models.attach(&group).await.expect("the group is attached");
        while !step(&stores, &group, POSITIONS_MAX).await.expect("the server answers").expect("a batch") {}
    }
}

/// Starts this program as the process that writes.
fn writer(address: &str) -> Command {
    let mut writer = Command::new(std::env::current_exe().expect("this program"));
    writer.args(["--exact", WRITING, "--nocapture"]).env(WRITER, address);
    writer.stdout(std::process::Stdio::null());
    writer
}

/// Runs a writer that is killed at its nth request; answers how it ended.
fn killed_at(proxy: &Proxy, nth: usize, prefix: &str) -> ExitStatus {
    let running = Arc::new(Mutex::new(None::<std::process::Child>));
    let killed = Arc::clone(&running);
    let mut held = running.lock().expect("nobody panics under the lock");
    proxy.arm(nth, AtRequest::Withheld, move || {
        let mut held = killed.lock().expect("nobody panics under the lock");
        // SIGKILL: it does nothing more.
        held.as_mut().map(std::process::Child::kill).expect("the writer runs").expect("it is killed");
    });
    *held = Some(writer(&proxy.address(prefix)).spawn().expect("the writer starts"));
    drop(held);
    loop {
        let ended = running
            .lock()
            .expect("nobody panics under the lock")
            .as_mut()
            .and_then(|writer| writer.try_wait().expect("a child that can be waited for"));
        match ended {
            Some(status) => return status,
            None => std::thread::yield_now(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_writer_loses_nothing_and_leaves_nothing_half_there() {
    if let Ok(address) = std::env::var(WRITER) {
        return write(&address).await;
    }
    let (server, prefix) = (Server::shared(), "killed_writer_");
    let proxy = Proxy::before(server.port());
    let (harness, stores) = stores(&server.address(prefix)).await;
    let (mut kills, mut half_written) = (0, 0);
    loop {
        let nth = REQUESTS_TO_OPEN + kills % REQUESTS_OF_A_BATCH;
        let status = killed_at(&proxy, nth, prefix);
        let requests = proxy.requests();
        for group in groups(&harness) {
            stores.models.attach(&group).await.expect("the group is attached");
            passed(is_the_fold(&stores, &group).await.map(drop));
        }
        if status.success() {
            break;
        }
        assert!(proxy.is_done(), "the writer ended by itself: {status}");
        kills += 1;
        let last = requests.iter().rev().take(2).map(String::as_str).collect::<Vec<_>>();
        half_written += usize::from(last[0].starts_with("PUT") && last[1].contains("_bulk_docs"));
    }
    assert!(half_written > 1, "{half_written} of {kills} kills came between documents and checkpoint");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_and_leaves_nothing_half_there() {
    let server = Arc::new(Mutex::new(Server::start("killed", Kept::InFiles)));
    let port = server.lock().expect("nobody panics under the lock").port();
    let proxy = Proxy::before(port);
    let (harness, stores) = stores(&proxy.address("killed_server_")).await;
    let mut kills = 0;
    for group in groups(&harness) {
        stores.models.attach(&group).await.expect("the group is attached");
        loop {
            let killed = Arc::clone(&server);
            let at = if kills % 2 == 0 { AtRequest::Delivered } else { AtRequest::Withheld };
            proxy.arm(1 + kills % (2 * REQUESTS_OF_A_BATCH), at, move || {
                killed.lock().expect("nobody panics under the lock").kill();
            });
            let at_head = loop {
                match step(&stores, &group, POSITIONS_OF_KILLED_MAX).await {
                    Ok(stepped) => {
                        if stepped.expect("a batch") {
                            break true;
                        }
                    }
                    Err(fault) => {
                        assert_eq!(fault.code(), Code::DocumentsUnavailable, "{fault}");
                        break false;
                    }
                }
            };
            if at_head {
                break;
            }
            assert!(proxy.is_done(), "the server was not killed");
            kills += 1;
            proxy.arm(usize::MAX, AtRequest::Withheld, || {});
            server.lock().expect("nobody panics under the lock").start_again();
            passed(is_the_fold(&stores, &group).await.map(drop));
        }
        proxy.arm(usize::MAX, AtRequest::Withheld, || {});
        passed(is_the_fold(&stores, &group).await.map(drop));
    }
    assert!(kills > REQUESTS_OF_A_BATCH, "the server was killed {kills} times");
}
