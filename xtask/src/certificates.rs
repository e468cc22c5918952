//! Certificates for a private server with TLS, made for one run by an authority of its own that nobody else
//! knows. Knows nothing of what is tested with them.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::postgres::{Tls, as_server_user, install, is_root, run};

const INSTALL: &str = "apt-get update && apt-get install -y --no-install-recommends openssl";

/// They are thrown away with the server.
const DAYS_VALID: &str = "2";

/// The authority of the server's certificate, as tests are to trust it.
pub(crate) const AUTHORITY: &str = "authority";

/// Another authority, which has made nothing.
pub(crate) const STRANGER: &str = "stranger";

const SERVER: &str = "server";

/// Makes two authorities, and the server's certificate by the first.
pub(crate) fn make(directory: &Path, tls: Tls) -> Result<(), String> {
    look_for_openssl()?;
    for authority in [AUTHORITY, STRANGER] {
        run(request(directory, authority).args(["-subj", &format!("/CN=diptych {authority}")]))?;
    }
    let names = match tls {
        Tls::Elsewhere => "subjectAltName=DNS:elsewhere.example",
        _ => "subjectAltName=DNS:localhost,IP:127.0.0.1",
    };
    let mut server = request(directory, SERVER);
    server.args(["-subj", "/CN=diptych server", "-addext", names]);
    server.args(["-addext", "basicConstraints=critical,CA:FALSE", "-CA"]).arg(file(directory, AUTHORITY));
    server.arg("-CAkey").arg(key(directory, AUTHORITY));
    run(&mut server)
}

/// What the server is started with, as options of its command line.
pub(crate) fn settings(directory: &Path) -> String {
    let (certificate, key) = (file(directory, SERVER), key(directory, SERVER));
    format!(" -c ssl=on -c ssl_cert_file={} -c ssl_key_file={}", certificate.display(), key.display())
}

/// The file of a certificate.
pub(crate) fn file(directory: &Path, name: &str) -> std::path::PathBuf {
    directory.join(format!("{name}.pem"))
}

fn key(directory: &Path, name: &str) -> std::path::PathBuf {
    directory.join(format!("{name}.key"))
}

/// A command that makes a key, and a certificate for it.
fn request(directory: &Path, name: &str) -> Command {
    let mut command = as_server_user("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-days", DAYS_VALID, "-keyout"]).arg(key(directory, name));
    command.arg("-out").arg(file(directory, name)).stderr(Stdio::null());
    command
}

fn look_for_openssl() -> Result<(), String> {
    if Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    if is_root() {
        return install(INSTALL);
    }
    Err(format!("the program `openssl` is not installed: run `sudo sh -c '{INSTALL}'`"))
}
