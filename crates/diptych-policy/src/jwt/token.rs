//! A token in its three parts (RFC 7515, section 7.1). What it says is handed out as it stands, unjudged.

use super::keys::Key;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diptych_core::Unauthenticated;
use jsonwebtoken::Header;
use serde_json::{Map, Value};

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// A token whose header was read.
pub(super) struct Token<'a> {
    header: Header,
    /// What is signed: header and claims as they came.
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Unauthenticated> {
        if text.len() > TOKEN_BYTES_MAX {
            let message = format!("the token has more than {TOKEN_BYTES_MAX} bytes");
            return Err(Unauthenticated::refused(message));
        }
        let damaged = || Unauthenticated::refused("the token is damaged: it is not a signed JSON Web Token");
        let (signed, signature) = text.rsplit_once('.').ok_or_else(damaged)?;
        let (_, claims) = signed.split_once('.').ok_or_else(damaged)?;
        if claims.contains('.') {
            return Err(damaged());
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| damaged())?;
        let header = jsonwebtoken::decode_header(text).map_err(|_| {
            Unauthenticated::refused("the header of the token is damaged, or names an unknown algorithm")
        })?;
        if header.crit.is_some() {
            return Err(Unauthenticated::refused(
                "the token asks for extensions (`crit`) that nobody here knows",
            ));
        }
        Ok(Self { header, signed, claims, signature })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn is_signed_with(&self, key: &Key) -> bool {
        key.verifies(self.header.alg, self.signed.as_bytes(), &self.signature)
    }

    /// What the token says. To be asked only when its signature is right.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, Unauthenticated> {
        let damaged = || Unauthenticated::refused("the claims of the token are not a JSON object");
        let bytes = URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| damaged())?;
        serde_json::from_slice(&bytes).map_err(|_| damaged())
    }
}
