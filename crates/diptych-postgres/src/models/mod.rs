//! Where rows live: tables from declarations, folds driven over them, reads from them. Appending is not here.

mod advance;
mod attach;
mod builds;
mod checkpoint;
mod document;
mod export;
mod find;
mod inline;
mod lease;
mod load;
mod mend;
mod money;
mod opened;
mod parked;
mod pipeline;
mod question;
mod records;
mod registry;
mod rows;
mod rules;
mod sql;
mod statements;
mod store;
mod table;
mod transit;
mod words;
mod write;

pub(crate) use attach::fits;
pub(crate) use checkpoint::existing;
pub(crate) use inline::{InlineFailure, InlineGroup, inline_groups};
pub(crate) use opened::Models;
pub(crate) use sql::literal;
