//! Addresses checked against each other before anything is served, so that no clash waits for a request.

use crate::wire::Wire;
use diptych_command::AnyDecider;
use diptych_core::{Code, Fault};
use diptych_query::Schema;
use std::collections::{BTreeMap, BTreeSet};

/// First segments that belong to the toolkit.
const RESERVED: &[&str] = &[
    "audit",
    "commands",
    "openapi.json",
    "docs",
    "exports",
    "freshness",
    "metrics",
    "health",
    "problems",
    "console",
];

/// The first segments of a service's own addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    collections: BTreeMap<String, String>,
}

impl Names {
    /// Checks every name of a service.
    ///
    /// # Errors
    /// All that is wrong, in one message.
    pub(crate) fn check(wire: &Wire) -> Result<Self, Fault> {
        let deciders: Vec<_> = wire.commands.deciders().map(|decider| decider.as_ref()).collect();
        let schemas: Vec<_> = wire.queries.models().map(|(model, _)| model.schema()).collect();
        let pages: Vec<_> = wire.own_pages.iter().map(|page| page.segment()).collect();
        let (names, problems) = check(&deciders, &schemas, &pages, &wire.collections);
        if problems.is_empty() {
            Ok(names)
        } else {
            Err(Fault::permanent(Code::ServiceInvalid, problems.join("; ")))
        }
    }

    /// The collection of a category.
    pub(crate) fn collection<'a>(&'a self, category: &'a str) -> &'a str {
        self.collections.get(category).map_or(category, String::as_str)
    }
}

fn check(
    deciders: &[&dyn AnyDecider],
    schemas: &[&'static Schema],
    pages: &[&'static str],
    declared: &BTreeMap<String, String>,
) -> (Names, Vec<String>) {
    let mut names = Names::default();
    let mut problems = Vec::new();
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for reserved in RESERVED {
        taken.insert((*reserved).to_owned(), "the toolkit itself".to_owned());
    }
    let mut take = |name: String, owner: String| {
        if !is_segment(&name) {
            problems.push(format!("{owner} has the address `{name}`, which is not of a-z, 0-9, `-` and `_`"));
        } else if let Some(holder) = taken.get(&name) {
            problems.push(format!("{owner} has the address `{name}`, which belongs to {holder}"));
        } else {
            taken.insert(name, owner);
        }
    };
    for decider in deciders {
        let category = decider.category();
        let collection = declared.get(category).cloned();
        let collection = collection.unwrap_or_else(|| format!("{}s", category.replace('_', "-")));
        take(collection.clone(), format!("category `{category}`"));
        names.collections.insert(category.to_owned(), collection);
    }
    for schema in schemas {
        let owner = format!("read model `{}`", schema.name);
        take(schema.segment(), owner.clone());
        if schema.segment() != schema.name {
            take(schema.name.to_owned(), owner);
        }
    }
    for page in pages {
        take((*page).to_owned(), "a page of the service's own".to_owned());
    }
    for category in declared.keys() {
        if !names.collections.contains_key(category) {
            problems
                .push(format!("a collection is declared for category `{category}`, which no decider has"));
        }
    }
    for decider in deciders {
        check_commands(*decider, &mut problems);
    }
    (names, problems)
}

fn check_commands(decider: &dyn AnyDecider, problems: &mut Vec<String>) {
    let category = decider.category();
    let mut seen = BTreeSet::new();
    for command in decider.commands() {
        let segment = command.segment;
        if !is_segment(segment) {
            problems.push(format!(
                "command `{}` of `{category}` has the segment `{segment}`, \
                 which is not of a-z, 0-9, `-` and `_`",
                command.name
            ));
        } else if !seen.insert(segment) {
            problems.push(format!("two commands of `{category}` have the segment `{segment}`"));
        }
    }
}

/// Whether a text can stand in an address and in a router's pattern as it is.
fn is_segment(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Note, schema, schema_at};
    use diptych_command::erase;

    #[track_caller]
    fn check_names(models: &[&'static str], declared: &[(&str, &str)], expected: &[&str]) {
        let decider = erase::<Note>();
        let schemas: Vec<_> = models.iter().map(|name| schema(name)).collect();
        let declared = declared.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let (_, problems) = check(&[decider.as_ref()], &schemas, &[], &declared);
        assert_eq!(problems, expected);
    }

    #[test]
    fn names_that_differ_pass() {
        check_names(&["note_list", "board"], &[], &[]);
        check_names(&["notes"], &[("note", "memos")], &[]);
    }

    #[test]
    fn a_declared_address_is_what_clashes() {
        let decider = erase::<Note>();
        let check_schemas =
            |schemas: &[&'static Schema]| check(&[decider.as_ref()], schemas, &[], &BTreeMap::new()).1;
        assert!(check_schemas(&[schema_at("note_board", "board"), schema("note_list")]).is_empty());
        assert_eq!(
            check_schemas(&[schema_at("board_2", "notes"), schema_at("list_2", "board_2")]),
            [
                "read model `board_2` has the address `notes`, which belongs to category `note`",
                "read model `list_2` has the address `board_2`, which belongs to read model `board_2`",
            ]
        );
    }

    #[test]
    fn a_page_of_the_service_s_own_has_an_address_of_its_own() {
        let decider = erase::<Note>();
        let check_pages = |pages: &[&'static str]| check(&[decider.as_ref()], &[], pages, &BTreeMap::new()).1;
        assert!(check_pages(&["statements"]).is_empty());
        assert_eq!(
            check_pages(&["notes", "docs"]),
            [
                "a page of the service's own has the address `notes`, which belongs to category `note`",
                "a page of the service's own has the address `docs`, which belongs to the toolkit itself",
            ]
        );
    }

    #[test]
    fn every_clash_is_named() {
        check_names(
            &["notes", "health"],
            &[("letter", "mail")],
            &[
                "read model `notes` has the address `notes`, which belongs to category `note`",
                "read model `health` has the address `health`, which belongs to the toolkit itself",
                "a collection is declared for category `letter`, which no decider has",
            ],
        );
        check_names(
            &[],
            &[("note", "No tes")],
            &["category `note` has the address `No tes`, which is not of a-z, 0-9, `-` and `_`"],
        );
    }
}
