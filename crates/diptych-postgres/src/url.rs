//! What a store's URL says that the client does not know: whose certificates are trusted, and the modes of
//! `sslmode` by which other programs ask for what is always done here.

use diptych_core::{Code, Fault};
use std::path::PathBuf;

/// A URL for the client, and what was taken out of it.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) url: String,
    /// Whether it says if TLS is wanted.
    pub(crate) names_tls: bool,
    /// A file of certificates that TLS trusts.
    pub(crate) root_certificates: Option<PathBuf>,
}

impl Address {
    /// Takes out what the client does not know.
    pub(crate) fn of(text: &str) -> Result<Self, Fault> {
        let (base, parameters) = text.split_once('?').unwrap_or((text, ""));
        let (mut kept, mut names_tls, mut root_certificates) = (Vec::new(), false, None);
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslrootcert", path)) => root_certificates = Some(PathBuf::from(decoded(path)?)),
                // Whatever encrypts here also checks who answers.
                Some(("sslmode", mode)) => {
                    names_tls = true;
                    let verifies = matches!(mode, "verify-ca" | "verify-full");
                    kept.push(format!("sslmode={}", if verifies { "require" } else { mode }));
                }
                _ => kept.push(parameter.to_owned()),
            }
        }
        let url = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
        Ok(Self { url, names_tls, root_certificates })
    }
}

/// A text without its escapes, `%20` for a space.
fn decoded(text: &str) -> Result<String, Fault> {
    let fault = || Fault::permanent(Code::ServiceInvalid, format!("`sslrootcert={text}` is not a path"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(fault()) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| fault())?);
    }
    String::from_utf8(bytes).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, url: &str, names_tls: bool, root_certificates: Option<&str>) {
        let expected =
            Address { url: url.to_owned(), names_tls, root_certificates: root_certificates.map(Into::into) };
        assert_eq!(Address::of(text).unwrap(), expected);
    }

    #[test]
    fn what_the_client_does_not_know_is_taken_out() {
        check("postgres://me@host/log", "postgres://me@host/log", false, None);
        check(
            "postgres://me@host/log?sslmode=verify-full&sslrootcert=/etc/a%20b.pem&connect_timeout=3",
            "postgres://me@host/log?sslmode=require&connect_timeout=3",
            true,
            Some("/etc/a b.pem"),
        );
        check("postgres://h/log?sslrootcert=ca.pem", "postgres://h/log", false, Some("ca.pem"));
        check("postgres://h/log?sslmode=disable", "postgres://h/log?sslmode=disable", true, None);
    }

    #[test]
    fn a_path_that_cannot_be_decoded_is_refused() {
        for path in ["%", "%2", "%zz", "%ff"] {
            let refused = Address::of(&format!("postgres://h/log?sslrootcert={path}")).unwrap_err();
            assert_eq!(refused.code(), Code::ServiceInvalid, "{path}");
        }
    }
}
