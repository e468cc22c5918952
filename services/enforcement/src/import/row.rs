//! What a row of the log means: which command makes it. Every cell is used or the row is refused, so that
//! nothing is lost in silence.

use crate::command::FineCommand;
use crate::facts::FineStep;
use csv::StringRecord;
use diptych::prelude::*;

/// The columns, in order.
pub(super) const COLUMNS: [&str; 16] = [
    "case",
    "seq",
    "activity",
    "timestamp",
    "resource",
    "amount",
    "article",
    "points",
    "vehicleClass",
    "dismissal",
    "expense",
    "notificationType",
    "lastSent",
    "paymentAmount",
    "totalPaymentAmount",
    "matricola",
];

/// What a cell of `dismissal` holds where nothing was dismissed.
const NOT_DISMISSED: &str = "NIL";

/// One row: what happened, when, and the command that makes it happen here.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its line in the file.
    pub line: u64,
    /// When it happened: the log knows the day, in Rome.
    pub at: Timestamp,
    /// What happened.
    pub step: FineStep,
    /// What makes it happen.
    pub command: FineCommand,
}

/// The activities by their names in the log.
#[must_use]
pub fn activity(step: FineStep) -> &'static str {
    match step {
        FineStep::CreateFine => "Create Fine",
        FineStep::SendFine => "Send Fine",
        FineStep::InsertFineNotification => "Insert Fine Notification",
        FineStep::AddPenalty => "Add penalty",
        FineStep::Payment => "Payment",
        FineStep::InsertDateAppealToPrefecture => "Insert Date Appeal to Prefecture",
        FineStep::SendAppealToPrefecture => "Send Appeal to Prefecture",
        FineStep::ReceiveResultAppealFromPrefecture => "Receive Result Appeal from Prefecture",
        FineStep::NotifyResultAppealToOffender => "Notify Result Appeal to Offender",
        FineStep::AppealToJudge => "Appeal to Judge",
        FineStep::SendForCreditCollection => "Send for Credit Collection",
    }
}

/// Reads a record: its case, its place there, and its step. The error says what is wrong with it.
pub(super) fn parse(record: &StringRecord, line: u64) -> Result<(String, u64, Step), String> {
    let mut cells = Cells { record, used: [false; COLUMNS.len()] };
    let case = cells.text("case")?;
    let seq = cells.parsed("seq")?;
    let name = cells.text("activity")?;
    let step = FineStep::ALL.into_iter().find(|step| activity(*step) == name);
    let step = step.ok_or_else(|| cells.wrong("activity"))?;
    let at = cells.parsed("timestamp")?;
    let command = command(step, &mut cells)?;
    cells.check_used(name)?;
    if case.len() > diptych::core::KEY_BYTES_MAX || case.contains('\0') {
        return Err(cells.wrong("case"));
    }
    Ok((case.to_owned(), seq, Step { line, at, step, command }))
}

fn command(step: FineStep, cells: &mut Cells<'_>) -> Result<FineCommand, String> {
    Ok(match step {
        FineStep::CreateFine => {
            cells.always("totalPaymentAmount", "0.0")?;
            FineCommand::Create {
                amount: cells.money("amount")?,
                article: cells.text("article")?.into(),
                officer_id: cells.text("resource")?.into(),
                vehicle_class: cells.text("vehicleClass")?.into(),
                points: cells.parsed("points")?,
                dismissal: cells.dismissal()?.map(Into::into),
            }
        }
        FineStep::SendFine => FineCommand::Send { expense: cells.money("expense")? },
        FineStep::InsertFineNotification => FineCommand::InsertNotification {
            notification: cells.text("notificationType")?.into(),
            last_sent: cells.optional("lastSent").map(Into::into),
        },
        FineStep::AddPenalty => FineCommand::AddPenalty { amount: cells.money("amount")? },
        FineStep::Payment => FineCommand::Pay {
            amount: cells.money("paymentAmount")?,
            recorded_total: Some(cells.money("totalPaymentAmount")?),
        },
        FineStep::InsertDateAppealToPrefecture => FineCommand::InsertAppealDate,
        FineStep::SendAppealToPrefecture => {
            FineCommand::SendAppeal { dismissal: cells.dismissal()?.map(Into::into) }
        }
        FineStep::ReceiveResultAppealFromPrefecture => FineCommand::ReceiveAppealResult,
        FineStep::NotifyResultAppealToOffender => FineCommand::NotifyAppealResult,
        FineStep::AppealToJudge => {
            cells.always("resource", "0")?;
            cells.always("matricola", "0")?;
            FineCommand::AppealToJudge { dismissal: cells.dismissal()?.map(Into::into) }
        }
        FineStep::SendForCreditCollection => FineCommand::SendForCreditCollection,
    })
}

/// A record, and which of its cells have been read.
struct Cells<'a> {
    record: &'a StringRecord,
    used: [bool; COLUMNS.len()],
}

impl<'a> Cells<'a> {
    /// What a cell holds; none where it is empty.
    fn optional(&mut self, column: &str) -> Option<&'a str> {
        let place = place(column);
        self.used[place] = true;
        self.record.get(place).filter(|text| !text.is_empty())
    }

    fn text(&mut self, column: &str) -> Result<&'a str, String> {
        self.optional(column).filter(|text| !text.trim().is_empty()).ok_or_else(|| self.wrong(column))
    }

    fn parsed<T: std::str::FromStr>(&mut self, column: &str) -> Result<T, String> {
        self.text(column)?.parse().map_err(|_| self.wrong(column))
    }

    fn money(&mut self, column: &str) -> Result<Money, String> {
        Money::parse(self.text(column)?, Currency::EUR).map_err(|_| self.wrong(column))
    }

    fn dismissal(&mut self) -> Result<Option<&'a str>, String> {
        Ok(Some(self.text("dismissal")?).filter(|code| *code != NOT_DISMISSED))
    }

    /// Checks a cell that holds the same in every row of its activity, and so says nothing worth keeping.
    fn always(&mut self, column: &str, expected: &str) -> Result<(), String> {
        if self.text(column)? == expected { Ok(()) } else { Err(self.wrong(column)) }
    }

    fn wrong(&self, column: &str) -> String {
        format!(
            "cannot be read: `{column}` cannot be `{}`",
            self.record.get(place(column)).unwrap_or_default()
        )
    }

    fn check_used(&self, activity: &str) -> Result<(), String> {
        let left = COLUMNS
            .iter()
            .zip(self.record)
            .zip(self.used)
            .find(|((_, text), used)| !used && !text.is_empty());
        match left {
            None => Ok(()),
            Some(((column, text), _)) => {
                Err(format!("cannot be read: `{activity}` does not have a `{column}`, which is `{text}`"))
            }
        }
    }
}

fn place(column: &str) -> usize {
    COLUMNS.iter().position(|name| *name == column).expect("only names in `COLUMNS` are asked for")
}
