//! Page tokens: opaque, signed, and good for one question only.

use crate::{Ask, BuildId, Cursor, QueryError, Schema};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diptych_core::{Principal, Value};

/// Bytes of the signature in a token.
const SIGNATURE_BYTES: usize = 16;

/// In the byte that says whether a sorted value follows: how many rows lie before does, too.
const WITH_WALKED: u8 = 2;

/// Where a page ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The build it was read from.
    pub(crate) build: BuildId,
    /// Its last row.
    pub(crate) cursor: Cursor,
    /// How many rows have been walked through, page by page.
    pub(crate) walked: u64,
}

/// The key that signs page tokens, with the one before it, so that a change of keys breaks no page.
#[derive(Clone)]
pub struct PageKey {
    current: [u8; 32],
    previous: Option<[u8; 32]>,
}

impl PageKey {
    /// Signs with `current`, and still accepts what `previous` signed.
    #[must_use]
    pub fn new(current: [u8; 32], previous: Option<[u8; 32]>) -> Self {
        Self { current, previous }
    }

    /// Writes the place after the last row of a page.
    pub(crate) fn issue(&self, question: &Question<'_>, place: &Place) -> String {
        let Place { build, cursor, walked } = place;
        let mut body = question.fingerprint().to_vec();
        body.extend_from_slice(&build.revision.to_le_bytes());
        body.extend_from_slice(&build.generation.to_le_bytes());
        body.push(u8::from(cursor.sorted.is_some()) | WITH_WALKED);
        body.extend_from_slice(&walked.to_le_bytes());
        cursor.sorted.iter().chain(&cursor.key).for_each(|value| value.write_canonical(&mut body));
        let signature = sign(&self.current, &body);
        body.extend_from_slice(&signature);
        URL_SAFE_NO_PAD.encode(body)
    }

    /// Reads a place back: the build it was on, and where the next page starts.
    pub(crate) fn read(&self, question: &Question<'_>, token: &str) -> Result<Place, QueryError> {
        let damaged = || QueryError::PageToken { reason: "is damaged" };
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| damaged())?;
        let split = bytes.len().checked_sub(SIGNATURE_BYTES).ok_or_else(damaged)?;
        let (body, signature) = bytes.split_at(split);
        let keys = [Some(&self.current), self.previous.as_ref()];
        // The hash type compares in constant time.
        let signed = keys.into_iter().flatten().any(|key| {
            let mut padded = [0; 32];
            padded[..SIGNATURE_BYTES].copy_from_slice(signature);
            let mut expected = [0; 32];
            expected[..SIGNATURE_BYTES].copy_from_slice(&sign(key, body));
            blake3::Hash::from_bytes(padded) == blake3::Hash::from_bytes(expected)
        });
        if !signed {
            return Err(damaged());
        }
        let (fingerprint, rest) = body.split_first_chunk::<16>().ok_or_else(damaged)?;
        if *fingerprint != question.fingerprint() {
            return Err(QueryError::PageToken { reason: "belongs to another question" });
        }
        let (revision, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (generation, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let build =
            BuildId { revision: u32::from_le_bytes(*revision), generation: u32::from_le_bytes(*generation) };
        let (flags, mut rest) = rest.split_first().ok_or_else(damaged)?;
        let mut walked = 0;
        // A token of earlier code does not say.
        if flags & WITH_WALKED != 0 {
            let (count, after) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
            (walked, rest) = (u64::from_le_bytes(*count), after);
        }
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (value, after) = Value::read_canonical(rest).ok_or_else(damaged)?;
            values.push(value);
            rest = after;
        }
        if values.is_empty() {
            return Err(damaged());
        }
        let sorted = if flags & 1 == 1 { Some(values.remove(0)) } else { None };
        Ok(Place { build, cursor: Cursor { sorted, key: values }, walked })
    }
}

/// Everything that makes two questions the same but for their page.
pub(crate) struct Question<'a> {
    pub(crate) schema: &'static Schema,
    pub(crate) principal: &'a Principal,
    pub(crate) ask: &'a Ask,
}

impl Question<'_> {
    fn fingerprint(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(self.schema.name.as_bytes());
        part(self.principal.tenant.as_str().as_bytes());
        part(self.principal.actor.as_str().as_bytes());
        part(format!("{:?}", self.ask.sort).as_bytes());
        for condition in &self.ask.conditions {
            let mut bytes = Vec::new();
            condition.values.iter().for_each(|value| value.write_canonical(&mut bytes));
            part(format!("{} {:?}", condition.column, condition.operator).as_bytes());
            part(&bytes);
        }
        if !self.ask.words.is_empty() {
            part(format!("{:?}", self.ask.words).as_bytes());
        }
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        fingerprint
    }
}

fn sign(key: &[u8; 32], body: &[u8]) -> [u8; SIGNATURE_BYTES] {
    let mut signature = [0; SIGNATURE_BYTES];
    signature.copy_from_slice(&blake3::keyed_hash(key, body).as_bytes()[..SIGNATURE_BYTES]);
    signature
}
