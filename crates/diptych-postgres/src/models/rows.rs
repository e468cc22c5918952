//! Values in and out of parameters and columns, each as the type that its column has. One statement takes
//! many rows: a parameter is an array with a cell for each row.

use super::document::Document;
use crate::fault::{OrFault, damaged};
use crate::time::Stamp;
use diptych_core::{Currency, Fault, Money, Position, Tenant, Timestamp, Value, ValueType};
use diptych_query::{ColumnSpec, RowRef, Schema, StoredRow, write_document};
use std::borrow::Cow;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// A parameter of a statement as the client takes it: with its type, so that nothing has to be prepared.
pub(crate) type Typed<'p> = (&'p (dyn ToSql + Sync), Type);

/// The type of one physical column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Integer,
    /// The rank of a text among the choices, computed by the database.
    Rank,
    Bool,
    Text,
    Time,
    Bytes,
    Document,
}

/// One value for one physical column; no value where there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Parameter {
    Integer(Option<i64>),
    Rank(Option<i32>),
    Bool(Option<bool>),
    Text(Option<String>),
    Time(Option<Stamp>),
    Bytes(Option<Vec<u8>>),
    /// A list of numbers.
    Integers(Vec<i64>),
    /// A list of texts.
    Texts(Vec<String>),
}

/// The values of many rows for one physical column.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Cells<'v> {
    Integers(Vec<Option<i64>>),
    Ranks(Vec<Option<i32>>),
    Bools(Vec<Option<bool>>),
    Texts(Vec<Option<Cow<'v, str>>>),
    Times(Vec<Option<Stamp>>),
    Bytes(Vec<Option<&'v [u8]>>),
    Documents(Vec<Option<Document>>),
}

impl Kind {
    /// The type as PostgreSQL's protocol names it.
    pub(crate) fn wire(self) -> Type {
        match self {
            Self::Integer => Type::INT8,
            Self::Rank => Type::INT4,
            Self::Bool => Type::BOOL,
            Self::Text => Type::TEXT,
            Self::Time => Type::TIMESTAMPTZ,
            Self::Bytes => Type::BYTEA,
            Self::Document => Type::JSONB,
        }
    }
}

impl Parameter {
    /// The value with its type.
    pub(crate) fn typed(&self) -> Typed<'_> {
        match self {
            Self::Integer(number) => (number, Type::INT8),
            Self::Rank(rank) => (rank, Type::INT4),
            Self::Bool(flag) => (flag, Type::BOOL),
            Self::Text(text) => (text, Type::TEXT),
            Self::Time(time) => (time, Type::TIMESTAMPTZ),
            Self::Bytes(bytes) => (bytes, Type::BYTEA),
            Self::Integers(list) => (list, Type::INT8_ARRAY),
            Self::Texts(list) => (list, Type::TEXT_ARRAY),
        }
    }
}

impl<'v> Cells<'v> {
    /// No cell yet, room for some.
    pub(crate) fn new(kind: Kind, rows: usize) -> Self {
        match kind {
            Kind::Integer => Self::Integers(Vec::with_capacity(rows)),
            Kind::Rank => Self::Ranks(Vec::with_capacity(rows)),
            Kind::Bool => Self::Bools(Vec::with_capacity(rows)),
            Kind::Text => Self::Texts(Vec::with_capacity(rows)),
            Kind::Time => Self::Times(Vec::with_capacity(rows)),
            Kind::Bytes => Self::Bytes(Vec::with_capacity(rows)),
            Kind::Document => Self::Documents(Vec::with_capacity(rows)),
        }
    }

    /// The array with its type.
    pub(crate) fn typed(&self) -> Typed<'_> {
        match self {
            Self::Integers(cells) => (cells, Type::INT8_ARRAY),
            Self::Ranks(cells) => (cells, Type::INT4_ARRAY),
            Self::Bools(cells) => (cells, Type::BOOL_ARRAY),
            Self::Texts(cells) => (cells, Type::TEXT_ARRAY),
            Self::Times(cells) => (cells, Type::TIMESTAMPTZ_ARRAY),
            Self::Bytes(cells) => (cells, Type::BYTEA_ARRAY),
            Self::Documents(cells) => (cells, Type::JSONB_ARRAY),
        }
    }

    /// One cell, for formats that go row by row.
    pub(crate) fn cell(&self, row: usize) -> &(dyn ToSql + Sync) {
        match self {
            Self::Integers(cells) => &cells[row],
            Self::Ranks(cells) => &cells[row],
            Self::Bools(cells) => &cells[row],
            Self::Texts(cells) => &cells[row],
            Self::Times(cells) => &cells[row],
            Self::Bytes(cells) => &cells[row],
            Self::Documents(cells) => &cells[row],
        }
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, text: &'v str) {
        if let Self::Texts(cells) = self {
            cells.push(Some(Cow::Borrowed(text)));
        }
    }

    /// Adds a value. One of another type than the column's, which no declaration makes, is no value.
    fn value(&mut self, value: &'v Value) {
        match (self, value) {
            (Self::Integers(cells), Value::Integer(number)) => cells.push(Some(*number)),
            (Self::Bools(cells), Value::Bool(flag)) => cells.push(Some(*flag)),
            (Self::Texts(cells), Value::Text(text) | Value::Json(text)) => {
                cells.push(Some(Cow::Borrowed(text)))
            }
            (Self::Times(cells), Value::Timestamp(time)) => cells.push(Some(Stamp(*time))),
            (Self::Bytes(cells), Value::Bytes(bytes)) => cells.push(Some(bytes)),
            (Self::Integers(cells), _) => cells.push(None),
            (Self::Ranks(cells), _) => cells.push(None),
            (Self::Bools(cells), _) => cells.push(None),
            (Self::Texts(cells), _) => cells.push(None),
            (Self::Times(cells), _) => cells.push(None),
            (Self::Bytes(cells), _) => cells.push(None),
            (Self::Documents(cells), _) => cells.push(None),
        }
    }
}

/// The types of a declared column's physical columns: money has two, the amount and the currency.
pub(crate) fn kinds_of(column: &ColumnSpec) -> Vec<Kind> {
    match column.value_type {
        ValueType::Integer => vec![Kind::Integer],
        ValueType::Bool => vec![Kind::Bool],
        ValueType::Text | ValueType::Json => vec![Kind::Text],
        ValueType::Timestamp => vec![Kind::Time],
        ValueType::Bytes => vec![Kind::Bytes],
        ValueType::Money => vec![Kind::Integer, Kind::Text],
    }
}

/// The cells of a declared column for some rows.
pub(crate) fn column_cells<'v>(
    column: &ColumnSpec,
    values: impl ExactSizeIterator<Item = &'v Value>,
) -> Vec<Cells<'v>> {
    let rows = values.len();
    let mut all: Vec<_> = kinds_of(column).into_iter().map(|kind| Cells::new(kind, rows)).collect();
    for value in values {
        match (all.as_mut_slice(), value) {
            ([Cells::Integers(amounts), Cells::Texts(currencies)], Value::Money(money)) => {
                amounts.push(Some(money.thousandths()));
                currencies.push(Some(Cow::Owned(money.currency().as_str().to_owned())));
            }
            (cells, value) => cells.iter_mut().for_each(|cells| cells.value(value)),
        }
    }
    all
}

/// The cells of documents of some rows.
pub(crate) fn documents<'v>(schema: &Schema, rows: impl Iterator<Item = &'v [Value]>) -> Cells<'v> {
    Cells::Documents(rows.map(|values| Some(Document(write_document(schema, values)))).collect())
}

/// The cells of tenants and keys in the order of the key's physical columns; money by currency, then amount.
pub(crate) fn key_cells<'v>(schema: &Schema, rows: &[&'v RowRef]) -> Vec<Cells<'v>> {
    let mut tenants = Cells::new(Kind::Text, rows.len());
    rows.iter().for_each(|row| tenants.text(row.tenant.as_str()));
    let mut all = vec![tenants];
    for (part, column) in schema.key.iter().enumerate() {
        let values = rows.iter().map(|row| row.key.get(part).unwrap_or(&Value::Null));
        let mut cells = column_cells(&schema.columns[*column], values);
        cells.reverse();
        all.append(&mut cells);
    }
    all
}

/// Whether a column can hold a value: no text of PostgreSQL's holds a NUL, so that no row is found by one.
pub(crate) fn is_storable(value: &Value) -> bool {
    !matches!(value, Value::Text(text) | Value::Json(text) if text.contains('\0'))
}

/// Numbers for many rows.
pub(crate) fn integers<'v>(numbers: impl Iterator<Item = i64>) -> Cells<'v> {
    Cells::Integers(numbers.map(Some).collect())
}

/// A row and its tenant, with guard and hash, of a result whose columns are: tenant, those of the
/// declaration, guard, hash.
pub(crate) fn stored_row(schema: &Schema, held: &Row) -> Result<StoredRow, Fault> {
    let tenant = Tenant::from_stored(held.try_get::<_, String>(0).or_fault()?);
    let (values, next) = values_of(schema, held, 1)?;
    let guard: i64 = held.try_get(next).or_fault()?;
    let hash: i64 = held.try_get(next + 1).or_fault()?;
    Ok(StoredRow {
        row: key_of(schema, tenant, &values),
        values: Some(values),
        guard: Position(guard.cast_unsigned()),
        hash: hash.cast_unsigned(),
    })
}

/// Reads the columns of a declaration from a column of a row on. Answers them and the column after them.
pub(crate) fn values_of(schema: &Schema, row: &Row, from: usize) -> Result<(Vec<Value>, usize), Fault> {
    let mut values = Vec::with_capacity(schema.columns.len());
    let mut next = from;
    for column in schema.columns {
        values.push(value_of(column.value_type, row, next)?);
        next += if column.value_type == ValueType::Money { 2 } else { 1 };
    }
    Ok((values, next))
}

/// The key's values from a column of a row on, in the order of the key's physical columns.
pub(crate) fn key_at(schema: &Schema, row: &Row, from: usize) -> Result<(Vec<Value>, usize), Fault> {
    let mut key = Vec::with_capacity(schema.key.len());
    let mut next = from;
    for column in schema.key {
        let value_type = schema.columns[*column].value_type;
        if value_type == ValueType::Money {
            key.push(money_of(row, next + 1, next)?);
            next += 2;
        } else {
            key.push(value_of(value_type, row, next)?);
            next += 1;
        }
    }
    Ok((key, next))
}

/// The key's values among those of a row.
pub(crate) fn key_of(schema: &Schema, tenant: Tenant, values: &[Value]) -> RowRef {
    let key = schema.key.iter().map(|column| values[*column].clone()).collect();
    RowRef { tenant, key }
}

fn value_of(value_type: ValueType, row: &Row, at: usize) -> Result<Value, Fault> {
    let read = match value_type {
        ValueType::Integer => row.try_get::<_, Option<i64>>(at).map(|held| held.map(Value::Integer)),
        ValueType::Bool => row.try_get::<_, Option<bool>>(at).map(|held| held.map(Value::Bool)),
        ValueType::Text => row.try_get::<_, Option<String>>(at).map(|held| held.map(Value::Text)),
        ValueType::Json => row.try_get::<_, Option<String>>(at).map(|held| held.map(Value::Json)),
        ValueType::Bytes => row.try_get::<_, Option<Vec<u8>>>(at).map(|held| held.map(Value::Bytes)),
        ValueType::Timestamp => {
            let read = row.try_get::<_, Option<Stamp>>(at);
            read.map(|held| held.map(|Stamp(time)| Value::Timestamp(time)))
        }
        ValueType::Money => return money_of(row, at, at + 1),
    };
    Ok(read.or_fault()?.unwrap_or(Value::Null))
}

fn money_of(row: &Row, amount: usize, currency: usize) -> Result<Value, Fault> {
    let amount: Option<i64> = row.try_get(amount).or_fault()?;
    let currency: Option<&str> = row.try_get(currency).or_fault()?;
    let (Some(amount), Some(currency)) = (amount, currency) else {
        return Ok(Value::Null);
    };
    let known: Result<Currency, ()> = currency.parse().map_err(|_| ());
    let money = known.ok().and_then(|currency| Money::from_thousandths(amount, currency).ok());
    money.map(Value::Money).ok_or_else(|| damaged("a row holds an amount of money that there cannot be"))
}

/// A time as a column holds it.
pub(crate) fn time_at(row: &Row, at: usize) -> Result<Timestamp, Fault> {
    row.try_get(at).or_fault().map(|Stamp(time)| time)
}

/// A position as a column holds it.
pub(crate) fn position_at(row: &Row, at: usize) -> Result<Position, Fault> {
    crate::fault::unsigned(row, at).map(Position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::sql::tests::ORDER;
    use diptych_core::Currency;

    #[test]
    fn money_takes_two_columns_and_no_value_takes_none_of_them() {
        let money = Value::Money(Money::from_thousandths(1_500, Currency::GBP).unwrap());
        let cells = column_cells(&ORDER.columns[2], [&money, &Value::Null].into_iter());
        let expected =
            [Cells::Integers(vec![Some(1_500), None]), Cells::Texts(vec![Some("GBP".into()), None])];
        assert_eq!(cells, expected);
    }

    #[test]
    fn a_key_goes_with_its_tenant() {
        let row = RowRef { tenant: Tenant::new("main").unwrap(), key: vec![Value::Text("o1".to_owned())] };
        let cells = key_cells(&ORDER, &[&row]);
        assert_eq!(cells, [Cells::Texts(vec![Some("main".into())]), Cells::Texts(vec![Some("o1".into())])]);
    }

    #[test]
    fn arrays_have_the_type_of_their_columns() {
        for (kind, array) in [
            (Kind::Integer, Type::INT8_ARRAY),
            (Kind::Rank, Type::INT4_ARRAY),
            (Kind::Bool, Type::BOOL_ARRAY),
            (Kind::Text, Type::TEXT_ARRAY),
            (Kind::Time, Type::TIMESTAMPTZ_ARRAY),
            (Kind::Bytes, Type::BYTEA_ARRAY),
            (Kind::Document, Type::JSONB_ARRAY),
        ] {
            let cells = Cells::new(kind, 0);
            assert_eq!(cells.typed().1, array);
            assert_eq!(format!("_{}", kind.wire().name()), array.name());
        }
    }
}
