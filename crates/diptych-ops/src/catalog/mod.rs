//! The event catalog: what a service writes and reads, as one file that is committed and compared. Opens no
//! store.

mod action;
mod compare;
mod schema;

pub use action::{CATALOG_FILE, CatalogReport, Replacing, check, write};
pub use compare::{Finding, FindingKind, compare, warnings};

use diptych_command::{AnyDecider, RejectionKind};
use diptych_core::{Language, UnknownTypes};
use diptych_query::{CORRECTION, Corrections, Group};
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The form of the file. A program refuses a file of another form.
pub const CATALOG_FORMAT: u32 = 1;

/// What a service writes and reads.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalog {
    /// The form of the file, [`CATALOG_FORMAT`].
    pub format: u32,
    /// The service.
    pub service: String,
    /// Every event type that is written, in order of category and name.
    pub events: Vec<EventEntry>,
    /// Types that are stored and read as nothing, as `category/name`.
    pub retired: Vec<String>,
    /// Who writes.
    pub deciders: Vec<DeciderEntry>,
    /// Who reads.
    pub models: Vec<ModelEntry>,
    /// Schemas that others refer to: those of types that hold themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub definitions: BTreeMap<String, Value>,
    /// Event types that nobody answers for, as `category/name`.
    pub events_without_owner: Vec<String>,
    /// Event types that no read model reads, as `category/name`.
    pub events_without_consumer: Vec<String>,
}

/// One event type.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventEntry {
    /// Its category.
    pub category: String,
    /// Its stored name.
    pub name: String,
    /// The schema version that is written.
    pub version: u32,
    /// The earlier versions that are still read.
    pub earlier_versions: Vec<u32>,
    /// What it means.
    pub meaning: String,
    /// Who answers for it.
    pub owner: String,
    /// Properties that are money, as paths such as `lines[].unitPrice`.
    pub money: Vec<String>,
    /// The categories of the deciders that write it; their commands stand under `deciders`.
    pub producers: Vec<String>,
    /// The read models that read it.
    pub consumers: Vec<Consumer>,
    /// The JSON Schema of its payload.
    pub schema: Value,
}

impl EventEntry {
    /// `category/name`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.category, self.name)
    }
}

/// A read model that reads an event type.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Consumer {
    /// The read model.
    pub model: String,
    /// Who answers for it.
    pub owner: String,
    /// The group that it moves with.
    pub group: String,
}

/// One decider.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeciderEntry {
    /// The category that it writes.
    pub category: String,
    /// Who answers for it.
    pub owner: String,
    /// What may be asked of it.
    pub commands: Vec<CommandEntry>,
    /// What it may answer instead of events. They are kept in the ledger.
    pub rejections: Vec<RejectionEntry>,
}

/// One command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandEntry {
    /// Its name.
    pub name: String,
    /// The last segment of its address.
    pub segment: String,
    /// What it means.
    pub meaning: String,
    /// Whether a caller must bring an idempotency key.
    pub key_required: bool,
    /// The JSON Schema of its body.
    pub schema: Value,
}

/// One rejection.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RejectionEntry {
    /// Its stored name.
    pub name: String,
    /// `refused` or `notFound`.
    pub kind: String,
    /// What it means.
    pub meaning: String,
    /// The JSON Schema of its data.
    pub schema: Value,
}

/// One read model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModelEntry {
    /// Its name.
    pub name: String,
    /// The code's version of it.
    pub revision: u32,
    /// Who answers for it.
    pub owner: String,
    /// The group that it moves with.
    pub group: String,
    /// What it reads.
    pub reads: Vec<ReadEntry>,
}

/// A language as a read model reads it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadEntry {
    /// The category.
    pub category: String,
    /// The event types.
    pub types: Vec<String>,
    /// What becomes of others: `refuse` or `ignore`.
    pub unknown: String,
}

impl Catalog {
    /// What the code of a service says.
    #[must_use]
    pub fn of(service: &str, deciders: &[Arc<dyn AnyDecider>], groups: &[Group]) -> Self {
        let settings = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
        let mut generator = settings.into_generator();
        let mut events = Vec::new();
        for decider in deciders {
            events.extend(events_of(&**decider, groups, &mut generator));
        }
        events.sort_by(|a: &EventEntry, b| (&a.category, &a.name).cmp(&(&b.category, &b.name)));
        let retired = deciders.iter().flat_map(|decider| {
            let Language { category, retired, .. } = decider.language();
            retired.iter().map(move |name| format!("{category}/{name}"))
        });
        let mut retired: Vec<_> = retired.collect();
        retired.sort();
        let mut entries: Vec<_> =
            deciders.iter().map(|decider| decider_entry(&**decider, &mut generator)).collect();
        entries.sort_by(|a, b| a.category.cmp(&b.category));
        let mut models: Vec<_> = groups.iter().flat_map(model_entries).collect();
        models.sort_by(|a, b| a.name.cmp(&b.name));
        let ids = |wanted: fn(&EventEntry) -> bool| -> Vec<String> {
            events.iter().filter(|event| wanted(event)).map(EventEntry::id).collect()
        };
        Self {
            format: CATALOG_FORMAT,
            service: service.to_owned(),
            events_without_owner: ids(|event| event.owner.trim().is_empty()),
            events_without_consumer: ids(|event| event.consumers.is_empty()),
            events,
            retired,
            deciders: entries,
            models,
            definitions: generator.take_definitions(true).into_iter().collect(),
        }
    }

    /// The bytes of the file.
    ///
    /// # Panics
    /// Never: texts, numbers and JSON always serialize.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts, numbers and JSON always serialize") + "\n"
    }
}

fn events_of(decider: &dyn AnyDecider, groups: &[Group], generator: &mut SchemaGenerator) -> Vec<EventEntry> {
    let Language { category, owner, types, .. } = decider.language();
    let schemas = decider.event_schemas(generator);
    let entries = types.iter().zip(schemas).map(|(kind, schema)| {
        let schema = plain(schema);
        let mut money = Vec::new();
        schema::money_paths(&schema, "", &mut money);
        EventEntry {
            category: category.to_owned(),
            name: kind.name.to_owned(),
            version: kind.version,
            earlier_versions: (1..kind.version).collect(),
            meaning: kind.meaning.to_owned(),
            owner: owner.to_owned(),
            money,
            producers: vec![category.to_owned()],
            consumers: consumers(groups, category, kind.name),
            schema,
        }
    });
    entries.collect()
}

fn consumers(groups: &[Group], category: &str, name: &str) -> Vec<Consumer> {
    let mut consumers = Vec::new();
    for group in groups {
        for model in group.models() {
            let reads = |language: &&Language| {
                language.category == category && language.types.iter().any(|kind| kind.name == name)
            };
            // What a person corrects is folded by every model that takes corrections, in no language it has.
            let corrected =
                category == CORRECTION && model.schema().upkeep.corrections != Corrections::Refused;
            if corrected || model.languages().iter().any(|language| reads(&language)) {
                consumers.push(Consumer {
                    model: model.schema().name.to_owned(),
                    owner: model.schema().governance.owner.to_owned(),
                    group: group.name().to_owned(),
                });
            }
        }
    }
    consumers.sort_by(|a, b| a.model.cmp(&b.model));
    consumers
}

fn decider_entry(decider: &dyn AnyDecider, generator: &mut SchemaGenerator) -> DeciderEntry {
    let commands = decider.commands().iter().zip(decider.command_schemas(generator));
    let commands = commands.map(|(command, schema)| CommandEntry {
        name: command.name.to_owned(),
        segment: command.segment.to_owned(),
        meaning: command.meaning.to_owned(),
        key_required: command.key_required,
        schema: plain(schema),
    });
    let commands = commands.collect();
    let rejections = decider.rejections().iter().zip(decider.rejection_schemas(generator));
    let rejections = rejections.map(|(rejection, schema)| RejectionEntry {
        name: rejection.name.to_owned(),
        kind: match rejection.kind {
            RejectionKind::Refused => "refused".to_owned(),
            RejectionKind::NotFound => "notFound".to_owned(),
        },
        meaning: rejection.meaning.to_owned(),
        schema: plain(schema),
    });
    DeciderEntry {
        category: decider.category().to_owned(),
        owner: decider.owner().to_owned(),
        commands,
        rejections: rejections.collect(),
    }
}

fn model_entries(group: &Group) -> Vec<ModelEntry> {
    let entries = group.models().iter().map(|model| {
        let schema = model.schema();
        let reads = model.languages().iter().map(|language| ReadEntry {
            category: language.category.to_owned(),
            types: language.types.iter().map(|kind| kind.name.to_owned()).collect(),
            unknown: UnknownTypes::as_str(language.unknown).to_owned(),
        });
        ModelEntry {
            name: schema.name.to_owned(),
            revision: schema.revision,
            owner: schema.governance.owner.to_owned(),
            group: group.name().to_owned(),
            reads: reads.collect(),
        }
    });
    entries.collect()
}

/// A schema without the names of the hidden types behind it.
fn plain(schema: Schema) -> Value {
    let mut value = schema.to_value();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("title");
    }
    value
}
