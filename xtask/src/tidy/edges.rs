//! The edges between the crates of the workspace, exhaustive, compared with what the manifests declare.
//! Says nothing of dependencies from outside of the workspace.

use std::collections::BTreeSet;

use super::workspace::{Edge, Kind, Package, Workspace};
use super::{Finding, RustFile};

/// INVARIANT: this is the table of ARCHITECTURE.md; a crate that is not in it has no place in `crates/`.
const EDGES: &[(&str, &[&str])] = &[
    ("diptych-core", &[]),
    ("diptych-macros", &[]),
    ("diptych-command", &["diptych-core"]),
    ("diptych-query", &["diptych-core"]),
    ("diptych-policy", &["diptych-core", "diptych-query"]),
    ("diptych-projector", &["diptych-core", "diptych-query"]),
    ("diptych-memory", PORTS),
    ("diptych-sqlite", PORTS),
    ("diptych-postgres", PORTS),
    ("diptych-couch", &["diptych-core", "diptych-query"]),
    ("diptych-http", &["diptych-core", "diptych-command", "diptych-query", "diptych-policy"]),
    (
        "diptych-ops",
        &["diptych-core", "diptych-command", "diptych-query", "diptych-projector", "diptych-policy"],
    ),
    ("diptych-console", &["diptych-ops"]),
    (
        CONFORMANCE,
        &["diptych-core", "diptych-command", "diptych-query", "diptych-projector", "diptych-memory"],
    ),
];

/// What a store knows: the language of facts and the two sets of ports.
const PORTS: &[&str] = &["diptych-core", "diptych-command", "diptych-query"];

/// Stores run the published suites, from `tests/` only; so does the crate whose exports are read as a log is.
const DEV_EDGES: &[(&str, &[&str])] = &[
    ("diptych-memory", &[CONFORMANCE]),
    ("diptych-sqlite", &[CONFORMANCE]),
    ("diptych-postgres", &[CONFORMANCE]),
    ("diptych-couch", &[CONFORMANCE, "diptych-memory"]),
    ("diptych-ops", &[CONFORMANCE, "diptych-memory"]),
];

const CONFORMANCE: &str = "diptych-conformance";

/// The front door may depend on every crate of the table but the test suites.
const FACADE: &str = "diptych";

/// The two panels: no path of edges leads from one to the other.
const PANELS: [&str; 2] = ["diptych-command", "diptych-query"];

/// Compares the workspace with the table.
pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in workspace.packages.iter().filter(|package| !is_free(package)) {
        if package.name != FACADE && table_row(EDGES, &package.name).is_none() {
            findings.push(finding(
                package,
                "is a crate without a row in the edge table: add it there first".into(),
            ));
            continue;
        }
        for edge in workspace.edges.iter().filter(|edge| edge.from == package.name) {
            if !is_allowed(edge) {
                let (kind, to) = (edge.kind.name(), &edge.to);
                let message = format!("{kind} `{to}` is not in the edge table: remove the dependency");
                findings.push(finding(package, message));
            }
        }
    }
    for (from, to) in [(PANELS[0], PANELS[1]), (PANELS[1], PANELS[0])] {
        if let (Some(package), Some(path)) = (workspace.package(from), path_between(workspace, from, to)) {
            let message = format!("reaches `{to}` through {}: the panels never meet", path.join(" -> "));
            findings.push(finding(package, message));
        }
    }
    findings
}

/// Finds the suites in `src/` of a store: they belong to `tests/`, where they see the store as its users do.
pub(super) fn check_suites(files: &[RustFile<'_>]) -> Vec<Finding> {
    let own = format!("crates/{CONFORMANCE}/");
    let library = CONFORMANCE.replace('-', "_");
    let mut findings = Vec::new();
    for file in files {
        if !file.path.starts_with("crates/") || !file.path.contains("/src/") || file.path.starts_with(&own) {
            continue;
        }
        for (_, token) in file.source.finds(&library) {
            let message = format!("`{library}` is used in `src`: run the suites from `tests/`");
            findings.push(Finding::new(file.path, token.line, message));
        }
    }
    findings
}

/// Services, benchmarks and automation may depend on anything.
fn is_free(package: &Package) -> bool {
    ["services/", "bench/", "xtask/"].iter().any(|folder| package.manifest.starts_with(folder))
}

fn is_allowed(edge: &Edge) -> bool {
    let known = table_row(EDGES, &edge.to).is_some();
    if edge.from == FACADE {
        return known && edge.to != CONFORMANCE;
    }
    let has = |table| table_row(table, &edge.from).is_some_and(|row| row.contains(&edge.to.as_str()));
    has(EDGES) || (edge.kind == Kind::Dev && has(DEV_EDGES))
}

fn table_row(table: &[(&str, &'static [&'static str])], name: &str) -> Option<&'static [&'static str]> {
    table.iter().find(|(from, _)| *from == name).map(|(_, row)| *row)
}

/// A path of normal edges, or one direct dev edge; what a crate's tests link does not reach its users.
fn path_between<'a>(workspace: &'a Workspace, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::from([from]);
    let mut paths = vec![vec![from]];
    while let Some(path) = paths.pop() {
        let last = path[path.len() - 1];
        for edge in workspace.edges.iter().filter(|edge| edge.from == last) {
            let follows = edge.kind == Kind::Normal || (last == from && edge.to == to);
            if follows && seen.insert(&edge.to) {
                let longer: Vec<&str> = path.iter().copied().chain([edge.to.as_str()]).collect();
                if edge.to == to {
                    return Some(longer);
                }
                paths.push(longer);
            }
        }
    }
    None
}

fn finding(package: &Package, message: String) -> Finding {
    Finding::whole(&package.manifest, format!("`{}` {message}", package.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace from lines such as `diptych-memory dev diptych-conformance`.
    fn workspace(lines: &[&str]) -> Workspace {
        let mut workspace = Workspace::default();
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            for name in words.iter().filter(|word| !matches!(**word, "normal" | "dev" | "build")) {
                let folder = if name.starts_with("diptych") { "crates" } else { "services" };
                if workspace.package(name).is_none() {
                    let manifest = format!("{folder}/{name}/Cargo.toml");
                    workspace.packages.push(Package { name: (*name).to_owned(), manifest });
                }
            }
            if let [from, kind, to] = words[..] {
                let kind = if kind == "dev" { Kind::Dev } else { Kind::Normal };
                workspace.edges.push(Edge { from: from.to_owned(), to: to.to_owned(), kind });
            }
        }
        workspace
    }

    #[track_caller]
    fn check_lines(lines: &[&str], refused: &[&str]) {
        let findings = check(&workspace(lines));
        assert_eq!(findings.len(), refused.len(), "{findings:?}");
        for (finding, part) in findings.iter().zip(refused) {
            assert!(finding.message.contains(part), "{finding:?}");
        }
    }

    #[test]
    fn the_edges_of_the_table_are_allowed() {
        for (from, row) in EDGES {
            for to in *row {
                check_lines(&[&format!("{from} normal {to}"), &format!("{from} dev {to}")], &[]);
            }
        }
        for (store, _) in DEV_EDGES {
            check_lines(&[&format!("{store} dev diptych-conformance")], &[]);
        }
        check_lines(&["diptych normal diptych-sqlite", "diptych normal diptych-macros"], &[]);
        check_lines(
            &["orders normal diptych", "orders dev diptych-conformance", "orders normal diptych-query"],
            &[],
        );
    }

    #[test]
    fn an_edge_outside_of_the_table_is_found() {
        check_lines(
            &["diptych-core normal diptych-macros"],
            &["`diptych-core` normal edge to `diptych-macros`"],
        );
        check_lines(&["diptych-macros dev diptych-core"], &["`diptych-macros` dev edge to `diptych-core`"]);
        check_lines(&["diptych-console normal diptych-core"], &["`diptych-core`"]);
        check_lines(&["diptych-sqlite normal diptych-projector"], &["`diptych-projector`"]);
        check_lines(&["diptych-core normal orders"], &["`orders`"]);
        check_lines(&["diptych normal orders"], &["`orders`"]);
    }

    #[test]
    fn the_suites_are_linked_by_tests_of_stores_only() {
        check_lines(
            &["diptych-memory normal diptych-conformance"],
            &["normal edge to `diptych-conformance`"],
        );
        check_lines(&["diptych-http dev diptych-conformance"], &["dev edge to `diptych-conformance`"]);
        check_lines(&["diptych normal diptych-conformance"], &["normal edge to `diptych-conformance`"]);
        let file = |path| check_suites(&[RustFile::parse(path, "use diptych_conformance::append;")]).len();
        assert_eq!(file("crates/diptych-sqlite/src/lib.rs"), 1);
        assert_eq!(file("crates/diptych-sqlite/tests/suites.rs"), 0);
        assert_eq!(file("crates/diptych-conformance/src/lib.rs"), 0);
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        check_lines(&["diptych-nats"], &["`diptych-nats` is a crate without a row"]);
    }

    #[test]
    fn the_panels_never_meet() {
        let meet = "reaches `diptych-query` through diptych-command -> diptych-query";
        check_lines(&["diptych-command dev diptych-query"], &["dev edge to", meet]);
        check_lines(&["diptych-command normal diptych-query"], &["normal edge to", meet]);
        let around = ["diptych-query normal diptych-http", "diptych-http normal diptych-command"];
        let path = "diptych-query -> diptych-http -> diptych-command";
        check_lines(&around, &["`diptych-http`", path]);
        let by_tests = ["diptych-query dev diptych-memory", "diptych-memory normal diptych-command"];
        check_lines(&by_tests, &["dev edge to `diptych-memory`"]);
    }
}
