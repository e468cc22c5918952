//! Which Rust types can be a column, and how. Absent on purpose: floats and `u64`, which no two databases
//! keep alike.

use crate::{DecodeError, Money, Position, Timestamp, Value, ValueType, Version};

/// A type that every store can keep in a column and give back unchanged.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a column",
    note = "columns are i64, i32, u32, bool, String, Timestamp, Money, Vec<u8>, ids, scalars or their Option",
    note = "mark a structured field `#[json]`; keep a fraction as Money or as an integer of smaller units"
)]
pub trait Portable: Sized {
    /// The column's type.
    const TYPE: ValueType;
    /// Whether the column may hold no value.
    const NULLABLE: bool = false;
    /// The only texts allowed, in order of rank; empty when any is.
    const CHOICES: &'static [&'static str] = &[];
    /// Whether values compare by their rank among the choices, not by text.
    const RANKED: bool = false;

    /// The value to keep.
    fn to_value(&self) -> Value;

    /// The value to keep, without a copy of what it can be made from.
    fn into_value(self) -> Value {
        self.to_value()
    }

    /// Reads a kept value.
    ///
    /// # Errors
    /// Refuses a value of another type.
    fn from_value(value: &Value) -> Result<Self, DecodeError>;
}

/// The error of a value that is not of the type it should be.
fn mismatch<T>(expected: ValueType, value: &Value) -> Result<T, DecodeError> {
    Err(DecodeError::malformed("column", &format!("expected {expected:?}, met {value:?}")))
}

macro_rules! portable {
    (
        $type:ty, $kind:ident,
        $self:ident => $to:expr, $held:ident => $from:expr
        $(, $owned:ident => $whole:expr)?
    ) => {
        // The notes of the trait say which types there are, better than a list of these.
        #[diagnostic::do_not_recommend]
        impl Portable for $type {
            const TYPE: ValueType = ValueType::$kind;

            fn to_value(&self) -> Value {
                let $self = self;
                Value::$kind($to)
            }

            $(
                fn into_value(self) -> Value {
                    let $owned = self;
                    Value::$kind($whole)
                }
            )?

            fn from_value(value: &Value) -> Result<Self, DecodeError> {
                match value {
                    Value::$kind($held) => $from,
                    other => mismatch(ValueType::$kind, other),
                }
            }
        }
    };
}

portable!(i64, Integer, number => *number, held => Ok(*held));
portable!(i32, Integer, number => i64::from(*number), held => narrow(*held));
portable!(u32, Integer, number => i64::from(*number), held => narrow(*held));
portable!(bool, Bool, flag => *flag, held => Ok(*held));
portable!(String, Text, text => text.clone(), held => Ok(held.clone()), text => text);
portable!(Timestamp, Timestamp, time => *time, held => Ok(*held));
portable!(Money, Money, money => *money, held => Ok(*held));
portable!(Vec<u8>, Bytes, bytes => bytes.clone(), held => Ok(held.clone()), bytes => bytes);

portable!(Version, Integer, version => wide(version.0), held => narrow(*held).map(Self));
portable!(Position, Integer, position => wide(position.0), held => narrow(*held).map(Self));

/// Versions and positions count events: none has ever come near 2^63.
fn wide(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn narrow<T: TryFrom<i64>>(number: i64) -> Result<T, DecodeError> {
    T::try_from(number).map_err(|_| DecodeError::malformed("column", &format!("`{number}` is out of range")))
}

impl<T: Portable> Portable for Option<T> {
    const TYPE: ValueType = T::TYPE;
    const NULLABLE: bool = true;
    const CHOICES: &'static [&'static str] = T::CHOICES;
    const RANKED: bool = T::RANKED;

    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }

    fn into_value(self) -> Value {
        self.map_or(Value::Null, T::into_value)
    }

    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        match value {
            Value::Null => Ok(None),
            held => T::from_value(held).map(Some),
        }
    }
}
