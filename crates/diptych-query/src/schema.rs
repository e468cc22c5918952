//! What a read model declares about itself. Every store makes its tables from this and from nothing else.

use crate::{Contract, Direction, Upkeep};
use diptych_core::{Tenant, ValueType};
use std::sync::LazyLock;

/// A read model's declaration, written by `#[derive(ReadModel)]`.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Its name: the table's, and the address's with `-` for `_` unless declared.
    pub name: &'static str,
    /// The last part of its address, where that is declared; empty where it follows from the name.
    pub path: &'static str,
    /// The code's version of it. Another shape needs another revision.
    pub revision: u32,
    /// What it means, from the doc comment.
    pub meaning: &'static str,
    /// The columns, in the order of the struct's fields.
    pub columns: &'static [ColumnSpec],
    /// Which columns form the key, in order.
    pub key: &'static [usize],
    /// The secondary indexes.
    pub indexes: &'static [IndexSpec],
    /// The order of a page that asks for none; by key where there is none.
    pub default_sort: Option<(usize, Direction)>,
    /// Columns computed when a row is read, never stored.
    pub computed: &'static [ComputedSpec],
    /// The read models of its group that its projection looks rows up in.
    pub reads: &'static [&'static Schema],
    /// When facts are folded.
    pub mode: Mode,
    /// Into how many partitions its rows are split where a store shares them among processes; 1 is not split.
    pub partitions: u8,
    /// What its answers promise.
    pub contract: Contract,
    /// Whose rows it holds.
    pub tenants: Tenants,
    /// The category of the aggregates that its rows are about, one key each: a row's key is the key of its
    /// stream. Empty where that is not declared.
    pub about: &'static str,
    /// Whether an answer names what is under way for its rows and not in them yet.
    pub pending: bool,
    /// In which form a store keeps its rows.
    pub storage: Storage,
    /// The scheduled export whose files it is folded from, instead of from the log itself; empty where there
    /// is none.
    pub source: &'static str,
    /// How it is kept right.
    pub upkeep: Upkeep,
    /// Who answers for it and why it exists.
    pub governance: Governance,
}

/// A stored column.
#[derive(Debug)]
pub struct ColumnSpec {
    /// Its name in SQL, snake_case.
    pub name: &'static str,
    /// Its name on the wire, camelCase.
    pub public: &'static str,
    /// Its type.
    pub value_type: ValueType,
    /// Whether it may hold no value.
    pub nullable: bool,
    /// The only texts allowed, in order of rank; empty when any is.
    pub choices: &'static [&'static str],
    /// Whether it compares by rank among the choices.
    pub ranked: bool,
    /// Whether a query may filter by it.
    pub filter: bool,
    /// Whether a query may sort by it.
    pub sort: bool,
    /// How careful to be with it.
    pub sensitivity: Sensitivity,
    /// In which further ways it takes part in questions and answers.
    pub facets: Facets,
    /// What it means, from the doc comment.
    pub meaning: &'static str,
}

/// In which further ways a column takes part in questions and answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facets {
    /// Whether its words can be searched.
    pub full_text: bool,
    /// How an answer looks to whoever may see the row and not the column.
    pub withheld: Withheld,
    /// The widest range that a question may ask for, in the column's unit (microseconds for a time); a
    /// question that filters by a range must bound it on both sides then. None where any may be.
    pub range_max: Option<i64>,
}

impl Facets {
    /// A column that takes part in no further way.
    pub const PLAIN: Self = Self { full_text: false, withheld: Withheld::Masked, range_max: None };
}

/// How an answer looks to whoever may see a row and not one of its columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Withheld {
    /// The column is there without a value, and the answer says that it is withheld.
    #[default]
    Masked,
    /// The column is not there.
    Absent,
}

/// A column computed from a row and the clock.
#[derive(Debug)]
pub struct ComputedSpec {
    /// Its name on the wire, camelCase.
    pub public: &'static str,
    /// Its type.
    pub value_type: ValueType,
    /// Whether it may hold no value.
    pub nullable: bool,
}

/// A secondary index.
#[derive(Debug)]
pub struct IndexSpec {
    /// The columns with their direction.
    pub columns: &'static [(usize, Direction)],
}

/// When a read model's facts are folded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Inside the transaction of the command.
    Inline,
    /// By a worker that the writer wakes.
    Asynchronous,
    /// When somebody drains it.
    OnDemand,
}

impl Mode {
    /// The word that operators see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Asynchronous => "asynchronous",
            Self::OnDemand => "on_demand",
        }
    }
}

/// In which form a store keeps the rows of a read model. Questions, rebuilds, comparing, digests and drift
/// are the same in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Storage {
    /// A column of a table for each column.
    #[default]
    Columns,
    /// One JSON document for each row, with its key, its position and its build.
    Document,
}

/// Whose rows a read model holds and serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tenants {
    /// Each tenant sees its own.
    Own,
    /// One set of rows over the facts of every tenant, under a policy action of its own. What is to be told
    /// apart by tenant has the tenant in its key.
    All,
}

/// To whom the rows of a read model for all tenants belong. They stand in a table of their own, so that a
/// tenant of the same name shares nothing with them.
static EVERYBODY: LazyLock<Tenant> = LazyLock::new(|| Tenant::from_stored("*"));

impl Tenants {
    /// To whom the row belongs that a tenant's fact changes, or that a tenant asks for.
    #[must_use]
    pub fn owner(self, tenant: &Tenant) -> &Tenant {
        match self {
            Self::Own => tenant,
            Self::All => &EVERYBODY,
        }
    }
}

/// How careful to be with a column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sensitivity {
    /// Anyone who may see the row.
    Public,
    /// Inside the organisation.
    Internal,
    /// About a person.
    Personal,
    /// Needs a reason to look.
    Restricted,
}

/// Who answers for a read model, why it exists and what it promises to people. Empty where not declared.
#[derive(Clone, Copy, Debug)]
pub struct Governance {
    /// Who answers for it.
    pub owner: &'static str,
    /// Why it exists.
    pub purpose: &'static str,
    /// The journey of a user that it serves.
    pub journey: &'static str,
    /// The target for freshness, such as `99% within 3s over 30d`.
    pub freshness_target: &'static str,
    /// The differences tolerated; none by default.
    pub correctness_target: &'static str,
    /// The target for latency, such as `p99 50ms`.
    pub latency_target: &'static str,
    /// Who signed it off.
    pub signed_off_by: &'static str,
    /// When, as a date.
    pub signed_off_on: &'static str,
    /// How often that is looked at again, such as `quarterly`.
    pub sign_off_cadence: &'static str,
    /// Where an operator looks first.
    pub runbook: &'static str,
}

impl Governance {
    /// Nothing declared.
    pub const NONE: Self = Self {
        owner: "",
        purpose: "",
        journey: "",
        freshness_target: "",
        correctness_target: "none tolerated",
        latency_target: "",
        signed_off_by: "",
        signed_off_on: "",
        sign_off_cadence: "",
        runbook: "",
    };
}

impl Schema {
    /// The column of a public name.
    #[must_use]
    pub fn column(&self, public: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.public == public)
    }

    /// Whether a column is not for everybody who may see the row: it is more than public, and no part of the
    /// key.
    #[must_use]
    pub fn is_guarded(&self, column: usize) -> bool {
        let guarded = |spec: &ColumnSpec| spec.sensitivity > Sensitivity::Public;
        !self.key.contains(&column) && self.columns.get(column).is_some_and(guarded)
    }

    /// The columns that secondary indexes hold and the key does not, ascending; none where rows are
    /// documents, which are written whole.
    #[must_use]
    pub fn indexed_columns(&self) -> Vec<usize> {
        let held = self.indexes.iter().flat_map(|index| index.columns).map(|(column, _)| *column);
        let secondary = |column: &usize| self.storage == Storage::Columns && !self.key.contains(column);
        let mut columns: Vec<_> = held.filter(secondary).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Whether the key or an index begins with a column, so that rows can be found by it.
    #[must_use]
    pub fn is_indexed(&self, column: usize) -> bool {
        let begins = |index: &IndexSpec| index.columns.first().is_some_and(|(first, _)| *first == column);
        self.key.first() == Some(&column) || self.indexes.iter().any(begins)
    }

    /// The last part of the model's address: as declared, or else its name with `-` for `_`.
    #[must_use]
    pub fn segment(&self) -> String {
        if self.path.is_empty() { self.name.replace('_', "-") } else { self.path.to_owned() }
    }

    /// Its table, in JSON, as builds remember it: name, key and columns.
    #[must_use]
    pub fn declared(&self) -> serde_json::Value {
        let columns = self.columns.iter().map(|column| {
            serde_json::json!({
                "name": column.name,
                "public": column.public,
                "type": format!("{:?}", column.value_type).to_lowercase(),
                "nullable": column.nullable,
                "choices": column.choices,
                "ranked": column.ranked,
            })
        });
        let mut declared = serde_json::json!({
            "name": self.name, "key": self.key, "columns": columns.collect::<Vec<_>>()
        });
        if self.storage == Storage::Document {
            declared["storage"] = "document".into();
        }
        declared
    }

    /// A fingerprint of everything that decides the table's shape: another one under the same revision is
    /// refused.
    #[must_use]
    pub fn shape(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        part(self.name);
        for column in self.columns {
            part(column.name);
            part(&format!("{:?} {}", column.value_type, column.nullable));
            part(&column.choices.join(","));
            part(&column.ranked.to_string());
        }
        part(&format!("{:?}", self.key));
        for index in self.indexes {
            part(&format!("{:?}", index.columns));
        }
        for column in self.columns.iter().filter(|column| column.facets.full_text) {
            part(&format!("full text {}", column.name));
        }
        if self.storage == Storage::Document {
            hasher.update(b"document");
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }
}
