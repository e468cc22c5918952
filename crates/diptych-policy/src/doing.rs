//! What may be done: commands, and reading from the command side. Decided by Cedar itself, with everything
//! known; only a command may have to be asked for again when the state is loaded.

use crate::caller::Caller;
use crate::guard::condition;
use crate::sight::forbidden;
use crate::vocabulary::{
    CategoryWords, IMPORT, READ_AGGREGATE, READ_AUDIT, READ_COMMAND, SERVICE, VIEW_ALL_TENANTS, VIEW_HISTORY,
    action_uid, command_action, fixed_uid, uid,
};
use crate::walker::asks_state_alone;
use crate::{Allowance, PolicyGuard};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityTypeName, EntityUid, PartialEntityUid, Policy,
    PolicySet, Request, RestrictedExpression as Constant,
};
use diptych_core::{
    Action, AttributeKind, Authorize, Forbidden, Permit, PolicyAttribute, Principal, Timestamp,
};
use diptych_query::{Purpose, ReadPolicy};
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};

/// A command that is asked for.
struct Asked<'a> {
    category: &'a str,
    key: &'a str,
    name: &'a str,
    body: &'a str,
    state: Option<&'a Json>,
}

/// What is said of an action before its resource is known in full.
enum Said {
    Allow,
    Deny,
    NeedsState,
}

impl Authorize for PolicyGuard {
    fn authorize(&self, principal: &Principal, action: Action<'_>) -> Result<Permit, Forbidden> {
        let service = || fixed_uid(SERVICE, "");
        let keyed = |key: &str| vec![("key".to_owned(), Constant::new_string(key.to_owned()))];
        let (name, resource, context, what) = match action {
            Action::Command { category, key, name, body, state } => {
                return self.command(principal, &Asked { category, key, name, body, state });
            }
            Action::Query { model } => return self.query(principal, model),
            Action::Import { category } => {
                (IMPORT, self.stream(category, ""), Vec::new(), format!("import into `{category}`"))
            }
            Action::ReadAggregate { category, key, state } => {
                let refusal = || forbidden(format!("to read `{category}`"));
                let words = self.vocabulary.categories.get(category).ok_or_else(refusal)?;
                let context = || Some(keyed(key));
                let said = self.judged(principal, words, (READ_AGGREGATE, key), context, state);
                return self.answer(&said).ok_or_else(refusal);
            }
            Action::ReadHistory { category, key } => {
                let what = format!("view the history of `{category}`");
                (VIEW_HISTORY, self.stream(category, key), keyed(key), what)
            }
            Action::ReadCommand => {
                (READ_COMMAND, Some(service()), Vec::new(), "read what became of commands".to_owned())
            }
            Action::ReadAudit => (READ_AUDIT, Some(service()), Vec::new(), "read the audit".to_owned()),
            Action::QueryAllTenants { model } => {
                let view = self.vocabulary.views.get(model);
                let row = view.map(|view| uid(&view.type_name, ""));
                (VIEW_ALL_TENANTS, row, Vec::new(), format!("view `{model}` of all tenants"))
            }
            _ => return Err(forbidden("the policies do not know such an action".to_owned())),
        };
        let allowed = resource.is_some_and(|resource| self.allows(principal, name, resource, context));
        if allowed { Ok(self.permit()) } else { Err(forbidden(format!("to {what}"))) }
    }
}

impl PolicyGuard {
    fn permit(&self) -> Permit {
        Permit { policy: Some(self.version()), needs_state: false }
    }

    fn stream(&self, category: &str, key: &str) -> Option<EntityUid> {
        self.vocabulary.categories.get(category).map(|words| uid(&words.type_name, key))
    }

    /// Whether an action is allowed that is not judged by attributes of its resource.
    pub(crate) fn allows(
        &self,
        principal: &Principal,
        action: &str,
        resource: EntityUid,
        context: Vec<(String, Constant)>,
    ) -> bool {
        let Some(caller) = self.caller(principal) else { return false };
        self.decides(&caller.uid, action, resource, context, &caller.entities)
    }

    fn decides(
        &self,
        caller: &EntityUid,
        action: &str,
        resource: EntityUid,
        context: Vec<(String, Constant)>,
        entities: &Entities,
    ) -> bool {
        let Some(policies) = self.concerned(action, resource.type_name()) else { return false };
        let Ok(context) = Context::from_pairs(context) else { return false };
        let schema = Some(&self.vocabulary.schema);
        let request = Request::new(caller.clone(), action_uid(action), resource, context, schema);
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, action, "a question does not fit the schema of the policies");
                return false;
            }
        };
        let response = Authorizer::new().is_authorized(&request, policies, entities);
        for error in response.diagnostics().errors() {
            tracing::warn!(%error, action, "a policy failed, and counts for nothing");
        }
        response.decision() == Decision::Allow
    }

    /// Asking a read model is allowed to whoever may see anything of it.
    fn query(&self, principal: &Principal, model: &str) -> Result<Permit, Forbidden> {
        let Some(view) = self.vocabulary.views.get(model) else {
            return Err(forbidden(format!("nothing of `{model}` may be seen")));
        };
        self.sight(principal, view.schema, Purpose::View).map(|_| self.permit())
    }

    fn command(&self, principal: &Principal, asked: &Asked<'_>) -> Result<Permit, Forbidden> {
        let refusal = || forbidden(format!("to give `{}` to `{}`", asked.name, asked.category));
        let words = self.vocabulary.categories.get(asked.category).ok_or_else(refusal)?;
        let action = command_action(asked.category, asked.name);
        let context = || command_context(words, asked);
        let said = self.judged(principal, words, (&action, asked.key), context, asked.state);
        self.answer(&said).ok_or_else(refusal)
    }

    fn answer(&self, said: &Said) -> Option<Permit> {
        match said {
            Said::Allow => Some(self.permit()),
            Said::Deny => None,
            Said::NeedsState => Some(Permit { needs_state: true, ..self.permit() }),
        }
    }

    /// Whether an action is allowed to somebody, as far as it can be told without the resource and the
    /// context.
    pub(crate) fn allowance(
        &self,
        principal: &Principal,
        action: &str,
        type_name: &EntityTypeName,
    ) -> Allowance {
        let (Some(caller), Some(policies)) = (self.caller(principal), self.concerned(action, type_name))
        else {
            return Allowance::Never;
        };
        let who = (PartialEntityUid::from_concrete(caller.uid.clone()), &caller.known);
        let any = PartialEntityUid::new(type_name.clone(), None);
        match self.partially(who, (action, policies), any, None, |said| said.decision()) {
            Ok(Some(Decision::Allow)) => Allowance::Always,
            Ok(Some(Decision::Deny)) | Err(_) => Allowance::Never,
            Ok(None) => Allowance::Sometimes,
        }
    }

    /// What is said of an action on a stream: without the state first, and again with it where that is not
    /// enough.
    fn judged(
        &self,
        principal: &Principal,
        words: &CategoryWords,
        (action, key): (&str, &str),
        context: impl FnOnce() -> Option<Vec<(String, Constant)>>,
        state: Option<&Json>,
    ) -> Said {
        let Some(caller) = self.caller(principal) else { return Said::Deny };
        let Some(policies) = self.concerned(action, &words.type_name) else { return Said::Deny };
        let by_state = self.by_state.contains(action);
        if by_state && state.is_none() && self.only_state_tells(&caller, action, policies, &words.type_name) {
            return Said::NeedsState;
        }
        let stream = uid(&words.type_name, key);
        let context = match context() {
            // Nothing of the state is asked for: everything is known.
            Some(context) if !by_state => {
                let allowed = self.decides(&caller.uid, action, stream, context, &caller.entities);
                return if allowed { Said::Allow } else { Said::Deny };
            }
            context => context,
        };
        let Some(state) = state else {
            let who = (PartialEntityUid::from_concrete(caller.uid.clone()), &caller.known);
            let context = context.and_then(|context| Context::from_pairs(context).ok());
            let on = PartialEntityUid::from_concrete(stream);
            // A body without its shape is judged by what else is known, and refused for its shape later. It
            // is never allowed for good.
            let shaped = context.is_some();
            let said = self.partially(who, (action, policies), on, context, |said| said.decision());
            return match said {
                Ok(Some(Decision::Allow)) if shaped => Said::Allow,
                Ok(Some(Decision::Deny)) => Said::Deny,
                Ok(_) => Said::NeedsState,
                Err(error) => {
                    tracing::error!(%error, action, "policies cannot be evaluated");
                    Said::Deny
                }
            };
        };
        let with_state = stream_entity(&stream, &words.view, state).and_then(|entity| {
            let schema = Some(&self.vocabulary.schema);
            caller.entities.clone().add_entities([entity], schema).map_err(|error| error.to_string())
        });
        let entities = match with_state {
            Ok(entities) => entities,
            Err(error) => {
                tracing::error!(%error, action, "a state does not offer what its decider declares");
                return Said::Deny;
            }
        };
        let allowed =
            context.is_some_and(|context| self.decides(&caller.uid, action, stream, context, &entities));
        if allowed { Said::Allow } else { Said::Deny }
    }

    /// Whether neither the key nor what a command brings could tell if an action is allowed to somebody, so
    /// that it need not be tried: what the policies leave open for them asks for the state alone.
    fn only_state_tells(
        &self,
        caller: &Caller,
        action: &str,
        policies: &PolicySet,
        type_name: &EntityTypeName,
    ) -> bool {
        caller.is_told_by_state(action, type_name, || {
            let who = (PartialEntityUid::from_concrete(caller.uid.clone()), &caller.known);
            let any = PartialEntityUid::new(type_name.clone(), None);
            let told = self.partially(who, (action, policies), any, None, |said| {
                let asks = |policy: Policy| condition(&policy).is_ok_and(|expr| asks_state_alone(&expr));
                said.decision().is_none() && said.residual_policies().all(asks)
            });
            // What cannot be told is tried each time, and its error is logged there.
            told.unwrap_or(false)
        })
    }
}

/// A command's action with the type of its streams.
pub(crate) fn command_parts(
    category: &str,
    command: &str,
    words: &CategoryWords,
) -> (String, EntityTypeName) {
    (command_action(category, command), words.type_name.clone())
}

/// The context of a command; none where its body lacks the shape that is declared.
fn command_context(words: &CategoryWords, asked: &Asked<'_>) -> Option<Vec<(String, Constant)>> {
    let body: Json = serde_json::from_str(asked.body).ok()?;
    let fields = words.commands.get(asked.name)?;
    let fields = attributes(fields, &body).ok()?;
    let command = Constant::new_record(fields).ok()?;
    let key = Constant::new_string(asked.key.to_owned());
    Some(vec![("key".to_owned(), key), ("command".to_owned(), command)])
}

fn stream_entity(stream: &EntityUid, view: &[PolicyAttribute], state: &Json) -> Result<Entity, String> {
    let attributes: HashMap<_, _> = attributes(view, state)?.into_iter().collect();
    Entity::new(stream.clone(), attributes, HashSet::new()).map_err(|error| error.to_string())
}

/// The attributes that a JSON object has, or the name of one that is not as declared.
fn attributes(declared: &[PolicyAttribute], object: &Json) -> Result<Vec<(String, Constant)>, String> {
    let mut attributes = Vec::with_capacity(declared.len());
    for attribute in declared {
        let name: &str = &attribute.name;
        match object.get(name) {
            None | Some(Json::Null) if !attribute.always => {}
            value => {
                let value = value.and_then(|value| constant(attribute.kind, value));
                let value = value.ok_or_else(|| format!("`{name}` is not a value of its kind"))?;
                attributes.push((name.to_owned(), value));
            }
        }
    }
    Ok(attributes)
}

fn constant(kind: AttributeKind, value: &Json) -> Option<Constant> {
    Some(match kind {
        AttributeKind::Text => Constant::new_string(value.as_str()?.to_owned()),
        AttributeKind::Integer => Constant::new_long(value.as_i64()?),
        AttributeKind::Bool => Constant::new_bool(value.as_bool()?),
        AttributeKind::Time => {
            let time: Timestamp = value.as_str()?.parse().ok()?;
            Constant::new_long(time.as_micros())
        }
        AttributeKind::Texts => {
            let texts = value.as_array()?.iter().map(|text| text.as_str());
            let texts: Option<Vec<_>> = texts.collect();
            Constant::new_set(texts?.into_iter().map(|text| Constant::new_string(text.to_owned())))
        }
    })
}
