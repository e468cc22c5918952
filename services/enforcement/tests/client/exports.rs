//! What may be carried away: by few, only the rows that they may look at, and of these only the columns.

use crate::served::Served;
use crate::support::http::Reply;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const DETAIL: &str = "/exports/decision-detail";

/// An export read to its end: where it comes from, its rows, what it came to.
struct Exported {
    lineage: Value,
    rows: Vec<Value>,
    end: Value,
}

impl Exported {
    #[track_caller]
    fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
        let mut lines: Vec<Value> =
            reply.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let end = lines.pop().unwrap()["end"].clone();
        let lineage = lines.remove(0)["lineage"].clone();
        assert_eq!(end["rows"], lines.len(), "{reply:?}");
        assert_eq!(lineage["policyVersion"].as_str(), reply.header("export-policy"));
        Self { lineage, rows: lines, end }
    }

    fn ids(&self) -> BTreeSet<&str> {
        self.rows.iter().map(|row| row["decisionId"].as_str().unwrap()).collect()
    }

    fn row(&self, id: &str) -> &Value {
        self.rows.iter().find(|row| row["decisionId"] == id).unwrap()
    }

    fn withheld(&self) -> BTreeSet<&str> {
        self.end["withheld"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap()).collect()
    }
}

fn refused(reply: &Reply, status: u16, code: &str) {
    let problem = reply.expect(status);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{problem}");
    assert_eq!(problem["code"], code, "{problem}");
}

async fn few_carry_rows_away_and_only_those_that_they_may_see(on_postgres: bool) {
    let mut served = Served::start("exports", on_postgres).await;
    let own = served.token_for("user-118;teams=TEAM-7;roles=approver,exporter;clearance=1");
    let exported = Exported::of(&served.get(&own, DETAIL).await);
    let of_the_team = ["DEC-2026-00098", "DEC-2026-00109", "DEC-2026-00112", "DEC-2026-00117"];
    assert_eq!(exported.ids(), of_the_team.into());
    assert!(exported.withheld().is_empty(), "{}", exported.end);
    assert_eq!(exported.row("DEC-2026-00098")["decisionReason"], "Warning is proportionate");
    assert_eq!(exported.row("DEC-2026-00112")["partyDisplayName"], "Acme Trading Ltd");
    assert_eq!(exported.lineage["model"], "decision_detail");

    // A row that is shared adds to the same export, without what names persons or says why.
    let cleared = served.token_for("user-118;teams=TEAM-7;roles=approver,exporter;clearance=2");
    let shared = Exported::of(&served.get(&cleared, DETAIL).await);
    assert_eq!(shared.ids(), of_the_team.into_iter().chain(["DEC-2026-00121"]).collect());
    assert_ne!(shared.end["checksum"], exported.end["checksum"]);
    let row = shared.row("DEC-2026-00121");
    assert_eq!((&row["partyDisplayName"], &row["draftedBy"]), (&Value::Null, &Value::Null), "{row}");
    assert!(row.get("decisionReason").is_none() && row["summary"].is_string(), "{row}");
    assert_eq!(shared.withheld(), ["decidedBy", "draftedBy", "partyDisplayName"].into());

    // Whoever keeps an eye on everything carries away that it is there, and its public columns.
    let auditor = served.token_of("user-405");
    let redacted = Exported::of(&served.get(&auditor, DETAIL).await);
    assert_eq!(redacted.rows.len(), 7, "{:?}", redacted.ids());
    for row in &redacted.rows {
        for hidden in ["caseTitle", "partyId", "partyDisplayName", "summary", "evidence", "draftedBy"] {
            assert_eq!(row[hidden], Value::Null, "{hidden}: {row}");
        }
        assert!(row.get("decisionReason").is_none() && row["status"].is_string(), "{row}");
    }
    assert!(!redacted.withheld().contains("decisionReason"), "{}", redacted.end);

    // To look at rows is not to carry them away, and another tenant has none of them.
    let approver = served.token_of("user-117");
    refused(&served.get(&approver, DETAIL).await, 403, "DP0008");
    let nobody = served.token_for("user-900;roles=exporter");
    refused(&served.get(&nobody, DETAIL).await, 403, "DP0008");
    refused(&served.client.get(DETAIL, &[]).await.unwrap(), 401, "DP0062");
    refused(&served.get(&own, "/exports/unheard-of").await, 404, "DP0009");
    let foreign = "other/user-118;teams=TEAM-7;roles=approver,exporter;clearance=2";
    let foreign = served.token(&diptych::prelude::Principal::from_text(foreign).unwrap());
    assert!(Exported::of(&served.get(&foreign, DETAIL).await).rows.is_empty());
    served.stop().await;
}

async fn an_export_is_asked_for_by_no_more_than_a_page_is(on_postgres: bool) {
    let mut served = Served::start("exports_by", on_postgres).await;
    let own = served.token_for("user-118;teams=TEAM-7;roles=approver,exporter;clearance=1");
    let of_the_team = Exported::of(&served.get(&own, &format!("{DETAIL}?teamId=TEAM-7")).await);
    assert_eq!(of_the_team.rows.len(), 4);
    refused(&served.get(&own, &format!("{DETAIL}?teamId=TEAM-3")).await, 403, "DP0008");
    let by_name = "/exports/decision-work-queue?partyDisplayName=Acme%20Trading%20Ltd";
    let problem = served.get(&own, by_name).await.expect(403);
    assert!(problem["detail"].as_str().unwrap().contains("partyDisplayName"), "{problem}");
    let found = Exported::of(&served.get(&own, "/exports/case-search?q=unlicensed%20trade").await);
    assert_eq!(found.ids(), ["DEC-2026-00112"].into());

    // The other form holds the same rows; how many they were and their sum come after them.
    let asked = [("authorization", own.as_str()), ("accept", "text/csv"), ("te", "trailers")];
    let csv = served.client.get(DETAIL, &asked).await.unwrap();
    let lines: Vec<_> = csv.text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 5, "{csv:?}");
    assert_eq!((csv.status, csv.header("export-rows")), (200, Some("4")), "{csv:?}");
    assert_eq!(
        csv.header("export-checksum").map(|sum| json!(sum)),
        Some(of_the_team.end["checksum"].clone())
    );
    served.stop().await;
}

chapters! {
    few_carry_rows_away_and_only_those_that_they_may_see,
    an_export_is_asked_for_by_no_more_than_a_page_is,
}
