//! An order: commands, rejections, state, decisions.

use crate::facts::{Address, CustomerId, LineItem, OrderEvent, OrderStatus, tally};
use diptych::prelude::*;

/// The most lines of an order.
const LINES_MAX: usize = 2_000;

/// The most goods of a line.
const LINE_QUANTITY_MAX: i64 = 1_000_000;

/// The largest order, in thousandths of a pound.
const TOTAL_THOUSANDTHS_MAX: i64 = 100_000_000_000;

/// What may be asked of an order.
#[derive(Clone, Debug, PartialEq, Command)]
#[command(text_bytes_max = 1_000)]
pub enum OrderCommand {
    /// Asks for goods.
    Place {
        /// Who; unknown for a sale over the counter.
        customer_id: Option<CustomerId>,
        /// What, possibly nothing.
        lines: Vec<LineItem>,
        /// Where to.
        shipping_address: Address,
    },
    /// Accepts the order.
    Confirm,
    /// Reserves the money.
    AuthorizePayment,
    /// Takes the money.
    CapturePayment,
    /// Sends the goods somewhere else.
    ChangeShippingAddress {
        /// Where to.
        shipping_address: Address,
    },
    /// Calls the order off.
    Cancel {
        /// Why.
        reason: String,
    },
    /// Sends the goods.
    Fulfil,
    /// Pays the money back.
    Refund {
        /// Why.
        reason: String,
    },
}

/// What the domain may answer instead.
#[derive(Clone, Debug, PartialEq, Rejection)]
pub enum OrderRejection {
    /// Nobody has placed it.
    #[reject("the order does not exist", not_found)]
    OrderNotFound,
    /// It is placed once.
    #[reject("the order is already placed")]
    OrderAlreadyPlaced,
    /// It is cancelled once.
    #[reject("the order is already cancelled: {reason}")]
    OrderAlreadyCancelled {
        /// Why it was cancelled.
        reason: String,
    },
    /// It is too late to cancel.
    #[reject("the order cannot be cancelled: {reason}")]
    OrderCannotBeCancelled {
        /// What stands in the way.
        reason: String,
    },
    /// The step is not one that can follow.
    #[reject("the order is {status} and cannot {step}")]
    OrderStepNotPossible {
        /// The step.
        step: String,
        /// Where the order stands.
        status: OrderStatus,
    },
    /// A line cannot be taken as it is.
    #[reject("line {line} cannot be taken: {reason}")]
    OrderLineNotValid {
        /// Which, counted from 1.
        line: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// The lines cannot be added up.
    #[reject("the order cannot be added up: {reason}")]
    OrderTotalNotValid {
        /// What is wrong.
        reason: String,
    },
}

/// An order. The default is an order that nobody has placed.
#[derive(Clone, Debug, PartialEq, Data)]
pub struct Order {
    /// Where it stands.
    pub status: OrderStatus,
    /// Who placed it.
    pub customer_id: Option<CustomerId>,
    /// What was asked for.
    pub lines: Vec<LineItem>,
    /// Where the goods go.
    pub shipping_address: Option<Address>,
    /// What the lines add up to.
    pub total: Money,
    /// Whether the money has been taken.
    pub captured: bool,
    /// Why it was cancelled.
    pub cancelled_because: Option<String>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            status: OrderStatus::New,
            customer_id: None,
            lines: Vec::new(),
            shipping_address: None,
            total: Money::zero(Currency::GBP),
            captured: false,
            cancelled_because: None,
        }
    }
}

impl Decider for Order {
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Rejection = OrderRejection;

    fn decide(&self, command: OrderCommand, context: &Context) -> Result<Vec<OrderEvent>, OrderRejection> {
        use OrderCommand::{
            AuthorizePayment, Cancel, CapturePayment, ChangeShippingAddress, Confirm, Fulfil, Place, Refund,
        };
        use OrderStatus::{Cancelled, Confirmed, Fulfilled, New, PaymentAuthorized, Placed};
        let event = match (self.status, command) {
            (New, Place { customer_id, lines, shipping_address }) => {
                let total = checked_total(&lines)?;
                OrderEvent::OrderPlaced { customer_id, lines, shipping_address, total }
            }
            (_, Place { .. }) => return Err(OrderRejection::OrderAlreadyPlaced),
            (New, _) => return Err(OrderRejection::OrderNotFound),
            (Placed, Confirm) => OrderEvent::OrderConfirmed,
            (Confirmed, AuthorizePayment) => OrderEvent::PaymentAuthorized { amount: self.total },
            (PaymentAuthorized, CapturePayment) if !self.captured => {
                OrderEvent::PaymentCaptured { amount: self.total, customer_id: self.customer_id.clone() }
            }
            (PaymentAuthorized, Fulfil) if self.captured => OrderEvent::OrderFulfilled,
            (PaymentAuthorized | Fulfilled, Refund { reason }) if self.captured => self.refunded(reason),
            (Placed | Confirmed | PaymentAuthorized, ChangeShippingAddress { shipping_address }) => {
                if self.shipping_address.as_ref() == Some(&shipping_address) {
                    return Ok(Vec::new());
                }
                OrderEvent::ShippingAddressChanged { shipping_address }
            }
            (Placed | Confirmed | PaymentAuthorized, Cancel { reason }) if !self.captured => {
                self.cancelled(reason, context.actor())
            }
            (Cancelled, Cancel { .. }) => {
                let reason = self.cancelled_because.clone().unwrap_or_default();
                return Err(OrderRejection::OrderAlreadyCancelled { reason });
            }
            (status, Cancel { .. }) => {
                let reason = match status {
                    PaymentAuthorized => "the payment is captured; refund it instead",
                    Fulfilled => "it is fulfilled; refund it instead",
                    _ => "it is refunded",
                };
                return Err(OrderRejection::OrderCannotBeCancelled { reason: reason.to_owned() });
            }
            (status, command) => {
                let step = step(&command).to_owned();
                return Err(OrderRejection::OrderStepNotPossible { step, status });
            }
        };
        Ok(vec![event])
    }

    fn evolve(self, event: &OrderEvent) -> Self {
        match event {
            OrderEvent::OrderPlaced { customer_id, lines, shipping_address, total } => Self {
                status: OrderStatus::Placed,
                customer_id: customer_id.clone(),
                lines: lines.clone(),
                shipping_address: Some(shipping_address.clone()),
                total: *total,
                ..self
            },
            OrderEvent::OrderConfirmed => Self { status: OrderStatus::Confirmed, ..self },
            OrderEvent::PaymentAuthorized { .. } => Self { status: OrderStatus::PaymentAuthorized, ..self },
            OrderEvent::PaymentCaptured { .. } => Self { captured: true, ..self },
            OrderEvent::ShippingAddressChanged { shipping_address } => {
                Self { shipping_address: Some(shipping_address.clone()), ..self }
            }
            OrderEvent::OrderCancelled { reason, .. } => {
                Self { status: OrderStatus::Cancelled, cancelled_because: Some(reason.clone()), ..self }
            }
            OrderEvent::OrderFulfilled => Self { status: OrderStatus::Fulfilled, ..self },
            OrderEvent::OrderRefunded { .. } => Self { status: OrderStatus::Refunded, ..self },
        }
    }
}

/// Orders are short, so that they seldom leave a row while they are event-sourced.
impl StoredState for Order {
    const COLUMNS: &'static [StateColumn] = &[
        StateColumn::text("status", "status").indexed(),
        StateColumn::text("customer_id", "customerId").indexed(),
        StateColumn::boolean("captured", "captured"),
        StateColumn::text("cancelled_because", "cancelledBecause"),
    ];
}

impl Order {
    fn cancelled(&self, reason: String, actor: &str) -> OrderEvent {
        OrderEvent::OrderCancelled {
            reason,
            cancelled_by: actor.to_owned(),
            customer_id: self.customer_id.clone(),
            country: self.country(),
            item_count: self.lines.len() as i64,
            quantity: self.lines.iter().map(|line| line.quantity).sum(),
            total: self.total,
        }
    }

    fn refunded(&self, reason: String) -> OrderEvent {
        let (amount, customer_id) = (self.total, self.customer_id.clone());
        OrderEvent::OrderRefunded { reason, amount, customer_id, country: self.country() }
    }

    fn country(&self) -> crate::facts::Country {
        // A placed order has an address; the text is for a log that says otherwise.
        self.shipping_address.as_ref().map_or_else(|| "unknown".into(), |address| address.country.clone())
    }
}

fn checked_total(lines: &[LineItem]) -> Result<Money, OrderRejection> {
    if lines.len() > LINES_MAX {
        let reason = format!("it has {} lines, at most {LINES_MAX} are taken", lines.len());
        return Err(OrderRejection::OrderTotalNotValid { reason });
    }
    for (line, number) in lines.iter().zip(1..) {
        let wrong =
            |reason: &str| OrderRejection::OrderLineNotValid { line: number, reason: reason.to_owned() };
        if line.quantity < 1 {
            return Err(wrong("its quantity is below 1"));
        }
        if line.quantity > LINE_QUANTITY_MAX {
            return Err(wrong("its quantity is above 1,000,000"));
        }
        if line.unit_price.is_negative() {
            return Err(wrong("its price is below 0"));
        }
        if line.unit_price.currency() != Currency::GBP {
            return Err(wrong("its price is not in GBP, the currency of this shop"));
        }
    }
    let not_valid = |reason: String| OrderRejection::OrderTotalNotValid { reason };
    let total = tally(lines).map_err(|error| not_valid(error.to_string()))?.amount;
    if total.thousandths() > TOTAL_THOUSANDTHS_MAX {
        return Err(not_valid("it is above 100,000,000.00 GBP".to_owned()));
    }
    Ok(total)
}

fn step(command: &OrderCommand) -> &'static str {
    match command {
        OrderCommand::Place { .. } => "be placed",
        OrderCommand::Confirm => "be confirmed",
        OrderCommand::AuthorizePayment => "have its payment authorized",
        OrderCommand::CapturePayment => "have its payment captured",
        OrderCommand::ChangeShippingAddress { .. } => "be sent elsewhere",
        OrderCommand::Cancel { .. } => "be cancelled",
        OrderCommand::Fulfil => "be fulfilled",
        OrderCommand::Refund { .. } => "be refunded",
    }
}

#[cfg(test)]
mod tests;
