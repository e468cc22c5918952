//! Whoever signs tokens in the tests: with right keys, and with wrong ones.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use ring::{hmac, signature::EcdsaSigningAlgorithm};
use serde_json::{Value, json};

pub(super) const RSA_PUBLIC: &str = include_str!("keys/rsa-public.pem");
const RSA_PRIVATE: &str = include_str!("keys/rsa-private.pem");

/// A private key, and what it is called.
pub(super) enum Signer {
    Secret(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub(super) fn secret(secret: impl AsRef<[u8]>) -> Self {
        Self::Secret(secret.as_ref().to_vec())
    }

    pub(super) fn rsa() -> Self {
        let lines = RSA_PRIVATE.lines().filter(|line| !line.starts_with("---"));
        let der = STANDARD.decode(lines.collect::<String>()).unwrap();
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(&der).unwrap()))
    }

    /// A new key of P-256.
    pub(super) fn p256() -> Self {
        Self::ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    /// A new key of P-384.
    pub(super) fn p384() -> Self {
        Self::ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
    }

    fn ec(way: &'static EcdsaSigningAlgorithm, curve: &'static str) -> Self {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(way, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(way, pair.as_ref(), &random).unwrap(), curve)
    }

    /// A new Ed25519 key.
    pub(super) fn ed() -> Self {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap())
    }

    /// The public key as a member of a set of keys.
    pub(super) fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Secret(secret) => json!({ "kty": "oct", "kid": id, "k": text(secret) }),
            Self::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "kid": id, "n": text(&public.n), "e": text(&public.e) })
            }
            Self::Ec(pair, curve) => {
                let (x, y) =
                    pair.public_key().as_ref()[1..].split_at((pair.public_key().as_ref().len() - 1) / 2);
                json!({ "kty": "EC", "kid": id, "crv": curve, "x": text(x), "y": text(y) })
            }
            Self::Ed(pair) => {
                json!({ "kty": "OKP", "kid": id, "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
        }
    }

    /// A token of this algorithm, whatever the key is for.
    pub(super) fn token(&self, algorithm: &str, claims: &Value) -> String {
        self.token_of(&json!({ "alg": algorithm, "typ": "JWT" }), claims)
    }

    /// A token that names its key.
    pub(super) fn token_by(&self, id: &str, algorithm: &str, claims: &Value) -> String {
        self.token_of(&json!({ "alg": algorithm, "kid": id }), claims)
    }

    pub(super) fn token_of(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.sign(header["alg"].as_str().unwrap_or_default(), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => {
                let hash = match &algorithm[2..] {
                    "384" => hmac::HMAC_SHA384,
                    "512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
            }
            Self::Rsa(pair) => {
                let way: &dyn RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signed = vec![0; pair.public().modulus_len()];
                pair.sign(way, &random, message, &mut signed).unwrap();
                signed
            }
            Self::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}
