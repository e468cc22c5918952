//! How connections are opened: where to, by TLS or not, and who may write.

use crate::PostgresLimits;
use crate::fault::{OrFault, is_lost, storage};
use crate::tls::{self, Handshake};
use crate::url::Address;
use diptych_core::{Code, Fault};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The name that operators see in `pg_stat_activity`.
const APPLICATION: &str = "diptych";

/// How long a connection is silent before the network is asked whether the other end still lives.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// What PostgreSQL is told when a connection is for reading only.
const READ_ONLY: &str = "-c default_transaction_read_only=on";

/// What it is told through a connection that must be nobody else's. A pooler would keep it to itself.
const DIRECT: &str = "-c diptych.reach=direct";
const WAS_TOLD: &str = "SELECT current_setting('diptych.reach', true) = 'direct'";

/// What PostgreSQL and poolers answer to a parameter that they do not take when a connection begins.
const PARAMETER_REFUSED: &str = "08P01";

/// Why a URL is refused that does not lead where it was said to.
const POOLED: &str = "the URL leads through a pooler, which keeps settings from PostgreSQL: name a direct \
    URL to listen on, or look for appends (`--notify-url`)";

/// Whether a connection may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// It may.
    Write,
    /// PostgreSQL refuses every write through it: in the whole session, or, where a pooler shares sessions
    /// out, in each transaction, which whoever uses the connection begins as one that reads.
    Read,
    /// As the role in the URL may: a role of its own, without the privilege.
    AsTheRole,
}

/// What stands between this process and PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Nothing: what a connection prepares is there for its next transaction.
    Direct,
    /// A pooler, which may give each transaction another connection.
    Pooled,
}

/// Opens connections to one place.
pub(crate) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    access: Access,
    reach: Reach,
}

/// An open connection. Its other half runs as a task.
pub(crate) struct Opened {
    client: Client,
}

/// The half of a connection that does the talking, for whoever wants to hear what PostgreSQL says unasked.
pub(crate) trait Talking: Send + 'static {
    /// The next thing said; none when the connection has ended.
    fn poll_said(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<AsyncMessage, tokio_postgres::Error>>>;
}

impl<T> Talking for Connection<Socket, T>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    fn poll_said(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<AsyncMessage, tokio_postgres::Error>>> {
        self.poll_message(context)
    }
}

impl Connector {
    /// Reads a URL; opens nothing yet.
    pub(crate) fn new(
        url: &str,
        access: Access,
        reach: Reach,
        root_certificates: Option<&Path>,
        limits: &PostgresLimits,
    ) -> Result<Self, Fault> {
        let invalid = |message: &str| Fault::permanent(Code::ServiceInvalid, message);
        let address = Address::of(url)?;
        let mut config: Config = address
            .url
            .parse()
            .map_err(|error: Error| invalid("the store's URL cannot be understood").because(error))?;
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION);
        }
        config.connect_timeout(limits.connect_timeout);
        config.keepalives_idle(KEEPALIVE_IDLE);
        match (reach, access) {
            (Reach::Direct, Access::Write) => add_option(&mut config, DIRECT),
            (Reach::Direct, Access::Read) => add_option(&mut config, READ_ONLY),
            (Reach::Pooled, _) if config.get_options().is_some() => {
                let message =
                    "`options` in a URL do not pass a pooler: set them for the role (ALTER ROLE … SET)";
                return Err(invalid(message));
            }
            (Reach::Direct, Access::AsTheRole) | (Reach::Pooled, _) => {}
        }
        if !address.names_tls {
            // What leaves this machine is encrypted and the other end is checked, unless it is told
            // otherwise.
            let mode = if is_here(&config) { SslMode::Disable } else { SslMode::Require };
            config.ssl_mode(mode);
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ if config.get_hosts().is_empty() => {
                return Err(invalid("the URL names no host, whose certificate TLS would check"));
            }
            _ => Some(tls::trusting(address.root_certificates.as_deref().or(root_certificates))?),
        };
        Ok(Self { config, tls, access, reach })
    }

    /// Whether PostgreSQL keeps a connection from writing only inside a transaction that says so.
    pub(crate) fn reads_by_transaction(&self) -> bool {
        self.access == Access::Read && self.reach == Reach::Pooled
    }

    /// Whether another connector leads to the same database as the same role.
    pub(crate) fn is_the_role_of(&self, other: &Self) -> bool {
        let who =
            |config: &Config| (config.get_user().map(str::to_owned), config.get_dbname().map(str::to_owned));
        who(&self.config) == who(&other.config)
    }

    /// The role that the URL names.
    pub(crate) fn role(&self) -> Option<String> {
        self.config.get_user().map(str::to_owned)
    }

    /// Opens a connection whose other half runs as a task until the connection ends.
    pub(crate) async fn open(&self) -> Result<Opened, Fault> {
        let (client, mut talking) = self.open_talking().await?;
        tokio::spawn(async move {
            while let Some(said) = std::future::poll_fn(|context| talking.poll_said(context)).await {
                match said {
                    Ok(AsyncMessage::Notice(notice)) => tracing::debug!(%notice, "the database says"),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "a connection to the database ended");
                        return;
                    }
                }
            }
        });
        Ok(Opened { client })
    }

    /// Opens a connection whose other half the caller drives.
    pub(crate) async fn open_talking(&self) -> Result<(Client, Box<dyn Talking>), Fault> {
        match &self.tls {
            Some(tls) => {
                let offered = Arc::new(AtomicBool::new(false));
                let connected = self.config.connect(Handshake::new(tls, &offered)).await;
                let (client, talking) =
                    connected.map_err(|error| self.unopened(error, offered.load(Ordering::Relaxed)))?;
                Ok((client, Box::new(talking)))
            }
            None => {
                let connected = self.config.connect(NoTls).await;
                let (client, talking) = connected.map_err(|error| self.unopened(error, true))?;
                Ok((client, Box::new(talking)))
            }
        }
    }

    /// Why a connection could not be opened, and what to do. `offered`: whether TLS was, where it is wanted.
    fn unopened(&self, error: Error, offered: bool) -> Fault {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => self.config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
        };
        let fault = match error.code() {
            Some(state) if state.code() == PARAMETER_REFUSED && self.config.get_options().is_some() => {
                Fault::permanent(Code::ServiceInvalid, POOLED)
            }
            Some(_) => return storage(error),
            None => match tls::refused(&error, &host) {
                Some(fault) => fault,
                None if is_lost(&error) => {
                    let message = format!("the database at `{host}` cannot be reached");
                    Fault::transient(Code::Storage, message)
                }
                None if !offered && self.config.get_ssl_mode() == SslMode::Require => {
                    let message = format!(
                        "`{host}` offers no TLS, which is required: switch it on there, or say \
                         `sslmode=disable` in the URL where nobody else can listen"
                    );
                    Fault::permanent(Code::Storage, message)
                }
                None => return storage(error),
            },
        };
        fault.because(error)
    }
}

/// Refuses a connection that was said to lead to PostgreSQL directly and does not: what it prepares or
/// listens to would belong to somebody else after the next transaction.
pub(crate) async fn must_be_direct(client: &Client) -> Result<(), Fault> {
    let row = client.query_typed_one(WAS_TOLD, &[]).await.or_fault()?;
    match row.try_get::<_, Option<bool>>(0).or_fault()? {
        Some(true) => Ok(()),
        _ => Err(Fault::permanent(Code::ServiceInvalid, POOLED)),
    }
}

fn add_option(config: &mut Config, option: &str) {
    let options = match config.get_options() {
        Some(options) => format!("{options} {option}"),
        None => option.to_owned(),
    };
    config.options(options);
}

impl Deref for Opened {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Opened {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// Whether every host of a URL is this machine.
fn is_here(config: &Config) -> bool {
    let here = |host: &Host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    config.get_hosts().iter().all(here) && config.get_hostaddrs().iter().all(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(url: &str, access: Access, reach: Reach) -> Result<Connector, Fault> {
        Connector::new(url, access, reach, None, &PostgresLimits::default())
    }

    #[track_caller]
    fn check(url: &str, expected: SslMode) {
        let connector = connector(url, Access::Write, Reach::Direct).unwrap();
        assert_eq!(connector.config.get_ssl_mode(), expected, "{url}");
        assert_eq!(connector.tls.is_some(), expected != SslMode::Disable, "{url}");
    }

    #[test]
    fn what_leaves_this_machine_is_encrypted_unless_told_otherwise() {
        check("postgres://me@db.example/log", SslMode::Require);
        check("postgres://me@localhost/log", SslMode::Disable);
        check("postgres://me@127.0.0.1:5433/log", SslMode::Disable);
        check("postgres://me@db.example/log?sslmode=disable", SslMode::Disable);
        check("postgres://me@localhost/log?sslmode=require", SslMode::Require);
        check("postgres://me@localhost/log?sslmode=verify-full", SslMode::Require);
    }

    #[test]
    fn a_reading_connection_is_read_only_from_the_start() {
        let url = "postgres://me@localhost/log?options=-c%20work_mem%3D4MB";
        let reader = connector(url, Access::Read, Reach::Direct).unwrap();
        let expected = "-c work_mem=4MB -c default_transaction_read_only=on";
        assert_eq!(reader.config.get_options(), Some(expected));
        assert!(!reader.reads_by_transaction());
    }

    #[test]
    fn through_a_pooler_nothing_is_told_that_it_would_keep_to_itself() {
        let reader = connector("postgres://me@localhost/log", Access::Read, Reach::Pooled).unwrap();
        assert_eq!(reader.config.get_options(), None);
        assert!(reader.reads_by_transaction());
        let url = "postgres://me@localhost/log?options=-c%20work_mem%3D4MB";
        let refused = connector(url, Access::Write, Reach::Pooled).err().unwrap();
        assert_eq!(refused.code(), Code::ServiceInvalid);
    }

    #[test]
    fn a_url_that_cannot_be_read_is_refused_without_its_password() {
        for url in ["postgres://me:secret@host:port/log", "postgres://me:secret@/log?hostaddr=192.0.2.1"] {
            let refused = connector(url, Access::Write, Reach::Direct).err().unwrap();
            assert_eq!(refused.code(), Code::ServiceInvalid);
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
    }
}
