//! Where rows live: tables from declarations, folds driven over them, reads from them. Appending is not here.

mod advance;
mod attach;
mod builds;
mod checkpoint;
mod find;
mod inline;
mod lease;
mod load;
mod pipeline;
mod question;
mod registry;
mod rows;
mod sql;
mod statements;
mod store;
mod table;
mod write;

pub(crate) use attach::fits;
pub(crate) use checkpoint::existing;
pub(crate) use inline::{InlineFailure, InlineGroup, inline_groups};
pub(crate) use sql::literal;
pub(crate) use store::Models;
