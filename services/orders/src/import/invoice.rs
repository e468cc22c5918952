//! What an invoice means: which booking it is, and which commands make it.

use super::Invoice;
use super::file::failed;
use crate::command::{
    CreditNote, CreditNoteCommand, LedgerAdjustment, LedgerAdjustmentCommand, Order, OrderCommand,
    StockAdjustment, StockAdjustmentCommand,
};
use crate::facts::{
    Address, Country, CreditNoteId, LedgerAdjustmentId, LineItem, OrderId, StockAdjustmentId,
};
use diptych::VerbError;
use diptych::command::{Commands, patiently};
use diptych::core::Fault;
use diptych::prelude::*;
use std::time::Duration;

/// How long a command is given again that the store cannot take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What an invoice is. No invoice of the data set mixes kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Goods sold.
    Order,
    /// Its number begins with `C`.
    CreditNote,
    /// Its number begins with `A`.
    LedgerAdjustment,
    /// Negative quantities at no price.
    StockAdjustment,
}

/// One command of an invoice, with the identity that makes sending it twice harmless.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    id: String,
    key: String,
    time: Timestamp,
    action: Action,
}

#[derive(Clone, PartialEq, Debug)]
enum Action {
    Order(OrderCommand),
    CreditNote(CreditNoteCommand),
    LedgerAdjustment(LedgerAdjustmentCommand),
    StockAdjustment(StockAdjustmentCommand),
}

/// The kind of an invoice.
#[must_use]
pub fn kind(invoice: &Invoice) -> Kind {
    match invoice.number.as_bytes().first() {
        Some(b'C') => Kind::CreditNote,
        Some(b'A') => Kind::LedgerAdjustment,
        _ if invoice.rows.iter().any(|row| row.item.quantity < 0) => Kind::StockAdjustment,
        _ => Kind::Order,
    }
}

/// The commands that make an invoice, in order. A sold order was placed, confirmed, paid and sent; the data
/// set keeps one time for all of it.
///
/// # Errors
/// An invoice that fits no kind.
pub fn steps(invoice: &Invoice) -> Result<Vec<Step>, Fault> {
    let lines: Vec<LineItem> = invoice.rows.iter().map(|row| row.item.clone()).collect();
    let country = Country::from(invoice.country.as_str());
    let customer_id = invoice.customer.clone();
    let step = |name: &str, action| Step {
        id: format!("{}/{}/{name}", super::DATA_SET, invoice.number),
        key: invoice.number.clone(),
        time: invoice.time,
        action,
    };
    Ok(match kind(invoice) {
        Kind::Order => {
            let shipping_address = somewhere_in(country);
            let place = OrderCommand::Place { customer_id, lines, shipping_address };
            vec![
                step("place", Action::Order(place)),
                step("confirm", Action::Order(OrderCommand::Confirm)),
                step("authorize-payment", Action::Order(OrderCommand::AuthorizePayment)),
                step("capture-payment", Action::Order(OrderCommand::CapturePayment)),
                step("fulfil", Action::Order(OrderCommand::Fulfil)),
            ]
        }
        Kind::CreditNote => {
            let issue = CreditNoteCommand::Issue { customer_id, country, lines };
            vec![step("issue", Action::CreditNote(issue))]
        }
        Kind::LedgerAdjustment => {
            vec![step("book", Action::LedgerAdjustment(LedgerAdjustmentCommand::Book { country, lines }))]
        }
        Kind::StockAdjustment if lines.iter().any(|line| line.quantity >= 0) => {
            return Err(failed(format!("invoice `{}` mixes sales and stock", invoice.number)));
        }
        Kind::StockAdjustment => {
            vec![step("record", Action::StockAdjustment(StockAdjustmentCommand::Record { country, lines }))]
        }
    })
}

impl Step {
    /// Gives the command.
    ///
    /// # Errors
    /// Whatever it ends in besides a receipt.
    pub async fn send(self, commands: &Commands, principal: &Principal) -> Result<(), VerbError> {
        let Self { id, key, time, action } = self;
        match action {
            Action::Order(command) => {
                send::<Order>(commands, principal, &OrderId::from(key), command, id, time).await
            }
            Action::CreditNote(command) => {
                send::<CreditNote>(commands, principal, &CreditNoteId::from(key), command, id, time).await
            }
            Action::LedgerAdjustment(command) => {
                let target = LedgerAdjustmentId::from(key);
                send::<LedgerAdjustment>(commands, principal, &target, command, id, time).await
            }
            Action::StockAdjustment(command) => {
                let target = StockAdjustmentId::from(key);
                send::<StockAdjustment>(commands, principal, &target, command, id, time).await
            }
        }
    }
}

async fn send<D>(
    commands: &Commands,
    principal: &Principal,
    target: &impl Id,
    command: D::Command,
    id: String,
    time: Timestamp,
) -> Result<(), VerbError>
where
    D: Decider,
    D::Command: Clone,
{
    let given = patiently(PATIENCE, || {
        let request = Request::by(principal).to(target, command.clone()).command_id(id.as_str());
        commands.handle::<D>(request.at(time))
    });
    match given.await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("command `{id}` failed: {error}").into()),
    }
}

/// The data set knows the country of a customer and nothing more of the address.
fn somewhere_in(country: Country) -> Address {
    let unknown = String::new;
    Address { street: unknown(), city: unknown(), state: unknown(), zip: unknown(), country }
}
