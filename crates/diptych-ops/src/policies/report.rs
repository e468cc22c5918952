//! What actions on policies answer.

use super::PolicyChange;
use crate::report::table;
use diptych_policy::{ActionChange, PolicyChanges, SightChange};
use serde::Serialize;
use std::fmt::Write;

/// The policies of a service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoliciesReport {
    /// The version that stands on what they decide.
    pub version: String,
    /// What is odd about them without being wrong.
    pub notices: Vec<String>,
    /// Every policy, by name.
    pub policies: Vec<PolicyReport>,
}

/// One policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReport {
    /// Its name.
    pub id: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// As it is written.
    pub text: String,
}

/// Whether files of policies could be put in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedPolicies {
    /// The version that they would have; none where they could not be.
    pub version: Option<String>,
    /// How many there are.
    pub policies: usize,
    /// What is odd about them without being wrong.
    pub notices: Vec<String>,
    /// What is wrong with them.
    pub problems: Vec<String>,
}

/// What other policies would change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComparedPolicies {
    /// The version of the code's own.
    pub before: String,
    /// The version of the others.
    pub after: String,
    /// By whom they were compared.
    pub principals: Vec<String>,
    /// Which policies differ.
    pub policies: PolicyChanges,
    /// Who may do more or less.
    pub actions: Vec<ActionChange>,
    /// Who sees more or less.
    pub sights: Vec<SightChange>,
    /// Of which read models not every row was looked at.
    pub cut: Vec<String>,
}

pub(crate) fn policies_text(report: &PoliciesReport) -> String {
    let mut text = format!("version {}, {} policies", report.version, report.policies.len());
    notices(&mut text, &report.notices);
    for policy in &report.policies {
        let _ = write!(text, "\n\n{}", policy.text.trim());
    }
    text
}

pub(crate) fn checked_text(report: &CheckedPolicies) -> String {
    let mut text = match &report.version {
        Some(version) => format!("can be used: version {version}, {} policies", report.policies),
        None => "cannot be used:".to_owned(),
    };
    for problem in &report.problems {
        let _ = write!(text, "\n  {problem}");
    }
    notices(&mut text, &report.notices);
    text
}

fn notices(text: &mut String, notices: &[String]) {
    for notice in notices {
        let _ = write!(text, "\n  odd: {notice}");
    }
}

pub(crate) fn compared_text(report: &ComparedPolicies) -> String {
    let ComparedPolicies { before, after, principals, policies, actions, sights, cut } = report;
    let mut text = format!("from version {before} to {after}, for {}", principals.join("; "));
    differences(&mut text, policies, actions, sights, cut);
    text
}

pub(crate) fn history_text(changes: &[PolicyChange]) -> String {
    let each = changes.iter().map(|change| {
        let before = change.before.as_ref().map_or_else(String::new, |before| format!(", before: {before}"));
        let mut text = format!("{} version {} since {}{before}", change.number, change.version, change.at);
        if change.before.is_some() {
            differences(&mut text, &change.policies, &change.actions, &change.sights, &change.cut);
        }
        match &change.incomparable {
            Some(reason) => {
                let _ = write!(text, "\n  who sees more or less cannot be told: {reason}");
            }
            None if change.counted => {}
            None => text.push_str("\n  rows are not counted yet, or the process that counted has died"),
        }
        text
    });
    let text = each.collect::<Vec<_>>().join("\n\n");
    if text.is_empty() { "no policies have been in force".to_owned() } else { text }
}

fn differences(
    text: &mut String,
    policies: &PolicyChanges,
    actions: &[ActionChange],
    sights: &[SightChange],
    cut: &[String],
) {
    for (what, ids) in [("new", &policies.added), ("gone", &policies.removed), ("changed", &policies.changed)]
    {
        if !ids.is_empty() {
            let _ = write!(text, "\n  {what}: {}", ids.join(", "));
        }
    }
    if !policies.is_any() {
        text.push_str("\n  no policy differs");
    }
    if actions.is_empty() && sights.is_empty() {
        text.push_str("\n  nobody of these may do or see more or less");
    }
    if !actions.is_empty() {
        let mut table = table(&["who", "may", "before", "after"]);
        for ActionChange { principal, action, before, after } in actions {
            table.add_row([principal.clone(), action.clone(), before.to_string(), after.to_string()]);
        }
        let _ = write!(text, "\n{table}");
    }
    if !sights.is_empty() {
        let mut table = table(&["who", "sees of", "rows before", "after", "more", "fewer", "fields"]);
        for change in sights {
            let fields = change
                .fields
                .iter()
                .map(|field| format!("{}: {} → {}", field.field, field.before, field.after));
            table.add_row([
                change.principal.clone(),
                change.model.clone(),
                change.rows_before.to_string(),
                change.rows_after.to_string(),
                change.rows_gained.to_string(),
                change.rows_lost.to_string(),
                fields.collect::<Vec<_>>().join(", "),
            ]);
        }
        let _ = write!(text, "\n{table}");
    }
    for model in cut {
        let _ =
            write!(text, "\n  of {model} only the first {} rows were looked at", super::COMPARED_ROWS_MAX);
    }
}
