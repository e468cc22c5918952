//! An address belongs to one account at a time: taken with the account, free again when the account takes
//! another one or is closed. `cargo run -p diptych --example unique_email` shows it against a real store.

use diptych::prelude::*;
use std::collections::BTreeMap;

#[derive(Id)]
struct AccountId(String);

/// An address, as people are compared by it.
#[derive(Id)]
struct Email(String);

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "account", owner = "people")]
enum AccountEvent {
    Registered {
        account: AccountId,
        #[tag]
        email: Email,
    },
    /// Tagged with both: who asks for either address sees that one is free and the other is not.
    EmailChanged {
        account: AccountId,
        #[tag("email")]
        from: Email,
        #[tag("email")]
        to: Email,
    },
    Closed {
        account: AccountId,
        #[tag]
        email: Email,
    },
}

#[derive(Clone, Debug, PartialEq, Command)]
enum AccountCommand {
    Register { email: Email },
    ChangeEmail { email: Email },
    Close,
}

#[derive(Clone, Debug, PartialEq, Rejection)]
enum AccountRejection {
    #[reject("there is no such account", not_found)]
    AccountNotFound,
    #[reject("the account exists already")]
    AlreadyRegistered,
    #[reject("another account has the address `{email}`")]
    EmailTaken { email: Email },
}

/// Who holds which address, of those that the boundary of a command shows.
#[derive(Default, Data)]
struct Accounts {
    holders: BTreeMap<String, AccountId>,
}

impl Accounts {
    fn email_of(&self, account: &AccountId) -> Option<Email> {
        let held = self.holders.iter().find(|(_, holder)| *holder == account);
        held.map(|(email, _)| Email::new(email.as_str()))
    }

    /// Whether an account may take an address.
    fn free(&self, email: &Email, account: &AccountId) -> Result<(), AccountRejection> {
        match self.holders.get(email.as_ref()) {
            Some(holder) if holder != account => Err(AccountRejection::EmailTaken { email: email.clone() }),
            _ => Ok(()),
        }
    }
}

impl Decider for Accounts {
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Rejection = AccountRejection;

    fn decide(
        &self,
        command: AccountCommand,
        context: &Context,
    ) -> Result<Vec<AccountEvent>, AccountRejection> {
        let account = AccountId::new(context.stream.key.as_str());
        let held = self.email_of(&account);
        let event = match (command, held) {
            (AccountCommand::Register { .. }, Some(_)) => return Err(AccountRejection::AlreadyRegistered),
            (AccountCommand::Register { email }, None) => {
                self.free(&email, &account)?;
                AccountEvent::Registered { account, email }
            }
            (_, None) => return Err(AccountRejection::AccountNotFound),
            (AccountCommand::ChangeEmail { email }, Some(held)) if held == email => return Ok(Vec::new()),
            (AccountCommand::ChangeEmail { email }, Some(from)) => {
                self.free(&email, &account)?;
                AccountEvent::EmailChanged { account, from, to: email }
            }
            (AccountCommand::Close, Some(email)) => AccountEvent::Closed { account, email },
        };
        Ok(vec![event])
    }

    fn evolve(mut self, event: &AccountEvent) -> Self {
        match event.clone() {
            AccountEvent::Registered { account, email } => {
                self.holders.insert(email.to_string(), account);
            }
            AccountEvent::EmailChanged { account, from, to } => {
                self.holders.remove(from.as_ref());
                self.holders.insert(to.to_string(), account);
            }
            AccountEvent::Closed { email, .. } => {
                self.holders.remove(email.as_ref());
            }
        }
        self
    }
}

impl Boundary for Accounts {
    fn boundary(command: &AccountCommand, context: &Context) -> TagQuery {
        let own = TagQuery::stream(&context.stream);
        match command {
            AccountCommand::Register { email } | AccountCommand::ChangeEmail { email } => {
                own.or_tagged("email", email)
            }
            AccountCommand::Close => own,
        }
    }
}

fn service() -> Service {
    Service::new("people").about("Keeps accounts with addresses of their own").boundary::<Accounts>()
}

/// Two accounts want one address at once; the one that is late gets it once the other has let it go.
#[allow(clippy::print_stdout, reason = "an example shows what it does")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("diptych-unique-email-{}", std::process::id()));
    let running = service().open(Config::at(folder.as_path())).await?;
    let ask = |account: &str, command| {
        let request = Request::by(running.principal()).to(&AccountId::new(account), command);
        running.commands().handle::<Accounts>(request)
    };
    let register = || AccountCommand::Register { email: "ann@example.org".into() };
    let (one, two) = tokio::join!(ask("1", register()), ask("2", register()));
    let (first, late) = if one.is_ok() { ("1", two) } else { ("2", one) };
    println!("account {first} has the address; the other is told: {}", late.expect_err("no two may have it"));
    ask(first, AccountCommand::Close).await?;
    let other = if first == "1" { "2" } else { "1" };
    let receipt = ask(other, register()).await?;
    println!("account {other} has it now, at {}", receipt.token.position);
    running.stop().await?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych::testing::{GivenFact, given_log, on};

    fn registered(account: &str, email: &str) -> GivenFact {
        on(account, AccountEvent::Registered { account: account.into(), email: email.into() })
    }

    fn changed(account: &str, from: &str, to: &str) -> AccountEvent {
        AccountEvent::EmailChanged { account: account.into(), from: from.into(), to: to.into() }
    }

    fn register(email: &str) -> AccountCommand {
        AccountCommand::Register { email: email.into() }
    }

    #[track_caller]
    fn taken(log: impl IntoIterator<Item = GivenFact>, email: &str) {
        let rejection = AccountRejection::EmailTaken { email: email.into() };
        given_log::<Accounts>(log).on("new").when(register(email)).then_rejected(rejection);
    }

    #[track_caller]
    fn free(log: impl IntoIterator<Item = GivenFact>, email: &str) {
        let event = AccountEvent::Registered { account: "new".into(), email: email.into() };
        given_log::<Accounts>(log).on("new").when(register(email)).then([event]);
    }

    #[test]
    fn an_address_belongs_to_one_account() {
        free([], "a@x");
        free([registered("1", "b@x")], "a@x");
        taken([registered("1", "a@x")], "a@x");
    }

    #[test]
    fn changing_it_frees_the_old_one_and_takes_the_new_one() {
        let log = || [registered("1", "a@x"), on("1", changed("1", "a@x", "b@x"))];
        free(log(), "a@x");
        taken(log(), "b@x");
    }

    #[test]
    fn closing_the_account_frees_it() {
        let closed = AccountEvent::Closed { account: "1".into(), email: "a@x".into() };
        free([registered("1", "a@x"), on("1", closed)], "a@x");
    }

    #[test]
    fn an_account_changes_to_a_free_address_only() {
        let log = || [registered("1", "a@x"), registered("2", "b@x")];
        let change = |email: &str| AccountCommand::ChangeEmail { email: email.into() };
        given_log::<Accounts>(log()).on("1").when(change("c@x")).then([changed("1", "a@x", "c@x")]);
        given_log::<Accounts>(log()).on("1").when(change("a@x")).then_nothing();
        let rejection = AccountRejection::EmailTaken { email: "b@x".into() };
        given_log::<Accounts>(log()).on("1").when(change("b@x")).then_rejected(rejection);
        given_log::<Accounts>(log())
            .on("3")
            .when(AccountCommand::Close)
            .then_rejected(AccountRejection::AccountNotFound);
    }

    #[test]
    fn an_account_is_registered_once() {
        given_log::<Accounts>([registered("1", "a@x")])
            .on("1")
            .when(register("b@x"))
            .then_rejected(AccountRejection::AlreadyRegistered);
    }

    #[test]
    fn the_service_is_put_together_rightly() {
        assert_eq!(service().problems(), Vec::<String>::new());
    }
}
