//! Money: one validated type for the log, for every store and for the wire. Never a float.

use crate::Currency;
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// Thousandths in one unit of currency.
const SCALE: i64 = 1_000;

/// An amount in thousandths of a currency's unit, from -9,007,199,254,740.991 to 9,007,199,254,740.991.
///
/// JSON is `{"amount": "39.98", "currency": "GBP"}`, with at least the decimals of the currency and at most
/// three. Read-model columns hold the thousandths as an integer beside the currency's code.
///
/// ```
/// use diptych_core::{Currency, Money};
/// let price = Money::parse("19.99", Currency::GBP).unwrap();
/// assert_eq!(price.times(2).unwrap().to_string(), "39.98 GBP");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Money {
    thousandths: i64,
    currency: Currency,
}

/// Why an amount is refused. The same validator and the same cases guard every way in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MoneyError {
    /// Not a decimal number.
    #[error("`{text}` is not an amount such as `39.98`")]
    NotAnAmount {
        /// The text met.
        text: String,
    },
    /// More than three decimals.
    #[error("`{text}` has more than three decimals")]
    Scale {
        /// The text met.
        text: String,
    },
    /// Outside the range that is kept exactly.
    #[error("the amount is outside the range that is kept exactly")]
    Range,
    /// Not a currency of ISO 4217.
    #[error("`{code}` is not a currency of ISO 4217")]
    UnknownCurrency {
        /// The code met.
        code: String,
    },
    /// Two currencies in one sum.
    #[error("{left} and {right} cannot be added")]
    MixedCurrencies {
        /// The one.
        left: Currency,
        /// The other.
        right: Currency,
    },
}

impl Money {
    /// The largest amount, in thousandths: the integers that every JSON reader keeps exactly (RFC 8259,
    /// section 6).
    pub const THOUSANDTHS_MAX: i64 = (1 << 53) - 1;

    /// From thousandths of the currency's unit.
    ///
    /// # Errors
    /// Refuses an amount outside the range.
    pub fn from_thousandths(thousandths: i64, currency: Currency) -> Result<Self, MoneyError> {
        let fits = thousandths.checked_abs().is_some_and(|size| size <= Self::THOUSANDTHS_MAX);
        if fits { Ok(Self { thousandths, currency }) } else { Err(MoneyError::Range) }
    }

    /// Nothing, in a currency.
    #[must_use]
    pub fn zero(currency: Currency) -> Self {
        Self { thousandths: 0, currency }
    }

    /// Reads `39.98`, `-0.5` or `7`: a decimal number with at most three decimals and no exponent.
    ///
    /// # Errors
    /// Refuses other text, a fourth decimal, and an amount outside the range.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let wrong = || MoneyError::NotAnAmount { text: text.chars().take(40).collect() };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !numeric(whole) || !numeric(fraction) {
            return Err(wrong());
        }
        if fraction.len() > 3 {
            return Err(MoneyError::Scale { text: text.chars().take(40).collect() });
        }
        let units: i64 = whole.parse().map_err(|_| MoneyError::Range)?;
        let parts: i64 = format!("{fraction:0<3}").parse().map_err(|_| wrong())?;
        let total =
            units.checked_mul(SCALE).and_then(|units| units.checked_add(parts)).ok_or(MoneyError::Range)?;
        Self::from_thousandths(if negative { -total } else { total }, currency)
    }

    /// The amount in thousandths of the currency's unit.
    #[must_use]
    pub fn thousandths(self) -> i64 {
        self.thousandths
    }

    /// The currency.
    #[must_use]
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// Whether the amount is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.thousandths < 0
    }

    /// The sum.
    ///
    /// # Errors
    /// Refuses two currencies and a sum outside the range.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::MixedCurrencies { left: self.currency, right: other.currency });
        }
        let sum = self.thousandths.checked_add(other.thousandths).ok_or(MoneyError::Range)?;
        Self::from_thousandths(sum, self.currency)
    }

    /// The amount that many times.
    ///
    /// # Errors
    /// Refuses a product outside the range.
    pub fn times(self, count: i64) -> Result<Self, MoneyError> {
        let product = self.thousandths.checked_mul(count).ok_or(MoneyError::Range)?;
        Self::from_thousandths(product, self.currency)
    }

    /// The decimal number without its currency: `39.98`.
    #[must_use]
    pub fn amount(self) -> String {
        let sign = if self.is_negative() { "-" } else { "" };
        let size = self.thousandths.unsigned_abs();
        let mut fraction = format!("{:03}", size % 1_000);
        let least = self.currency.decimals() as usize;
        while fraction.len() > least && fraction.ends_with('0') {
            fraction.pop();
        }
        let dot = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{}{dot}{fraction}", size / 1_000)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.amount(), self.currency)
    }
}

/// The JSON form, before it is validated.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    amount: String,
    currency: String,
}

impl Serialize for Money {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire { amount: self.amount(), currency: self.currency.to_string() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Validator)
    }
}

/// Takes an object and nothing else: an array of two texts has no names.
struct Validator;

impl<'de> serde::de::Visitor<'de> for Validator {
    type Value = Money;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("money such as `{\"amount\": \"39.98\", \"currency\": \"GBP\"}`")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, members: A) -> Result<Money, A::Error> {
        let wire = Wire::deserialize(serde::de::value::MapAccessDeserializer::new(members))?;
        let unknown = || MoneyError::UnknownCurrency { code: wire.currency.clone() };
        let currency = wire.currency.parse().map_err(|()| serde::de::Error::custom(unknown()))?;
        Money::parse(&wire.amount, currency).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Money {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "A decimal amount as text, and its ISO 4217 currency.",
            "properties": {
                "amount": { "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,3})?$" },
                "currency": { "type": "string", "pattern": "^[A-Z]{3}$" }
            },
            "required": ["amount", "currency"],
            "additionalProperties": false
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MONEY_CASES, MoneyFlaw};

    /// What the validator says about a flaw.
    fn said(flaw: MoneyFlaw) -> &'static [&'static str] {
        match flaw {
            MoneyFlaw::Form => &["invalid type", "missing field", "unknown field", "trailing characters"],
            MoneyFlaw::Amount => &["is not an amount"],
            MoneyFlaw::Scale => &["more than three decimals"],
            MoneyFlaw::Range => &["outside the range"],
            MoneyFlaw::Currency => &["ISO 4217"],
        }
    }

    #[test]
    fn only_the_validated_form_is_money() {
        for (json, expected) in MONEY_CASES {
            match (serde_json::from_str::<Money>(json), expected) {
                (Ok(money), Ok(form)) => {
                    assert_eq!(money.to_string(), *form);
                    let again = serde_json::to_string(&money).unwrap();
                    assert_eq!(serde_json::from_str::<Money>(&again).unwrap(), money);
                }
                (Err(error), Err(flaw)) => {
                    let error = error.to_string();
                    assert!(said(*flaw).iter().any(|part| error.contains(part)), "{json}: {error}");
                }
                (got, expected) => panic!("{json}: {got:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn sums_refuse_to_mix_currencies() {
        let pound = Money::parse("1", Currency::GBP).unwrap();
        let euro = Money::parse("1", Currency::EUR).unwrap();
        assert!(matches!(pound.plus(euro), Err(MoneyError::MixedCurrencies { .. })));
        assert_eq!(pound.plus(pound).unwrap().amount(), "2.00");
    }
}
