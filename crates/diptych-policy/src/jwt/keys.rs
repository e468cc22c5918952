//! The keys of a file: a set of public keys (RFC 7517), PEM, or shared secrets. Reads no file itself.

use super::algorithm::{Material, RSA_MODULUS_BYTES_MIN, SECRET_BYTES_MIN};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Header};
use serde_json::Value;
use std::sync::Arc;

/// The most keys of one file: each may be tried for a token that names none.
pub(super) const KEYS_MAX: usize = 32;

/// How the keys of a file are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// A JSON object with `keys`.
    Jwks,
    /// `-----BEGIN PUBLIC KEY-----`, one or several.
    Pem,
    /// A secret in each line.
    Secret,
}

/// A key, and what it may be used with.
#[derive(Debug)]
pub(super) struct Key {
    /// By which name tokens refer to it.
    id: Option<String>,
    /// The one algorithm that its file allows, where it says one.
    only: Option<Algorithm>,
    material: Material,
}

impl Key {
    /// Whether a token with this header may be signed with it.
    pub(super) fn fits(&self, header: &Header) -> bool {
        // A token that names a key is not tried with another; where the file names none, the name says
        // nothing.
        let named = match (&header.kid, &self.id) {
            (Some(named), Some(id)) => named == id,
            _ => true,
        };
        named && self.allows(header.alg)
    }

    fn allows(&self, algorithm: Algorithm) -> bool {
        self.only.is_none_or(|only| only == algorithm) && self.material.algorithms().contains(&algorithm)
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.allows(algorithm) && self.material.verifies(algorithm, message, signature)
    }

    /// The secret, where it is one.
    pub(super) fn secret(&self) -> Option<&[u8]> {
        match &self.material {
            Material::Secret(secret) => Some(secret),
            _ => None,
        }
    }
}

/// The keys of a file that can be used, and why others cannot.
#[derive(Debug)]
pub(super) struct KeySet {
    pub(super) keys: Vec<Arc<Key>>,
    pub(super) passed_over: Vec<String>,
}

/// Reads the keys of a file.
pub(super) fn parse(bytes: &[u8], format: Format) -> Result<KeySet, String> {
    let read = match format {
        Format::Jwks => jwks(bytes)?,
        Format::Pem => pem(bytes)?,
        Format::Secret => secrets(bytes)?,
    };
    if read.len() > KEYS_MAX {
        return Err(format!("holds more than {KEYS_MAX} keys"));
    }
    let (mut keys, mut passed_over) = (Vec::new(), Vec::new());
    for key in read {
        match key {
            Ok(key) => keys.push(Arc::new(key)),
            Err(why) => passed_over.push(why),
        }
    }
    if keys.is_empty() {
        let why = if passed_over.is_empty() { "it is empty".to_owned() } else { passed_over.join("; ") };
        return Err(format!("holds no key that signatures can be checked with: {why}"));
    }
    Ok(KeySet { keys, passed_over })
}

type Read = Vec<Result<Key, String>>;

/// A key that is of no use here does not make the others useless: providers put keys for encryption in the
/// same set.
fn jwks(bytes: &[u8]) -> Result<Read, String> {
    let set: Value = serde_json::from_slice(bytes).map_err(|error| format!("is no JSON: {error}"))?;
    let keys = set.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or("is no set of keys: a JSON object with a list `keys`")?;
    Ok(keys.iter().enumerate().map(|(index, key)| jwk(index, key)).collect())
}

fn jwk(index: usize, value: &Value) -> Result<Key, String> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let name = text("kid").map_or_else(|| format!("key {}", index + 1), |kid| format!("key `{kid}`"));
    let unusable = |why: &str| format!("{name} {why}");
    if text("use").is_some_and(|usage| usage != "sig") {
        return Err(unusable("is not for signatures"));
    }
    if let Some(operations) = value.get("key_ops").and_then(Value::as_array)
        && !operations.iter().any(|operation| operation == "verify")
    {
        return Err(unusable("is not for checking signatures"));
    }
    let only = match value.get("alg") {
        None => None,
        Some(algorithm) => {
            let algorithm = algorithm.as_str().and_then(|name| name.parse::<Algorithm>().ok());
            Some(algorithm.ok_or_else(|| unusable("names an algorithm that is not known here"))?)
        }
    };
    let jwk: Jwk = serde_json::from_value(value.clone()).map_err(|_| unusable("is not written as a key"))?;
    let material = public_material(&jwk).map_err(|why| unusable(&why))?;
    if only.is_some_and(|only| !material.algorithms().contains(&only)) {
        return Err(unusable("names an algorithm that does not fit it"));
    }
    Ok(Key { id: text("kid").map(str::to_owned), only, material })
}

fn public_material(jwk: &Jwk) -> Result<Material, String> {
    let key = DecodingKey::from_jwk(jwk).map_err(|_| "is of a kind that is not known here")?;
    match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => match key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => rsa_numbers(n, e),
            DecodingKeyKind::SecretOrDer(_) => Err("is not written as an RSA key".to_owned()),
        },
        AlgorithmParameters::EllipticCurve(parameters) => {
            let point = key.try_get_as_bytes().map_err(|_| "is not written as a point")?;
            match (&parameters.curve, ec_point(point)?) {
                (EllipticCurve::P256, material @ Material::P256(_))
                | (EllipticCurve::P384, material @ Material::P384(_)) => Ok(material),
                _ => Err("is a point that is not on its curve".to_owned()),
            }
        }
        AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => {
            ed25519(key.try_get_as_bytes().map_err(|_| "is not written as an Ed25519 key")?)
        }
        AlgorithmParameters::OctetKey(_) => {
            Err("is a secret, which has no place among public keys: keep it in a file of secrets".to_owned())
        }
        _ => Err("is of a kind that is not known here".to_owned()),
    }
}

fn rsa_numbers(n: &[u8], e: &[u8]) -> Result<Material, String> {
    // Leading zeros are not allowed, and written all the same.
    let plain = |number: &[u8]| -> Vec<u8> { number.iter().copied().skip_while(|byte| *byte == 0).collect() };
    let (n, e) = (plain(n), plain(e));
    if n.len() < RSA_MODULUS_BYTES_MIN {
        return Err(format!("has less than {} bits", RSA_MODULUS_BYTES_MIN * 8));
    }
    Ok(Material::RsaNumbers { n, e })
}

fn ec_point(point: &[u8]) -> Result<Material, String> {
    match (point.len(), point.first()) {
        (65, Some(4)) => Ok(Material::P256(point.to_vec())),
        (97, Some(4)) => Ok(Material::P384(point.to_vec())),
        _ => Err("is on a curve that is not known here; P-256 and P-384 are".to_owned()),
    }
}

fn ed25519(key: &[u8]) -> Result<Material, String> {
    if key.len() == 32 { Ok(Material::Ed25519(key.to_vec())) } else { Err("is no Ed25519 key".to_owned()) }
}

/// Every block of a file. A private key is no key to check with, and should not lie where only public ones
/// belong.
fn pem(bytes: &[u8]) -> Result<Read, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is no PEM: it is not text")?;
    let mut blocks = text.split("-----BEGIN ");
    blocks.next();
    let mut keys = Vec::new();
    for (index, block) in blocks.enumerate() {
        let label = block.split("-----").next().unwrap_or_default();
        if label.contains("PRIVATE") {
            return Err("holds a private key; this side needs the public one only".to_owned());
        }
        let name = format!("key {}", index + 1);
        if label != "PUBLIC KEY" && label != "RSA PUBLIC KEY" {
            keys.push(Err(format!("{name} is a `{label}`, not a `PUBLIC KEY`")));
            continue;
        }
        let material = pem_material(format!("-----BEGIN {block}").as_bytes());
        keys.push(
            material
                .map(|material| Key { id: None, only: None, material })
                .map_err(|why| format!("{name} {why}")),
        );
    }
    Ok(keys)
}

fn pem_material(block: &[u8]) -> Result<Material, String> {
    let bytes = |key: &DecodingKey| key.try_get_as_bytes().map(<[u8]>::to_vec).unwrap_or_default();
    if let Ok(key) = DecodingKey::from_rsa_pem(block) {
        let der = bytes(&key);
        // The modulus is by far the most of it.
        if der.len() < RSA_MODULUS_BYTES_MIN {
            return Err(format!("has less than {} bits", RSA_MODULUS_BYTES_MIN * 8));
        }
        return Ok(Material::RsaDer(der));
    }
    if let Ok(key) = DecodingKey::from_ec_pem(block) {
        return ec_point(&bytes(&key));
    }
    match DecodingKey::from_ed_pem(block) {
        Ok(key) => ed25519(&bytes(&key)),
        Err(_) => Err("is of a kind that is not known here".to_owned()),
    }
}

fn secrets(bytes: &[u8]) -> Result<Read, String> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let secrets: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    if secrets.iter().any(|secret| secret.len() < SECRET_BYTES_MIN) {
        // One that can be guessed makes the others worthless.
        return Err(format!("holds a secret of less than {SECRET_BYTES_MIN} bytes"));
    }
    let key = |secret: &[u8]| Key { id: None, only: None, material: Material::Secret(secret.to_vec()) };
    Ok(secrets.into_iter().map(|secret| Ok(key(secret))).collect())
}
