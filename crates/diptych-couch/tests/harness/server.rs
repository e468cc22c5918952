//! A server of the CouchDB protocol for the tests of one program: its own process on a free port, with its
//! own files. It ends with the program, however that ends.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Where the program of the server is: `cargo xtask test` says so.
const PROGRAM: &str = "DIPTYCH_POUCHDB_SERVER";

/// Ends the server when whoever started it is gone: the input ends with the program.
const WATCHMAN: &str = r#"dir="$1"; shift; mkdir -p "$dir"; cd "$dir"
"$@" </dev/null 2>&1 & echo $!; server=$!
cat >/dev/null; kill -9 $server 2>/dev/null; rm -rf "$dir""#;

/// What the server says once it listens.
const LISTENING: &str = "has started on";

/// Where a server keeps its databases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    /// In memory, until the program ends: enough where nobody kills the server.
    InMemory,
    /// In files, which a server that is killed finds again.
    #[allow(dead_code, reason = "each test program uses a part of it")]
    InFiles,
}

/// A running server.
pub(crate) struct Server {
    port: u16,
    directory: PathBuf,
    kept: Kept,
    /// What ends the server with this program: each listens to a pipe that the program holds.
    watchmen: Vec<Child>,
    process: u32,
}

impl Server {
    /// The server that all tests of this program share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("shared", Kept::InMemory))
    }

    /// A server of its own, with files of its own.
    pub(crate) fn start(name: &str, kept: Kept) -> Self {
        let name = format!("couch-{}-{name}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let (watchman, process) = run(&directory, port, kept);
        Self { port, directory, kept, watchmen: vec![watchman], process }
    }

    /// Where it is, with a prefix for databases.
    pub(crate) fn address(&self, prefix: &str) -> String {
        format!("http://127.0.0.1:{}/{prefix}", self.port)
    }
}

#[allow(dead_code, reason = "each test program uses a part of it")]
impl Server {
    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Kills it without a word, as a failing machine would.
    pub(crate) fn kill(&self) {
        let killed = Command::new("kill").args(["-9", &self.process.to_string()]).status();
        assert!(killed.expect("a program to kill with").success(), "the server is not there");
    }

    /// Starts it again over the same files, at the same place.
    pub(crate) fn start_again(&mut self) {
        let (watchman, process) = run(&self.directory, self.port, self.kept);
        self.watchmen.push(watchman);
        self.process = process;
    }
}

/// Starts a server and waits until it listens.
fn run(directory: &Path, port: u16, kept: Kept) -> (Child, u32) {
    let program = std::env::var_os(PROGRAM).expect(
        "DIPTYCH_POUCHDB_SERVER names no server: run `cargo xtask test`, or `cargo xtask postgres -- CMD`",
    );
    let mut watchman = Command::new("sh");
    watchman.args(["-c", WATCHMAN, "sh"]).arg(directory).arg("node").arg(program);
    watchman.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--dir", "."]);
    if kept == Kept::InMemory {
        watchman.arg("--in-memory");
    }
    watchman.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut watchman = watchman.spawn().expect("a shell, which starts node");
    let mut told = BufReader::new(watchman.stdout.take().expect("its output is ours"));
    let mut line = String::new();
    told.read_line(&mut line).expect("what the shell says");
    let process = line.trim().parse().expect("a process id");
    while !line.contains(LISTENING) {
        line.clear();
        assert!(told.read_line(&mut line).expect("what the server says") > 0, "the server does not start");
    }
    // It tells every request, and must never wait for somebody who reads that.
    std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
    (watchman, process)
}
