//! The accounts as a user of the product writes them: events, commands, decider, read model.

use crate::domain_document::AccountDocument;
use crate::domain_group::AccountCard;
use crate::fines::{FineEvent, FineSummary};
use crate::workload::{Action, Movement, Opening, Renaming};
use diptych::prelude::*;

/// Identifies an account.
#[derive(Id)]
pub(crate) struct AccountId(String);

/// What happens to an account.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "account", owner = "bench")]
pub(crate) enum AccountEvent {
    /// The account exists.
    Opened { owner: String, name: String, branch: String, address: String, terms: String },
    /// Money came in. The first version knew no channel.
    #[event(version = 2, v1 = DepositedV1)]
    Deposited {
        amount: i64,
        currency: String,
        reference: String,
        counterparty: String,
        channel: String,
        description: String,
    },
    /// Money went out.
    Withdrawn {
        amount: i64,
        currency: String,
        reference: String,
        counterparty: String,
        channel: String,
        description: String,
    },
    /// The account is called something else.
    Renamed { name: String, previous: String, clerk: String, reason: String },
}

/// A deposit as version 1 stored it.
#[derive(Clone, Debug, PartialEq, Data)]
pub(crate) struct DepositedV1 {
    amount: i64,
    currency: String,
    reference: String,
    counterparty: String,
    description: String,
}

impl From<DepositedV1> for AccountEvent {
    fn from(old: DepositedV1) -> Self {
        let DepositedV1 { amount, currency, reference, counterparty, description } = old;
        let channel = "branch".to_owned();
        Self::Deposited { amount, currency, reference, counterparty, channel, description }
    }
}

/// What may be asked of an account.
#[derive(Clone, Debug, PartialEq, Command)]
pub(crate) enum AccountCommand {
    Open {
        owner: String,
        name: String,
        branch: String,
        address: String,
        terms: String,
    },
    Deposit {
        amount: i64,
        currency: String,
        reference: String,
        counterparty: String,
        channel: String,
        description: String,
    },
    Withdraw {
        amount: i64,
        currency: String,
        reference: String,
        counterparty: String,
        channel: String,
        description: String,
    },
    Rename {
        name: String,
        previous: String,
        clerk: String,
        reason: String,
    },
}

/// What an account may answer instead.
#[derive(Clone, Debug, PartialEq, Rejection)]
pub(crate) enum AccountRejection {
    #[reject("the account is already open")]
    AlreadyOpen,
    #[reject("the account is not open")]
    NotOpen,
    #[reject("the overdraft ends at {limit}")]
    OverdraftEnded { limit: i64 },
}

/// The state that decides.
#[derive(Default, Data)]
pub(crate) struct Account {
    open: bool,
    balance: i64,
}

/// How far below nothing a balance may go: far enough that the workload never gets there.
const OVERDRAFT_MAX: i64 = 1_000_000_000_000;

impl Decider for Account {
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Rejection = AccountRejection;
    const POLICY_VIEW: &'static [PolicyAttribute] =
        &[PolicyAttribute::bool("open").always(), PolicyAttribute::integer("balance").always()];

    fn decide(&self, command: AccountCommand, _: &Context) -> Result<Vec<AccountEvent>, AccountRejection> {
        use AccountCommand as Asked;
        use AccountEvent as Event;
        let event = match command {
            Asked::Open { .. } if self.open => return Err(AccountRejection::AlreadyOpen),
            Asked::Open { owner, name, branch, address, terms } => {
                Event::Opened { owner, name, branch, address, terms }
            }
            _ if !self.open => return Err(AccountRejection::NotOpen),
            Asked::Deposit { amount, currency, reference, counterparty, channel, description } => {
                Event::Deposited { amount, currency, reference, counterparty, channel, description }
            }
            Asked::Withdraw { amount, .. } if self.balance - amount < -OVERDRAFT_MAX => {
                return Err(AccountRejection::OverdraftEnded { limit: OVERDRAFT_MAX });
            }
            Asked::Withdraw { amount, currency, reference, counterparty, channel, description } => {
                Event::Withdrawn { amount, currency, reference, counterparty, channel, description }
            }
            Asked::Rename { name, previous, clerk, reason } => {
                Event::Renamed { name, previous, clerk, reason }
            }
        };
        Ok(vec![event])
    }

    fn evolve(self, event: &AccountEvent) -> Self {
        match event {
            AccountEvent::Opened { .. } => Self { open: true, ..self },
            AccountEvent::Deposited { amount, .. } => Self { balance: self.balance + amount, ..self },
            AccountEvent::Withdrawn { amount, .. } => Self { balance: self.balance - amount, ..self },
            AccountEvent::Renamed { .. } => self,
        }
    }
}

/// One account in one row, with two secondary indexes: one that never changes, one that every movement
/// changes.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "account_summary", revision = 1, owner = "bench", contract = "eventual")]
#[index(balance desc)]
pub(crate) struct AccountSummary {
    #[key]
    pub(crate) account: AccountId,
    #[filter]
    pub(crate) owner: String,
    pub(crate) name: String,
    #[sort]
    pub(crate) balance: i64,
    pub(crate) entries: i64,
    pub(crate) updated_at: Timestamp,
}

impl Projection for AccountSummary {
    type Event = AccountEvent;

    fn route(fact: &Fact<AccountEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<AccountEvent>) -> Option<Self> {
        let row = match &fact.event {
            AccountEvent::Opened { owner, name, .. } => Self {
                account: fact.id(),
                owner: owner.clone(),
                name: name.clone(),
                balance: 0,
                entries: 0,
                updated_at: fact.occurred_at(),
            },
            AccountEvent::Deposited { amount, .. } => row.map(|row| row.moved(*amount))?,
            AccountEvent::Withdrawn { amount, .. } => row.map(|row| row.moved(-amount))?,
            AccountEvent::Renamed { name, .. } => Self { name: name.clone(), ..row? },
        };
        Some(Self { updated_at: fact.occurred_at(), ..row })
    }
}

impl AccountSummary {
    fn moved(self, amount: i64) -> Self {
        Self { balance: self.balance + amount, entries: self.entries + 1, ..self }
    }
}

/// A row of the state every so many events, for those who measure long streams.
impl StoredState for Account {}

/// The service that is measured.
pub(crate) fn service() -> Service {
    reading(Service::new("bench").decider::<Account>())
}

/// The same, which leaves snapshots.
pub(crate) fn service_with_snapshots() -> Service {
    reading(Service::new("bench").snapshots::<Account>())
}

/// The same, with policies of every kind: a command is judged by its fields and by the state, a row and one
/// of its fields by its columns. They let everything through that the workload asks for.
pub(crate) fn guarded_service() -> Service {
    service().policies_from(POLICIES)
}

/// The accounts in one read model, kept as columns and kept as documents.
pub(crate) fn documented_service() -> Service {
    let service = Service::new("bench").decider::<Account>();
    service.read_model::<AccountSummary>().read_model::<AccountDocument>()
}

const POLICIES: &str = r#"
@id("opening") permit (principal, action == Action::"account.Open", resource)
when { context.command.owner != principal.actor };

@id("movements") permit (principal, action in Action::"account.commands", resource)
when { resource.open && resource.balance > -2000000000000 };

@id("names-are-no-secret") forbid (principal, action == Action::"account.Rename", resource)
when { context.command.name == principal.actor };

@id("rows") permit (principal, action == Action::"viewRow", resource is AccountSummaryView)
when { resource.owner != principal.actor || principal.clearance >= 2 };

@id("below-the-limit") forbid (principal, action == Action::"viewRow", resource is AccountSummaryView)
when { resource.balance < -2000000000000 };

@id("fields") permit (principal, action == Action::"viewField", resource is AccountSummaryView)
when { context.field != "name" };

@id("own-names") permit (principal, action == Action::"viewField", resource is AccountSummaryView)
when { resource.owner != principal.actor };

@id("asking") permit (principal, action == Action::"searchBy", resource is AccountSummaryView);
"#;

fn reading(service: Service) -> Service {
    let service = service.outbox::<FineEvent>().read_model::<FineSummary>();
    service.read_model::<AccountSummary>().group("account_group", |group| group.read_model::<AccountCard>())
}

/// An action as the product's command.
pub(crate) fn command(action: Action) -> AccountCommand {
    match action {
        Action::Open(Opening { owner, name, branch, address, terms }) => {
            AccountCommand::Open { owner, name, branch, address, terms }
        }
        Action::Deposit(Movement { amount, currency, reference, counterparty, channel, description }) => {
            AccountCommand::Deposit { amount, currency, reference, counterparty, channel, description }
        }
        Action::Withdraw(Movement { amount, currency, reference, counterparty, channel, description }) => {
            AccountCommand::Withdraw { amount, currency, reference, counterparty, channel, description }
        }
        Action::Rename(Renaming { name, previous, clerk, reason }) => {
            AccountCommand::Rename { name, previous, clerk, reason }
        }
    }
}

/// An action as the event that the product's command for it causes.
pub(crate) fn event(action: Action) -> AccountEvent {
    match action {
        Action::Open(Opening { owner, name, branch, address, terms }) => {
            AccountEvent::Opened { owner, name, branch, address, terms }
        }
        Action::Deposit(Movement { amount, currency, reference, counterparty, channel, description }) => {
            AccountEvent::Deposited { amount, currency, reference, counterparty, channel, description }
        }
        Action::Withdraw(Movement { amount, currency, reference, counterparty, channel, description }) => {
            AccountEvent::Withdrawn { amount, currency, reference, counterparty, channel, description }
        }
        Action::Rename(Renaming { name, previous, clerk, reason }) => {
            AccountEvent::Renamed { name, previous, clerk, reason }
        }
    }
}
