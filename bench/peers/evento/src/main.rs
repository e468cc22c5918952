//! The accounts on evento, on PostgreSQL and SQLite.
//!
//! As its guide has it: a write model with a snapshot in memory, its `write()` gateway, and a read model in a
//! table that the handlers of a subscription keep.

#[path = "../../common.rs"]
mod common;
#[path = "../../../src/workload.rs"]
#[allow(dead_code, reason = "random keys are the other programs'")]
mod workload;

use common::{Arguments, Outcome, Peer, main_of};
use evento::metadata::Event;
use evento::migrator::{Migrate, Plan};
use evento::subscription::{Context, SubscriptionBuilder};
use evento::{Executor, Projection, ProjectionAggregate, WriteError};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;
use workload::{Action, account_key};

const SCHEMA: &str = "
    CREATE TABLE account_summary (
        account text PRIMARY KEY, owner text NOT NULL, name text NOT NULL, balance bigint NOT NULL,
        entries bigint NOT NULL);
    CREATE INDEX account_summary_owner ON account_summary (owner, account);
    CREATE INDEX account_summary_balance ON account_summary (balance DESC, account);";
const OPEN: &str = "INSERT INTO account_summary VALUES ($1, $2, $3, 0, 0)";
const MOVE: &str =
    "UPDATE account_summary SET balance = balance + $2, entries = entries + 1 WHERE account = $1";
const RENAME: &str = "UPDATE account_summary SET name = $2 WHERE account = $1";
const COUNT: &str = "SELECT count(*) FROM account_summary";
/// sqlx's own default.
const CONNECTIONS_MAX: u32 = 10;
/// Events of one reading, as in its guide.
const CHUNK: u16 = 100;

#[evento::aggregate(name = "bench/Account")]
pub enum AccountEvents {
    Opened {
        owner: String,
        name: String,
        branch: String,
        address: String,
        terms: String,
    },
    Deposited {
        amount: i64,
        currency: String,
        reference: String,
        counterparty: String,
        channel: String,
        description: String,
    },
    Withdrawn {
        amount: i64,
        currency: String,
        reference: String,
        counterparty: String,
        channel: String,
        description: String,
    },
    Renamed {
        name: String,
        previous: String,
        clerk: String,
        reason: String,
    },
}

/// The write model.
#[evento::projection(id = id)]
#[evento::snapshot(memory)]
pub struct Account {
    pub id: String,
    pub balance: i64,
}

#[evento::handler]
async fn opened(event: Event<Opened>, row: &mut Account) -> anyhow::Result<()> {
    row.id = event.aggregate_id.clone();
    Ok(())
}

#[evento::handler]
async fn deposited(event: Event<Deposited>, row: &mut Account) -> anyhow::Result<()> {
    row.balance += event.data.amount;
    Ok(())
}

#[evento::handler]
async fn withdrawn(event: Event<Withdrawn>, row: &mut Account) -> anyhow::Result<()> {
    row.balance -= event.data.amount;
    Ok(())
}

#[evento::handler]
async fn renamed(_event: Event<Renamed>, _row: &mut Account) -> anyhow::Result<()> {
    Ok(())
}

fn account<E: Executor>() -> Projection<E, Account> {
    Projection::new::<AccountEvents>()
        .handler(opened())
        .handler(deposited())
        .handler(withdrawn())
        .handler(renamed())
        .strict()
}

/// Where the read model is.
#[derive(Clone)]
enum Table {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl Table {
    async fn open(&self, account: &str, owner: &str, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres(pool) => {
                sqlx::query(OPEN).bind(account).bind(owner).bind(name).execute(pool).await?;
            }
            Self::Sqlite(pool) => {
                sqlx::query(OPEN).bind(account).bind(owner).bind(name).execute(pool).await?;
            }
        }
        Ok(())
    }

    async fn moved(&self, account: &str, amount: i64) -> anyhow::Result<()> {
        match self {
            Self::Postgres(pool) => {
                sqlx::query(MOVE).bind(account).bind(amount).execute(pool).await?;
            }
            Self::Sqlite(pool) => {
                sqlx::query(MOVE).bind(account).bind(amount).execute(pool).await?;
            }
        }
        Ok(())
    }

    async fn rename(&self, account: &str, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres(pool) => {
                sqlx::query(RENAME).bind(account).bind(name).execute(pool).await?;
            }
            Self::Sqlite(pool) => {
                sqlx::query(RENAME).bind(account).bind(name).execute(pool).await?;
            }
        }
        Ok(())
    }

    async fn rows(&self) -> Outcome<u64> {
        let rows: i64 = match self {
            Self::Postgres(pool) => sqlx::query_scalar(COUNT).fetch_one(pool).await?,
            Self::Sqlite(pool) => sqlx::query_scalar(COUNT).fetch_one(pool).await?,
        };
        Ok(u64::try_from(rows)?)
    }
}

#[evento::subscription]
async fn keep_opened<E: Executor>(ctx: &Context<'_, E>, event: Event<Opened>) -> anyhow::Result<()> {
    ctx.extract::<Table>().open(&event.aggregate_id, &event.data.owner, &event.data.name).await
}

#[evento::subscription]
async fn keep_deposited<E: Executor>(ctx: &Context<'_, E>, event: Event<Deposited>) -> anyhow::Result<()> {
    ctx.extract::<Table>().moved(&event.aggregate_id, event.data.amount).await
}

#[evento::subscription]
async fn keep_withdrawn<E: Executor>(ctx: &Context<'_, E>, event: Event<Withdrawn>) -> anyhow::Result<()> {
    ctx.extract::<Table>().moved(&event.aggregate_id, -event.data.amount).await
}

#[evento::subscription]
async fn keep_renamed<E: Executor>(ctx: &Context<'_, E>, event: Event<Renamed>) -> anyhow::Result<()> {
    ctx.extract::<Table>().rename(&event.aggregate_id, &event.data.name).await
}

/// evento over one of its executors.
struct Evento<E: Executor> {
    about: &'static str,
    executor: E,
    table: Table,
}

/// Adds the event of an action to something that builds a write.
macro_rules! add_event {
    ($builder:expr, $action:expr) => {
        match $action {
            Action::Open(it) => $builder.event(&Opened {
                owner: it.owner,
                name: it.name,
                branch: it.branch,
                address: it.address,
                terms: it.terms,
            }),
            Action::Deposit(it) => $builder.event(&Deposited {
                amount: it.amount,
                currency: it.currency,
                reference: it.reference,
                counterparty: it.counterparty,
                channel: it.channel,
                description: it.description,
            }),
            Action::Withdraw(it) => $builder.event(&Withdrawn {
                amount: it.amount,
                currency: it.currency,
                reference: it.reference,
                counterparty: it.counterparty,
                channel: it.channel,
                description: it.description,
            }),
            Action::Rename(it) => $builder.event(&Renamed {
                name: it.name,
                previous: it.previous,
                clerk: it.clerk,
                reason: it.reason,
            }),
        }
    };
}

impl<E: Executor + Clone + 'static> Peer for Evento<E> {
    fn about(&self) -> String {
        self.about.to_owned()
    }

    async fn load(&self, account: usize, actions: Vec<Action>) -> Outcome<()> {
        let mut builder = evento::append(account_key(account));
        for action in actions {
            add_event!(builder, action);
        }
        builder.commit(&self.executor).await?;
        Ok(())
    }

    async fn rebuild(&self, _: usize) -> Outcome<u64> {
        let mut subscription = SubscriptionBuilder::new("account-summary")
            .data(self.table.clone())
            .handler(keep_opened())
            .handler(keep_deposited())
            .handler(keep_withdrawn())
            .handler(keep_renamed())
            .chunk_size(CHUNK);
        subscription.run_once(&self.executor).await?;
        self.table.rows().await
    }

    async fn give(&self, number: usize, action: Action) -> Outcome<bool> {
        let Some(row) = account().load(account_key(number)).execute(&self.executor).await? else {
            return Err("the account is not open".into());
        };
        let mut builder = row.write()?;
        builder.requested_by(format!("{:032x}", fastrand::u128(..)));
        match add_event!(builder, action).commit(&self.executor).await {
            Ok(_) => Ok(true),
            Err(WriteError::InvalidOriginalVersion) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

async fn on_postgres(arguments: &Arguments) -> Outcome<Evento<evento::Postgres>> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect(&arguments.url).await?;
    let mut connection = pool.acquire().await?;
    evento::sql_migrator::new::<sqlx::Postgres>()?.run(&mut *connection, &Plan::apply_all()).await?;
    drop(connection);
    sqlx::raw_sql(SCHEMA).execute(&pool).await?;
    let about = "evento 2.0.0-alpha.38, PostgreSQL, snapshots in memory, chunks of 100, pool of 10";
    Ok(Evento { about, executor: pool.clone().into(), table: Table::Postgres(pool) })
}

async fn on_sqlite(arguments: &Arguments) -> Outcome<Evento<evento::Sqlite>> {
    // As its guide opens it, but for WAL and FULL, which all have here, and time to wait for the one writer.
    let options = SqliteConnectOptions::from_str(&arguments.url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(60));
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await?;
    let mut connection = pool.acquire().await?;
    evento::sql_migrator::new::<sqlx::Sqlite>()?.run(&mut *connection, &Plan::apply_all()).await?;
    drop(connection);
    sqlx::raw_sql(SCHEMA).execute(&pool).await?;
    let about = "evento 2.0.0-alpha.38, SQLite, WAL, FULL, snapshots in memory, chunks of 100, pool of 10";
    Ok(Evento { about, executor: pool.clone().into(), table: Table::Sqlite(pool) })
}

fn main() -> ExitCode {
    let sqlite = std::env::args().nth(1).is_some_and(|url| url.starts_with("sqlite:"));
    if sqlite { main_of(on_sqlite) } else { main_of(on_postgres) }
}
