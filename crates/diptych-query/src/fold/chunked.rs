//! A list that grows without moving what it holds. Rows are large and many: to move all of them each time a
//! list has doubled takes as long as a twentieth of a build, and for that moment half as much memory again.

use std::ops::{Index, IndexMut};

/// How many things a chunk holds. The first one grows like any list: most tables of a fold hold few rows.
const CHUNK: usize = 1_024;

/// Things by number, in chunks that stay where they are.
pub(super) struct Chunked<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> Chunked<T> {
    pub(super) fn len(&self) -> usize {
        // All but the last are full.
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    pub(super) fn get(&self, number: usize) -> Option<&T> {
        self.chunks.get(number / CHUNK)?.get(number % CHUNK)
    }

    pub(super) fn push(&mut self, thing: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(thing),
            last => {
                let mut chunk = Vec::with_capacity(if last.is_some() { CHUNK } else { 0 });
                chunk.push(thing);
                self.chunks.push(chunk);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

impl<T> Index<usize> for Chunked<T> {
    type Output = T;

    fn index(&self, number: usize) -> &T {
        &self.chunks[number / CHUNK][number % CHUNK]
    }
}

impl<T> IndexMut<usize> for Chunked<T> {
    fn index_mut(&mut self, number: usize) -> &mut T {
        &mut self.chunks[number / CHUNK][number % CHUNK]
    }
}

impl<T> IntoIterator for Chunked<T> {
    type Item = T;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<T>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_found_by_their_number_and_stay_where_they_are() {
        let mut numbers = Chunked::default();
        assert_eq!(numbers.get(0), None);
        (0..CHUNK + 1).for_each(|number| numbers.push(number));
        let places = [0, CHUNK - 1, CHUNK].map(|number| &raw const numbers[number]);
        (CHUNK + 1..5 * CHUNK + 3).for_each(|number| numbers.push(number));
        assert_eq!(places, [0, CHUNK - 1, CHUNK].map(|number| &raw const numbers[number]));
        assert_eq!(numbers.len(), 5 * CHUNK + 3);
        numbers[CHUNK] = 7;
        assert_eq!((numbers.get(CHUNK), numbers.get(5 * CHUNK + 3)), (Some(&7), None));
        numbers[CHUNK] = CHUNK;
        assert!(numbers.iter().copied().eq(0..numbers.len()));
        assert!(numbers.into_iter().eq(0..5 * CHUNK + 3));
    }
}
