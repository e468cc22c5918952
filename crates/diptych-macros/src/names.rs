//! How Rust names become stored names. Fixed for ever: stored bytes hold them. Knows nothing of tokens.

/// `line_count` to `lineCount`.
pub(crate) fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for part in words(name) {
        let mut letters = part.chars();
        match letters.next() {
            Some(first) if !out.is_empty() => out.extend(first.to_uppercase()),
            Some(first) => out.extend(first.to_lowercase()),
            None => {}
        }
        out.extend(letters);
    }
    out
}

/// `ReadyForApproval` to `ready_for_approval`; `due_at` stays.
pub(crate) fn snake(name: &str) -> String {
    words(name).join("_").to_lowercase()
}

/// `ReadyForApproval` to `READY_FOR_APPROVAL`; `due_at` to `DUE_AT`.
pub(crate) fn screaming(name: &str) -> String {
    words(name).join("_").to_uppercase()
}

/// `ChangeShippingAddress` to `change-shipping-address`.
pub(crate) fn kebab(name: &str) -> String {
    words(name).join("-").to_lowercase()
}

/// Whether a text is one lower-case ASCII word of letters, digits and `_`, starting with a letter.
pub(crate) fn is_snake(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase()) && is_category(name)
}

/// Whether a text is lower-case ASCII words of letters and digits with a `-` between them, starting with a
/// letter.
pub(crate) fn is_kebab(name: &str) -> bool {
    let is_part = |part: &str| {
        let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        !part.is_empty() && part.chars().all(fits)
    };
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split('-').all(is_part)
}

/// Whether a text holds only what a category may: lower-case ASCII letters, digits and `_`.
pub(crate) fn is_category(name: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    !name.is_empty() && name.chars().all(fits)
}

/// Splits at `_`, before a capital that follows a small letter or a digit, and before the last capital of a
/// run that a small letter follows.
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.trim_start_matches("r#").chars().collect();
    let mut words = vec![String::new()];
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| letters.get(index));
        let after = letters.get(index + 1);
        let starts = letter.is_uppercase()
            && before.is_some_and(|before| {
                !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase())
            });
        if *letter == '_' || starts {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| *letter != '_') {
            word.push(*letter);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_follow_one_rule() {
        assert_eq!(camel("line_count"), "lineCount");
        assert_eq!(camel("r#type"), "type");
        assert_eq!(camel("address_line_2"), "addressLine2");
        assert_eq!(screaming("PaymentAuthorized"), "PAYMENT_AUTHORIZED");
        assert_eq!(screaming("placed_at"), "PLACED_AT");
        assert_eq!(screaming("HTTPFailed"), "HTTP_FAILED");
        assert_eq!(screaming("Tier2Case"), "TIER2_CASE");
        assert_eq!(snake("OrderAlreadyCancelled"), "order_already_cancelled");
        assert_eq!(kebab("ChangeShippingAddress"), "change-shipping-address");
    }

    #[test]
    fn categories_hold_no_hyphen() {
        assert!(is_category("order_2"));
        assert!(!is_category("order-2"));
        assert!(!is_category(""));
        assert!(!is_snake("2_order"));
    }

    #[test]
    fn addresses_are_words_with_single_hyphens_between_them() {
        assert!(is_kebab("decision-work-queue") && is_kebab("queue2"));
        for wrong in ["", "-queue", "queue-", "work--queue", "2-queue", "Queue", "work_queue", "work/queue"] {
            assert!(!is_kebab(wrong), "{wrong}");
        }
    }
}
