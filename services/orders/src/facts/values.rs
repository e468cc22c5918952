//! Identities and values of the domain.

use diptych::core::MoneyError;
use diptych::prelude::*;

/// An order.
#[derive(Id)]
pub struct OrderId(String);

/// A customer.
#[derive(Id)]
pub struct CustomerId(String);

/// A product, by its stock code.
#[derive(Id)]
pub struct ProductId(String);

/// A credit note, by its invoice number.
#[derive(Id)]
pub struct CreditNoteId(String);

/// A stock adjustment, by its invoice number.
#[derive(Id)]
pub struct StockAdjustmentId(String);

/// An adjustment of the ledger, by its invoice number.
#[derive(Id)]
pub struct LedgerAdjustmentId(String);

/// A data set that was imported.
#[derive(Id)]
pub struct DataImportId(String);

/// A country by its name, as customers write it.
#[derive(Id)]
pub struct Country(String);

/// A day, UTC, `2010-12-09`.
#[derive(Id)]
pub struct Day(String);

/// Where an order stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Scalar)]
pub enum OrderStatus {
    /// Not placed yet.
    #[default]
    New,
    /// Asked for by the customer.
    Placed,
    /// Accepted by the shop.
    Confirmed,
    /// The money is reserved, or has been taken.
    PaymentAuthorized,
    /// On its way.
    Fulfilled,
    /// Called off.
    Cancelled,
    /// Paid back.
    Refunded,
}

/// What kind of booking a figure comes from; the kinds are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
pub enum SaleKind {
    /// An order as it was placed.
    Order,
    /// An order that was called off: the same figures, negative.
    Cancellation,
    /// Money paid back, negative.
    Refund,
    /// A credit note.
    CreditNote,
    /// Goods that came or went without a price.
    StockAdjustment,
    /// A correction in the ledger, such as a bad debt.
    LedgerAdjustment,
}

/// A line of an order or of a note.
#[derive(Clone, Debug, PartialEq, Data)]
pub struct LineItem {
    /// What.
    pub product_id: ProductId,
    /// What it is called, where that is known.
    pub name: Option<String>,
    /// How many.
    pub quantity: i64,
    /// For how much each.
    pub unit_price: Money,
}

/// Where goods go.
#[derive(Clone, Debug, PartialEq, Data)]
pub struct Address {
    /// Street and number.
    pub street: String,
    /// Town.
    pub city: String,
    /// State, county or region.
    pub state: String,
    /// Postal code.
    pub zip: String,
    /// Country.
    pub country: Country,
}

/// What lines add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The sum of the quantities.
    pub quantity: i64,
    /// The sum of quantity times price.
    pub amount: Money,
}

/// Adds lines up; none make nothing, in pounds.
///
/// # Errors
/// Lines of two currencies, or a sum outside the range that is kept exactly.
pub fn tally(lines: &[LineItem]) -> Result<Tally, MoneyError> {
    let currency = lines.first().map_or(Currency::GBP, |line| line.unit_price.currency());
    let mut tally = Tally { quantity: 0, amount: Money::zero(currency) };
    for line in lines {
        tally.amount = tally.amount.plus(line.unit_price.times(line.quantity)?)?;
        tally.quantity = tally.quantity.checked_add(line.quantity).ok_or(MoneyError::Range)?;
    }
    Ok(tally)
}
