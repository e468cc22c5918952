//! The import of fines from a small file: what becomes of a second run, of an interrupted one, of rows that
//! are refused, and of a log that holds something else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::prelude::*;
use enforcement::command::{Fine, FineCommand};
use enforcement::facts::FineId;
use enforcement::import::{Imported, import};
use enforcement::query::{FineBalance, FinesByStatus};
use indicatif::ProgressBar;
use std::path::{Path, PathBuf};
use support::folder::Folder;
use support::server::{run, run_json, said};

const HEADER: &str = "case,seq,activity,timestamp,resource,amount,article,points,vehicleClass,\
    dismissal,expense,notificationType,lastSent,paymentAmount,totalPaymentAmount,matricola";

/// A fine with a penalty that others collect, one that was paid at once, and one that was paid twice.
const ROWS: [&str; 11] = [
    "A1,1,Create Fine,2006-07-24T00:00:00+02:00,561,35.0,157,0,A,NIL,,,,,0.0,",
    "A1,2,Send Fine,2006-12-05T00:00:00+01:00,,,,,,,11.0,,,,,",
    "A1,3,Insert Fine Notification,2007-01-15T00:00:00+01:00,,,,,,,,P,P,,,",
    "A1,4,Add penalty,2007-03-16T00:00:00+01:00,,71.5,,,,,,,,,,",
    "A1,5,Send for Credit Collection,2009-03-30T00:00:00+02:00,,,,,,,,,,,,",
    "N2,1,Create Fine,2007-03-09T00:00:00+01:00,561,36.0,157,0,A,NIL,,,,,0.0,",
    "N2,2,Payment,2007-03-09T00:00:00+01:00,,,,,,,,,,36.0,36.0,",
    "S3,1,Create Fine,2007-03-10T00:00:00+01:00,538,22.0,7,2,C,#,,,,,0.0,",
    "S3,2,Payment,2007-03-10T00:00:00+01:00,,,,,,,,,,20.0,20.0,",
    "S3,3,Send Fine,2007-03-11T00:00:00+01:00,,,,,,,10.0,,,,,",
    "S3,4,Payment,2007-03-12T00:00:00+01:00,,,,,,,,,,20.0,20.0,",
];

fn write(folder: &Folder, rows: &[&str]) -> PathBuf {
    let path = folder.path().join("fines.csv");
    std::fs::write(&path, format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap();
    path
}

async fn open(folder: &Folder) -> Running {
    enforcement::service().open(Config::at(folder.store())).await.unwrap()
}

/// Who works with fines.
fn collector() -> Principal {
    Principal::from_text("main/user-502;roles=collector").unwrap()
}

async fn imported(running: &Running, file: &Path) -> Result<Imported, String> {
    let done = import(running, file, &ProgressBar::hidden()).await;
    done.map_err(|error| error.to_string())
}

async fn head(running: &Running) -> Position {
    running.feed().head().await.unwrap().position()
}

async fn fine(running: &Running, id: &str) -> FineBalance {
    running.projector().drain("fines").await.unwrap();
    let answer = running.queries().get::<FineBalance>(&collector(), &id.into(), None).await.unwrap();
    answer.value.unwrap()
}

async fn give(running: &Running, id: &str, command: FineCommand) {
    let request = Request::by(&collector()).to(&FineId::new(id), command);
    running.commands().handle::<Fine>(request).await.unwrap();
}

#[tokio::test]
async fn fines_come_in_at_the_times_of_the_file_and_once() {
    let folder = Folder::new("once");
    let file = write(&folder, &ROWS);
    let running = open(&folder).await;
    let first = imported(&running, &file).await.unwrap();
    assert_eq!((first.given, first.tally.cases), (11, 3));
    assert_eq!(first.tally.outstanding_thousandths, 82_500);
    let row = fine(&running, "S3").await;
    assert_eq!(
        (row.paid.to_string(), row.recorded_paid.unwrap().to_string()),
        ("40.00 EUR".into(), "20.00 EUR".into())
    );
    assert_eq!(row.created_at.to_string(), "2007-03-09T23:00:00Z");
    assert_eq!((row.dismissal, row.version), (Some("#".into()), Version(4)));
    let second = imported(&running, &file).await.unwrap();
    assert_eq!((second.given, second.tally), (0, first.tally));
    assert_eq!(head(&running).await, Position(11), "the second import appended something");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_import_that_got_so_far_goes_on_where_it_was_and_takes_what_a_longer_file_brings() {
    let folder = Folder::new("longer");
    let running = open(&folder).await;
    assert_eq!(imported(&running, &write(&folder, &ROWS[..3])).await.unwrap().given, 3);
    assert_eq!(imported(&running, &write(&folder, &ROWS)).await.unwrap().given, 8);
    // What happens to a fine after the file ends is nobody's mistake.
    let pay = FineCommand::Pay { amount: Money::parse("1", Currency::EUR).unwrap(), recorded_total: None };
    give(&running, "N2", pay).await;
    assert_eq!(imported(&running, &write(&folder, &ROWS)).await.unwrap().given, 0);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_row_that_is_refused_is_named_and_the_other_fines_come_in() {
    let folder = Folder::new("refused");
    let mut rows = ROWS.map(str::to_owned);
    rows[3] = rows[3].replace("71.5", "34.99");
    let rows: Vec<_> = rows.iter().map(String::as_str).collect();
    let running = open(&folder).await;
    let error = imported(&running, &write(&folder, &rows)).await.unwrap_err();
    let expected =
        "line 5 was refused for fine `A1`: the fine is 35.00 EUR and cannot become 34.99 EUR by a penalty";
    assert!(error.starts_with(expected) && error.ends_with("(DP0043)"), "{error}");
    assert_eq!(head(&running).await, Position(9), "all rows but the refused one and the one after it");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_file_that_the_log_contradicts_gives_nothing() {
    let folder = Folder::new("contradicted");
    let running = open(&folder).await;
    let create = FineCommand::Create {
        amount: Money::parse("22.00", Currency::EUR).unwrap(),
        article: "7".into(),
        officer_id: "538".into(),
        vehicle_class: "C".into(),
        points: 2,
        dismissal: None,
    };
    give(&running, "S3", create).await;
    let error = imported(&running, &write(&folder, &ROWS)).await.unwrap_err();
    assert_eq!(error, "line 9 is not what the log holds at version 1 of fine-S3 (DP0043)");
    assert_eq!(head(&running).await, Position(1));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_file_with_a_bad_row_gives_nothing() {
    let folder = Folder::new("bad");
    let mut rows = ROWS;
    rows[6] = "N2,2,Payment,2007-03-09T00:00:00+01:00,,,,,,,,,,thirty,36.0,";
    let file = write(&folder, &rows);
    let output = run(&folder.store(), &["import", file.to_str().unwrap()]).await;
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("line 8 cannot be read: `paymentAmount` cannot be `thirty` (DP0043)"), "{told}");
    assert_eq!(run_json(&folder.store(), &["status"]).await["events"], 0);
}

#[tokio::test]
async fn the_verb_says_what_the_file_and_the_read_models_hold() {
    let folder = Folder::new("verb");
    let file = write(&folder, &ROWS);
    let output = run(&folder.store(), &["import", file.to_str().unwrap()]).await;
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let words: Vec<String> =
        told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "Create Fine 3 0 93.00",
        "Payment 3 2 76.00",
        "altogether 11 3",
        "OVERPAID 1",
        "outstanding 82.50",
        "IN_CREDIT_COLLECTION 1 82.50 0.00 82.50",
    ] {
        assert!(words.iter().any(|said| said == line), "`{line}` is not in {told}");
    }
    assert!(told.contains("imported 11 of 11 events"), "{told}");
    let running = open(&folder).await;
    let find = FinesByStatus::find().page(10);
    let sums = running.queries().find(&collector(), find).await.unwrap().value.items;
    let sums: Vec<_> = sums.iter().map(|row| (row.status.name(), row.fines)).collect();
    assert_eq!(sums, [("CREATED", 1), ("IN_CREDIT_COLLECTION", 1), ("SENT", 1)]);
    running.stop().await.unwrap();
}
