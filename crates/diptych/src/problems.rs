//! What can be wrong with a service before it is opened. Pure.

use crate::{Service, columns};
use diptych_command::AnyDecider;
use diptych_core::{Language, UnknownTypes, ValueType};
use diptych_query::{AnyModel, Corrections, Mode, Schema, Tenants};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that is wrong, in the order in which a person would mend it.
pub(crate) fn problems(service: &Service) -> Vec<String> {
    let mut problems = Vec::new();
    let name_fits = !service.name.is_empty() && service.name.bytes().all(|byte| fits(byte) || byte == b'-');
    if !name_fits {
        problems
            .push(format!("its name `{}` may hold only lower-case letters, digits and `-`", service.name));
    }
    let categories = service.deciders.iter().map(|decider| decider.category());
    problems.extend(twice(categories).map(|name| format!("two deciders have the category `{name}`")));
    let models = service.models().map(|model| model.schema().name);
    problems.extend(twice(models).map(|name| called_twice(service, name)));
    problems
        .extend(service.groups.iter().filter_map(|group| group.group().err()).map(|error| error.to_string()));
    let groups = service.groups.iter().map(|group| group.name);
    problems.extend(twice(groups).map(|name| format!("two groups of read models are called `{name}`")));
    for group in &service.groups {
        let others = service.groups.iter().filter(|other| other.name != group.name);
        if others.flat_map(|other| &other.models).any(|model| model.schema().name == group.name) {
            problems.push(format!("group `{}` has the name of a read model of another group", group.name));
        }
        let tenants = group.models.iter().map(|model| model.schema().tenants);
        if tenants.clone().any(|own| own == Tenants::Own) && tenants.clone().any(|all| all == Tenants::All) {
            // What a row is made of would be looked up across tenants.
            problems.push(format!("group `{}` mixes read models for one tenant and for all", group.name));
        }
        if !names_a_file(group.name) {
            problems.push(format!("the name of group `{}` is snake_case ASCII", group.name));
        }
    }
    let references = service.references.versions().map(|(name, _)| name);
    problems.extend(twice(references).map(|name| format!("two kinds of reference data are called `{name}`")));
    for (category, collection) in &service.collections {
        if !service.deciders.iter().any(|decider| decider.category() == category) {
            problems.push(format!("collection `{collection}` is for `{category}`, which no decider writes"));
        }
    }
    problems.extend(service.deciders.iter().flat_map(|decider| of_decider(&**decider)));
    for model in service.models() {
        let schema = model.schema();
        problems.extend(across_tenants(&**model));
        problems.extend(currencies(schema));
        let known = |category: &&str| {
            let mut deciders = service.deciders.iter().map(|decider| decider.category());
            deciders.any(|own| own == *category) || service.outbox.categories().any(|own| own == *category)
        };
        for category in model.categories().iter().filter(|category| !known(category)) {
            let mode = if schema.mode == Mode::Inline { " inline" } else { "" };
            let name = schema.name;
            problems.push(format!(
                "{mode} read model `{name}` reads `{category}`, which no decider writes and no outbox brings"
            ));
        }
        for read in model.languages() {
            let written = service.deciders.iter().map(|decider| decider.language());
            let written = written.filter(|written| written.category == read.category);
            problems.extend(written.flat_map(|written| misread(schema.name, read, &written)));
        }
    }
    let schemas: Vec<_> = service.models().map(|model| model.schema()).collect();
    problems.extend(diptych_ops::jobs::job_problems(&service.jobs, &schemas));
    problems
}

/// What is wrong with a read model for all tenants.
fn across_tenants(model: &dyn AnyModel) -> Option<String> {
    let schema = model.schema();
    let why = match schema.tenants {
        Tenants::Own => return None,
        Tenants::All if schema.upkeep.corrections != Corrections::Refused => {
            "no tenant may correct what is of all"
        }
        Tenants::All if model.statements().is_some() => "its own SQL says whose rows it writes",
        Tenants::All => return None,
    };
    Some(format!("read model `{}` cannot be for all tenants: {why}", schema.name))
}

/// Columns that have the name of the one in which money beside them keeps its currency.
fn currencies(schema: &Schema) -> impl Iterator<Item = String> {
    let money = schema.columns.iter().filter(|column| column.value_type == ValueType::Money);
    money.filter_map(|money| {
        let name = format!("{}_currency", money.name);
        let clashes = schema.columns.iter().any(|column| column.name == name);
        clashes.then(|| {
            format!(
                "column `{name}` of read model `{}` has the name in which `{}` keeps its currency: name it \
                 otherwise with `#[column(name = \"...\")]`",
                schema.name, money.name
            )
        })
    })
}

/// What is wrong with one decider.
fn of_decider(decider: &dyn AnyDecider) -> Vec<String> {
    let mut problems = Vec::new();
    let segments = decider.commands().iter().map(|command| command.segment);
    let category = decider.category();
    problems.extend(
        twice(segments).map(|segment| format!("two commands of `{category}` have the segment `{segment}`")),
    );
    let events = decider.events().iter().map(|event| event.name);
    problems.extend(twice(events).map(|event| format!("two events of `{category}` are called `{event}`")));
    if decider.language().unknown == UnknownTypes::Ignore {
        problems.push(format!(
            "the decider of `{category}` ignores unknown event types, but a decision needs every event"
        ));
    }
    problems.extend(columns::problems(decider));
    problems
}

/// How a read model's language differs from the one that is written: facts would be missed, or stop it.
fn misread(model: &str, read: &Language, written: &Language) -> Vec<String> {
    let mut problems = Vec::new();
    let category = read.category;
    for kind in read.types {
        let name = kind.name;
        match written.types.iter().find(|written| written.name == name) {
            Some(written) if written.version > kind.version => problems.push(format!(
                "read model `{model}` knows `{name}` of `{category}` up to version {}, version {} is written",
                kind.version, written.version
            )),
            None if !written.knows(name) => problems.push(format!(
                "read model `{model}` reads `{name}` of `{category}`, which is neither written nor retired"
            )),
            _ => {}
        }
    }
    let stored = written.types.iter().map(|kind| kind.name).chain(written.retired.iter().copied());
    if read.unknown == UnknownTypes::Refuse {
        problems.extend(stored.filter(|name| !read.knows(name)).map(|name| {
            format!(
                "read model `{model}` would stop at `{name}` of `{category}`, which it does not know; add \
                 it, or declare `unknown = \"ignore\"`"
            )
        }));
    }
    problems
}

/// Names the groups too: a model that others look up comes with them, and must not be added once more.
fn called_twice(service: &Service, name: &str) -> String {
    let holds = |model: &Arc<dyn AnyModel>| model.schema().name == name;
    let groups = service.groups.iter().filter(|group| group.models.iter().any(holds));
    let groups: Vec<_> = groups.map(|group| format!("`{}`", group.name)).collect();
    format!("two read models are called `{name}`, in {}", groups.join(" and "))
}

/// Whether a name is fit for a checkpoint and its file.
fn names_a_file(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    starts && name.bytes().all(|byte| fits(byte) || byte == b'_')
}

pub(crate) fn fits(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// The names that come more than once, each once.
pub(crate) fn twice<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    names.for_each(|name| *seen.entry(name).or_default() += 1);
    seen.into_iter().filter(|(_, times)| *times > 1).map(|(name, _)| name)
}
