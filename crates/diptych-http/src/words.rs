//! How names and lags read to people and in addresses.

use diptych_query::Freshness;

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

/// A lag in words: `up to date`, `2 s behind`.
pub(crate) fn lag(freshness: &Freshness) -> String {
    if freshness.lag_events == 0 {
        return "up to date".to_owned();
    }
    let seconds = freshness.lag_seconds;
    let amount = match seconds {
        s if s < 1.0 => "less than 1 s".to_owned(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    };
    format!("{amount} behind")
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
    use diptych_core::{Epoch, Fingerprint, Position, Token};

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

    #[test]
    fn lag_is_said_in_words() {
        let check = |events, seconds, words: &str| {
            let freshness = Freshness {
                projection_position: Position(1),
                lag_seconds: seconds,
                lag_events: events,
                as_of: None,
                caught_up_to_requested_position: None,
                token: Token { epoch: Epoch::FIRST, position: Position(1), fingerprint: Fingerprint(0) },
                stale: false,
            };
            assert_eq!(lag(&freshness), words);
        };
        check(0, 0.0, "up to date");
        check(3, 0.4, "less than 1 s behind");
        check(3, 2.2, "2 s behind");
        check(3, 300.0, "5 min behind");
        check(3, 10_800.0, "3 h behind");
        check(3, 259_200.0, "3 days behind");
    }
}
