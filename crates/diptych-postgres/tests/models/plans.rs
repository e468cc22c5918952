//! Which way PostgreSQL goes for the questions that the store asks of it.

use super::world::*;
use diptych_conformance::fixtures::Searchable;
use diptych_query::ModelStore;
use tokio_postgres::Client;

const COLUMNS: &str = r#""account", "balance", "large_at", "size", "total", "total_currency""#;

/// The statements are those of `models/question.rs`, whose tests hold their form.
#[tokio::test]
async fn the_declared_orders_need_no_sorting_step() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    drain(&store, &model, 10).await;
    let person = database.person().await;
    let fill = "INSERT INTO diptych.balance_r1_g1 (tenant_id, account, balance, large_at, size, \
        projection_position, row_hash) SELECT 'main', 'x' || n, n % 500, CASE WHEN n % 3 > 0 THEN \
        to_timestamp(n) END, 'SMALL', 1, 1 FROM generate_series(1, 20000) AS n; \
        ANALYZE diptych.balance_r1_g1";
    person.batch_execute(fill).await.unwrap();
    let time = "'2026-07-07T09:00:00Z'::timestamptz";
    for (asked, index) in [
        (r#"AND "account" > 'm' ORDER BY "account""#.to_owned(), "balance_r1_g1_pkey"),
        (r#"ORDER BY "balance", "account""#.to_owned(), "balance_r1_g1_index_2"),
        (
            r#"AND ("balance", "account") > (7::bigint, 'm') ORDER BY "balance", "account""#.to_owned(),
            "balance_r1_g1_index_2",
        ),
        (r#"AND "balance" = 7::bigint ORDER BY "account""#.to_owned(), "balance_r1_g1_index_2"),
        (
            r#"AND "large_at" IS NOT NULL ORDER BY "large_at" DESC, "account""#.to_owned(),
            "balance_r1_g1_index_1",
        ),
        (
            format!(
                r#"AND "large_at" IS NOT NULL AND "large_at" <= {time} AND ("large_at" < {time} OR
                "account" > 'm') ORDER BY "large_at" DESC, "account""#
            ),
            "balance_r1_g1_index_1",
        ),
        (
            r#"AND "large_at" IS NULL AND "account" > 'm' ORDER BY "large_at" DESC, "account""#.to_owned(),
            "balance_r1_g1_index_1",
        ),
    ] {
        let plan = plan(&person, COLUMNS, "balance_r1_g1", &asked).await;
        assert!(!plan.contains("Sort") && !plan.contains("Seq Scan"), "{asked}\n{plan}");
        assert!(plan.contains(index), "{asked}\n{plan}");
    }
}

/// How PostgreSQL goes about a question of the main tenant.
async fn plan(person: &Client, columns: &str, table: &str, asked: &str) -> String {
    let explain = format!(
        "EXPLAIN SELECT {columns} FROM \"diptych\".\"{table}\" WHERE \"tenant_id\" = 'main' {asked} LIMIT 20"
    );
    let rows = person.query(&explain, &[]).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

/// Few of many rows fit each rule; how one is written is held by the tests of `models/question.rs`.
#[tokio::test]
async fn a_row_rule_on_an_indexed_column_is_answered_by_its_index() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    // The indexes are made by what first comes to the head.
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    drain(&store, &model, 10).await;
    let person = database.person().await;
    let fill = "INSERT INTO diptych.balance_r1_g1 (tenant_id, account, balance, large_at, size, \
        projection_position, row_hash) SELECT 'main', 'x' || n, n, CASE WHEN n > 19900 THEN \
        to_timestamp(n) END, 'SMALL', 1, 1 FROM generate_series(1, 20000) AS n; \
        ANALYZE diptych.balance_r1_g1";
    person.batch_execute(fill).await.unwrap();
    for (rule, index) in [
        (r#"("balance" = 7::bigint)"#, "balance_r1_g1_index_2"),
        (r#"("balance" = ANY('{7,11}'::bigint[]))"#, "balance_r1_g1_index_2"),
        (r#"(("account" = 'x7'::text) OR ("balance" = 11::bigint))"#, "balance_r1_g1_index_2"),
        (
            r#"(("large_at" IS NOT NULL) AND ('1970-01-01T05:32:00Z'::timestamptz <= "large_at"))"#,
            "balance_r1_g1_index_1",
        ),
    ] {
        let plan =
            plan(&person, COLUMNS, "balance_r1_g1", &format!(r#"AND {rule} ORDER BY "account""#)).await;
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{rule}\n{plan}");
    }
}

#[tokio::test]
async fn words_are_found_by_their_index() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Searchable<false>>();
    store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    drain(&store, &model, 10).await;
    let person = database.person().await;
    let fill = "INSERT INTO diptych.searchable_r1_g1 (tenant_id, name, title, body, hidden, number, \
        projection_position, row_hash) SELECT 'main', 'x' || n, 'title of w' || n % 2000, NULL, '', n, 1, 1 \
        FROM generate_series(1, 20000) AS n";
    person.batch_execute(fill).await.unwrap();
    // What was written of late waits in a list beside the index until somebody cleans up.
    person.batch_execute("VACUUM ANALYZE diptych.searchable_r1_g1").await.unwrap();
    for words in ["'w1234'", "'title' & 'w1234'", "'w1234':*"] {
        let literal = words.replace('\'', "''");
        for order in [r#""name""#, r#""number", "name""#] {
            let asked = format!(r#"AND "full_text" @@ '{literal}'::text::tsquery ORDER BY {order}"#);
            let plan = plan(&person, r#""name", "title""#, "searchable_r1_g1", &asked).await;
            assert!(plan.contains("searchable_r1_g1_words"), "{asked}\n{plan}");
            assert!(!plan.contains("Seq Scan"), "{asked}\n{plan}");
        }
    }
}
