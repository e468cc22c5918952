//! Which policies were in force, one after the other: noted when a service starts with others than before,
//! with what differs and who sees more and who sees less.

use super::{PoliciesInForce, sample, sights};
use diptych_core::{Code, Fault, Principal, Timestamp};
use diptych_policy::{ActionChange, Policies, PolicyChanges, PolicyGuard, SightChange, action_changes};
use diptych_query::{Group, ModelStore, Record, Registry, Schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind of record that sets of policies are kept as, by their number.
pub const POLICIES: &str = "policies";

/// How many sets of policies are remembered: the oldest are forgotten beyond.
pub const POLICY_CHANGES_MAX: usize = 200;

/// A set of policies that came into force, and what it changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyChange {
    /// Counts the sets of policies that were in force, from 1.
    pub number: u64,
    /// The version.
    pub version: String,
    /// The version before; none for the first.
    pub before: Option<String>,
    /// Since when, by the clock of the service.
    pub at: Timestamp,
    /// The texts, by the name of their file.
    pub texts: BTreeMap<String, String>,
    /// Which policies differ from those before.
    pub policies: PolicyChanges,
    /// By whom it was compared.
    pub principals: Vec<String>,
    /// Who may do more or less.
    pub actions: Vec<ActionChange>,
    /// Who sees more or less.
    pub sights: Vec<SightChange>,
    /// Of which read models not every row was looked at.
    pub cut: Vec<String>,
    /// Whether rows have been counted.
    pub counted: bool,
    /// Why they cannot be: the policies before do not fit what is declared now.
    pub incomparable: Option<String>,
}

/// Notes the policies of a service that starts, unless they are those that were noted last. Answers what was
/// noted, with rows not counted yet.
///
/// # Errors
/// A fault of the store.
pub async fn note_policies(
    registry: &dyn Registry,
    place: &PoliciesInForce<'_>,
    operator: &Principal,
    now: Timestamp,
) -> Result<Option<PolicyChange>, Fault> {
    let Some((policies, guard)) = place.own else { return Ok(None) };
    let last = last(registry).await?;
    let version = policies.version().0.into_owned();
    if last.as_ref().is_some_and(|last| last.version == version) {
        return Ok(None);
    }
    let number = last.as_ref().map_or(1, |last| last.number + 1);
    let texts = policies.texts().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let mut change = PolicyChange {
        number,
        version,
        before: last.as_ref().map(|last| last.version.clone()),
        at: now,
        texts,
        policies: PolicyChanges::default(),
        principals: Vec::new(),
        actions: Vec::new(),
        sights: Vec::new(),
        cut: Vec::new(),
        counted: last.is_none(),
        incomparable: None,
    };
    if let Some(last) = &last {
        match before(last, place) {
            Ok((before, before_guard)) => {
                change.policies = PolicyChanges::between(&before, policies);
                let principals = sample(place, [&before, policies], operator);
                change.principals = principals.iter().map(diptych_policy::principal_in_words).collect();
                change.actions = action_changes(&before_guard, guard, &principals);
            }
            Err(reason) => change.incomparable = Some(reason),
        }
    }
    // Two processes may start at once: one of them notes it.
    if write(registry, &change, 0).await?.is_none() {
        return Ok(None);
    }
    let kept = registry.records(POLICIES, POLICY_CHANGES_MAX + 100).await?;
    for old in kept.iter().skip(POLICY_CHANGES_MAX) {
        registry.forget_record(POLICIES, &old.name).await?;
    }
    Ok(Some(change))
}

/// Counts who sees more and who sees less by a change that was noted, and notes that, too.
///
/// # Errors
/// A fault of the store.
pub async fn count_policy_change(
    (registry, store): (&dyn Registry, &dyn ModelStore),
    place: &PoliciesInForce<'_>,
    operator: &Principal,
    models: &[(&'static Schema, Arc<Group>)],
    mut change: PolicyChange,
) -> Result<PolicyChange, Fault> {
    let (Some((policies, guard)), Some(number)) = (place.own, change.number.checked_sub(1)) else {
        return Ok(change);
    };
    if change.counted || change.incomparable.is_some() {
        return Ok(change);
    }
    let Some(last) = registry.record(POLICIES, &name(number)).await? else { return Ok(change) };
    match before(&read(&last)?, place) {
        Ok((before, before_guard)) => {
            let principals = sample(place, [&before, policies], operator);
            (change.sights, change.cut) = sights(store, models, (&before_guard, guard), &principals).await?;
            change.counted = true;
        }
        Err(reason) => change.incomparable = Some(reason),
    }
    write(registry, &change, 1).await?;
    Ok(change)
}

/// The sets of policies that were in force, the last first.
pub(super) async fn changes(registry: &dyn Registry, most: usize) -> Result<Vec<PolicyChange>, Fault> {
    let records = registry.records(POLICIES, most).await?;
    let mut changes = records.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    changes.sort_by_key(|change| std::cmp::Reverse(change.number));
    Ok(changes)
}

async fn last(registry: &dyn Registry) -> Result<Option<PolicyChange>, Fault> {
    // A change is written again when its rows are counted: the last written need not be the last.
    Ok(changes(registry, POLICY_CHANGES_MAX + 100).await?.into_iter().next())
}

/// The policies before, held against what the code declares now.
fn before(last: &PolicyChange, place: &PoliciesInForce<'_>) -> Result<(Policies, PolicyGuard), String> {
    let texts = last.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let policies = Policies::from_texts(texts).map_err(|error| error.to_string())?;
    let guard = PolicyGuard::new(&policies, place.declarations);
    let guard =
        guard.map_err(|error| format!("the policies before do not fit what is declared now: {error}"))?;
    Ok((policies, guard))
}

fn name(number: u64) -> String {
    format!("{number:010}")
}

async fn write(registry: &dyn Registry, change: &PolicyChange, seen: u64) -> Result<Option<u64>, Fault> {
    let body = serde_json::to_string(change).map_err(|error| {
        Fault::permanent(Code::Internal, "a change of policies cannot be written").because(error)
    })?;
    registry.write_record(POLICIES, &name(change.number), seen, &body).await
}

fn read(record: &Record) -> Result<PolicyChange, Fault> {
    serde_json::from_str(&record.body).map_err(|error| {
        let message = format!("the change of policies `{}` cannot be read", record.name);
        Fault::permanent(Code::StoreVersion, message).because(error)
    })
}
