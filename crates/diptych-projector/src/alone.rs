//! What can be handed from thread to thread but not looked at by two of them: a fold, a raw block. Wrapped,
//! it may stand in something that others look at, because it is reached through exclusive borrows only.

use std::sync::{Mutex, PoisonError};

/// A value that one holder at a time reaches.
pub(crate) struct Alone<T>(Mutex<T>);

impl<T> Alone<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn get(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
