//! Exports: the rows that a principal may carry away, all of one moment, as they come, with a checksum at the
//! end. Says nothing of how they are written down.

use super::seeing::shown;
use super::{Ask, Queries, RawRow};
use crate::{
    Answer, AnyModel, BuildId, ExportRows, Exporting, Purpose, QueryError, RawExport, Schema, Sight,
};
use diptych_core::{Code, Fault, PolicyVersion, Principal, Timestamp, Value};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// The rows of an export as they come, in the order of their keys. To drop it ends the export.
pub struct RowStream {
    /// The declaration that names the columns.
    pub schema: &'static Schema,
    /// The build that the rows come from.
    pub build: BuildId,
    /// Which policies say what may be seen; none where none are configured.
    pub policy: Option<PolicyVersion>,
    /// When it began: the time that computed columns are of.
    pub begun_at: Timestamp,
    model: Arc<dyn AnyModel>,
    sight: Arc<Sight>,
    rows: ExportRows,
    counted: u64,
    hasher: blake3::Hasher,
    ended: Option<ExportTotals>,
    _permit: OwnedSemaphorePermit,
}

/// What an export came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportTotals {
    /// How many rows.
    pub rows: u64,
    /// BLAKE3, in hexadecimal, over the stored columns of all rows as they were shown, in the order of their
    /// keys: the same rows make the same sum, whenever they are exported. Computed columns are not in it.
    pub checksum: String,
}

impl Queries {
    /// Begins to export the rows that fit and that the principal may carry away. They are all of one moment,
    /// that of the answer's freshness, however long it takes. An export knows no order, page or size.
    ///
    /// # Errors
    /// See [`QueryError`]; as many exports as [`super::QueryLimits::exports_max`] are under way.
    pub async fn export(
        &self,
        principal: &Principal,
        model: &str,
        ask: &Ask,
    ) -> Result<Answer<RowStream>, QueryError> {
        let served = self.served(principal, model)?;
        let schema = served.model.schema();
        self.bound_values(ask)?;
        if ask.sort.is_some() || ask.page_size.is_some() || ask.page_token.is_some() {
            return Err(QueryError::parameter("sort", "an export has no order, size or page"));
        }
        let sight = self.sight(principal, served, Purpose::Export)?;
        let asked = self.asked_by(principal, schema, &sight, ask)?;
        let rule = sight.rule_by(schema, &asked);
        let permit = Arc::clone(&self.exports).try_acquire_owned().map_err(|_| {
            let most = self.limits.exports_max;
            Fault::transient(Code::Overloaded, format!("{most} exports are under way, which is the limit"))
        })?;
        let reading = served.reading(None);
        let target = self.prepare(served, &reading, ask).await?;
        let export = RawExport {
            tenant: schema.tenants.owner(&principal.tenant).clone(),
            conditions: ask.conditions.clone(),
            rule,
            words: ask.words.clone(),
        };
        let begun_at = self.clock.now();
        let exporting = self.store.export(&reading.group, schema, &export, self.limits.export_max).await?;
        let Exporting { checkpoint, build, rows } = exporting;
        let (freshness, health) = self.judged(served, &reading, &checkpoint, (target, ask)).await?;
        let value = RowStream {
            schema,
            build,
            policy: sight.policy.clone(),
            begun_at,
            model: Arc::clone(&served.model),
            sight,
            rows,
            counted: 0,
            hasher: blake3::Hasher::new(),
            ended: None,
            _permit: permit,
        };
        Ok(Answer { value, freshness, health })
    }
}

impl RowStream {
    /// The next rows, as they may be seen; none after the last.
    ///
    /// # Errors
    /// It took longer than allowed, or the store failed: what came before is not all there is.
    pub async fn next(&mut self) -> Result<Option<Vec<RawRow>>, QueryError> {
        if self.ended.is_some() {
            return Ok(None);
        }
        let Some(rows) = self.rows.next().await? else {
            let checksum = self.hasher.finalize().to_hex().to_string();
            self.ended = Some(ExportTotals { rows: self.counted, checksum });
            return Ok(None);
        };
        let stored = self.schema.columns.len();
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let row = shown(&*self.model, &self.sight, row, self.begun_at)?;
            self.counted += 1;
            add(&mut self.hasher, &row.values[..stored.min(row.values.len())]);
            all.push(row);
        }
        Ok(Some(all))
    }

    /// What it came to; none before its end.
    #[must_use]
    pub fn totals(&self) -> Option<&ExportTotals> {
        self.ended.as_ref()
    }
}

fn add(hasher: &mut blake3::Hasher, values: &[Value]) {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| value.write_canonical(&mut bytes));
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(&bytes);
}
