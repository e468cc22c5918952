//! A private PostgreSQL for tests: made in a directory of its own, on a port of its own, stopped and removed
//! however this program ends. Knows nothing of what is tested on it.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::certificates;
use crate::process::succeeds;

/// The oldest version that the store supports.
const VERSION_MIN: u32 = 15;

/// Where Debian keeps the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

const INSTALL: &str = "apt-get update && apt-get install -y --no-install-recommends postgresql";

/// PostgreSQL does not run as root; the package makes this user.
const SERVER_USER: &str = "postgres";

/// The superuser inside the server.
pub(crate) const DATABASE_USER: &str = "diptych";

/// Durable as in production, small, and with room for many tests at once.
const SETTINGS: &[&str] = &[
    "fsync=on",
    "listen_addresses=127.0.0.1",
    "max_connections=400",
    "shared_buffers=128MB",
    "max_wal_size=4GB",
    "log_min_messages=warning",
];

/// Where a pooler before the server keeps the number of its process, in the server's directory.
pub(crate) const POOLER_PROCESS: &str = "pooler.pid";

/// Stops the server, with the pooler before it, and removes its directory when whoever started it has gone,
/// in whatever way: the pipe that is read here ends with that process.
const WATCHMAN: &str = "trap '' INT TERM HUP; read _; \
    test -f \"$2/pooler.pid\" && kill \"$(cat \"$2/pooler.pid\")\"; \
    \"$1/pg_ctl\" -D \"$2/data\" -m fast -w stop >/dev/null 2>&1; rm -rf \"$2\"";

/// How a server is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tls {
    /// It knows no TLS.
    Off,
    /// By TLS too, with a certificate for this machine.
    Here,
    /// By TLS too, with a certificate for another one.
    Elsewhere,
}

/// A running server; it is stopped when this is dropped.
pub(crate) struct Server {
    port: u16,
    directory: PathBuf,
    programs: PathBuf,
    tls: Tls,
    watchman: Child,
    /// What keeps the watchman waiting.
    alive: Option<ChildStdin>,
}

impl Server {
    /// Makes a server and starts it.
    pub(crate) fn make(tls: Tls) -> Result<Self, String> {
        let programs = programs()?;
        let directory = std::env::temp_dir().join(format!("diptych-postgres-{}", std::process::id()));
        run(as_server_user("mkdir").args(["-m", "700"]).arg(&directory))?;
        let mut watchman = as_server_user("sh")
            .args(["-c", WATCHMAN, "sh"])
            .args([&programs, &directory])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot watch over PostgreSQL: {error}"))?;
        let alive = watchman.stdin.take();
        let server = Self { port: free_port()?, directory, programs, tls, watchman, alive };
        if tls != Tls::Off {
            certificates::make(&server.directory, tls)?;
        }
        let mut make = as_server_user(server.programs.join("initdb"));
        make.arg("-D").arg(server.data()).args(["-U", DATABASE_USER, "--auth=trust", "--encoding=UTF8"]);
        run(make.args(["--locale=C.UTF-8", "--no-sync", "--no-instructions"]).stdout(Stdio::null()))?;
        server.start()?;
        Ok(server)
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) fn start(&self) -> Result<(), String> {
        let mut start = as_server_user(self.programs.join("pg_ctl"));
        start.arg("-D").arg(self.data()).arg("-l").arg(self.directory.join("log")).args(["-w", "-o"]);
        run(start.arg(self.options()).arg("start").stdout(Stdio::null()))
    }

    /// Stops it as a failing machine would: every connection ends, nothing is put in order.
    pub(crate) fn stop_at_once(&self) -> Result<(), String> {
        let mut stop = as_server_user(self.programs.join("pg_ctl"));
        stop.arg("-D").arg(self.data()).args(["-m", "immediate", "-w", "stop"]);
        run(stop.stdout(Stdio::null()))
    }

    /// Where tests reach it.
    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    /// Commands that ask it as the superuser.
    pub(crate) fn psql(&self) -> impl Fn() -> Command + Send + 'static {
        let (program, url) = (self.programs.join("psql"), self.url());
        move || {
            let mut psql = Command::new(&program);
            psql.args(["--no-psqlrc", "--dbname", &url]).stdin(Stdio::null());
            psql
        }
    }

    /// Where it listens on this machine.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it keeps: the database, its log, and whatever goes away with it.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn options(&self) -> String {
        let mut options = options(self.port, &self.directory);
        if self.tls != Tls::Off {
            options.push_str(&certificates::settings(&self.directory));
        }
        options
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.alive.take());
        // A watchman that cannot be waited for does its work all the same.
        let _ = self.watchman.wait();
    }
}

/// The URL of a server of this machine, and of what stands before it.
pub(crate) fn url(port: u16) -> String {
    format!("postgres://{DATABASE_USER}@127.0.0.1:{port}/postgres")
}

/// The directory of the newest programs that are new enough; root installs them where there are none.
fn programs() -> Result<PathBuf, String> {
    if let Some(found) = newest(Path::new(VERSIONS)) {
        return Ok(found);
    }
    if !is_root() {
        return Err(format!(
            "PostgreSQL {VERSION_MIN} or newer is not installed under `{VERSIONS}`: run `sudo sh -c \
             '{INSTALL}'`, or set DIPTYCH_POSTGRES_URL to a server on which tests may make databases"
        ));
    }
    install(INSTALL)?;
    newest(Path::new(VERSIONS)).ok_or_else(|| format!("`{INSTALL}` brought no version from {VERSION_MIN} on"))
}

fn newest(versions: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(versions).ok()?;
    let version = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().parse::<u32>().ok();
    let numbers = entries.flatten().filter_map(version).filter(|version| *version >= VERSION_MIN);
    let programs = |version: u32| versions.join(version.to_string()).join("bin");
    let complete = |version: &u32| programs(*version).join("initdb").is_file();
    numbers.filter(complete).max().map(programs)
}

/// Runs a command that installs what tests need; only root can.
pub(crate) fn install(command: &str) -> Result<(), String> {
    println!("postgres: {command}");
    run(Command::new("sh").args(["-c", command]).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn options(port: u16, directory: &Path) -> String {
    let mut options = format!("-p {port} -k {}", directory.display());
    for setting in SETTINGS {
        options.push_str(" -c ");
        options.push_str(setting);
    }
    options
}

/// A command as a user under whom PostgreSQL runs: root becomes another one.
pub(crate) fn as_server_user(program: impl AsRef<OsStr>) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", SERVER_USER, "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    // The user may not enter the directory of this program.
    command.current_dir("/").stdin(Stdio::null());
    command
}

pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let said = format!("{command:?}");
    if succeeds(command)? { Ok(()) } else { Err(format!("{said} failed")) }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no port is free: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_is_new_enough_is_used() {
        let versions = std::env::temp_dir().join(format!("xtask-versions-{}", std::process::id()));
        for version in ["9.6", "14", "15", "17", "notes"] {
            std::fs::create_dir_all(versions.join(version).join("bin")).expect("a directory");
        }
        assert_eq!(newest(&versions), None);
        for version in ["14", "15"] {
            std::fs::write(versions.join(version).join("bin/initdb"), "").expect("a file");
        }
        assert_eq!(newest(&versions), Some(versions.join("15/bin")));
        std::fs::remove_dir_all(&versions).expect("a directory that can be removed");
    }

    #[test]
    fn the_server_is_as_durable_as_in_production() {
        let options = options(5_433, Path::new("/there"));
        assert!(options.starts_with("-p 5433 -k /there -c "), "{options}");
        assert!(options.contains(" -c fsync=on"), "{options}");
        assert!(!options.contains("synchronous_commit"), "{options}");
    }
}
