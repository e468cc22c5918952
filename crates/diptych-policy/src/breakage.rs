//! Mistakes that a translation of policies can make, made on purpose by the tests that must notice each.
//! Nothing but tests ever asks for one.

/// One mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Breakage {
    /// What always fails counts as false.
    FailureIsFalse,
    /// A column without a value counts as one with a value.
    HasAlways,
    /// The branches of a choice are exchanged.
    BranchesSwapped,
    /// The second operand is looked at first.
    OperandsSwapped,
    /// `<=` is taken for `<`.
    AtMostIsLess,
    /// The items of a set that decide nothing are not looked at.
    ItemsNotLookedAt,
    /// A literal star of a pattern is taken for any text.
    StarIsWild,
    /// `X && false` is false, and `X || true` is true, even where X fails.
    FailureSimplifiedAway,
    /// A column is taken to have a value wherever some guard stands in the same policy.
    GuardsReachTooFar,
    /// Policies that forbid are not asked.
    ForbidsLost,
    /// A policy that fails to forbid forbids.
    FailureForbids,
}
