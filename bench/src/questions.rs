//! Questions asked of the right panel in process, one after the other: for a row at random, and for a page.

use crate::Outcome;
use crate::domain::AccountId;
use crate::workload::{Workload, account_key};
use diptych::Running;
use diptych::prelude::ReadModel;
use diptych_query::Find;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The rows of a page.
pub(crate) const PAGE_ROWS: usize = 50;

/// Questions for the row of one of so many accounts in a second.
pub(crate) async fn rows<M: ReadModel<Key = AccountId>>(
    running: &Running,
    accounts: usize,
    time: Duration,
    seed: u64,
) -> Outcome<f64> {
    let mut workload = Workload::new(accounts, 77 + seed);
    let (queries, principal) = (Arc::clone(running.queries()), running.principal());
    let (started, mut asked) = (Instant::now(), 0_u64);
    while started.elapsed() < time {
        let account = AccountId::new(account_key(workload.account()));
        let answer = queries.get::<M>(principal, &account, None).await?;
        if answer.value.is_none() {
            return Err("an account has no row".into());
        }
        asked += 1;
    }
    Ok(asked as f64 / started.elapsed().as_secs_f64())
}

/// Questions for a full page in a second.
pub(crate) async fn pages<M: ReadModel>(running: &Running, find: &Find<M>, time: Duration) -> Outcome<f64> {
    let (queries, principal) = (Arc::clone(running.queries()), running.principal());
    let (started, mut asked) = (Instant::now(), 0_u64);
    while started.elapsed() < time {
        let answer = queries.find(principal, find.clone().page(PAGE_ROWS)).await?;
        if answer.value.items.len() != PAGE_ROWS {
            return Err(format!("a page has {} rows", answer.value.items.len()).into());
        }
        asked += 1;
    }
    Ok(asked as f64 / started.elapsed().as_secs_f64())
}
