//! A private server for one test that may stop it: obeys the lines of its standard input until that ends,
//! and takes the server away with it.

use std::io::{BufRead, Write};

use crate::certificates::{AUTHORITY, STRANGER, file};
use crate::postgres::{Server, Tls};

/// Makes a server; prints its URL, and the files of two authorities where it has TLS, on one line. Then does
/// what each line says and answers `done`.
pub(crate) fn run(arguments: &[String]) -> Result<bool, String> {
    let tls = tls(arguments)?;
    let server = Server::make(tls)?;
    let mut told = server.url();
    if tls != Tls::Off {
        for authority in [AUTHORITY, STRANGER] {
            told.push_str(&format!(" {}", file(server.directory(), authority).display()));
        }
    }
    say(&told)?;
    for line in std::io::stdin().lock().lines() {
        match line.map_err(|error| format!("cannot read what to do: {error}"))?.as_str() {
            "stop at once" => server.stop_at_once()?,
            "start" => server.start()?,
            other => return Err(format!("`{other}` is not understood: `stop at once` and `start` are")),
        }
        say("done")?;
    }
    Ok(true)
}

fn tls(arguments: &[String]) -> Result<Tls, String> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(Tls::Off),
        ["--tls", "here"] => Ok(Tls::Here),
        ["--tls", "elsewhere"] => Ok(Tls::Elsewhere),
        _ => Err("server takes `--tls here`, `--tls elsewhere`, or nothing".to_owned()),
    }
}

fn say(line: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    let said = writeln!(out, "{line}").and_then(|()| out.flush());
    said.map_err(|error| format!("nobody listens: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_tls_when_it_is_told() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(tls(&words("")), Ok(Tls::Off));
        assert_eq!(tls(&words("--tls here")), Ok(Tls::Here));
        assert_eq!(tls(&words("--tls elsewhere")), Ok(Tls::Elsewhere));
        assert!(tls(&words("--tls")).is_err());
    }
}
