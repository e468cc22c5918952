//! Read models of the real server built anew under commands, with the server killed wherever the rebuild
//! stands: the next one goes on, and in the end every row is what the log says.

#![allow(clippy::print_stderr, reason = "whoever looks at a failure needs the seed")]

use super::history::History;
use super::server::{Server, run, run_json, said};
use fastrand::Rng;
use serde_json::Value;
use std::path::Path;

/// One asynchronous model and the one that moves with the commands.
const MODELS: [&str; 2] = ["order_summary", "fulfilment_queue"];

/// A kill comes after fewer acknowledged commands than this, counted from the order to rebuild.
const KILL_AFTER_MAX: usize = 120;

/// How often a rebuild is waited for.
const LOOKS_MAX: usize = 50;

/// Orders rebuilds, kills the server under each of them, and looks at what is left.
pub(crate) async fn kill_and_prove(store: &Path) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("DIPTYCH_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    let kills = number("DIPTYCH_CRASH_KILLS").unwrap_or(3);
    eprintln!(
        "seed {seed}, {kills} kills; the same again: DIPTYCH_CRASH_SEED={seed} DIPTYCH_CRASH_KILLS={kills}"
    );
    let mut rng = Rng::with_seed(seed);
    let mut history = History::default();
    let server = Server::start(store).await;
    let load = history.load(&[&server], &mut rng);
    load.acknowledged(0, 200).await;
    server.terminate().await;
    assert!(server.ended().await.0.success());
    history.end(load).await;
    history.check(store, true, &mut rng).await;
    let mut server = Server::start(store).await;
    for model in MODELS {
        serves(store, model).await;
        let ordered = run(store, &["models", "rebuild", model, "--reason", "to be sure"]).await;
        assert_eq!(ordered.status.code(), Some(0), "{}", said(&ordered));
    }
    for _ in 0..kills {
        history.ask_again(&server, &mut rng).await;
        let load = history.load(&[&server], &mut rng);
        load.acknowledged(0, rng.usize(1..KILL_AFTER_MAX)).await;
        server.kill().await;
        history.end(load).await;
        history.check(store, rng.bool(), &mut rng).await;
        server = Server::start(store).await;
    }
    history.ask_again(&server, &mut rng).await;
    for model in MODELS {
        let shown = serves(store, model).await;
        assert_eq!(shown["build"], "r1g2", "{shown}");
        let back = run(store, &["models", "rollback", model, "--reason", "to see"]).await;
        assert_eq!(back.status.code(), Some(0), "{}", said(&back));
        assert_eq!(serves(store, model).await["build"], "r1g1");
    }
    server.terminate().await;
    assert!(server.ended().await.0.success());
    history.check_all(store).await;
    let verified = run(store, &["models", "verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    let operations = run_json(store, &["operations", "list"]).await;
    assert_eq!(operations.as_array().map(Vec::len), Some(2 * MODELS.len()), "{operations}");
    assert!(history.acknowledged() > 0, "no command was acknowledged, nothing was proved");
}

/// How a model stands, once no rebuild of it is on its way any more. The operator's tool waits for that.
async fn serves(store: &Path, model: &str) -> Value {
    for _ in 0..LOOKS_MAX {
        let shown = run_json(store, &["models", "show", model]).await;
        let step = shown["rebuild"]["step"].as_str().unwrap_or("switched");
        assert!(!matches!(step, "failed" | "blocked"), "the rebuild of {model}: {shown}");
        if shown["stage"] == "serving" && matches!(step, "switched" | "rolled_back") {
            return shown;
        }
        let waits = if shown["rebuild"].is_null() { "drain" } else { "watch" };
        run(store, &["models", waits, model]).await;
    }
    panic!("a rebuild of {model} does not come to its switch")
}
