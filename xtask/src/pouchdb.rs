//! The server of the CouchDB protocol that tests of documents start: pouchdb-server on node, in exactly the
//! versions of `xtask/pouchdb-server/package-lock.json`, installed once under `target/`. Starts none itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::postgres::{install, is_root, run};

/// What is installed, with the hash of every package.
const LOCKED: &str = "xtask/pouchdb-server";
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// Where it is installed.
const INSTALLED: &str = "target/pouchdb-server";

/// The program, as node finds it.
const PROGRAM: &str = "node_modules/.bin/pouchdb-server";

/// How to get node and npm.
const INSTALL: &str = "apt-get update && apt-get install -y --no-install-recommends nodejs npm";

/// What npm is told: the packages of the lock file and no others, and none of their scripts.
const NPM_CI: [&str; 4] = ["ci", "--no-fund", "--no-audit", "--ignore-scripts"];

/// The program of the server, installed where it is not yet.
pub(crate) fn program(root: &Path) -> Result<PathBuf, String> {
    for tool in ["node", "npm"] {
        if runs(tool) {
            continue;
        }
        if !is_root() {
            return Err(format!("`{tool}` is not installed: run `sudo sh -c '{INSTALL}'`"));
        }
        install(INSTALL)?;
    }
    // Tests run in directories of their own.
    let root =
        std::path::absolute(root).map_err(|error| format!("there is no working directory: {error}"))?;
    let (locked, installed) = (root.join(LOCKED), root.join(INSTALLED));
    let program = installed.join(PROGRAM);
    if program.is_file() && is_same(&locked, &installed) {
        return Ok(program);
    }
    std::fs::create_dir_all(&installed).map_err(|error| format!("cannot make `{INSTALLED}`: {error}"))?;
    println!("pouchdb-server: npm {} in {INSTALLED}", NPM_CI.join(" "));
    // The lock file comes last: it says that everything before it was done.
    let [manifest, lock] = FILES;
    copy(&locked, &installed, manifest)?;
    copy(&locked, &installed, lock)?;
    let done = run(Command::new("npm").args(NPM_CI).current_dir(&installed).stdin(Stdio::null()));
    if let Err(why) = done {
        let _ = std::fs::remove_file(installed.join(lock));
        return Err(why);
    }
    if program.is_file() { Ok(program) } else { Err(format!("npm brought no `{PROGRAM}`")) }
}

fn runs(tool: &str) -> bool {
    let version = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Whether what is installed is what is locked.
fn is_same(locked: &Path, installed: &Path) -> bool {
    let read = |directory: &Path| std::fs::read(directory.join(FILES[1])).ok();
    read(locked).is_some() && read(locked) == read(installed)
}

fn copy(from: &Path, to: &Path, name: &str) -> Result<(), String> {
    let copied = std::fs::copy(from.join(name), to.join(name));
    copied.map(drop).map_err(|error| format!("cannot copy `{LOCKED}/{name}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn every_package_is_locked_with_its_hash() {
        let lock = std::fs::read_to_string(root().join(LOCKED).join(FILES[1])).expect("a lock file");
        let lock: serde_json::Value = serde_json::from_str(&lock).expect("JSON");
        let packages = lock["packages"].as_object().expect("packages");
        let loose: Vec<_> = packages
            .iter()
            .filter(|(name, package)| !name.is_empty() && !package["integrity"].is_string())
            .map(|(name, _)| name)
            .collect();
        assert!(loose.is_empty() && packages.len() > 1, "{loose:?}");
    }

    #[test]
    fn another_lock_file_is_another_installation() {
        let locked = root().join(LOCKED);
        assert!(is_same(&locked, &locked));
        assert!(!is_same(&locked, &root()));
        assert!(!is_same(&root(), &root()), "where nothing is locked");
    }
}
