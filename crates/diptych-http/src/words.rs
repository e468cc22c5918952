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

/// One segment of an address: everything but unreserved characters percent-encoded (RFC 3986, section 2.3).
pub(crate) fn segment(text: &str) -> String {
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
    fn a_segment_survives_any_key() {
        assert_eq!(segment("a/b ä%"), "a%2Fb%20%C3%A4%25");
        assert_eq!(segment("DEC-2026.1_~"), "DEC-2026.1_~");
    }
}
