//! Rows that may be seen: the databases answer what Cedar itself decides, row by row.

use crate::world::{Home, PieceOfWork, asked, made, piece, service, somebody};
use diptych::core::Tenant;
use diptych::policy::differential::{Draw, Oracle};
use diptych::policy::{CategoryDeclaration, Declarations, PolicyGuard};
use diptych::prelude::*;
use diptych::query::{ModelStore, Purpose, QueryError, RawFind, RawRow, ReadPolicy, RowRule, Words};
use std::collections::BTreeSet;
use std::time::Duration;

/// How many rows stand in the store.
const ROWS: usize = 60;

/// How many sets of policies are drawn, and how many principals for each.
const SETS: u64 = 60;
const PRINCIPALS: usize = 2;

const EVERYTHING: &str = r#"@id("all") permit (principal, action, resource);"#;

async fn the_store_answers_what_cedar_decides(home: Home) {
    let seed = std::env::var("DIPTYCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    let mut rng = fastrand::Rng::with_seed(seed);
    let running = service(EVERYTHING).open(home.config()).await.unwrap();
    let mut rows = Vec::new();
    for number in 0..ROWS {
        let values = Draw::new(&mut rng, PieceOfWork::SCHEMA).row(number);
        let row = PieceOfWork::from_row(&values).unwrap();
        let token = made(&running, running.principal(), &row).await;
        rows.push(values);
        if rows.len() == ROWS {
            asked(&running, running.principal(), token).await;
        }
    }
    let (mut conditions, mut allowed, mut refused) = (0, 0, 0);
    for number in 0..SETS {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_add(number));
        let mut draw = Draw::new(&mut rng, PieceOfWork::SCHEMA);
        let text = draw.policies();
        let policies = Policies::from_text(&text).unwrap();
        let declared =
            Declarations { categories: Vec::<CategoryDeclaration>::new(), models: vec![PieceOfWork::SCHEMA] };
        let Ok(guard) = PolicyGuard::new(&policies, &declared) else {
            refused += 1;
            continue;
        };
        for _ in 0..PRINCIPALS {
            let principal = draw.principal();
            let oracle = Oracle::new(&guard, &policies, &principal, PieceOfWork::SCHEMA).unwrap();
            let expected =
                rows.iter().filter(|row| oracle.sees(row, Purpose::View)).map(|row| row[0].clone());
            let expected: BTreeSet<_> = expected.map(|key| format!("{key:?}")).collect();
            let sight = guard.sight(&principal, PieceOfWork::SCHEMA, Purpose::View);
            let rule = sight.map_or(RowRule::Nothing, |sight| sight.rows.clone());
            conditions += usize::from(matches!(rule, RowRule::Where(_)));
            let found = found(&running, rule.clone()).await;
            assert_eq!(found, expected, "DIPTYCH_SEED={seed} set {number}\n{text}\n{principal:?}\n{rule:?}");
            allowed += expected.len();
        }
    }
    assert!(conditions > 10 && allowed > 0, "{conditions} {allowed}, {refused} of {SETS} refused");
    running.stop().await.unwrap();
}

/// The keys of the rows that the store finds by a rule.
async fn found(running: &Running, rule: RowRule) -> BTreeSet<String> {
    let group = running.queries().models().map(|(_, group)| group).next().unwrap();
    let find = RawFind {
        tenant: Tenant::new("main").unwrap(),
        conditions: Vec::new(),
        rule,
        words: Words::default(),
        sort: None,
        after: None,
        rows_max: ROWS + 1,
    };
    let store: &dyn ModelStore = &**running.store();
    let found = store.find(group, PieceOfWork::SCHEMA, &find, Duration::from_secs(20)).await.unwrap();
    found.rows.iter().map(|row| format!("{:?}", row[0])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_answers_what_cedar_decides() {
    the_store_answers_what_cedar_decides(Home::embedded()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_answers_what_cedar_decides() {
    the_store_answers_what_cedar_decides(Home::postgres()).await;
}

const TEAMS: &str = r#"
@id("make") permit (principal, action == Action::"piece.Make", resource);
@id("own") permit (principal, action == Action::"viewRow", resource is PieceOfWorkView)
when { resource has team && principal.teams.contains(resource.team) };
@id("others-redacted") permit (principal in Role::"planner", action == Action::"viewRedacted", resource);
@id("own-team-by-name") forbid (principal, action == Action::"searchBy", resource is PieceOfWorkView)
when { context.field == "team" && context has value && !principal.teams.contains(context.value) };
@id("planners-carry-away") permit (principal in Role::"planner", action == Action::"export", resource)
when { true };
@id("titles")
permit (principal in Role::"clerk", action in [Action::"viewField", Action::"searchBy"], resource)
when { context.field == "title" };
"#;

/// The names of the pieces that somebody sees, and whether their titles are shown.
async fn seen(running: &Running, who: &Principal, token: Token) -> Vec<(String, bool)> {
    let shown = |row: &RawRow| (format!("{:?}", row.values[0]), !row.withheld.contains(&2));
    asked(running, who, token).await.iter().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_or_asks_for_what_is_not_theirs() {
    let home = Home::embedded();
    let running = service(TEAMS).open(home.config()).await.unwrap();
    let clerk = somebody("ann", "TEAM-7", &["clerk"]);
    made(&running, &clerk, &piece("1", "TEAM-7")).await;
    let token = made(&running, &clerk, &piece("2", "TEAM-9")).await;
    let text = |name: &str| format!("{:?}", diptych::core::Value::Text(name.to_owned()));
    assert_eq!(seen(&running, &clerk, token).await, [(text("1"), true)]);
    let planner = somebody("pat", "TEAM-9", &["planner"]);
    assert_eq!(seen(&running, &planner, token).await, [(text("1"), false), (text("2"), false)]);
    let by_name = |team: &str| PieceOfWork::find().filter(PieceOfWork::TEAM.eq(team));
    assert_eq!(running.queries().find(&clerk, by_name("TEAM-7")).await.unwrap().value.items.len(), 1);
    let refused = running.queries().find(&clerk, by_name("TEAM-9")).await.unwrap_err();
    assert!(matches!(&refused, QueryError::Forbidden(_)), "{refused}");
    let by_title = PieceOfWork::find().filter(PieceOfWork::TITLE.eq("piece 1".to_owned()));
    assert!(running.queries().find(&clerk, by_title.clone()).await.is_ok());
    assert!(running.queries().find(&planner, by_title).await.is_err());
    let nobody = somebody("eve", "TEAM-1", &[]);
    let stranger = Principal::new("other", "ann").unwrap().with((*clerk.claims).clone());
    assert!(seen(&running, &nobody, token).await.is_empty());
    assert!(seen(&running, &stranger, token).await.is_empty(), "the tenant stands outside of policies");
    running.stop().await.unwrap();
}

const SEARCHERS: &str = r#"
@id("make") permit (principal, action == Action::"piece.Make", resource);
@id("own") permit (principal, action == Action::"viewRow", resource is PieceOfWorkView)
when { resource has team && principal.teams.contains(resource.team) };
@id("others-redacted") permit (principal, action == Action::"viewRedacted", resource is PieceOfWorkView);
@id("titles") permit (principal, action in [Action::"viewField", Action::"searchBy"], resource)
when { context.field == "title" };
"#;

/// Whoever may ask by a column learns nothing by it of rows that are seen without that column.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_seen_redacted_answers_no_question_by_what_is_hidden() {
    let home = Home::embedded();
    let running = service(SEARCHERS).open(home.config()).await.unwrap();
    let ann = somebody("ann", "TEAM-7", &[]);
    made(&running, &ann, &piece("1", "TEAM-7")).await;
    let token = made(&running, &ann, &piece("2", "TEAM-9")).await;
    let text = |name: &str| format!("{:?}", diptych::core::Value::Text(name.to_owned()));
    assert_eq!(seen(&running, &ann, token).await, [(text("1"), true), (text("2"), false)]);
    for (title, rows) in [("piece 1", 1), ("piece 2", 0)] {
        let by_title = PieceOfWork::find().filter(PieceOfWork::TITLE.eq(title.to_owned()));
        assert_eq!(running.queries().find(&ann, by_title).await.unwrap().value.items.len(), rows, "{title}");
    }
    running.stop().await.unwrap();
}
