//! Who asks, as Cedar sees it.

use crate::vocabulary::{ROLE, TEAM, USER, fixed_uid};
use cedar_policy::{
    Entities, Entity, EntityTypeName, EntityUid, PartialEntities, RestrictedExpression as Constant,
    Schema as CedarSchema,
};
use diptych_core::Principal;
use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

/// A principal with its roles and teams.
pub(crate) struct Caller {
    pub(crate) uid: EntityUid,
    pub(crate) entities: Entities,
    pub(crate) known: PartialEntities,
    /// Of which actions on which types nothing but the state tells whether they are allowed.
    told_by_state: RwLock<HashMap<EntityTypeName, HashMap<String, bool>>>,
}

impl Caller {
    /// The entities of a principal; an error in words where Cedar would not take them.
    pub(crate) fn of(principal: &Principal, schema: &CedarSchema) -> Result<Self, String> {
        let claims = &principal.claims;
        let uid = fixed_uid(USER, principal.actor.as_str());
        let texts = |texts: &std::collections::BTreeSet<String>| {
            Constant::new_set(texts.iter().map(|text| Constant::new_string(text.clone())))
        };
        let attributes = HashMap::from([
            ("tenant".to_owned(), Constant::new_string(principal.tenant.as_str().to_owned())),
            ("actor".to_owned(), Constant::new_string(principal.actor.as_str().to_owned())),
            ("teams".to_owned(), texts(&claims.teams)),
            ("roles".to_owned(), texts(&claims.roles)),
            ("clearance".to_owned(), Constant::new_long(i64::from(claims.clearance))),
        ]);
        let roles = claims.roles.iter().map(|role| fixed_uid(ROLE, role));
        let parents: HashSet<_> =
            roles.chain(claims.teams.iter().map(|team| fixed_uid(TEAM, team))).collect();
        let groups = parents.iter().map(|parent| Entity::new_no_attrs(parent.clone(), HashSet::new()));
        let groups: Vec<_> = groups.collect();
        let user = Entity::new(uid.clone(), attributes, parents).map_err(|error| error.to_string())?;
        let entities = Entities::from_entities(groups.into_iter().chain([user]), Some(schema));
        let entities = entities.map_err(|error| error.to_string())?;
        let known = PartialEntities::from_concrete(entities.clone(), schema);
        let known = known.map_err(|error| error.to_string())?;
        Ok(Self { uid, entities, known, told_by_state: RwLock::default() })
    }

    /// Whether nothing but the state tells if an action is allowed, found out once.
    pub(crate) fn is_told_by_state(
        &self,
        action: &str,
        type_name: &EntityTypeName,
        find_out: impl FnOnce() -> bool,
    ) -> bool {
        let known = self.told_by_state.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = known.get(type_name).and_then(|actions| actions.get(action)) {
            return *told;
        }
        drop(known);
        let told = find_out();
        let mut known = self.told_by_state.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(type_name.clone()).or_default().insert(action.to_owned(), told);
        told
    }
}
