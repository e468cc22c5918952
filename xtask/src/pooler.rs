//! A private pgbouncer before the private PostgreSQL: a pooler in transaction mode, with so few connections
//! that clients take each other's. It goes away with the server.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::postgres::{self, DATABASE_USER, POOLER_PROCESS, Server, as_server_user, free_port, is_root, run};

const INSTALL: &str = "apt-get update && apt-get install -y --no-install-recommends pgbouncer";

/// Where the package puts it, which is in the path of root only.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// How long it may take until it listens.
const START_MAX: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Starts it before a server; answers the URL that leads through it.
pub(crate) fn start(server: &Server) -> Result<String, String> {
    let program = program()?;
    let (port, directory) = (free_port()?, server.directory());
    for (name, text) in [
        ("pooler.ini", configuration(port, server.port(), directory)),
        ("pooler.users", format!("\"{DATABASE_USER}\" \"\"\n")),
    ] {
        let mut write = as_server_user("sh");
        write.args(["-c", "printf %s \"$2\" > \"$1\"", "sh"]).arg(directory.join(name)).arg(text);
        run(&mut write)?;
    }
    run(as_server_user(program).args(["-d", "-q"]).arg(directory.join("pooler.ini")))?;
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if begun.elapsed() > START_MAX {
            return Err(format!("pgbouncer does not listen, see `{}`", directory.display()));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(postgres::url(port))
}

/// Two connections for each database and role, used in turn: what a session was told or has prepared is
/// missed at once by whoever counts on it.
fn configuration(port: u16, server: u16, directory: &Path) -> String {
    let place = directory.display();
    format!(
        "[databases]\n\
         * = host=127.0.0.1 port={server}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = trust\n\
         auth_file = {place}/pooler.users\n\
         auth_user = {DATABASE_USER}\n\
         pool_mode = transaction\n\
         default_pool_size = 2\n\
         server_round_robin = 1\n\
         server_idle_timeout = 5\n\
         max_client_conn = 500\n\
         query_wait_timeout = 60\n\
         logfile = {place}/pooler.log\n\
         pidfile = {place}/{POOLER_PROCESS}\n"
    )
}

/// The program; root installs it where there is none.
fn program() -> Result<PathBuf, String> {
    let program = PathBuf::from(PROGRAM);
    if !program.is_file() {
        if !is_root() {
            return Err(format!("pgbouncer is not installed: run `sudo sh -c '{INSTALL}'`"));
        }
        postgres::install(INSTALL)?;
    }
    if program.is_file() { Ok(program) } else { Err(format!("`{INSTALL}` brought no `{PROGRAM}`")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_few_and_belong_to_nobody() {
        let text = configuration(6_543, 5_433, Path::new("/there"));
        for line in [
            "* = host=127.0.0.1 port=5433",
            "listen_port = 6543",
            "pool_mode = transaction",
            "default_pool_size = 2",
            "server_round_robin = 1",
            "pidfile = /there/pooler.pid",
        ] {
            assert!(text.lines().any(|held| held == line), "{line} in {text}");
        }
    }
}
