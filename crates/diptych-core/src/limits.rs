//! The limits of the portable formats. Limits of a running part stand beside that part.

/// The largest stream key, row key or idempotency key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 200;

/// The largest text in an indexed column, in bytes of UTF-8.
pub const INDEXED_TEXT_BYTES_MAX: usize = 1_000;
