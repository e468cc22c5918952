//! The text of generated SQL.

use super::*;
use diptych_query::{Contract, Governance, IndexSpec, Mode, Sensitivity, Storage, Tenants, Upkeep};

const fn column(name: &'static str, value_type: ValueType) -> ColumnSpec {
    ColumnSpec {
        name,
        public: name,
        value_type,
        nullable: false,
        choices: &[],
        ranked: false,
        filter: true,
        sort: true,
        sensitivity: Sensitivity::Internal,
        facets: diptych_query::Facets::PLAIN,
        meaning: "",
    }
}

pub(crate) static ORDER: Schema = Schema {
    name: "order_summary",
    path: "",
    revision: 1,
    meaning: "",
    columns: &[
        column("order_id", ValueType::Text),
        column("customer", ValueType::Text),
        column("total", ValueType::Money),
        column("placed_at", ValueType::Timestamp),
        ColumnSpec { nullable: true, ..column("due_at", ValueType::Timestamp) },
        ColumnSpec { choices: &["LOW", "HIGH"], ranked: true, ..column("risk", ValueType::Text) },
        column("open", ValueType::Bool),
    ],
    key: &[0],
    indexes: &[
        IndexSpec { columns: &[(1, Direction::Ascending), (3, Direction::Descending)] },
        IndexSpec { columns: &[(4, Direction::Ascending)] },
        IndexSpec { columns: &[(5, Direction::Descending)] },
    ],
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

fn table() -> Named {
    Named::new(&shared::Schema::new("diptych"), "order_summary_r1_g1")
}

#[test]
fn a_table_is_typed_named_and_checked() {
    let sql = create_table(&table(), &ORDER, false, None);
    for line in [
        r#"CREATE TABLE "diptych"."order_summary_r1_g1" ("#,
        r#""tenant_id" text COLLATE "C" NOT NULL,"#,
        r#""total" bigint NOT NULL,"#,
        r#""total_currency" text COLLATE "C" NOT NULL,"#,
        r#""due_at" timestamptz,"#,
        r#""open" boolean NOT NULL,"#,
        r#"CONSTRAINT "order_summary_risk_check" CHECK ("risk" IN ('LOW', 'HIGH')),"#,
        r#""row_hash" bigint NOT NULL,"#,
        r#"PRIMARY KEY ("tenant_id", "order_id")"#,
    ] {
        assert!(sql.contains(line), "{line}\n{sql}");
    }
    assert!(create_table(&table(), &ORDER, true, None).contains(r#""row_hash" bigint NOT NULL DEFAULT 0"#));
}

#[test]
fn a_tombstone_has_the_key_and_the_guard() {
    let expected = concat!(
        r#"CREATE TABLE "diptych"."order_summary_r1_g1_tombstone" ("#,
        "\n  ",
        r#""tenant_id" text COLLATE "C" NOT NULL,"#,
        "\n  ",
        r#""order_id" text COLLATE "C" NOT NULL,"#,
        "\n  ",
        r#""projection_position" bigint NOT NULL,"#,
        "\n  ",
        r#"PRIMARY KEY ("tenant_id", "order_id")"#,
        "\n)"
    );
    assert_eq!(create_tombstones(&table(), &ORDER), expected);
}

#[test]
fn indexes_end_with_the_key_and_hold_ranks_as_ranks() {
    let indexes = create_indexes(&table(), &ORDER);
    let on = r#"ON "diptych"."order_summary_r1_g1""#;
    let rank = r#"(CASE "risk" WHEN 'LOW' THEN 0 WHEN 'HIGH' THEN 1 END)"#;
    let make = |number| format!(r#"CREATE INDEX IF NOT EXISTS "order_summary_r1_g1_index_{number}" {on}"#);
    let expected = [
        format!(r#"{} ("tenant_id", "customer", "placed_at" DESC, "order_id")"#, make(1)),
        format!(r#"{} ("tenant_id", "due_at", "order_id")"#, make(2)),
        format!(r#"{} ("tenant_id", {rank} DESC, "order_id")"#, make(3)),
    ];
    assert_eq!(indexes, expected);
}

#[test]
fn people_see_money_as_a_decimal_number_and_nothing_that_only_a_fold_needs() {
    let view = Named::new(&shared::Schema::new("diptych"), "order_summary");
    let expected = concat!(
        r#"CREATE OR REPLACE VIEW "diptych"."order_summary" AS SELECT "tenant_id", "order_id", "customer", "#,
        r#"round("total" / 1000.0, 3) AS "total", "total_currency", "placed_at", "due_at", "risk", "open" "#,
        r#"FROM "diptych"."order_summary_r1_g1""#
    );
    assert_eq!(create_view(&view, &table(), &ORDER), expected);
}

#[test]
fn many_rows_are_one_statement() {
    let expected = concat!(
        r#"UPDATE "diptych"."order_summary_r1_g1" AS held SET "customer" = given.v0, "total" = given.v1, "#,
        r#""total_currency" = given.v2, "placed_at" = given.v3, "due_at" = given.v4, "risk" = given.v5, "#,
        r#""open" = given.v6, "projection_position" = given.v7, "row_hash" = given.v8 "#,
        r#"FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "#,
        r#"AS given (v0, v1, v2, v3, v4, v5, v6, v7, v8, k0, k1) "#,
        r#"WHERE held."tenant_id" = given.k0 AND held."order_id" = given.k1"#
    );
    assert_eq!(update(&table(), &ORDER), expected);
    assert_eq!(row_kinds(&ORDER).len(), row_columns(&ORDER).len());
    let expected = concat!(
        r#"DELETE FROM "diptych"."order_summary_r1_g1" AS held USING unnest($1, $2) AS given (k0, k1) "#,
        r#"WHERE held."tenant_id" = given.k0 AND held."order_id" = given.k1"#
    );
    assert_eq!(delete(&table(), &ORDER), expected);
}

#[test]
fn rows_are_found_by_what_their_index_holds() {
    let by_rank = select_matching(&table(), &ORDER, 5);
    let rank = r#"(CASE "risk" WHEN 'LOW' THEN 0 WHEN 'HIGH' THEN 1 END) = given.k1 LIMIT 10001"#;
    assert!(by_rank.contains(rank), "{by_rank}");
    let without = select_without(&table(), &ORDER, 4);
    assert!(without.contains(r#"given.k0 AND held."due_at" IS NULL LIMIT 10001"#), "{without}");
}

#[test]
fn a_name_that_the_table_needs_is_noticed() {
    static CLASH: Schema = Schema {
        columns: &[column("id", ValueType::Text), column("row_hash", ValueType::Integer)],
        indexes: &[],
        ..copy()
    };
    static LONG: Schema = Schema {
        columns: &[column(
            "a_name_that_is_so_long_that_postgresql_would_cut_off_what_it_ends_with",
            ValueType::Text,
        )],
        ..copy()
    };
    assert_eq!(clashing_column(&CLASH), Some(r#""row_hash""#.to_owned()));
    assert!(clashing_column(&LONG).is_some());
    assert_eq!(clashing_column(&ORDER), None);
}

#[test]
fn long_names_stay_apart() {
    let schema = shared::Schema::new("diptych");
    let long = "a".repeat(70);
    let table = Named::new(&schema, &long);
    assert_eq!(table.name.len(), NAME_BYTES_MAX);
    assert_ne!(table.name, Named::new(&schema, &"a".repeat(71)).name);
    assert_ne!(table.name, table.tombstones().name);
    assert_eq!(table.tombstones().name.len(), NAME_BYTES_MAX);
}

#[test]
fn names_are_quoted_whatever_they_hold() {
    assert_eq!(Named::new(&shared::Schema::new("my log"), r#"a"b"#).sql(), r#""my log"."a""b""#);
    assert_eq!(literal("it's"), "'it''s'");
}

const fn copy() -> Schema {
    Schema {
        name: "clash",
        path: "",
        revision: 1,
        meaning: "",
        columns: &[],
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
    }
}
