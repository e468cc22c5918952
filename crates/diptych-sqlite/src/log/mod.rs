//! The log as bytes on disk: its schema, its names, and how readers see it. Appending is the writer's.

mod gathered;
mod names;
mod read;
pub(crate) mod schema;
mod tagged;

pub(crate) use gathered::{Gathered, Spares};
pub(crate) use names::Names;
pub(crate) use read::{head, load, mark_at, mark_of, position_of_head, range, read, read_raw, statistics};
pub(crate) use tagged::{any_after, load_query};
