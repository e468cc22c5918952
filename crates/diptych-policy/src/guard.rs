//! Policies held against what a service declares: checked as a whole, then asked. Names no model of a
//! question; what may be seen of read models is in `sight`, what may be done in `doing`.

use crate::breakage::Breakage;
use crate::caller::Caller;
use crate::policies::PUBLIC_FIELDS_ID;
use crate::recent::Recent;
use crate::sight::Seen;
use crate::vocabulary::{self, Vocabulary, action_uid, command_action};
use crate::walker::{Known, Walker, reads_attribute, reads_row};
use crate::{Declarations, Policies, PolicyError};
use cedar_policy::pst::{Clause, Expr};
use cedar_policy::{
    ActionConstraint, Context, EntityTypeName, EntityUid, PartialEntities, PartialEntityUid, PartialRequest,
    Policy, PolicyId, PolicySet, ResourceConstraint, TpeResponse, ValidationError, ValidationMode, Validator,
};
use diptych_core::{PolicyVersion, Principal};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Of how many principals it is remembered who they are, and of how many questions what may be seen.
pub const PRINCIPALS_MAX: usize = 4_096;

/// Cedar policies in force: they answer both panels.
pub struct PolicyGuard {
    pub(crate) vocabulary: Vocabulary,
    /// The policies that can have a say, by action and type of resource.
    concerned: HashMap<(String, EntityTypeName), PolicySet>,
    /// The actions of which some policy judges by the state of the stream.
    pub(crate) by_state: BTreeSet<String>,
    pub(crate) version: PolicyVersion,
    /// Of the policies and of the schema, for stamps.
    pub(crate) fingerprint: [u8; 32],
    notices: Vec<String>,
    callers: Recent<Principal, Option<Arc<Caller>>>,
    pub(crate) seen: Seen,
    pub(crate) breakage: Option<Breakage>,
}

impl PolicyGuard {
    /// Holds policies against what is declared.
    ///
    /// # Errors
    /// Every policy that speaks of what is not there, and every one that cannot be asked as it would have to
    /// be: about rows without looking at them, or about an aggregate before it is read.
    pub fn new(policies: &Policies, declarations: &Declarations) -> Result<Self, PolicyError> {
        let vocabulary = Vocabulary::of(declarations)?;
        let mut set = policies.set.clone();
        if vocabulary.views.is_empty() {
            // There are no fields to speak of, and strict validation refuses to speak of none.
            set.remove_static(PolicyId::new(PUBLIC_FIELDS_ID))
                .map_err(|error| PolicyError::one(error.to_string()))?;
        }
        let validated = Validator::new(vocabulary.schema.clone()).validate(&set, ValidationMode::Strict);
        let mut problems: Vec<_> = validated.validation_errors().map(problem_of).collect();
        let own = |warning: &String| !warning.contains(PUBLIC_FIELDS_ID);
        let notices = validated.validation_warnings().map(ToString::to_string).filter(own).collect();
        problems.sort();
        problems.dedup();
        let mut hasher = blake3::Hasher::new();
        hasher.update(policies.fingerprint());
        hasher.update(vocabulary.text.as_bytes());
        let mut guard = Self {
            by_state: BTreeSet::new(),
            concerned: concerned(&set, &vocabulary),
            vocabulary,
            version: policies.version(),
            fingerprint: *hasher.finalize().as_bytes(),
            notices,
            callers: Recent::new(PRINCIPALS_MAX),
            seen: Seen::new(),
            breakage: None,
        };
        if problems.is_empty() {
            (guard.by_state, problems) = guard.looked_through();
        }
        if problems.is_empty() { Ok(guard) } else { Err(PolicyError { problems }) }
    }

    /// The schema that policies are written against, in Cedar's own form.
    ///
    /// # Errors
    /// Two declarations that would have the same name.
    pub fn schema(declarations: &Declarations) -> Result<String, PolicyError> {
        Vocabulary::of(declarations).map(|vocabulary| vocabulary.text)
    }

    /// The version of the policies.
    #[must_use]
    pub fn version(&self) -> PolicyVersion {
        self.version.clone()
    }

    /// What is odd about the policies without being wrong, such as one that can never apply.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The policies that can have a say; none where the action is not one of the type.
    pub(crate) fn concerned(&self, action: &str, type_name: &EntityTypeName) -> Option<&PolicySet> {
        self.concerned.get(&(action.to_owned(), type_name.clone()))
    }

    /// A principal as Cedar sees it; none where Cedar would not take it, which is logged.
    pub(crate) fn caller(&self, principal: &Principal) -> Option<Arc<Caller>> {
        self.callers.or_made(principal.clone(), || {
            let caller = Caller::of(principal, &self.vocabulary.schema);
            caller
                .map_err(|error| tracing::error!(%error, "a principal is not one for policies"))
                .ok()
                .map(Arc::new)
        })
    }

    /// What the policies say of an action with everything known but the resource, or its attributes.
    pub(crate) fn partially<'a, R>(
        &'a self,
        (principal, entities): (PartialEntityUid, &'a PartialEntities),
        (action, policies): (&str, &'a PolicySet),
        resource: PartialEntityUid,
        context: Option<Context>,
        read: impl FnOnce(&TpeResponse<'_>) -> R,
    ) -> Result<R, String> {
        let schema = &self.vocabulary.schema;
        let request = PartialRequest::new(principal, action_uid(action), resource, context, schema);
        let request = request.map_err(|error| error.to_string())?;
        let response = policies.tpe(&request, entities, schema).map_err(|error| error.to_string())?;
        Ok(read(&response))
    }

    /// The actions that are judged by the state, and every policy that could not be asked as it would have to
    /// be, whoever asks.
    fn looked_through(&self) -> (BTreeSet<String>, Vec<String>) {
        let (mut by_state, mut problems) = (BTreeSet::new(), Vec::new());
        let mut pairs: Vec<_> = self.concerned.iter().collect();
        pairs.sort_by_key(|((action, type_name), _)| (action.clone(), type_name.to_string()));
        for ((action, type_name), policies) in pairs {
            let nobody = PartialEntityUid::new(named(vocabulary::USER), None);
            let resource = PartialEntityUid::new(type_name.clone(), None);
            let empty = PartialEntities::empty();
            let residuals =
                self.partially((nobody, &empty), (action, policies), resource, None, |response| {
                    let each = response.residual_policies();
                    each.map(|policy| (policy.id().to_string(), condition(&policy))).collect::<Vec<_>>()
                });
            match residuals {
                Ok(residuals) => {
                    for (id, condition) in residuals {
                        if condition.as_ref().is_ok_and(reads_attribute) {
                            by_state.insert(action.clone());
                        }
                        let refused = condition.and_then(|expr| self.refusal(action, type_name, &expr));
                        problems.extend(refused.err().map(|refused| format!("policy `{id}` {refused}")));
                    }
                }
                Err(error) => problems.push(format!("policies for `{action}` on `{type_name}`: {error}")),
            }
        }
        problems.sort();
        problems.dedup();
        (by_state, problems)
    }

    /// Why a condition cannot stand for an action.
    fn refusal(&self, action: &str, type_name: &EntityTypeName, expr: &Expr) -> Result<(), String> {
        use vocabulary::{EXPORT, IMPORT, SEARCH_BY, VIEW_ALL_TENANTS, VIEW_FIELD};
        use vocabulary::{VIEW_HISTORY, VIEW_REDACTED, VIEW_ROW};
        match action {
            VIEW_ROW | VIEW_REDACTED | EXPORT | VIEW_FIELD => {
                let view = self.vocabulary.views.values().find(|view| view.type_name == *type_name);
                let Some(view) = view else { return Ok(()) };
                let walker = Walker { view, known: Known::Nothing, breakage: None };
                walker.condition(expr).map(drop).map_err(|refused| refused.0)
            }
            SEARCH_BY | VIEW_ALL_TENANTS | IMPORT if reads_row(expr) => {
                Err(format!("judges `{action}` by the resource, before there is one: `{expr}`"))
            }
            VIEW_HISTORY if reads_attribute(expr) => {
                Err(format!("judges `{action}` by the state, before it is read: `{expr}`"))
            }
            _ => Ok(()),
        }
    }
}

/// What is wrong with a policy, under its name: not every message of Cedar's has it.
fn problem_of(error: &ValidationError) -> String {
    let (text, id) = (error.to_string(), format!("`{}`", error.policy_id()));
    if text.contains(&id) { text } else { format!("policy {id}: {text}") }
}

/// The policies as JSON text, by name: layout and comments do not count.
pub(crate) fn policies_text(set: &PolicySet) -> Vec<(String, String)> {
    let text =
        |policy: &Policy| policy.to_json().map_or_else(|_| policy.to_string(), |json| json.to_string());
    set.policies().map(|policy| (policy.id().to_string(), text(policy))).collect()
}

/// The one condition of what is left of a policy.
pub(crate) fn condition(policy: &Policy) -> Result<Expr, String> {
    let policy = policy.to_pst().map_err(|error| format!("cannot be read: {error}"))?;
    match policy.body().clauses().as_slice() {
        [Clause::When(expr)] => Ok((**expr).clone()),
        _ => Err("is not one condition".to_owned()),
    }
}

pub(crate) fn named(type_name: &str) -> EntityTypeName {
    type_name.parse().expect("the fixed types have valid names")
}

/// By action and type of resource, the policies whose head allows for them.
fn concerned(set: &PolicySet, vocabulary: &Vocabulary) -> HashMap<(String, EntityTypeName), PolicySet> {
    let mut concerned = HashMap::new();
    for (action, groups, types) in actions(vocabulary) {
        let names: Vec<EntityUid> =
            std::iter::once(&action).chain(&groups).map(|name| action_uid(name)).collect();
        for type_name in types {
            let own = set.policies().filter(|policy| may_say(policy, &names, &type_name));
            let own = PolicySet::from_policies(own.cloned());
            // Names are unique in the whole, so they are in a part.
            concerned.insert((action.clone(), type_name), own.unwrap_or_default());
        }
    }
    concerned
}

fn may_say(policy: &Policy, action: &[EntityUid], type_name: &EntityTypeName) -> bool {
    let on_action = match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::In(actions) => actions.iter().any(|one| action.contains(one)),
        ActionConstraint::Eq(one) => action.first() == Some(&one),
    };
    let on_resource = match policy.resource_constraint() {
        ResourceConstraint::Is(of) | ResourceConstraint::IsIn(of, _) => of == *type_name,
        _ => true,
    };
    on_action && on_resource
}

/// Every action with its groups and the types of resource that it is for.
fn actions(vocabulary: &Vocabulary) -> Vec<(String, Vec<String>, Vec<EntityTypeName>)> {
    use vocabulary::{EXPORT, IMPORT, READ_AGGREGATE, READ_AUDIT, READ_COMMAND, SEARCH_BY, VIEW_ALL_TENANTS};
    use vocabulary::{VIEW_FIELD, VIEW_HISTORY, VIEW_REDACTED, VIEW_ROW};
    let plain = |name: &str, types: &[EntityTypeName]| (name.to_owned(), Vec::new(), types.to_vec());
    let service = [named(vocabulary::SERVICE)];
    let aggregates: Vec<_> = vocabulary.categories.values().map(|words| words.type_name.clone()).collect();
    let views: Vec<_> = vocabulary.views.values().map(|view| view.type_name.clone()).collect();
    let mut actions = vec![plain(READ_COMMAND, &service), plain(READ_AUDIT, &service)];
    actions.extend([READ_AGGREGATE, VIEW_HISTORY, IMPORT].map(|name| plain(name, &aggregates)));
    let on_rows = [VIEW_ROW, VIEW_REDACTED, EXPORT, VIEW_ALL_TENANTS, VIEW_FIELD, SEARCH_BY];
    actions.extend(on_rows.map(|name| plain(name, &views)));
    for (category, words) in &vocabulary.categories {
        for command in words.commands.keys() {
            let groups = vec![format!("{category}.commands"), "commands".to_owned()];
            actions.push((command_action(category, command), groups, vec![words.type_name.clone()]));
        }
    }
    actions
}
