//! Why a fold stopped, and at which fact.

use crate::RowRef;
use diptych_core::{Code, DecodeError, Position, RawFact};
use std::fmt;

/// A fact that a group could not take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoldError {
    /// The fact.
    pub position: Position,
    /// Its type's name.
    pub event: String,
    /// Its stream, `order-42`.
    pub stream: String,
    /// What happened.
    pub kind: FoldErrorKind,
    /// The row that it happened to, where it was one: others take the fact.
    pub row: Option<Box<FailedRow>>,
}

/// A row that could not take a fact, or is not what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailedRow {
    /// The table, by its index in the group.
    pub table: usize,
    /// The table, by the name of its declaration.
    pub model: &'static str,
    /// The row.
    pub row: RowRef,
}

/// What happened at the fact.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FoldErrorKind {
    /// The code cannot read it.
    Undecodable(DecodeError),
    /// `route` or `project` panicked.
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// `project` answered with a row of another key than the routed one.
    KeyChanged {
        /// The key it was routed to.
        routed: String,
        /// The key of the answer.
        answered: String,
    },
    /// It touches more rows than a fact may.
    TooManyRows {
        /// How many.
        rows: usize,
    },
    /// It was routed by a column that no index begins with.
    ColumnNotIndexed {
        /// The column.
        column: &'static str,
    },
    /// It was routed by a column in a table that declares that it parks: which rows it touches would
    /// depend on those that are held back.
    ParksByColumn {
        /// The column.
        column: &'static str,
    },
    /// The projection keeps asking for other rows of its siblings.
    EndlessLookUps,
    /// A statement of a read model that SQL keeps failed.
    StatementFailed {
        /// The read model.
        model: &'static str,
        /// Which of its statements, the first being 1.
        number: usize,
        /// What the database said.
        text: String,
    },
    /// A stored row is not what was written: it was edited by hand.
    RowEdited {
        /// The row's key.
        key: String,
    },
    /// A row holds a text with NUL, which no store keeps.
    RowUnstorable {
        /// The row's key.
        key: String,
    },
    /// A money field would not hold validated money.
    MoneyRefused {
        /// The read model.
        model: &'static str,
        /// The field, such as `lines[].unitPrice`.
        field: String,
        /// What the validator or the database said.
        reason: String,
    },
    /// A stored row cannot be read as the model's type.
    RowUnreadable {
        /// The row's key.
        key: String,
        /// Why.
        error: DecodeError,
    },
}

impl FoldError {
    pub(crate) fn at(raw: &RawFact, kind: FoldErrorKind) -> Self {
        let event = raw.event.name.to_string();
        Self { position: raw.position, event, stream: raw.stream.to_string(), kind, row: None }
    }

    /// The same, with the row that it happened to.
    pub(crate) fn in_row(self, model: &'static str, row: RowRef) -> Self {
        Self { row: Some(Box::new(FailedRow { table: 0, model, row })), ..self }
    }

    /// The same, with the table of the group that it happened in.
    pub(crate) fn in_table(mut self, table: usize) -> Self {
        self.row.iter_mut().for_each(|failed| failed.table = table);
        self
    }

    /// The row that a fact failed for although it was read and routed: the row's key can be held back
    /// while the rest moves on. None where the fact itself is at fault, and where a stored row is not
    /// what was written.
    #[must_use]
    pub fn poisoned(&self) -> Option<&FailedRow> {
        match self.kind {
            FoldErrorKind::Panicked { .. }
            | FoldErrorKind::KeyChanged { .. }
            | FoldErrorKind::RowUnstorable { .. }
            | FoldErrorKind::MoneyRefused { .. } => self.row.as_deref(),
            _ => None,
        }
    }

    /// The stored row that is not what was written, if that is what happened.
    #[must_use]
    pub fn edited(&self) -> Option<&FailedRow> {
        match self.kind {
            FoldErrorKind::RowEdited { .. } | FoldErrorKind::RowUnreadable { .. } => self.row.as_deref(),
            _ => None,
        }
    }

    /// No single fact is to blame.
    #[must_use]
    pub fn of_no_fact(kind: FoldErrorKind) -> Self {
        let (event, stream) = (String::new(), String::new());
        Self { position: Position::START, event, stream, kind, row: None }
    }

    /// No single fact is to blame, but those after a position.
    pub(crate) fn endless(after: Position) -> Self {
        Self { position: after.next(), ..Self::of_no_fact(FoldErrorKind::EndlessLookUps) }
    }

    pub(crate) fn undecodable(raw: &RawFact, error: DecodeError) -> Self {
        Self::at(raw, FoldErrorKind::Undecodable(error))
    }

    /// The code with a page of its own.
    #[must_use]
    pub fn code(&self) -> Code {
        match &self.kind {
            FoldErrorKind::Undecodable(error) => error.code(),
            FoldErrorKind::TooManyRows { .. } | FoldErrorKind::EndlessLookUps => Code::ProjectionLimit,
            FoldErrorKind::RowEdited { .. } => Code::RowDiffers,
            FoldErrorKind::MoneyRefused { .. } => Code::MoneyRefused,
            _ => Code::FoldFailed,
        }
    }
}

impl fmt::Display for FoldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, event, stream, .. } = self;
        if !event.is_empty() {
            write!(out, "at position {position} (`{event}` of `{stream}`): ")?;
        }
        match &self.kind {
            FoldErrorKind::Undecodable(error) => write!(out, "{error}")?,
            FoldErrorKind::Panicked { message } => write!(out, "the projection panicked: {message}")?,
            FoldErrorKind::KeyChanged { routed, answered } => {
                write!(out, "`project` was given row {routed} and answered with row {answered}")?;
            }
            FoldErrorKind::TooManyRows { rows } => {
                write!(
                    out,
                    "the fact touches {rows} rows, at most {} are allowed",
                    super::ROWS_PER_FACT_MAX
                )?;
            }
            FoldErrorKind::ColumnNotIndexed { column } => {
                write!(
                    out,
                    "the fact is routed by column `{column}`, which no index begins with: mark the field \
                     `#[filter]`"
                )?;
            }
            FoldErrorKind::ParksByColumn { column } => {
                write!(
                    out,
                    "the fact is routed by column `{column}`, but the read model declares \
                     `on_failure = \"park\"`, which holds for routes by key only"
                )?;
            }
            FoldErrorKind::EndlessLookUps => {
                write!(
                    out,
                    "the projection asked for rows of its siblings {} times and still wants others",
                    super::LOOK_UP_ROUNDS_MAX
                )?;
            }
            FoldErrorKind::StatementFailed { model, number, text } => {
                write!(out, "statement {number} of read model `{model}` failed: {text}")?;
            }
            FoldErrorKind::RowEdited { key } => {
                write!(out, "row {key} is not what was written: it was edited outside the projection")?;
            }
            FoldErrorKind::RowUnstorable { key } => {
                write!(out, "row {key} holds a text with the character NUL, which no store keeps")?;
            }
            FoldErrorKind::MoneyRefused { model, field, reason } => {
                write!(out, "`{field}` of read model `{model}` is not money: {reason}")?;
            }
            FoldErrorKind::RowUnreadable { key, error } => write!(out, "row {key} cannot be read: {error}")?,
        }
        write!(out, " ({})", self.code())
    }
}

impl std::error::Error for FoldError {}
