//! A small world by hand: accounts with deposits, a balance per account, and a store in a database of its
//! own.

use diptych_command::{
    CommandHeader, Commit, CommitError, Committed, Effect, EventStore, InputHash, RawCommand,
};
use diptych_core::*;
use diptych_postgres::{PostgresOptions, PostgresStore};
use diptych_query::{
    AdvanceError, BuildId, BuildMove, ColumnSpec, Contract, Direction, Feed, Fold, Governance, Group,
    IndexSpec, Mode, ModelStore, Order, Projection, ReadModel, Registry, Route, Schema, Sensitivity, Stage,
    Storage, Tenants, Upkeep, erase, own_build,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tokio_postgres::{Client, NoTls};

/// A database that no other test uses, on the server that `DIPTYCH_POSTGRES_URL` names.
pub(crate) struct Database(pub(crate) String);

impl Database {
    pub(crate) async fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let server = std::env::var("DIPTYCH_POSTGRES_URL")
            .expect("DIPTYCH_POSTGRES_URL names no server: run `cargo xtask test`, which starts one");
        let name = format!("models_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let client = connect(&server).await;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let (place, _) = server.rsplit_once('/').unwrap();
        Self(format!("{place}/{name}"))
    }

    /// A connection past the store, as a person has one.
    pub(crate) async fn person(&self) -> Client {
        connect(&self.0).await
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A clock that tests turn by hand.
pub(crate) struct Hands(AtomicI64);

impl Hands {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_700_000_000_000_000)))
    }

    pub(crate) fn turn(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_stored(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum AccountEvent {
    Deposited(i64),
    Closed,
    Cursed,
}

impl Event for AccountEvent {
    const CATEGORY: &'static str = "account";
    const OWNER: &'static str = "tests";
    const TYPES: &'static [EventType] = &[
        EventType { name: "Deposited", version: 1, meaning: "" },
        EventType { name: "Closed", version: 1, meaning: "" },
        EventType { name: "Cursed", version: 1, meaning: "" },
    ];

    fn event_type(&self) -> EventType {
        match self {
            Self::Deposited(_) => Self::TYPES[0],
            Self::Closed => Self::TYPES[1],
            Self::Cursed => Self::TYPES[2],
        }
    }

    fn encode(&self) -> Result<String, EncodeError> {
        Ok(match self {
            Self::Deposited(amount) => amount.to_string(),
            _ => "null".to_owned(),
        })
    }

    fn decode(name: &str, _: u32, payload: &str) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match name {
            "Deposited" => {
                Self::Deposited(payload.parse().map_err(|error| DecodeError::malformed("amount", &error))?)
            }
            "Closed" => Self::Closed,
            "Cursed" => Self::Cursed,
            other => return Err(DecodeError::unknown_type(other)),
        }))
    }

    fn schemas(_: &mut schemars::SchemaGenerator) -> Vec<schemars::Schema> {
        Vec::new()
    }
}

pub(crate) const fn column(name: &'static str, value_type: ValueType) -> ColumnSpec {
    ColumnSpec {
        name,
        public: name,
        value_type,
        nullable: false,
        choices: &[],
        ranked: false,
        filter: true,
        sort: true,
        sensitivity: Sensitivity::Internal,
        facets: diptych_query::Facets::PLAIN,
        meaning: "",
    }
}

pub(crate) const fn schema(name: &'static str, columns: &'static [ColumnSpec], mode: Mode) -> Schema {
    Schema {
        name,
        path: "",
        revision: 1,
        meaning: "the balance of an account",
        columns,
        key: &[0],
        indexes: &[
            IndexSpec { columns: &[(2, Direction::Descending)] },
            IndexSpec { columns: &[(1, Direction::Ascending)] },
        ],
        default_sort: None,
        computed: &[],
        reads: &[],
        mode,
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

const COLUMNS: &[ColumnSpec] = &[
    column("account", ValueType::Text),
    column("balance", ValueType::Integer),
    ColumnSpec { nullable: true, ..column("large_at", ValueType::Timestamp) },
    ColumnSpec { choices: &["SMALL", "LARGE"], ranked: true, ..column("size", ValueType::Text) },
    ColumnSpec { nullable: true, ..column("total", ValueType::Money) },
];

const WIDER: &[ColumnSpec] = &[
    column("account", ValueType::Text),
    column("balance", ValueType::Integer),
    column("extra", ValueType::Integer),
];

static BALANCE: Schema = schema("balance", COLUMNS, Mode::Asynchronous);
static INLINE: Schema = schema("balance_inline", COLUMNS, Mode::Inline);
static RESHAPED: Schema = schema("balance", WIDER, Mode::Asynchronous);
static NEWER: Schema = Schema { revision: 2, ..schema("balance", WIDER, Mode::Asynchronous) };
static SAME: Schema = Schema { revision: 2, ..schema("balance", COLUMNS, Mode::Asynchronous) };
static EVENT: Schema = schema("event", COLUMNS, Mode::Asynchronous);

/// A row of balances.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Row {
    pub(crate) account: String,
    pub(crate) balance: i64,
    pub(crate) large_at: Option<Timestamp>,
}

impl Row {
    fn values(&self) -> Vec<Value> {
        let size = if self.balance >= 100 { "LARGE" } else { "SMALL" };
        let money = Money::from_thousandths(self.balance, Currency::GBP).unwrap();
        vec![
            Value::Text(self.account.clone()),
            Value::Integer(self.balance),
            self.large_at.map_or(Value::Null, Value::Timestamp),
            Value::Text(size.to_owned()),
            if self.balance == 0 { Value::Null } else { Value::Money(money) },
        ]
    }

    fn of(values: &[Value]) -> Result<Self, DecodeError> {
        Ok(Self {
            account: String::from_value(&values[0])?,
            balance: i64::from_value(&values[1])?,
            large_at: match values[2] {
                Value::Timestamp(time) => Some(time),
                // None, or a row of another shape.
                _ => None,
            },
        })
    }

    fn fold(row: Option<Self>, fact: &Fact<AccountEvent>) -> Option<Self> {
        match &fact.event {
            AccountEvent::Deposited(amount) => {
                let account = fact.stream().key.as_str().to_owned();
                let mut row = row.unwrap_or(Self { account, balance: 0, large_at: None });
                row.balance += amount;
                row.large_at = row.large_at.or((row.balance >= 100).then_some(fact.occurred_at()));
                Some(row)
            }
            AccountEvent::Closed => None,
            AccountEvent::Cursed => panic!("nobody can fold this"),
        }
    }
}

macro_rules! model {
    ($name:ident, $schema:ident) => {
        #[derive(Clone, PartialEq, Debug)]
        pub(crate) struct $name(pub(crate) Row);

        impl ReadModel for $name {
            type Key = String;
            const SCHEMA: &'static Schema = &$schema;

            fn key(&self) -> String {
                self.0.account.clone()
            }
            fn key_values(key: &String) -> Vec<Value> {
                vec![Value::Text(key.clone())]
            }
            fn key_from_values(values: &[Value]) -> Result<String, DecodeError> {
                String::from_value(&values[0])
            }
            fn to_row(&self) -> Vec<Value> {
                let mut values = self.0.values();
                if $schema.columns.len() == WIDER.len() {
                    values.truncate(2);
                    values.push(Value::Integer(0));
                }
                values
            }
            fn from_row(values: &[Value]) -> Result<Self, DecodeError> {
                Row::of(values).map(Self)
            }
        }

        impl Projection for $name {
            type Event = AccountEvent;
            fn route(fact: &Fact<AccountEvent>) -> Route<Self> {
                Route::key(fact.stream().key.as_str().to_owned())
            }
            fn project(row: Option<Self>, fact: &Fact<AccountEvent>) -> Option<Self> {
                Row::fold(row.map(|row| row.0), fact).map(Self)
            }
        }
    };
}

model!(Balance, BALANCE);
model!(InlineBalance, INLINE);
model!(ReshapedBalance, RESHAPED);
model!(NewerBalance, NEWER);
model!(SameBalance, SAME);
model!(EventBalance, EVENT);

pub(crate) fn group<M: Projection>() -> Arc<Group> {
    Arc::new(Group::of_one(erase::<M>()))
}

pub(crate) async fn open(
    database: &Database,
    clock: &Arc<Hands>,
    inline: Vec<Arc<Group>>,
) -> Arc<PostgresStore> {
    open_with(database, clock, inline, |_| ()).await
}

pub(crate) async fn open_with(
    database: &Database,
    clock: &Arc<Hands>,
    inline: Vec<Arc<Group>>,
    change: impl FnOnce(&mut PostgresOptions),
) -> Arc<PostgresStore> {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    let mut options = PostgresOptions::at(database.0.as_str(), clock);
    options.inline = inline;
    change(&mut options);
    PostgresStore::open(options).await.unwrap()
}

pub(crate) fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

pub(crate) fn stream(key: &str) -> StreamRef {
    StreamRef { tenant: tenant("main"), stream: StreamId::new("account", key).unwrap() }
}

pub(crate) fn header(id: &str, stream: &StreamRef, body: &str) -> CommandHeader {
    let actor = Actor::new("ann").unwrap();
    let command = RawCommand { name: "Deposit".to_owned(), body: body.to_owned() };
    CommandHeader {
        id: CommandId::new(id).unwrap(),
        stream: stream.clone(),
        hash: InputHash::of(&actor, stream, &command, ExpectedVersion::Any),
        name: command.name,
        actor,
        correlation: Some(CorrelationId::new("talk").unwrap()),
        causation: None,
        policy: Some(PolicyVersion("p1".into())),
        occurred_at: Timestamp::from_stored(1_600_000_000_000_000),
    }
}

pub(crate) fn append(id: &str, key: &str, base: u64, events: &[AccountEvent]) -> Commit {
    let stream = stream(key);
    let events = events.iter().map(|event| NewEvent::from_event(event).unwrap()).collect();
    let header = header(id, &stream, &format!("{key} {base}"));
    Commit::new(header, Effect::Append { base: Version(base).into(), events })
}

pub(crate) async fn deposit(
    store: &PostgresStore,
    id: &str,
    key: &str,
    base: u64,
    amount: i64,
) -> Result<Committed, CommitError> {
    store.commit(append(id, key, base, &[AccountEvent::Deposited(amount)])).await
}

/// Folds everything that a group lacks, in batches.
pub(crate) async fn drain(store: &PostgresStore, group: &Group, batch: usize) {
    loop {
        let checkpoint = store.checkpoint(group).await.unwrap();
        let block = store.read(checkpoint.mark.position(), group.categories(), batch).await.unwrap();
        if block.after == block.through.position() {
            return;
        }
        let mut fold = Fold::new(group, &checkpoint);
        fold.plan(&block).unwrap();
        store.advance(group, fold).await.unwrap();
    }
}

/// As [`drain`], while others do so, too: who comes late looks where the group stands now.
pub(crate) async fn drain_among_others(store: &PostgresStore, group: &Group, batch: usize) {
    loop {
        let checkpoint = store.checkpoint(group).await.unwrap();
        let block = store.read(checkpoint.mark.position(), group.categories(), batch).await.unwrap();
        if block.after == block.through.position() {
            return;
        }
        let mut fold = Fold::new(group, &checkpoint);
        fold.plan(&block).unwrap();
        match store.advance(group, fold).await {
            Ok(_) | Err(AdvanceError::Moved { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Who orders what tests do.
pub(crate) fn order() -> Order {
    Order { actor: Actor::new("ann").unwrap(), reason: "because".to_owned() }
}

/// The own build of a group's revision.
pub(crate) async fn own(store: &PostgresStore, group: &Group) -> BuildId {
    let builds = store.builds(group.name()).await.unwrap();
    own_build(&builds, group.revision()).unwrap().id
}

/// Has the own build of a group's revision answer for the first time.
pub(crate) async fn serve(store: &PostgresStore, group: &Group) {
    let build = own(store, group).await;
    for (from, to) in [(Stage::Building, Stage::Shadowing), (Stage::Shadowing, Stage::Serving)] {
        store.transit(group, &[BuildMove { build, from, to }], &order()).await.unwrap();
    }
}

/// Another build that stands at the head, as a shadow.
pub(crate) async fn shadow(store: &PostgresStore, group: &Group) -> BuildId {
    let build = store.begin_build(group, &order()).await.unwrap().id;
    drain_among_others(store, &group.at(build), 1_000).await;
    let up = BuildMove { build, from: Stage::Building, to: Stage::Shadowing };
    store.transit(group, &[up], &order()).await.unwrap();
    build
}

/// The moves by which a build takes the place of another.
pub(crate) fn switch(from: BuildId, to: BuildId) -> [BuildMove; 2] {
    let down = BuildMove { build: from, from: Stage::Serving, to: Stage::Shadowing };
    [down, BuildMove { build: to, from: Stage::Shadowing, to: Stage::Serving }]
}

/// Takes a shadow away and removes its tables.
pub(crate) async fn remove(store: &PostgresStore, group: &Group, build: BuildId) {
    let down = BuildMove { build, from: Stage::Shadowing, to: Stage::Retired };
    store.transit(group, &[down], &order()).await.unwrap();
    while let Err(fault) = store.drop_build(group, build).await {
        // Whoever reads is waited for, and may be for too long.
        assert!(fault.is_transient(), "{fault}");
    }
}

/// Every row of a group's only table: account and balance.
pub(crate) async fn balances(store: &PostgresStore, group: &Group) -> Vec<(String, i64)> {
    let rows = store.scan(group, group.models()[0].schema(), None, usize::MAX).await.unwrap();
    let rows = rows.into_iter().map(|row| Row::of(&row.values.unwrap()).unwrap());
    rows.map(|row| (row.account, row.balance)).collect()
}
