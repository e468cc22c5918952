//! What may be seen of read models, by typed partial evaluation: what is left of the policies when everything
//! but the row is known becomes a rule over its columns.

use crate::PolicyGuard;
use crate::breakage::Breakage;
use crate::caller::Caller;
use crate::guard::{PRINCIPALS_MAX, condition};
use crate::recent::Recent;
use crate::simplify::Simplifier;
use crate::vocabulary::{EXPORT, SEARCH_BY, VIEW_FIELD, VIEW_REDACTED, VIEW_ROW, View, sensitivity, uid};
use crate::walker::{Known, Walker};
use cedar_policy::{
    Context, Effect, PartialEntityUid, Policy, RestrictedExpression as Constant, TpeResponse,
};
use diptych_core::{Forbidden, Principal, Value};
use diptych_query::{FieldRule, Purpose, ReadPolicy, RowConditions, RowExpr, RowRule, Schema, Sight};
use std::sync::Arc;

/// How many ways to permit a row an export may have, each a way to view it joined with a way to export it.
pub const EXPORT_PERMITS_MAX: usize = 1_024;

/// What was answered of late.
pub(crate) struct Seen(Recent<(&'static str, Purpose, Principal), Result<Arc<Sight>, Forbidden>>);

impl Seen {
    pub(crate) fn new() -> Self {
        Self(Recent::new(PRINCIPALS_MAX))
    }
}

impl ReadPolicy for PolicyGuard {
    fn sight(
        &self,
        principal: &Principal,
        schema: &'static Schema,
        purpose: Purpose,
    ) -> Result<Arc<Sight>, Forbidden> {
        let asked = (schema.name, purpose, principal.clone());
        self.seen.0.or_made(asked, || self.look(principal, schema, purpose))
    }

    fn may_ask_by(
        &self,
        principal: &Principal,
        schema: &'static Schema,
        column: usize,
        value: Option<&Value>,
    ) -> Result<(), Forbidden> {
        let (Some(view), Some(spec)) = (self.vocabulary.views.get(schema.name), schema.columns.get(column))
        else {
            return Err(forbidden(format!("`{}` has no such field", schema.segment())));
        };
        let mut context = field_context(schema, column);
        match value {
            Some(Value::Text(text)) => context.push(("value".to_owned(), Constant::new_string(text.clone()))),
            Some(Value::Integer(number)) => context.push(("number".to_owned(), Constant::new_long(*number))),
            Some(Value::Bool(flag)) => {
                context.push(("number".to_owned(), Constant::new_long(i64::from(*flag))));
            }
            Some(Value::Timestamp(time)) => {
                context.push(("number".to_owned(), Constant::new_long(time.as_micros())));
            }
            _ => {}
        }
        let row = uid(&view.type_name, "");
        if self.allows(principal, SEARCH_BY, row, context) {
            return Ok(());
        }
        Err(forbidden(match value {
            Some(Value::Text(text)) => format!("`{}` may not be asked by for `{text}`", spec.public),
            _ => format!("`{}` may not be asked by", spec.public),
        }))
    }
}

impl PolicyGuard {
    fn look(
        &self,
        principal: &Principal,
        schema: &'static Schema,
        purpose: Purpose,
    ) -> Result<Arc<Sight>, Forbidden> {
        let segment = schema.segment();
        let nothing = || forbidden(format!("nothing of `{segment}` may be seen"));
        let view = self.vocabulary.views.get(schema.name).ok_or_else(nothing)?;
        let caller = self.caller(principal).ok_or_else(nothing)?;
        let rule = |action| self.rule(&caller, view, action, Vec::new());
        let (mut rows, mut redacted) = (rule(VIEW_ROW), rule(VIEW_REDACTED));
        if purpose == Purpose::Export {
            let export = rule(EXPORT);
            (rows, redacted) = (self.both(view, &rows, &export), self.both(view, &redacted, &export));
        }
        if rows == RowRule::Nothing && redacted == RowRule::Nothing {
            return Err(match purpose {
                Purpose::View => nothing(),
                Purpose::Export => forbidden(format!("`{segment}` may not be exported")),
            });
        }
        let field = |column| match self.rule(&caller, view, VIEW_FIELD, field_context(schema, column)) {
            RowRule::All => FieldRule::Visible,
            RowRule::Nothing => FieldRule::Withheld,
            rule @ RowRule::Where(_) => FieldRule::Where(rule),
        };
        let fields = (0..schema.columns.len())
            .map(|column| if schema.key.contains(&column) { FieldRule::Visible } else { field(column) });
        Ok(Arc::new(Sight {
            fields: fields.collect(),
            rows,
            redacted,
            policy: Some(self.version()),
            stamp: self.stamp(principal, schema, purpose),
            reads_time: false,
        }))
    }

    /// The rows on which an action is allowed.
    pub(crate) fn rule(
        &self,
        caller: &Caller,
        view: &View,
        action: &str,
        context: Vec<(String, Constant)>,
    ) -> RowRule {
        let Some(policies) = self.concerned(action, &view.type_name) else {
            return RowRule::Nothing;
        };
        let who = (PartialEntityUid::from_concrete(caller.uid.clone()), &caller.known);
        let row = PartialEntityUid::new(view.type_name.clone(), None);
        let Ok(context) = Context::from_pairs(context) else {
            return RowRule::Nothing;
        };
        let read = |response: &TpeResponse<'_>| self.conditions(view, response);
        match self.partially(who, (action, policies), row, Some(context), read) {
            Ok(Some(conditions)) => self.simplifier(view).rule(conditions),
            Ok(None) => RowRule::Nothing,
            Err(error) => {
                tracing::error!(%error, action, model = view.schema.name, "policies cannot be evaluated");
                RowRule::Nothing
            }
        }
    }

    /// What permits and what forbids; none where something forbids every row.
    fn conditions(&self, view: &View, response: &TpeResponse<'_>) -> Option<RowConditions> {
        let forbids_lost = self.breakage == Some(Breakage::ForbidsLost);
        if response.true_forbids().next().is_some() && !forbids_lost {
            return None;
        }
        let mut conditions = RowConditions::default();
        if response.true_permits().next().is_some() {
            conditions.permits.push(RowExpr::Bool(true));
        }
        let mut residuals: Vec<_> = response.residual_policies().collect();
        // Cedar's order changes from call to call; equal rules must print equal SQL.
        residuals.sort_by(|one, other| one.id().cmp(other.id()));
        for policy in residuals {
            let forbids = policy.effect() == Effect::Forbid;
            match self.translated(view, &policy) {
                Ok(_) if forbids && forbids_lost => {}
                Ok(expr) if forbids && self.breakage == Some(Breakage::FailureForbids) => {
                    let not = |expr: RowExpr| RowExpr::Not(Box::new(expr));
                    let permits = conditions.permits.into_iter();
                    let unless = |permit| RowExpr::And(Box::new(permit), Box::new(not(expr.clone())));
                    conditions.permits = permits.map(unless).collect();
                }
                Ok(expr) if forbids => conditions.forbids.push(expr),
                Ok(expr) => conditions.permits.push(expr),
                Err(error) => {
                    let (id, model) = (policy.id().to_string(), view.schema.name);
                    tracing::error!(policy = id, model, error, forbids, "a policy cannot be applied to rows");
                    if forbids {
                        return None;
                    }
                }
            }
        }
        Some(conditions)
    }

    fn translated(&self, view: &View, policy: &Policy) -> Result<RowExpr, String> {
        let walker = Walker { view, known: Known::All, breakage: self.breakage };
        walker.condition(&condition(policy)?).map_err(|refused| refused.0)
    }

    fn simplifier<'a>(&self, view: &View) -> Simplifier<'a> {
        Simplifier { schema: view.schema, breakage: self.breakage }
    }

    /// The rows of both rules.
    fn both(&self, view: &View, one: &RowRule, other: &RowRule) -> RowRule {
        let (one, other) = match (one, other) {
            (RowRule::All, rule) | (rule, RowRule::All) => return rule.clone(),
            (RowRule::Nothing, _) | (_, RowRule::Nothing) => return RowRule::Nothing,
            (RowRule::Where(one), RowRule::Where(other)) => (one, other),
        };
        let pairs = one.iter().flat_map(|one| other.iter().map(move |other| (one, other)));
        let mut whole = RowRule::Nothing;
        for (one, other) in pairs {
            if one.permits.len().saturating_mul(other.permits.len()) > EXPORT_PERMITS_MAX {
                tracing::error!(model = view.schema.name, "too many policies permit an export");
                return RowRule::Nothing;
            }
            // One that fails permits nothing, in whichever rule it stands: so each is joined with each.
            let permits = one.permits.iter().flat_map(|permit| {
                let joined = |with: &RowExpr| RowExpr::And(Box::new(permit.clone()), Box::new(with.clone()));
                other.permits.iter().map(joined)
            });
            let forbids = one.forbids.iter().chain(&other.forbids).cloned().collect();
            let conditions = RowConditions { permits: permits.collect(), forbids };
            whole = whole.or(&self.simplifier(view).rule(conditions));
        }
        whole
    }

    fn stamp(&self, principal: &Principal, schema: &Schema, purpose: Purpose) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.fingerprint);
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        let claims = &principal.claims;
        for text in [principal.tenant.as_str(), principal.actor.as_str(), schema.name] {
            part(text);
        }
        part(&format!("{purpose:?} {} {} {}", claims.clearance, claims.teams.len(), claims.roles.len()));
        claims.teams.iter().chain(&claims.roles).for_each(|text| part(text));
        let hash = hasher.finalize();
        let first = hash.as_bytes().first_chunk::<8>().expect("a hash has 32 bytes");
        u64::from_le_bytes(*first)
    }
}

pub(crate) fn field_context(schema: &Schema, column: usize) -> Vec<(String, Constant)> {
    let (word, rank) = sensitivity(schema, column);
    let public = schema.columns.get(column).map_or("", |spec| spec.public);
    vec![
        ("field".to_owned(), Constant::new_string(public.to_owned())),
        ("sensitivity".to_owned(), Constant::new_string(word.to_owned())),
        ("sensitivityRank".to_owned(), Constant::new_long(rank)),
    ]
}

pub(crate) fn forbidden(reason: String) -> Forbidden {
    Forbidden { reason }
}
