//! Which way PostgreSQL goes for the questions that the store asks of it.

use super::world::*;
use diptych_query::ModelStore;

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
        let explain = format!(
            "EXPLAIN SELECT {COLUMNS} FROM \"diptych\".\"balance_r1_g1\" \
             WHERE \"tenant_id\" = 'main' {asked} LIMIT 20"
        );
        let rows = person.query(&explain, &[]).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(!plan.contains("Sort") && !plan.contains("Seq Scan"), "{asked}\n{plan}");
        assert!(plan.contains(index), "{asked}\n{plan}");
    }
}
