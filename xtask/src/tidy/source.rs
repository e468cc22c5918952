//! Reads Rust text just well enough for the checks: code apart from comments and strings, tokens with their
//! lines, and which lines are tests. Not a parser: it knows brackets and `fn`, no types and no macros.

/// A word or one character of punctuation, with its line (1-based) and whether it belongs to a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) in_test: bool,
}

/// One Rust file, cut into code and comments.
pub(crate) struct Source {
    pub(crate) tokens: Vec<Token>,
    /// The text of every comment line with its line number, marks included.
    pub(crate) comments: Vec<(usize, String)>,
}

impl Source {
    /// Cuts up a file. A file that is a test by its place (`tests.rs`, `tests/`, `benches/`) is a test as
    /// a whole.
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let (code, comments) = separate(text);
        let mut tokens = tokenize(&code);
        let all = is_test_path(path) || finds(&tokens, "#![cfg(test)]").next().is_some();
        if all {
            tokens.iter_mut().for_each(|token| token.in_test = true);
        } else {
            mark_tests(&mut tokens);
        }
        let comments = comments.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let comments = comments.map(|(index, line)| (index + 1, line.trim().to_owned())).collect();
        Self { tokens, comments }
    }

    /// The tokens at which a pattern such as `.unwrap()` starts, however it is spaced or broken over lines.
    pub(crate) fn finds<'a>(&'a self, pattern: &str) -> impl Iterator<Item = (usize, &'a Token)> {
        finds(&self.tokens, pattern).map(|index| (index, &self.tokens[index]))
    }
}

/// Whether a file is a test by its place alone.
pub(crate) fn is_test_path(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || ["/tests/", "/benches/", "/sim/"].iter().any(|folder| path.contains(folder))
}

/// The index of the bracket that closes the one at `open`; the last token when the text ends early.
pub(crate) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len().saturating_sub(1)
}

fn finds(tokens: &[Token], pattern: &str) -> impl Iterator<Item = usize> + use<> {
    let pattern: Vec<String> = tokenize(pattern).into_iter().map(|token| token.text).collect();
    let starts = tokens.windows(pattern.len()).enumerate();
    let starts =
        starts.filter(|(_, window)| window.iter().zip(&pattern).all(|(token, want)| token.text == *want));
    starts.map(|(index, _)| index).collect::<Vec<_>>().into_iter()
}

/// Marks what follows `#[cfg(test)]`, `#[cfg(all(test, …))]` or an attribute ending in `test]`, up to the
/// item's end.
fn mark_tests(tokens: &mut [Token]) {
    let mut index = 0;
    while index < tokens.len() {
        if starts_attribute(tokens, index) && is_test_attribute(&tokens[index..=closing(tokens, index + 1)]) {
            let end = item_end(tokens, index);
            tokens[index..=end].iter_mut().for_each(|token| token.in_test = true);
            index = end;
        }
        index += 1;
    }
}

fn starts_attribute(tokens: &[Token], index: usize) -> bool {
    tokens[index].text == "#" && tokens.get(index + 1).is_some_and(|next| next.text == "[")
}

fn is_test_attribute(attribute: &[Token]) -> bool {
    let words: Vec<&str> = attribute.iter().map(|token| token.text.as_str()).collect();
    let inside = &words[2..words.len().max(3) - 1];
    match inside {
        ["cfg", "(", "test", ")"] | ["cfg", "(", "all", "(", "test", ..] => true,
        // `#[test]`, `#[tokio::test]`, `#[tokio::test(start_paused = true)]`.
        _ => inside.iter().take_while(|word| **word != "(").last() == Some(&"test"),
    }
}

/// The last token of the item that starts with the attribute at `start`.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut index = start;
    while index < tokens.len() {
        if starts_attribute(tokens, index) {
            index = closing(tokens, index + 1);
        } else {
            match tokens[index].text.as_str() {
                "{" => return closing(tokens, index),
                "(" | "[" => index = closing(tokens, index),
                ";" | "}" => return index,
                _ => {}
            }
        }
        index += 1;
    }
    tokens.len().saturating_sub(1)
}

fn tokenize(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut word = String::new();
        let mut push = |text: String| tokens.push(Token { text, line: index + 1, in_test: false });
        for character in line.chars() {
            if is_word(character) {
                word.push(character);
                continue;
            }
            if !word.is_empty() {
                push(std::mem::take(&mut word));
            }
            if !character.is_whitespace() {
                push(character.to_string());
            }
        }
        if !word.is_empty() {
            push(word);
        }
    }
    tokens
}

pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Two texts with the lines of the original: only the code (strings emptied), only the comments.
fn separate(text: &str) -> (String, String) {
    let characters: Vec<char> = text.chars().collect();
    let mut cut = Cut { code: String::with_capacity(text.len()), comments: String::new() };
    let mut index = 0;
    while index < characters.len() {
        let rest = &characters[index..];
        let word_before = index > 0 && is_word(characters[index - 1]);
        index += match rest {
            ['/', '/', ..] => cut.comment(&rest[..line_length(rest)]),
            ['/', '*', ..] => cut.comment(&rest[..block_length(rest)]),
            ['"', ..] => cut.string(&rest[..quoted_length(rest)]),
            ['\'', ..] => cut.apostrophe(rest),
            ['r' | 'b' | 'c', ..] if !word_before => cut.prefixed(rest),
            _ => cut.code(&rest[..1]),
        };
    }
    (cut.code, cut.comments)
}

/// The two texts under construction; every method answers how many characters it took.
struct Cut {
    code: String,
    comments: String,
}

impl Cut {
    fn code(&mut self, taken: &[char]) -> usize {
        self.code.extend(taken);
        self.comments.extend(taken.iter().filter(|character| **character == '\n'));
        taken.len()
    }

    fn comment(&mut self, taken: &[char]) -> usize {
        self.comments.extend(taken);
        self.code.push(' ');
        self.code.extend(taken.iter().filter(|character| **character == '\n'));
        taken.len()
    }

    fn string(&mut self, taken: &[char]) -> usize {
        self.code.push('"');
        let lines: Vec<char> = taken.iter().copied().filter(|character| *character == '\n').collect();
        self.code(&lines);
        self.code.push('"');
        taken.len()
    }

    /// A character literal, or the mark of a lifetime.
    fn apostrophe(&mut self, rest: &[char]) -> usize {
        match rest {
            ['\'', '\\', _, tail @ ..] => {
                let end = tail.iter().position(|character| *character == '\'').unwrap_or(0);
                self.string(&rest[..end + 4])
            }
            ['\'', _, '\'', ..] => self.string(&rest[..3]),
            _ => self.code(&rest[..1]),
        }
    }

    /// A raw or byte string such as `r#"…"#`, or just a word that begins like one.
    fn prefixed(&mut self, rest: &[char]) -> usize {
        let prefix = rest.iter().take_while(|character| matches!(character, 'r' | 'b' | 'c')).count();
        let hashes = rest[prefix..].iter().take_while(|character| **character == '#').count();
        let open = prefix + hashes;
        let is_raw = rest[..prefix].contains(&'r');
        if prefix > 2 || rest.get(open) != Some(&'"') || (hashes > 0 && !is_raw) {
            return self.code(&rest[..1]);
        }
        if !is_raw {
            return self.string(&rest[..open + quoted_length(&rest[open..])]);
        }
        let ends = |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take(hashes).all(|c| *c == '#');
        let end = (open + 1..rest.len().saturating_sub(hashes)).find(ends);
        self.string(&rest[..end.map_or(rest.len(), |end| end + 1 + hashes)])
    }
}

fn line_length(rest: &[char]) -> usize {
    rest.iter().position(|character| *character == '\n').unwrap_or(rest.len())
}

/// Block comments nest in Rust.
fn block_length(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut index = 0;
    while index < rest.len() {
        match &rest[index..] {
            ['/', '*', ..] => (depth, index) = (depth + 1, index + 2),
            ['*', '/', ..] => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index
}

fn quoted_length(rest: &[char]) -> usize {
    let mut index = 1;
    while index < rest.len() && rest[index] != '"' {
        index += if rest[index] == '\\' { 2 } else { 1 };
    }
    (index + 1).min(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, code: &str) {
        let source = Source::parse("src/lib.rs", text);
        let words: Vec<&str> = source.tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(words.join(" "), code);
    }

    #[test]
    fn strings_and_comments_are_no_code() {
        check("a // b\nc /* d /* e */ f */ g", "a c g");
        check(r#"let a = "x \" // y"; b"#, r#"let a = " " ; b"#);
        check(r###"r#"a " b"# + br"c\" + r#type + rest"###, r##"" " + " " + r # type + rest"##);
        check(
            r"fn a<'a>(x: &'a str) { '\'' ; '{' ; b'}' }",
            r#"fn a < ' a > ( x : & ' a str ) { " " ; " " ; b " " }"#,
        );
        check(r"'\u{7b}' x '\\' y", r#"" " x " " y"#);
        check("\"never closed", "\" \"");
    }

    #[test]
    fn lines_survive_strings_and_comments_of_several_lines() {
        let source = Source::parse("src/lib.rs", "\"a\nb\" /* c\nd */ e\n// f");
        assert_eq!(source.tokens.last().map(|token| (token.text.as_str(), token.line)), Some(("e", 3)));
        assert_eq!(source.comments.last(), Some(&(4, "// f".to_owned())));
        let broken = Source::parse("src/lib.rs", "x\n    .unwrap\n()");
        assert_eq!(broken.finds(".unwrap()").map(|(_, token)| token.line).collect::<Vec<_>>(), [2]);
    }

    #[track_caller]
    fn check_tests(path: &str, text: &str, outside: &str) {
        let source = Source::parse(path, text);
        let words: Vec<&str> =
            source.tokens.iter().filter(|token| !token.in_test).map(|token| token.text.as_str()).collect();
        assert_eq!(words.join(" "), outside);
    }

    #[test]
    fn test_items_are_marked_to_their_end_and_no_further() {
        check_tests("src/lib.rs", "#[cfg(test)] mod tests { fn a() {} } fn b() {}", "fn b ( ) { }");
        check_tests("src/lib.rs", "#[cfg(test)] #[path = \"\"] mod tests; fn b() {}", "fn b ( ) { }");
        check_tests("src/lib.rs", "#[tokio::test(start_paused = true)] async fn a() { {} } c", "c");
        check_tests("src/lib.rs", "#[test] fn a([x]: [u8; 1]) {} c", "c");
        check_tests("src/lib.rs", "#[cfg(not(test))] a", "# [ cfg ( not ( test ) ) ] a");
        check_tests("src/lib.rs", "#[derive(Test)] a #[] b", "# [ derive ( Test ) ] a # [ ] b");
        check_tests("crates/a/tests/a.rs", "fn a() {}", "");
        check_tests("crates/a/src/b/tests.rs", "fn a() {}", "");
        check_tests("crates/a/src/b.rs", "#![cfg(test)] fn a() {}", "");
    }
}
