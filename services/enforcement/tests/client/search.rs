//! Cases and decisions found by words, each by those who may know of them.

use crate::served::Served;
use diptych::prelude::*;

/// What a search finds, in no order.
async fn found(served: &mut Served, token: &str, words: &str) -> Vec<String> {
    let page = served.get(token, &format!("/case-search?q={words}")).await.expect(200);
    let mut ids: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["entryId"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

async fn words_find_what_one_may_know_of(on_postgres: bool) {
    let mut served = Served::start("search", on_postgres).await;
    let (seven, three) = (served.token_of("user-117"), served.token_of("user-031"));
    assert_eq!(found(&mut served, &seven, "unlicensed%20trade").await, ["DEC-2026-00112"]);
    assert!(found(&mut served, &three, "unlicensed%20trade").await.is_empty(), "it was given to TEAM-7");
    // A case is for everybody who works on cases, its decisions are for their teams.
    let coast = "coast%20road";
    assert_eq!(found(&mut served, &seven, coast).await, ["CASE-2026-00095", "DEC-2026-00109"]);
    assert_eq!(found(&mut served, &three, coast).await, ["CASE-2026-00095", "DEC-2026-00105"]);
    // What is shared with the organisation, but restricted, is found by its team, with clearance.
    let low = served.token_for("user-031;teams=TEAM-3;roles=caseworker;clearance=1");
    let other = served.token_for("user-118;teams=TEAM-7;roles=approver;clearance=2");
    assert_eq!(found(&mut served, &three, "prosecutor").await, ["DEC-2026-00121"]);
    assert!(found(&mut served, &low, "prosecutor").await.is_empty());
    assert!(found(&mut served, &other, "prosecutor").await.is_empty());
    // A name that was put right is found as it is now, and filters go with words.
    assert_eq!(found(&mut served, &seven, "cooperative").await, ["CASE-2026-00102", "DEC-2026-00117"]);
    let narrow = "cooperative&status=READY_FOR_APPROVAL&teamId=TEAM-7";
    assert_eq!(found(&mut served, &seven, narrow).await, ["DEC-2026-00117"]);
    let stranger = Principal::from_text("other/user-117;teams=TEAM-7;roles=approver;clearance=2").unwrap();
    let stranger = served.token(&stranger);
    assert!(found(&mut served, &stranger, "unlicensed%20trade").await.is_empty());
    served.stop().await;
}

async fn a_search_that_cannot_be_answered_says_why(on_postgres: bool) {
    let mut served = Served::start("search_refused", on_postgres).await;
    // To search by words tells what they are: so whoever may not see them may not search.
    let auditor = served.token_of("user-405");
    assert_eq!(served.get(&auditor, "/case-search").await.status, 200);
    let problem = served.get(&auditor, "/case-search?q=trade").await.expect(403);
    assert_eq!(problem["code"], "DP0064", "{problem}");
    let collector = served.token_of("user-502");
    assert_eq!(served.get(&collector, "/case-search?q=trade").await.status, 403);
    assert_eq!(served.client.get("/case-search?q=trade", &[]).await.unwrap().status, 401);

    let approver = served.token_of("user-117");
    let long = format!("q={}", "word%20".repeat(200));
    for wrong in ["q=", "q=%21%3F", "q=%00", &long] {
        let reply = served.get(&approver, &format!("/case-search?{wrong}")).await;
        let problem = reply.expect(400);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{wrong}");
        assert_eq!(
            (&problem["code"], &problem["errors"][0]["field"]),
            (&"DP0020".into(), &"q".into()),
            "{wrong}"
        );
        assert!(
            problem["errors"][0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
            "{problem}"
        );
    }
    let elsewhere = served.get(&approver, "/decision-work-queue?q=trade").await.expect(400);
    assert_eq!((&elsewhere["code"], &elsewhere["errors"][0]["field"]), (&"DP0020".into(), &"q".into()));
    // Other languages of search have operators; here there are words, and how a word begins.
    let waits: &[&str] = &["DEC-2026-00112"];
    for (words, finds) in [
        ("%22unlicensed", waits),
        ("unlicens*", waits),
        ("unlicens", &[]),
        ("unlicensed%20OR%20nothing", &[]),
        ("unlicensed%20NOT%20trade", &[]),
        ("summary%3Aunlicensed", &[]),
    ] {
        assert_eq!(found(&mut served, &approver, words).await, finds, "{words}");
    }
    served.stop().await;
}

chapters! {
    words_find_what_one_may_know_of,
    a_search_that_cannot_be_answered_says_why,
}
