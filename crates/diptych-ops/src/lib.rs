//! Operator actions as values and their command line.
