//! Words that are searched for, and what it means that a row has them. Pure: stores have an index for it, and
//! the same definition.

use crate::{QueryError, Schema};
use diptych_core::Value;

/// The most words of one question.
pub const WORDS_MAX: usize = 16;

/// Words that a row must have, all of them: each begins with or is a word of a column that is searched.
/// Letters and digits make words, everything else parts them; upper and lower case are the same. The
/// default is none, which every row has.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Words(Vec<Word>);

/// A word that is searched for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Word {
    /// In lower case.
    pub text: String,
    /// Whether it is only how a word begins.
    pub begins: bool,
}

impl Words {
    /// Reads words from a text: `regional enforce*` are a whole word and how another one begins.
    ///
    /// # Errors
    /// A text without any word, or with more than [`WORDS_MAX`].
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut words: Vec<Word> = Vec::new();
        for chunk in text.split_whitespace() {
            let parts = split(chunk);
            let last = parts.len().saturating_sub(1);
            let begins = chunk.ends_with('*');
            words.extend(
                parts.into_iter().enumerate().map(|(at, text)| Word { text, begins: begins && at == last }),
            );
        }
        match words.len() {
            0 => Err(QueryError::parameter("q", "must hold a word: letters or digits")),
            count if count > WORDS_MAX => Err(QueryError::parameter(
                "q",
                format!("has {count} words, at most {WORDS_MAX} are searched"),
            )),
            _ => Ok(Self(words)),
        }
    }

    /// The words.
    #[must_use]
    pub fn all(&self) -> &[Word] {
        &self.0
    }

    /// Whether nothing is searched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a row has all of them in the columns that are searched.
    #[must_use]
    pub fn fit(&self, schema: &Schema, row: &[Value]) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let searched = schema.columns.iter().zip(row).filter(|(column, _)| column.facets.full_text);
        let texts =
            searched.filter_map(|(_, value)| if let Value::Text(text) = value { Some(text) } else { None });
        let held: Vec<String> = texts.flat_map(|text| split(text)).collect();
        let has = |word: &Word| {
            held.iter()
                .any(|held| if word.begins { held.starts_with(&word.text) } else { *held == word.text })
        };
        self.0.iter().all(has)
    }
}

/// The words of a text, in lower case.
fn split(text: &str) -> Vec<String> {
    let parts = text.split(|letter: char| !letter.is_alphanumeric()).filter(|part| !part.is_empty());
    parts.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        let words = Words::parse("CASE-2026-00091 Straße enf*").unwrap();
        let texts: Vec<_> = words.all().iter().map(|word| (word.text.as_str(), word.begins)).collect();
        let expected = [("case", false), ("2026", false), ("00091", false), ("straße", false), ("enf", true)];
        assert_eq!(texts, expected);
        assert!(Words::parse(" -- ").is_err());
        assert!(Words::parse(&"a ".repeat(17)).is_err());
    }
}
