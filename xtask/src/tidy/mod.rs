//! The rules of the house that the compiler does not know, checked over the text of the repository. Every
//! check is a pure function over its input; only `workspace` touches disk, git and cargo. Repairs nothing.

use std::fmt;
use std::path::Path;

use source::Source;

mod calls;
mod codes;
mod edges;
mod layout;
mod locks;
mod sizes;
mod source;
mod split;
mod words;
mod workspace;

/// Checks the whole checkout, prints what was found, and answers whether it is tidy.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    let paths = workspace::paths(root)?;
    let texts = workspace::texts(root, &paths)?;
    let mut findings = edges::check(&workspace::Workspace::load(root)?);
    findings.extend(check(&paths, &texts));
    findings.extend(locks::check(&paths, |manifest| workspace::lock_misfit(root, manifest))?);
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: {} files, nothing found", paths.len()),
        count => println!("tidy: {} files, {count} found", paths.len()),
    }
    Ok(findings.is_empty())
}

/// Every check over the text of the files.
fn check(paths: &[String], texts: &[TextFile]) -> Vec<Finding> {
    let rust: Vec<RustFile<'_>> = texts
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .map(|file| RustFile::parse(&file.path, &file.text))
        .collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let mut findings = layout::check_root(&paths);
    findings.extend(layout::check_headers(&rust));
    findings.extend(edges::check_suites(&rust));
    findings.extend(sizes::check(&rust));
    findings.extend(calls::check(&rust));
    findings.extend(split::check(&rust));
    findings.extend(codes::check(texts));
    findings.extend(words::check_postponed(&rust));
    findings.extend(words::check_machine_folders(texts));
    for page in texts.iter().filter(|file| file.path.ends_with(".md")) {
        findings.extend(calls::check_page(&page.path, &page.text));
    }
    findings
}

/// Whether a path is source of a crate or a service, which users run; not automation, benchmarks or tests.
fn is_product_source(path: &str) -> bool {
    let is_member = path.starts_with("crates/") || path.starts_with("services/");
    is_member && path.contains("/src/") && path.ends_with(".rs")
}

/// One breach of a rule: where it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    path: String,
    /// 1-based; 0 means the file as a whole.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }

    fn whole(path: &str, message: impl Into<String>) -> Self {
        Self::new(path, 0, message)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.message),
            line => write!(formatter, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// A text file of the repository; the path is relative to the root, with `/`.
#[derive(Debug)]
struct TextFile {
    path: String,
    text: String,
}

#[cfg(test)]
impl TextFile {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

/// A Rust file with its text cut into code and comments.
struct RustFile<'a> {
    path: &'a str,
    text: &'a str,
    source: Source,
}

impl<'a> RustFile<'a> {
    fn parse(path: &'a str, text: &'a str) -> Self {
        Self { path, text, source: Source::parse(path, text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_file_line_and_remedy() {
        assert_eq!(Finding::new("a/b.rs", 7, "split it").to_string(), "a/b.rs:7: split it");
        assert_eq!(Finding::whole("PLAN.md", "remove it").to_string(), "PLAN.md: remove it");
    }

    #[test]
    fn every_check_takes_part() {
        let postponed = concat!("FIX", "ME");
        let source = "fn a() {\n    crate::query::b().unwrap() // {} DP9999\n}\nuse diptych_conformance;\n"
            .replace("{}", postponed);
        let source = source.as_str();
        let long = "//\n".repeat(700);
        let files = [
            ("PLAN.md", "```ignore\n```\n"),
            ("services/runs/src/command.rs", source),
            ("crates/diptych-core/src/lib.rs", source),
            ("crates/diptych-core/src/long.rs", long.as_str()),
        ];
        let texts: Vec<TextFile> = files.iter().map(|(path, text)| TextFile::new(path, text)).collect();
        let paths: Vec<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        let found = check(&paths, &texts).iter().map(Finding::to_string).collect::<Vec<_>>().join("\n");
        for part in [
            "PLAN.md: has no place",
            "PLAN.md:1: an `ignore` example",
            "src/lib.rs:1: begin the file",
            "src/lib.rs:4: `diptych_conformance`",
            "src/long.rs:601: the file has 700",
            "src/lib.rs:2: `.unwrap()`",
            "src/command.rs:2: `command` may not use `query`",
            "src/lib.rs:2: code `DP9999`",
            &format!("src/lib.rs:2: `{postponed}`"),
        ] {
            assert!(found.contains(part), "{part} in\n{found}");
        }
    }
}
