//! Words that have no place in the repository: postponed work in source, folders of one machine anywhere.
//! The words are spelled in two halves here, so that this file passes its own check.

use super::source::is_word;
use super::{Finding, RustFile, TextFile};

const POSTPONED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("for ", "now")];

/// Postponed work only in a comment: in a string it is the code of ISO 4217 for no currency.
const POSTPONED_IN_COMMENTS: &str = concat!("XX", "X");

const MACHINE_FOLDERS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Finds postponed work in the source of crates, services, automation and benchmarks.
pub(super) fn check_postponed(files: &[RustFile<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.contains("/src/")) {
        let mut found = |line: usize, word: &str| {
            let advice = "postpones work unseen: do it, or open an issue and drop the remark";
            findings.push(Finding::new(file.path, line, format!("`{word}` {advice}")));
        };
        for (index, line) in file.text.lines().enumerate() {
            POSTPONED.iter().filter(|word| has_word(line, word)).for_each(|word| found(index + 1, word));
        }
        for (line, comment) in &file.source.comments {
            if has_word(comment, POSTPONED_IN_COMMENTS) {
                found(*line, POSTPONED_IN_COMMENTS);
            }
        }
    }
    findings
}

/// Finds paths of one machine in any text file.
pub(super) fn check_machine_folders(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        for (index, line) in file.text.lines().enumerate() {
            for folder in MACHINE_FOLDERS.iter().filter(|folder| has_folder(line, folder)) {
                let advice = "is a folder of one machine: use a path relative to the checkout";
                findings.push(Finding::new(&file.path, index + 1, format!("`{folder}` {advice}")));
            }
        }
    }
    findings
}

/// Whether the line has the word on its own; a word in small letters is found in capitals too.
fn has_word(line: &str, word: &str) -> bool {
    let line = if word.starts_with(char::is_lowercase) { line.to_lowercase() } else { line.to_owned() };
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Whether the line has an absolute path below the folder; the same name further down a path is another
/// folder.
fn has_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|character| is_word(character) || ".-{}*".contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_source(path: &str, text: &str, refused: usize) {
        let findings = check_postponed(&[RustFile::parse(path, text)]);
        assert_eq!(findings.len(), refused, "{text}: {findings:?}");
    }

    #[track_caller]
    fn check_folders(text: &str, refused: usize) {
        let findings = check_machine_folders(&[TextFile::new("docs/a.md", text)]);
        assert_eq!(findings.len(), refused, "{text}: {findings:?}");
    }

    #[test]
    fn work_is_not_postponed_in_source() {
        for word in POSTPONED.iter().chain([&POSTPONED_IN_COMMENTS]) {
            check_source("crates/diptych-core/src/a.rs", &format!("// {word}: later"), 1);
            check_source("crates/diptych-core/src/a.rs", &format!("// a{word}b"), 0);
            check_source("crates/diptych-core/tests/a.rs", &format!("// {word}"), 0);
        }
        let path = "xtask/src/a.rs";
        check_source(path, &format!("// {}, it is good enough", concat!("For ", "now")), 1);
        check_source(path, &format!("a.expect(\"{}\")", POSTPONED[0]), 1);
        check_source(path, &format!("let none = \"{POSTPONED_IN_COMMENTS}\";"), 0);
    }

    #[test]
    fn no_file_names_a_folder_of_one_machine() {
        for folder in MACHINE_FOLDERS {
            check_folders(&format!("see {folder}main/x"), 1);
            check_folders(&format!("\n`{folder}x` and file://{folder}x"), 1);
            check_folders(&format!("see crates{folder}x, ../{}x", &folder[1..]), 0);
        }
    }
}
