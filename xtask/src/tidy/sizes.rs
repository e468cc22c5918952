//! Where to stop and split: long files, long lines, long functions. Long tests are allowed; long test files
//! are not.

use super::{Finding, RustFile};

const FILE_LINES_MAX: usize = 600;
const LINE_COLUMNS_MAX: usize = 110;
const FUNCTION_LINES_MAX: usize = 70;

/// Checks every Rust file; functions only in `src/`, outside of tests.
pub(super) fn check(files: &[RustFile<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(file_length(file.path, file.text));
        findings.extend(line_lengths(file.path, file.text));
        if file.path.contains("/src/") {
            findings.extend(function_lengths(file));
        }
    }
    findings
}

fn file_length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let message = || format!("the file has {lines} lines of at most {FILE_LINES_MAX}: split it by role");
    (lines > FILE_LINES_MAX).then(|| Finding::new(path, FILE_LINES_MAX + 1, message()))
}

fn line_lengths(path: &str, text: &str) -> Vec<Finding> {
    let columns = text.lines().map(|line| line.chars().count()).enumerate();
    let long = columns.filter(|(_, columns)| *columns > LINE_COLUMNS_MAX);
    long.map(|(index, columns)| {
        let message = format!("the line has {columns} columns of at most {LINE_COLUMNS_MAX}: break it");
        Finding::new(path, index + 1, message)
    })
    .collect()
}

fn function_lengths(file: &RustFile<'_>) -> Vec<Finding> {
    let tokens = &file.source.tokens;
    let mut findings = Vec::new();
    for (index, token) in file.source.finds("fn").filter(|(_, token)| !token.in_test) {
        let Some(name) = tokens.get(index + 1).filter(|name| name.text.starts_with(super::source::is_word))
        else {
            continue;
        };
        let Some(open) = body(file, index + 2) else {
            continue;
        };
        let lines = tokens[super::source::closing(tokens, open)].line - token.line + 1;
        if lines > FUNCTION_LINES_MAX {
            let name = &name.text;
            let message = format!("`fn {name}` has {lines} lines of at most {FUNCTION_LINES_MAX}: split it");
            findings.push(Finding::new(file.path, token.line, message));
        }
    }
    findings
}

/// The brace that opens the body of the function whose signature continues at `index`; none for a mere
/// declaration.
fn body(file: &RustFile<'_>, mut index: usize) -> Option<usize> {
    let tokens = &file.source.tokens;
    while let Some(token) = tokens.get(index) {
        match token.text.as_str() {
            "{" => return Some(index),
            ";" | "}" => return None,
            "(" | "[" => index = super::source::closing(tokens, index) + 1,
            _ => index += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "crates/diptych-core/src/a.rs";

    #[track_caller]
    fn check_one(path: &str, text: &str, refused: &[(usize, &str)]) {
        let findings = check(&[RustFile::parse(path, text)]);
        assert_eq!(findings.len(), refused.len(), "{findings:?}");
        for (finding, (line, word)) in findings.iter().zip(refused) {
            assert_eq!(finding.line, *line, "{finding:?}");
            assert!(finding.message.contains(word), "{finding:?}");
        }
    }

    #[test]
    fn files_have_600_lines_at_most() {
        check_one(PATH, &"//\n".repeat(600), &[]);
        check_one(PATH, &"//\n".repeat(601), &[(601, "601 lines")]);
    }

    #[test]
    fn lines_have_110_columns_at_most_counted_in_characters() {
        check_one(PATH, &"ä".repeat(110), &[]);
        check_one(PATH, &format!("a\n{}", "ä".repeat(111)), &[(2, "111 columns")]);
    }

    #[test]
    fn functions_have_70_lines_at_most_in_src() {
        let long = |head: &str, lines: usize| format!("{head} {{\n{}}}\n", "a();\n".repeat(lines - 2));
        check_one(PATH, &long("fn a<T: B>(x: [u8; 3]) -> T where T: C", 70), &[]);
        check_one(PATH, &long("fn a<T: B>(x: [u8; 3]) -> T where T: C", 71), &[(1, "`fn a` has 71")]);
        check_one(PATH, &long("impl A { }\nasync fn b()", 80), &[(2, "`fn b`")]);
        check_one(PATH, &long("trait A { fn a(&self); }\nmod x", 80), &[]);
        check_one(PATH, &long("#[cfg(test)]\nfn a()", 80), &[]);
        check_one("crates/diptych-core/tests/a.rs", &long("fn a()", 80), &[]);
    }
}
