//! Access policies of a service: held against its deciders and read models when it is opened.

use crate::Service;
use diptych_command::AnyDecider;
use diptych_core::Fault;
use diptych_policy::{CategoryDeclaration, CommandDeclaration, Declarations, Guard, Policies, PolicyError};
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
    /// #     fn decide(&self, _: RunCommand, _: &Context) -> Result<Vec<RunEvent>, RunRejection> { Ok(vec![]) }
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
    /// let typo = service.policies_from(r#"@id("typo") permit (principal, action == Action::"run.Recrod", resource);"#);
    /// assert!(typo.problems()[0].contains("`typo`"));
    /// ```
    #[must_use]
    pub fn policies_from(mut self, text: &str) -> Self {
        self.policies = Some(Policies::from_text(text));
        self
    }

    /// The schema that policies are written against, in Cedar's form.
    ///
    /// # Errors
    /// Declarations that would have the same name in policies.
    pub fn policy_schema(&self) -> Result<String, Fault> {
        Guard::schema(&self.declarations()).map_err(Fault::from)
    }

    /// What policies may speak of.
    pub(crate) fn declarations(&self) -> Declarations {
        Declarations {
            categories: self.deciders.iter().map(|decider| category(&**decider)).collect(),
            models: self.models().map(|model| model.schema()).collect(),
        }
    }

    /// The policies, held against what the service declares; none where it has none.
    pub(crate) fn guard(&self) -> Result<Option<Guard>, PolicyError> {
        match &self.policies {
            None => Ok(None),
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(policies)) => Guard::new(policies, &self.declarations()).map(Some),
        }
    }

    /// The same service with its policies in force.
    pub(crate) fn guarded(mut self) -> Result<Self, Fault> {
        if let Some(guard) = self.guard()? {
            for notice in guard.notices() {
                tracing::warn!(notice, "of the access policies");
            }
            let guard = Arc::new(guard);
            self.authorize = Arc::clone(&guard) as _;
            self.policy = Arc::clone(&guard) as _;
            self.guard = Some(guard);
        }
        Ok(self)
    }
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
