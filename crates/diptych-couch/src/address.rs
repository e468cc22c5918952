//! Where documents are kept: `http://user:password@host:5984/prefix`, read once. Opens nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use diptych_core::{Code, Fault};
use std::fmt;

/// The port of the CouchDB protocol.
const PORT: u16 = 5984;

/// What the names of databases begin with where the address says nothing.
const PREFIX: &str = "diptych_";

/// The address of a server that speaks the CouchDB protocol, with the prefix of the databases there.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of the `authorization` header.
    pub(crate) authorization: Option<String>,
    pub(crate) prefix: String,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// Anything else than `http://[user:password@]host[:port][/prefix]`; the message never holds a password.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(refused(
                "it must begin with `http://`; put a proxy that speaks TLS before the server",
            ));
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| refused("its port must be a number"))?)
            }
            _ => (place, PORT),
        };
        if host.is_empty() {
            return Err(refused("it names no host"));
        }
        let prefix = path.trim_end_matches('/');
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        let begins = prefix.is_empty() || prefix.starts_with(|letter: char| letter.is_ascii_lowercase());
        if !begins || !prefix.chars().all(plain) {
            return Err(refused("its prefix must be of `a-z`, `0-9` and `_`, with a letter in front"));
        }
        let authorization = user.map(basic).transpose()?;
        let prefix = if prefix.is_empty() { PREFIX.to_owned() } else { prefix.to_owned() };
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port, authorization, prefix })
    }
}

/// The server without who asks.
impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(out, "http://[{}]:{}", self.host, self.port);
        }
        write!(out, "http://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}/{}", self.prefix)
    }
}

/// The header of RFC 7617.
fn basic(user: &str) -> Result<String, Fault> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let plain = |text: &str| decoded(text).ok_or_else(|| refused("name or password is not percent-encoded"));
    let pair = [plain(name)?, b":".to_vec(), plain(password)?].concat();
    Ok(format!("Basic {}", STANDARD.encode(pair)))
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    Some(bytes)
}

fn refused(why: &str) -> Fault {
    Fault::permanent(Code::ServiceInvalid, format!("the address of the document store cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).expect("an address")
    }

    #[test]
    fn an_address_says_where_and_as_whom() {
        let full = address("http://ann:p%40ss@db.example:15984/shop_");
        assert_eq!((full.host.as_str(), full.port, full.prefix.as_str()), ("db.example", 15_984, "shop_"));
        assert_eq!(full.authorization.as_deref(), Some("Basic YW5uOnBAc3M="));
        let short = address("http://localhost");
        assert_eq!((short.port, short.prefix.as_str(), short.authorization), (5984, "diptych_", None));
        assert_eq!(address("http://[::1]:7/a").to_string(), "http://[::1]:7");
    }

    #[test]
    fn a_password_is_never_shown() {
        let text = format!("{:?} {}", address("http://ann:secret@h/p"), address("http://ann:secret@h/p"));
        assert!(!text.contains("secret"), "{text}");
        for bad in [
            "https://ann:secret@h",
            "http://ann:secret@h:port",
            "http://ann:secret@/",
            "secret",
            "http://ann:secret@h/Upper",
            "http://ann:secret@h/1",
            "http://ann:secret%zz@h",
        ] {
            let fault = Address::parse(bad).expect_err(bad);
            assert!(!fault.to_string().contains("secret"), "{fault}");
        }
    }
}
