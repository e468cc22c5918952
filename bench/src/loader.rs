//! Fills the product's log through its own store: one command with one event each, many in flight, ledger
//! and all.

use crate::Outcome;
use crate::domain::event;
use crate::workload::{Workload, account_key};
use diptych::SystemClock;
use diptych_command::{CommandHeader, Commit, CommitError, Committed, Effect, EventStore, InputHash};
use diptych_core::{
    Actor, BoxFuture, Clock, CommandId, Event, NewEvent, StreamId, StreamRef, Tenant, Version,
};
use std::future::poll_fn;
use std::task::Poll;

/// Commands in flight at once; the store's queue takes 4,096.
const IN_FLIGHT: usize = 2_048;

/// Knows where every stream stands, so that commands need not wait for each other's answers.
pub(crate) struct Loader {
    workload: Workload,
    versions: Vec<u64>,
    loaded: usize,
    /// Whether its accounts are others than those of the callers.
    elsewhere: bool,
}

type InFlight<'a> = BoxFuture<'a, Result<Committed, CommitError>>;

impl Loader {
    pub(crate) fn new(accounts: usize) -> Self {
        Self {
            workload: Workload::new(accounts, 0),
            versions: vec![0; accounts],
            loaded: 0,
            elsewhere: false,
        }
    }

    /// Over accounts that no caller knows.
    pub(crate) fn elsewhere(accounts: usize) -> Self {
        Self { elsewhere: true, ..Self::new(accounts) }
    }

    /// Appends events: first every account is opened, then accounts at random.
    pub(crate) async fn load(&mut self, store: &dyn EventStore, events: usize) -> Outcome<()> {
        let mut left = events;
        while left > 0 {
            let group = left.min(IN_FLIGHT);
            let mut commits: Vec<Option<InFlight<'_>>> = Vec::with_capacity(group);
            for _ in 0..group {
                commits.push(Some(store.commit(self.next()?)));
            }
            all(&mut commits).await?;
            left -= group;
        }
        Ok(())
    }

    /// Appends many events to one stream by one command.
    pub(crate) async fn lengthen(
        &mut self,
        store: &dyn EventStore,
        account: usize,
        events: usize,
    ) -> Outcome<()> {
        let mut commit = self.on(account, Version(self.versions[account]))?;
        let mut encoded = Vec::with_capacity(events);
        for _ in 0..events {
            let opens = self.versions[account] == 0;
            let action = if opens { self.workload.opening() } else { self.workload.next() };
            encoded.push(NewEvent::from_event(&event(action))?);
            self.versions[account] += 1;
        }
        if let Effect::Append { events, .. } = &mut commit.effect {
            *events = encoded;
        }
        store.commit(commit).await.map_err(|error| format!("loading failed: {error:?}"))?;
        Ok(())
    }

    fn next(&mut self) -> Outcome<Commit> {
        let opens = self.loaded < self.versions.len();
        let account = if opens { self.loaded } else { self.workload.account() };
        let action = if opens { self.workload.opening() } else { self.workload.next() };
        let mut commit = self.on(account, Version(self.versions[account]))?;
        if let Effect::Append { events, .. } = &mut commit.effect {
            events.push(NewEvent::from_event(&event(action))?);
        }
        self.versions[account] += 1;
        self.loaded += 1;
        Ok(commit)
    }

    fn on(&mut self, account: usize, base: Version) -> Outcome<Commit> {
        let key =
            if self.elsewhere { format!("else-{}", account_key(account)) } else { account_key(account) };
        let stream = StreamId::new(crate::domain::AccountEvent::CATEGORY, key)?;
        let header = CommandHeader {
            id: CommandId::new(uuid::Uuid::now_v7().to_string())?,
            stream: StreamRef { tenant: Tenant::new("main")?, stream },
            name: "Load".to_owned(),
            hash: InputHash(self.workload.random_key()),
            actor: Actor::new("local")?,
            correlation: None,
            causation: None,
            policy: None,
            occurred_at: SystemClock.now(),
        };
        Ok(Commit::new(header, Effect::Append { base: base.into(), events: Vec::new() }))
    }
}

/// Waits for all. The first round asks them in their order, which is the order they are queued in.
async fn all(commits: &mut [Option<InFlight<'_>>]) -> Outcome<()> {
    // Every poll asks all of them, which is more than the scheduler grants a task by itself.
    tokio::task::unconstrained(poll_fn(|context| {
        let mut waiting = false;
        for slot in commits.iter_mut() {
            let Some(commit) = slot else { continue };
            match commit.as_mut().poll(context) {
                Poll::Ready(Ok(_)) => *slot = None,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(format!("loading failed: {error:?}").into()));
                }
                Poll::Pending => waiting = true,
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(Ok(())) }
    }))
    .await
}
