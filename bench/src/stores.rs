//! Where the measured stores are, and how the product is opened on them: with its defaults, and FULL
//! durability.

use crate::Outcome;
use crate::database::Database;
use crate::domain;
use diptych::{Config, Role, Roles, Running};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// An empty directory for one measure, removed when dropped.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new(directory: &Path, name: &str) -> Outcome<Self> {
        let path = directory.join(format!("{name}-{}", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the product keeps its store.
    pub(crate) fn product(&self) -> PathBuf {
        self.0.join("product")
    }

    /// Where the product keeps its log.
    pub(crate) fn log(&self) -> PathBuf {
        self.product().join("log.db")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed only takes room.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Opens the product; `follow` says whether its read model moves by itself.
pub(crate) async fn open(place: &Place, follow: bool) -> Outcome<Running> {
    Ok(domain::service().open(Config { roles: roles(follow), ..Config::at(place.product()) }).await?)
}

/// The same with snapshots, without following.
pub(crate) async fn open_with_snapshots(place: &Place) -> Outcome<Running> {
    let config = Config { roles: roles(false), ..Config::at(place.product()) };
    Ok(domain::service_with_snapshots().open(config).await?)
}

/// Opens the product on PostgreSQL, with its defaults.
pub(crate) async fn open_on(database: &Database, follow: bool) -> Outcome<Running> {
    let store = diptych::Database::at(database.url());
    Ok(domain::service().open(Config { roles: roles(follow), ..Config::at(store) }).await?)
}

fn roles(follow: bool) -> Roles {
    if follow { Roles::ALL } else { Roles::ALL.without(Role::Projector) }
}

/// Waits until everything in a directory is on the disk.
pub(crate) fn sync(directory: &Path) -> Outcome<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    Ok(())
}
