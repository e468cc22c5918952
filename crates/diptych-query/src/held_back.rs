//! Whether a fact is missing from a row although its model has come past it: the row's key is parked.

use crate::{AnyModel, Group, ModelStore, Parked, Touch};
use diptych_core::{Fault, RawFact};
use std::sync::Arc;

/// A key that facts touch in a model, and that is held back from one of them or from an earlier fact on.
pub(crate) async fn held_back(
    store: &dyn ModelStore,
    group: &Group,
    model: &dyn AnyModel,
    facts: &[Arc<RawFact>],
) -> Result<Option<Parked>, Fault> {
    if !group.may_park() {
        return Ok(None);
    }
    let parked = store.parked(group).await?;
    let own = parked.into_iter().filter(|parked| parked.model == model.schema().name);
    let holds = |parked: &Parked| {
        let tenants = model.schema().tenants;
        let waits = facts.iter().filter(|raw| {
            raw.position >= parked.position && *tenants.owner(&raw.stream.tenant) == parked.row.tenant
        });
        // A fact that cannot be read or routed parks no key.
        let mut touches = waits.flat_map(|raw| model.routed(raw).unwrap_or_default());
        touches.any(|touch| matches!(touch, Touch::Row(key) if key == parked.row.key))
    };
    Ok(own.into_iter().find(holds))
}
