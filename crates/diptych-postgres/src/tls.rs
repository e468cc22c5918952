//! TLS by rustls: whom it trusts, and what its refusals mean to whoever set it up. Who must use it is the
//! connector's to say.

use diptych_core::{Code, Fault};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

type Inner = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;

/// Shakes hands for one connection, and remembers whether PostgreSQL has offered to: the client tells not.
pub(crate) struct Handshake {
    tls: MakeRustlsConnect,
    offered: Arc<AtomicBool>,
}

/// The same for one address.
pub(crate) struct Shaking {
    inner: Inner,
    offered: Arc<AtomicBool>,
}

impl Handshake {
    pub(crate) fn new(tls: &MakeRustlsConnect, offered: &Arc<AtomicBool>) -> Self {
        Self { tls: tls.clone(), offered: Arc::clone(offered) }
    }
}

impl MakeTlsConnect<Socket> for Handshake {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = Shaking;
    type Error = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Shaking, Self::Error> {
        let inner = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls, host)?;
        Ok(Shaking { inner, offered: Arc::clone(&self.offered) })
    }
}

impl TlsConnect<Socket> for Shaking {
    type Stream = <Inner as TlsConnect<Socket>>::Stream;
    type Error = <Inner as TlsConnect<Socket>>::Error;
    type Future = <Inner as TlsConnect<Socket>>::Future;

    fn connect(self, stream: Socket) -> Self::Future {
        self.offered.store(true, Ordering::Relaxed);
        self.inner.connect(stream)
    }
}

/// Trusts a file of certificates or the system's.
pub(crate) fn trusting(root_certificates: Option<&Path>) -> Result<MakeRustlsConnect, Fault> {
    let fault = |message: String| Fault::permanent(Code::ServiceInvalid, message);
    let mut roots = RootCertStore::empty();
    match root_certificates {
        Some(path) => {
            let unreadable =
                || fault(format!("the root certificates in `{}` cannot be read", path.display()));
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| unreadable().because(error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unreadable().because(error))?;
                roots.add(certificate).map_err(|error| unreadable().because(error))?;
            }
            if roots.is_empty() {
                return Err(fault(format!("`{}` holds no certificate", path.display())));
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
        .map_err(|error| fault("TLS cannot be set up".to_owned()).because(error))?;
    Ok(MakeRustlsConnect::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// The fault where TLS was refused, by either side; none where the error is about something else. `host` is
/// who was asked.
pub(crate) fn refused(error: &Error, host: &str) -> Option<Fault> {
    let source = error.source()?.downcast_ref::<io::Error>()?;
    let refusal = source.get_ref()?.downcast_ref::<rustls::Error>()?;
    let message = match refusal {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => format!(
            "the certificate of `{host}` is by an authority that is not trusted: name the file with that \
             authority's certificate as `sslrootcert` in the URL"
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("the certificate is not for `{host}`: name the host that it is for in the URL"),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => format!("the certificate of `{host}` has expired: give the database another one"),
        _ => format!("`{host}` does not speak TLS as this program does"),
    };
    Some(Fault::permanent(Code::Storage, message))
}
