//! The committed catalog against the code: what broke, for whom, how to mend it. Pure.

use super::schema::unreadable;
use super::{Catalog, EventEntry};
use serde::Serialize;
use std::collections::BTreeSet;

/// How much a difference matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FindingKind {
    /// Stored data, or whoever reads it, breaks.
    Breaking,
    /// Nothing breaks; the file does not say what the code says.
    Stale,
    /// Worth a look, whatever the file says.
    Warning,
}

/// One difference between the committed catalog and the code.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub kind: FindingKind,
    /// What it is about, such as `order/OrderPlaced`.
    pub subject: String,
    /// What broke.
    pub what: String,
    /// For whom: read models and deciders.
    pub affects: Vec<String>,
    /// How to mend it.
    pub mend: String,
}

/// Everything in which the code differs from the committed catalog; breaking differences come first. Nothing
/// when the file is what `catalog write` would write.
#[must_use]
pub fn compare(committed: &Catalog, code: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for event in &committed.events {
        let now = code.events.iter().find(|now| (&now.category, &now.name) == (&event.category, &event.name));
        match now {
            None => findings.extend(removed(event, code)),
            Some(now) => findings.extend(changed(event, now)),
        }
    }
    for name in committed.retired.iter().filter(|name| !code.retired.contains(name)) {
        let known = code.events.iter().any(|event| event.id() == **name);
        if !known {
            let what = "it is not declared retired any more, and stored events of it would stop every reader";
            let mend = "declare it `retired` again; stored names are kept for ever";
            findings.push(finding(FindingKind::Breaking, name, what, readers(code, name), mend));
        }
    }
    findings.extend(rejections(committed, code));
    for (name, schema) in &committed.definitions {
        let reasons = code.definitions.get(name).map(|now| unreadable(schema, now)).unwrap_or_default();
        findings.extend(reasons.into_iter().map(|what| {
            let mend = "raise the version of every event type that holds it and write the upcast";
            finding(FindingKind::Breaking, name, &what, Vec::new(), mend)
        }));
    }
    if findings.is_empty() && committed != code {
        findings.extend(stale(committed, code));
    }
    findings.sort_by_key(|finding| finding.kind);
    findings
}

/// Event types without an owner and without a consumer.
#[must_use]
pub fn warnings(code: &Catalog) -> Vec<Finding> {
    let orphans = code.events_without_owner.iter().map(|name| {
        let mend = "name an owner in `#[event(owner = \"..\")]`";
        finding(FindingKind::Warning, name, "nobody answers for it", Vec::new(), mend)
    });
    let unread = code.events_without_consumer.iter().map(|name| {
        let mend = "nothing, if it is kept for decisions, the audit or later readers";
        finding(FindingKind::Warning, name, "no read model reads it", Vec::new(), mend)
    });
    orphans.chain(unread).collect()
}

/// A type that the code does not write any more: fine where it says that it is retired.
fn removed(event: &EventEntry, code: &Catalog) -> Option<Finding> {
    if code.retired.contains(&event.id()) {
        return None;
    }
    let decides = code.deciders.iter().any(|decider| decider.category == event.category);
    let (what, mend) = if decides {
        let mend = format!("bring it back, or declare `retired = \"{}\"` on the language", event.name);
        ("its type was removed, and stored events of it would stop every reader", mend)
    } else {
        let mend = "bring the decider back: its streams are still in the log".to_owned();
        ("its decider was removed, and its streams would have no reader", mend)
    };
    Some(finding(FindingKind::Breaking, &event.id(), what, affected(event), &mend))
}

fn changed(event: &EventEntry, now: &EventEntry) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tell = |what: &str, mend: &str| {
        findings.push(finding(FindingKind::Breaking, &event.id(), what, affected(event), mend));
    };
    if now.version < event.version {
        let what =
            format!("its version was {} and is {}: stored events are newer", event.version, now.version);
        tell(&what, "raise the version again; a version once released is stored for ever");
    }
    let lost: Vec<_> = (1..event.version)
        .filter(|version| event.earlier_versions.contains(version))
        .filter(|version| *version != now.version && !now.earlier_versions.contains(version))
        .map(|version| version.to_string())
        .collect();
    if !lost.is_empty() && now.version >= event.version {
        let what = format!("version {} is not read any more", lost.join(", "));
        tell(&what, "bring the payload type of that version back, with its upcast");
    }
    if now.version > event.version && !now.earlier_versions.contains(&event.version) {
        let what = format!("its version was raised to {} without an upcast", now.version);
        tell(&what, &format!("add `v{} = T` and `impl From<T>`", event.version));
    }
    if now.version == event.version {
        for what in unreadable(&event.schema, &now.schema) {
            let (next, old) = (event.version + 1, event.version);
            let mend = format!(
                "keep the old payload as a type of its own, `version = {next}, v{old} = T`, and write the \
                 upcast"
            );
            tell(&what, &mend);
        }
    }
    if !event.owner.trim().is_empty() && now.owner.trim().is_empty() {
        tell("nobody answers for it any more", "name an owner in `#[event(owner = \"..\")]`");
    }
    findings
}

/// Rejections are kept in the ledger and rebuilt when a command is asked again.
fn rejections(committed: &Catalog, code: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for decider in &committed.deciders {
        let Some(now) = code.deciders.iter().find(|now| now.category == decider.category) else { continue };
        for rejection in &decider.rejections {
            let subject = format!("{}/{}", decider.category, rejection.name);
            let affects = vec![format!("decider `{}`", decider.category)];
            match now.rejections.iter().find(|now| now.name == rejection.name) {
                None => findings.push(finding(
                    FindingKind::Breaking,
                    &subject,
                    "the rejection was removed, and commands in the ledger were answered with it",
                    affects,
                    "bring it back; it need not be answered any more",
                )),
                Some(now) => findings.extend(unreadable(&rejection.schema, &now.schema).iter().map(|what| {
                    let mend = "keep its data readable, or answer with a rejection of another name";
                    finding(FindingKind::Breaking, &subject, what, affects.clone(), mend)
                })),
            }
        }
    }
    findings
}

/// What the file does not say yet; one finding for the whole of it.
fn stale(committed: &Catalog, code: &Catalog) -> Option<Finding> {
    let ids = |catalog: &Catalog| -> BTreeSet<String> { catalog.events.iter().map(EventEntry::id).collect() };
    let (before, after) = (ids(committed), ids(code));
    let mut news: Vec<String> = after.difference(&before).map(|name| format!("`{name}` is new")).collect();
    let same = committed.events.iter().filter_map(|event| {
        let now = code.events.iter().find(|now| now.id() == event.id())?;
        (now != event).then(|| format!("`{}` changed", event.id()))
    });
    news.extend(same);
    if committed.deciders != code.deciders {
        news.push("commands or rejections changed".to_owned());
    }
    if committed.models != code.models {
        news.push("read models changed".to_owned());
    }
    let what = match news.len() {
        0 => "nothing breaks, but the file does not say what the code says".to_owned(),
        _ => format!("nothing breaks, but the file does not say yet: {}", news.join(", ")),
    };
    let mend = "run `catalog write` and commit the file";
    Some(finding(FindingKind::Stale, &code.service, &what, Vec::new(), mend))
}

fn readers(code: &Catalog, id: &str) -> Vec<String> {
    let category = id.split('/').next().unwrap_or_default();
    let reads = code.models.iter().filter(|model| model.reads.iter().any(|read| read.category == category));
    reads.map(|model| format!("`{}` ({})", model.name, model.owner)).collect()
}

fn affected(event: &EventEntry) -> Vec<String> {
    let deciders = event.producers.iter().map(|producer| format!("decider `{producer}`"));
    let models = event.consumers.iter().map(|consumer| format!("`{}` ({})", consumer.model, consumer.owner));
    deciders.chain(models).collect()
}

fn finding(kind: FindingKind, subject: &str, what: &str, affects: Vec<String>, mend: &str) -> Finding {
    Finding { kind, subject: subject.to_owned(), what: what.to_owned(), affects, mend: mend.to_owned() }
}

#[cfg(test)]
mod tests;
