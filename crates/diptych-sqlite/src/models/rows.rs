//! Values in and out of rows and parameters, column by column, without building any text.

use diptych_core::{Currency, Money, Position, Tenant, Timestamp, Value, ValueType};
use diptych_query::{ColumnSpec, RowRef, Schema, StoredRow, Written, write_document};
use rusqlite::types::{FromSqlError, ToSqlOutput, ValueRef};
use rusqlite::{Row, Statement};

/// Binds parameters one after the other.
pub(crate) struct Binder<'s, 'c> {
    statement: &'s mut Statement<'c>,
    next: usize,
}

impl<'s, 'c> Binder<'s, 'c> {
    pub(crate) fn new(statement: &'s mut Statement<'c>) -> Self {
        Self { statement, next: 1 }
    }

    pub(crate) fn integer(&mut self, number: i64) -> rusqlite::Result<()> {
        self.bind(ToSqlOutput::from(number))
    }

    pub(crate) fn text(&mut self, text: &str) -> rusqlite::Result<()> {
        self.bind(ToSqlOutput::from(text))
    }

    /// The parameters of what is written of a row.
    pub(crate) fn written(
        &mut self,
        schema: &Schema,
        written: Written,
        values: &[Value],
    ) -> rusqlite::Result<()> {
        match written {
            Written::Cell(column) => self.value(&schema.columns[column], &values[column]),
            Written::Document => self.bind(ToSqlOutput::from(write_document(schema, values))),
        }
    }

    /// The parameters of a column: two for money, amount first.
    pub(crate) fn value(&mut self, column: &ColumnSpec, value: &Value) -> rusqlite::Result<()> {
        match value {
            Value::Null if column.value_type == ValueType::Money => {
                self.bind(ToSqlOutput::Borrowed(ValueRef::Null))?;
                self.bind(ToSqlOutput::Borrowed(ValueRef::Null))
            }
            Value::Null => self.bind(ToSqlOutput::Borrowed(ValueRef::Null)),
            Value::Integer(number) => self.integer(*number),
            Value::Bool(flag) => self.integer(i64::from(*flag)),
            Value::Text(text) | Value::Json(text) => self.text(text),
            Value::Timestamp(time) => self.integer(time.as_micros()),
            Value::Bytes(bytes) => self.bind(ToSqlOutput::Borrowed(ValueRef::Blob(bytes))),
            Value::Money(money) => {
                self.integer(money.thousandths())?;
                self.text(money.currency().as_str())
            }
        }
    }

    /// Tenant and key, in the order of the key's columns; money by currency, then amount.
    pub(crate) fn row(&mut self, schema: &Schema, row: &RowRef) -> rusqlite::Result<()> {
        self.text(row.tenant.as_str())?;
        for (column, value) in schema.key.iter().zip(&row.key) {
            match value {
                Value::Money(money) => {
                    self.text(money.currency().as_str())?;
                    self.integer(money.thousandths())?;
                }
                value => self.value(&schema.columns[*column], value)?,
            }
        }
        Ok(())
    }

    fn bind(&mut self, value: ToSqlOutput<'_>) -> rusqlite::Result<()> {
        self.statement.raw_bind_parameter(self.next, value)?;
        self.next += 1;
        Ok(())
    }
}

/// Reads the columns of a declaration from a column of a row on. Answers them and the column after them.
pub(crate) fn values_of(
    schema: &Schema,
    row: &Row<'_>,
    from: usize,
) -> rusqlite::Result<(Vec<Value>, usize)> {
    let mut values = Vec::with_capacity(schema.columns.len());
    let mut next = from;
    for column in schema.columns {
        values.push(value_of(column, row, next)?);
        next += if column.value_type == ValueType::Money { 2 } else { 1 };
    }
    Ok((values, next))
}

/// A row as it is stored: its guard and its hash stand in the columns from `next` on.
pub(crate) fn stored_row(
    row: RowRef,
    values: Vec<Value>,
    held: &Row<'_>,
    next: usize,
) -> rusqlite::Result<StoredRow> {
    let guard = Position(held.get::<_, i64>(next)?.cast_unsigned());
    let hash = held.get::<_, i64>(next + 1)?.cast_unsigned();
    Ok(StoredRow { row, values: Some(values), guard, hash })
}

/// The key's values among those of a row.
pub(crate) fn key_of(schema: &Schema, tenant: Tenant, values: &[Value]) -> RowRef {
    let key = schema.key.iter().map(|column| values[*column].clone()).collect();
    RowRef { tenant, key }
}

fn value_of(column: &ColumnSpec, row: &Row<'_>, at: usize) -> rusqlite::Result<Value> {
    let held = row.get_ref(at)?;
    if held == ValueRef::Null {
        return Ok(Value::Null);
    }
    Ok(match column.value_type {
        ValueType::Integer => Value::Integer(held.as_i64()?),
        ValueType::Bool => Value::Bool(held.as_i64()? != 0),
        ValueType::Text => Value::Text(held.as_str()?.to_owned()),
        ValueType::Timestamp => Value::Timestamp(Timestamp::from_stored(held.as_i64()?)),
        ValueType::Bytes => Value::Bytes(held.as_blob()?.to_vec()),
        ValueType::Json => Value::Json(held.as_str()?.to_owned()),
        ValueType::Money => {
            let currency: Currency =
                row.get_ref(at + 1)?.as_str()?.parse().map_err(|()| FromSqlError::InvalidType)?;
            let money = Money::from_thousandths(held.as_i64()?, currency);
            Value::Money(money.map_err(|error| FromSqlError::Other(Box::new(error)))?)
        }
    })
}
