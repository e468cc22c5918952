//! The cases, one module for each part of the promise.

pub(crate) mod append;
pub(crate) mod audit;
pub(crate) mod boundaries;
pub(crate) mod builds;
pub(crate) mod checkpoint;
pub(crate) mod columns;
pub(crate) mod cuts;
pub(crate) mod groups;
pub(crate) mod guard;
pub(crate) mod identity;
pub(crate) mod inline;
pub(crate) mod intake;
pub(crate) mod leases;
pub(crate) mod ledger;
pub(crate) mod log;
pub(crate) mod pages;
pub(crate) mod parked;
pub(crate) mod partitions;
pub(crate) mod questions;
pub(crate) mod queue;
pub(crate) mod records;
pub(crate) mod restore;
pub(crate) mod states;
pub(crate) mod together;
pub(crate) mod upkeep;
pub(crate) mod values;
