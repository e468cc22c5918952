//! The read side of the tests: the list of notes, folded anew from the log at every question.

use super::{NoteEvent, Store, token};
use diptych_core::{
    BoxFuture, Clock, Code, DecodeError, Fact, Fault, Forbidden, Position, Principal, RawFact, StreamRef,
    Timestamp, Unrestricted, Value, ValueType, Version,
};
use diptych_query::{
    AdvanceError, Advanced, Block, Breach, BuildId, Categories, Checkpoint, ColumnSpec, ComputedSpec,
    Contract, Exporting, Feed, Fold, Found, Governance, Group, Lease, Mark, Mend, Mode, ModelStore, PageKey,
    Parked, Partition, Projection, Purpose, Queries, QueryLimits, QueryParts, RawExport, RawFind, ReadModel,
    ReadPolicy, Route, RowRef, RowsStamp, ScannedRow, Schema, Sensitivity, Sight, Stopped, Storage,
    TableSnapshot, Tenants, Upkeep, erase, export_channel,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const fn column(name: &'static str, filter: bool, key: bool) -> ColumnSpec {
    ColumnSpec {
        name,
        public: if key { "noteId" } else { "text" },
        value_type: ValueType::Text,
        nullable: false,
        choices: &[],
        ranked: false,
        filter,
        sort: filter,
        sensitivity: Sensitivity::Public,
        facets: diptych_query::Facets::PLAIN,
        meaning: "",
    }
}

static COLUMNS: [ColumnSpec; 2] = [column("note_id", false, true), column("text", true, false)];
static COMPUTED: [ComputedSpec; 1] =
    [ComputedSpec { public: "textBytes", value_type: ValueType::Integer, nullable: false }];

const fn declaration(name: &'static str) -> Schema {
    Schema {
        name,
        path: "",
        revision: 1,
        meaning: "Every open note <b>",
        columns: &COLUMNS,
        key: &[0],
        indexes: &[],
        default_sort: None,
        computed: &COMPUTED,
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

static NOTE_LIST: Schema = declaration("note_list");
/// The same without a column that reads the clock, and with a bound.
static NOTE_TEXT: Schema = Schema {
    computed: &[],
    contract: Contract::Bounded { within: Duration::from_secs(5), breach: Breach::Flag },
    ..declaration("note_text")
};

/// The same, telling what is under way.
static NOTE_WORK: Schema = Schema { computed: &[], about: "note", pending: true, ..declaration("note_work") };

/// A declaration of another name.
pub(crate) fn schema(name: &'static str) -> &'static Schema {
    Box::leak(Box::new(declaration(name)))
}

/// A declaration of another name with an address of its own.
pub(crate) fn schema_at(name: &'static str, path: &'static str) -> &'static Schema {
    Box::leak(Box::new(Schema { path, ..declaration(name) }))
}

/// A row of one of the declarations.
#[derive(Clone)]
struct NoteRow<const MODEL: usize = 0> {
    id: String,
    text: String,
}

impl<const MODEL: usize> ReadModel for NoteRow<MODEL> {
    type Key = String;
    const SCHEMA: &'static Schema = [&NOTE_LIST, &NOTE_TEXT, &NOTE_WORK][MODEL];

    fn key(&self) -> String {
        self.id.clone()
    }

    fn key_values(key: &String) -> Vec<Value> {
        vec![Value::Text(key.clone())]
    }

    fn key_from_values(values: &[Value]) -> Result<String, DecodeError> {
        Self::from_row(&[values[0].clone(), values[0].clone()]).map(|row| row.id)
    }

    fn to_row(&self) -> Vec<Value> {
        vec![Value::Text(self.id.clone()), Value::Text(self.text.clone())]
    }

    fn from_row(values: &[Value]) -> Result<Self, DecodeError> {
        match values {
            [Value::Text(id), Value::Text(text), ..] => Ok(Self { id: id.clone(), text: text.clone() }),
            _ => Err(DecodeError::malformed("row", &"two texts expected")),
        }
    }

    fn computed(&self, _: Timestamp) -> Vec<Value> {
        let bytes = Value::Integer(self.text.len() as i64);
        Self::SCHEMA.computed.iter().map(|_| bytes.clone()).collect()
    }
}

impl<const MODEL: usize> Projection for NoteRow<MODEL> {
    type Event = NoteEvent;

    fn route(fact: &Fact<NoteEvent>) -> Route<Self> {
        Route::key(fact.stream().key.as_str().to_owned())
    }

    fn project(_: Option<Self>, fact: &Fact<NoteEvent>) -> Option<Self> {
        match &fact.event {
            NoteEvent::Written { text } => {
                Some(Self { id: fact.stream().key.as_str().to_owned(), text: text.clone() })
            }
            NoteEvent::Closed => None,
        }
    }
}

/// The right panel over the store's log.
pub(super) fn queries(store: &Arc<Store>, clock: Arc<dyn Clock>, limits: QueryLimits) -> Queries {
    Queries::new(QueryParts {
        store: Arc::<Store>::clone(store),
        feed: Arc::<Store>::clone(store),
        groups: vec![
            Arc::new(Group::of_one(erase::<NoteRow<0>>())),
            Arc::new(Group::of_one(erase::<NoteRow<1>>())),
            Arc::new(Group::of_one(erase::<NoteRow<2>>())),
        ],
        progress: Arc::clone(&store.progress),
        authorize: Arc::new(Unrestricted),
        policy: Arc::<Store>::clone(store),
        clock,
        page_key: PageKey::new([7; 32], None),
        limits,
    })
}

/// What everybody may see, as a test has set it.
impl ReadPolicy for Store {
    fn sight(&self, _: &Principal, _: &'static Schema, _: Purpose) -> Result<Arc<Sight>, Forbidden> {
        self.sight.lock().unwrap().clone().map(Arc::new)
    }

    fn may_ask_by(
        &self,
        _: &Principal,
        _: &'static Schema,
        _: usize,
        _: Option<&Value>,
    ) -> Result<(), Forbidden> {
        Ok(())
    }
}

fn now<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(async move { value })
}

fn unasked<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Fault>> {
    now(Err(Fault::permanent(Code::Internal, "these tests do not ask for it")))
}

impl Store {
    fn mark_at(&self, position: usize) -> Mark {
        Mark { token: token(position), recorded_at: super::NOW.parse().unwrap() }
    }

    /// The rows as of everything but the newest fact, so that every answer has a lag to tell.
    fn found(&self, fits: impl Fn(&NoteRow) -> bool) -> Found {
        let facts = self.facts.lock().unwrap();
        let reached = facts.len().saturating_sub(1);
        let mut rows: Vec<NoteRow> = Vec::new();
        for raw in &facts[..reached] {
            let event = raw.decode::<NoteEvent>().unwrap().unwrap();
            let fact = Fact::new(event, Arc::clone(raw));
            rows.retain(|row| row.id != fact.stream().key.as_str());
            rows.extend(NoteRow::<0>::project(None, &fact));
        }
        Found {
            rows: rows.iter().filter(|row| fits(row)).map(ReadModel::to_row).collect(),
            checkpoint: self.checkpoint_at(reached),
            build: BuildId { revision: 1, generation: 1 },
        }
    }

    fn checkpoint_at(&self, position: usize) -> Checkpoint {
        Checkpoint {
            mark: self.mark_at(position),
            updated_at: super::NOW.parse().unwrap(),
            stopped: self.stopped.lock().unwrap().clone(),
        }
    }
}

impl Feed for Store {
    fn read<'a>(
        &'a self,
        after: Position,
        _: &'a Categories,
        positions_max: usize,
    ) -> BoxFuture<'a, Result<Block, Fault>> {
        let facts = self.facts.lock().unwrap();
        let first = usize::try_from(after.0).unwrap();
        let last = facts.len().min(first + positions_max);
        let (through, head) = (self.mark_at(last), Position(facts.len() as u64));
        now(Ok(Block { after, through, facts: facts[first..last].to_vec(), head }))
    }

    fn head(&self) -> BoxFuture<'_, Result<Mark, Fault>> {
        now(Ok(self.mark_at(self.facts.lock().unwrap().len())))
    }

    fn mark(&self, position: Position) -> BoxFuture<'_, Result<Option<Mark>, Fault>> {
        let head = self.facts.lock().unwrap().len();
        let position = usize::try_from(position.0).unwrap();
        now(Ok((position <= head).then(|| self.mark_at(position))))
    }

    fn stream<'a>(
        &'a self,
        _: &'a StreamRef,
        _: Version,
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        unasked()
    }

    fn watch(&self) -> watch::Receiver<Position> {
        watch::channel(Position::START).1
    }
}

impl ModelStore for Store {
    fn attach<'a>(&'a self, _: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        unasked()
    }

    fn advance<'a>(&'a self, _: &'a Group, _: Fold) -> BoxFuture<'a, Result<Advanced, AdvanceError>> {
        now(Err(Fault::permanent(Code::Internal, "these tests do not ask for it").into()))
    }

    fn set_stopped<'a>(
        &'a self,
        _: &'a Group,
        _: Partition,
        _: Option<Stopped>,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        unasked()
    }

    fn checkpoint<'a>(&'a self, _: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        now(Ok(self.found(|_| false).checkpoint))
    }

    fn find<'a>(
        &'a self,
        _: &'a Group,
        _: &'static Schema,
        find: &'a RawFind,
        _: Duration,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        let after = find.after.as_ref().map(|cursor| cursor.key[0].clone());
        let mut found = self.found(|row| {
            after.as_ref().is_none_or(|after| Value::Text(row.id.clone()).portable_cmp(after).is_gt())
        });
        found.rows.sort_by(|a, b| a[0].portable_cmp(&b[0]));
        found.rows.truncate(find.rows_max);
        now(Ok(found))
    }

    fn export<'a>(
        &'a self,
        _: &'a Group,
        _: &'static Schema,
        export: &'a RawExport,
        _: Duration,
    ) -> BoxFuture<'a, Result<Exporting, Fault>> {
        let Found { mut rows, checkpoint, build } =
            self.found(|row| export.rule.admits(&NOTE_TEXT, &row.to_row()));
        rows.sort_by(|a, b| a[0].portable_cmp(&b[0]));
        let cut = *self.cuts_exports.lock().unwrap();
        let (sender, taken) = export_channel(Instant::now() + Duration::from_secs(60));
        tokio::spawn(async move {
            for row in rows {
                if !sender.rows(vec![row], Instant::now()).await.unwrap_or(false) {
                    return;
                }
            }
            let failed = Fault::transient(Code::Storage, "the disk is gone");
            sender.end(if cut { Err(failed) } else { Ok(()) }).await;
        });
        now(Ok(Exporting { checkpoint, build, rows: taken }))
    }

    fn get<'a>(
        &'a self,
        _: &'a Group,
        _: &'static Schema,
        row: &'a RowRef,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        now(Ok(self.found(|held| row.key == [Value::Text(held.id.clone())])))
    }

    fn scan<'a>(
        &'a self,
        _: &'a Group,
        _: &'static Schema,
        _: Option<&'a RowRef>,
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<ScannedRow>, Fault>> {
        unasked()
    }

    fn digest<'a>(
        &'a self,
        _: &'a Group,
        _: &'static Schema,
    ) -> BoxFuture<'a, Result<Vec<(u8, i64, u128)>, Fault>> {
        unasked()
    }

    fn snapshot<'a>(
        &'a self,
        _: &'a Group,
        _: &'static Schema,
        _: Option<&'a RowRef>,
        _: usize,
    ) -> BoxFuture<'a, Result<TableSnapshot, Fault>> {
        unasked()
    }

    fn park<'a>(
        &'a self,
        _: &'a Group,
        _: Option<Lease>,
        _: &'a [Parked],
    ) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async { Ok(unasked::<()>().await?) })
    }

    fn parked<'a>(&'a self, _: &'a Group) -> BoxFuture<'a, Result<Vec<Parked>, Fault>> {
        unasked()
    }

    fn mend<'a>(&'a self, _: &'a Group, _: Mend) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async { Ok(unasked::<()>().await?) })
    }

    fn passed_at<'a>(&'a self, _: &'a Group, _: Position) -> BoxFuture<'a, Result<Option<Timestamp>, Fault>> {
        now(Ok(super::NOW.parse().ok()))
    }

    fn stamp<'a>(&'a self, _: &'a Group) -> BoxFuture<'a, Result<RowsStamp, Fault>> {
        let found = self.found(|_| false);
        now(Ok(RowsStamp::of(found.build, [found.checkpoint.mark.token], 0)))
    }

    fn reset<'a>(&'a self, _: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        unasked()
    }
}
