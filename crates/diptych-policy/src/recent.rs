//! A bounded memory of answers: the oldest is forgotten for a new one.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Answers by what was asked.
pub(crate) struct Recent<K, V> {
    kept: Mutex<Kept<K, V>>,
    entries_max: usize,
}

struct Kept<K, V> {
    answers: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    pub(crate) fn new(entries_max: usize) -> Self {
        let kept = Kept { answers: HashMap::new(), order: VecDeque::new() };
        Self { kept: Mutex::new(kept), entries_max }
    }

    /// The answer that is kept, or else a new one, which is made without holding anybody up.
    pub(crate) fn or_made(&self, asked: K, make: impl FnOnce() -> V) -> V {
        if let Some(answer) = self.locked(|kept| kept.answers.get(&asked).cloned()) {
            return answer;
        }
        let answer = make();
        self.locked(|kept| {
            if kept.answers.insert(asked.clone(), answer.clone()).is_none() {
                kept.order.push_back(asked);
            }
            while kept.order.len() > self.entries_max {
                if let Some(oldest) = kept.order.pop_front() {
                    kept.answers.remove(&oldest);
                }
            }
        });
        answer
    }

    fn locked<R>(&self, with: impl FnOnce(&mut Kept<K, V>) -> R) -> R {
        // Nothing in here panics half way: a poisoned lock still guards a whole map.
        with(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answer_is_forgotten_for_a_new_one() {
        let recent = Recent::new(2);
        for asked in [1, 2, 3] {
            recent.or_made(asked, || asked * 10);
        }
        assert_eq!(recent.or_made(3, || 0), 30);
        assert_eq!(recent.or_made(2, || 0), 20);
        assert_eq!(recent.or_made(1, || 0), 0);
    }
}
