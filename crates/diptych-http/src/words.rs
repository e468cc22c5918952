//! How names read to people and in addresses.

/// The member that names one of a category, such as `decisionId`.
pub(crate) fn id_member(category: &str) -> String {
    let mut parts = category.split('_').filter(|part| !part.is_empty());
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts.chain(["id"]) {
        let mut letters = part.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

/// A text as it stands in one segment of an address or in one parameter of its query: everything but
/// unreserved characters is percent-encoded (RFC 3986, sections 2.1 and 2.3), so that nothing in it ends the
/// part that it stands in. An address that is written into a page is escaped by [`Html`](crate::Html)
/// besides.
///
/// ```
/// use diptych_http::percent_encoded;
/// let next = format!("/statements/{}?pageToken={}", percent_encoded("a/b"), percent_encoded("x&y=z"));
/// assert_eq!(next, "/statements/a%2Fb?pageToken=x%26y%3Dz");
/// ```
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_names_its_id() {
        assert_eq!(id_member("decision"), "decisionId");
        assert_eq!(id_member("credit_note"), "creditNoteId");
    }

    #[test]
    fn a_text_stays_within_its_part_of_an_address() {
        assert_eq!(percent_encoded("a/b ä%"), "a%2Fb%20%C3%A4%25");
        assert_eq!(percent_encoded("?a=b&c#d+e"), "%3Fa%3Db%26c%23d%2Be");
        assert_eq!(percent_encoded("DEC-2026.1_~"), "DEC-2026.1_~");
        assert_eq!(percent_encoded(""), "");
    }
}
