//! The two panels inside one service: `command` and `query` never import each other. `facts` is open to
//! both, and what joins them (main, projections, tests) is not looked at.

use super::source::{Source, Token, closing};
use super::{Finding, RustFile};

/// Finds an import of one panel in the other, in `services/*/src`.
pub(super) fn check(files: &[RustFile<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let (own, other) = match panel(file.path) {
            Some("command") => ("command", "query"),
            Some(_) => ("query", "command"),
            None => continue,
        };
        for line in mentions(&file.source, other) {
            let message = format!("`{own}` may not use `{other}`: let both use `facts` instead");
            findings.push(Finding::new(file.path, line, message));
        }
    }
    findings
}

/// The panel a file belongs to: `services/orders/src/command.rs`, `services/orders/src/query/summary.rs`.
fn panel(path: &str) -> Option<&'static str> {
    let (_, inside) = path.strip_prefix("services/")?.split_once("/src/")?;
    ["command", "query"].into_iter().find(|panel| inside.starts_with(panel))
}

/// The lines with `crate::module`, `super::module`, or the module in a group such as `crate::{facts,
/// module::A}`.
fn mentions(source: &Source, module: &str) -> Vec<usize> {
    let tokens = &source.tokens;
    let mut lines = Vec::new();
    for from in ["crate::", "super::"] {
        for (index, _) in source.finds(from) {
            let first = index + 3;
            match tokens.get(first) {
                Some(token) if token.text == module => lines.push(token.line),
                Some(token) if token.text == "{" => {
                    lines.extend(group_heads(tokens, first).filter(|t| t.text == module).map(|t| t.line));
                }
                _ => {}
            }
        }
    }
    lines
}

/// The first word of every path in the group that opens at `open`, nested groups left out.
fn group_heads(tokens: &[Token], open: usize) -> impl Iterator<Item = &Token> {
    let end = closing(tokens, open);
    let mut heads = Vec::new();
    let mut index = open + 1;
    while index < end {
        let token = &tokens[index];
        let before = tokens[index - 1].text.as_str();
        if matches!(before, "," | "{") {
            heads.push(token);
        }
        index = if token.text == "{" { closing(tokens, index) + 1 } else { index + 1 };
    }
    heads.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_one(path: &str, text: &str, refused: &[usize]) {
        let findings = check(&[RustFile::parse(path, text)]);
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), refused, "{findings:?}");
    }

    #[test]
    fn neither_panel_imports_the_other() {
        let command = "services/orders/src/command/place.rs";
        check_one(command, "//! a\nuse crate::query::OrderSummary;", &[2]);
        check_one(command, "use super::super::query;", &[1]);
        check_one(command, "use crate::{\n    facts::{Line, Total},\n    query::OrderSummary,\n};", &[3]);
        check_one(command, "use crate::{facts::{self, query}, other};", &[]);
        check_one(command, "use crate::facts;\nuse diptych::query;\n// crate::query\nfn query() {}", &[]);
        check_one("services/orders/src/query.rs", "fn a() { crate::command::b() }", &[1]);
        check_one("services/orders/src/query.rs", "use crate::query::a;", &[]);
    }

    #[test]
    fn what_joins_them_may_name_both() {
        for path in
            ["services/orders/src/main.rs", "services/orders/tests/command.rs", "crates/a/src/command.rs"]
        {
            check_one(path, "use crate::{command, query};", &[]);
        }
    }
}
