//! Parties from the registry's file, on both stores: each row once, under one watermark, however often the
//! file is taken and however long it grows.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::command::SourcePosition;
use diptych::prelude::*;
use diptych::query::Categories;
use enforcement::facts::PartyId;
use enforcement::parties::{take_in, watermark};
use enforcement::query::PartyName;
use std::path::PathBuf;
use support::folder::Folder;
use support::postgres::fresh;
use support::server::{run, said};

const HEADER: &str = "seq,party_id,event,display_name,reason,occurred_at";

const ROWS: [&str; 4] = [
    "1,PARTY-1,PartyRegistered,Acme Tradng Ltd,,2026-03-02T08:00:00Z",
    "3,PARTY-2,PartyRegistered,Northwind,,2026-03-02T09:00:00Z",
    "4,PARTY-1,PartyNameCorrected,Acme Trading Ltd,a letter was missing,2026-03-05T09:30:00Z",
    "9,PARTY-3,PartyRegistered,\"Lamps, Ltd\",,2026-03-06T08:00:00Z",
];

fn write(folder: &Folder, rows: &[&str]) -> PathBuf {
    let path = folder.path().join("registry.csv");
    std::fs::write(&path, format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap();
    path
}

async fn taken_up_to(running: &Running) -> Option<SourcePosition> {
    watermark(running).await.unwrap().map(|watermark| watermark.position)
}

async fn name(running: &Running, party: &str) -> Option<String> {
    running.projector().drain("decision_work").await.unwrap();
    let registrar = Principal::from_text("main/user-301;roles=registrar").unwrap();
    let key = PartyId::new(party);
    let answer = running.queries().get::<PartyName>(&registrar, &key, None).await.unwrap();
    answer.value.map(|row| row.display_name)
}

async fn refused(running: &Running, file: PathBuf) -> String {
    take_in(running, &file).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_file_that_grows_brings_each_of_its_rows_once_on_sqlite() {
    let folder = Folder::new("parties");
    check_growing(&folder, Config::at(folder.store())).await;
}

#[tokio::test]
async fn a_file_that_grows_brings_each_of_its_rows_once_on_postgresql() {
    let folder = Folder::new("parties");
    check_growing(&folder, Config::at(fresh().to_str().unwrap())).await;
}

async fn check_growing(folder: &Folder, config: Config) {
    let running = enforcement::service().open(config).await.unwrap();
    assert_eq!(taken_up_to(&running).await, None);
    assert_eq!(take_in(&running, &write(folder, &ROWS[..2])).await.unwrap(), 2);
    assert_eq!(taken_up_to(&running).await, Some(SourcePosition(3)));
    assert_eq!(name(&running, "PARTY-1").await.as_deref(), Some("Acme Tradng Ltd"));
    assert_eq!(take_in(&running, &write(folder, &ROWS[..2])).await.unwrap(), 0);
    assert_eq!(take_in(&running, &write(folder, &ROWS)).await.unwrap(), 2);
    assert_eq!(taken_up_to(&running).await, Some(SourcePosition(9)));
    assert_eq!(name(&running, "PARTY-1").await.as_deref(), Some("Acme Trading Ltd"));
    assert_eq!(name(&running, "PARTY-3").await.as_deref(), Some("Lamps, Ltd"));
    // A file that brings only what is new is as good, and so is one that is behind.
    let next = "12,PARTY-2,PartyNameCorrected,Northwind Ltd,a part was missing,2026-03-07T08:00:00Z";
    assert_eq!(take_in(&running, &write(folder, &[next])).await.unwrap(), 1);
    assert_eq!(take_in(&running, &write(folder, &ROWS)).await.unwrap(), 0);
    check_facts(&running).await;
    let changed = next.replace("Northwind Ltd", "Southwind Ltd");
    let error = refused(&running, write(folder, &[&changed])).await;
    assert_eq!(error, "row 12 of source `registry` was another one when it was taken in (DP0053)");
    assert_eq!(name(&running, "PARTY-2").await.as_deref(), Some("Northwind Ltd"));
    running.stop().await.unwrap();
}

/// Five facts of the registry in the order of its rows, at the times that it says.
async fn check_facts(running: &Running) {
    let block = running.feed().read(Position::START, &Categories::All, 100).await.unwrap();
    let facts = block
        .facts
        .iter()
        .map(|fact| (fact.stream.stream.to_string(), fact.version.0, fact.occurred_at.to_string()));
    let expected = [
        ("party-PARTY-1", 1, "2026-03-02T08:00:00Z"),
        ("party-PARTY-2", 1, "2026-03-02T09:00:00Z"),
        ("party-PARTY-1", 2, "2026-03-05T09:30:00Z"),
        ("party-PARTY-3", 1, "2026-03-06T08:00:00Z"),
        ("party-PARTY-2", 2, "2026-03-07T08:00:00Z"),
    ];
    let expected = expected.map(|(stream, version, at)| (stream.to_owned(), version, at.to_owned()));
    assert_eq!(facts.collect::<Vec<_>>(), expected);
    for fact in &block.facts {
        let metadata: serde_json::Value = serde_json::from_str(&fact.metadata).unwrap();
        assert_eq!(metadata["actor"], "registry");
    }
}

#[tokio::test]
async fn a_file_with_a_bad_row_gives_nothing_and_each_is_named_by_its_line() {
    let folder = Folder::new("parties-bad");
    let running = enforcement::service().open(Config::at(folder.store())).await.unwrap();
    for (row, expected) in [
        ("3,PARTY-9,PartyRegistered,X,,2026-03-02T09:00:00Z", "has `seq` 3, which does not come behind 3"),
        ("x,PARTY-9,PartyRegistered,X,,2026-03-02T09:00:00Z", "cannot be read: `seq` cannot be `x`"),
        ("5,,PartyRegistered,X,,2026-03-02T09:00:00Z", "cannot be read: `party_id` cannot be ``"),
        ("5,PARTY-9,PartyLeft,X,,2026-03-02T09:00:00Z", "cannot be read: `event` cannot be `PartyLeft`"),
        ("5,PARTY-9,PartyRegistered,,,2026-03-02T09:00:00Z", "cannot be read: `display_name` cannot be ``"),
        ("5,PARTY-9,PartyRegistered,X,why,2026-03-02T09:00:00Z", "cannot be read: `reason` cannot be `why`"),
        ("5,PARTY-9,PartyNameCorrected,X,,2026-03-02T09:00:00Z", "cannot be read: `reason` cannot be ``"),
        ("5,PARTY-9,PartyRegistered,X,,today", "cannot be read: `occurred_at` cannot be `today`"),
    ] {
        let error = refused(&running, write(&folder, &[ROWS[0], ROWS[1], row])).await;
        assert_eq!(error, format!("line 4 {expected} (DP0043)"));
    }
    assert_eq!(taken_up_to(&running).await, None);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_verb_says_what_it_took_and_how_far_the_registry_has_been_taken() {
    let folder = Folder::new("parties-verb");
    let store = folder.store();
    let told = said(&run(&store, &["parties", "import", "--status"]).await);
    assert!(told.contains("nothing of the registry has been taken in"), "{told}");
    let file = write(&folder, &ROWS);
    let output = run(&store, &["parties", "import", file.to_str().unwrap()]).await;
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("took 4 rows of the registry in"), "{told}");
    assert!(told.contains("the registry is taken in up to row 9"), "{told}");
    let told = said(&run(&store, &["parties", "import", "--status"]).await);
    assert!(told.contains("the registry is taken in up to row 9"), "{told}");
}
