//! Kills the real server under load, again and again, and looks at what is left: every acknowledged command
//! is there exactly once, no other is half there, and every read model is what the log says.
//!
//! `DIPTYCH_CRASH_KILLS` says how often, `DIPTYCH_CRASH_SEED` which choices are made.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use fastrand::Rng;
use support::folder::Folder;
use support::history::History;
use support::moving::STATE_STORED;
use support::server::{Server, run, run_json, said};

/// A kill comes after fewer acknowledged commands than this, counted from the start of the server.
const KILL_AFTER_MAX: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    let seed = from_environment("DIPTYCH_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    let kills = from_environment("DIPTYCH_CRASH_KILLS").unwrap_or(3);
    eprintln!(
        "seed {seed}, {kills} kills; the same again: DIPTYCH_CRASH_SEED={seed} DIPTYCH_CRASH_KILLS={kills}"
    );
    let folder = Folder::new("crash");
    let store = folder.store();
    let mut rng = Rng::with_seed(seed);
    let mut history = History::default();
    for _ in 0..kills {
        // Either persistence goes on where the other one was killed.
        let persistence: &[&str] = if rng.bool() { &STATE_STORED } else { &[] };
        let server = Server::start_with(&store, persistence).await;
        history.ask_again(&server, &mut rng).await;
        let load = history.load(&[&server], &mut rng);
        // Now and then the server dies while it starts to work.
        if rng.u8(..8) > 0 {
            load.acknowledged(0, rng.usize(1..KILL_AFTER_MAX)).await;
        }
        server.kill().await;
        history.end(load).await;
        history.check(&store, rng.bool(), &mut rng).await;
    }
    let server = Server::start(&store).await;
    history.ask_again(&server, &mut rng).await;
    server.terminate().await;
    assert!(server.ended().await.0.success());
    history.check_all(&store).await;
    let verified = run(&store, &["models", "verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    let verified = run(&store, &["states", "verify", "order"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    let status = run_json(&store, &["status"]).await;
    assert_eq!(status["events"], history.events);
    eprintln!("{}", history.told());
    assert!(history.acknowledged() > 0, "no command was acknowledged, nothing was proved");
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, is `{text}`")))
}
