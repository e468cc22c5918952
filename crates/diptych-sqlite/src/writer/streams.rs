//! Streams that the writer has met, with their versions: for these nothing is looked up. What was noted in a
//! transaction that failed must be forgotten, and everything when another process has appended.

use super::intern::Interned;
use super::statements::Statements;
use crate::fault::OrFault;

use diptych_core::{Fault, StreamRef, Version};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;
use std::sync::Arc;

/// A stream as the transaction sees it.
#[derive(Clone, Copy)]
pub(super) struct StreamRow {
    pub(super) tenant: i64,
    pub(super) category: i64,
    /// None when no command has named it yet.
    pub(super) id: Option<i64>,
    pub(super) version: Version,
}

/// The rows of streams; beyond the limit it starts over.
pub(crate) struct Streams {
    known: HashMap<Arc<StreamRef>, StreamRow, foldhash::fast::RandomState>,
    streams_max: usize,
}

impl Streams {
    pub(super) fn new(streams_max: usize) -> Self {
        Self { known: HashMap::default(), streams_max }
    }

    /// Forgets every stream.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    /// The row of a stream, from memory or from the log.
    pub(super) fn row<'a>(
        &mut self,
        connection: &'a Connection,
        statements: &mut Statements<'a>,
        names: &mut Interned,
        stream: &Arc<StreamRef>,
    ) -> Result<StreamRow, Fault> {
        if let Some(known) = self.known.get(&**stream) {
            return Ok(*known);
        }
        let tenant = names.tenant(connection, stream.tenant.as_str()).or_fault()?;
        let category = names.category(connection, stream.stream.category.as_str()).or_fault()?;
        let statement = statements.select_stream.get(connection).or_fault()?;
        let found = statement
            .query_row((tenant, category, stream.stream.key.as_str()), |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?))
            })
            .optional()
            .or_fault()?;
        let version = found.and_then(|(_, version)| version).unwrap_or(0);
        let id = found.map(|(id, _)| id);
        let row = StreamRow { tenant, category, id, version: Version(version.cast_unsigned()) };
        self.note(stream, row);
        Ok(row)
    }

    /// Remembers where a stream stands in this transaction.
    pub(super) fn note(&mut self, stream: &Arc<StreamRef>, row: StreamRow) {
        if let Some(known) = self.known.get_mut(&**stream) {
            *known = row;
            return;
        }
        // A stream that nobody has named yet may be named by a command that appends nothing, which another
        // process can give without moving the head.
        if row.id.is_none() {
            return;
        }
        if self.known.len() >= self.streams_max {
            self.known.clear();
        }
        self.known.insert(Arc::clone(stream), row);
    }
}
