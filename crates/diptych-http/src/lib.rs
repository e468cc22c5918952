//! The wire contract: the only place that knows status codes.
