//! Permission that depends on the state: asked for again with what the decider offers, before anything is
//! decided or shown, and with evidence where it is refused.

use crate::drive::{self, MAIN, commands_for, deposited, on, opened, pounds, principal, tenant};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Account, AccountCommand, AccountEvent, AccountId};
use crate::{Harness, Outcome, Stores};
use diptych_command::{AuditFilter, AuditOutcome, AuditQuery, Commands, HandleError, Refusal, Request};
use diptych_core::{Action, Authorize, Forbidden, Permit, Principal, Version};
use std::sync::Arc;

/// Lets everybody act on accounts that are open, look at them, and open others. Whether one is open, only its
/// state tells.
struct OpenOnes;

impl Authorize for OpenOnes {
    fn authorize(&self, _: &Principal, action: Action<'_>) -> Result<Permit, Forbidden> {
        let state = match action {
            Action::Command { name: "Open", .. } => return Ok(Permit::default()),
            Action::Command { state, .. } | Action::ReadAggregate { state, .. } => state,
            _ => return Ok(Permit::default()),
        };
        match state {
            None => Ok(Permit { needs_state: true, ..Permit::default() }),
            Some(state) if state["open"] == true => Ok(Permit::default()),
            Some(_) => Err(Forbidden { reason: "the account is closed".to_owned() }),
        }
    }
}

async fn give(
    commands: &Commands,
    key: &str,
    command: AccountCommand,
    version: Option<u64>,
) -> Outcome<Result<Version, String>> {
    let request = Request::by(&principal(MAIN)?).to(&AccountId(key.into()), command);
    let request = match version {
        Some(version) => request.if_version(Version(version)),
        None => request,
    };
    Ok(match commands.handle::<Account>(request).await {
        Ok(receipt) => Ok(receipt.version),
        Err(HandleError::Refused(Refusal::Forbidden(forbidden))) => Err(forbidden.reason),
        Err(error) => Err(format!("another error: {error:?}")),
    })
}

/// The commands that were forbidden, by the audit.
async fn forbidden(stores: &Stores) -> Outcome<usize> {
    let filter = AuditFilter { outcome: Some(AuditOutcome::Forbidden), ..AuditFilter::default() };
    let query = AuditQuery { tenant: tenant(MAIN)?, filter, before: None, rows_max: 100 };
    Ok(stores.events.audited(&query).await?.entries.len())
}

/// Never has enough to go by.
struct Insatiable;

impl Authorize for Insatiable {
    fn authorize(&self, _: &Principal, _: Action<'_>) -> Result<Permit, Forbidden> {
        Ok(Permit { needs_state: true, ..Permit::default() })
    }
}

/// Permission that is still provisional when everything is known is none.
pub(crate) async fn permission_that_stays_provisional_is_none(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let commands = commands_for(&stores, Arc::new(Insatiable));
    let open = AccountCommand::Open { owner: "ann".to_owned() };
    let refused = give(&commands, "a", open, None).await?;
    ensure_eq!(refused, Err("to give `Open` to `account`".to_owned()), "a command");
    ensure_eq!(forbidden(&stores).await?, 1, "the evidence of it");
    on(&stores, "a", &[opened("ann")]).await?;
    let found = commands.aggregate(&principal(MAIN)?, "account", "a", None).await;
    ensure!(matches!(found, Ok(None)), "an aggregate: {found:?}");
    Ok(())
}

/// A command is judged by the state that it meets, also one that was appended past this process, and before
/// it is told which version there is.
pub(crate) async fn a_command_is_judged_by_the_state_that_it_meets(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let commands = commands_for(&stores, Arc::new(OpenOnes));
    let deposit = || Ok::<_, crate::Failure>(AccountCommand::Deposit { amount: pounds(1)? });
    let closed = || Err("the account is closed".to_owned());
    ensure_eq!(give(&commands, "a", deposit()?, None).await?, closed(), "before it is opened");
    let open = AccountCommand::Open { owner: "ann".to_owned() };
    ensure_eq!(give(&commands, "a", open, None).await?, Ok(Version(1)), "what needs no state");
    ensure_eq!(give(&commands, "a", deposit()?, None).await?, Ok(Version(2)), "on an open account");
    on(&stores, "a", &[AccountEvent::Closed {}]).await?;
    for version in [None, Some(3), Some(2), Some(7)] {
        ensure_eq!(give(&commands, "a", deposit()?, version).await?, closed(), "at version {version:?}");
    }
    ensure_eq!(forbidden(&stores).await?, 5, "the evidence of refusals");
    let held = stores.events.load(&drive::account("a")?, Version::NONE, 10).await?;
    ensure_eq!(held.len(), 3, "events of a stream on which nothing more was allowed");
    Ok(())
}

/// An aggregate is shown as its state allows, at whatever version it is asked for; whoever may not see it is
/// told no more than of one that is not there.
pub(crate) async fn an_aggregate_is_shown_as_its_state_allows(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann"), deposited(1)?]).await?;
    let commands = commands_for(&stores, Arc::new(OpenOnes));
    let ann = principal(MAIN)?;
    let shown = async |key: &str, at: Option<u64>| {
        let found = commands.aggregate(&ann, "account", key, at.map(Version)).await;
        let found = found.map_err(|error| crate::Failure::new(format!("{key} at {at:?}: {error:?}")))?;
        Ok::<_, crate::Failure>(found.map(|found| found.version.0))
    };
    // Twice: the second time from what this process keeps.
    for time in ["first", "second"] {
        ensure_eq!(shown("a", None).await?, Some(2), "an open account, the {time} time");
        ensure_eq!(shown("none", None).await?, None, "an account that nobody opened, the {time} time");
    }
    on(&stores, "a", &[AccountEvent::Closed {}]).await?;
    for time in ["first", "second"] {
        ensure_eq!(shown("a", None).await?, None, "a closed account, the {time} time");
    }
    ensure_eq!(shown("a", Some(2)).await?, Some(2), "as it was when it was open");
    ensure_eq!(shown("a", Some(3)).await?, None, "as it was when it was closed");
    on(&stores, "a", &[opened("bob")]).await?;
    ensure_eq!(shown("a", None).await?, Some(4), "when it is open again");
    let everybody = drive::commands(&stores).aggregate(&ann, "account", "a", Some(Version(3))).await;
    ensure!(matches!(everybody, Ok(Some(_))), "without policies: {everybody:?}");
    Ok(())
}
