//! The workload: accounts that are opened, paid into, drawn from and renamed, at random. Knows no store.
//!
//! Payloads have about 250 bytes of JSON, stream keys 24 characters. Everything comes from one seed.

use serde::{Deserialize, Serialize};

/// The seed of every run, so that two runs ask for the same things.
const SEED: u64 = 0x5eed;

/// What happens to an account next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Open(Opening),
    Deposit(Movement),
    Withdraw(Movement),
    Rename(Renaming),
}

/// The data of an opening.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) branch: String,
    pub(crate) address: String,
    pub(crate) terms: String,
}

/// The data of a deposit or a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Movement {
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) reference: String,
    pub(crate) counterparty: String,
    pub(crate) channel: String,
    pub(crate) description: String,
}

/// The data of a renaming.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Renaming {
    pub(crate) name: String,
    pub(crate) previous: String,
    pub(crate) clerk: String,
    pub(crate) reason: String,
}

/// Draws accounts and actions.
pub(crate) struct Workload {
    rng: fastrand::Rng,
    accounts: usize,
}

impl Workload {
    /// A source over a number of accounts; callers of one run differ by their lane.
    pub(crate) fn new(accounts: usize, lane: u64) -> Self {
        let rng = fastrand::Rng::with_seed(SEED ^ lane.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { rng, accounts }
    }

    /// An account at random.
    pub(crate) fn account(&mut self) -> usize {
        self.rng.usize(..self.accounts)
    }

    /// The opening of an account.
    pub(crate) fn opening(&mut self) -> Action {
        let owner = format!("owner-{:06}", self.rng.u32(..200_000));
        Action::Open(Opening {
            name: format!("Current account of {owner}"),
            owner,
            branch: format!("branch-{:04}", self.rng.u32(..2_000)),
            address: format!(
                "{} Long Street, Upper Town, County {}",
                self.rng.u32(..900),
                self.rng.u32(..90)
            ),
            terms: "standard terms of business, statement by post each quarter, no overdraft fee".to_owned(),
        })
    }

    /// What happens to an account that is open: six deposits, three withdrawals, one renaming in ten.
    pub(crate) fn next(&mut self) -> Action {
        match self.rng.u32(..10) {
            0..6 => Action::Deposit(self.movement()),
            6..9 => Action::Withdraw(self.movement()),
            _ => Action::Rename(self.renaming()),
        }
    }

    /// A random 16-byte key, as a caller makes it who knows nothing of indexes.
    pub(crate) fn random_key(&mut self) -> [u8; 16] {
        self.rng.u128(..).to_le_bytes()
    }

    fn movement(&mut self) -> Movement {
        Movement {
            amount: self.rng.i64(1..1_000_000),
            currency: "EUR".to_owned(),
            reference: format!("{:016x}{:08x}", self.rng.u64(..), self.rng.u32(..)),
            counterparty: format!("DE{:020}", self.rng.u64(..)),
            channel: if self.rng.bool() { "mobile" } else { "branch" }.to_owned(),
            description: format!(
                "invoice {} of last month for goods and services, \
                paid within the agreed time less two per cent discount",
                self.rng.u32(100_000..1_000_000)
            ),
        }
    }

    fn renaming(&mut self) -> Renaming {
        let (old, new) = (self.rng.u32(..1_000_000), self.rng.u32(..1_000_000));
        Renaming {
            name: format!("Household and savings account {new:06}"),
            previous: format!("Current account of owner-{old:06}"),
            clerk: format!("clerk-{:04}", self.rng.u32(..5_000)),
            reason: "asked for by the owner in person at the branch, identity was checked against a passport"
                .to_owned(),
        }
    }
}

/// The key of an account: 24 characters, spread over the whole range so that neighbours are no neighbours.
pub(crate) fn account_key(account: usize) -> String {
    format!("acc-{:020}", (account as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
