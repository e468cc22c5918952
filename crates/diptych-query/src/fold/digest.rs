//! The digest of a table: a sum over its rows that does not depend on their order.
//!
//! Each row contributes the first 128 bits of BLAKE3 over its canonical form, and a bucket holds the sum
//! modulo 2^128, so a change subtracts the old row and adds the new one. The construction is the additive
//! multiset hash AdHash of Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing" (EUROCRYPT
//! 1997): it finds mistakes and accidents, and is not meant against somebody who can choose many rows.

use diptych_core::{Tenant, Value};
use std::cell::RefCell;

/// How many buckets a table's digest has.
pub const BUCKETS: u8 = 64;

/// 128 bits of a row: its tenant and all its columns, key included.
#[must_use]
pub fn row_digest(tenant: &Tenant, values: &[Value]) -> u128 {
    digest_and_length(tenant, values).0
}

/// The digest of a row, and how many bytes its canonical form has.
pub(super) fn digest_and_length(tenant: &Tenant, values: &[Value]) -> (u128, usize) {
    let (hash, length) = hash_of(tenant, values);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    (u128::from_le_bytes(bytes), length)
}

/// The bucket of a row, by its tenant and key.
#[must_use]
pub fn bucket_of(tenant: &Tenant, key: &[Value]) -> u8 {
    hash_of(tenant, key).0.as_bytes()[0] % BUCKETS
}

/// The hash that a row keeps beside its columns: the first 64 bits of its digest.
pub(crate) fn short(digest: u128) -> u64 {
    // The low half holds the first eight bytes.
    digest as u64
}

/// How many bytes of a canonical form a thread keeps room for.
const CANONICAL_BYTES_MAX: usize = 1 << 16;

thread_local! {
    /// Room for a canonical form: one is made for each row, and thrown away.
    static CANONICAL: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn hash_of(tenant: &Tenant, values: &[Value]) -> (blake3::Hash, usize) {
    CANONICAL.with_borrow_mut(|canonical| {
        canonical.clear();
        canonical.shrink_to(CANONICAL_BYTES_MAX);
        canonical.extend_from_slice(&(tenant.as_str().len() as u32).to_le_bytes());
        canonical.extend_from_slice(tenant.as_str().as_bytes());
        values.iter().for_each(|value| value.write_canonical(canonical));
        (blake3::hash(canonical), canonical.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_digest_it_always_had() {
        let tenant = Tenant::new("main").unwrap();
        let row = [Value::Text("42".to_owned()), Value::Integer(7), Value::Null];
        assert_eq!(format!("{:032x}", row_digest(&tenant, &row)), "12c1023ae8a951dfc6eb86370ba39d27");
        assert!(bucket_of(&tenant, &row[..1]) < BUCKETS);
    }
}
