//! What rows a file may hold, as sentences. The rows are made up; the real log is in `tests/fines.rs`.

use super::*;
use crate::command::FineCommand;
use crate::facts::{FineStep, euros};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{Cursor, Write};

const CREATED: &str = "A1,1,Create Fine,2006-07-24T00:00:00+02:00,561,35.0,157,0,A,NIL,,,,,0.0,";
const SENT: &str = "A1,2,Send Fine,2006-12-05T00:00:00+01:00,,,,,,,11.0,,,,,";
const NOTIFIED: &str = "A1,3,Insert Fine Notification,2007-01-15T00:00:00+01:00,,,,,,,,P,N,,,";
const PENALTY: &str = "A1,4,Add penalty,2007-03-16T00:00:00+01:00,,71.5,,,,,,,,,,";
const PAID: &str = "A1,5,Payment,2007-03-17T00:00:00+01:00,,,,,,,,,,20.01,20.01,";

fn read_lines(lines: &[&str]) -> Result<FineLog, Fault> {
    let text = format!("{}\n{}\n", COLUMNS.join(","), lines.join("\n"));
    read_text(text.into_bytes())
}

fn read_text(bytes: Vec<u8>) -> Result<FineLog, Fault> {
    let plain: Box<dyn Read> = Box::new(Cursor::new(bytes));
    read_rows(csv::Reader::from_reader(plain))
}

#[track_caller]
fn check_refused(lines: &[&str], expected: &str) {
    assert_eq!(read_lines(lines).unwrap_err().to_string(), format!("{expected} (DP0043)"));
}

#[test]
fn every_cell_of_a_row_is_in_its_command() {
    let log = read_lines(&[CREATED, SENT, NOTIFIED, PENALTY, PAID]).unwrap();
    let steps = &log.cases[0].steps;
    let commands: Vec<_> = steps.iter().map(|step| step.command.clone()).collect();
    let expected = [
        FineCommand::Create {
            amount: euros(35_000),
            article: "157".into(),
            officer_id: "561".into(),
            vehicle_class: "A".into(),
            points: 0,
            dismissal: None,
        },
        FineCommand::Send { expense: euros(11_000) },
        FineCommand::InsertNotification { notification: "P".into(), last_sent: Some("N".into()) },
        FineCommand::AddPenalty { amount: euros(71_500) },
        FineCommand::Pay { amount: euros(20_010), recorded_total: Some(euros(20_010)) },
    ];
    assert_eq!(commands, expected);
    // A day begins in Rome, in summer and in winter.
    let times: Vec<_> = steps.iter().take(2).map(|step| step.at.to_string()).collect();
    assert_eq!(times, ["2006-07-23T22:00:00Z", "2006-12-04T23:00:00Z"]);
    assert_eq!((steps[0].line, steps[4].line), (2, 6));
    assert_eq!((log.tally.cases, log.tally.events()), (1, 5));
    assert_eq!(log.tally.outstanding_thousandths, 71_500 + 11_000 - 20_010);
    assert_eq!(log.tally.last, [(FineStep::Payment, 1)].into());
}

#[test]
fn appeals_say_whether_the_fine_is_dismissed() {
    let dismissal = |row: &str| {
        let log = read_lines(&[CREATED, row]).unwrap();
        match log.cases[0].steps[1].command.clone() {
            FineCommand::SendAppeal { dismissal } | FineCommand::AppealToJudge { dismissal } => dismissal,
            other => panic!("{other:?}"),
        }
    };
    let sent =
        |code: &str| format!("A1,2,Send Appeal to Prefecture,2006-12-05T00:00:00+01:00,,,,,,{code},,,,,,");
    assert_eq!(dismissal(&sent("NIL")), None);
    assert_eq!(dismissal(&sent("#")), Some("#".into()));
    let judge = "A1,2,Appeal to Judge,2006-12-05T00:00:00+01:00,0,,,,,G,,,,,,0";
    assert_eq!(dismissal(judge), Some("G".into()));
}

#[test]
fn every_row_that_cannot_be_read_is_named_by_its_line() {
    let bad = PAID.replace("20.01,20.01", "20.01,x");
    check_refused(
        &[CREATED, "A1,2,Send Fine,yesterday,,,,,,,11.0,,,,,", NOTIFIED, PENALTY, &bad],
        "line 3 cannot be read: `timestamp` cannot be `yesterday`; \
         line 4 has `seq` 3 where 2 comes next; line 5 has `seq` 4 where 3 comes next; \
         line 6 cannot be read: `totalPaymentAmount` cannot be `x`",
    );
    check_refused(&["A1,1,Create Fine,2006-07-24T00:00:00+02:00,561"], "line 2 has 5 cells of 16");
}

#[test]
fn amounts_are_exact_or_refused() {
    let create = |amount: &str| CREATED.replace("35.0", amount);
    for amount in ["35.0001", "1e2", "", "35,0"] {
        let row = if amount.contains(',') { create(&format!("\"{amount}\"")) } else { create(amount) };
        check_refused(&[&row], &format!("line 2 cannot be read: `amount` cannot be `{amount}`"));
    }
    let log = read_lines(&[&create("0.001")]).unwrap();
    assert_eq!(log.tally.outstanding_thousandths, 1);
}

#[test]
fn a_cell_that_means_nothing_at_its_activity_is_not_dropped_in_silence() {
    check_refused(
        &[CREATED, &SENT.replace("11.0,,", "11.0,P,")],
        "line 3 cannot be read: `Send Fine` does not have a `notificationType`, which is `P`",
    );
    check_refused(
        &[&CREATED.replace(",0.0,", ",5.0,")],
        "line 2 cannot be read: `totalPaymentAmount` cannot be `5.0`",
    );
    check_refused(
        &["A1,1,Forgive,2006-07-24T00:00:00+02:00,,,,,,,,,,,,"],
        "line 2 cannot be read: `activity` cannot be `Forgive`",
    );
}

#[test]
fn the_rows_of_a_case_stand_together_and_in_order() {
    let other = CREATED.replace("A1,", "A2,");
    check_refused(&[CREATED, &other, SENT], "line 4 is not beside the other rows of case `A1`");
    check_refused(&[CREATED, NOTIFIED], "line 3 has `seq` 3 where 2 comes next");
}

#[test]
fn a_file_with_many_bad_rows_names_some_and_counts_the_rest() {
    let rows: Vec<_> = (0..25).map(|case| CREATED.replace("A1,1", &format!("B{case},2"))).collect();
    let rows: Vec<_> = rows.iter().map(String::as_str).collect();
    let error = read_lines(&rows).unwrap_err().to_string();
    assert!(error.contains("line 21 ") && !error.contains("line 22 "), "{error}");
    assert!(error.ends_with("; and 5 more (DP0043)"), "{error}");
}

#[test]
fn a_file_of_other_columns_or_that_is_cut_off_is_refused() {
    let error = read_text(b"a,b\n1,2\n".to_vec()).unwrap_err().to_string();
    assert_eq!(error, format!("the columns must be {} (DP0043)", COLUMNS.join(",")));
    let mut whole = GzEncoder::new(Vec::new(), Compression::fast());
    writeln!(whole, "{}", COLUMNS.join(",")).unwrap();
    (0..2_000).for_each(|case| writeln!(whole, "{}", CREATED.replace("A1", &format!("C{case}"))).unwrap());
    let whole = whole.finish().unwrap();
    let unpacked =
        |bytes: &[u8]| -> Box<dyn Read> { Box::new(MultiGzDecoder::new(Cursor::new(bytes.to_vec()))) };
    let log = read_rows(csv::Reader::from_reader(unpacked(&whole))).unwrap();
    assert_eq!(log.tally.cases, 2_000);
    let cut = &whole[..whole.len() / 2];
    let error = read_rows(csv::Reader::from_reader(unpacked(cut))).unwrap_err().to_string();
    assert!(error.starts_with("line ") && error.ends_with("(DP0043)"), "{error}");
}
