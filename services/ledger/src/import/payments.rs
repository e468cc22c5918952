//! The payments of two real data sets, read by the services that own them: the log of road traffic fines
//! where it is present, and the year of retail orders in `data/`. Nothing is read twice here.

use crate::facts::{CustomerId, TransactionId};
use diptych::VerbError;
use diptych::prelude::*;
use enforcement::command::FineCommand;
use orders::facts::{LineItem, tally};
use orders::import::Kind;
use std::path::{Path, PathBuf};

/// Where payments come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The log of fines (doi:10.4121/uuid:270fd440-1057-4fb9-89a9-b699b47990f5).
    Fines(PathBuf),
    /// The retail orders (doi:10.24432/C5CG6D): an order that was sent was paid, all of it.
    Orders(PathBuf),
}

/// Money that came in.
#[derive(Clone, PartialEq, Debug)]
pub struct Payment {
    /// The transaction that it becomes.
    pub transaction: TransactionId,
    /// Who paid, where that is known.
    pub customer: Option<CustomerId>,
    /// What for.
    pub description: String,
    /// How much, above zero.
    pub amount: Money,
    /// When.
    pub at: Timestamp,
}

/// The payments of a data set.
#[derive(Clone, PartialEq, Debug)]
pub struct Payments {
    /// Those that moved money, in the order of the file.
    pub moved: Vec<Payment>,
    /// How many were of nothing: a transaction moves something, so they become none.
    pub of_nothing: usize,
    /// What all of them add up to.
    pub total: Money,
}

impl Source {
    /// Its name, which the accounts of its money begin with.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fines(_) => "fines",
            Self::Orders(_) => "orders",
        }
    }

    /// The currency of its money.
    #[must_use]
    pub fn currency(&self) -> Currency {
        match self {
            Self::Fines(_) => Currency::EUR,
            Self::Orders(_) => Currency::GBP,
        }
    }

    /// Reads its payments.
    ///
    /// # Errors
    /// A file that cannot be read, with the rows that are wrong.
    pub fn read(&self) -> Result<Payments, VerbError> {
        let payments = match self {
            Self::Fines(file) => of_fines(file)?,
            Self::Orders(file) => of_orders(file)?,
        };
        let mut total = Money::zero(self.currency());
        for payment in &payments {
            total = total.plus(payment.amount)?;
        }
        let all = payments.len();
        let moved: Vec<_> = payments.into_iter().filter(|held| held.amount.thousandths() != 0).collect();
        Ok(Payments { of_nothing: all - moved.len(), moved, total })
    }
}

fn of_fines(file: &Path) -> Result<Vec<Payment>, VerbError> {
    let mut payments = Vec::new();
    for case in enforcement::import::read(file)?.cases {
        for (step, seq) in case.steps.into_iter().zip(1..) {
            let FineCommand::Pay { amount, .. } = step.command else { continue };
            payments.push(Payment {
                transaction: TransactionId::new(format!("fine-{}-{seq}", case.id)),
                customer: None,
                description: format!("Payment of fine {}", case.id),
                amount,
                at: step.at,
            });
        }
    }
    Ok(payments)
}

fn of_orders(file: &Path) -> Result<Vec<Payment>, VerbError> {
    let mut payments = Vec::new();
    for invoice in orders::import::read(file)?.invoices {
        if orders::import::kind(&invoice) != Kind::Order {
            continue;
        }
        let lines: Vec<LineItem> = invoice.rows.into_iter().map(|row| row.item).collect();
        payments.push(Payment {
            transaction: TransactionId::new(format!("order-{}", invoice.number)),
            customer: invoice.customer.map(|customer| CustomerId::new(customer.as_str())),
            description: format!("Payment of order {}", invoice.number),
            amount: tally(&lines)?.amount,
            at: invoice.time,
        });
    }
    Ok(payments)
}
