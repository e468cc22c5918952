//! A read model whose rows SQL keeps: a batch is one statement, in the transaction of the checkpoint.

use super::world::*;
use diptych_command::EventStore;
use diptych_core::{Code, DecodeError, Portable, Position, Value, ValueType};
use diptych_query::{
    AdvanceError, Dialect, Feed, Fold, FoldErrorKind, Group, Mode, ModelStore, ReadModel, Schema,
    SqlProjection, erase_sql,
};
use std::sync::Arc;

const SUM: &str = "INSERT INTO {table} AS held (tenant_id, account, deposits, total) \
    SELECT tenant_id, key, count(*), sum(payload::bigint) FROM facts WHERE type = 'Deposited' GROUP BY 1, 2 \
    ON CONFLICT (tenant_id, account) DO UPDATE \
    SET deposits = held.deposits + excluded.deposits, total = held.total + excluded.total";

/// A sum that PostgreSQL cannot take: a division by nothing.
const FAIL: &str = "INSERT INTO {table} AS held (tenant_id, account, deposits, total) \
    SELECT tenant_id, key, 1, 1 / (payload::bigint - payload::bigint) FROM facts WHERE type = 'Deposited'";

pub(crate) static SUMS: Schema = kept("sums");
static WRONG: Schema = kept("wrong_sums");
static BROKEN: Schema = kept("broken_sums");

const fn kept(name: &'static str) -> Schema {
    const COLUMNS: &[diptych_query::ColumnSpec] = &[
        column("account", ValueType::Text),
        column("deposits", ValueType::Integer),
        column("total", ValueType::Integer),
    ];
    Schema { indexes: &[], ..schema(name, COLUMNS, Mode::Asynchronous) }
}

macro_rules! sums {
    ($name:ident, $schema:ident, $statements:expr) => {
        #[derive(Clone)]
        pub(crate) struct $name {
            account: String,
            values: [i64; 2],
        }

        impl ReadModel for $name {
            type Key = String;
            const SCHEMA: &'static Schema = &$schema;

            fn key(&self) -> String {
                self.account.clone()
            }
            fn key_values(key: &String) -> Vec<Value> {
                vec![Value::Text(key.clone())]
            }
            fn key_from_values(values: &[Value]) -> Result<String, DecodeError> {
                String::from_value(&values[0])
            }
            fn to_row(&self) -> Vec<Value> {
                let [deposits, total] = self.values.map(Value::Integer);
                vec![Value::Text(self.account.clone()), deposits, total]
            }
            fn from_row(values: &[Value]) -> Result<Self, DecodeError> {
                let numbers = [i64::from_value(&values[1])?, i64::from_value(&values[2])?];
                Ok(Self { account: String::from_value(&values[0])?, values: numbers })
            }
        }

        impl SqlProjection for $name {
            type Event = AccountEvent;

            fn statements(dialect: Dialect) -> &'static [&'static str] {
                match dialect {
                    Dialect::Postgres => $statements,
                    _ => &[],
                }
            }
        }
    };
}

sums!(Sums, SUMS, &[SUM]);
sums!(WrongSums, WRONG, &[SUM, FAIL]);
sums!(BrokenSums, BROKEN, &["INSERT INTO {table} (nothing) SELECT 1"]);

pub(crate) fn group_of<M: SqlProjection>() -> Arc<Group> {
    Arc::new(Group::of_one(erase_sql::<M>()))
}

#[tokio::test]
async fn statements_take_each_fact_once_whatever_the_batch() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group_of::<Sums>();
    store.attach(&model).await.unwrap();
    for number in 0..12u64 {
        let key = ["a", "b"][number as usize % 2];
        deposit(&store, &format!("c{number}"), key, number / 2, number as i64).await.unwrap();
    }
    for batch in [1, 5, 100] {
        store.reset(&model).await.unwrap();
        drain(&store, &model, batch).await;
        let rows = store.scan(&model, &SUMS, None, 10).await.unwrap();
        let rows: Vec<_> = rows.into_iter().map(|row| row.values.unwrap()).collect();
        let row = |account: &str, total| {
            vec![Value::Text(account.to_owned()), Value::Integer(6), Value::Integer(total)]
        };
        assert_eq!(rows, [row("a", 30), row("b", 36)], "batches of {batch}");
        assert_eq!(store.row_count(&model, &SUMS).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn a_statement_that_fails_stops_the_model_and_leaves_nothing() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group_of::<WrongSums>();
    let start = store.attach(&model).await.unwrap();
    store.commit(append("c1", "a", 0, &[AccountEvent::Deposited(5)])).await.unwrap();
    let block = store.read(Position::START, model.categories(), 10).await.unwrap();
    let mut fold = Fold::new(&model, &start);
    fold.plan(&block).unwrap();
    let Err(AdvanceError::Fold(error)) = store.advance(&model, fold).await else {
        panic!("a division by nothing was taken");
    };
    assert!(matches!(error.kind, FoldErrorKind::StatementFailed { number: 2, .. }), "{error}");
    assert_eq!(store.row_count(&model, &WRONG).await.unwrap(), 0);
    assert_eq!(store.checkpoint(&model).await.unwrap(), start);
}

#[tokio::test]
async fn a_statement_that_is_not_sql_is_refused_before_any_fact_comes() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let refused = store.attach(&group_of::<BrokenSums>()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ServiceInvalid);
}
