//! The accounts on disintegrate, on PostgreSQL.
//!
//! As its guide has it: a decision over a state query by the account's id, made by a decision maker without
//! snapshots, and a read model kept by a listener.

#[path = "../../common.rs"]
mod common;
#[path = "../../../src/workload.rs"]
#[allow(dead_code, reason = "random keys are the other programs'")]
mod workload;

use async_trait::async_trait;
use common::{Arguments, Outcome, Peer, main_of};
use disintegrate::serde::json::Json;
use disintegrate::{
    Decision, DecisionError, Event, EventListener, EventStore, NoSnapshot, PersistedEvent, StateMutate,
    StateQuery, StreamQuery, query,
};
use disintegrate_postgres::{
    Error, PgDecisionMaker, PgEventId, PgEventListener, PgEventListenerConfig, PgEventStore, decision_maker,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use workload::{Action, Movement, Opening, Renaming, account_key};

const SCHEMA: &str = "
    CREATE TABLE account_summary (
        account_id text PRIMARY KEY, owner text NOT NULL, name text NOT NULL, balance bigint NOT NULL,
        entries bigint NOT NULL);
    CREATE INDEX account_summary_owner ON account_summary (owner, account_id);
    CREATE INDEX account_summary_balance ON account_summary (balance DESC, account_id);";
/// The tables that `PgEventStore::try_new` makes, word for word but for one number: it is hexadecimal there,
/// which PostgreSQL 15 does not read.
const EVENT_STORE: &str = "
    CREATE SEQUENCE IF NOT EXISTS seq_event_event_id;
    CREATE TABLE IF NOT EXISTS event (
        event_id BIGINT PRIMARY KEY DEFAULT nextval('seq_event_event_id'), event_type VARCHAR(255),
        payload BYTEA, inserted_at TIMESTAMP DEFAULT now());
    CREATE INDEX IF NOT EXISTS idx_event_type_btree ON event(event_type);
    CREATE OR REPLACE FUNCTION event_store_current_epoch() RETURNS BIGINT AS $$
    DECLARE
        persisted_event_id BIGINT;
        pending_event_id BIGINT;
        db_id INT;
    BEGIN
        SELECT COALESCE(MAX(event_id), 0) INTO persisted_event_id FROM event;
        SELECT oid INTO db_id FROM pg_database WHERE datname = current_database();
        SELECT MIN((l3.objid::bigint << 32) + l2.objid::bigint) INTO pending_event_id
        FROM pg_locks l1
        INNER JOIN pg_locks l2 ON l1.pid = l2.pid
        INNER JOIN pg_locks l3 ON l1.pid = l3.pid
        WHERE l1.classid = db_id AND l2.classid = 1 AND l3.classid = 2 AND l1.locktype = 'advisory';
        RETURN LEAST(COALESCE(pending_event_id, persisted_event_id), persisted_event_id);
    END;
    $$ LANGUAGE plpgsql;
    CREATE OR REPLACE FUNCTION event_store_begin_epoch() RETURNS void AS $$
    DECLARE
        id BIGINT;
        db_id INT;
    BEGIN
        SELECT last_value INTO id FROM seq_event_event_id;
        SELECT oid INTO db_id FROM pg_database WHERE datname = current_database();
        PERFORM pg_try_advisory_xact_lock_shared(db_id, 0);
        PERFORM pg_try_advisory_xact_lock_shared(1, (id & 4294967295)::bit(32)::integer);
        PERFORM pg_try_advisory_xact_lock_shared(2, (id >> 32)::bit(32)::integer);
    END;
    $$ LANGUAGE plpgsql;
    ALTER TABLE event ADD COLUMN IF NOT EXISTS account_id TEXT;
    CREATE INDEX IF NOT EXISTS idx_event_account_id ON event (account_id) WHERE account_id IS NOT NULL;";
const OPEN: &str = "INSERT INTO account_summary VALUES ($1, $2, $3, 0, 0)";
const MOVE: &str =
    "UPDATE account_summary SET balance = balance + $2, entries = entries + 1 WHERE account_id = $1";
const RENAME: &str = "UPDATE account_summary SET name = $2 WHERE account_id = $1";
const COUNT: &str = "SELECT count(*) FROM account_summary";
/// sqlx's own default.
const CONNECTIONS_MAX: u32 = 10;
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[stream(AccountEvents, [Opened, Deposited, Withdrawn, Renamed])]
enum AccountEvent {
    Opened {
        #[id]
        account_id: String,
        opening: Opening,
    },
    Deposited {
        #[id]
        account_id: String,
        movement: Movement,
    },
    Withdrawn {
        #[id]
        account_id: String,
        movement: Movement,
    },
    Renamed {
        #[id]
        account_id: String,
        renaming: Renaming,
    },
}

fn event(account: usize, action: Action) -> AccountEvent {
    let account_id = account_key(account);
    match action {
        Action::Open(opening) => AccountEvent::Opened { account_id, opening },
        Action::Deposit(movement) => AccountEvent::Deposited { account_id, movement },
        Action::Withdraw(movement) => AccountEvent::Withdrawn { account_id, movement },
        Action::Rename(renaming) => AccountEvent::Renamed { account_id, renaming },
    }
}

#[derive(Default, StateQuery, Clone, Serialize, Deserialize)]
#[state_query(AccountEvents)]
struct Account {
    #[id]
    account_id: String,
    open: bool,
    balance: i64,
}

impl StateMutate for Account {
    fn mutate(&mut self, event: Self::Event) {
        match event {
            AccountEvents::Opened { .. } => self.open = true,
            AccountEvents::Deposited { movement, .. } => self.balance += movement.amount,
            AccountEvents::Withdrawn { movement, .. } => self.balance -= movement.amount,
            AccountEvents::Renamed { .. } => {}
        }
    }
}

/// A command.
struct Give {
    account: usize,
    action: Action,
}

impl Decision for Give {
    type Event = AccountEvent;
    type StateQuery = Account;
    type Error = std::io::Error;

    fn state_query(&self) -> Account {
        Account { account_id: account_key(self.account), ..Account::default() }
    }

    fn process(&self, state: &Account) -> Result<Vec<AccountEvent>, std::io::Error> {
        if matches!(self.action, Action::Open(_)) == state.open {
            return Err(std::io::Error::other("the account is not in the state to do that"));
        }
        Ok(vec![event(self.account, self.action.clone())])
    }
}

/// Keeps the read model.
struct Summary {
    query: StreamQuery<PgEventId, AccountEvents>,
    pool: PgPool,
    handled: AtomicUsize,
    events: usize,
    done: Arc<Notify>,
}

#[async_trait]
impl EventListener<PgEventId, AccountEvents> for Summary {
    type Error = sqlx::Error;

    fn id(&self) -> &'static str {
        "account_summary"
    }

    fn query(&self) -> &StreamQuery<PgEventId, AccountEvents> {
        &self.query
    }

    async fn handle(&self, event: PersistedEvent<PgEventId, AccountEvents>) -> Result<(), sqlx::Error> {
        let moved = |account_id, amount: i64| sqlx::query(MOVE).bind(account_id).bind(amount);
        match event.into_inner() {
            AccountEvents::Opened { account_id, opening } => {
                sqlx::query(OPEN).bind(account_id).bind(opening.owner).bind(opening.name)
            }
            AccountEvents::Deposited { account_id, movement } => moved(account_id, movement.amount),
            AccountEvents::Withdrawn { account_id, movement } => moved(account_id, -movement.amount),
            AccountEvents::Renamed { account_id, renaming } => {
                sqlx::query(RENAME).bind(account_id).bind(renaming.name)
            }
        }
        .execute(&self.pool)
        .await?;
        if self.handled.fetch_add(1, Ordering::SeqCst) + 1 == self.events {
            self.done.notify_one();
        }
        Ok(())
    }
}

type Store = PgEventStore<AccountEvent, Json<AccountEvent>>;

struct Disintegrate {
    pool: PgPool,
    store: Store,
    decisions: PgDecisionMaker<AccountEvent, Json<AccountEvent>, NoSnapshot>,
}

impl Peer for Disintegrate {
    fn about(&self) -> String {
        "disintegrate 4.0.0 + disintegrate-postgres 4.0.1, JSON, no snapshots, pool of 10".to_owned()
    }

    async fn load(&self, account: usize, actions: Vec<Action>) -> Outcome<()> {
        let events = actions.into_iter().map(|action| event(account, action)).collect();
        self.store.append_without_validation(events).await?;
        Ok(())
    }

    async fn rebuild(&self, events: usize) -> Outcome<u64> {
        let done = Arc::new(Notify::new());
        let summary = Summary {
            query: query!(AccountEvents),
            pool: self.pool.clone(),
            handled: AtomicUsize::new(0),
            events,
            done: Arc::clone(&done),
        };
        PgEventListener::builder(self.store.clone())
            .register_listener(summary, PgEventListenerConfig::poller(POLL))
            .start_with_shutdown(async move { done.notified().await })
            .await?;
        let rows: i64 = sqlx::query_scalar(COUNT).fetch_one(&self.pool).await?;
        Ok(u64::try_from(rows)?)
    }

    async fn give(&self, account: usize, action: Action) -> Outcome<bool> {
        match self.decisions.make(Give { account, action }).await {
            Ok(_) => Ok(true),
            Err(DecisionError::EventStore(error) | DecisionError::StateStore(error))
                if is_a_race(&*error) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the same once more may succeed: events were appended meanwhile, or the transactions could not be
/// put in an order.
fn is_a_race(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    match error.downcast_ref::<Error>() {
        Some(Error::Concurrency) => true,
        Some(Error::Database(sqlx::Error::Database(error))) => {
            error.code().is_some_and(|code| code == "40001")
        }
        _ => false,
    }
}

async fn open(arguments: &Arguments) -> Outcome<Disintegrate> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect(&arguments.url).await?;
    sqlx::raw_sql(EVENT_STORE).execute(&pool).await?;
    let store = Store::new_uninitialized(pool.clone(), Json::default());
    sqlx::raw_sql(SCHEMA).execute(&pool).await?;
    let decisions = decision_maker(store.clone(), NoSnapshot);
    Ok(Disintegrate { pool, store, decisions })
}

fn main() -> ExitCode {
    main_of(open)
}
