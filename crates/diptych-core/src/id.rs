//! What ids and small closed vocabularies can do. Both are derived.

use crate::Portable;

/// A typed identity over text: `#[derive(Id)] struct OrderId(String);`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an id",
    note = "write `#[derive(Id)] struct {Self}(String);`"
)]
pub trait Id:
    Portable + Clone + Eq + std::hash::Hash + Ord + std::fmt::Debug + Send + Sync + 'static
{
    /// The id a stream key stands for.
    fn from_key(key: &str) -> Self;

    /// The text, as stream keys and columns hold it.
    fn as_str(&self) -> &str;

    /// Checks the text of an id: 1 to 200 bytes without NUL. Serializing and deserializing both call it.
    ///
    /// # Errors
    /// Says what the text breaks.
    fn check(text: &str) -> Result<(), crate::TextError> {
        crate::text::check("id", text, crate::KEY_BYTES_MAX)
    }
}

/// A closed vocabulary without data: `#[derive(Scalar)] enum Status { Placed, Cancelled }`.
///
/// Its names are SCREAMING_SNAKE in JSON and in SQL, where a named CHECK guards them.
pub trait Scalar: Portable + Copy + Eq + std::hash::Hash + std::fmt::Debug + Send + Sync + 'static {
    /// The names, in order of rank.
    const NAMES: &'static [&'static str];

    /// The name of this value.
    fn name(self) -> &'static str;

    /// The value of that name.
    fn from_name(name: &str) -> Option<Self>;
}
