//! How connections are opened: where to, by TLS or not, and who may write.

use crate::PostgresLimits;
use crate::fault::storage;
use diptych_core::{Code, Fault};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The name that operators see in `pg_stat_activity`.
const APPLICATION: &str = "diptych";

/// How long a connection is silent before the network is asked whether the other end still lives.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// What PostgreSQL is told when a connection is for reading only.
const READ_ONLY: &str = "-c default_transaction_read_only=on";

/// Whether a connection may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// It may.
    Write,
    /// PostgreSQL refuses every write through it.
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
        root_certificates: Option<&Path>,
        limits: &PostgresLimits,
    ) -> Result<Self, Fault> {
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            Fault::permanent(Code::ServiceInvalid, "the store's URL cannot be understood").because(error)
        })?;
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION);
        }
        config.connect_timeout(limits.connect_timeout);
        config.keepalives_idle(KEEPALIVE_IDLE);
        if access == Access::Read {
            let options = match config.get_options() {
                Some(options) => format!("{options} {READ_ONLY}"),
                None => READ_ONLY.to_owned(),
            };
            config.options(options);
        }
        if !url.contains("sslmode=") {
            // What leaves this machine is encrypted and the other end is checked, unless it is told
            // otherwise.
            let mode = if is_here(&config) { SslMode::Disable } else { SslMode::Require };
            config.ssl_mode(mode);
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(MakeRustlsConnect::new(tls(root_certificates)?)),
        };
        Ok(Self { config, tls })
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
                let (client, talking) = self.config.connect(tls.clone()).await.map_err(storage)?;
                Ok((client, Box::new(talking)))
            }
            None => {
                let (client, talking) = self.config.connect(NoTls).await.map_err(storage)?;
                Ok((client, Box::new(talking)))
            }
        }
    }
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

/// TLS by rustls over ring, trusting a file of certificates or the system's.
fn tls(root_certificates: Option<&Path>) -> Result<ClientConfig, Fault> {
    let fault = |message: &str| Fault::permanent(Code::ServiceInvalid, message);
    let mut roots = RootCertStore::empty();
    match root_certificates {
        Some(path) => {
            let unreadable = || fault("the file of root certificates cannot be read");
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| unreadable().because(error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unreadable().because(error))?;
                roots.add(certificate).map_err(|error| unreadable().because(error))?;
            }
        }
        None => {
            // Certificates of the system that cannot be read are left out; the others still count.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault("TLS cannot be set up").because(error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: SslMode) {
        let connector = Connector::new(url, Access::Write, None, &PostgresLimits::default()).unwrap();
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
    }

    #[test]
    fn a_reading_connection_is_read_only_from_the_start() {
        let url = "postgres://me@localhost/log?options=-c%20work_mem%3D4MB";
        let limits = PostgresLimits::default();
        let reader = Connector::new(url, Access::Read, None, &limits).unwrap();
        let expected = "-c work_mem=4MB -c default_transaction_read_only=on";
        assert_eq!(reader.config.get_options(), Some(expected));
    }

    #[test]
    fn a_url_that_cannot_be_read_is_refused_without_its_password() {
        let limits = PostgresLimits::default();
        let refused = Connector::new("postgres://me:secret@host:port/log", Access::Write, None, &limits);
        let refused = refused.err().unwrap();
        assert_eq!(refused.code(), Code::ServiceInvalid);
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
}
