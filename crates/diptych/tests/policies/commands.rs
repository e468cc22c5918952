//! Commands are judged before anything is looked up, and by the state before anything is decided.

use crate::world::{
    Home, Piece, PieceCommand, PieceId, make, piece, service, service_of_boundaries, somebody,
};
use diptych::command::{Accepted, AuditFilter, AuditOutcome, Ending, QueueState, Refusal};
use diptych::core::{Code, CommandId};
use diptych::prelude::*;

const POLICIES: &str = r#"
@id("make") @version("2026-11")
permit (principal, action == Action::"piece.Make", resource)
when { context.command has team && principal.teams.contains(context.command.team) };

@id("close-own")
permit (principal, action == Action::"piece.Close", resource)
when { resource has team && principal.teams.contains(resource.team) };

@id("closed-is-closed")
forbid (principal, action == Action::"piece.Close", resource) when { resource.isClosed };

@id("auditors")
permit (principal in Role::"auditor", action in [Action::"readAudit", Action::"viewHistory"], resource);
"#;

fn close(reason: &str) -> PieceCommand {
    PieceCommand::Close { reason: reason.to_owned() }
}

async fn give(
    running: &Running,
    who: &Principal,
    name: &str,
    command: PieceCommand,
) -> Result<Receipt<<Piece as Decider>::Event>, HandleError<<Piece as Decider>::Rejection>> {
    let request = Request::by(who).to(&PieceId::new(name), command);
    running.commands().handle::<Piece>(request).await
}

#[track_caller]
fn forbidden<T: std::fmt::Debug, R: std::fmt::Debug>(answer: Result<T, HandleError<R>>) -> String {
    match answer {
        Err(HandleError::Refused(Refusal::Forbidden(forbidden))) => forbidden.reason,
        other => panic!("must be forbidden: {other:?}"),
    }
}

async fn commands_are_judged_by_the_state(home: Home, service: Service) {
    let running = service.open(home.config()).await.unwrap();
    let (ann, eve) = (somebody("ann", "TEAM-7", &[]), somebody("eve", "TEAM-9", &[]));
    forbidden(give(&running, &eve, "1", make(&piece("1", "TEAM-7"))).await);
    give(&running, &ann, "1", make(&piece("1", "TEAM-7"))).await.unwrap();
    // Nothing was recorded for it, and no version is told to who may not act on the stream.
    let reason = forbidden(give(&running, &eve, "1", close("mine")).await);
    assert_eq!(reason, "to give `Close` to `piece`");
    let stale = Request::by(&eve).to(&PieceId::new("1"), close("mine")).if_version(Version(7));
    forbidden(running.commands().handle::<Piece>(stale).await);
    let keyed = || Request::by(&ann).to(&PieceId::new("1"), close("done")).command_id("once");
    assert!(!running.commands().handle::<Piece>(keyed()).await.unwrap().replayed);
    // The state has moved on, and what was done under a key is still answered.
    forbidden(give(&running, &ann, "1", close("again")).await);
    assert!(running.commands().handle::<Piece>(keyed()).await.unwrap().replayed);
    audited(&running, &somebody("aud", "TEAM-1", &["auditor"])).await;
    running.stop().await.unwrap();
}

/// Every try has left evidence, with the policies under which it was judged.
async fn audited(running: &Running, auditor: &Principal) {
    forbidden(
        running.commands().audit(&somebody("ann", "TEAM-7", &[]), AuditFilter::default(), None, 10).await,
    );
    let page = running.commands().audit(auditor, AuditFilter::default(), None, 50).await.unwrap();
    let accepted: Vec<_> = page.entries.iter().filter(|entry| entry.policy.is_some()).collect();
    let version = accepted[0].policy.clone().unwrap();
    assert!(version.0.starts_with("2026-11+"), "{version:?}");
    let only = AuditFilter { outcome: Some(AuditOutcome::Forbidden), ..AuditFilter::default() };
    let page = running.commands().audit(auditor, only, None, 50).await.unwrap();
    let mut who: Vec<_> = page.entries.iter().map(|entry| entry.actor.as_str().to_owned()).collect();
    who.sort();
    assert_eq!(who, ["ann", "eve", "eve", "eve"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_judged_by_the_state_on_the_embedded_store() {
    commands_are_judged_by_the_state(Home::embedded(), service(POLICIES)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_judged_by_the_state_on_postgres() {
    commands_are_judged_by_the_state(Home::postgres(), service(POLICIES)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_with_a_boundary_are_judged_by_the_state_that_it_makes() {
    commands_are_judged_by_the_state(Home::embedded(), service_of_boundaries(POLICIES)).await;
}

/// A queued command is judged by the state when it is done, whoever accepted it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_done_later_is_judged_by_the_state_then() {
    let policies = r#"
        @id("make") permit (principal, action == Action::"piece.Make", resource);
        @id("ask") permit (principal, action == Action::"readCommand", resource);
        @id("own") permit (principal, action == Action::"piece.Close", resource)
        when { resource has team && resource.team == principal.actor };
    "#;
    let home = Home::embedded();
    let running = service(policies).open(home.config()).await.unwrap();
    let (ann, eve) = (somebody("ann", "TEAM-7", &[]), somebody("eve", "TEAM-7", &[]));
    give(&running, &ann, "1", make(&piece("1", "ann"))).await.unwrap();
    for (who, id, allowed) in [(&eve, "by-eve", false), (&ann, "by-ann", true)] {
        let body = r#"{"reason": "done"}"#.to_owned();
        let command = diptych::command::RawCommand { name: "Close".to_owned(), body };
        let request = Request::by(who).to_raw("piece", "1", command).command_id(id);
        let accepted = running.commands().accept(request).await.unwrap();
        assert!(matches!(accepted, Accepted::Now(_)), "{accepted:?}");
        let ending = ended(&running, who, id).await;
        match ending {
            Ending::Succeeded { .. } => assert!(allowed),
            Ending::Failed(trouble) => assert!(!allowed && trouble.code == Code::Forbidden, "{trouble:?}"),
            Ending::Rejected { .. } => panic!("{ending:?}"),
        }
    }
    running.stop().await.unwrap();
}

async fn ended(running: &Running, who: &Principal, id: &str) -> Ending {
    let id = CommandId::new(id).unwrap();
    loop {
        let entry = running.commands().queued(who, &id).await.unwrap().unwrap();
        if let QueueState::Ended(ending) = entry.state {
            return ending;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_judged_must_have_its_shape_first() {
    let home = Home::embedded();
    let running = service(POLICIES).open(home.config()).await.unwrap();
    let ann = somebody("ann", "TEAM-7", &[]);
    give(&running, &ann, "1", make(&piece("1", "TEAM-7"))).await.unwrap();
    let raw = |body: &str| {
        let command = diptych::command::RawCommand { name: "Close".to_owned(), body: body.to_owned() };
        Request::by(&ann).to_raw("piece", "1", command)
    };
    let shapeless = running.commands().handle_raw(raw(r#"{"reason": 7}"#)).await;
    assert!(matches!(shapeless, Err(HandleError::Refused(Refusal::Shape(_)))), "{shapeless:?}");
    running.commands().handle_raw(raw(r#"{"reason": "done"}"#)).await.unwrap();
    running.stop().await.unwrap();
}

#[test]
fn a_service_with_policies_that_cannot_be_used_does_not_open() {
    let wrong = r#"@id("typo") permit (principal, action == Action::"piece.Close", resource)
                   when { resource.tema == "TEAM-7" };"#;
    let problems = service(wrong).problems();
    assert!(problems.iter().any(|problem| problem.contains("`typo`")), "{problems:?}");
    let home = Home::embedded();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fault = runtime.block_on(service(wrong).open(home.config())).err().expect("it must not open");
    assert_eq!(fault.code(), diptych::core::Code::PolicyInvalid);
    assert!(fault.to_string().contains("`tema`"), "{fault}");
}
