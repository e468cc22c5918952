//! Exports: rows of one moment, page by page in the order of their keys. A server without transactions keeps
//! no moment for anybody: whoever reads one has what stood before the last batch beside each row, and fails
//! where a row has moved twice since.

use crate::CouchStore;
use crate::models::too_long;
use crate::read::{Moment, Moved, Settled, lowest, too_fast};
use crate::scan::Question;
use diptych_core::{Fault, Value};
use diptych_query::{
    Cursor, EXPORT_BATCH_ROWS, ExportSender, Exporting, Group, RawExport, RawFind, Schema, export_channel,
};
use std::time::{Duration, Instant};

/// An export has no limit to the documents that it looks at, but its time.
const DOCUMENTS_MAX: usize = usize::MAX;

impl CouchStore {
    /// Begins to send the rows of a moment. As many as are held are there before the first is sent.
    pub(crate) async fn begin_export(
        &self,
        group: &Group,
        schema: &'static Schema,
        export: &RawExport,
        at_most: Duration,
    ) -> Result<Exporting, Fault> {
        let deadline = Instant::now() + at_most;
        let find = export.question(self.limits.export_rows_held_max.max(1));
        let begun = self.settled(group, schema, &find, Moved::Again, DOCUMENTS_MAX).await?;
        let (sender, rows) = export_channel(deadline);
        let exporting = Exporting { checkpoint: lowest(&begun.parts), build: begun.build.id, rows };
        let store = self.held()?;
        let send = async move {
            match store.send(&sender, schema, find, begun).await {
                Ok(true) => sender.end(Ok(())).await,
                Ok(false) => {}
                Err(fault) => sender.end(Err(fault)).await,
            }
        };
        drop(tokio::spawn(send));
        Ok(exporting)
    }

    /// Sends rows and all that come after them in their moment. Answers whether anybody took them.
    async fn send(
        &self,
        sender: &ExportSender,
        schema: &'static Schema,
        mut find: RawFind,
        begun: Settled,
    ) -> Result<bool, Fault> {
        let Settled { build, parts, mut rows } = begun;
        let moment = Moment { build: &build, parts: &parts, moved: Moved::Again };
        let table = build.table(schema)?;
        loop {
            let is_page = rows.len() == find.rows_max;
            let last = rows.last().filter(|_| is_page).map(|row| place_of(schema, row));
            while !rows.is_empty() {
                let later = rows.split_off(rows.len().min(EXPORT_BATCH_ROWS));
                if !sender.rows(rows, Instant::now()).await? {
                    return Ok(false);
                }
                rows = later;
            }
            let Some(last) = last else { return Ok(true) };
            find.after = Some(last);
            let question = Question { moment: &moment, table, schema, find: &find };
            let next = tokio::time::timeout_at(sender.deadline().into(), self.of_moment(&question)).await;
            let next = next.map_err(|_| too_long("the export took longer than allowed and is not whole"))?;
            rows = next?.ok_or_else(|| too_fast(&build.label))?;
        }
    }

    /// The next rows of a moment; none where they have moved on. What the index has lost may be there by key.
    async fn of_moment(&self, question: &Question<'_>) -> Result<Option<Vec<Vec<Value>>>, Fault> {
        match self.answer(question, true, DOCUMENTS_MAX).await? {
            Some(rows) => Ok(Some(rows)),
            None => self.answer(question, false, DOCUMENTS_MAX).await,
        }
    }
}

fn place_of(schema: &Schema, row: &[Value]) -> Cursor {
    Cursor { sorted: None, key: schema.key.iter().map(|column| row[*column].clone()).collect() }
}
