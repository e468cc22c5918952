//! Every error code has its page, and every page its code. Does not judge what a page says below its title.

use std::collections::{BTreeMap, BTreeSet};

use super::source::is_word;
use super::{Finding, TextFile};

const PAGES: &str = "docs/errors/";

/// Compares the codes in `crates/*/src` with the pages in `docs/errors`.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let mentioned = mentioned_codes(files);
    let pages: Vec<(&str, &TextFile)> =
        files.iter().filter_map(|file| Some((page_code(&file.path)?, file))).collect();
    let paged: BTreeSet<&str> = pages.iter().map(|(code, _)| *code).collect();
    let mut findings = Vec::new();
    for (code, (path, line)) in &mentioned {
        if !paged.contains(code.as_str()) {
            let message = format!("code `{code}` has no page: write `{PAGES}{code}.md`");
            findings.push(Finding::new(path, *line, message));
        }
    }
    for (code, page) in pages {
        if !mentioned.contains_key(code) {
            let message = format!("no crate mentions `{code}`: remove the page, or use the code");
            findings.push(Finding::whole(&page.path, message));
        }
        let after_code = page.text.strip_prefix(&format!("# {code}"));
        if after_code.is_none_or(|rest| rest.starts_with(is_word)) {
            findings.push(Finding::new(&page.path, 1, format!("begin the page with `# {code}`")));
        }
    }
    findings
}

/// Each code with the first place that mentions it.
fn mentioned_codes(files: &[TextFile]) -> BTreeMap<String, (&str, usize)> {
    let mut codes = BTreeMap::new();
    for file in files.iter().filter(|file| file.path.starts_with("crates/") && file.path.contains("/src/")) {
        for (index, line) in file.text.lines().enumerate() {
            for word in line.split(|character| !is_word(character)).filter(|word| is_code(word)) {
                codes.entry(word.to_owned()).or_insert((file.path.as_str(), index + 1));
            }
        }
    }
    codes
}

fn page_code(path: &str) -> Option<&str> {
    let code = path.strip_prefix(PAGES)?.strip_suffix(".md")?;
    is_code(code).then_some(code)
}

fn is_code(word: &str) -> bool {
    let digits = word.strip_prefix("DP").unwrap_or("");
    digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_files(files: &[(&str, &str)], refused: &[(&str, &str)]) {
        let files: Vec<TextFile> = files.iter().map(|(path, text)| TextFile::new(path, text)).collect();
        let findings = check(&files);
        assert_eq!(findings.len(), refused.len(), "{findings:?}");
        for (finding, (path, word)) in findings.iter().zip(refused) {
            assert_eq!(finding.path, *path);
            assert!(finding.message.contains(word), "{finding:?}");
        }
    }

    const USE: (&str, &str) =
        ("crates/diptych-core/src/fault.rs", "\n\"gone (DP0003)\" // DP0003, DP00x, ADP0004");

    #[test]
    fn a_code_and_its_page_belong_together() {
        check_files(&[USE, ("docs/errors/DP0003.md", "# DP0003: wrong version\n")], &[]);
    }

    #[test]
    fn a_code_without_page_and_a_page_without_code_are_found() {
        check_files(&[USE], &[(USE.0, "`DP0003` has no page")]);
        let page = ("docs/errors/DP0009.md", "# DP0009\n");
        check_files(
            &[page, ("docs/errors/README.md", "all codes")],
            &[(page.0, "no crate mentions `DP0009`")],
        );
    }

    #[test]
    fn a_page_begins_with_its_code() {
        let page = ("docs/errors/DP0003.md", "# DP00034\n");
        check_files(&[USE, page], &[(page.0, "begin the page with `# DP0003`")]);
    }
}
