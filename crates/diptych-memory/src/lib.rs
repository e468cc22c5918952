//! Reference stores in memory: the oracle of the conformance suite.
