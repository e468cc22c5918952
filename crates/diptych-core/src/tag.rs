//! Tags: marks on events that name what an event is about beyond its stream. Knows nothing of where they are
//! kept, nor of who asks for them.

use crate::limits::TAG_BYTES_MAX;
use crate::text::{self, TextError, checked_text};

checked_text! {
    /// A mark on an event, written `name:value`, such as `course:rust-101`. It belongs to the event's tenant.
    /// The name holds lower-case ASCII letters, digits and `_`; the value any text without NUL; both together
    /// 200 bytes at most.
    Tag, "tag", |what, tag| {
        text::check(what, tag, TAG_BYTES_MAX)?;
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        if name.is_empty() {
            return Err(TextError::Empty { what: "tag's name" });
        }
        text::forbid("tag's name", name, |c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))?;
        if value.is_empty() { Err(TextError::Empty { what: "tag's value" }) } else { Ok(()) }
    }
}

impl Tag {
    /// Joins a name and the text of a value.
    ///
    /// # Errors
    /// Refuses a name or a value that makes no tag.
    pub fn of(name: &str, value: &str) -> Result<Self, TextError> {
        let text = format!("{name}:{value}");
        // A colon in the name would move into the value.
        text::forbid("tag's name", name, |c| c == ':')?;
        Self::new(text)
    }

    /// Adds the tags that a value makes under a name: one, none for no value, several for a list.
    ///
    /// ```
    /// use diptych_core::Tag;
    /// let mut tags = Vec::new();
    /// Tag::add(&mut tags, "course", "rust-101")?;
    /// Tag::add(&mut tags, "student", &vec![7, 9])?;
    /// Tag::add(&mut tags, "tutor", &None::<String>)?;
    /// assert_eq!(tags, [Tag::new("course:rust-101")?, Tag::new("student:7")?, Tag::new("student:9")?]);
    /// # Ok::<(), diptych_core::TextError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tag::of`].
    pub fn add<V: TagValue + ?Sized>(tags: &mut Vec<Self>, name: &str, value: &V) -> Result<(), TextError> {
        let mut result = Ok(());
        value.each_text(&mut |text| match Self::of(name, text) {
            Ok(tag) => tags.push(tag),
            Err(error) if result.is_ok() => result = Err(error),
            Err(_) => {}
        });
        result
    }

    /// What stands before the first colon.
    #[must_use]
    pub fn name(&self) -> &str {
        self.as_str().split_once(':').map_or("", |(name, _)| name)
    }

    /// What stands behind it.
    #[must_use]
    pub fn value(&self) -> &str {
        self.as_str().split_once(':').map_or("", |(_, value)| value)
    }
}

/// A type whose values can stand in a tag. `derive(Id)` and `derive(Scalar)` implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a tag",
    label = "this cannot be a tag",
    note = "tags are ids, scalars, texts and integers, their Option or their Vec"
)]
pub trait TagValue {
    /// Hands out the texts of the value: one, none, or several.
    fn each_text(&self, add: &mut dyn FnMut(&str));
}

impl TagValue for str {
    fn each_text(&self, add: &mut dyn FnMut(&str)) {
        add(self);
    }
}

impl TagValue for String {
    fn each_text(&self, add: &mut dyn FnMut(&str)) {
        add(self);
    }
}

macro_rules! integers {
    ($($type:ty),+) => {
        $(impl TagValue for $type {
            fn each_text(&self, add: &mut dyn FnMut(&str)) {
                add(&self.to_string());
            }
        })+
    };
}
integers!(i32, i64, u32, u64);

impl<T: TagValue + ?Sized> TagValue for &T {
    fn each_text(&self, add: &mut dyn FnMut(&str)) {
        (**self).each_text(add);
    }
}

impl<T: TagValue> TagValue for Option<T> {
    fn each_text(&self, add: &mut dyn FnMut(&str)) {
        self.iter().for_each(|value| value.each_text(add));
    }
}

impl<T: TagValue> TagValue for Vec<T> {
    fn each_text(&self, add: &mut dyn FnMut(&str)) {
        self.iter().for_each(|value| value.each_text(add));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        assert_eq!(Tag::new(text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_tag_has_a_name_and_a_value() {
        let tag = Tag::new("email:ann@example.org:8080").unwrap();
        assert_eq!((tag.name(), tag.value()), ("email", "ann@example.org:8080"));
        refused("", "a tag must not be empty");
        refused("course", "a tag's value must not be empty");
        refused("course:", "a tag's value must not be empty");
        refused(":rust", "a tag's name must not be empty");
        refused("Course:rust", "a tag's name must not contain `C`");
        refused("course:\0", "a tag must not contain `\\u{0}`");
        refused(&format!("course:{}", "x".repeat(194)), "a tag has at most 200 bytes, this one has 201");
    }

    #[test]
    fn a_colon_never_moves_from_the_name_into_the_value() {
        assert!(Tag::of("a:b", "c").is_err());
        assert_eq!(Tag::of("a", "b:c").unwrap().value(), "b:c");
    }

    #[test]
    fn the_first_value_that_makes_no_tag_is_told() {
        let mut tags = Vec::new();
        let result = Tag::add(&mut tags, "student", &vec!["7", "", "\0"]);
        assert_eq!(result, Err(TextError::Empty { what: "tag's value" }));
    }
}
