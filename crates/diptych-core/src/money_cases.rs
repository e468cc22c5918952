//! What is money and what is not, said once: every validator and every store is tested with these cases.

/// Why a case is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoneyFlaw {
    /// It is not an object of two texts: a bare number, a float, a text, a member too few or too many.
    Form,
    /// The amount is not a decimal number.
    Amount,
    /// More than three decimals.
    Scale,
    /// Outside the range that is kept exactly.
    Range,
    /// Not a currency of ISO 4217.
    Currency,
}

use MoneyFlaw::{Amount, Currency, Form, Range, Scale};

/// A JSON text, and the money that it is or why it is none.
pub type MoneyCase = (&'static str, Result<&'static str, MoneyFlaw>);

/// The cases.
pub const MONEY_CASES: &[MoneyCase] = &[
    (r#"{"amount":"39.98","currency":"GBP"}"#, Ok("39.98 GBP")),
    (r#"{"amount":"0.001","currency":"GBP"}"#, Ok("0.001 GBP")),
    (r#"{"amount":"-0.5","currency":"EUR"}"#, Ok("-0.50 EUR")),
    (r#"{"amount":"-5","currency":"EUR"}"#, Ok("-5.00 EUR")),
    (r#"{"amount":"5.100","currency":"JPY"}"#, Ok("5.1 JPY")),
    (r#"{"amount":"-0","currency":"GBP"}"#, Ok("0.00 GBP")),
    (r#"{"amount":"007.5","currency":"KWD"}"#, Ok("7.500 KWD")),
    (r#"{"amount":"9007199254740.991","currency":"GBP"}"#, Ok("9007199254740.991 GBP")),
    (r#"{"amount":"-9007199254740.991","currency":"BHD"}"#, Ok("-9007199254740.991 BHD")),
    (r#"{"amount":"1000000000000","currency":"USD"}"#, Ok("1000000000000.00 USD")),
    ("39.98", Err(Form)),
    ("3998", Err(Form)),
    (r#""39.98""#, Err(Form)),
    (r#""39.98 GBP""#, Err(Form)),
    ("true", Err(Form)),
    ("{}", Err(Form)),
    (r#"["39.98","GBP"]"#, Err(Form)),
    (r#"[{"amount":"39.98","currency":"GBP"}]"#, Err(Form)),
    (r#"{"amount":39.98,"currency":"GBP"}"#, Err(Form)),
    (r#"{"amount":39,"currency":"GBP"}"#, Err(Form)),
    (r#"{"amount":null,"currency":"GBP"}"#, Err(Form)),
    (r#"{"amount":"39.98"}"#, Err(Form)),
    (r#"{"currency":"GBP"}"#, Err(Form)),
    (r#"{"amount":"39.98","currency":826}"#, Err(Form)),
    (r#"{"amount":"39.98","currency":null}"#, Err(Form)),
    (r#"{"amount":"39.98","currency":"GBP","scale":2}"#, Err(Form)),
    (r#"{"amount":"1e3","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"-","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"+1","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"--1","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":" 1","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"1 ","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"1\n","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"1.","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":".5","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"1.2.3","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"1,5","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"1_000","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"0x10","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"NaN","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"Infinity","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"\u0661","currency":"GBP"}"#, Err(Amount)),
    (r#"{"amount":"1.0001","currency":"GBP"}"#, Err(Scale)),
    (r#"{"amount":"1.0000","currency":"GBP"}"#, Err(Scale)),
    (r#"{"amount":"-0.12345678901234567890","currency":"GBP"}"#, Err(Scale)),
    (r#"{"amount":"9007199254740.992","currency":"GBP"}"#, Err(Range)),
    (r#"{"amount":"-9007199254740.992","currency":"GBP"}"#, Err(Range)),
    (r#"{"amount":"9007199254741","currency":"GBP"}"#, Err(Range)),
    (r#"{"amount":"9223372036854775.808","currency":"GBP"}"#, Err(Range)),
    (r#"{"amount":"-9223372036854775808","currency":"GBP"}"#, Err(Range)),
    (r#"{"amount":"99999999999999999999","currency":"GBP"}"#, Err(Range)),
    (r#"{"amount":"1","currency":"GBX"}"#, Err(Currency)),
    (r#"{"amount":"1","currency":"gbp"}"#, Err(Currency)),
    (r#"{"amount":"1","currency":""}"#, Err(Currency)),
    (r#"{"amount":"1","currency":"GB"}"#, Err(Currency)),
    (r#"{"amount":"1","currency":"GBP "}"#, Err(Currency)),
    (r#"{"amount":"1","currency":"G.P"}"#, Err(Currency)),
    (r#"{"amount":"1","currency":"GBPEUR"}"#, Err(Currency)),
    (r#"{"amount":"1","currency":"\u00a3"}"#, Err(Currency)),
];
