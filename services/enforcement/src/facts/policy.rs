//! The policies that decisions are taken under: reference data in editions. Pure values: nothing here asks
//! anybody.

use diptych::prelude::*;

/// The version that is in force by what the code brings along, and that the made-up scenario names.
pub const CURRENT_POLICY: &str = "ENF-POLICY-2026.04";

/// What a policy asks of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Data)]
pub struct DecisionPolicy {
    /// How many words a reason has at least.
    pub reason_words_min: u32,
}

impl Reference for DecisionPolicy {
    const NAME: &'static str = "decision-policy";

    fn editions() -> Editions<Self> {
        let text = include_str!("../../decision-policies.json");
        Editions::from_json(text).expect("a test reads the editions that the code brings along")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_editions_that_the_code_brings_along_are_the_published_ones() {
        let policies = DecisionPolicy::editions();
        assert_eq!(policies.in_force().version(), CURRENT_POLICY);
        assert_eq!(policies.in_force().value(), &DecisionPolicy { reason_words_min: 2 });
        let superseded: Vec<_> = policies.superseded().iter().map(|edition| edition.version()).collect();
        assert_eq!(superseded, ["ENF-POLICY-2025.04", "ENF-POLICY-2025.10"]);
    }
}
