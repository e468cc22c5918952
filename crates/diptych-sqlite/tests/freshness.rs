//! Freshness that no memory of this process can make up: what another store appends is in the next answer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::*;
use diptych_core::{Actor, Clock, Position, Principal, Unrestricted};
use diptych_query::{
    Answer, Ask, Freshness, Group, ModelStore, PageKey, Progress, Queries, QueryLimits, QueryParts,
};
use diptych_sqlite::SqliteStore;
use std::sync::Arc;

fn queries(store: &Arc<SqliteStore>, clock: &Arc<Hands>, group: &Arc<Group>) -> Queries {
    Queries::new(QueryParts {
        store: Arc::clone(store) as _,
        feed: Arc::clone(store) as _,
        groups: vec![Arc::clone(group)],
        progress: Arc::new(Progress::default()),
        authorize: Arc::new(Unrestricted),
        policy: Arc::new(Unrestricted),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        page_key: PageKey::new([7; 32], None),
        limits: QueryLimits::default(),
    })
}

/// Asks for one row and for a page, which must agree on how fresh they are.
async fn freshness(queries: &Queries, model: &str) -> Freshness {
    let principal = Principal::named(tenant("main"), Actor::new("ann").unwrap());
    let row = queries.get_text(&principal, model, &["a"], &Ask::default()).await.unwrap();
    let Answer { value, freshness, .. } = queries.ask(&principal, model, &Ask::default()).await.unwrap();
    assert_eq!(row.freshness, freshness);
    assert_eq!(row.value.as_ref(), value.rows.first());
    freshness
}

#[tokio::test]
async fn an_append_by_another_store_is_in_the_lag_of_the_next_answer() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let (one, two) = (open(&directory.0, &clock, vec![]), open(&directory.0, &clock, vec![]));
    let group = group::<Balance>();
    one.attach(&group).await.unwrap();
    deposit(&one, "c0", "a", 0, 1).await.unwrap();
    drain(&one, &group, 10).await;
    let queries = queries(&one, &clock, &group);
    assert_eq!(freshness(&queries, "balance").await.lag_events, 0);
    // Nobody waits between an append and the question after it: there is no moment to catch up in.
    for number in 1..50 {
        deposit(&two, &format!("c{number}"), "a", number, 1).await.unwrap();
        clock.turn(1_000_000);
        let told = freshness(&queries, "balance").await;
        assert_eq!((told.projection_position, told.lag_events), (Position(1), number));
        assert!(told.lag_seconds >= number as f64, "{told:?}");
    }
    // What the other store folds is in the next answer, too.
    two.attach(&group).await.unwrap();
    drain(&two, &group, 10).await;
    let told = freshness(&queries, "balance").await;
    assert_eq!((told.projection_position, told.lag_events, told.lag_seconds), (Position(50), 0, 0.0));
}
