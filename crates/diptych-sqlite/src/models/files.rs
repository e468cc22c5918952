//! The files under `models`: removing those of builds that are gone.

use super::registry;
use crate::fault::OrFault;
use diptych_core::Fault;
use diptych_query::BuildId;
use rusqlite::Connection;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What SQLite puts beside a file.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// The path of what SQLite puts beside a file.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Removes a read model's file with what SQLite put beside it; one that is gone is left so.
pub(crate) fn remove_file(path: &Path) -> Result<(), Fault> {
    remove(path)?;
    BESIDE.iter().try_for_each(|suffix| remove(&beside(path, suffix)))
}

/// Removes the files of builds that are retired or unknown: a crash came between the registry and the file.
/// Only while nobody else opens the store.
pub(crate) fn remove_orphans(connection: &Connection, models: &Path) -> Result<(), Fault> {
    for entry in std::fs::read_dir(models).or_fault()? {
        let path = entry.or_fault()?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some((group, build)) = build_of(&name) else { continue };
        let stage = registry::stage_of(connection, group, build)?;
        if stage.is_none_or(|stage| !stage.follows()) {
            tracing::info!(file = name, "removed the file of a build that is gone");
            remove(&path)?;
        }
    }
    Ok(())
}

/// The group and the build of a file, by its name or that of what is beside it.
fn build_of(name: &str) -> Option<(&str, BuildId)> {
    let base = BESIDE.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let (rest, generation) = base.strip_suffix(".db")?.rsplit_once("-g")?;
    let (group, revision) = rest.rsplit_once("-r")?;
    Some((group, BuildId { revision: revision.parse().ok()?, generation: generation.parse().ok()? }))
}

fn remove(path: &Path) -> Result<(), Fault> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).or_fault(),
        _ => Ok(()),
    }
}
