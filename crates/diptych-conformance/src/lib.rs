//! Published suites that every store runs.
