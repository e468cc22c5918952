//! Takes away what test programs that have ended left in the private server: each keeps a database or a
//! schema for every test, gigabytes over a whole run. Knows them by their names alone, and touches nothing
//! of a program that still runs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long what an ended program left may lie there.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What tests make, named `WORD_PROCESS_NUMBER` after the process that made it, with the statement that
/// takes it away.
const LEFT: &str = "\
    SELECT (regexp_match(datname, '_([0-9]+)_[0-9]+$'))[1], \
        format('DROP DATABASE IF EXISTS %I WITH (FORCE)', datname) \
    FROM pg_database WHERE datname ~ '_[0-9]+_[0-9]+$' \
    UNION ALL SELECT (regexp_match(nspname, '_([0-9]+)_[0-9]+$'))[1], \
        format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) \
    FROM pg_namespace WHERE nspname ~ '_[0-9]+_[0-9]+$' AND nspname !~ '^pg_'";

/// A connection that still uses a schema must not hold the others up.
const PATIENCE: &str = "SET lock_timeout = '2s'; SET client_min_messages = warning;";

/// Sweeps until it is dropped.
pub(crate) struct Sweeper {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// Sweeps a server that `psql` reaches.
    pub(crate) fn over(psql: impl Fn() -> Command + Send + 'static) -> Self {
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            while ended.recv_timeout(LOOK_AGAIN) == Err(RecvTimeoutError::Timeout) {
                // What could not be taken away is found again next time.
                if let Err(why) = sweep(psql(), psql()) {
                    eprintln!("postgres: what ended tests left stays there: {why}");
                }
            }
        });
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.end.take());
        // A thread that has panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Takes away what there is now, by two connections in turn.
fn sweep(mut look: Command, mut act: Command) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot run psql: {error}");
    let found = look.args(["-At", "-F", " ", "-c", LEFT]).output().map_err(failed)?;
    if !found.status.success() {
        return Err(String::from_utf8_lossy(&found.stderr).trim().to_owned());
    }
    let found = String::from_utf8_lossy(&found.stdout);
    let statements = of_the_ended(&found, runs);
    if statements.is_empty() {
        return Ok(());
    }
    // Each statement stands alone: one that fails does not stop the others.
    let mut acting = act.arg("-q").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(failed)?;
    let told = acting.stdin.take().map_or(Ok(()), |mut input| {
        writeln!(input, "{PATIENCE}")?;
        statements.iter().try_for_each(|statement| writeln!(input, "{statement};"))
    });
    let ended = acting.wait().map_err(failed)?;
    told.map_err(failed)?;
    if ended.success() { Ok(()) } else { Err(format!("psql ended with {ended}")) }
}

/// The statements of those lines whose process has ended.
fn of_the_ended(lines: &str, runs: impl Fn(u32) -> bool) -> Vec<&str> {
    let ended = |line: &&str| line.parse().is_ok_and(|process| !runs(process));
    let lines = lines.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(process, _)| ended(process)).map(|(_, statement)| statement).collect()
}

fn runs(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{Server, Tls};

    #[test]
    fn what_an_ended_process_left_goes_and_the_rest_stays() {
        let mut gone = Command::new("true").spawn().expect("a process");
        gone.wait().expect("it ends");
        let (gone, here) = (gone.id(), std::process::id());
        let server = Server::make(Tls::Off).expect("a server");
        let psql = server.psql();
        let asked = |statement: &str| {
            let output = psql().args(["-At", "-c", statement]).output().expect("psql runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
        };
        for process in [gone, here] {
            asked(&format!("CREATE DATABASE test_{process}_0"));
            asked(&format!("CREATE SCHEMA orders_{process}_1 CREATE TABLE kept (id integer)"));
        }
        asked("CREATE SCHEMA somebody_elses_2");
        sweep(psql(), psql()).expect("it sweeps");
        let left = asked(
            "SELECT datname FROM pg_database WHERE datname LIKE 'test%' UNION ALL \
             SELECT nspname FROM pg_namespace WHERE nspname ~ '^(orders|somebody)' ORDER BY 1",
        );
        let kept = [format!("orders_{here}_1"), "somebody_elses_2".to_owned(), format!("test_{here}_0")];
        assert_eq!(left, kept);
    }

    #[test]
    fn a_line_that_names_no_process_is_left_alone() {
        let lines = "7 DROP a\n8 DROP b\n99999999999 DROP c\n DROP d\n";
        assert_eq!(of_the_ended(lines, |process| process == 8), ["DROP a"]);
    }
}
