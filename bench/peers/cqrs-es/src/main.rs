//! The accounts on cqrs-es, with its repositories on PostgreSQL (postgres-es) and SQLite (sqlite-es).
//!
//! As its user guide has it: an event-sourced aggregate, a `GenericQuery` over a view repository, rebuilt by
//! `QueryReplay::replay_all`.

#[path = "../../common.rs"]
mod common;
#[path = "../../../src/workload.rs"]
#[allow(dead_code, reason = "random keys are the other programs'")]
mod workload;

use common::{Arguments, Outcome, Peer, main_of};
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{
    GenericQuery, PersistedEventRepository, PersistedEventStore, QueryReplay, SerializedEvent, ViewRepository,
};
use cqrs_es::{Aggregate, AggregateError, CqrsFramework, DomainEvent, EventEnvelope, View};
use postgres_es::{PostgresEventRepository, PostgresViewRepository};
use serde::{Deserialize, Serialize};
use sqlite_es::{SqliteEventRepository, SqliteViewRepository};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::collections::HashMap;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use workload::{Action, Movement, Opening, Renaming, account_key};

const VIEW: &str = "account_view";
const SCHEMA_POSTGRES: &str = "
    CREATE TABLE events (
        aggregate_type text NOT NULL, aggregate_id text NOT NULL,
        sequence bigint CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL,
        event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence));
    CREATE TABLE account_view (
        view_id text NOT NULL, version bigint CHECK (version >= 0) NOT NULL, payload json NOT NULL,
        PRIMARY KEY (view_id));
    CREATE INDEX account_view_owner ON account_view ((payload->>'owner'), view_id);
    CREATE INDEX account_view_balance ON account_view (((payload->>'balance')::bigint) DESC, view_id);";
const SCHEMA_SQLITE: &str = "
    CREATE TABLE events (
        aggregate_type text NOT NULL, aggregate_id text NOT NULL,
        sequence integer CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL,
        event_version text NOT NULL, payload text NOT NULL, metadata text NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence)) STRICT;
    CREATE TABLE account_view (
        view_id text NOT NULL, version integer CHECK (version >= 0) NOT NULL, payload text NOT NULL,
        PRIMARY KEY (view_id)) STRICT;
    CREATE INDEX account_view_owner ON account_view (payload->>'owner', view_id);
    CREATE INDEX account_view_balance ON account_view (payload->>'balance' DESC, view_id);";
const COUNT: &str = "SELECT count(*) FROM account_view";
/// The pools of both `default_..._pool` functions.
const CONNECTIONS_MAX: u32 = 10;

#[derive(Default, Serialize, Deserialize)]
struct Account {
    open: bool,
    balance: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum AccountEvent {
    Opened(Opening),
    Deposited(Movement),
    Withdrawn(Movement),
    Renamed(Renaming),
}

impl From<Action> for AccountEvent {
    fn from(action: Action) -> Self {
        match action {
            Action::Open(opening) => Self::Opened(opening),
            Action::Deposit(movement) => Self::Deposited(movement),
            Action::Withdraw(movement) => Self::Withdrawn(movement),
            Action::Rename(renaming) => Self::Renamed(renaming),
        }
    }
}

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> String {
        match self {
            Self::Opened(_) => "Opened",
            Self::Deposited(_) => "Deposited",
            Self::Withdrawn(_) => "Withdrawn",
            Self::Renamed(_) => "Renamed",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = Action;
    type Event = AccountEvent;
    type Error = std::io::Error;
    type Services = ();

    async fn handle(
        &mut self,
        command: Action,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), std::io::Error> {
        if matches!(command, Action::Open(_)) == self.open {
            return Err(std::io::Error::other("the account is not in the state to do that"));
        }
        sink.write(command.into(), self).await;
        Ok(())
    }

    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Opened(_) => self.open = true,
            AccountEvent::Deposited(moved) => self.balance += moved.amount,
            AccountEvent::Withdrawn(moved) => self.balance -= moved.amount,
            AccountEvent::Renamed(_) => {}
        }
    }
}

/// The read model's row.
#[derive(Debug, Default, Serialize, Deserialize)]
struct AccountView {
    owner: String,
    name: String,
    balance: i64,
    entries: i64,
}

impl View<Account> for AccountView {
    fn update(&mut self, event: &EventEnvelope<Account>) {
        match &event.payload {
            AccountEvent::Opened(opened) => {
                (self.owner, self.name) = (opened.owner.clone(), opened.name.clone());
            }
            AccountEvent::Deposited(moved) => self.moved(moved.amount),
            AccountEvent::Withdrawn(moved) => self.moved(-moved.amount),
            AccountEvent::Renamed(renamed) => self.name.clone_from(&renamed.name),
        }
    }
}

impl AccountView {
    fn moved(&mut self, amount: i64) {
        self.balance += amount;
        self.entries += 1;
    }
}

/// cqrs-es over one pair of repositories.
struct CqrsEs<R: PersistedEventRepository, V: ViewRepository<AccountView, Account>> {
    about: &'static str,
    cqrs: CqrsFramework<Account, PersistedEventStore<R, Account>>,
    repository: Box<dyn Fn() -> R + Send + Sync>,
    views: Arc<V>,
    count: Count,
}

enum Count {
    Postgres(sqlx::PgPool),
    Sqlite(sqlx::SqlitePool),
}

impl<R, V> CqrsEs<R, V>
where
    R: PersistedEventRepository,
    V: ViewRepository<AccountView, Account>,
{
    fn new(
        about: &'static str,
        repository: Box<dyn Fn() -> R + Send + Sync>,
        views: V,
        count: Count,
    ) -> Self {
        let store = PersistedEventStore::new_event_store(repository());
        let cqrs = CqrsFramework::new(store, Vec::new(), ());
        Self { about, cqrs, repository, views: Arc::new(views), count }
    }
}

impl<R, V> Peer for CqrsEs<R, V>
where
    R: PersistedEventRepository + 'static,
    V: ViewRepository<AccountView, Account> + 'static,
{
    fn about(&self) -> String {
        self.about.to_owned()
    }

    async fn load(&self, account: usize, actions: Vec<Action>) -> Outcome<()> {
        let mut events = Vec::with_capacity(actions.len());
        for (index, action) in actions.into_iter().enumerate() {
            let event = AccountEvent::from(action);
            events.push(SerializedEvent::new(
                account_key(account),
                index + 1,
                Account::TYPE.to_owned(),
                event.event_type(),
                event.event_version(),
                serde_json::to_value(&event)?,
                serde_json::to_value(metadata())?,
            ));
        }
        Ok((self.repository)().persist::<Account>(&events, None).await?)
    }

    async fn rebuild(&self, _: usize) -> Outcome<u64> {
        let mut query = GenericQuery::<V, AccountView, Account>::new(Arc::clone(&self.views));
        query.use_error_handler(Box::new(|error| panic!("the view cannot be kept: {error}")));
        let mut replay = QueryReplay::new((self.repository)(), query);
        replay.use_error_handler(Box::new(|error| panic!("an event cannot be read: {error}")));
        replay.replay_all().await?;
        let rows: i64 = match &self.count {
            Count::Postgres(pool) => sqlx::query_scalar(COUNT).fetch_one(pool).await?,
            Count::Sqlite(pool) => sqlx::query_scalar(COUNT).fetch_one(pool).await?,
        };
        Ok(u64::try_from(rows)?)
    }

    async fn give(&self, account: usize, action: Action) -> Outcome<bool> {
        match self.cqrs.execute_with_metadata(&account_key(account), action, metadata()).await {
            Ok(()) => Ok(true),
            Err(AggregateError::AggregateConflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn metadata() -> HashMap<String, String> {
    let command = format!("{:032x}", fastrand::u128(..));
    HashMap::from([("actor".to_owned(), "local".to_owned()), ("command".to_owned(), command)])
}

async fn on_postgres(
    arguments: &Arguments,
) -> Outcome<CqrsEs<PostgresEventRepository, PostgresViewRepository<AccountView, Account>>> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect(&arguments.url).await?;
    sqlx::raw_sql(SCHEMA_POSTGRES).execute(&pool).await?;
    let views = PostgresViewRepository::new(VIEW, pool.clone());
    let held = pool.clone();
    let repository = Box::new(move || PostgresEventRepository::new(held.clone()));
    let about = "cqrs-es 0.5.0 + postgres-es 0.5.0, pool of 10 as `default_postgress_pool`";
    Ok(CqrsEs::new(about, repository, views, Count::Postgres(pool)))
}

async fn on_sqlite(
    arguments: &Arguments,
) -> Outcome<CqrsEs<SqliteEventRepository, SqliteViewRepository<AccountView, Account>>> {
    // As `default_sqlite_pool`, but for FULL, which all have here, and time to wait for the one writer.
    let options = SqliteConnectOptions::from_str(&arguments.url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(60))
        .foreign_keys(true);
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await?;
    sqlx::raw_sql(SCHEMA_SQLITE).execute(&pool).await?;
    let views = SqliteViewRepository::new(VIEW, pool.clone());
    let held = pool.clone();
    let repository = Box::new(move || SqliteEventRepository::new(held.clone()));
    let about = "cqrs-es 0.5.0 + sqlite-es 0.5.0, WAL, FULL, pool of 10 as `default_sqlite_pool`";
    Ok(CqrsEs::new(about, repository, views, Count::Sqlite(pool)))
}

fn main() -> ExitCode {
    let sqlite = std::env::args().nth(1).is_some_and(|url| url.starts_with("sqlite:"));
    if sqlite { main_of(on_sqlite) } else { main_of(on_postgres) }
}
