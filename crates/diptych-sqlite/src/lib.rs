//! The embedded store: log, ledger and read models on SQLite.
