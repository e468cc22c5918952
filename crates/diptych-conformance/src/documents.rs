//! The same suites over documents: every read model that a case opens is kept as documents. Knows no store.

use crate::fixtures::redeclared;
use crate::{Harness, Stores};
use diptych_core::{BoxFuture, CommandId, Fault, Tenant};
use diptych_query::{AnyModel, Group, Schema, Storage};
use std::sync::Arc;

/// A harness whose read models are kept as documents: `conformance_suite!(AsDocuments(MyHarness::new()));`.
pub struct AsDocuments<H>(pub H);

impl<H: Harness> Harness for AsDocuments<H> {
    fn open(&self, inline: Vec<Arc<Group>>) -> BoxFuture<'_, Result<Stores, Fault>> {
        self.0.open(inline)
    }

    fn stop(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        self.0.stop(stores)
    }

    fn crash(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        self.0.crash(stores)
    }

    fn inline_catch_up_events_max(&self) -> u64 {
        self.0.inline_catch_up_events_max()
    }

    fn audit_rows<'a>(
        &'a self,
        stores: &'a Stores,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Option<usize>> {
        self.0.audit_rows(stores, tenant, id)
    }

    fn model(&self, model: Arc<dyn AnyModel>) -> Arc<dyn AnyModel> {
        let model = self.0.model(model);
        let schema = Schema { storage: Storage::Document, ..*model.schema() };
        redeclared(model, schema)
    }
}
