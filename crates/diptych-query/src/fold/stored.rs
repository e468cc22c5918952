//! What is known of a row in the store.

use super::digest::digest_and_length;
use diptych_core::{Tenant, Value};
use std::num::NonZeroU32;

/// What is known of a row in the store.
#[derive(Clone, Copy)]
pub(super) struct AsStored {
    pub(super) digest: u128,
    /// The length of its canonical form, which tells about how much memory its texts take.
    bytes: NonZeroU32,
    /// The bucket of its key, which is a hash that need not be made again.
    pub(super) bucket: u8,
}

impl AsStored {
    /// Of the row that a tenant has with these values.
    pub(super) fn of(tenant: &Tenant, values: &[Value], bucket: u8) -> Self {
        let (digest, bytes) = digest_and_length(tenant, values);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { digest, bytes: NonZeroU32::new(bytes).unwrap_or(NonZeroU32::MIN), bucket }
    }

    /// About how many bytes its texts take.
    pub(super) fn bytes(self) -> usize {
        self.bytes.get() as usize
    }
}
