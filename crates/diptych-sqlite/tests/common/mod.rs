//! A small world by hand: accounts with deposits, a balance per account, and a store in a directory of its
//! own.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

use diptych_command::{
    CommandHeader, Commit, CommitError, Committed, Effect, EventStore, InputHash, RawCommand,
};
use diptych_core::*;
use diptych_query::{
    ColumnSpec, Contract, Direction, Fold, Governance, Group, IndexSpec, Mode, ModelStore, OnFailure,
    Projection, ReadModel, Route, Schema, Sensitivity, Storage, Tenants, Upkeep, erase,
};
use diptych_sqlite::{SqliteOptions, SqliteStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A directory that goes away.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("diptych-sqlite-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A clock that tests turn by hand.
pub struct Hands(AtomicI64);

impl Hands {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_700_000_000_000_000)))
    }

    pub fn turn(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_stored(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Clone, PartialEq, Debug)]
pub enum AccountEvent {
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

const fn column(name: &'static str, value_type: ValueType) -> ColumnSpec {
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

const fn schema(name: &'static str, columns: &'static [ColumnSpec], mode: Mode) -> Schema {
    Schema {
        name,
        revision: 1,
        meaning: "the balance of an account",
        columns,
        key: &[0],
        indexes: &[IndexSpec { columns: &[(2, Direction::Descending)] }],
        default_sort: None,
        computed: &[],
        path: "",
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
static PARKING: Schema = Schema {
    upkeep: Upkeep { on_failure: OnFailure::Park, ..Upkeep::DEFAULT },
    ..schema("balance_parking", COLUMNS, Mode::Inline)
};
static RESHAPED: Schema = schema("balance", WIDER, Mode::Asynchronous);

/// A row of balances.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    pub account: String,
    pub balance: i64,
    pub large_at: Option<Timestamp>,
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
            large_at: Option::from_value(&values[2])?,
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
        pub struct $name(pub Row);

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
model!(ParkingBalance, PARKING);
model!(ReshapedBalance, RESHAPED);

pub fn group<M: Projection>() -> Arc<Group> {
    Arc::new(Group::of_one(erase::<M>()))
}

pub fn open(directory: &Path, clock: &Arc<Hands>, inline: Vec<Arc<Group>>) -> Arc<SqliteStore> {
    open_with(directory, clock, inline, |_| ())
}

pub fn open_with(
    directory: &Path,
    clock: &Arc<Hands>,
    inline: Vec<Arc<Group>>,
    change: impl FnOnce(&mut SqliteOptions),
) -> Arc<SqliteStore> {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    let mut options = SqliteOptions::at(directory, clock);
    options.inline = inline;
    change(&mut options);
    SqliteStore::open(options).unwrap()
}

pub fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

pub fn stream(key: &str) -> StreamRef {
    StreamRef { tenant: tenant("main"), stream: StreamId::new("account", key).unwrap() }
}

pub fn header(id: &str, stream: &StreamRef, body: &str) -> CommandHeader {
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

pub fn append(id: &str, key: &str, base: u64, events: &[AccountEvent]) -> Commit {
    let stream = stream(key);
    let events = events.iter().map(|event| NewEvent::from_event(event).unwrap()).collect();
    let header = header(id, &stream, &format!("{key} {base}"));
    Commit::new(header, Effect::Append { base: Version(base).into(), events })
}

pub async fn deposit(
    store: &SqliteStore,
    id: &str,
    key: &str,
    base: u64,
    amount: i64,
) -> Result<Committed, CommitError> {
    store.commit(append(id, key, base, &[AccountEvent::Deposited(amount)])).await
}

/// Folds everything that a group lacks, in batches.
pub async fn drain(store: &SqliteStore, group: &Group, batch: usize) {
    use diptych_query::Feed;
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

/// Every row of a group's only table: account and balance.
pub async fn balances(store: &SqliteStore, group: &Group) -> Vec<(String, i64)> {
    let rows = store.scan(group, group.models()[0].schema(), None, usize::MAX).await.unwrap();
    let rows = rows.into_iter().map(|row| Row::of(&row.values.unwrap()).unwrap());
    rows.map(|row| (row.account, row.balance)).collect()
}
