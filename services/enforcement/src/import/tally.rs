//! What a log of fines adds up to, counted from the rows of a file or from the events of the log: the same
//! figures, so that one can be held against the other.

use super::file::FineCase;
use super::row::activity;
use crate::command::FineCommand;
use crate::facts::{Balance, FineEvent, FineStep, Settlement, euros};
use diptych::prelude::*;
use std::collections::BTreeMap;
use std::fmt;

/// How often something happened, and how much money it was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How often.
    pub times: u64,
    /// How much altogether, in thousandths of a euro; nothing where it is not about money.
    pub thousandths: i64,
}

/// What fines add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many fines.
    pub cases: u64,
    /// How often each step was taken. A penalty counts with the new amount.
    pub steps: BTreeMap<FineStep, Count>,
    /// How many fines ended with each step.
    pub last: BTreeMap<FineStep, u64>,
    /// How many fines are settled how.
    pub settled: BTreeMap<Settlement, u64>,
    /// What is still to be paid, in thousandths of a euro.
    pub outstanding_thousandths: i64,
}

impl Tally {
    /// How many rows or events.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.steps.values().map(|count| count.times).sum()
    }

    /// Counts a case of a file.
    pub(super) fn count_case(&mut self, case: &FineCase) {
        let mut balance = Balance::default();
        for step in &case.steps {
            balance = after(balance, &step.command);
            self.count(step.step, money(&step.command));
        }
        self.end(balance, case.steps.last().map(|step| step.step));
    }

    /// Counts an event of the log.
    pub(super) fn count_event(&mut self, event: &FineEvent) {
        self.count(event.step(), money_of(event));
    }

    /// Counts a fine as it stands after everything that was counted of it.
    pub(super) fn end(&mut self, balance: Balance, last: Option<FineStep>) {
        self.cases += 1;
        *self.settled.entry(balance.settlement()).or_default() += 1;
        self.outstanding_thousandths += balance.outstanding().thousandths();
        if let Some(last) = last {
            *self.last.entry(last).or_default() += 1;
        }
    }

    fn count(&mut self, step: FineStep, money: Option<Money>) {
        let count = self.steps.entry(step).or_default();
        count.times += 1;
        count.thousandths += money.map_or(0, Money::thousandths);
    }
}

/// The money that an event is about.
pub(super) fn money_of(event: &FineEvent) -> Option<Money> {
    match event {
        FineEvent::FineCreated { amount, .. }
        | FineEvent::FinePenaltyAdded { amount }
        | FineEvent::FinePaid { amount, .. }
        | FineEvent::FineSent { expense: amount } => Some(*amount),
        _ => None,
    }
}

/// The money that a command is about.
pub(super) fn money(command: &FineCommand) -> Option<Money> {
    match command {
        FineCommand::Create { amount, .. }
        | FineCommand::AddPenalty { amount }
        | FineCommand::Pay { amount, .. }
        | FineCommand::Send { expense: amount } => Some(*amount),
        _ => None,
    }
}

fn after(balance: Balance, command: &FineCommand) -> Balance {
    match command {
        FineCommand::Create { amount, .. } => Balance { amount: *amount, ..balance },
        FineCommand::Send { expense } => Balance { expense: Some(*expense), ..balance },
        FineCommand::AddPenalty { amount } => Balance { penalty: Some(*amount), ..balance },
        FineCommand::Pay { amount, .. } => {
            Balance { paid: euros(balance.paid.thousandths() + amount.thousandths()), ..balance }
        }
        _ => balance,
    }
}

/// A table for the person at the terminal.
impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<38} {:>9} {:>9} {:>16}", "activity", "events", "last", "EUR")?;
        for (step, count) in &self.steps {
            let last = self.last.get(step).copied().unwrap_or_default();
            let money =
                if count.thousandths == 0 { String::new() } else { euros(count.thousandths).amount() };
            writeln!(out, "{:<38} {:>9} {last:>9} {money:>16}", activity(*step), count.times)?;
        }
        writeln!(out, "{:<38} {:>9} {:>9}", "altogether", self.events(), self.cases)?;
        for (settlement, fines) in &self.settled {
            writeln!(out, "{:<38} {:>9} {fines:>9}", settlement.name(), "")?;
        }
        let outstanding = euros(self.outstanding_thousandths).amount();
        write!(out, "{:<38} {:>9} {:>9} {outstanding:>16}", "outstanding", "", "")
    }
}
