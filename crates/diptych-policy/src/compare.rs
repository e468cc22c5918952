//! What another set of policies changes: which policies differ, who may do more or less, who sees more or
//! fewer rows and fields. Reads no store: whoever has the rows hands them in.

use crate::doing::command_parts;
use crate::guard::{named, policies_text};
use crate::vocabulary::{READ_AGGREGATE, READ_AUDIT, READ_COMMAND, SERVICE, VIEW_ALL_TENANTS, VIEW_HISTORY};
use crate::{Policies, PolicyGuard};
use cedar_policy::EntityTypeName;
use diptych_core::{Claims, Principal, Tenant, Value};
use diptych_query::{FieldRule, Purpose, ReadPolicy, Schema, Sight};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Which policies differ between two sets.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyChanges {
    /// Those that only the second set has, by name.
    pub added: Vec<String>,
    /// Those that only the first set has.
    pub removed: Vec<String>,
    /// Those that read otherwise.
    pub changed: Vec<String>,
}

/// Whether somebody may do something, as far as it can be told without the thing itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Allowance {
    /// In no case.
    Never,
    /// It depends on what it is done to, or with.
    Sometimes,
    /// In any case.
    Always,
}

/// Something that somebody may do more or less of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionChange {
    /// Who.
    pub principal: String,
    /// What, as policies call it.
    pub action: String,
    /// Before.
    pub before: Allowance,
    /// From then on.
    pub after: Allowance,
}

/// What somebody sees of a read model, before and after.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SightChange {
    /// Who.
    pub principal: String,
    /// Of which read model.
    pub model: String,
    /// How many rows of the tenant were seen before.
    pub rows_before: u64,
    /// How many are seen from then on.
    pub rows_after: u64,
    /// How many are seen that were not.
    pub rows_gained: u64,
    /// How many were seen that are not.
    pub rows_lost: u64,
    /// The fields that are seen otherwise.
    pub fields: Vec<FieldChange>,
}

/// A field that is seen otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Its public name.
    pub field: String,
    /// Before.
    pub before: Allowance,
    /// From then on.
    pub after: Allowance,
}

impl fmt::Display for Allowance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Never => "never",
            Self::Sometimes => "sometimes",
            Self::Always => "always",
        })
    }
}

impl SightChange {
    /// Whether anything is seen otherwise.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.rows_gained + self.rows_lost > 0 || !self.fields.is_empty()
    }
}

impl PolicyChanges {
    /// Which policies differ.
    #[must_use]
    pub fn between(before: &Policies, after: &Policies) -> Self {
        let texts = |policies: &Policies| -> BTreeMap<String, String> {
            policies_text(&policies.set).into_iter().collect()
        };
        let (before, after) = (texts(before), texts(after));
        let only = |these: &BTreeMap<String, String>, those: &BTreeMap<String, String>| {
            these.keys().filter(|id| !those.contains_key(*id)).cloned().collect()
        };
        let changed = before.iter().filter(|(id, text)| after.get(*id).is_some_and(|other| other != *text));
        Self {
            added: only(&after, &before),
            removed: only(&before, &after),
            changed: changed.map(|(id, _)| id.clone()).collect(),
        }
    }

    /// Whether any policy differs.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !(self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty())
    }
}

/// A principal in words: who, with what.
#[must_use]
pub fn principal_in_words(principal: &Principal) -> String {
    let Claims { teams, roles, clearance } = &*principal.claims;
    let mut words = principal.actor.as_str().to_owned();
    for (what, names) in [("roles", roles), ("teams", teams)] {
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            words = format!("{words} {what} {}", names.join(","));
        }
    }
    if *clearance > 0 { format!("{words} clearance {clearance}") } else { words }
}

/// Principals to compare with where nobody has named any: one in every role that the policies name, and one
/// who has none.
#[must_use]
pub fn principals_named<'a>(
    policies: impl IntoIterator<Item = &'a Policies>,
    tenant: &Tenant,
) -> Vec<Principal> {
    let mut roles = BTreeSet::new();
    for policies in policies {
        for policy in policies.set.policies() {
            let literals = policy.entity_literals();
            let named = literals.iter().filter(|uid| uid.type_name().to_string() == crate::vocabulary::ROLE);
            roles.extend(named.map(|uid| uid.id().unescaped().to_owned()));
        }
    }
    let anybody = Principal::new(tenant.as_str(), "anybody").ok();
    let each = roles.iter().filter_map(|role| {
        let claims = Claims { roles: BTreeSet::from([role.clone()]), ..Claims::default() };
        Some(Principal::new(tenant.as_str(), format!("any-{role}")).ok()?.with(claims))
    });
    anybody.into_iter().chain(each).collect()
}

/// What somebody may do more or less of.
#[must_use]
pub fn action_changes(
    before: &PolicyGuard,
    after: &PolicyGuard,
    principals: &[Principal],
) -> Vec<ActionChange> {
    let mut changes = Vec::new();
    for principal in principals {
        for (action, type_name) in after.general_actions() {
            let (old, new) = (
                before.allowance(principal, &action, &type_name),
                after.allowance(principal, &action, &type_name),
            );
            if old != new {
                let principal = principal_in_words(principal);
                changes.push(ActionChange { principal, action, before: old, after: new });
            }
        }
    }
    changes
}

impl PolicyGuard {
    /// Everything that may be done beside looking at rows, with the type that it is done to.
    fn general_actions(&self) -> Vec<(String, EntityTypeName)> {
        let mut actions: Vec<_> =
            [READ_AUDIT, READ_COMMAND].map(|name| (name.to_owned(), named(SERVICE))).into();
        for (category, words) in &self.vocabulary.categories {
            for name in [READ_AGGREGATE, VIEW_HISTORY] {
                actions.push((name.to_owned(), words.type_name.clone()));
            }
            let commands = words.commands.keys();
            actions.extend(commands.map(|command| command_parts(category, command, words)));
        }
        let views = self.vocabulary.views.values();
        actions.extend(views.map(|view| (VIEW_ALL_TENANTS.to_owned(), view.type_name.clone())));
        actions
    }
}

/// Rows of one read model while they are compared, for several principals at once.
pub struct SightComparison {
    schema: &'static Schema,
    sides: Vec<Sides>,
}

struct Sides {
    principal: Principal,
    before: Option<Arc<Sight>>,
    after: Option<Arc<Sight>>,
    change: SightChange,
}

impl SightComparison {
    /// Begins with no rows.
    #[must_use]
    pub fn new(
        before: &PolicyGuard,
        after: &PolicyGuard,
        schema: &'static Schema,
        principals: &[Principal],
    ) -> Self {
        let sides = principals.iter().map(|principal| {
            let sight = |guard: &PolicyGuard| guard.sight(principal, schema, Purpose::View).ok();
            let (before, after) = (sight(before), sight(after));
            let change = SightChange {
                principal: principal_in_words(principal),
                model: schema.name.to_owned(),
                rows_before: 0,
                rows_after: 0,
                rows_gained: 0,
                rows_lost: 0,
                fields: field_changes(schema, before.as_deref(), after.as_deref()),
            };
            Sides { principal: principal.clone(), before, after, change }
        });
        Self { schema, sides: sides.collect() }
    }

    /// Whether the rows need not be looked at: the rules are the same for everybody.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let rules = |sight: &Option<Arc<Sight>>| {
            sight.as_ref().map(|sight| (sight.rows.clone(), sight.redacted.clone()))
        };
        self.sides.iter().all(|side| rules(&side.before) == rules(&side.after))
    }

    /// Takes in one more row.
    pub fn row(&mut self, tenant: &Tenant, values: &[Value]) {
        let schema = self.schema;
        for side in self.sides.iter_mut().filter(|side| side.principal.tenant == *tenant) {
            let sees = |sight: &Option<Arc<Sight>>| {
                sight.as_ref().is_some_and(|sight| {
                    sight.rows.admits(schema, values) || sight.redacted.admits(schema, values)
                })
            };
            let (before, after) = (sees(&side.before), sees(&side.after));
            side.change.rows_before += u64::from(before);
            side.change.rows_after += u64::from(after);
            side.change.rows_gained += u64::from(after && !before);
            side.change.rows_lost += u64::from(before && !after);
        }
    }

    /// What differs, for those for whom anything does.
    #[must_use]
    pub fn changes(self) -> Vec<SightChange> {
        self.sides.into_iter().map(|side| side.change).filter(SightChange::is_any).collect()
    }
}

fn field_changes(schema: &Schema, before: Option<&Sight>, after: Option<&Sight>) -> Vec<FieldChange> {
    let seen = |sight: Option<&Sight>, column: usize| match sight {
        None => Allowance::Never,
        Some(sight) => match sight.fields.get(column) {
            None | Some(FieldRule::Visible) => Allowance::Always,
            Some(FieldRule::Withheld) => Allowance::Never,
            Some(FieldRule::Where(_)) => Allowance::Sometimes,
        },
    };
    let changes = schema.columns.iter().enumerate().filter_map(|(column, spec)| {
        let (before, after) = (seen(before, column), seen(after, column));
        let field = spec.public.to_owned();
        (before != after).then_some(FieldChange { field, before, after })
    });
    changes.collect()
}
