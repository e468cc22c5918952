//! Where rows live: tables from declarations, folds driven over them, reads from them. Appending is not here.

mod advance;
mod ahead;
mod builds;
mod bulk;
mod checkpoint;
mod document;
mod export;
mod file;
mod files;
mod fill;
mod find;
mod load;
mod mend;
mod money;
mod open;
mod parked;
mod records;
pub(crate) mod registry;
mod rows;
mod rules;
mod sql;
mod statements;
mod store;
mod table;
mod words;
mod write;

pub(crate) use advance::{advance, reset, set_stopped, sweep};
pub(crate) use checkpoint::{Place, existing, move_to};
pub(crate) use file::{Attached, open_tables};
pub(crate) use files::{beside, remove_file, remove_orphans};
pub(crate) use open::OpenBuilds;
pub(crate) use parked::hold_parked;
pub(crate) use sql::{literal, quoted};
pub(crate) use table::Table;
pub(crate) use write::Digests;
pub(crate) use {load::drive, write::write};
