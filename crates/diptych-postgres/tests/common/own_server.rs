//! A PostgreSQL of one test's own, which may stop it: made and removed by the program that `DIPTYCH_XTASK`
//! names.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running server. It ends with this, also when the test fails.
pub struct OwnServer {
    pub url: String,
    /// Certificates of the authority that has made the server's, and of another one.
    pub authorities: Vec<PathBuf>,
    process: Child,
    /// Closed when this is dropped, upon which the program takes the server away.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl OwnServer {
    /// Makes one without TLS.
    pub fn plain() -> Self {
        Self::with(&[])
    }

    /// Makes one with a certificate for `here` or for `elsewhere`.
    pub fn with_certificate_for(place: &str) -> Self {
        Self::with(&["--tls", place])
    }

    fn with(arguments: &[&str]) -> Self {
        let program = std::env::var_os("DIPTYCH_XTASK").unwrap_or_else(|| {
            panic!("DIPTYCH_XTASK names no program that makes servers: run `cargo xtask test`, which does")
        });
        let mut command = Command::new(program);
        command.arg("server").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (orders, answers) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        let mut server = Self { url: String::new(), authorities: Vec::new(), process, orders, answers };
        let told = server.hear();
        let mut words = told.split(' ');
        server.url = words.next().unwrap().to_owned();
        server.authorities = words.map(PathBuf::from).collect();
        server
    }

    /// Ends every connection at once and puts nothing in order, as a failing machine would.
    pub fn stop_at_once(&mut self) {
        self.order("stop at once");
    }

    /// Starts it again and waits until it takes connections.
    pub fn start(&mut self) {
        self.order("start");
    }

    fn order(&mut self, line: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{line}").unwrap();
        assert_eq!(self.hear(), "done", "{line}");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the program that makes servers has ended: it says why above");
        line.trim_end().to_owned()
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.orders.take());
        // A program that cannot be waited for takes its server away all the same.
        let _ = self.process.wait();
    }
}
