//! What lies at the root, and how every source file begins. Looks at names and first lines only.

use super::{Finding, RustFile, is_product_source};

const ROOT_FILES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "GLOSSARY.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "Cargo.lock",
    "clippy.toml",
    "rustfmt.toml",
    ".gitignore",
];

const ROOT_FOLDERS: &[&str] = &["crates", "services", "bench", "xtask", "data", "docs", ".ci", ".cargo"];

/// Finds files that have no place at the root: plans, hand-offs, scratch files, unknown folders.
pub(super) fn check_root(paths: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut strangers = Vec::new();
    for path in paths {
        match path.split_once('/') {
            None if ROOT_FILES.contains(path) || path.starts_with("LICENSE-") => {}
            None => findings.push(Finding::whole(path, "has no place at the root: move or remove it")),
            Some((folder, _)) if ROOT_FOLDERS.contains(&folder) || strangers.contains(&folder) => {}
            Some((folder, _)) => {
                strangers.push(folder);
                findings.push(Finding::whole(folder, "is a folder unknown to the root: move or remove it"));
            }
        }
    }
    findings
}

/// Finds source files whose first line does not state their role.
pub(super) fn check_headers(files: &[RustFile<'_>]) -> Vec<Finding> {
    let states_role = |text: &str| {
        let first = text.lines().next().unwrap_or("");
        first.strip_prefix("//!").is_some_and(|role| role.trim().len() > 1)
    };
    let silent = files.iter().filter(|file| is_product_source(file.path) && !states_role(file.text));
    silent
        .map(|file| Finding::new(file.path, 1, "begin the file with a `//!` line that states its role"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_files_and_folders_lie_at_the_root() {
        let known = ["README.md", "LICENSE-MIT", ".gitignore", "crates/a/src/lib.rs", ".ci/run", "docs/a.md"];
        assert_eq!(check_root(&known), Vec::new());
        let strange = check_root(&["PLAN.md", "LICENSE", "scratch/a", "scratch/b"]);
        let paths: Vec<&str> = strange.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["PLAN.md", "LICENSE", "scratch"]);
    }

    #[track_caller]
    fn check_header(path: &str, text: &str, refused: bool) {
        assert_eq!(check_headers(&[RustFile::parse(path, text)]).len(), usize::from(refused), "{text}");
    }

    #[test]
    fn a_source_file_begins_with_its_role() {
        check_header("crates/diptych-core/src/a.rs", "//! Money.\n", false);
        check_header("crates/diptych-core/src/a.rs", "//!\n//! Money.\n", true);
        check_header("crates/diptych-core/src/a.rs", "\n//! Money.\n", true);
        check_header("services/orders/src/a.rs", "// Money.\n", true);
        check_header("services/orders/src/a.rs", "", true);
        check_header("services/orders/tests/a.rs", "fn a() {}", false);
    }
}
