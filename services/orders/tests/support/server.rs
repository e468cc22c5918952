//! The real binary: as a server that can be killed or asked to stop, and as the operator's tool.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

/// How long anything may take before the test says that it hangs.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// A server process. It is killed when the test drops it.
pub(crate) struct Server {
    child: Child,
    /// Hears what the process says until it ends: one that nobody listened to would stop in mid-sentence.
    said: JoinHandle<Vec<String>>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server on a store and waits until it says where it is.
    pub(crate) async fn start(store: &Path) -> Self {
        Self::start_as(store, "local").await
    }

    /// The same, on behalf of an actor.
    pub(crate) async fn start_as(store: &Path, actor: &str) -> Self {
        Self::start_with(store, &["--actor", actor]).await
    }

    /// The same, with arguments of its own.
    pub(crate) async fn start_with(store: &Path, arguments: &[&str]) -> Self {
        Self::start_telling(store, arguments, &mut Vec::new(), None).await
    }

    /// The same, with what its log holds as `DIPTYCH_LOG` says it. What it says before it is ready comes
    /// back.
    pub(crate) async fn start_telling(
        store: &Path,
        arguments: &[&str],
        said: &mut Vec<String>,
        log: Option<&str>,
    ) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut command = binary(store, &arguments);
        if let Some(log) = log {
            command.env("DIPTYCH_LOG", log);
        }
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line =
                tokio::time::timeout(HANG, lines.next_line()).await.expect("the server hangs at start");
            let Some(line) = line.unwrap() else { panic!("the server ended at start: {said:#?}") };
            if let Some(address) = address_in(&line) {
                return Self { child, said: tokio::spawn(hear(lines)), address };
            }
            said.push(line);
        }
    }

    /// Kills the process as the power switch would (`SIGKILL`), and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
    }

    /// Asks the process to stop (`SIGTERM`).
    pub(crate) async fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Freezes the process (`SIGSTOP`). The system does that thread by thread and says when all of them
    /// stand still: from then on the process sends nothing.
    pub(crate) async fn freeze(&self) {
        self.signal(Signal::STOP);
        let pid = self.pid();
        let stopped = tokio::task::spawn_blocking(move || {
            waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap().expect("it waits for a process")
        });
        let stopped = tokio::time::timeout(HANG, stopped).await.expect("the server does not freeze");
        assert!(stopped.unwrap().stopped());
    }

    /// Lets a frozen process go on (`SIGCONT`).
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process().try_into().unwrap()).unwrap()
    }

    /// The number that the system knows the process by.
    pub(crate) fn process(&self) -> u32 {
        self.child.id().expect("the server runs")
    }

    /// Waits for the end of the process; its exit status and what it said after it was ready.
    pub(crate) async fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let ended = async { (self.child.wait().await.unwrap(), self.said.await.unwrap()) };
        tokio::time::timeout(HANG, ended).await.expect("the server does not end")
    }
}

async fn hear(mut lines: Lines<BufReader<ChildStderr>>) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push(line);
    }
    said
}

/// Starts the binary and leaves it to the caller, who may kill it.
pub(crate) fn start(store: &Path, arguments: &[&str]) -> Child {
    binary(store, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Runs the binary once.
pub(crate) async fn run(store: &Path, arguments: &[&str]) -> Output {
    let output = binary(store, arguments).output();
    tokio::time::timeout(HANG, output).await.expect("the command hangs").unwrap()
}

/// Runs the binary once with `--json`; it must end well.
pub(crate) async fn run_json(store: &Path, arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    let output = run(store, &arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Everything a command said, for messages of tests.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}", text(&output.stdout), text(&output.stderr))
}

fn binary(store: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME"))));
    command.arg("--store").arg(store).args(arguments).env_remove("DIPTYCH_LOG");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The address in `orders is at http://127.0.0.1:4711  (...)`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(" is at http://")?;
    rest.split_whitespace().next()?.parse().ok()
}
