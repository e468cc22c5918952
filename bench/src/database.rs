//! Where measures on PostgreSQL happen: in a database of their own on the server that the environment names.

use crate::Outcome;
use crate::probe::fdatasync_per_second;
use std::ops::Deref;
use std::path::PathBuf;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

/// Names the server and who may make databases on it; `cargo xtask bench` starts one and sets it.
pub(crate) const URL: &str = "DIPTYCH_POSTGRES_URL";

const SELECT_SETTINGS: &str = "SELECT current_setting('server_version'), current_setting('fsync'), \
    current_setting('synchronous_commit'), current_setting('shared_buffers'), \
    current_setting('max_wal_size')";

/// An empty database for one measure.
pub(crate) struct Database {
    url: String,
}

/// A connection whose other half runs as a task.
pub(crate) struct Connected {
    client: Client,
    task: JoinHandle<()>,
}

/// The server that the environment names.
pub(crate) fn server() -> Option<String> {
    std::env::var(URL).ok().filter(|url| !url.is_empty())
}

/// Does some work in an empty database, which is gone afterwards.
pub(crate) async fn within<T>(
    server: &str,
    name: &str,
    work: impl AsyncFnOnce(&Database) -> Outcome<T>,
) -> Outcome<T> {
    let name = format!("bench_{name}_{}", std::process::id());
    let admin = connect(server).await?;
    admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
    admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
    drop(admin);
    let done = work(&Database { url: url_of(server, &name)? }).await;
    let admin = connect(server).await?;
    admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
    done
}

/// What the server is, for the report.
pub(crate) async fn describe(server: &str) -> Outcome<String> {
    let row = connect(server).await?.query_one(SELECT_SETTINGS, &[]).await?;
    let [version, fsync, commit, buffers, wal]: [String; 5] = std::array::from_fn(|column| row.get(column));
    let version = version.split(' ').next().unwrap_or_default();
    Ok(format!(
        "PostgreSQL {version}, fsync {fsync}, synchronous_commit {commit}, shared_buffers {buffers}, \
         max_wal_size {wal}"
    ))
}

/// The disk of a private server, which is where files that pass are kept. A server from elsewhere has its
/// own.
pub(crate) fn probe() -> Outcome<f64> {
    let directory: PathBuf = std::env::temp_dir().join(format!("diptych-bench-probe-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let probed = fdatasync_per_second(&directory);
    std::fs::remove_dir_all(&directory)?;
    probed
}

impl Database {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn connect(&self) -> Outcome<Connected> {
        connect(&self.url).await
    }
}

impl Deref for Connected {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for Connected {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(url: &str) -> Outcome<Connected> {
    let (client, connection) = url.parse::<Config>()?.connect(NoTls).await?;
    let task = tokio::spawn(async move {
        // Whoever uses the client meets the error.
        let _ = connection.await;
    });
    Ok(Connected { client, task })
}

/// The same server, another database: the path of a URL.
fn url_of(server: &str, name: &str) -> Outcome<String> {
    let (scheme, rest) = server.split_once("://").ok_or_else(|| format!("{URL} holds no URL"))?;
    let (rest, parameters) = rest.split_once('?').map_or((rest, None), |(rest, all)| (rest, Some(all)));
    let authority = rest.split('/').next().unwrap_or_default();
    let parameters = parameters.map(|all| format!("?{all}")).unwrap_or_default();
    Ok(format!("{scheme}://{authority}/{name}{parameters}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_the_path_of_the_servers_url() {
        for (server, expected) in [
            ("postgres://me@host:5433/postgres", "postgres://me@host:5433/bench"),
            ("postgres://me@host", "postgres://me@host/bench"),
            ("postgres://host/log?sslmode=disable", "postgres://host/bench?sslmode=disable"),
        ] {
            assert_eq!(url_of(server, "bench").expect("it is a URL"), expected);
        }
        assert!(url_of("host", "bench").is_err());
    }
}
