//! One batch on its way: the rows as they stood where the partition stands, those that are written, and the
//! partition's document in which the batch comes to count.
//!
//! Order of writing: first the partition's document takes a number for the batch, then come the rows, each
//! with what stood there before, then the partition's document again. Who finds that anybody else has written
//! in between gives up, and what it wrote counts for nothing.

use crate::CouchStore;
use crate::document::{Document, Told, Version};
use crate::order::id_of;
use crate::part::Part;
use crate::route::Holders;
use crate::store::{Build, Saved};
use diptych_core::{Code, Fault, Position, Value, ValueType};
use diptych_query::fold::ROWS_PER_FACT_MAX;
use diptych_query::{AdvanceError, Lease, Matching, Partition, RowRef, Schema, StoredRow, TableChanges};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::Arc;

/// A batch on its way.
pub(crate) struct Batch<'a> {
    store: &'a CouchStore,
    pub(crate) build: Arc<Build>,
    partition: Partition,
    lease: Option<Lease>,
    /// Where the partition stood when the batch began.
    from: Position,
    pub(crate) part: Part,
    /// What was kept of the partition when the batch began.
    stood: Part,
    /// The documents that were read, by their names; none where there is none.
    read: HashMap<String, Option<Document>>,
}

impl<'a> Batch<'a> {
    /// Begins where a partition stands, under a lease that no other has followed.
    pub(crate) fn begin(
        store: &'a CouchStore,
        build: Arc<Build>,
        part: Part,
        partition: Partition,
        lease: Option<Lease>,
    ) -> Result<Self, AdvanceError> {
        if lease.is_some_and(|lease| lease.fence != part.fence(build.id)) {
            return Err(AdvanceError::Fenced);
        }
        if part.stands_still(store.clock.now()) {
            let message = format!("another build takes over from `{}` at this moment", build.label);
            return Err(Fault::transient(Code::DocumentsUnavailable, message).into());
        }
        if part.gaps() > store.limits.dead_batches_max {
            let message = format!("too many batches of `{}` died half written: build it anew", build.label);
            return Err(Fault::permanent(Code::Storage, message).into());
        }
        let (from, stood) = (part.position(), part.clone());
        Ok(Self { store, build, partition, lease, from, part, stood, read: HashMap::new() })
    }

    /// Rows and tombstones by their keys, as they stand.
    pub(crate) async fn load(
        &mut self,
        table: usize,
        rows: &[RowRef],
    ) -> Result<Vec<StoredRow>, AdvanceError> {
        let ids: Vec<_> = rows.iter().map(|row| id_of(table, row)).collect();
        let unknown = ids.iter().filter(|id| !self.read.contains_key(*id));
        let unknown: Vec<_> = unknown.cloned().collect();
        if !unknown.is_empty() {
            let found = self.store.documents(&self.build.database, &unknown).await?;
            let Some(found) = found else { return Err(self.gone()) };
            for (id, json) in unknown.into_iter().zip(found) {
                self.note(table, id, &json)?;
            }
        }
        let mut stored = Vec::with_capacity(ids.len());
        for id in &ids {
            let document = self.read.get(id).and_then(Option::as_ref);
            stored.extend(document.map(|document| self.stands(document)).transpose()?.flatten());
        }
        Ok(stored)
    }

    /// The partition's rows that hold a value in a column, as they stand: one more than a fact may touch are
    /// enough.
    pub(crate) async fn matching(
        &mut self,
        table: usize,
        wanted: &Matching,
    ) -> Result<Vec<StoredRow>, AdvanceError> {
        let (build, mut stored) = (Arc::clone(&self.build), Vec::new());
        let mut holders = Holders::of(self.store, &build, table, wanted);
        while let Some(found) = holders.next().await? {
            for json in found {
                stored.extend(self.holder(table, wanted, &json)?);
                if stored.len() > ROWS_PER_FACT_MAX {
                    return Ok(stored);
                }
            }
        }
        Ok(stored)
    }

    /// The row of a document, if it is the partition's and holds a value in a column.
    fn holder(
        &mut self,
        table: usize,
        wanted: &Matching,
        json: &Json,
    ) -> Result<Option<StoredRow>, AdvanceError> {
        let id = json["_id"].as_str().unwrap_or_default().to_owned();
        if !self.read.contains_key(&id) {
            self.note(table, id.clone(), json)?;
        }
        let document = self.read.get(&id).and_then(Option::as_ref);
        let Some(document) = document.filter(|held| held.part == self.partition.index()) else {
            return Ok(None);
        };
        let fits = |held: &StoredRow| {
            let values = held.values.as_ref().filter(|_| held.row.tenant == wanted.tenant);
            values.is_some_and(|values| values[wanted.column] == wanted.value)
        };
        Ok(self.stands(document)?.filter(fits))
    }

    fn note(&mut self, table: usize, id: String, json: &Json) -> Result<(), Fault> {
        let read = |json| Document::read(table, self.build.tables[table], json);
        let document = if json.is_null() { None } else { Some(read(json)?) };
        self.read.insert(id, document);
        Ok(())
    }

    /// What stands in a document where the partition stands.
    fn stands(&self, document: &Document) -> Result<Option<StoredRow>, AdvanceError> {
        match document.at(&self.part) {
            Told::Version(version) => Ok(Some(document.stored(version))),
            Told::Nothing => Ok(None),
            Told::Passed => Err(self.moved(self.part.position())),
        }
    }

    /// Writes rows that end at a position. Answers how many.
    pub(crate) async fn write(
        &mut self,
        changes: &[TableChanges],
        position: Position,
    ) -> Result<usize, AdvanceError> {
        for (table, changes) in changes.iter().enumerate() {
            self.part.add(table, &changes.digest);
        }
        let rows: usize = changes.iter().map(|changes| changes.rows.len()).sum();
        if rows == 0 {
            return Ok(0);
        }
        for (table, changes) in changes.iter().enumerate() {
            let unread = changes.rows.iter().map(|change| change.stored.row.clone()).collect::<Vec<_>>();
            self.load(table, &unread).await?;
        }
        let batch = self.take_number().await?;
        for (table, changes) in changes.iter().enumerate() {
            let schema = self.build.tables[table];
            for some in changes.rows.chunks(self.store.limits.request_documents_max.max(1)) {
                let mut documents = Vec::with_capacity(some.len());
                for change in some {
                    check_money(schema, &change.stored)?;
                    documents.push(self.document(table, &change.stored, batch, position)?);
                }
                let answers = self.store.put_all(&self.build.database, &documents).await?;
                self.judge(schema, &answers).await?;
            }
        }
        self.part.count(batch);
        Ok(rows)
    }

    /// Takes a number for the batch: otherwise the partition's document is written as it stood, so that
    /// nobody sees yet what is to be written at the end.
    async fn take_number(&mut self) -> Result<u64, AdvanceError> {
        let mut stands = self.stood.clone();
        let batch = stands.begin();
        if self.store.save(&self.build.database, &mut stands).await? == Saved::Conflict {
            return Err(self.lost().await);
        }
        (self.part.rev, self.part.tried) = (stands.rev, stands.tried);
        Ok(batch)
    }

    fn document(
        &self,
        table: usize,
        stored: &StoredRow,
        batch: u64,
        position: Position,
    ) -> Result<Json, AdvanceError> {
        let id = id_of(table, &stored.row);
        let held = self.read.get(&id).and_then(Option::as_ref);
        let before = match held.map(|held| held.at(&self.part)) {
            None | Some(Told::Nothing) => None,
            Some(Told::Version(version)) => Some(version.clone()),
            Some(Told::Passed) => return Err(self.moved(self.part.position())),
        };
        let StoredRow { row, values, guard, hash } = stored.clone();
        let now = Version { values, guard: guard.0, hash, position: position.0, batch };
        let (rev, floor) = (held.and_then(|held| held.rev.clone()), self.part.floor);
        let document = Document { id, rev, row, part: self.partition.index(), floor, now, before };
        let (schema, indexed) = (self.build.tables[table], &self.build.indexed[table]);
        Ok(document.to_json(schema, indexed, &self.build.id.to_string()))
    }

    async fn judge(&self, schema: &Schema, answers: &[Json]) -> Result<(), AdvanceError> {
        for answer in answers {
            match answer["error"].as_str() {
                None => {}
                Some("conflict") => return Err(self.lost().await),
                Some("forbidden") => {
                    let reason = answer["reason"].as_str().unwrap_or("a field is not money");
                    let message = format!("the server refuses a row of `{}`: {reason}", schema.name);
                    return Err(Fault::permanent(Code::MoneyRefused, message).into());
                }
                Some(error) => {
                    let reason = answer["reason"].as_str().unwrap_or("-");
                    let message = format!("a row of `{}` was not written: {error}, {reason}", schema.name);
                    return Err(Fault::transient(Code::DocumentsUnavailable, message).into());
                }
            }
        }
        Ok(())
    }

    /// Has everything count.
    pub(crate) async fn commit(mut self) -> Result<Part, AdvanceError> {
        match self.store.save(&self.build.database, &mut self.part).await? {
            Saved::Yes => Ok(self.part),
            Saved::Conflict => Err(self.lost().await),
        }
    }

    /// Why a batch came to nothing: somebody else has written.
    async fn lost(&self) -> AdvanceError {
        let parts = match self.store.parts(&self.build).await {
            Ok(Some(parts)) => parts,
            Ok(None) => return self.gone(),
            Err(fault) => return fault.into(),
        };
        let Some(part) = parts.get(usize::from(self.partition.index())) else { return self.gone() };
        if self.lease.is_some_and(|lease| lease.fence != part.fence(self.build.id)) {
            return AdvanceError::Fenced;
        }
        self.moved(part.position())
    }

    fn moved(&self, checkpoint: Position) -> AdvanceError {
        debug_assert!(checkpoint >= self.from || checkpoint == Position::START, "a checkpoint went back");
        AdvanceError::Moved { checkpoint }
    }

    fn gone(&self) -> AdvanceError {
        self.store.forget(&self.build.database);
        let message = format!("the database of `{}` is gone", self.build.label);
        Fault::transient(Code::DocumentsUnavailable, message).into()
    }
}

/// Refuses what is no money in a money field: the fold hands over nothing else, so whoever does is broken.
fn check_money(schema: &Schema, stored: &StoredRow) -> Result<(), Fault> {
    for (column, value) in schema.columns.iter().zip(stored.values.iter().flatten()) {
        let money = matches!(value, Value::Money(_)) || (*value == Value::Null && column.nullable);
        if column.value_type == ValueType::Money && !money {
            let message = format!("`{}` is not money", column.public);
            return Err(Fault::permanent(Code::MoneyRefused, message));
        }
    }
    Ok(())
}
