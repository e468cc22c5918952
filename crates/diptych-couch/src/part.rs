//! The document of a partition: where it stands, which batches count, who may write, its digest and the keys
//! that are held back. It is written with its revision and so never over what somebody else wrote.
//!
//! INVARIANT: a batch counts exactly when this document says so. Rows are written before; what is written of
//! a batch that never came to count is as if it were not there.

use crate::order::hex;
use diptych_core::{Epoch, Fingerprint, Position, Tenant, Timestamp, Token, Value};
use diptych_query::{
    BucketDigest, BuildId, Checkpoint, Fence, Group, Mark, Parked, Partition, RowRef, Stopped, WorkerId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many moves of a partition are remembered: each is written again with every batch.
const HISTORY_MOVES_MAX: usize = 200;

/// A fence counts in its upper bits; the lower ones are the build's.
const FENCE_SHIFT: u32 = 24;

/// What is kept of a partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    #[serde(rename = "_rev", default, skip_serializing_if = "Option::is_none")]
    pub(crate) rev: Option<String>,
    mark: Marked,
    updated_at: i64,
    stopped: Option<Halted>,
    /// The last batch that counts.
    pub(crate) batch: u64,
    /// The last batch that was begun.
    pub(crate) tried: u64,
    /// Up to which batch nothing counts any more: a reset.
    pub(crate) floor: u64,
    /// Batches before the last one that never came to count, as ranges that include both ends.
    void: Vec<(u64, u64)>,
    /// How many leases there were.
    leases: u64,
    /// Who took the last one, and until when it was given.
    pub(crate) holder: Option<Holder>,
    /// Until when nobody may take it or write: another build is taking over.
    still_until: Option<i64>,
    /// How often rows were put right, parked or removed where they stand.
    pub(crate) repairs: u64,
    /// Table by table: bucket, rows, and the sum in hexadecimal digits.
    digest: Vec<BTreeMap<u8, (i64, String)>>,
    /// From where to where it moved, and when.
    history: Vec<(u64, u64, i64)>,
    parked: Vec<Held>,
}

/// Who has a lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) worker: String,
    pub(crate) until: i64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Marked {
    epoch: u32,
    position: u64,
    fingerprint: u32,
    recorded_at: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Halted {
    position: u64,
    reason: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held {
    model: String,
    tenant: String,
    /// The key's values in their canonical form, in hexadecimal digits.
    key: String,
    position: u64,
    event: String,
    reason: String,
    parked_at: i64,
}

/// What a batch is worth to whoever has read this document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It counts.
    Counts,
    /// It was undone by a reset.
    Undone,
    /// It never came to count, or has not yet: what was there before it counts.
    Open,
}

impl Part {
    /// The name of a partition's document.
    pub(crate) fn id_of(partition: Partition) -> String {
        format!("part:{:03}", partition.index())
    }

    /// A partition at the start of the log.
    pub(crate) fn new(partition: Partition, tables: usize, start: Mark, now: Timestamp) -> Self {
        Self {
            id: Self::id_of(partition),
            rev: None,
            mark: Marked::of(start),
            updated_at: now.as_micros(),
            stopped: None,
            batch: 0,
            tried: 0,
            floor: 0,
            void: Vec::new(),
            leases: 0,
            holder: None,
            still_until: None,
            repairs: 0,
            digest: vec![BTreeMap::new(); tables],
            history: Vec::new(),
            parked: Vec::new(),
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        let Marked { epoch, position, fingerprint, recorded_at } = self.mark;
        let (epoch, position) = (Epoch(epoch), Position(position));
        let token = Token { epoch, position, fingerprint: Fingerprint(fingerprint) };
        Mark { token, recorded_at: Timestamp::from_stored(recorded_at) }
    }

    pub(crate) fn position(&self) -> Position {
        Position(self.mark.position)
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let stopped = self.stopped.as_ref();
        let stopped =
            stopped.map(|held| Stopped { position: Position(held.position), reason: held.reason.clone() });
        Checkpoint { mark: self.mark(), updated_at: Timestamp::from_stored(self.updated_at), stopped }
    }

    pub(crate) fn stop(&mut self, stopped: Option<Stopped>) {
        self.stopped = stopped.map(|Stopped { position, reason }| Halted { position: position.0, reason });
    }

    /// What a batch is worth.
    pub(crate) fn standing(&self, batch: u64) -> Standing {
        let within = |(first, last): &(u64, u64)| (*first..=*last).contains(&batch);
        if batch <= self.floor {
            Standing::Undone
        } else if batch > self.batch || self.void.iter().any(within) {
            Standing::Open
        } else {
            Standing::Counts
        }
    }

    /// Whether more than one batch has come to count since this was read, as far as one can tell from what
    /// was read later: then a document may have lost what stood in it here.
    pub(crate) fn is_left_behind(&self, later: &Self) -> bool {
        if later.floor != self.floor || later.batch < self.batch {
            return true;
        }
        let void = later.void.iter().filter(|(first, _)| *first > self.batch);
        let void: u64 = void.map(|(first, last)| last - first + 1).sum();
        match (later.batch - self.batch).saturating_sub(void) {
            0 => false,
            // What is begun after it may write over what stands here.
            1 => later.tried > later.batch,
            _ => true,
        }
    }

    /// Takes a number for a batch that is about to be written.
    pub(crate) fn begin(&mut self) -> u64 {
        self.tried = self.tried.max(self.batch) + 1;
        self.tried
    }

    /// Has a batch count, and none of those that were begun between it and the one before.
    pub(crate) fn count(&mut self, batch: u64) {
        let first = self.batch + 1;
        if first < batch {
            match self.void.last_mut() {
                Some((_, last)) if *last + 1 == first => *last = batch - 1,
                _ => self.void.push((first, batch - 1)),
            }
        }
        self.batch = batch;
    }

    /// How many gaps there are between the batches that count.
    pub(crate) fn gaps(&self) -> usize {
        self.void.len()
    }

    /// Moves on.
    pub(crate) fn moved(&mut self, through: Mark, now: Timestamp) {
        let after = self.mark.position;
        if through.position().0 > after {
            self.history.push((after, through.position().0, now.as_micros()));
            let beyond = self.history.len().saturating_sub(HISTORY_MOVES_MAX);
            self.history.drain(..beyond);
        }
        (self.mark, self.updated_at) = (Marked::of(through), now.as_micros());
    }

    /// When a position was passed: none if it was not, or if that is forgotten.
    pub(crate) fn passed_at(&self, position: Position) -> Option<Timestamp> {
        let over = |(after, reached, _): &&(u64, u64, i64)| *after < position.0 && *reached >= position.0;
        self.history.iter().find(over).map(|(_, _, at)| Timestamp::from_stored(*at))
    }

    /// Adds changes of a digest.
    pub(crate) fn add(&mut self, table: usize, changes: &[BucketDigest]) {
        let Some(held) = self.digest.get_mut(table) else { return };
        for (bucket, rows, sum) in changes {
            let (count, text) = held.entry(*bucket).or_default();
            *count += rows;
            let added = u128::from_str_radix(text, 16).unwrap_or(0).wrapping_add(*sum);
            *text = format!("{added:x}");
        }
    }

    pub(crate) fn digest(&self, table: usize) -> Vec<BucketDigest> {
        let buckets = self.digest.get(table).into_iter().flatten();
        let read = |(bucket, (rows, sum)): (&u8, &(i64, String))| {
            (*bucket, *rows, u128::from_str_radix(sum, 16).unwrap_or(0))
        };
        buckets.map(read).filter(|(_, rows, sum)| *rows != 0 || *sum != 0).collect()
    }

    /// The last lease. A build's own, so that a lease on one never fits another.
    pub(crate) fn fence(&self, build: BuildId) -> Fence {
        let own = (u64::from(build.revision) & 0xfff) << 12 | (u64::from(build.generation) & 0xfff);
        Fence(self.leases << FENCE_SHIFT | own)
    }

    /// Gives the next lease, or takes the last one away.
    pub(crate) fn lease(&mut self, holder: Option<(&WorkerId, Timestamp)>) {
        self.leases += 1;
        self.holder = holder
            .map(|(worker, until)| Holder { worker: worker.as_str().to_owned(), until: until.as_micros() });
    }

    /// How many leases there were.
    pub(crate) fn leases(&self) -> u64 {
        self.leases
    }

    pub(crate) fn stand_still(&mut self, until: Option<Timestamp>) {
        self.still_until = until.map(Timestamp::as_micros);
    }

    pub(crate) fn stands_still(&self, now: Timestamp) -> bool {
        self.still_until.is_some_and(|until| now.as_micros() < until)
    }

    /// Back to the start, with nothing.
    pub(crate) fn reset(&mut self, start: Mark, now: Timestamp) {
        self.floor = self.tried.max(self.batch);
        (self.batch, self.tried) = (self.floor, self.floor);
        self.void.clear();
        self.history.clear();
        self.parked.clear();
        self.digest.iter_mut().for_each(BTreeMap::clear);
        self.stopped = None;
        self.repairs += 1;
        (self.mark, self.updated_at) = (Marked::of(start), now.as_micros());
    }

    /// Holds a key back; one that is held back already stays where it is.
    pub(crate) fn park(&mut self, parked: &Parked) {
        let held = Held::of(parked);
        let same = |one: &Held| (&one.model, &one.tenant, &one.key) == (&held.model, &held.tenant, &held.key);
        if !self.parked.iter().any(same) {
            self.parked.push(held);
        }
    }

    /// Holds a key back no longer.
    pub(crate) fn heal(&mut self, model: &str, row: &RowRef) {
        let (tenant, key) = (row.tenant.as_str(), canonical(&row.key));
        self.parked.retain(|held| held.model != model || held.tenant != tenant || held.key != key);
    }

    /// The keys that are held back; none of a key that cannot be read.
    pub(crate) fn parked(&self) -> Option<Vec<Parked>> {
        self.parked.iter().map(Held::read).collect()
    }

    /// Which rows of a group's table are held back, and from which fact on.
    pub(crate) fn held(&self, group: &Group, table: usize) -> Option<Vec<(RowRef, Position)>> {
        let name = group.models().get(table)?.schema().name;
        let own = self.parked.iter().filter(|held| held.model == name);
        own.map(|held| held.read().map(|parked| (parked.row, parked.position))).collect()
    }
}

impl Marked {
    fn of(mark: Mark) -> Self {
        let Token { epoch, position, fingerprint } = mark.token;
        let recorded_at = mark.recorded_at.as_micros();
        Self { epoch: epoch.0, position: position.0, fingerprint: fingerprint.0, recorded_at }
    }
}

impl Held {
    fn of(parked: &Parked) -> Self {
        Self {
            model: parked.model.clone(),
            tenant: parked.row.tenant.as_str().to_owned(),
            key: canonical(&parked.row.key),
            position: parked.position.0,
            event: parked.event.clone(),
            reason: parked.reason.clone(),
            parked_at: parked.parked_at.as_micros(),
        }
    }

    fn read(&self) -> Option<Parked> {
        let key = read_canonical(&self.key)?;
        Some(Parked {
            model: self.model.clone(),
            row: RowRef { tenant: Tenant::from_stored(self.tenant.as_str()), key },
            position: Position(self.position),
            event: self.event.clone(),
            reason: self.reason.clone(),
            parked_at: Timestamp::from_stored(self.parked_at),
        })
    }
}

/// Values in a form that no others have.
pub(crate) fn canonical(values: &[Value]) -> String {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| value.write_canonical(&mut bytes));
    hex(&bytes)
}

/// The values of such a form.
pub(crate) fn read_canonical(text: &str) -> Option<Vec<Value>> {
    let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes = (0..text.len()).step_by(2).map(digits).collect::<Option<Vec<_>>>()?;
    let (mut rest, mut values) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let (value, after) = Value::read_canonical(rest)?;
        values.push(value);
        rest = after;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Part {
        let token = Token { epoch: Epoch::FIRST, position: Position::START, fingerprint: Fingerprint(0) };
        let mark = Mark { token, recorded_at: Timestamp::EPOCH };
        Part::new(Partition::WHOLE, 1, mark, Timestamp::EPOCH)
    }

    #[test]
    fn a_batch_counts_once_it_is_said_and_those_that_died_before_it_never_do() {
        let mut part = part();
        let died = [part.begin(), part.begin()];
        let batch = part.begin();
        assert_eq!(part.standing(batch), Standing::Open);
        part.count(batch);
        assert_eq!(part.standing(batch), Standing::Counts);
        assert!(died.iter().all(|died| part.standing(*died) == Standing::Open));
        let (late, next) = (part.begin(), part.begin());
        part.count(next);
        assert_eq!((part.standing(late), part.standing(next)), (Standing::Open, Standing::Counts));
        assert_eq!(part.standing(batch), Standing::Counts);
        assert_eq!(part.gaps(), 2);
    }

    #[test]
    fn a_reader_is_left_behind_once_a_second_batch_is_begun_after_one_that_counts() {
        let read = part();
        let mut later = read.clone();
        let _died = later.begin();
        assert!(!read.is_left_behind(&later));
        let first = later.begin();
        later.count(first);
        assert!(!read.is_left_behind(&later), "what stood there is still beside the first batch");
        let second = later.begin();
        assert!(read.is_left_behind(&later), "the second may write over it");
        later.count(second);
        assert!(read.is_left_behind(&later));
        assert!(!later.is_left_behind(&later.clone()));
        later.reset(later.mark(), Timestamp::EPOCH);
        assert!(read.is_left_behind(&later));
    }

    #[test]
    fn a_reset_undoes_what_counted_and_what_was_begun() {
        let mut part = part();
        let batch = part.begin();
        part.count(batch);
        let begun = part.begin();
        part.reset(part.mark(), Timestamp::EPOCH);
        assert_eq!((part.standing(batch), part.standing(begun)), (Standing::Undone, Standing::Undone));
        assert!(part.begin() > begun);
    }

    #[test]
    fn a_fence_of_one_build_fits_no_other() {
        let mut part = part();
        let build = |generation| BuildId { revision: 1, generation };
        let first = part.fence(build(1));
        part.lease(None);
        assert!(part.fence(build(1)) > first);
        assert_ne!(part.fence(build(1)), part.fence(build(2)));
    }
}
