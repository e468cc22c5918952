//! Who is who in the made-up scenario: what the authentication would say of each. Only the scenario, development
//! and tests know these people; a service in earnest learns of its callers from their tokens.

use diptych::core::Claims;
use diptych::prelude::*;

/// Whom everybody is taken for where nobody proves who they are: an approver of TEAM-7 who may do more than
/// approvers mostly may, so that one person can live through the whole story.
pub const EVERYBODY: &str = "main/user-117;teams=TEAM-7;roles=approver,caseworker,registrar;clearance=1";

/// What is known of whom, as `--principal` reads it, each without a tenant.
const PEOPLE: [&str; 9] = [
    "user-031;teams=TEAM-3;roles=caseworker;clearance=2",
    "user-042;teams=TEAM-7;roles=caseworker;clearance=1",
    "user-055;teams=TEAM-3,TEAM-7;roles=caseworker;clearance=2",
    "user-117;teams=TEAM-7;roles=approver;clearance=1",
    "user-204;teams=TEAM-3,TEAM-7;roles=approver;clearance=2",
    "user-301;roles=registrar",
    "user-405;roles=auditor,exporter;clearance=2",
    "user-502;roles=collector,exporter",
    // The scenario and the imports act in their own name: they look at how far streams have come.
    "scenario;roles=importer",
];

/// Somebody of the scenario, in a tenant; none where nobody of that name is in it.
#[must_use]
pub fn person(tenant: &Tenant, actor: &str) -> Option<Principal> {
    let of = |text: &&&str| text.split(';').next() == Some(actor);
    let text = PEOPLE.iter().find(of)?;
    Principal::from_text(&format!("{tenant}/{text}")).ok()
}

/// The same person, who acts in the past as imports do.
#[must_use]
pub fn importing(principal: Principal) -> Principal {
    let mut claims = Claims::clone(&principal.claims);
    claims.roles.insert("importer".to_owned());
    principal.with(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_of_the_scenario_is_known_by_name() {
        let tenant = Tenant::new("main").unwrap();
        for step in crate::scenario::steps() {
            assert!(person(&tenant, step.actor).is_some(), "nobody knows {}", step.actor);
        }
        assert_eq!(
            PEOPLE.iter().filter(|text| Principal::from_text(&format!("a/{text}")).is_ok()).count(),
            9
        );
        assert!(person(&tenant, "user-1").is_none());
        let everybody = Principal::from_text(EVERYBODY).unwrap();
        assert!(everybody.claims.teams.contains("TEAM-7"));
    }
}
