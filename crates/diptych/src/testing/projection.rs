//! `given_facts([on("42", placed())]).then_row(OrderSummary { .. })`, for every way the facts may arrive.

use super::recorded;
use diptych_core::{
    Category, Epoch, Event, Fingerprint, NewEvent, Position, RawFact, StreamId, StreamKey, Timestamp,
};
use diptych_core::{Tenant, Token};
use diptych_query::{Fold, Group, JoinedProjection, Mark, Partition, RowRef, StoredRow, TableNeeds, Tables};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// An event on a stream.
#[derive(Clone, Debug)]
pub struct GivenFact {
    stream: StreamId,
    pub(super) event: NewEvent,
    at: Option<Timestamp>,
}

/// The facts that a projection is to fold.
#[derive(Clone, Debug)]
pub struct GivenFacts {
    pub(super) facts: Vec<Arc<RawFact>>,
}

/// An event on the stream of a key.
#[track_caller]
pub fn on<E: Event>(key: &str, event: E) -> GivenFact {
    let stream = StreamId {
        category: Category::new(E::CATEGORY).expect("a derived category is valid"),
        key: StreamKey::new(key).expect("a key must be valid"),
    };
    GivenFact { stream, event: NewEvent::from_event(&event).expect("the event must be storable"), at: None }
}

impl GivenFact {
    /// At another time than 2026-07-07T09:00:00Z plus a second for each fact before it.
    #[must_use]
    pub fn at(mut self, time: &str) -> Self {
        self.at = Some(time.parse().expect("a time must be RFC 3339"));
        self
    }
}

/// Starts from recorded facts, in this order.
pub fn given_facts(facts: impl IntoIterator<Item = GivenFact>) -> GivenFacts {
    let mut versions: BTreeMap<StreamId, u64> = BTreeMap::new();
    let start: Timestamp = "2026-07-07T09:00:00Z".parse().expect("the time is valid");
    let numbered = facts.into_iter().zip(1_u64..);
    let facts = numbered.map(|(fact, position)| {
        let version = versions.entry(fact.stream.clone()).or_default();
        *version += 1;
        let at = fact.at.unwrap_or_else(|| start.plus(std::time::Duration::from_secs(position - 1)));
        recorded(&fact.stream, *version, position, fact.event, at)
    });
    GivenFacts { facts: facts.collect() }
}

impl GivenFacts {
    /// Expects this row, however the facts are cut into batches and delivered again.
    #[track_caller]
    pub fn then_row<M: JoinedProjection + Debug + PartialEq>(self, expected: M) {
        let key = M::key_values(&expected.key());
        let rows = self.rows_every_way::<M>();
        let found = rows.into_iter().find(|row| M::key_values(&row.key()) == key);
        match found {
            Some(found) => assert_eq!(found, expected, "another row than expected"),
            None => panic!("expected {expected:?}, there is no row with that key"),
        }
    }

    /// Expects exactly these rows, in any order, however the facts are cut into batches and delivered again.
    #[track_caller]
    pub fn then_rows<M: JoinedProjection + Debug + PartialEq>(self, expected: impl IntoIterator<Item = M>) {
        let sorted = |mut rows: Vec<M>| {
            rows.sort_by_key(|row| format!("{:?}", M::key_values(&row.key())));
            rows
        };
        let expected = sorted(expected.into_iter().collect());
        assert_eq!(sorted(self.rows_every_way::<M>()), expected, "other rows than expected");
    }

    /// Expects that no row of this key exists, however the facts are cut into batches and delivered again.
    #[track_caller]
    pub fn then_no_row<M: JoinedProjection + Debug + PartialEq>(self, key: &M::Key) {
        let rows = self.rows_every_way::<M>();
        let found = rows.into_iter().find(|row| M::key_values(&row.key()) == M::key_values(key));
        assert!(found.is_none(), "expected no row, there is {found:?}");
    }

    /// Expects the same rows however the facts are cut into batches and delivered again, and into however
    /// many partitions the rows are split, whatever they are. For many facts: the cuts are drawn at random,
    /// and the seed of those that made a difference is told.
    #[track_caller]
    pub fn then_deterministic<M: JoinedProjection>(self) {
        const DRAWS: u64 = 24;
        let whole = Kept::folded::<M>(&self.facts, std::slice::from_ref(&(0..self.facts.len())));
        let mut seeds = fastrand::Rng::new();
        for _ in 0..DRAWS {
            let seed = seeds.u64(..);
            let kept = Kept::folded::<M>(&self.facts, &drawn(self.facts.len(), seed));
            assert!(kept == whole, "the rows differ when the facts are cut by seed {seed}");
        }
        // Tables that read each other move together, so nobody ever splits them.
        if M::SCHEMA.reads.is_empty() {
            for of in SPLITS {
                let kept = Kept::split::<M>(&self.facts, of);
                assert!(kept == whole, "the rows differ when they are split into {of} partitions");
            }
        }
    }

    /// The rows, after checking that they are the same whole, one by one, cut in two anywhere, delivered
    /// twice, and with each batch delivered again out of order.
    #[track_caller]
    fn rows_every_way<M: JoinedProjection + Debug + PartialEq>(&self) -> Vec<M> {
        let count = self.facts.len();
        let whole = Kept::folded::<M>(&self.facts, std::slice::from_ref(&(0..count)));
        let check = |way: &str, batches: &[Range<usize>]| {
            let kept = Kept::folded::<M>(&self.facts, batches);
            let (rows, expected) = (kept.rows_of::<M>(), whole.rows_of::<M>());
            assert_eq!(rows, expected, "the rows differ when the facts are folded {way}");
            assert!(kept == whole, "the rows of a sibling differ when the facts are folded {way}");
        };
        let single: Vec<_> = (0..count).map(|index| index..index + 1).collect();
        check("one by one", &single);
        for cut in 1..count {
            check("in two batches", &[0..cut, cut..count]);
            check("with the first batch again", &[0..cut, cut..count, 0..cut]);
            check(
                "with the second batch again and then the first",
                &[0..cut, cut..count, cut..count, 0..cut],
            );
        }
        check("twice", &[0..count, 0..count]);
        let late: Vec<_> = single.iter().cloned().chain(single.iter().rev().cloned()).collect();
        check("again backwards", &late);
        whole.rows_of::<M>()
    }
}

/// Into how many partitions rows are split to see that it makes no difference.
const SPLITS: [u8; 3] = [2, 3, 64];

/// Batches of random size, some of them delivered again.
fn drawn(count: usize, seed: u64) -> Vec<Range<usize>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let longest = 1 + random.usize(..count.max(1));
    let (mut batches, mut start) = (Vec::new(), 0);
    while start < count {
        let end = (start + 1 + random.usize(..longest)).min(count);
        batches.push(start..end);
        if random.u8(..4) == 0 {
            batches.push(random.usize(..end)..end);
        }
        start = end;
    }
    batches
}

/// The stored rows of a group, as plain as they can be.
struct Kept {
    rows: BTreeMap<(usize, Vec<u8>), StoredRow>,
    reached: Position,
    group: Group,
}

impl PartialEq for Kept {
    /// Guards and tombstones are left out: they depend on how the facts were cut.
    fn eq(&self, other: &Self) -> bool {
        let values = |kept: &Self| -> Vec<_> {
            let live = kept.rows.iter().filter(|(_, stored)| stored.values.is_some());
            live.map(|(place, stored)| (place.clone(), stored.values.clone())).collect()
        };
        values(self) == values(other)
    }
}

impl Kept {
    /// What a model and its siblings leave after batches of facts, each a transaction of its own.
    #[track_caller]
    fn folded<M: JoinedProjection>(facts: &[Arc<RawFact>], batches: &[Range<usize>]) -> Self {
        let mut tables = Tables::default();
        tables.add::<M>();
        let group =
            Group::new(M::SCHEMA.name, tables.into_models()).expect("a model with its siblings is a group");
        let mut kept = Self { rows: BTreeMap::new(), reached: Position::START, group };
        batches.iter().filter_map(|range| facts.get(range.clone())).for_each(|batch| kept.apply(batch));
        kept
    }

    /// What a model leaves whose rows are split: each partition folds everything for its own rows.
    #[track_caller]
    fn split<M: JoinedProjection>(facts: &[Arc<RawFact>], of: u8) -> Self {
        let mut kept = Self::folded::<M>(facts, &[]);
        for partition in Partition::all(of) {
            let mut fold = Fold::in_partition(&kept.group, partition, mark(Position::START));
            let through = mark(facts.last().map_or(Position::START, |last| last.position));
            if let Err(error) = fold.plan_facts(facts, through).and_then(|()| fold.run().map(|_| ())) {
                panic!("the projection failed in partition {partition} {error}");
            }
            kept.keep(&mut fold);
        }
        kept
    }

    /// The rows of the model itself, which folds last.
    fn rows_of<M: JoinedProjection>(&self) -> Vec<M> {
        let own = self.group.models().len() - 1;
        let rows = self.rows.iter().filter(|((table, _), _)| *table == own);
        let values = rows.filter_map(|(_, stored)| stored.values.as_ref());
        values.map(|values| M::from_row(values).expect("a row must read back")).collect()
    }

    #[track_caller]
    fn apply(&mut self, facts: &[Arc<RawFact>]) {
        let Some(last) = facts.last() else { return };
        let mut fold = Fold::redelivery(&self.group, mark(self.reached));
        let through = mark(last.position.max(self.reached));
        if let Err(error) = fold.plan_facts(facts, through) {
            panic!("the projection failed {error}");
        }
        loop {
            match fold.run() {
                Ok(Some(needs)) => {
                    needs.into_iter().for_each(|(table, needs)| self.supply(&mut fold, table, needs))
                }
                Ok(None) => break,
                Err(error) => panic!("the projection failed {error}"),
            }
        }
        self.keep(&mut fold);
        self.reached = through.position();
    }

    fn keep(&mut self, fold: &mut Fold) {
        let changes = fold.changes().expect("rows can be kept");
        for (table, changes) in changes.into_iter().enumerate() {
            for change in changes.rows {
                self.rows.insert((table, canonical(&change.stored.row)), change.stored);
            }
        }
    }

    fn supply(&self, fold: &mut Fold, table: usize, needs: TableNeeds) {
        let by_key = needs.rows.iter().filter_map(|row| self.rows.get(&(table, canonical(row))));
        let held = self.rows.iter().filter(|((number, _), _)| *number == table).map(|(_, stored)| stored);
        let matching = held.filter(|stored| {
            let values = stored.values.as_ref();
            values.is_some_and(|values| {
                let fits = |wanted: &diptych_query::Matching| {
                    stored.row.tenant == wanted.tenant && values[wanted.column] == wanted.value
                };
                needs.matching.iter().any(fits)
            })
        });
        let rows = by_key.chain(matching).cloned().collect();
        fold.supply(table, rows).expect("rows are what was written");
    }
}

fn mark(position: Position) -> Mark {
    let token = Token { epoch: Epoch::FIRST, position, fingerprint: Fingerprint(0) };
    Mark { token, recorded_at: Timestamp::EPOCH }
}

fn canonical(row: &RowRef) -> Vec<u8> {
    let mut bytes = Tenant::as_str(&row.tenant).as_bytes().to_vec();
    row.key.iter().for_each(|value| value.write_canonical(&mut bytes));
    bytes
}
