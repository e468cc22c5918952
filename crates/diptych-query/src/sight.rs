//! The seam for what somebody may see: which rows of a read model, which columns, and by what they may ask.
//! One question before every answer. No policy language, and no SQL.

use crate::{RowRule, Schema};
use diptych_core::{Forbidden, PolicyVersion, Principal, Unrestricted, Value};
use std::sync::Arc;

/// What rows are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Purpose {
    /// To be looked at, a page at a time.
    View,
    /// To be carried away.
    Export,
}

/// What a principal may see of a read model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sight {
    /// The rows that may be seen.
    pub rows: RowRule,
    /// Further rows that may be seen with nothing but their public columns.
    pub redacted: RowRule,
    /// Who may see a column of the rows, by its index in the declaration; a column beyond the last one is
    /// visible, and so is every column of the key.
    pub fields: Vec<FieldRule>,
    /// Which policies say so; none where none are configured.
    pub policy: Option<PolicyVersion>,
    /// Another number whenever something else may be seen.
    pub stamp: u64,
    /// Whether it depends on the time, so that it may be another one without any change.
    pub reads_time: bool,
}

/// Who may see a column.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum FieldRule {
    /// Whoever may see the row.
    #[default]
    Visible,
    /// Nobody.
    Withheld,
    /// Whoever may see the row, where the rule lets the row through.
    Where(RowRule),
}

/// Says what a principal may see. The answers come from the policies that the left panel asks, too.
pub trait ReadPolicy: Send + Sync + 'static {
    /// What may be seen of a read model, without looking at any row.
    ///
    /// # Errors
    /// [`Forbidden`] where the principal may see nothing of it, with a reason that may be shown.
    fn sight(
        &self,
        principal: &Principal,
        schema: &'static Schema,
        purpose: Purpose,
    ) -> Result<Arc<Sight>, Forbidden>;

    /// Whether a principal may filter or sort by a column: with a value where the filter is for one.
    ///
    /// # Errors
    /// [`Forbidden`] with a reason that may be shown. Whoever may not see a column learns nothing of it by
    /// asking either.
    fn may_ask_by(
        &self,
        principal: &Principal,
        schema: &'static Schema,
        column: usize,
        value: Option<&Value>,
    ) -> Result<(), Forbidden>;
}

impl ReadPolicy for Unrestricted {
    fn sight(&self, _: &Principal, _: &'static Schema, _: Purpose) -> Result<Arc<Sight>, Forbidden> {
        Ok(Arc::new(Sight::everything()))
    }

    fn may_ask_by(
        &self,
        _: &Principal,
        _: &'static Schema,
        _: usize,
        _: Option<&Value>,
    ) -> Result<(), Forbidden> {
        Ok(())
    }
}

impl Sight {
    /// Every row with every column.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            rows: RowRule::All,
            redacted: RowRule::Nothing,
            fields: Vec::new(),
            policy: None,
            stamp: 0,
            reads_time: false,
        }
    }

    /// The columns of a row that is shown and that are withheld, by their index in the declaration.
    #[must_use]
    pub fn withheld(&self, schema: &Schema, row: &[Value]) -> Vec<usize> {
        if self.fields.is_empty() && self.redacted == RowRule::Nothing {
            return Vec::new();
        }
        // Where nothing is redacted, a row is shown because the rule for rows admits it.
        let whole = self.redacted == RowRule::Nothing || self.rows.admits(schema, row);
        let hidden = |column: &usize| {
            if schema.key.contains(column) {
                return false;
            }
            if !whole && schema.is_guarded(*column) {
                return true;
            }
            match self.fields.get(*column) {
                None | Some(FieldRule::Visible) => false,
                Some(FieldRule::Withheld) => true,
                Some(FieldRule::Where(rule)) => !rule.admits(schema, row),
            }
        };
        (0..schema.columns.len()).filter(hidden).collect()
    }
}
