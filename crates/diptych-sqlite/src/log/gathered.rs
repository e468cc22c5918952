//! Facts being put together from rows. Reading a row copies its texts into one piece of memory; the facts are
//! cut out of it where they are used.

use super::names::Names;
use diptych_core::{
    Category, EventName, Position, RawFact, SharedText, StreamId, StreamKey, StreamRef, Tenant, Timestamp,
    Version,
};
use diptych_query::{Categories, RawFacts};
use rusqlite::{Connection, Row};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// How many streams are looked up at once: more would drive each other out of the processor's cache again.
const STREAMS_AT_ONCE: usize = 16;

/// How many pieces of memory are kept for the next blocks: those that one build has in hand.
const SPARES_MAX: usize = 8;

/// A piece of memory that is larger than this is freed.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// Rows that were read, not yet facts. The names they share are of their own: counters of names that several
/// threads change would cost more than the facts themselves.
#[derive(Default)]
pub(crate) struct Gathered {
    room: Room,
    /// Of how many rows the stream is looked up; the others are few.
    named: usize,
    events: Vec<EventName>,
    /// Which of the events each type is; none for a type of a category that nobody wants.
    kinds: Map<i64, Option<u32>>,
    scopes: Vec<(Tenant, Category)>,
    /// Where the tenant and category of each of the connection's scopes stand.
    places: Map<u32, u32>,
    /// The scope of the row before, and its place.
    last: Option<(u32, u32)>,
    spares: Option<Arc<Spares>>,
}

/// The memory of a block, which the next one may use.
#[derive(Default)]
struct Room {
    /// Metadata and payload of each row.
    texts: String,
    /// The key of each row.
    keys: String,
    rows: Vec<GatheredRow>,
}

/// Memory of blocks that nobody uses any more. A block takes more than a system gives without fetching
/// fresh pages, which takes a tenth of the time of reading it.
#[derive(Default)]
pub(crate) struct Spares(Mutex<Vec<Room>>);

/// A row whose texts are not yet shared.
struct GatheredRow {
    position: Position,
    stream: i64,
    version: Version,
    recorded_at: Timestamp,
    occurred_at: Timestamp,
    /// The place of its type.
    event: u32,
    /// Where its texts end: metadata, payload; the first begins where the last of the row before ends.
    ends: [u32; 2],
    /// The place of its tenant and category, once its stream is looked up.
    scope: u32,
    /// Where its key ends, which begins where that of the row before ends.
    key_ends: u32,
}

/// Facts to be cut out of what was gathered, one after the other.
pub(crate) struct Cut {
    texts: Arc<String>,
    keys: String,
    rows: Vec<GatheredRow>,
    events: Vec<EventName>,
    scopes: Vec<(Tenant, Category)>,
    next: usize,
    spares: Option<Arc<Spares>>,
}

impl Gathered {
    /// The columns that [`Gathered::add`] reads.
    pub(crate) const COLUMNS: &str =
        "position, type, stream, version, recorded_at, occurred_at, metadata, payload";

    /// For facts that are used and freed soon: their memory comes from there and goes back.
    pub(crate) fn reusing(spares: &Arc<Spares>) -> Self {
        Self { room: spares.take(), spares: Some(Arc::clone(spares)), ..Self::default() }
    }

    /// Which event a type is, if its category is wanted.
    pub(crate) fn event(
        &mut self,
        connection: &Connection,
        names: &mut Names,
        kind: i64,
        wanted: &Categories,
    ) -> rusqlite::Result<Option<u32>> {
        if let Some(event) = self.kinds.get(&kind) {
            return Ok(*event);
        }
        let known = names.type_of(connection, kind)?;
        let event = if wanted.contains(known.category.as_str()) {
            let EventName { name, schema_version } = &known.name;
            self.events.push(EventName { name: Arc::from(&**name), schema_version: *schema_version });
            u32::try_from(self.events.len() - 1).ok()
        } else {
            None
        };
        self.kinds.insert(kind, event);
        Ok(event)
    }

    /// Adds the fact of a row, of which position and event are known by now.
    pub(crate) fn add(
        &mut self,
        connection: &Connection,
        names: &mut Names,
        (position, event): (i64, u32),
        row: &Row<'_>,
    ) -> rusqlite::Result<()> {
        let recorded_at = Timestamp::from_stored(row.get(4)?);
        let occurred_at: Option<i64> = row.get(5)?;
        let ends = [self.text(row.get_ref(6)?.as_str()?)?, self.text(row.get_ref(7)?.as_str()?)?];
        self.room.rows.push(GatheredRow {
            position: Position(position.cast_unsigned()),
            stream: row.get(2)?,
            version: Version(row.get::<_, i64>(3)?.cast_unsigned()),
            recorded_at,
            occurred_at: occurred_at.map_or(recorded_at, Timestamp::from_stored),
            event,
            ends,
            scope: 0,
            key_ends: 0,
        });
        if self.room.rows.len() - self.named >= STREAMS_AT_ONCE {
            self.name_streams(connection, names)?;
        }
        Ok(())
    }

    /// Looks up the streams of the rows that came since this was last done. Streams are met at random: what
    /// is known of them is brought near for all before it is used, so that it is waited for once.
    fn name_streams(&mut self, connection: &Connection, names: &mut Names) -> rusqlite::Result<()> {
        names.approach(self.room.rows[self.named..].iter().map(|row| row.stream));
        for number in self.named..self.room.rows.len() {
            let known = names.stream(connection, self.room.rows[number].stream)?;
            let scope = match self.last {
                Some((scope, place)) if scope == known.scope => place,
                _ => self.scope(connection, names, known.scope)?,
            };
            self.room.keys.push_str(names.key(known));
            let row = &mut self.room.rows[number];
            (row.scope, row.key_ends) = (scope, end_of(&self.room.keys)?);
        }
        self.named = self.room.rows.len();
        Ok(())
    }

    /// The facts, to be taken in the order in which they were added.
    pub(crate) fn cut(mut self, connection: &Connection, names: &mut Names) -> rusqlite::Result<Cut> {
        self.name_streams(connection, names)?;
        let Self { room: Room { texts, keys, rows }, events, scopes, spares, .. } = self;
        Ok(Cut { texts: Arc::new(texts), keys, rows, events, scopes, next: 0, spares })
    }

    /// The place of a tenant and a category; most rows have those of the row before.
    fn scope(&mut self, connection: &Connection, names: &mut Names, scope: u32) -> rusqlite::Result<u32> {
        let place = match self.places.get(&scope) {
            Some(place) => *place,
            None => {
                let (tenant, category) = names.scope(connection, scope)?;
                let tenant = Tenant::from_stored(tenant.as_str());
                self.scopes.push((tenant, Category::from_stored(category.as_str())));
                let place = (self.scopes.len() - 1) as u32;
                self.places.insert(scope, place);
                place
            }
        };
        self.last = Some((scope, place));
        Ok(place)
    }

    /// Adds a text; answers where it ends.
    fn text(&mut self, text: &str) -> rusqlite::Result<u32> {
        self.room.texts.push_str(text);
        end_of(&self.room.texts)
    }
}

fn end_of(texts: &str) -> rusqlite::Result<u32> {
    u32::try_from(texts.len()).map_err(|_| {
        rusqlite::Error::ToSqlConversionFailure("the texts of a block are larger than 4 GiB".into())
    })
}

impl Cut {
    /// Every fact that is left.
    pub(crate) fn rest(mut self) -> Vec<Arc<RawFact>> {
        let mut facts = Vec::new();
        self.take(self.rows.len(), &mut facts);
        facts
    }

    /// The last fact.
    pub(crate) fn last(&self) -> Option<RawFact> {
        let number = self.rows.len().checked_sub(1)?;
        Some(self.fact(number, None))
    }

    fn fact(&self, number: usize, before: Option<&RawFact>) -> RawFact {
        let row = &self.rows[number];
        let (metadata, payload) = self.texts_of(number);
        RawFact {
            position: row.position,
            stream: self.stream_before(number, before).unwrap_or_else(|| self.stream(number)),
            version: row.version,
            event: self.events[row.event as usize].clone(),
            recorded_at: row.recorded_at,
            occurred_at: row.occurred_at,
            metadata: SharedText::part(&self.texts, metadata),
            payload: SharedText::part(&self.texts, payload),
        }
    }

    /// Writes a fact over another one.
    fn write_over(&self, fact: &mut RawFact, number: usize, before: Option<&RawFact>) {
        let row = &self.rows[number];
        (fact.position, fact.version) = (row.position, row.version);
        (fact.recorded_at, fact.occurred_at) = (row.recorded_at, row.occurred_at);
        fact.event.clone_from(&self.events[row.event as usize]);
        match (self.stream_before(number, before), Arc::get_mut(&mut fact.stream)) {
            (Some(same), _) => fact.stream = same,
            (None, Some(StreamRef { tenant, stream })) => {
                let (of_tenant, category) = &self.scopes[row.scope as usize];
                tenant.clone_from(of_tenant);
                stream.category.clone_from(category);
                stream.key = self.key(number);
            }
            (None, None) => fact.stream = self.stream(number),
        }
        let (metadata, payload) = self.texts_of(number);
        fact.metadata.set(&self.texts, metadata);
        fact.payload.set(&self.texts, payload);
    }

    /// The stream of the fact before, if it is the same.
    fn stream_before(&self, number: usize, before: Option<&RawFact>) -> Option<Arc<StreamRef>> {
        let before = before?;
        let same = self.rows[number - 1].stream == self.rows[number].stream;
        same.then(|| Arc::clone(&before.stream))
    }

    fn stream(&self, number: usize) -> Arc<StreamRef> {
        let (tenant, category) = &self.scopes[self.rows[number].scope as usize];
        let stream = StreamId { category: category.clone(), key: self.key(number) };
        Arc::new(StreamRef { tenant: tenant.clone(), stream })
    }

    fn key(&self, number: usize) -> StreamKey {
        let from = number.checked_sub(1).map_or(0, |before| self.rows[before].key_ends);
        StreamKey::from_stored(&self.keys[from as usize..self.rows[number].key_ends as usize])
    }

    /// Where metadata and payload stand.
    fn texts_of(&self, number: usize) -> (Range<usize>, Range<usize>) {
        let from = number.checked_sub(1).map_or(0, |before| self.rows[before].ends[1]);
        let [from, metadata, payload] = [from, self.rows[number].ends[0], self.rows[number].ends[1]];
        (from as usize..metadata as usize, metadata as usize..payload as usize)
    }
}

impl RawFacts for Cut {
    fn take(&mut self, facts_max: usize, into: &mut Vec<Arc<RawFact>>) {
        let from = self.next;
        self.next = self.rows.len().min(from.saturating_add(facts_max));
        into.truncate(self.next - from);
        into.reserve(self.next - from - into.len());
        for number in from..self.next {
            let (before, rest) = into.split_at_mut(number - from);
            let before = before.last().map(|fact| &**fact);
            match rest.first_mut() {
                Some(fact) => match Arc::get_mut(fact) {
                    Some(fact) => self.write_over(fact, number, before),
                    None => *fact = Arc::new(self.fact(number, before)),
                },
                None => {
                    let fact = Arc::new(self.fact(number, before));
                    into.push(fact);
                }
            }
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        // Facts that are still in use keep their texts.
        if let (Some(spares), Some(texts)) = (&self.spares, Arc::get_mut(&mut self.texts)) {
            spares.give(Room {
                texts: std::mem::take(texts),
                keys: std::mem::take(&mut self.keys),
                rows: std::mem::take(&mut self.rows),
            });
        }
    }
}

impl Spares {
    fn take(&self) -> Room {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give(&self, mut room: Room) {
        if room.texts.capacity().max(room.keys.capacity()) > SPARE_BYTES_MAX {
            return;
        }
        room.texts.clear();
        room.keys.clear();
        room.rows.clear();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() < SPARES_MAX {
            held.push(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts of streams by number, each with a payload that tells it from all others.
    fn gathered_of(spares: &Arc<Spares>, streams: &[i64], payload: &str) -> Cut {
        let mut gathered = Gathered::reusing(spares);
        let scope = |tenant| (Tenant::from_stored(tenant), Category::from_stored("order"));
        gathered.scopes.extend(["main", "other"].map(scope));
        let names = ["Placed", "Paid"].map(|name| EventName { name: name.into(), schema_version: 1 });
        gathered.events.extend(names);
        for (number, stream) in streams.iter().enumerate() {
            let ends = ["{}".to_owned(), format!("{payload} {number}")];
            let ends = ends.map(|text| gathered.text(&text).unwrap());
            gathered.room.keys.push_str(&format!("stream {stream}"));
            let time = Timestamp::from_stored(number as i64);
            gathered.room.rows.push(GatheredRow {
                position: Position(number as u64),
                stream: *stream,
                version: Version(number as u64),
                recorded_at: time,
                occurred_at: time,
                event: number as u32 % 2,
                ends,
                scope: *stream as u32 % 2,
                key_ends: gathered.room.keys.len() as u32,
            });
        }
        gathered.named = streams.len();
        let connection = Connection::open_in_memory().unwrap();
        gathered.cut(&connection, &mut Names::new(1)).unwrap()
    }

    fn gathered(spares: &Arc<Spares>, payload: &str) -> Cut {
        gathered_of(spares, &[1], payload)
    }

    #[test]
    fn a_fact_is_written_over_unless_somebody_holds_it() {
        let spares = Arc::default();
        let streams = [1, 1, 2, 3, 3, 3, 1, 2, 2];
        let (mut facts, mut held) = (Vec::new(), Vec::new());
        for block in ["first", "second"] {
            let expected = gathered_of(&spares, &streams, block).rest();
            let mut cut = gathered_of(&spares, &streams, block);
            let mut taken = Vec::new();
            for part in 0.. {
                let before: Vec<_> = facts.iter().map(Arc::as_ptr).collect();
                cut.take(4, &mut facts);
                let again = facts.iter().zip(before).filter(|(fact, before)| Arc::as_ptr(fact) == *before);
                let may_be_again = if part % 2 == 0 { facts.len() } else { 3 };
                assert!(part == 0 || again.count() == may_be_again.min(facts.len()), "{part}");
                if facts.is_empty() {
                    break;
                }
                // Those that are held are compared when others were put in place of them.
                let apart = |fact: &Arc<RawFact>| RawFact {
                    stream: Arc::new((*fact.stream).clone()),
                    ..(**fact).clone()
                };
                taken.extend(facts.iter().map(apart));
                held.extend(facts.first().filter(|_| part % 2 == 0).map(Arc::clone));
            }
            let expected: Vec<_> = expected.iter().map(|fact| RawFact::clone(fact)).collect();
            assert_eq!(taken, expected);
        }
        let payloads: Vec<_> =
            held.iter().map(|fact| (&*fact.payload, fact.stream.stream.key.as_str())).collect();
        let expected = [("first 0", "stream 1"), ("first 8", "stream 2")];
        let expected = expected.into_iter().chain([("second 0", "stream 1"), ("second 8", "stream 2")]);
        assert!(payloads.into_iter().eq(expected));
    }

    #[test]
    fn memory_is_used_again_and_never_while_a_fact_needs_it() {
        let spares = Arc::default();
        let held = gathered(&spares, "first").rest();
        assert!(spares.0.lock().unwrap().is_empty(), "the texts are still in use");
        drop(gathered(&spares, "second"));
        assert_eq!(spares.0.lock().unwrap().len(), 1);
        let third = gathered(&spares, "third");
        assert!(spares.0.lock().unwrap().is_empty(), "the memory of the second is the third's");
        assert_eq!((&*third.rest()[0].payload, &*held[0].payload), ("third 0", "first 0"));
    }

    #[test]
    fn little_memory_is_kept() {
        let spares = Spares::default();
        for bytes in [SPARE_BYTES_MAX + 1].into_iter().chain([1; SPARES_MAX + 1]) {
            spares.give(Room { texts: String::with_capacity(bytes), ..Room::default() });
        }
        let held = spares.0.lock().unwrap();
        assert_eq!(held.len(), SPARES_MAX);
        assert!(held.iter().all(|room| room.texts.capacity() <= SPARE_BYTES_MAX));
    }
}
