//! What the checks look at: the text files of the checkout and the declared dependencies. Judges nothing.

use std::path::Path;
use std::process::{Command, Stdio};

use cargo_metadata::{DependencyKind, MetadataCommand};

use super::TextFile;
use crate::process::cargo;

/// Folders that are never part of the repository, for checkouts that git cannot list.
const FOLDERS_SKIPPED: &[&str] = &[".git", "target", "var"];

/// One package of the workspace, with its manifest relative to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest: String,
}

/// What links what: a build dependency counts as a normal one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Dev,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal edge to",
            Self::Dev => "dev edge to",
        }
    }
}

/// A declared dependency between two packages of the workspace, optional ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) kind: Kind,
}

/// The packages and the edges between them.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    pub(super) packages: Vec<Package>,
    pub(super) edges: Vec<Edge>,
}

impl Workspace {
    /// Asks cargo for what the manifests declare; needs no network and no lock file.
    pub(super) fn load(root: &Path) -> Result<Self, String> {
        let mut command = MetadataCommand::new();
        command.manifest_path(root.join("Cargo.toml")).no_deps();
        let metadata = command.exec().map_err(|error| format!("cannot read the workspace: {error}"))?;
        let mut workspace = Self::default();
        for package in metadata.workspace_packages() {
            let manifest = package.manifest_path.strip_prefix(&metadata.workspace_root);
            let manifest = manifest.unwrap_or(&package.manifest_path).to_string();
            workspace.packages.push(Package { name: package.name.to_string(), manifest });
        }
        for package in metadata.workspace_packages() {
            for dependency in &package.dependencies {
                if workspace.package(&dependency.name).is_some() {
                    let kind =
                        if dependency.kind == DependencyKind::Development { Kind::Dev } else { Kind::Normal };
                    let (from, to) = (package.name.to_string(), dependency.name.clone());
                    workspace.edges.push(Edge { from, to, kind });
                }
            }
        }
        Ok(workspace)
    }

    pub(super) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }
}

/// What cargo says against the lock file beside a manifest: nothing when it fits what the manifests ask for.
/// The benchmarks are workspaces of their own, so an edge between crates changes their locks as well. Reads
/// the registry's index and, other than `cargo metadata`, downloads no package.
pub(super) fn lock_misfit(root: &Path, manifest: &str) -> Result<Option<String>, String> {
    let arguments = ["update", "--workspace", "--locked", "--manifest-path", manifest];
    let output = cargo(root, &arguments).output().map_err(|error| format!("cannot start cargo: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    Ok((!output.status.success()).then(|| told.trim().to_owned()))
}

/// The paths of all files that are tracked, or would be by `git add`; without git, of all files there are.
pub(super) fn paths(root: &Path) -> Result<Vec<String>, String> {
    let mut paths = match listed_by_git(root) {
        Some(paths) => paths,
        None => {
            let mut paths = Vec::new();
            walk(root, "", &mut paths)?;
            paths
        }
    };
    // A file that was deleted is still listed until the deletion is committed.
    paths.retain(|path| root.join(path).is_file());
    paths.sort();
    Ok(paths)
}

/// The contents of those files that are text.
pub(super) fn texts(root: &Path, paths: &[String]) -> Result<Vec<TextFile>, String> {
    let mut texts = Vec::new();
    for path in paths {
        let bytes =
            std::fs::read(root.join(path)).map_err(|error| format!("cannot read `{path}`: {error}"))?;
        if let Ok(text) = String::from_utf8(bytes)
            && !text.contains('\0')
        {
            texts.push(TextFile { path: path.clone(), text });
        }
    }
    Ok(texts)
}

fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let mut command = Command::new("git");
    command.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    let list = String::from_utf8(output.stdout).ok()?;
    Some(list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn walk(root: &Path, folder: &str, paths: &mut Vec<String>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot list `{}`: {error}", root.join(folder).display());
    for entry in std::fs::read_dir(root.join(folder)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if !entry.file_type().map_err(failed)?.is_dir() {
            paths.push(path);
        } else if !FOLDERS_SKIPPED.contains(&name.as_str()) {
            walk(root, &path, paths)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn this_workspace_can_be_read() {
        let root = here().parent().expect("xtask lies in the workspace");
        let workspace = Workspace::load(root).expect("cargo can read the manifests");
        assert_eq!(
            workspace.package("xtask").map(|package| package.manifest.as_str()),
            Some("xtask/Cargo.toml")
        );
        assert!(
            workspace.edges.iter().any(|edge| edge.from == "diptych-command" && edge.to == "diptych-core")
        );
    }

    #[test]
    fn files_are_found_with_and_without_git() {
        let mut walked = Vec::new();
        walk(here(), "", &mut walked).expect("the folder can be listed");
        assert!(walked.iter().any(|path| path == "src/tidy/workspace.rs"), "{walked:?}");
        let listed = paths(here()).expect("the folder can be listed");
        assert!(listed.iter().any(|path| path == "src/tidy/workspace.rs"), "{listed:?}");
    }

    #[test]
    fn only_text_is_read() {
        let paths = ["xtask/Cargo.toml".to_owned(), "data/online_retail_ii_2009_2010.csv.gz".to_owned()];
        let root = here().parent().expect("xtask lies in the workspace");
        let texts = texts(root, &paths).expect("the files can be read");
        assert_eq!(texts.iter().map(|text| text.path.as_str()).collect::<Vec<_>>(), ["xtask/Cargo.toml"]);
    }
}
