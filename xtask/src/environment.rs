//! What tests find around them: a private PostgreSQL, a pooler before it, this program to make more servers
//! with, the program of a server of documents, and data that is not the project's. Tells it by variables;
//! knows no single test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pooler;
use crate::postgres::{Server, Tls};
use crate::pouchdb;
use crate::process::succeeds;
use crate::sweeper::Sweeper;

/// Where a server is on which tests may make databases. Whoever sets it keeps their own server.
pub(crate) const URL: &str = "DIPTYCH_POSTGRES_URL";

/// Where a pooler in transaction mode is that leads to the same server.
const POOLER_URL: &str = "DIPTYCH_PGBOUNCER_URL";

/// The program of a server that speaks the CouchDB protocol: tests of documents start it themselves.
const POUCHDB_SERVER: &str = "DIPTYCH_POUCHDB_SERVER";

/// This program, for tests that need a server they may stop: see `server`.
const XTASK: &str = "DIPTYCH_XTASK";

/// A log of fines that may not be copied into the project.
pub(crate) const FINES: &str = "DIPTYCH_FINES";

/// Where that log is, seen from the checkout, on a machine that has it.
pub(crate) const FINES_FOLDER: &str = "../shared/data";
const FINES_FILE: &str = "../shared/data/road_traffic_fines.csv.gz";

/// What was started, which ends when this is dropped, and what could not be.
pub(crate) struct Environment {
    variables: Vec<(&'static str, OsString)>,
    missing: Vec<String>,
    /// It ends before the server does.
    _sweeper: Option<Sweeper>,
    _server: Option<Server>,
}

impl Environment {
    /// Starts what the caller's environment does not name.
    pub(crate) fn start(root: &Path) -> Self {
        let mut made = Self { variables: Vec::new(), missing: Vec::new(), _sweeper: None, _server: None };
        match std::env::current_exe() {
            Ok(program) => made.variables.push((XTASK, program.into())),
            Err(error) => made.missing.push(format!("the tests that stop a server could not run: {error}")),
        }
        if !is_set(POUCHDB_SERVER) {
            match pouchdb::program(root) {
                Ok(program) => made.variables.push((POUCHDB_SERVER, program.into())),
                Err(why) => made.missing.push(format!("the tests of documents could not run: {why}")),
            }
        }
        made.variables.extend(fines(root).map(|fines| (FINES, fines.into())));
        if is_set(URL) {
            if !is_set(POOLER_URL) {
                let why = format!("{URL} names a server of yours: set {POOLER_URL} to a pooler before it");
                made.missing.push(without_pooler(&why));
            }
            return made;
        }
        match Server::make(Tls::Off) {
            Ok(server) => made.around(server),
            Err(why) => made.missing.push(format!("the tests of the PostgreSQL store could not run: {why}")),
        }
        made
    }

    fn around(&mut self, server: Server) {
        self.variables.push((URL, server.url().into()));
        if !is_set(POOLER_URL) {
            match pooler::start(&server) {
                Ok(url) => self.variables.push((POOLER_URL, url.into())),
                Err(why) => self.missing.push(without_pooler(&why)),
            }
        }
        self._sweeper = Some(Sweeper::over(server.psql()));
        self._server = Some(server);
    }

    /// What a command of tests is told.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// What cannot be tested here, in words.
    pub(crate) fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Whether tests will find the log of fines.
    pub(crate) fn has_fines(&self) -> bool {
        is_set(FINES) || self.variables.iter().any(|(name, _)| *name == FINES)
    }
}

/// The log of fines, where the caller's environment does not name it and this machine has it.
pub(crate) fn fines(root: &Path) -> Option<PathBuf> {
    let file = root.join(FINES_FILE);
    (!is_set(FINES) && file.is_file()).then_some(file)
}

/// A server alone: none if the caller's environment names one.
pub(crate) fn server() -> Result<Option<Server>, String> {
    if is_set(URL) { Ok(None) } else { Server::make(Tls::Off).map(Some) }
}

/// Runs a command with all of it around.
pub(crate) fn around(root: &Path, arguments: &[String]) -> Result<bool, String> {
    let own = arguments.strip_prefix(&["--".to_owned()]).unwrap_or(arguments);
    let Some((program, rest)) = own.split_first() else {
        return Err("name a command that needs a server: `cargo xtask postgres -- COMMAND`".to_owned());
    };
    let environment = Environment::start(root);
    for missing in environment.missing() {
        eprintln!("postgres: {missing}");
    }
    let mut command = Command::new(program);
    command.current_dir(root).args(rest);
    environment.tell(&mut command);
    Ok(succeeds(&mut command)? && environment.missing().is_empty())
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}

fn without_pooler(why: &str) -> String {
    format!("the tests of the PostgreSQL store through a pooler could not run: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_must_be_named() {
        let refused = around(Path::new("."), &["--".to_owned()]).expect_err("nothing to run");
        assert!(refused.contains("cargo xtask postgres"), "{refused}");
    }
}
