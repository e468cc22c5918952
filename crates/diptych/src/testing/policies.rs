//! What policies promise, as sentences: `policies(&service()).principal("ann").roles(["approver"])
//! .on::<Decision>("DEC-1", [drafted()]).may(Approve { .. })`. No store, no server: the same policies, held
//! against the same declarations, answer.

use crate::Service;
use diptych_command::{Command, Decider};
use diptych_core::{Action, Authorize, Claims, Event, Principal, Value};
use diptych_policy::PolicyGuard;
use diptych_query::{Purpose, ReadModel, ReadPolicy, Sight};
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Arc;

/// The policies of a service, in a test.
#[derive(Clone)]
pub struct GivenPolicies(Arc<PolicyGuard>);

/// Starts from the policies of a service.
///
/// ```
/// # #![allow(clippy::enum_variant_names)]
/// # use diptych::prelude::*;
/// # use diptych::testing::policies;
/// # #[derive(Id)]
/// # struct CaseId(String);
/// # #[derive(Clone, Debug, Event)]
/// # #[event(category = "case", owner = "law")]
/// # enum CaseEvent { CaseOpened { team: String }, CaseClosed }
/// # #[derive(Clone, Command)]
/// # enum CaseCommand { Open { team: String }, Close { reason: String } }
/// # #[derive(Debug, Rejection)]
/// # enum CaseRejection { #[reject("it is closed")] CaseIsClosed }
/// #[derive(Default, Data)]
/// struct Case { team: Option<String> }
///
/// impl Decider for Case {
/// #   type Command = CaseCommand;
/// #   type Event = CaseEvent;
/// #   type Rejection = CaseRejection;
///     const POLICY_VIEW: &'static [PolicyAttribute] = &[PolicyAttribute::text("team")];
///     // decide, evolve
/// #   fn decide(&self, _: CaseCommand, _: &Context) -> Result<Vec<CaseEvent>, CaseRejection> { Ok(vec![]) }
/// #   fn evolve(self, event: &CaseEvent) -> Self {
/// #       match event {
/// #           CaseEvent::CaseOpened { team } => Self { team: Some(team.clone()) },
/// #           CaseEvent::CaseClosed => self,
/// #       }
/// #   }
/// }
///
/// #[derive(Clone, ReadModel)]
/// #[read_model(name = "open_case", revision = 1, owner = "law")]
/// struct OpenCase { #[key] case: CaseId, #[filter] team: String, #[sensitivity(personal)] accused: String }
/// # impl Projection for OpenCase {
/// #     type Event = CaseEvent;
/// #     fn route(fact: &Fact<CaseEvent>) -> Route<Self> { Route::key(fact.id()) }
/// #     fn project(row: Option<Self>, _: &Fact<CaseEvent>) -> Option<Self> { row }
/// # }
///
/// let service = Service::new("law").decider::<Case>().read_model::<OpenCase>().policies_from(
///     r#"
///     @id("own-team-acts")
///     permit (principal, action in Action::"case.commands", resource)
///     when { resource has team && principal.teams.contains(resource.team) };
///     @id("reasons")
///     forbid (principal, action == Action::"case.Close", resource) when { context.command.reason == "" };
///     @id("own-team-sees")
///     permit (principal, action == Action::"viewRow", resource is OpenCaseView)
///     when { principal.teams.contains(resource.team) };
///     @id("cleared-see-persons")
///     permit (principal, action in [Action::"viewField", Action::"searchBy"], resource)
///     when { context.sensitivity == "personal" && principal.clearance >= 2 };
///     "#,
/// );
/// let close = |reason: &str| CaseCommand::Close { reason: reason.into() };
/// let opened = CaseEvent::CaseOpened { team: "TEAM-7".into() };
/// let row = OpenCase { case: CaseId::new("C-1"), team: "TEAM-7".into(), accused: "Acme".into() };
///
/// let ann = policies(&service).principal("ann").teams(["TEAM-7"]);
/// ann.on::<Case>("C-1", [opened.clone()]).may(close("paid")).may_not(close(""));
/// ann.sees(&row).sees_field(&row, "team").does_not_see_field(&row, "accused");
/// ann.may_not_ask_by::<OpenCase>("accused");
///
/// let eve = policies(&service).principal("eve").teams(["TEAM-9"]).clearance(2);
/// eve.on::<Case>("C-1", [opened]).may_not(close("paid"));
/// eve.does_not_see(&row);
/// ```
///
/// # Panics
/// Where the service has no policies, or such that cannot be used.
#[must_use]
#[track_caller]
pub fn policies(service: &Service) -> GivenPolicies {
    match service.guard() {
        Ok(Some(guard)) => GivenPolicies(Arc::new(guard)),
        Ok(None) => panic!("the service has no policies"),
        Err(error) => panic!("{error}"),
    }
}

impl GivenPolicies {
    /// Somebody of the tenant `test`, of whom nothing but the name is known yet.
    #[must_use]
    pub fn principal(&self, actor: &str) -> GivenPrincipal {
        let principal = Principal::new(super::TENANT, actor).expect("an actor must be a valid name");
        GivenPrincipal { policies: self.clone(), principal }
    }
}

/// Somebody who asks.
#[derive(Clone)]
pub struct GivenPrincipal {
    policies: GivenPolicies,
    principal: Principal,
}

impl GivenPrincipal {
    /// Who works in these teams.
    #[must_use]
    pub fn teams<'a>(self, teams: impl IntoIterator<Item = &'a str>) -> Self {
        let teams = teams.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
        self.claiming(|claims| claims.teams = teams)
    }

    /// Who is trusted with these roles.
    #[must_use]
    pub fn roles<'a>(self, roles: impl IntoIterator<Item = &'a str>) -> Self {
        let roles = roles.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
        self.claiming(|claims| claims.roles = roles)
    }

    /// Who may look at things of this rank.
    #[must_use]
    pub fn clearance(self, clearance: u32) -> Self {
        self.claiming(|claims| claims.clearance = clearance)
    }

    /// Who belongs to another tenant than `test`.
    #[must_use]
    pub fn of_tenant(mut self, tenant: &str) -> Self {
        let claims = Claims::clone(&self.principal.claims);
        let named =
            Principal::new(tenant, self.principal.actor.as_str()).expect("a tenant must be a valid name");
        self.principal = named.with(claims);
        self
    }

    /// Who turns to a stream on which this has happened.
    pub fn on<D: Decider>(&self, key: &str, events: impl IntoIterator<Item = D::Event>) -> GivenStream<D> {
        let state = events.into_iter().fold(D::default(), |state, event| state.evolve(&event));
        let state = serde_json::to_value(&state).expect("a state must serialize");
        let offered = D::POLICY_VIEW
            .iter()
            .filter_map(|attribute| Some((attribute.name.to_string(), state.get(&*attribute.name)?.clone())));
        let offered = offered.collect::<serde_json::Map<_, _>>().into();
        GivenStream { asks: self.clone(), key: key.to_owned(), offered, decider: PhantomData }
    }

    /// May do something beside giving commands.
    #[track_caller]
    pub fn may(&self, action: Action<'_>) -> &Self {
        if let Err(forbidden) = self.policies.0.authorize(&self.principal, action) {
            panic!("{} must be allowed {action:?}: {forbidden}", self.principal.actor.as_str());
        }
        self
    }

    /// May not.
    #[track_caller]
    pub fn may_not(&self, action: Action<'_>) -> &Self {
        let allowed = self.policies.0.authorize(&self.principal, action).is_ok();
        assert!(!allowed, "{} must not be allowed {action:?}", self.principal.actor.as_str());
        self
    }

    /// Sees a row, be it without some of its fields.
    #[track_caller]
    pub fn sees<M: ReadModel>(&self, row: &M) -> &Self {
        let sight = self.sight::<M>(Purpose::View);
        assert!(seen(sight.as_deref(), row), "{} must see {:?}", self.principal.actor.as_str(), row.to_row());
        self
    }

    /// Does not see a row.
    #[track_caller]
    pub fn does_not_see<M: ReadModel>(&self, row: &M) -> &Self {
        let sight = self.sight::<M>(Purpose::View);
        assert!(
            !seen(sight.as_deref(), row),
            "{} must not see {:?}",
            self.principal.actor.as_str(),
            row.to_row()
        );
        self
    }

    /// May carry a row away in an export.
    #[track_caller]
    pub fn exports<M: ReadModel>(&self, row: &M) -> &Self {
        let sight = self.sight::<M>(Purpose::Export);
        assert!(
            seen(sight.as_deref(), row),
            "{} must export {:?}",
            self.principal.actor.as_str(),
            row.to_row()
        );
        self
    }

    /// May not.
    #[track_caller]
    pub fn does_not_export<M: ReadModel>(&self, row: &M) -> &Self {
        let sight = self.sight::<M>(Purpose::Export);
        assert!(
            !seen(sight.as_deref(), row),
            "{} must not export {:?}",
            self.principal.actor.as_str(),
            row.to_row()
        );
        self
    }

    /// Sees a field of a row, by its public name.
    #[track_caller]
    pub fn sees_field<M: ReadModel>(&self, row: &M, field: &str) -> &Self {
        let actor = self.principal.actor.as_str();
        assert!(self.shows(row, field), "{actor} must see `{field}` of {:?}", row.to_row());
        self
    }

    /// Does not see a field of a row.
    #[track_caller]
    pub fn does_not_see_field<M: ReadModel>(&self, row: &M, field: &str) -> &Self {
        let actor = self.principal.actor.as_str();
        assert!(!self.shows(row, field), "{actor} must not see `{field}` of {:?}", row.to_row());
        self
    }

    /// May filter and sort by a field.
    #[track_caller]
    pub fn may_ask_by<M: ReadModel>(&self, field: &str) -> &Self {
        let allowed = self.asks::<M>(field, None);
        assert!(allowed, "{} must be allowed to ask by `{field}`", self.principal.actor.as_str());
        self
    }

    /// May not.
    #[track_caller]
    pub fn may_not_ask_by<M: ReadModel>(&self, field: &str) -> &Self {
        let allowed = self.asks::<M>(field, None);
        assert!(!allowed, "{} must not be allowed to ask by `{field}`", self.principal.actor.as_str());
        self
    }

    /// May filter by a field for a value.
    #[track_caller]
    pub fn may_ask_for<M: ReadModel>(&self, field: &str, value: &str) -> &Self {
        let allowed = self.asks::<M>(field, Some(value));
        assert!(allowed, "{} must be allowed to ask for {field} {value}", self.principal.actor.as_str());
        self
    }

    /// May not.
    #[track_caller]
    pub fn may_not_ask_for<M: ReadModel>(&self, field: &str, value: &str) -> &Self {
        let allowed = self.asks::<M>(field, Some(value));
        assert!(!allowed, "{} must not be allowed to ask for {field} {value}", self.principal.actor.as_str());
        self
    }

    fn claiming(mut self, change: impl FnOnce(&mut Claims)) -> Self {
        let mut claims = Claims::clone(&self.principal.claims);
        change(&mut claims);
        self.principal = self.principal.with(claims);
        self
    }

    fn sight<M: ReadModel>(&self, purpose: Purpose) -> Option<Arc<Sight>> {
        self.policies.0.sight(&self.principal, M::SCHEMA, purpose).ok()
    }

    #[track_caller]
    fn shows<M: ReadModel>(&self, row: &M, field: &str) -> bool {
        let column = column::<M>(field);
        let sight = self.sight::<M>(Purpose::View);
        let withheld = |sight: &Arc<Sight>| sight.withheld(M::SCHEMA, &row.to_row()).contains(&column);
        seen(sight.as_deref(), row) && !sight.as_ref().is_some_and(withheld)
    }

    #[track_caller]
    fn asks<M: ReadModel>(&self, field: &str, value: Option<&str>) -> bool {
        let value = value.map(|text| Value::Text(text.to_owned()));
        self.policies.0.may_ask_by(&self.principal, M::SCHEMA, column::<M>(field), value.as_ref()).is_ok()
    }
}

#[track_caller]
fn column<M: ReadModel>(field: &str) -> usize {
    M::SCHEMA.column(field).unwrap_or_else(|| panic!("`{}` has no field `{field}`", M::SCHEMA.name))
}

fn seen<M: ReadModel>(sight: Option<&Sight>, row: &M) -> bool {
    let values = row.to_row();
    sight.is_some_and(|sight| {
        sight.rows.admits(M::SCHEMA, &values) || sight.redacted.admits(M::SCHEMA, &values)
    })
}

/// Somebody before a stream.
pub struct GivenStream<D> {
    asks: GivenPrincipal,
    key: String,
    offered: serde_json::Value,
    decider: PhantomData<fn() -> D>,
}

impl<D: Decider> GivenStream<D> {
    /// May give a command, if the domain takes it.
    #[track_caller]
    pub fn may(&self, command: D::Command) -> &Self {
        let name = command.command_type().name;
        assert!(self.allows(&command), "{} must be allowed `{name}`", self.asks.principal.actor.as_str());
        self
    }

    /// May not give a command, whatever the domain says.
    #[track_caller]
    pub fn may_not(&self, command: D::Command) -> &Self {
        let name = command.command_type().name;
        assert!(
            !self.allows(&command),
            "{} must not be allowed `{name}`",
            self.asks.principal.actor.as_str()
        );
        self
    }

    /// Asks as the service does: first without the state, then with it where that is needed.
    #[track_caller]
    fn allows(&self, command: &D::Command) -> bool {
        let body = command.encode().expect("a command must have a wire form");
        let (category, key, name) = (D::Event::CATEGORY, self.key.as_str(), command.command_type().name);
        let ask = |state| {
            let action = Action::Command { category, key, name, body: &body, state };
            self.asks.policies.0.authorize(&self.asks.principal, action)
        };
        match ask(None) {
            Ok(permit) if permit.needs_state => {
                ask(Some(&self.offered)).is_ok_and(|permit| !permit.needs_state)
            }
            answer => answer.is_ok(),
        }
    }
}
