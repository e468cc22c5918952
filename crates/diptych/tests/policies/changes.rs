//! What came into force is remembered, with who sees more and who sees less by it.

use crate::support::Folder;
use crate::world::{Home, asked, made, piece, service, somebody};
use diptych::ops::policies::{POLICIES, PolicyChange, check_policies, compare_policies, show_policies};
use diptych::ops::{Output, Report};
use diptych::prelude::*;
use diptych::query::Registry;

const BEFORE: &str = r#"
@id("make") permit (principal, action == Action::"piece.Make", resource);
@id("rows") permit (principal in Role::"clerk", action == Action::"viewRow", resource)
when { resource has team && resource.team == "TEAM-7" };
"#;

const AFTER: &str = r#"
@id("make") permit (principal in Role::"clerk", action == Action::"piece.Make", resource);
@id("rows") permit (principal in Role::"clerk", action == Action::"viewRow", resource);
@id("titles") permit (principal in Role::"clerk", action == Action::"viewField", resource)
when { context.field == "title" };
"#;

async fn recorded(running: &Running) -> Vec<PolicyChange> {
    let registry: &dyn Registry = &**running.store();
    let records = registry.records(POLICIES, 10).await.unwrap();
    let mut changes: Vec<PolicyChange> =
        records.iter().map(|record| serde_json::from_str(&record.body).unwrap()).collect();
    changes.sort_by_key(|change| change.number);
    changes
}

/// The last change, once its rows are counted.
async fn counted(running: &Running) -> PolicyChange {
    loop {
        let last = recorded(running).await.pop().unwrap();
        if last.counted {
            return last;
        }
        tokio::task::yield_now().await;
    }
}

async fn a_change_says_who_sees_more(home: Home) {
    let running = service(BEFORE).open(home.config()).await.unwrap();
    let clerk = somebody("ann", "TEAM-7", &["clerk"]);
    made(&running, &clerk, &piece("1", "TEAM-7")).await;
    made(&running, &clerk, &piece("2", "TEAM-9")).await;
    let token = made(&running, &clerk, &piece("3", "TEAM-9")).await;
    assert_eq!(asked(&running, &clerk, token).await.len(), 1);
    assert_eq!(recorded(&running).await.len(), 1);
    running.stop().await.unwrap();

    let running = service(AFTER).open(home.config()).await.unwrap();
    let change = counted(&running).await;
    assert_eq!((change.number, change.policies.changed.len()), (2, 2));
    assert_eq!((change.policies.added, change.policies.removed), (vec!["titles".to_owned()], Vec::new()));
    let actions: Vec<_> =
        change.actions.iter().map(|one| format!("{} {}", one.principal, one.action)).collect();
    assert_eq!(actions, ["anybody piece.Make"]);
    let [sight] = change.sights.as_slice() else { panic!("{:?}", change.sights) };
    assert_eq!(sight.principal, "any-clerk roles clerk");
    assert_eq!((sight.rows_before, sight.rows_after, sight.rows_gained, sight.rows_lost), (1, 3, 2, 0));
    assert_eq!(sight.fields.iter().map(|field| field.field.as_str()).collect::<Vec<_>>(), ["title"]);
    running.stop().await.unwrap();

    // The same again is no change.
    let running = service(AFTER).open(home.config()).await.unwrap();
    assert_eq!(recorded(&running).await.len(), 2);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_check_and_compare_others_before_they_are_in_force() {
    let home = Home::embedded();
    let running = service(BEFORE).open(home.config()).await.unwrap();
    let clerk = somebody("ann", "TEAM-7", &["clerk"]);
    made(&running, &clerk, &piece("1", "TEAM-7")).await;
    let token = made(&running, &clerk, &piece("2", "TEAM-9")).await;
    asked(&running, &clerk, token).await;
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    let (good, bad) = (folder.path().join("good.cedar"), folder.path().join("bad.cedar"));
    std::fs::write(&good, AFTER).unwrap();
    std::fs::write(&bad, AFTER.replace("resource.team", "resource.taem").replace("in Role", "inn Role"))
        .unwrap();
    let operator = running.operator().await.unwrap();
    let text = |report: Report| report.render(Output::Human);
    let shown = text(show_policies(&operator.policies).unwrap());
    assert!(shown.contains("2 policies") && shown.contains("@id(\"rows\")"), "{shown}");
    let checked = check_policies(operator.policies.declarations, &[bad]).unwrap();
    assert!(!checked.is_clean());
    assert!(check_policies(operator.policies.declarations, std::slice::from_ref(&good)).unwrap().is_clean());
    let compared = text(compare_policies(&operator, &[good], None).await.unwrap());
    for part in
        ["new: titles", "changed: make, rows", "anybody", "piece.Make", "piece_of_work", "title: never"]
    {
        assert!(compared.contains(part), "{compared}\nlacks {part}");
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_says_who_sees_more_on_the_embedded_store() {
    a_change_says_who_sees_more(Home::embedded()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_says_who_sees_more_on_postgres() {
    a_change_says_who_sees_more(Home::postgres()).await;
}
