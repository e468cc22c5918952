//! Tables of a build as they were declared once, by code that declares them otherwise today. Their rows can
//! be read by column and compared; nothing folds into them.

use crate::fold::{Decoded, Earlier, FoldError, FoldErrorKind, Ran, TableFold, TableUse};
use crate::{
    AnyModel, Build, ColumnSpec, Contract, Direction, Governance, Group, Mode, RowRef, Schema, Sensitivity,
    Storage, StoredRow, TableChanges, TableNeeds, Tenants, Touch, Upkeep,
};
use diptych_core::{DecodeError, Language, Position, RawFact, Timestamp, Value, ValueType};
use schemars::SchemaGenerator;
use serde::Deserialize;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Deserialize)]
struct Table {
    name: String,
    key: Vec<usize>,
    columns: Vec<Column>,
    #[serde(default)]
    storage: String,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    public: String,
    #[serde(rename = "type")]
    value_type: String,
    nullable: bool,
    choices: Vec<String>,
    ranked: bool,
}

/// Declarations by shape, revision and text.
type Made = BTreeMap<(String, u32, String), Vec<Arc<Declared>>>;

/// A group as one of its builds was declared, [at](Group::at) that build: it may be read, never moved.
///
/// # Errors
/// Why the declaration that the build remembers cannot be read.
pub fn as_declared(group: &Group, build: &Build) -> Result<Group, String> {
    // INVARIANT: a declaration lives for ever, as those in code do; each is made once in a process.
    static MADE: Mutex<Made> = Mutex::new(BTreeMap::new());
    let place = (build.shape.clone(), build.id.revision, build.declared.clone());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if !made.contains_key(&place) {
        let tables: Vec<Table> = serde_json::from_str(&build.declared).map_err(|error| error.to_string())?;
        let (shapes, partitions) = shapes(&build.shape, tables.len());
        let mut models = Vec::new();
        for (index, (table, shape)) in tables.into_iter().zip(shapes).enumerate() {
            // The revision of a group is the sum of those of its tables.
            let revision = if index == 0 { build.id.revision } else { 0 };
            let schema = table.leak(revision, group.mode(), partitions)?;
            models.push(Arc::new(Declared { schema, shape }));
        }
        made.insert(place.clone(), models);
    }
    let models = made.get(&place).into_iter().flatten().map(|model| Arc::clone(model) as Arc<dyn AnyModel>);
    let declared = Group::new(group.name(), models.collect()).map_err(|error| error.to_string())?;
    Ok(declared.at(build.id))
}

/// The shapes of the tables of a build, and into how many partitions it is split: stores that split groups
/// say that behind each shape, `shape in 4`.
fn shapes(shape: &str, tables: usize) -> (Vec<String>, u8) {
    let words: Vec<_> = shape.split(' ').collect();
    if words.len() == tables * 3 {
        let partitions = words.last().and_then(|word| word.parse().ok()).unwrap_or(1);
        return (words.chunks(3).map(|chunk| chunk[0].to_owned()).collect(), partitions);
    }
    (words.into_iter().map(str::to_owned).chain(std::iter::repeat(String::new())).take(tables).collect(), 1)
}

impl Table {
    fn leak(self, revision: u32, mode: Mode, partitions: u8) -> Result<&'static Schema, String> {
        let mut columns = Vec::new();
        for column in self.columns {
            let choices: Vec<&'static str> = column.choices.into_iter().map(leaked).collect();
            columns.push(ColumnSpec {
                value_type: type_of(&column.value_type)?,
                name: leaked(column.name),
                public: leaked(column.public),
                nullable: column.nullable,
                choices: Box::leak(choices.into_boxed_slice()),
                ranked: column.ranked,
                filter: true,
                sort: true,
                sensitivity: Sensitivity::Restricted,
                facets: crate::Facets::PLAIN,
                meaning: "",
            });
        }
        if self.key.iter().any(|column| *column >= columns.len()) {
            return Err(format!("the key of `{}` names a column that it has not", self.name));
        }
        Ok(Box::leak(Box::new(Schema {
            name: leaked(self.name),
            path: "",
            revision,
            meaning: "",
            columns: Box::leak(columns.into_boxed_slice()),
            key: Box::leak(self.key.into_boxed_slice()),
            indexes: &[],
            default_sort: None::<(usize, Direction)>,
            computed: &[],
            reads: &[],
            mode,
            partitions,
            contract: Contract::Eventual,
            tenants: Tenants::Own,
            about: "",
            pending: false,
            storage: if self.storage == "document" { Storage::Document } else { Storage::Columns },
            source: "",
            upkeep: Upkeep::DEFAULT,
            governance: Governance::NONE,
        })))
    }
}

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn type_of(word: &str) -> Result<ValueType, String> {
    use ValueType::{Bool, Bytes, Integer, Json, Money, Text, Timestamp};
    let known = [Integer, Bool, Text, Timestamp, Money, Bytes, Json];
    let named = known.into_iter().find(|known| format!("{known:?}").to_lowercase() == word);
    named.ok_or_else(|| format!("`{word}` is not a type of a column"))
}

/// A read model that no code projects any more.
struct Declared {
    schema: &'static Schema,
    shape: String,
}

impl AnyModel for Declared {
    fn schema(&self) -> &'static Schema {
        self.schema
    }

    fn categories(&self) -> &'static [&'static str] {
        &[]
    }

    fn languages(&self) -> &'static [Language] {
        &[]
    }

    fn table(&self, _: TableUse) -> Box<dyn TableFold> {
        Box::new(Unfoldable)
    }

    fn shape(&self) -> String {
        self.shape.clone()
    }

    fn touches(&self, _: &Arc<RawFact>) -> Result<bool, FoldError> {
        Ok(false)
    }

    fn routed(&self, _: &Arc<RawFact>) -> Result<Vec<Touch>, FoldError> {
        Ok(Vec::new())
    }

    fn computed(&self, _: &[Value], _: Timestamp) -> Result<Vec<Value>, DecodeError> {
        Ok(Vec::new())
    }

    fn json_schema(&self, _: usize, _: &mut SchemaGenerator) -> Option<schemars::Schema> {
        None
    }
}

/// A table that takes nothing: its checkpoint must not move past facts that no code folds into it.
struct Unfoldable;

impl TableFold for Unfoldable {
    fn plan(&mut self, _: &[Arc<RawFact>], _: &mut Decoded, _: Earlier<'_>) -> Result<(), FoldError> {
        let message = "a build of another declaration is only read".to_owned();
        Err(FoldError::of_no_fact(FoldErrorKind::Panicked { message }))
    }

    fn needs(&mut self) -> TableNeeds {
        TableNeeds::default()
    }

    fn supply(&mut self, _: Vec<StoredRow>) -> Result<(), FoldError> {
        Ok(())
    }

    fn run(&mut self, _: Position, _: Earlier<'_>) -> Result<Ran, FoldError> {
        Ok(Ran::Done)
    }

    fn want(&mut self, _: &RowRef) {}

    fn settle(&mut self) -> Result<(), FoldError> {
        Ok(())
    }

    fn changes(&mut self) -> Result<TableChanges, FoldError> {
        Ok(TableChanges::default())
    }

    fn hold(&mut self, _: Vec<(RowRef, Position)>) {}

    fn skip(&mut self, _: Vec<(RowRef, Position)>) {}

    fn only(&mut self, _: Vec<(RowRef, Position)>) {}

    fn no_ops(&self) -> u64 {
        0
    }

    fn ignored(&self) -> u64 {
        0
    }

    fn rows_held(&self) -> usize {
        0
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
