//! How jobs stand where people look first, and that it is told as it is now.

use crate::on_both_stores;
use crate::world::{NIGHTLY, World, fill, run_due, words};
use axum::body::Body;
use axum::http::Request as HttpRequest;
use diptych::ops::{Output, Report, order_job, status as status_of};
use diptych::prelude::*;
use diptych::query::Order;
use serde_json::Value;
use tower::ServiceExt;

on_both_stores!(
    whoever_looks_at_the_service_sees_how_its_jobs_stand,
    what_another_process_has_exported_is_told_at_once,
);

/// `GET /`, for people or for programs.
async fn front_page(running: &Running, accept: &str) -> String {
    let request = HttpRequest::get("/").header("host", "localhost").header("accept", accept);
    let response = running.router().unwrap().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn status(running: &Running) -> Report {
    status_of(&running.operator().await.unwrap()).await.unwrap()
}

/// That everybody says the same of the nightly export.
async fn all_say(running: &Running, words: &str, state: &str) {
    let text = status(running).await.render(Output::Human);
    assert!(text.lines().any(|line| line.contains(NIGHTLY) && line.contains(words)), "{text}");
    let json: Value = serde_json::from_str(&status(running).await.render(Output::Json)).unwrap();
    assert_eq!((&json["jobs"][0]["job"], &json["jobs"][0]["words"]), (&NIGHTLY.into(), &words.into()));
    let page = front_page(running, "text/html").await;
    assert!(page.contains("Scheduled jobs") && page.contains(&format!("<td>{words}</td>")), "{page}");
    assert!(page.contains(&format!(">{state}</td>")), "{page}");
    let told: Value = serde_json::from_str(&front_page(running, "application/json").await).unwrap();
    let job = &told["jobs"][0];
    assert_eq!((&job["words"], &job["state"]), (&words.into(), &state.into()), "{told}");
}

async fn whoever_looks_at_the_service_sees_how_its_jobs_stand(world: World) {
    let running = world.open().await;
    fill(&running, "tea", 2).await;
    all_say(&running, "no success yet, next due 2026-11-29 02:00", "waiting").await;
    world.set("2026-11-29T02:00:00Z");
    run_due(&running).await;
    world.set("2026-11-29T08:00:00Z");
    all_say(&running, "last success 02:00, next due 2026-11-30 02:00", "waiting").await;
    running.stop().await.unwrap();

    world.set("2026-11-30T08:00:00Z");
    let looking = world.open_tool().await;
    all_say(&looking, "6 hours late, last success 2026-11-29 02:00, due since 02:00", "overdue").await;
    looking.stop().await.unwrap();
}

async fn what_another_process_has_exported_is_told_at_once(world: World) {
    let serving = world.open().await;
    let tool = world.open_tool().await;
    let export = async || {
        let operator = tool.operator().await.unwrap();
        let order = Order { actor: tool.principal().actor.clone(), reason: "to see it".to_owned() };
        order_job(&operator, NIGHTLY, order).await.unwrap();
    };
    fill(&serving, "tea", 2).await;
    world.set("2026-11-28T12:30:00Z");
    assert!(words(&serving, "night_shelf").await.contains("never exported"));
    export().await;
    let told = words(&serving, "night_shelf").await;
    assert!(told.ends_with("last export 12:30"), "{told}");

    // Of a run that is due and did not happen, too.
    fill(&serving, "tea", 1).await;
    world.set("2026-11-29T03:00:00Z");
    run_due_is_seen_as_missing(&serving).await;
    export().await;
    let told = words(&serving, "night_shelf").await;
    assert!(told.ends_with("last export 03:00"), "{told}");
    tool.stop().await.unwrap();
    serving.stop().await.unwrap();
}

async fn run_due_is_seen_as_missing(serving: &Running) {
    let told = words(serving, "night_shelf").await;
    assert!(told.ends_with("last export 2026-11-28 12:30, the export due 02:00 is missing"), "{told}");
}
