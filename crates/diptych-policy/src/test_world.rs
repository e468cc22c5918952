//! What the tests of this crate speak of: one read model with a column of every kind.

use diptych_core::ValueType;
use diptych_query::{
    ColumnSpec, Contract, Facets, Governance, Mode, Schema, Sensitivity, Storage, Tenants, Upkeep,
};

const fn column(name: &'static str, value_type: ValueType, nullable: bool) -> ColumnSpec {
    ColumnSpec {
        name,
        public: name,
        value_type,
        nullable,
        choices: &[],
        ranked: false,
        filter: true,
        sort: true,
        sensitivity: Sensitivity::Public,
        facets: Facets::PLAIN,
        meaning: "",
    }
}

/// Pieces of work.
pub(crate) static WORK: Schema = Schema {
    name: "work_item",
    path: "",
    revision: 1,
    meaning: "",
    columns: &[
        column("id", ValueType::Text, false),
        column("team", ValueType::Text, true),
        ColumnSpec { sensitivity: Sensitivity::Personal, ..column("title", ValueType::Text, false) },
        column("count", ValueType::Integer, false),
        column("extra", ValueType::Integer, true),
        column("open", ValueType::Bool, false),
        column("urgent", ValueType::Bool, true),
        column("due", ValueType::Timestamp, true),
        ColumnSpec {
            choices: &["LOW", "MEDIUM", "HIGH"],
            ranked: true,
            ..column("risk", ValueType::Text, false)
        },
        ColumnSpec { choices: &["A", "B"], ranked: true, ..column("grade", ValueType::Text, true) },
        column("lines", ValueType::Json, true),
    ],
    key: &[0],
    indexes: &[],
    default_sort: None,
    computed: &[],
    reads: &[],
    mode: Mode::Asynchronous,
    partitions: 1,
    contract: Contract::Eventual,
    tenants: Tenants::Own,
    about: "",
    pending: false,
    storage: Storage::Columns,
    source: "",
    upkeep: Upkeep::DEFAULT,
    governance: Governance::NONE,
};
