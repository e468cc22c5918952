//! Questions as people ask them, a bounded number of the latest, so that a new build can be asked the same.

use crate::{RawFind, Schema};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many questions of a group are kept.
const SAMPLES_MAX: usize = 32;

/// One of how many questions is looked at. The first ones all are, so that a quiet model has samples too.
const ONE_OF: u64 = 16;

/// The questions that a group was asked lately in this process, each once.
#[derive(Default)]
pub struct Samples {
    asked: AtomicU64,
    kept: Mutex<VecDeque<(&'static Schema, RawFind)>>,
}

impl Samples {
    /// Notes that a question was asked, and now and then keeps it in place of the oldest. Never waits: where
    /// somebody else is at it, the question is let go.
    pub fn asked(&self, schema: &'static Schema, find: &RawFind) {
        let before = self.asked.fetch_add(1, Ordering::Relaxed);
        if before >= SAMPLES_MAX as u64 && !before.is_multiple_of(ONE_OF) {
            return;
        }
        let Ok(mut kept) = self.kept.try_lock() else { return };
        if kept.iter().any(|(of, held)| of.name == schema.name && held == find) {
            return;
        }
        if kept.len() == SAMPLES_MAX {
            kept.pop_front();
        }
        kept.push_back((schema, find.clone()));
    }

    /// How many questions were asked: whoever sees it stand still knows that nobody waits for answers.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The questions, oldest first.
    #[must_use]
    pub fn kept(&self) -> Vec<(&'static Schema, RawFind)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
