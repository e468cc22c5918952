//! A real process that is killed in the middle of an export, and another one that takes its run over.

use crate::on_both_stores;
use crate::support::jar::{Jar, JarCommand, JarId};
use crate::world::{World, run_due, state};
use diptych::prelude::*;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tokio::task::JoinSet;

on_both_stores!(a_process_that_is_killed_in_mid_run_leaves_a_run_that_another_does);

/// How many events the export of a run has to write: enough to be killed among them.
const EVENTS: u64 = 3_000;

/// How often a process is started that is to be killed, until one was in the middle.
const KILLS_MAX: u32 = 8;

/// This test's name in its own program: as a process of its own it serves until it is killed.
const AS_A_PROCESS: &str = "killed::as_a_process_it_runs_what_is_due";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_a_process_it_runs_what_is_due() {
    let Some(world) = World::of_the_parent() else { return };
    let running = world.open().await;
    run_due(&running).await;
    running.stop().await.unwrap();
}

fn start(world: &World) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([AS_A_PROCESS, "--exact"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.envs(world.for_a_child()).spawn().unwrap()
}

/// Fills as many jars, many at a time.
async fn fill_many(running: &Running) {
    let mut filling = JoinSet::new();
    for number in 0..EVENTS {
        let (commands, principal) = (Arc::clone(running.commands()), running.principal().clone());
        filling.spawn(async move {
            let command = JarCommand::Fill { spoons: 1 };
            let request = Request::by(&principal).to(&JarId::new(format!("jar-{number}")), command);
            commands.handle::<Jar>(request).await.unwrap();
        });
        if filling.len() >= 500 {
            filling.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(filled) = filling.join_next().await {
        filled.unwrap();
    }
}

async fn a_process_that_is_killed_in_mid_run_leaves_a_run_that_another_does(world: World) {
    let running = world.open().await;
    fill_many(&running).await;
    running.stop().await.unwrap();
    let mut cut_short = false;
    for attempt in 1..=KILLS_MAX {
        world.set(&format!("2026-12-{attempt:02}T02:00:00Z"));
        let mut child = start(&world);
        while child.try_wait().unwrap().is_none() && world.file_names().is_empty() {
            std::thread::yield_now();
        }
        // `SIGKILL`: nothing is finished, nothing is given back.
        let _ = child.kill();
        child.wait().unwrap();
        let left = world.file_names();
        cut_short = left.iter().any(|name| name.ends_with(".partial"));
        if cut_short {
            break;
        }
        world.forget_files();
    }
    assert!(cut_short, "no process was killed in mid-run");

    let running = world.open().await;
    assert!(run_due(&running).await.is_empty(), "the process may be alive");
    world.later(16);
    let run = run_due(&running).await.remove(0);
    let done = run.done.unwrap();
    assert_eq!((done.rows, world.file_names().len()), (EVENTS, 1), "{:?}", world.file_names());
    let kept = state(&running).await;
    let dead = &kept.runs[1];
    assert!(dead.failure.as_deref().unwrap().contains(&dead.process), "{dead:?}");
    assert_ne!(dead.process, kept.runs[0].process);
    assert_eq!(dead.range, kept.runs[0].range, "the same events");
    let path = world.files().display().to_string();
    let whole = running.sources().opened(&path).await.unwrap();
    assert_eq!(whole.head().await.unwrap(), running.feed().head().await.unwrap());
    running.stop().await.unwrap();
}
