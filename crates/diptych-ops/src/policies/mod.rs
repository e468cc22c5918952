//! Access policies for operators: show, check, compare, and what was in force before. What policies say is
//! the policies' own crate's.

mod change;
mod line;
mod report;

use crate::{ActionError, Operator, Report};
use diptych_core::Principal;
use diptych_core::{Claims, Fault};
use diptych_policy::{
    Declarations, Policies, PolicyChanges, PolicyError, PolicyGuard, SightComparison, action_changes,
    principals_named,
};
use diptych_query::{Group, ModelStore, Schema};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use change::{POLICIES, POLICY_CHANGES_MAX, PolicyChange, count_policy_change, note_policies};
pub use line::run_policies;
pub(crate) use line::{policies_verb, run};
pub use report::{CheckedPolicies, ComparedPolicies, PoliciesReport, PolicyReport};
pub(crate) use report::{checked_text, compared_text, history_text, policies_text};

/// How many rows of a read model are looked at when policies are compared.
pub const COMPARED_ROWS_MAX: u64 = 1_000_000;

/// How many rows are read at once.
const SCAN_ROWS_MAX: usize = 1_000;

/// What a service has to do with policies.
#[derive(Clone, Copy)]
pub struct PoliciesInForce<'a> {
    /// What policies may speak of.
    pub declarations: &'a Declarations,
    /// The policies of the code, and the same in force; none where the service has none.
    pub own: Option<(&'a Policies, &'a PolicyGuard)>,
    /// Principals that the service names to compare policies by.
    pub principals: &'a [Principal],
}

/// A principal of a file to compare policies by.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SamplePrincipal {
    tenant: Option<String>,
    actor: String,
    #[serde(default)]
    teams: std::collections::BTreeSet<String>,
    #[serde(default)]
    roles: std::collections::BTreeSet<String>,
    #[serde(default)]
    clearance: u32,
}

/// The policies of the code.
///
/// # Errors
/// A service without policies.
pub fn show_policies(place: &PoliciesInForce<'_>) -> Result<Report, ActionError> {
    let (policies, guard) = own(place)?;
    let rules = policies.rules().iter().map(|rule| PolicyReport {
        id: rule.id.clone(),
        effect: if rule.forbids { "forbid" } else { "permit" },
        text: rule.text.clone(),
    });
    let version = policies.version().0.into_owned();
    Ok(Report::Policies(PoliciesReport {
        version,
        notices: guard.notices().to_vec(),
        policies: rules.collect(),
    }))
}

/// Whether files of policies could be put in force.
///
/// # Errors
/// None: what is wrong is the report.
pub fn check_policies(declarations: &Declarations, files: &[PathBuf]) -> Result<Report, ActionError> {
    let checked = Policies::from_files(files).and_then(|policies| {
        let guard = PolicyGuard::new(&policies, declarations)?;
        Ok((policies, guard))
    });
    Ok(Report::PoliciesChecked(match checked {
        Ok((policies, guard)) => CheckedPolicies {
            version: Some(policies.version().0.into_owned()),
            policies: policies.rules().len(),
            notices: guard.notices().to_vec(),
            problems: Vec::new(),
        },
        Err(PolicyError { problems }) => {
            CheckedPolicies { version: None, policies: 0, notices: Vec::new(), problems }
        }
    }))
}

/// The schema that policies are written against.
///
/// # Errors
/// Declarations that would have the same name in policies.
pub fn policy_schema(declarations: &Declarations) -> Result<Report, ActionError> {
    let schema = PolicyGuard::schema(declarations).map_err(Fault::from)?;
    Ok(Report::PolicySchema { schema })
}

/// Who would do and see more and who less by the policies of some files than by those of the code.
///
/// # Errors
/// Files that cannot be used, or a fault of the store.
pub async fn compare_policies(
    operator: &Operator<'_>,
    files: &[PathBuf],
    principals: Option<&Path>,
) -> Result<Report, ActionError> {
    let (policies, guard) = own(&operator.policies)?;
    let other = Policies::from_files(files).map_err(Fault::from)?;
    let other_guard = PolicyGuard::new(&other, operator.policies.declarations).map_err(Fault::from)?;
    let principals = match principals {
        Some(file) => from_file(file, operator.principal)?,
        None => sample(&operator.policies, [policies, &other], operator.principal),
    };
    let models = operator.queries.models().map(|(model, group)| (model.schema(), Arc::clone(group)));
    let models: Vec<_> = models.collect();
    let (sights, cut) = sights(operator.models, &models, (guard, &other_guard), &principals).await?;
    Ok(Report::PoliciesCompared(Box::new(ComparedPolicies {
        before: policies.version().0.into_owned(),
        after: other.version().0.into_owned(),
        principals: principals.iter().map(diptych_policy::principal_in_words).collect(),
        policies: PolicyChanges::between(policies, &other),
        actions: action_changes(guard, &other_guard, &principals),
        sights,
        cut,
    })))
}

fn own<'a>(place: &PoliciesInForce<'a>) -> Result<(&'a Policies, &'a PolicyGuard), ActionError> {
    let none = || ActionError::Argument {
        reason: "the service has no policies: everything is allowed, and only its own machine is served"
            .to_owned(),
    };
    place.own.ok_or_else(none)
}

/// The principals that the service names, or else one in every role that the policies name.
pub(crate) fn sample<'a>(
    place: &PoliciesInForce<'_>,
    policies: impl IntoIterator<Item = &'a Policies>,
    operator: &Principal,
) -> Vec<Principal> {
    if place.principals.is_empty() {
        principals_named(policies, &operator.tenant)
    } else {
        place.principals.to_vec()
    }
}

fn from_file(file: &Path, operator: &Principal) -> Result<Vec<Principal>, ActionError> {
    let wrong = |error: String| ActionError::Argument { reason: format!("`{}`: {error}", file.display()) };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let samples: Vec<SamplePrincipal> =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let principal = |sample: SamplePrincipal| {
        let SamplePrincipal { tenant, actor, teams, roles, clearance } = sample;
        let tenant = tenant.unwrap_or_else(|| operator.tenant.as_str().to_owned());
        let principal = Principal::new(tenant, actor).map_err(|error| wrong(error.to_string()))?;
        Ok(principal.with(Claims { teams, roles, clearance }))
    };
    samples.into_iter().map(principal).collect()
}

/// What is seen otherwise of every model, and the models of which not every row was looked at.
pub(crate) async fn sights(
    store: &dyn ModelStore,
    models: &[(&'static Schema, Arc<Group>)],
    (before, after): (&PolicyGuard, &PolicyGuard),
    principals: &[Principal],
) -> Result<(Vec<diptych_policy::SightChange>, Vec<String>), Fault> {
    let (mut changes, mut cut) = (Vec::new(), Vec::new());
    for (schema, group) in models {
        let mut comparison = SightComparison::new(before, after, schema, principals);
        if !comparison.is_settled() {
            let mut last = None;
            let mut count = 0;
            loop {
                let rows = store.scan(group, schema, last.as_ref(), SCAN_ROWS_MAX).await?;
                for scanned in &rows {
                    comparison.row(&scanned.row.tenant, scanned.values.as_deref().unwrap_or_default());
                }
                count += rows.len() as u64;
                let more = rows.len() == SCAN_ROWS_MAX;
                last = rows.into_iter().next_back().map(|scanned| scanned.row);
                if more && count >= COMPARED_ROWS_MAX {
                    cut.push(schema.name.to_owned());
                }
                if !more || count >= COMPARED_ROWS_MAX {
                    break;
                }
            }
        }
        changes.extend(comparison.changes());
    }
    Ok((changes, cut))
}
