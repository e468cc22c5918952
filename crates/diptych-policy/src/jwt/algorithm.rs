//! Signatures by `ring`: which algorithm a key may be used with, and whether a signature is right. The
//! library for tokens parses them; its own switch for cryptography is one for the whole process, which a
//! library that others embed must not set, so nothing here goes through it.

use jsonwebtoken::Algorithm;
use ring::{hmac, signature};
use std::fmt;

/// The least length of a secret in bytes, that of the shortest hash (RFC 7518, section 3.2).
pub(super) const SECRET_BYTES_MIN: usize = 32;

/// The least length of an RSA modulus, in bytes: 2,048 bits.
pub(super) const RSA_MODULUS_BYTES_MIN: usize = 256;

/// What signatures are checked with.
pub(super) enum Material {
    /// A secret that both sides know.
    Secret(Vec<u8>),
    /// An RSA key by its numbers.
    RsaNumbers { n: Vec<u8>, e: Vec<u8> },
    /// An RSA key in DER (RFC 8017, appendix A.1.1).
    RsaDer(Vec<u8>),
    /// A point of P-256.
    P256(Vec<u8>),
    /// A point of P-384.
    P384(Vec<u8>),
    /// An Ed25519 key.
    Ed25519(Vec<u8>),
}

impl Material {
    /// The algorithms that a key of this kind may be used with: what a token says of its algorithm chooses
    /// among these, and never what kind of key it is (RFC 8725, section 3.1).
    pub(super) fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            // A secret is at least as long as the hash.
            Self::Secret(secret) if secret.len() >= 64 => &[HS256, HS384, HS512],
            Self::Secret(secret) if secret.len() >= 48 => &[HS256, HS384],
            Self::Secret(_) => &[HS256],
            Self::RsaNumbers { .. } | Self::RsaDer(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
            Self::P256(_) => &[ES256],
            Self::P384(_) => &[ES384],
            Self::Ed25519(_) => &[EdDSA],
        }
    }

    /// Whether a signature of a message is right.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signed: &[u8]) -> bool {
        if !self.algorithms().contains(&algorithm) {
            return false;
        }
        let public = |way: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            signature::UnparsedPublicKey::new(way, key).verify(message, signed).is_ok()
        };
        match self {
            Self::Secret(secret) => hash(algorithm).is_some_and(|hash| {
                // In constant time.
                hmac::verify(&hmac::Key::new(hash, secret), message, signed).is_ok()
            }),
            Self::RsaNumbers { n, e } => rsa(algorithm).is_some_and(|way| {
                signature::RsaPublicKeyComponents { n, e }.verify(way, message, signed).is_ok()
            }),
            Self::RsaDer(key) => rsa(algorithm).is_some_and(|way| public(way, key)),
            Self::P256(point) => public(&signature::ECDSA_P256_SHA256_FIXED, point),
            Self::P384(point) => public(&signature::ECDSA_P384_SHA384_FIXED, point),
            Self::Ed25519(key) => public(&signature::ED25519, key),
        }
    }
}

/// Never with what it is made of.
impl fmt::Debug for Material {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Secret(_) => "a secret",
            Self::RsaNumbers { .. } | Self::RsaDer(_) => "an RSA key",
            Self::P256(_) => "a P-256 key",
            Self::P384(_) => "a P-384 key",
            Self::Ed25519(_) => "an Ed25519 key",
        })
    }
}

/// The hash of an algorithm by secret.
pub(super) fn hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}
