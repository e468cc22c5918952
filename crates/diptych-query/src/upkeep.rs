//! What a read model declares about its own upkeep: what happens at a fact it cannot take, when a row is not
//! what it should be, when it is built anew.

/// How a read model is kept right. Everything has a default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upkeep {
    /// What happens at a fact that a row cannot take.
    pub on_failure: OnFailure,
    /// What happens to questions while keys are parked or rows are known to be wrong.
    pub degraded: Degraded,
    /// How rows are checked against the log.
    pub patrol: Patrol,
    /// Whether a person may correct a row by a command, and what a rebuild makes of it.
    pub corrections: Corrections,
    /// In what this revision means to differ from the one before; everything else blocks a switch to it.
    pub intended: Intended,
}

impl Upkeep {
    /// What holds where nothing is declared.
    pub const DEFAULT: Self = Self {
        on_failure: OnFailure::Stop,
        degraded: Degraded::Flag,
        patrol: Patrol::ByScan,
        corrections: Corrections::Refused,
        intended: Intended::NOTHING,
    };
}

/// What happens at a fact that was read and routed, and that a row cannot take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnFailure {
    /// The model stops there.
    Stop,
    /// The row's key is parked with everything that comes after for it; all other rows move on.
    Park,
}

/// What happens to questions while a model is degraded: keys are parked, or rows are known to be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Degraded {
    /// They are answered, and the answer says so.
    Flag,
    /// They are refused.
    Refuse,
}

/// How rows are checked against the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patrol {
    /// By passing over the log for some keys at a time.
    ByScan,
    /// Key by key: everything in a row comes from the stream whose key is the row's.
    ByStream,
}

/// Whether a person may correct a row by a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Corrections {
    /// Nobody may.
    Refused,
    /// A correction is part of the row's history for good, in every build.
    Kept,
    /// A correction holds until the model is built anew: later builds leave it out.
    UntilRebuild,
}

/// In what a revision means to differ from the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Intended {
    /// Columns whose values may differ, by their names in SQL.
    pub columns: &'static [&'static str],
    /// Whether there may be rows that were not there.
    pub rows_added: bool,
    /// Whether rows may be missing.
    pub rows_removed: bool,
}

impl Intended {
    /// Nothing may differ.
    pub const NOTHING: Self = Self { columns: &[], rows_added: false, rows_removed: false };
}
