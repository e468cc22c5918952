//! The limits of the portable formats. Limits of a running part stand beside that part.

/// The largest stream key, row key or idempotency key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 200;

/// The largest text in an indexed column, in bytes of UTF-8.
pub const INDEXED_TEXT_BYTES_MAX: usize = 1_000;

/// The longest tag, name and value together, in bytes of UTF-8.
pub const TAG_BYTES_MAX: usize = 200;

/// The most tags on one event.
pub const TAGS_PER_EVENT_MAX: usize = 8;

/// The most items in a query over tags.
pub const QUERY_ITEMS_MAX: usize = 16;

/// The most tags in one item of a query.
pub const TAGS_PER_ITEM_MAX: usize = 8;

/// The most types of events in one item of a query.
pub const TYPES_PER_ITEM_MAX: usize = 32;
