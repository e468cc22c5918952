//! PostgreSQL's binary COPY format, read and written by hand: each row is a count of fields, each field a
//! length and its bytes.
//!
//! Format: <https://www.postgresql.org/docs/15/sql-copy.html>, binary format.

use crate::Outcome;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use std::pin::pin;
use tokio_postgres::Client;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// The signature, then flags and the length of an extension, both 0.
const HEADER_BYTES: usize = SIGNATURE.len() + 8;
/// How much is gathered before it is sent.
const CHUNK_BYTES: usize = 256 * 1024;

/// Takes the fields of one row, in their order.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The next field's bytes; none where it is NULL.
    pub(crate) fn next(&mut self) -> Outcome<Option<&'a [u8]>> {
        let Some((length, rest)) = self.rest.split_first_chunk::<4>() else {
            return Err("a row has too few fields".into());
        };
        let length = i32::from_be_bytes(*length);
        self.rest = rest;
        let Ok(length) = usize::try_from(length) else {
            return Ok(None);
        };
        let (field, rest) = rest.split_at_checked(length).ok_or("a field is cut off")?;
        self.rest = rest;
        Ok(Some(field))
    }

    pub(crate) fn bytes(&mut self) -> Outcome<&'a [u8]> {
        self.next()?.ok_or_else(|| "a field is NULL that must not be".into())
    }

    pub(crate) fn text(&mut self) -> Outcome<&'a str> {
        Ok(std::str::from_utf8(self.bytes()?)?)
    }

    pub(crate) fn long(&mut self) -> Outcome<i64> {
        Ok(i64::from_be_bytes(self.bytes()?.try_into()?))
    }

    pub(crate) fn int(&mut self) -> Outcome<i32> {
        Ok(i32::from_be_bytes(self.bytes()?.try_into()?))
    }
}

/// The fields of a message's row; none after the last row. The server sends each row as a message of its own,
/// the first one behind the header.
fn row(message: &Bytes, is_first: bool) -> Outcome<Option<Fields<'_>>> {
    let message = if is_first { message.get(HEADER_BYTES..).ok_or("no header")? } else { &message[..] };
    let (count, rest) = message.split_first_chunk::<2>().ok_or("no count of fields")?;
    Ok((i16::from_be_bytes(*count) >= 0).then_some(Fields { rest }))
}

/// Reads what a statement copies out, row by row. Answers how many rows there were.
pub(crate) async fn read(
    client: &Client,
    copy: &str,
    mut each: impl FnMut(&mut Fields<'_>) -> Outcome<()>,
) -> Outcome<usize> {
    let mut messages = pin!(client.copy_out(copy).await?);
    let mut rows = 0;
    let mut is_first = true;
    while let Some(message) = messages.next().await {
        let message = message?;
        if is_first && message.len() == HEADER_BYTES {
            is_first = false;
            continue;
        }
        let Some(mut fields) = row(&message, is_first)? else { continue };
        each(&mut fields)?;
        is_first = false;
        rows += 1;
    }
    Ok(rows)
}

/// Rows on their way into a table.
pub(crate) struct Rows {
    buffer: BytesMut,
    fields: i16,
}

impl Rows {
    fn new(fields: i16) -> Self {
        let mut buffer = BytesMut::with_capacity(2 * CHUNK_BYTES);
        buffer.put_slice(SIGNATURE);
        buffer.put_u64(0);
        Self { buffer, fields }
    }

    pub(crate) fn begin(&mut self) {
        self.buffer.put_i16(self.fields);
    }

    pub(crate) fn long(&mut self, number: i64) {
        self.buffer.put_i32(8);
        self.buffer.put_i64(number);
    }

    pub(crate) fn int(&mut self, number: i32) {
        self.buffer.put_i32(4);
        self.buffer.put_i32(number);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.buffer.put_i32(i32::try_from(bytes.len())?);
        self.buffer.put_slice(bytes);
        Ok(())
    }
}

/// Copies rows into a table: `next` writes one of them, or says that there is none left.
pub(crate) async fn write(
    client: &Client,
    copy: &str,
    fields: i16,
    mut next: impl FnMut(&mut Rows) -> Outcome<bool>,
) -> Outcome<u64> {
    let mut sink = pin!(client.copy_in::<_, Bytes>(copy).await?);
    let mut rows = Rows::new(fields);
    while next(&mut rows)? {
        if rows.buffer.len() >= CHUNK_BYTES {
            sink.send(rows.buffer.split().freeze()).await?;
        }
    }
    rows.buffer.put_i16(-1);
    sink.send(rows.buffer.split().freeze()).await?;
    Ok(sink.as_mut().finish().await?)
}
