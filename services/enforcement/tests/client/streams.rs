//! Events as they are told to whoever follows a page or a row: to each what they may see, and nothing when
//! something changes that they may not.

use crate::served::Served;
use crate::{QUEUE, ids};
use diptych::prelude::*;
use serde_json::{Value, json};

const ALL: &str = "/decision-work-queue?sort=dueAt";
const MOVED: &str = "DEC-2026-00109";

/// Gives the draft of TEAM-7 to another team, and brings the queue up to it.
async fn give_to_team_3(served: &mut Served) {
    let of_both = served.token_of("user-055");
    let given = json!({ "teamId": "TEAM-3", "reason": "workload" });
    let reply = served.post(&of_both, &format!("/decisions/{MOVED}/reassign"), &[], given).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    served.running.projector().drain("decision_work").await.unwrap();
}

async fn each_is_told_of_the_rows_that_one_may_see(on_postgres: bool) {
    let mut served = Served::start("streams", on_postgres).await;
    let (seven, three) = (served.token_of("user-117"), served.token_of("user-031"));
    let mut at_seven = served.follow(&seven, ALL).await;
    let mut at_three = served.follow(&three, ALL).await;
    let cleared = served.token_for("user-118;teams=TEAM-7;roles=approver;clearance=2");
    let mut at_cleared = served.follow(&cleared, &format!("{ALL}&visibilityScope=ORGANISATION")).await;

    let (first, page) = (at_seven.next().await.unwrap(), served.get(&seven, ALL).await.expect(200));
    assert_eq!(first.name, "snapshot");
    let first = first.json();
    assert_eq!(ids(&first), ["DEC-2026-00112", "DEC-2026-00117", MOVED]);
    assert_eq!((&first["items"], &first["page"]), (&page["items"], &page["page"]));
    let first = at_three.next().await.unwrap().json();
    assert_eq!(ids(&first), ["DEC-2026-00105", "DEC-2026-00121"]);
    let shared = at_cleared.next().await.unwrap().json();
    assert_eq!((ids(&shared), &shared["withheld"]), (vec!["DEC-2026-00121"], &json!(["partyDisplayName"])));
    assert_eq!(shared["items"][0]["partyDisplayName"], Value::Null, "{shared}");

    // A row that goes to another team is gone for one, without a word where it went, and new to the other.
    give_to_team_3(&mut served).await;
    let lost = loop {
        let told = at_seven.next().await.unwrap();
        assert_eq!(told.name, "changed");
        assert!(!told.data.contains("TEAM-3") && !told.data.contains("workload"), "{told:?}");
        // Before that, perhaps, what is under way.
        if told.json()["gone"] != json!([]) {
            break told.json();
        }
    };
    assert_eq!((&lost["gone"], &lost["items"]), (&json!([{ "decisionId": MOVED }]), &json!([])), "{lost}");
    let gained = loop {
        let told = at_three.next().await.unwrap().json();
        if !ids(&told).is_empty() {
            break told;
        }
    };
    assert_eq!((ids(&gained), &gained["gone"]), (vec![MOVED], &json!([])), "{gained}");
    drop((at_seven, at_three, at_cleared));
    served.stop().await;
}

async fn a_row_that_one_may_not_see_is_followed_as_one_that_is_not_there(on_postgres: bool) {
    let mut served = Served::start("streams_hidden", on_postgres).await;
    let seven = served.token_of("user-117");
    let mut texts = Vec::new();
    for id in ["DEC-2026-00105", "DEC-2026-99999"] {
        let mut events = served.follow(&seven, &format!("/decision-work-queue/{id}")).await;
        let event = events.next().await.unwrap();
        assert_eq!(event.name, "gone", "{event:?}");
        let mut told = event.json();
        told.as_object_mut().unwrap().remove("freshness").unwrap();
        texts.push(told);
    }
    assert_eq!(texts[0], texts[1]);
    let foreign = Principal::from_text("other/user-117;teams=TEAM-7;roles=approver;clearance=2").unwrap();
    let foreign = served.token(&foreign);
    let mut events = served.follow(&foreign, "/decision-work-queue/DEC-2026-00112").await;
    assert_eq!(events.next().await.unwrap().name, "gone");
    drop(events);

    // A row in sight goes out of it while it is followed.
    let mut events = served.follow(&seven, &format!("/decision-work-queue/{MOVED}")).await;
    let there = events.next().await.unwrap();
    assert_eq!((there.name.as_str(), &there.json()["item"]["teamId"]), ("snapshot", &json!("TEAM-7")));
    give_to_team_3(&mut served).await;
    let gone = loop {
        let told = events.next().await.unwrap();
        assert!(!told.data.contains("TEAM-3"), "{told:?}");
        if told.name != "changed" {
            break told;
        }
    };
    assert_eq!((gone.name.as_str(), &gone.json()["item"]), ("gone", &Value::Null), "{gone:?}");
    drop(events);
    served.stop().await;
}

async fn what_is_refused_elsewhere_is_refused_to_followers(on_postgres: bool) {
    let mut served = Served::start("streams_refused", on_postgres).await;
    let (seven, nobody) = (served.token_of("user-117"), served.token_for("user-900"));
    let of_another_team = QUEUE.replace("TEAM-7", "TEAM-3");
    for (token, path, status, code) in [
        (seven.as_str(), of_another_team.as_str(), 403, "DP0008"),
        (&seven, "/decision-work-queue?sort=partyDisplayName", 403, "DP0064"),
        (&nobody, ALL, 403, "DP0008"),
        (&nobody, "/decision-work-queue/DEC-2026-00112", 403, "DP0008"),
        (&seven, "/unheard-of", 404, "DP0009"),
        ("", ALL, 401, "DP0062"),
    ] {
        let asked: Vec<_> = [("accept", "text/event-stream"), ("authorization", token)]
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .collect();
        let reply = served.client.get(path, &asked).await.unwrap();
        let problem = reply.expect(status);
        assert_eq!(problem["code"], code, "{path}: {problem}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{path}");
    }
    served.stop().await;
}

/// Why a decision was taken is left out altogether for whoever may not know, on every way to read it.
async fn a_reason_that_one_may_not_know_is_not_even_named(on_postgres: bool) {
    let mut served = Served::start("reasons", on_postgres).await;
    let decided = "/decision-detail/DEC-2026-00098";
    let approver = served.token_of("user-117");
    let known = served.get(&approver, decided).await.expect(200);
    assert_eq!(known["item"]["decisionReason"], "Warning is proportionate");
    let shared = served.token_for("user-118;teams=TEAM-7;roles=approver;clearance=2");
    let undecided = served.get(&shared, "/decision-detail/DEC-2026-00112").await.expect(200);
    assert_eq!(
        undecided["item"].get("decisionReason"),
        Some(&Value::Null),
        "of the own team it is no secret"
    );
    let auditor = served.token_of("user-405");
    for (who, id) in [(&auditor, "DEC-2026-00098"), (&shared, "DEC-2026-00121")] {
        let path = format!("/decision-detail/{id}");
        let row = served.get(who, &path).await;
        let page = served.get(who, "/decision-detail?pageSize=50").await;
        let of_page =
            page.expect(200)["items"].as_array().unwrap().iter().find(|row| row["decisionId"] == id).cloned();
        let mut events = served.follow(who, &path).await;
        let followed = events.next().await.unwrap();
        for shown in [&row.expect(200)["item"], &of_page.unwrap(), &followed.json()["item"]] {
            assert_eq!((&shown["decisionId"], shown.get("decisionReason")), (&json!(id), None), "{shown}");
        }
        assert_eq!(row.json()["withheld"], followed.json()["withheld"]);
        for told in [&row.text, &followed.data] {
            assert!(!told.contains("decisionReason") && !told.contains("proportionate"), "{told}");
        }
        let by_reason = served.get(who, "/decision-detail?decisionReason=x").await;
        assert_eq!(by_reason.status, 400, "{by_reason:?}");
    }
    served.stop().await;
}

chapters! {
    each_is_told_of_the_rows_that_one_may_see,
    a_row_that_one_may_not_see_is_followed_as_one_that_is_not_there,
    what_is_refused_elsewhere_is_refused_to_followers,
    a_reason_that_one_may_not_know_is_not_even_named,
}
