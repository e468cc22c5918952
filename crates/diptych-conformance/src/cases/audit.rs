//! The audit: every command leaves a row, refused ones too; each tenant sees its own, newest first, whole.

use crate::drive::{
    MAIN, account, append, command_id, deposited, note, opened, refuse, reject, stream, tenant,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::AccountEvent;
use crate::{Failure, Harness, Outcome, Stores};
use diptych_command::{
    AuditEntry, AuditFilter, AuditOutcome, AuditPage, AuditPlace, AuditQuery, Commit, Outcome as Ledger,
    RefusedFor,
};
use diptych_core::{Actor, CausationId, Clock, CorrelationId, PolicyVersion, Position, Timestamp, Version};
use std::time::Duration;

async fn ask(
    stores: &Stores,
    tenant_name: &str,
    filter: AuditFilter,
    before: Option<AuditPlace>,
    rows_max: usize,
) -> Outcome<AuditPage> {
    let query = AuditQuery { tenant: tenant(tenant_name)?, filter, before, rows_max };
    Ok(stores.events.audited(&query).await?)
}

/// The ids of the rows that fit, newest first.
async fn ids(stores: &Stores, filter: AuditFilter) -> Outcome<Vec<String>> {
    let page = ask(stores, MAIN, filter, None, 100).await?;
    ensure_eq!(page.next, None, "a next page where everything was shown");
    Ok(page.entries.iter().map(|entry| entry.id.as_str().to_owned()).collect())
}

/// An accepted command, a rejected one, one in conflict and one that was not allowed.
async fn four_outcomes(stores: &Stores) -> Outcome {
    let a = account("a")?;
    let mut first = append(stores, &a, "yes", 0, &[opened("ann"), deposited(1)?])?;
    first.header.correlation = Some(CorrelationId::new("talk")?);
    first.header.policy = Some(PolicyVersion("P-1".into()));
    stores.events.commit(first).await?;
    stores.clock.advance(Duration::from_secs(10));
    let mut second = reject(stores, &a, "no", 2)?;
    second.header.causation = Some(CausationId::new("yes")?);
    second.header.actor = Actor::new("bob")?;
    stores.events.commit(second).await?;
    stores.clock.advance(Duration::from_secs(10));
    let mut third = refuse(stores, &account("b")?, "late", RefusedFor::Conflict)?;
    third.header.causation = Some(CausationId::new("account-a@1")?);
    third.header.correlation = Some(CorrelationId::new("01991c3e-7b2a-7c3d-8e4f-0123456789ab")?);
    stores.events.commit(third).await?;
    let mut fourth = refuse(stores, &a, "01991c3e-7b2a-7c3d-8e4f-0123456789aa", RefusedFor::Forbidden)?;
    fourth.header.name = "Close".to_owned();
    stores.events.commit(fourth).await?;
    Ok(())
}

/// Whatever came of a command, it leaves a row that says who, what, when, under which policy and why.
pub(crate) async fn every_outcome_leaves_a_row(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let start = stores.clock.now();
    four_outcomes(&stores).await?;
    let page = ask(&stores, MAIN, AuditFilter::default(), None, 100).await?;
    let told: Vec<_> = page.entries.iter().map(|entry| (entry.id.as_str(), &entry.outcome)).collect();
    let rejected = Ledger::Rejected { name: "NotOpen".to_owned(), data: "{}".to_owned() };
    let expected = [
        ("01991c3e-7b2a-7c3d-8e4f-0123456789aa", &Ledger::Refused(RefusedFor::Forbidden)),
        ("late", &Ledger::Refused(RefusedFor::Conflict)),
        ("no", &rejected),
        ("yes", &Ledger::Accepted { base: Version(0) }),
    ];
    ensure_eq!(told, expected, "the audit, newest first");
    let yes = AuditEntry {
        id: command_id("yes")?,
        stream: account("a")?,
        command: "Record".to_owned(),
        actor: Actor::new("ann")?,
        correlation: Some(CorrelationId::new("talk")?),
        causation: None,
        policy: Some(PolicyVersion("P-1".into())),
        outcome: Ledger::Accepted { base: Version(0) },
        version: Version(2),
        position: Position(2),
        occurred_at: start,
        recorded_at: start,
    };
    ensure_eq!(page.entries.last(), Some(&yes), "the row of the first command");
    harness.stop(stores).await?;
    let stores = harness.open(Vec::new()).await?;
    let again = ask(&stores, MAIN, AuditFilter::default(), None, 100).await?;
    ensure_eq!(again, page, "the audit after the store was opened again");
    Ok(())
}

/// Every filter narrows, alone and with others; a filter that nothing fits finds nothing.
pub(crate) async fn filters_narrow(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let start = stores.clock.now();
    let later = |seconds: i64| Timestamp::from_micros(start.as_micros() + seconds * 1_000_000);
    four_outcomes(&stores).await?;
    note(&stores, "n").await?;
    let uuid = "01991c3e-7b2a-7c3d-8e4f-0123456789aa";
    let noted = "main note-n at 0";
    let all = AuditFilter::default;
    let account = account("b")?.stream;
    let outcome = |outcome| AuditFilter { outcome: Some(outcome), ..all() };
    let causation = |ids: &[&str]| -> Outcome<AuditFilter> {
        let ids: Result<Vec<_>, _> = ids.iter().map(CausationId::new).collect();
        Ok(AuditFilter { causation: ids?, ..all() })
    };
    let correlation = |id: &str| -> Outcome<AuditFilter> {
        Ok(AuditFilter { correlation: Some(CorrelationId::new(id)?), ..all() })
    };
    let table: Vec<(AuditFilter, Vec<&str>)> = vec![
        (AuditFilter { id: Some(command_id(uuid)?), ..all() }, vec![uuid]),
        (AuditFilter { actor: Some(Actor::new("bob")?), ..all() }, vec!["no"]),
        (AuditFilter { category: Some(account.category.clone()), ..all() }, vec![uuid, "late", "no", "yes"]),
        (AuditFilter { key: Some(account.key.clone()), ..all() }, vec!["late"]),
        (AuditFilter { command: Some("Close".to_owned()), ..all() }, vec![uuid]),
        (outcome(AuditOutcome::Accepted), vec![noted, "yes"]),
        (outcome(AuditOutcome::Rejected), vec!["no"]),
        (outcome(AuditOutcome::Refused), vec![uuid, "late"]),
        (outcome(AuditOutcome::Conflict), vec!["late"]),
        (outcome(AuditOutcome::Forbidden), vec![uuid]),
        (AuditFilter { since: Some(later(10)?), ..all() }, vec![noted, uuid, "late", "no"]),
        (AuditFilter { until: Some(later(10)?), ..all() }, vec!["yes"]),
        (AuditFilter { since: Some(later(10)?), until: Some(later(20)?), ..all() }, vec!["no"]),
        (correlation("talk")?, vec!["yes"]),
        (correlation("01991c3e-7b2a-7c3d-8e4f-0123456789ab")?, vec!["late"]),
        (causation(&["yes"])?, vec!["no"]),
        (causation(&["account-a@1", "yes", "account-a@2"])?, vec!["late", "no"]),
        (causation(&["nothing"])?, vec![]),
        (AuditFilter { actor: Some(Actor::new("bob")?), ..outcome(AuditOutcome::Accepted) }, vec![]),
    ];
    for (filter, expected) in table {
        let what = format!("{filter:?}");
        let found = ids(&stores, filter).await?;
        ensure_eq!(found, expected, "the rows of {what}");
    }
    Ok(())
}

/// What other tenants did is not there, whatever is asked.
pub(crate) async fn tenants_see_their_own(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for (name, id) in [(MAIN, "mine"), ("other", "theirs")] {
        let stream = stream::<AccountEvent>(name, "a")?;
        let commit: Commit = append(&stores, &stream, id, 0, &[opened("ann")])?;
        stores.events.commit(commit).await?;
    }
    for (name, id) in [(MAIN, "mine"), ("other", "theirs")] {
        let page = ask(&stores, name, AuditFilter::default(), None, 100).await?;
        let told: Vec<_> = page.entries.iter().map(|entry| entry.id.as_str()).collect();
        ensure_eq!(told, [id], "what `{name}` sees");
    }
    let theirs = AuditFilter { id: Some(command_id("theirs")?), ..AuditFilter::default() };
    ensure!(ids(&stores, theirs).await?.is_empty(), "the id of another tenant's command found it");
    let nobody = ask(&stores, "nobody", AuditFilter::default(), None, 100).await?;
    ensure_eq!(nobody, AuditPage::default(), "what a tenant without commands sees");
    Ok(())
}

/// Pages of any size tell each row once, also while others are written.
pub(crate) async fn pages_miss_nothing(harness: &dyn Harness) -> Outcome {
    const ROWS: usize = 23;
    let stores = harness.open(Vec::new()).await?;
    for number in 0..ROWS {
        let (name, odd) = (format!("c{number:02}"), number % 2 == 1);
        let stream = stream::<AccountEvent>(if odd { "other" } else { MAIN }, &name)?;
        stores.events.commit(append(&stores, &stream, &name, 0, &[opened("ann")])?).await?;
    }
    let expected: Vec<_> = (0..ROWS).rev().filter(|n| n % 2 == 0).map(|n| format!("c{n:02}")).collect();
    for rows_max in [1, 2, 5, 11, 12, 13] {
        let (mut told, mut before) = (Vec::new(), None);
        loop {
            let page = ask(&stores, MAIN, AuditFilter::default(), before, rows_max).await?;
            ensure!(page.entries.len() <= rows_max, "a page has more rows than asked for");
            ensure!(told.len() <= ROWS, "the pages do not end");
            told.extend(page.entries.iter().map(|entry| entry.id.as_str().to_owned()));
            if before.is_none() {
                // What is written while somebody reads on stands before where they are.
                let stream = stream::<AccountEvent>("other", &format!("while {rows_max}"))?;
                let id = format!("while {rows_max}");
                stores.events.commit(append(&stores, &stream, &id, 0, &[opened("eve")])?).await?;
            }
            match page.next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
        if told != expected {
            return Err(Failure::new(format!("pages of {rows_max} told {told:?}, expected {expected:?}")));
        }
    }
    Ok(())
}
