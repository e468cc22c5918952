//! A small world by hand: shelves, boxes on them, things in boxes, and a store as plain as can be that folds
//! them.

use crate::fold::{DecodedFacts, ROWS_PER_FACT_MAX, bucket_of, row_digest};
use crate::{
    Batch, Block, Changed, Column, ColumnSpec, Contract, Direction, Fold, FoldError, Governance, Group,
    IndexSpec, JoinedProjection, Mark, Matching, Mode, Projection, RawBlock, ReadModel, Reads, Route,
    RowChange, RowRef, Schema, Sensitivity, Siblings, Storage, StoredRow, TableChanges, TableNeeds, Tenants,
    Upkeep, erase,
};
use diptych_core::{
    DecodeError, EncodeError, Epoch, Event, EventName, EventSet, EventType, Fact, Fingerprint, Language,
    Portable, Position, RawFact, StreamId, StreamRef, Tenant, Timestamp, Token, Value, ValueType, Version,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A language: its events are JSON in serde's external form, under one stored name.
macro_rules! language {
    ($name:ident, $category:literal, { $($variant:tt)* }) => {
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        pub(super) enum $name { $($variant)* }

        impl Event for $name {
            const CATEGORY: &'static str = $category;
            const OWNER: &'static str = "tests";
            const TYPES: &'static [EventType] = &[EventType { name: "Happened", version: 1, meaning: "" }];

            fn event_type(&self) -> EventType {
                Self::TYPES[0]
            }

            fn encode(&self) -> Result<String, EncodeError> {
                serde_json::to_string(self).map_err(|error| EncodeError::new("event", error))
            }

            fn decode(name: &str, _: u32, payload: &str) -> Result<Option<Self>, DecodeError> {
                serde_json::from_str(payload).map(Some).map_err(|error| DecodeError::malformed(name, &error))
            }

            fn schemas(_: &mut schemars::SchemaGenerator) -> Vec<schemars::Schema> {
                Vec::new()
            }
        }
    };
}

language!(ShelfEvent, "shelf", { Named { name: String }, Removed });
language!(BoxEvent, "box", { Put { shelf: String }, Burnt });
language!(ThingEvent, "thing", {
    Made { inside: String, colour: Option<String> },
    Packed { inside: String },
    /// It comes back, if it is in a box that is on a shelf with a name.
    Remembered { inside: String },
    /// This one, and all of a colour, get another colour.
    Painted { from: String, to: Option<String> },
    /// All of some colours, and of no colour.
    Dusted { colours: Vec<Option<String>> },
    Lost,
    /// The box must be known.
    Expected { inside: String },
    /// Whoever hears of it panics.
    Cursed,
    /// Goes from box to box, taking where one is put for the name of the next.
    Traced { inside: String },
    /// This one, named twice.
    Doubted,
    /// By a column that has no index.
    Misrouted,
});

#[derive(Clone, Debug)]
#[allow(dead_code, reason = "some facts matter by their key alone")]
pub(super) enum BoxFact {
    Shelf(ShelfEvent),
    Box(BoxEvent),
}

#[derive(Clone, Debug)]
#[allow(dead_code, reason = "some facts matter by their key alone")]
pub(super) enum ThingFact {
    Shelf(ShelfEvent),
    Box(BoxEvent),
    Thing(ThingEvent),
}

macro_rules! set {
    ($name:ident, $($variant:ident = $language:ident),+) => {
        impl EventSet for $name {
            const CATEGORIES: &'static [&'static str] = &[$($language::CATEGORY),+];
            const LANGUAGES: &'static [Language] = &[$($language::LANGUAGE),+];

            fn decode_in(
                category: &str,
                name: &str,
                version: u32,
                payload: &str,
            ) -> Result<Option<Self>, DecodeError> {
                match category {
                    $($language::CATEGORY => {
                        Ok($language::decode(name, version, payload)?.map(Self::$variant))
                    })+
                    other => Err(DecodeError::foreign(other)),
                }
            }
        }
    };
}
set!(BoxFact, Shelf = ShelfEvent, Box = BoxEvent);
set!(ThingFact, Shelf = ShelfEvent, Box = BoxEvent, Thing = ThingEvent);

const fn column(name: &'static str, nullable: bool) -> ColumnSpec {
    ColumnSpec {
        name,
        public: name,
        value_type: ValueType::Text,
        nullable,
        choices: &[],
        ranked: false,
        filter: true,
        sort: true,
        sensitivity: Sensitivity::Internal,
        facets: crate::Facets::PLAIN,
        meaning: "",
    }
}

const fn table(name: &'static str, columns: &'static [ColumnSpec]) -> Schema {
    Schema {
        name,
        path: "",
        revision: 1,
        meaning: "",
        columns,
        key: &[0],
        indexes: &[],
        default_sort: None,
        computed: &[],
        reads: &[],
        mode: Mode::Asynchronous,
        partitions: 1,
        contract: Contract::Eventual,
        tenants: Tenants::Own,
        about: "",
        pending: false,
        storage: Storage::Columns,
        source: "",
        upkeep: Upkeep::DEFAULT,
        governance: Governance::NONE,
    }
}

/// A row of texts, the first of which is its key.
macro_rules! row {
    ($name:ident, $schema:expr, $key:ident $(, $field:ident: $type:ty)*) => {
        #[derive(Clone, PartialEq, Debug)]
        pub(super) struct $name {
            pub(super) $key: String,
            $(pub(super) $field: $type,)*
        }

        impl ReadModel for $name {
            type Key = String;
            const SCHEMA: &'static Schema = &$schema;

            fn key(&self) -> String {
                self.$key.clone()
            }

            fn key_values(key: &String) -> Vec<Value> {
                vec![key.to_value()]
            }

            fn key_from_values(values: &[Value]) -> Result<String, DecodeError> {
                String::from_value(&values[0])
            }

            fn to_row(&self) -> Vec<Value> {
                vec![self.$key.to_value() $(, self.$field.to_value())*]
            }

            fn from_row(values: &[Value]) -> Result<Self, DecodeError> {
                let mut values = values.iter();
                let mut next = || values.next().unwrap_or(&Value::Null);
                Ok(Self {
                    $key: String::from_value(next())?,
                    $($field: <$type>::from_value(next())?,)*
                })
            }
        }
    };
}

row!(ShelfRow, table("shelf", &[column("shelf", false), column("name", false)]), shelf, name: String);
row!(
    BoxRow,
    Schema {
        reads: &[ShelfRow::SCHEMA],
        indexes: &[IndexSpec { columns: &[(1, Direction::Ascending)] }],
        ..table("box", &[column("inside", false), column("shelf", false), column("shelf_name", true)])
    },
    inside,
    shelf: String,
    shelf_name: Option<String>
);
row!(
    ThingRow,
    Schema {
        reads: &[ShelfRow::SCHEMA, BoxRow::SCHEMA],
        indexes: &[
            IndexSpec { columns: &[(1, Direction::Ascending)] },
            IndexSpec { columns: &[(2, Direction::Ascending)] },
        ],
        ..table(
            "thing",
            &[
                column("thing", false),
                column("inside", false),
                column("colour", true),
                column("trail", false),
            ],
        )
    },
    thing,
    inside: String,
    colour: Option<String>,
    trail: String
);

fn own<E>(fact: &Fact<E>) -> String {
    fact.stream().key.as_str().to_owned()
}

impl Projection for ShelfRow {
    type Event = ShelfEvent;

    fn route(fact: &Fact<ShelfEvent>) -> Route<Self> {
        Route::key(own(fact))
    }

    fn project(_: Option<Self>, fact: &Fact<ShelfEvent>) -> Option<Self> {
        match &fact.event {
            ShelfEvent::Named { name } => Some(Self { shelf: own(fact), name: name.clone() }),
            ShelfEvent::Removed => None,
        }
    }
}

/// Looks a row up, as a fold or the reference does.
pub(super) type Look<'a, S> = &'a dyn Fn(&str) -> Option<S>;

impl BoxRow {
    /// What a fact makes of a row.
    pub(super) fn after(
        row: Option<Self>,
        fact: &Fact<BoxFact>,
        shelves: Look<'_, ShelfRow>,
    ) -> Option<Self> {
        match &fact.event {
            BoxFact::Box(BoxEvent::Put { shelf }) => Some(Self {
                inside: own(fact),
                shelf: shelf.clone(),
                shelf_name: shelves(shelf).map(|shelf| shelf.name),
            }),
            BoxFact::Box(BoxEvent::Burnt) => None,
            BoxFact::Shelf(_) => {
                row.map(|row| Self { shelf_name: shelves(&row.shelf).map(|shelf| shelf.name), ..row })
            }
        }
    }
}

impl Reads<ShelfRow> for BoxRow {}

impl JoinedProjection for BoxRow {
    type Event = BoxFact;

    fn route(fact: &Fact<BoxFact>) -> Route<Self> {
        match &fact.event {
            BoxFact::Box(_) => Route::key(own(fact)),
            BoxFact::Shelf(_) => Route::rows_where(Column::<Self, String, true, true>::at(1), &own(fact)),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<BoxFact>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        Self::after(row, fact, &|key| siblings.get::<ShelfRow>(&key.to_owned()).cloned())
    }
}

impl ThingRow {
    const INSIDE: Column<Self, String, true, true> = Column::at(1);
    const COLOUR: Column<Self, Option<String>, true, true> = Column::at(2);
    const TRAIL: Column<Self, String, true, true> = Column::at(3);

    /// What a fact makes of a row. The trail tells everything that was seen on the way.
    pub(super) fn after(
        row: Option<Self>,
        fact: &Fact<ThingFact>,
        boxes: Look<'_, BoxRow>,
        shelves: Look<'_, ShelfRow>,
    ) -> Option<Self> {
        use ThingEvent::*;
        let seen = |inside: &str| match boxes(inside) {
            Some(held) => format!("{:?} on {:?}", held.shelf_name, shelves(&held.shelf)),
            None => "nowhere".to_owned(),
        };
        let new = |inside: &str, colour: Option<String>| Self {
            thing: own(fact),
            inside: inside.to_owned(),
            colour,
            trail: String::new(),
        };
        let row = match (&fact.event, row) {
            (ThingFact::Thing(Made { inside, colour }), _) => new(inside, colour.clone()),
            (ThingFact::Thing(Packed { inside }), Some(row)) => Self { inside: inside.clone(), ..row },
            (ThingFact::Thing(Remembered { inside }), row) => {
                boxes(inside).and_then(|held| held.shelf_name)?;
                row.unwrap_or_else(|| new(inside, None))
            }
            (ThingFact::Thing(Painted { to, .. }), Some(row)) => Self { colour: to.clone(), ..row },
            (ThingFact::Thing(Lost), _) => return None,
            (ThingFact::Thing(Expected { inside }), _) => {
                let held = boxes(inside).expect("the box is known");
                new(&held.inside, None)
            }
            (ThingFact::Thing(Cursed), _) => panic!("nobody can take this"),
            (ThingFact::Thing(Traced { inside }), _) => {
                let mut last = inside.clone();
                while let Some(held) = boxes(&last) {
                    last = held.shelf;
                }
                new(&last, None)
            }
            (_, Some(row)) => row,
            (_, None) => return None,
        };
        let trail = format!("{} {}: {};", row.trail, fact.position(), seen(&row.inside));
        Some(Self { trail, ..row })
    }
}

impl Reads<ShelfRow> for ThingRow {}
impl Reads<BoxRow> for ThingRow {}

impl JoinedProjection for ThingRow {
    type Event = ThingFact;

    fn route(fact: &Fact<ThingFact>) -> Route<Self> {
        match &fact.event {
            ThingFact::Shelf(_) => Route::none(),
            ThingFact::Box(_) => Route::rows_where(Self::INSIDE, &own(fact)),
            ThingFact::Thing(ThingEvent::Painted { from, .. }) => {
                Route::key(own(fact)).and(Route::rows_where(Self::COLOUR, &Some(from.clone())))
            }
            ThingFact::Thing(ThingEvent::Dusted { colours }) => {
                let routes = colours.iter().map(|colour| Route::rows_where(Self::COLOUR, colour));
                routes.fold(Route::none(), Route::and)
            }
            ThingFact::Thing(ThingEvent::Doubted) => Route::key(own(fact)).and(Route::key(own(fact))),
            ThingFact::Thing(ThingEvent::Misrouted) => Route::rows_where(Self::TRAIL, &String::new()),
            ThingFact::Thing(_) => Route::key(own(fact)),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<ThingFact>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        Self::after(row, fact, &|key| siblings.get::<BoxRow>(&key.to_owned()).cloned(), &|key| {
            siblings.get::<ShelfRow>(&key.to_owned()).cloned()
        })
    }
}

/// The three tables as one group.
pub(super) fn group() -> Group {
    Group::new("attic", vec![erase::<ShelfRow>(), erase::<BoxRow>(), erase::<ThingRow>()]).unwrap()
}

/// Numbers facts as a log does.
#[derive(Default)]
pub(super) struct Log {
    pub(super) facts: Vec<Arc<RawFact>>,
}

impl Log {
    /// Appends a fact to a stream of the first tenant.
    pub(super) fn tell<E: Event>(&mut self, key: &str, event: E) -> &mut Self {
        self.tell_in("main", key, event)
    }

    pub(super) fn tell_in<E: Event>(&mut self, tenant: &str, key: &str, event: E) -> &mut Self {
        let stream = StreamId::new(E::CATEGORY, key).unwrap();
        let kind = event.event_type();
        self.facts.push(Arc::new(RawFact {
            position: Position(self.facts.len() as u64 + 1),
            stream: Arc::new(StreamRef { tenant: Tenant::new(tenant).unwrap(), stream }),
            version: Version(1),
            event: EventName { name: kind.name.into(), schema_version: kind.version },
            recorded_at: Timestamp::EPOCH,
            occurred_at: Timestamp::EPOCH,
            metadata: "{}".to_owned().into(),
            payload: event.encode().unwrap().into(),
        }));
        self
    }
}

fn mark(position: Position) -> Mark {
    let token = Token { epoch: Epoch::FIRST, position, fingerprint: Fingerprint(0) };
    Mark { token, recorded_at: Timestamp::EPOCH }
}

/// A row's place: its tenant and key.
type Place = (String, String);

fn place(row: &RowRef) -> Place {
    (Tenant::as_str(&row.tenant).to_owned(), format!("{:?}", row.key))
}

/// A store in memory, with the digest of each table.
pub(super) struct Kept {
    pub(super) group: Group,
    pub(super) tables: Vec<BTreeMap<Place, StoredRow>>,
    digests: Vec<BTreeMap<u8, (i64, u128)>>,
    pub(super) reached: Position,
    pub(super) no_ops: Vec<u64>,
    /// How often the last fold asked for rows.
    pub(super) rounds: usize,
}

impl Kept {
    pub(super) fn new(group: Group) -> Self {
        let tables = group.models().len();
        Self {
            group,
            tables: vec![BTreeMap::new(); tables],
            digests: vec![BTreeMap::new(); tables],
            reached: Position::START,
            no_ops: vec![0; tables],
            rounds: 0,
        }
    }

    /// A fold whose rows stay, from where the store stands.
    pub(super) fn lasting(&self) -> Fold {
        Fold::lasting(&self.group, None, mark(self.reached))
    }

    /// Folds facts in parts, on the rows that are in memory and those that the store holds.
    pub(super) fn fold_ahead(
        &mut self,
        fold: &mut Fold,
        parts: &[&[Arc<RawFact>]],
    ) -> Result<Batch, FoldError> {
        let mut rounds = 0;
        for part in parts {
            let through = part.last().map_or(fold.through().position(), |last| last.position);
            fold.plan_facts(part, mark(through))?;
            self.run(fold)?;
            rounds += self.rounds;
        }
        self.rounds = rounds;
        fold.take_batch()
    }

    /// Keeps what was folded ahead.
    pub(super) fn write_ahead(&mut self, batch: Batch) {
        assert_eq!(batch.from, self.reached, "batches are written in their order");
        self.write(batch.changes, |change, differ| change.changed.and(differ) == change.changed);
        self.no_ops.iter_mut().zip(batch.passed).for_each(|(held, more)| *held += more.no_ops);
        self.reached = batch.through.position();
    }

    /// A fold over facts, planned in one block or several; `fresh` as a first build is.
    pub(super) fn plan(&self, blocks: &[&[Arc<RawFact>]], fresh: bool) -> Result<Fold, FoldError> {
        let from = mark(self.reached);
        let mut fold =
            if fresh { Fold::from_mark(&self.group, from) } else { Fold::redelivery(&self.group, from) };
        for block in blocks {
            let through = block.last().map_or(self.reached, |last| last.position);
            fold.plan_facts(block, mark(through))?;
        }
        Ok(fold)
    }

    /// As `plan` of one block into an empty store, whose facts are decoded before, so many at a time.
    pub(super) fn plan_decoded(&self, facts: &[Arc<RawFact>], facts_max: usize) -> Result<Fold, FoldError> {
        let through = mark(facts.last().map_or(self.reached, |last| last.position));
        let block = Block { after: self.reached, through, head: through.position(), facts: facts.to_vec() };
        let (mut block, mut room) = (RawBlock::from(block), DecodedFacts::default());
        let mut fold = Fold::from_mark(&self.group, mark(self.reached));
        while room.take(&self.group, &mut *block.facts, facts_max) {
            fold.plan_decoded(&mut room)?;
        }
        fold.plan_facts(&[], through)?;
        Ok(fold)
    }

    /// Applies facts as one transaction.
    pub(super) fn apply(&mut self, facts: &[Arc<RawFact>]) -> Result<(), FoldError> {
        let fold = self.plan(&[facts], self.reached == Position::START)?;
        self.finish(fold)
    }

    /// Runs a fold to its end and keeps what it changes.
    pub(super) fn finish(&mut self, mut fold: Fold) -> Result<(), FoldError> {
        self.run(&mut fold)?;
        self.keep(&mut fold)
    }

    /// Supplies what a fold needs until it needs nothing more.
    pub(super) fn run(&mut self, fold: &mut Fold) -> Result<(), FoldError> {
        self.rounds = 0;
        while let Some(needs) = fold.run()? {
            self.rounds += 1;
            for (table, needs) in needs {
                self.supply(fold, table, &needs)?;
            }
        }
        Ok(())
    }

    pub(super) fn supply(&self, fold: &mut Fold, table: usize, needs: &TableNeeds) -> Result<(), FoldError> {
        let held = &self.tables[table];
        let rows = needs.rows.iter().filter_map(|row| held.get(&place(row)).cloned());
        fold.supply(table, rows.collect())?;
        for wanted in &needs.matching {
            let fits = |stored: &&StoredRow| holds(stored, wanted);
            // One more than a fact may touch, as every store may leave it at.
            let rows = held.values().filter(fits).take(ROWS_PER_FACT_MAX + 1);
            fold.supply(table, rows.cloned().collect())?;
        }
        Ok(())
    }

    pub(super) fn keep(&mut self, fold: &mut Fold) -> Result<(), FoldError> {
        self.write(fold.changes()?, |change, differ| change.changed == differ);
        self.no_ops.iter_mut().zip(fold.no_ops()).for_each(|(held, more)| *held += more);
        self.reached = self.reached.max(fold.through().position());
        Ok(())
    }

    /// Keeps changes; `says` tells whether one says rightly which indexed columns differ.
    fn write(&mut self, changes: Vec<TableChanges>, says: impl Fn(&RowChange, Changed) -> bool) {
        for (table, changes) in changes.into_iter().enumerate() {
            assert!(changes.rows.is_sorted_by(|a, b| a.stored.row.table_cmp(&b.stored.row).is_lt()));
            let indexed = self.group.models()[table].schema().indexed_columns();
            for change in changes.rows {
                let stored = change.stored.clone();
                let before = self.tables[table].insert(place(&stored.row), stored);
                let before = before.and_then(|before| before.values);
                assert_eq!(change.existed, before.is_some());
                let (Some(before), Some(values)) = (before, &change.stored.values) else { continue };
                let differ = Changed::of(indexed.iter().map(|column| before[*column] != values[*column]));
                assert!(says(&change, differ), "what indexes hold of {before:?} and {values:?}");
            }
            for (bucket, rows, sum) in changes.digest {
                let held = self.digests[table].entry(bucket).or_default();
                *held = (held.0 + rows, held.1.wrapping_add(sum));
            }
        }
    }

    /// Every row of every table, after the proof that each digest is that of the rows.
    pub(super) fn contents(&self) -> Vec<BTreeMap<Place, Vec<Value>>> {
        for (table, kept) in self.tables.iter().zip(&self.digests) {
            let mut digest: BTreeMap<u8, (i64, u128)> = BTreeMap::new();
            for stored in table.values() {
                let Some(values) = &stored.values else { continue };
                let held = digest.entry(bucket_of(&stored.row.tenant, &stored.row.key)).or_default();
                *held = (held.0 + 1, held.1.wrapping_add(row_digest(&stored.row.tenant, values)));
            }
            let kept: BTreeMap<_, _> = kept
                .iter()
                .filter(|(_, held)| **held != (0, 0))
                .map(|(bucket, held)| (*bucket, *held))
                .collect();
            assert_eq!(kept, digest, "the digest");
        }
        let live = |table: &BTreeMap<Place, StoredRow>| {
            let rows = table.iter().filter_map(|(place, row)| Some((place.clone(), row.values.clone()?)));
            rows.collect()
        };
        self.tables.iter().map(live).collect()
    }

    /// A thing of the first tenant.
    pub(super) fn thing(&self, key: &str) -> Option<ThingRow> {
        let row = RowRef { tenant: Tenant::new("main").unwrap(), key: vec![key.to_owned().to_value()] };
        let stored = self.tables[2].get(&place(&row))?;
        stored.values.as_ref().map(|values| ThingRow::from_row(values).unwrap())
    }
}

fn holds(stored: &StoredRow, wanted: &Matching) -> bool {
    let value = stored.values.as_ref().map(|values| &values[wanted.column]);
    stored.row.tenant == wanted.tenant && value == Some(&wanted.value)
}
