//! Callers of the product: each gives one typed command after the other and waits for its answer.

use crate::Outcome;
use crate::domain::{Account, AccountEvent, AccountId, command};
use crate::workload::{Action, Workload, account_key};
use diptych::Running;
use diptych::prelude::{Principal, Receipt, Request};
use diptych_command::Commands;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Accounts of the command measures: all of their states fit into the product's cache.
pub(crate) const ACCOUNTS: usize = 8_192;

/// One who gives commands.
#[derive(Clone)]
pub(crate) struct Caller {
    commands: Arc<Commands>,
    principal: Principal,
}

impl Caller {
    pub(crate) fn of(running: &Running) -> Self {
        Self { commands: Arc::clone(running.commands()), principal: running.principal().clone() }
    }

    /// Gives one command under a fresh key, ordered by time.
    pub(crate) async fn give(&self, account: usize, action: Action) -> Outcome<Receipt<AccountEvent>> {
        let request = Request::by(&self.principal)
            .to(&AccountId::new(account_key(account)), command(action))
            .command_id(uuid::Uuid::now_v7().to_string());
        Ok(self.commands.handle::<Account>(request).await?)
    }

    /// Opens every account, many at a time.
    pub(crate) async fn open_accounts(&self, callers: usize) -> Outcome<()> {
        self.each_account(callers, Workload::opening).await
    }

    /// Gives every account one command, so that its state is at hand.
    pub(crate) async fn warm(&self, callers: usize) -> Outcome<()> {
        self.each_account(callers, Workload::next).await
    }

    async fn each_account(&self, callers: usize, action: fn(&mut Workload) -> Action) -> Outcome<()> {
        let mut tasks = Vec::new();
        for lane in 0..callers {
            let this = self.clone();
            tasks.push(tokio::spawn(async move {
                let mut workload = Workload::new(ACCOUNTS, 1_000 + lane as u64);
                for account in (lane..ACCOUNTS).step_by(callers) {
                    this.give(account, action(&mut workload)).await?;
                }
                Outcome::Ok(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    }

    /// So many callers for a time. Answers commands per second.
    pub(crate) async fn rate(&self, callers: usize, time: Duration, seed: u64) -> Outcome<f64> {
        self.rate_over(ACCOUNTS, callers, time, seed).await
    }

    /// The same over another number of accounts.
    pub(crate) async fn rate_over(
        &self,
        accounts: usize,
        callers: usize,
        time: Duration,
        seed: u64,
    ) -> Outcome<f64> {
        let started = Instant::now();
        let mut tasks = Vec::new();
        for lane in 0..callers {
            let this = self.clone();
            tasks.push(tokio::spawn(async move {
                let mut workload = Workload::new(accounts, seed * 10_000 + lane as u64);
                let mut given = 0_u64;
                while started.elapsed() < time {
                    this.give(workload.account(), workload.next()).await?;
                    given += 1;
                }
                Outcome::Ok(given)
            }));
        }
        let mut given = 0;
        for task in tasks {
            given += task.await??;
        }
        Ok(given as f64 / started.elapsed().as_secs_f64())
    }
}
