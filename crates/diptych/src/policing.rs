//! Access policies of a service: held against its deciders and read models when it is opened.

use crate::{Service, Store};
use diptych_command::AnyDecider;
use diptych_core::{Fault, Principal, Timestamp};
use diptych_ops::{PoliciesInForce, policies};
use diptych_policy::{
    CategoryDeclaration, CommandDeclaration, Declarations, Policies, PolicyError, PolicyGuard,
};
use diptych_query::Group;
use schemars::SchemaGenerator;
use std::sync::Arc;

impl Service {
    /// Has Cedar policies decide who may do what, and what of the read models anybody may see: nothing is
    /// allowed that no policy permits. They take the place of what [`Service::authorize`] and
    /// [`Service::read_policy`] say. The page `docs/policies.md` says how they are written.
    #[must_use]
    pub fn policies(mut self, policies: Policies) -> Self {
        self.policies = Some(Ok(policies));
        self
    }

    /// The same for policies in a text, most often that of a file beside the code.
    ///
    /// ```
    /// # use diptych::prelude::*;
    /// # #[derive(Clone, Event)]
    /// # #[event(category = "run", owner = "platform")]
    /// # enum RunEvent { RunRecorded }
    /// # #[derive(Clone, Command)]
    /// # enum RunCommand { Record { status: String } }
    /// # #[derive(Debug, Rejection)]
    /// # enum RunRejection { #[reject("it is recorded")] RunAlreadyRecorded }
    /// # #[derive(Default, Data)]
    /// # struct Run {}
    /// # impl Decider for Run {
    /// #     type Command = RunCommand;
    /// #     type Event = RunEvent;
    /// #     type Rejection = RunRejection;
    /// #     fn decide(&self, _: RunCommand, _: &Context) -> Result<Vec<RunEvent>, RunRejection> {
    /// #         Ok(vec![])
    /// #     }
    /// #     fn evolve(self, _: &RunEvent) -> Self { self }
    /// # }
    /// let service = Service::new("runs").decider::<Run>().policies_from(
    ///     r#"
    ///     @id("recorders")
    ///     permit (principal in Role::"recorder", action == Action::"run.Record", resource)
    ///     when { context.command.status != "" };
    ///     "#,
    /// );
    /// assert!(service.problems().is_empty());
    /// let typo = r#"@id("typo") permit (principal, action == Action::"run.Recrod", resource);"#;
    /// let typo = service.policies_from(typo);
    /// assert!(typo.problems()[0].contains("`typo`"));
    /// ```
    #[must_use]
    pub fn policies_from(mut self, text: &str) -> Self {
        self.policies = Some(Policies::from_text(text));
        self
    }

    /// Names principals by whom policies are compared when others come into force than were: what they may do
    /// and see more or less of is recorded. Where none are named it is one in every role that the policies
    /// name.
    #[must_use]
    pub fn policy_principals(mut self, principals: impl IntoIterator<Item = Principal>) -> Self {
        self.policy_principals.extend(principals);
        self
    }

    /// The schema that policies are written against, in Cedar's form.
    ///
    /// # Errors
    /// Declarations that would have the same name in policies.
    pub fn policy_schema(&self) -> Result<String, Fault> {
        PolicyGuard::schema(&self.declarations()).map_err(Fault::from)
    }

    /// What policies may speak of.
    pub(crate) fn declarations(&self) -> Declarations {
        Declarations {
            categories: self.deciders.iter().map(|decider| category(&**decider)).collect(),
            models: self.models().map(|model| model.schema()).collect(),
        }
    }

    /// The policies, held against what the service declares; none where it has none.
    pub(crate) fn guard(&self) -> Result<Option<PolicyGuard>, PolicyError> {
        match &self.policies {
            None => Ok(None),
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(policies)) => PolicyGuard::new(policies, &self.declarations()).map(Some),
        }
    }

    /// The same service, whose declarations policies can be held against.
    pub(crate) fn declared(mut self) -> Self {
        self.declared = Arc::new(self.declarations());
        self
    }

    /// The same service with its policies in force.
    pub(crate) fn guarded(self) -> Result<Self, Fault> {
        let mut service = self.declared();
        if let Some(guard) = service.guard()? {
            for notice in guard.notices() {
                tracing::warn!(notice, "of the access policies");
            }
            let guard = Arc::new(guard);
            service.authorize = Arc::clone(&guard) as _;
            service.policy = Arc::clone(&guard) as _;
            service.guard = Some(guard);
        }
        Ok(service)
    }
}

impl Service {
    /// The policies as operators see them.
    pub(crate) fn in_force(&self) -> PoliciesInForce<'_> {
        let policies = self.policies.as_ref().and_then(|policies| policies.as_ref().ok());
        PoliciesInForce {
            declarations: &self.declared,
            own: policies.zip(self.guard.as_deref()),
            principals: &self.policy_principals,
        }
    }
}

/// Notes the policies of a service that starts with others than before, says so, and counts in the background
/// who sees more and who sees less.
pub(crate) async fn note_change(
    service: &Service,
    store: &Arc<dyn Store>,
    (operator, now): (&Principal, Timestamp),
    groups: &[Arc<Group>],
) -> Result<(), Fault> {
    let noted = policies::note_policies(&**store as _, &service.in_force(), operator, now).await?;
    let Some(change) = noted else { return Ok(()) };
    let before = change.before.as_deref().unwrap_or("none");
    tracing::info!(version = change.version, before, "other access policies are in force");
    let models = groups
        .iter()
        .flat_map(|group| group.models().iter().map(|model| (model.schema(), Arc::clone(group))));
    let models: Vec<_> = models.collect();
    let (service, store, operator) = (service.clone(), Arc::clone(store), operator.clone());
    tokio::spawn(async move {
        let ports = (&*store as _, &*store as _);
        let counted =
            policies::count_policy_change(ports, &service.in_force(), &operator, &models, change).await;
        match counted {
            Ok(change) if change.before.is_some() => {
                let report = diptych_ops::Report::PolicyHistory(vec![change]);
                tracing::info!("who sees more and who less:\n{}", report.render(diptych_ops::Output::Human));
            }
            Ok(_) => {}
            Err(fault) => tracing::warn!(%fault, "who sees more and who less could not be counted"),
        }
    });
    Ok(())
}

fn category(decider: &dyn AnyDecider) -> CategoryDeclaration {
    let mut generator = SchemaGenerator::default();
    let schemas = decider.command_schemas(&mut generator);
    let definitions = generator.take_definitions(true);
    let commands = decider.commands().iter().zip(schemas);
    let commands = commands.map(|(command, schema)| {
        CommandDeclaration::from_schema(command.name, &schema.to_value(), &definitions)
    });
    CategoryDeclaration {
        category: decider.category().to_owned(),
        view: decider.policy_view().to_vec(),
        commands: commands.collect(),
    }
}
