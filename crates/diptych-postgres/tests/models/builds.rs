//! Builds of a model, switched and removed while others append, fold and read.

use super::check_digest;
use super::world::*;
use diptych_core::{Code, Position, Value};
use diptych_postgres::PostgresStore;
use diptych_query::{
    AdvanceError, BucketDigest, BuildId, Feed, Fold, Group, Lease, ModelStore, Partition, RawFind, Registry,
    RowRef, Stage, WorkerId,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio_postgres::SimpleQueryMessage;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

const FIRST: BuildId = BuildId { revision: 1, generation: 1 };

/// What the last migration but one knew of builds, made out of what there is now.
const BEFORE_BUILDS: &str = "DROP TABLE diptych.stage_move, diptych.record, diptych.parked; \
    DROP SEQUENCE diptych.lease_fence; \
    ALTER TABLE diptych.worker DROP CONSTRAINT worker_pkey, DROP COLUMN generation, \
        ADD PRIMARY KEY (name, group_name, revision); \
    INSERT INTO diptych.worker VALUES ('old', 'balance', 1, 'infinity'); \
    ALTER TABLE diptych.generation ADD COLUMN serving boolean NOT NULL DEFAULT TRUE; \
    ALTER TABLE diptych.generation ALTER COLUMN serving DROP DEFAULT; \
    CREATE OR REPLACE VIEW diptych.projection_checkpoint \
        (projection_name, partition_id, last_position, updated_at) AS \
    SELECT checkpoint.group_name, checkpoint.partition::integer, checkpoint.position, checkpoint.updated_at \
    FROM diptych.checkpoint JOIN diptych.generation USING (group_name, revision, generation) \
    WHERE generation.serving AND checkpoint.revision = \
        (SELECT max(revision) FROM diptych.checkpoint AS other \
            WHERE other.group_name = checkpoint.group_name); \
    ALTER TABLE diptych.generation DROP COLUMN stage, DROP COLUMN declared, DROP COLUMN moved_at; \
    UPDATE diptych.checkpoint SET fence = 41, holder = 'old', held_until = 'infinity'; \
    ALTER TABLE diptych.checkpoint DROP COLUMN repairs; \
    ALTER TABLE diptych.queued_command DROP COLUMN claims; \
    DELETE FROM diptych.migration WHERE number > 7";

fn worker(name: &str) -> WorkerId {
    WorkerId::new(name)
}

async fn claim(store: &PostgresStore, group: &Group, name: &str) -> Lease {
    let claimed = store.claim(group, Partition::WHOLE, &worker(name), LONG).await.unwrap();
    claimed.expect("nobody else has it")
}

/// Folds what a group lacks under a lease, one event at a time.
async fn fold_under(store: &PostgresStore, group: &Group, lease: Lease) -> Result<(), AdvanceError> {
    loop {
        let checkpoint = store.checkpoint_of(group, lease.partition).await?;
        let block = store.read(checkpoint.mark.position(), group.categories(), 1).await?;
        if block.after == block.through.position() {
            return Ok(());
        }
        let mut fold = Fold::under(group, lease, checkpoint.mark);
        fold.plan(&block)?;
        store.advance(group, fold).await?;
    }
}

async fn digest(store: &PostgresStore, group: &Group) -> Vec<BucketDigest> {
    store.digest(group, group.models()[0].schema()).await.unwrap()
}

/// The digest of what a group means must be that of its rows, and that of a build that is filled now.
async fn same_as_a_fresh_fold(store: &PostgresStore, group: &Group) {
    check_digest(store, group).await;
    let fresh = store.begin_build(group, &order()).await.unwrap().id;
    drain(store, &group.at(fresh), 1_000).await;
    assert_eq!(digest(store, group).await, digest(store, &group.at(fresh)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_before_builds_goes_on_serving_and_can_be_rebuilt() {
    let (database, clock) = (Database::new().await, Hands::new());
    let model = group::<Balance>();
    let store = open(&database, &clock, vec![]).await;
    store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    drain(&store, &model, 10).await;
    store.close().await;
    let person = database.person().await;
    person.batch_execute(BEFORE_BUILDS).await.unwrap();
    person.batch_execute("CREATE ROLE seer_of_checkpoints").await.ok();
    let grants = "GRANT USAGE ON SCHEMA diptych TO seer_of_checkpoints; \
        GRANT SELECT ON diptych.projection_checkpoint TO seer_of_checkpoints";
    person.batch_execute(grants).await.unwrap();
    let store = open(&database, &clock, vec![]).await;
    let builds = store.builds("balance").await.unwrap();
    assert_eq!(
        builds.iter().map(|build| (build.id, build.stage)).collect::<Vec<_>>(),
        [(FIRST, Stage::Serving)]
    );
    assert_eq!((builds[0].declared.as_str(), builds[0].moved_at), ("[]", builds[0].created_at));
    store.attach(&model).await.unwrap();
    assert_eq!(store.builds("balance").await.unwrap()[0].declared, model.declared());
    deposit(&store, "c2", "a", 1, 6).await.unwrap();
    drain(&store, &model, 10).await;
    assert_eq!(balances(&store, &model).await, [("a".to_owned(), 11)]);
    // What was granted on the view still is, and it shows what answers.
    let shown = "SET ROLE seer_of_checkpoints; SELECT last_position FROM diptych.projection_checkpoint; \
        RESET ROLE";
    let shown = person.simple_query(shown).await.unwrap();
    let shown: Vec<_> = shown
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    assert_eq!(shown, ["2"]);
    // A lease of before is followed by later ones only.
    assert!(store.claim(&model, Partition::WHOLE, &worker("new"), LONG).await.unwrap().is_none());
    let second = shadow(&store, &model).await;
    store.transit(&model, &switch(FIRST, second), &order()).await.unwrap();
    assert!(claim(&store, &model, "new").await.fence.0 > 41);
    assert_eq!(balances(&store, &model).await, [("a".to_owned(), 11)]);
    remove(&store, &model, FIRST).await;
    same_as_a_fresh_fold(&store, &model).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_folds_while_another_process_switches_is_fenced_and_goes_on_in_the_new_build() {
    let (database, clock) = (Database::new().await, Hands::new());
    let model = group::<Balance>();
    let (folding, switching) = (open(&database, &clock, vec![]).await, open(&database, &clock, vec![]).await);
    for store in [&folding, &switching] {
        store.attach(&model).await.unwrap();
    }
    for number in 0..20u64 {
        deposit(&switching, &format!("c{number}"), &format!("k{}", number % 3), number / 3, 1).await.unwrap();
    }
    drain(&switching, &model, 10).await;
    serve(&switching, &model).await;
    let mut lease = claim(&folding, &model, "ann").await;
    let mut old = FIRST;
    for round in 0..3u64 {
        let new = shadow(&switching, &model).await;
        let over = Arc::new(AtomicBool::new(false));
        let appending = {
            let (store, over) = (Arc::clone(&switching), Arc::clone(&over));
            tokio::spawn(async move {
                let mut base = 0;
                while base == 0 || !over.load(Ordering::SeqCst) {
                    let id = format!("r{round} {base}");
                    deposit(&store, &id, &format!("r{round}"), base, 1).await.unwrap();
                    base += 1;
                    tokio::task::yield_now().await;
                }
            })
        };
        let folded = {
            let (store, model) = (Arc::clone(&folding), Arc::clone(&model));
            tokio::spawn(async move {
                loop {
                    match fold_under(&store, &model, lease).await {
                        Ok(()) => tokio::task::yield_now().await,
                        // It folded what it had read from the old build's checkpoint into neither.
                        Err(AdvanceError::Fenced) => return,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        };
        // The shadow is moved along until it has come as far as the build that answers.
        loop {
            drain_among_others(&switching, &model.at(new), 100).await;
            match switching.transit(&model, &switch(old, new), &order()).await {
                Ok(_) => break,
                Err(diptych_query::TransitError::Behind { position, other }) => assert!(position < other),
                Err(error) => panic!("{error}"),
            }
        }
        over.store(true, Ordering::SeqCst);
        appending.await.unwrap();
        deposit(&switching, &format!("last {round}"), &format!("last {round}"), 0, 1).await.unwrap();
        tokio::time::timeout(LONG, folded).await.unwrap().unwrap();
        // Nobody has told it, and it goes on where the code belongs by now.
        lease = claim(&folding, &model, "ann").await;
        fold_under(&folding, &model, lease).await.unwrap();
        let found = folding.get(&model, model.models()[0].schema(), &row("k0")).await.unwrap();
        assert_eq!((found.build, found.checkpoint.mark), (new, folding.head().await.unwrap()));
        old = new;
    }
    same_as_a_fresh_fold(&folding, &model).await;
}

fn row(key: &str) -> RowRef {
    RowRef { tenant: tenant("main"), key: vec![Value::Text(key.to_owned())] }
}

#[tokio::test(flavor = "multi_thread")]
async fn inline_builds_are_switched_while_writers_of_two_processes_append() {
    const WRITERS: u64 = 8;
    // Not back to where it began, where a writer that has noticed nothing would be right.
    const SWITCHES: u64 = 5;
    let (database, clock) = (Database::new().await, Hands::new());
    let inline = group::<InlineBalance>();
    let stores = [
        open(&database, &clock, vec![inline.clone()]).await,
        open(&database, &clock, vec![inline.clone()]).await,
    ];
    let switching = open(&database, &clock, vec![inline.clone()]).await;
    serve(&switching, &inline).await;
    let second = shadow(&switching, &inline).await;
    let (over, appended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writing: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (over, appended) = (Arc::clone(&over), Arc::clone(&appended));
            let store = Arc::clone(&stores[usize::from(writer % 2 == 0)]);
            tokio::spawn(async move {
                let mut base = 0;
                while base == 0 || !over.load(Ordering::SeqCst) {
                    let id = format!("w{writer} {base}");
                    deposit(&store, &id, &format!("w{writer}"), base, 1).await.unwrap();
                    base += 1;
                    appended.fetch_add(1, Ordering::SeqCst);
                }
                base
            })
        })
        .collect();
    let mut pair = (FIRST, second);
    for round in 0..SWITCHES {
        // Between two switches, each writer has appended.
        while appended.load(Ordering::SeqCst) < (round + 1) * WRITERS {
            tokio::task::yield_now().await;
        }
        // Within reach of a switch, which brings it to the head while appends wait.
        drain_among_others(&switching, &inline.at(pair.1), 1_000).await;
        switching.transit(&inline, &switch(pair.0, pair.1), &order()).await.unwrap();
        pair = (pair.1, pair.0);
    }
    over.store(true, Ordering::SeqCst);
    let mut expected = Vec::new();
    for (writer, writing) in writing.into_iter().enumerate() {
        expected.push((format!("w{writer}"), writing.await.unwrap().cast_signed()));
    }
    for store in &stores {
        store.refresh().await.unwrap();
        assert_eq!(balances(store, &inline).await, expected);
        let found = store.get(&inline, inline.models()[0].schema(), &row("w0")).await.unwrap();
        assert_eq!((found.build, found.checkpoint.mark), (pair.0, store.head().await.unwrap()));
    }
    same_as_a_fresh_fold(&switching, &inline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inline_build_that_is_far_behind_does_not_keep_appends_waiting() {
    let (database, clock) = (Database::new().await, Hands::new());
    let inline = group::<InlineBalance>();
    let store = open_with(&database, &clock, vec![inline.clone()], |options| {
        options.limits.inline_catch_up_events_max = 3;
    })
    .await;
    serve(&store, &inline).await;
    let second = shadow(&store, &inline).await;
    for number in 0..4u64 {
        deposit(&store, &format!("c{number}"), "a", number, 1).await.unwrap();
    }
    match store.transit(&inline, &switch(FIRST, second), &order()).await {
        Err(diptych_query::TransitError::Behind { position, other }) => {
            assert_eq!((position, other), (Position::START, Position(4)));
        }
        other => panic!("{other:?}"),
    }
    drain(&store, &inline.at(second), 2).await;
    deposit(&store, "c4", "a", 4, 1).await.unwrap();
    store.transit(&inline, &switch(FIRST, second), &order()).await.unwrap();
    deposit(&store, "c5", "a", 5, 1).await.unwrap();
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 6)]);
    assert_eq!(own(&store, &inline).await, second);
    same_as_a_fresh_fold(&store, &inline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inline_model_whose_builds_are_retired_keeps_nobody_from_appending() {
    let (database, clock) = (Database::new().await, Hands::new());
    let inline = group::<InlineBalance>();
    let stores = [
        open(&database, &clock, vec![inline.clone()]).await,
        open(&database, &clock, vec![inline.clone()]).await,
    ];
    serve(&stores[0], &inline).await;
    for (number, store) in (0..).zip(&stores) {
        deposit(store, &format!("c{number}"), "a", number, 1).await.unwrap();
    }
    for (from, to) in [(Stage::Serving, Stage::Deprecated), (Stage::Deprecated, Stage::Retired)] {
        let down = diptych_query::BuildMove { build: FIRST, from, to };
        stores[0].transit(&inline, &[down], &order()).await.unwrap();
    }
    stores[0].drop_build(&inline, FIRST).await.unwrap();
    for (number, store) in (2..).zip(&stores) {
        deposit(store, &format!("c{number}"), "a", number, 1).await.unwrap();
        let asked = store.checkpoint(&inline).await.unwrap_err();
        assert_eq!(asked.code(), Code::ModelRetired, "{asked}");
    }
    let later = open(&database, &clock, vec![inline.clone()]).await;
    deposit(&later, "c4", "a", 4, 1).await.unwrap();
    assert_eq!(later.attach(&inline).await.unwrap_err().code(), Code::ModelRetired);
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_are_removed_while_another_process_reads() {
    let (database, clock) = (Database::new().await, Hands::new());
    let model = group::<Balance>();
    let (reading, switching) = (open(&database, &clock, vec![]).await, open(&database, &clock, vec![]).await);
    let expected: Vec<_> = (0..5).map(|number| (format!("k{number}"), number + 1)).collect();
    for (key, amount) in &expected {
        deposit(&switching, key, key, 0, *amount).await.unwrap();
    }
    for store in [&switching, &reading] {
        store.attach(&model).await.unwrap();
    }
    drain(&switching, &model, 10).await;
    serve(&switching, &model).await;
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|reader| {
            let (store, model, over) = (Arc::clone(&reading), Arc::clone(&model), Arc::clone(&over));
            let expected = expected.clone();
            tokio::spawn(async move {
                let mut builds = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    builds.push(read_everything(&store, &model, reader, &expected).await);
                }
                builds.dedup();
                builds.len()
            })
        })
        .collect();
    let mut old = FIRST;
    for _ in 0..4 {
        let new = shadow(&switching, &model).await;
        switching.transit(&model, &switch(old, new), &order()).await.unwrap();
        remove(&switching, &model, old).await;
        old = new;
    }
    over.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    // Nobody has told the reader, and what it knew is gone.
    assert_eq!(read_everything(&reading, &model, 0, &expected).await, old);
    let gone = reading.checkpoint(&model.at(FIRST)).await.unwrap_err();
    assert_eq!(gone.code(), Code::ModelRetired, "{gone}");
    let left = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'balance\\_r1\\_%'";
    let left: i64 = database.person().await.query_one(left, &[]).await.unwrap().get(0);
    assert_eq!(left, 2, "the tables of one build: rows and tombstones");
    for table in ["checkpoint", "checkpoint_history", "digest"] {
        let old = format!(
            "SELECT count(*) FROM diptych.{table} WHERE to_jsonb({table}) ->> 'generation' < '5' \
             OR (to_jsonb({table}) ->> 'table_name') < 'balance_r1_g5'"
        );
        let left: i64 = database.person().await.query_one(&old, &[]).await.unwrap().get(0);
        assert_eq!(left, 0, "{table} of removed builds");
    }
}

/// Reads a model in every way; each answer must be whole. Answers the build that a page came from.
async fn read_everything(
    store: &PostgresStore,
    model: &Group,
    reader: usize,
    expected: &[(String, i64)],
) -> BuildId {
    let schema = model.models()[0].schema();
    let find = RawFind {
        rule: diptych_query::RowRule::All,
        words: diptych_query::Words::default(),
        tenant: tenant("main"),
        conditions: vec![],
        sort: None,
        after: None,
        rows_max: expected.len() + 1,
    };
    let found = store.find(model, schema, &find, LONG).await.unwrap();
    let seen: Vec<_> = found.rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let wanted: Vec<_> =
        expected.iter().map(|(key, amount)| (Value::Text(key.clone()), Value::Integer(*amount))).collect();
    assert_eq!((seen, found.checkpoint.mark.position()), (wanted.clone(), Position(expected.len() as u64)));
    let got = store.get(model, schema, &row(&expected[reader].0)).await.unwrap();
    assert_eq!(got.rows[0][1], wanted[reader].1);
    let snapshot = store.snapshot(model, schema, None, 100).await.unwrap();
    let counted: i64 = snapshot.digest.iter().map(|(_, rows, _)| rows).sum();
    assert_eq!((snapshot.rows.len(), counted), (expected.len(), expected.len() as i64));
    assert_eq!(balances(store, model).await, expected);
    assert_eq!(store.row_count(model, schema).await.unwrap(), expected.len() as u64);
    found.build
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_somebody_reads_is_not_removed_under_them() {
    let (database, clock) = (Database::new().await, Hands::new());
    let model = group::<Balance>();
    let store = open_with(&database, &clock, vec![], |options| {
        options.limits.lock_timeout = Duration::from_millis(50);
    })
    .await;
    store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    drain(&store, &model, 10).await;
    serve(&store, &model).await;
    let second = shadow(&store, &model).await;
    store.transit(&model, &switch(FIRST, second), &order()).await.unwrap();
    let retire = diptych_query::BuildMove { build: FIRST, from: Stage::Shadowing, to: Stage::Retired };
    store.transit(&model, &[retire], &order()).await.unwrap();
    let mut person = database.person().await;
    let held = person.transaction().await.unwrap();
    held.query("SELECT * FROM diptych.balance_r1_g1", &[]).await.unwrap();
    let refused = store.drop_build(&model, FIRST).await.unwrap_err();
    assert!(refused.is_transient(), "{refused}");
    // Nothing of it is gone by halves.
    assert_eq!(balances(&store, &model.at(FIRST)).await, [("a".to_owned(), 5)]);
    held.rollback().await.unwrap();
    // What somebody else has made of its tables is not taken from them.
    person.batch_execute("CREATE VIEW public.theirs AS SELECT * FROM diptych.balance_r1_g1").await.unwrap();
    assert_eq!(store.drop_build(&model, FIRST).await.unwrap_err().code(), Code::MoveRefused);
    person.batch_execute("DROP VIEW public.theirs").await.unwrap();
    store.drop_build(&model, FIRST).await.unwrap();
    store.drop_build(&model, FIRST).await.unwrap();
    assert_eq!(store.build_bytes(&model, FIRST).await.unwrap(), 0);
    assert!(store.build_bytes(&model, second).await.unwrap() > 0);
    assert_eq!(balances(&store, &model).await, [("a".to_owned(), 5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_for_people_follows_what_answers_and_keeps_what_was_granted_on_it() {
    let (database, clock) = (Database::new().await, Hands::new());
    let model = group::<Balance>();
    let store = open(&database, &clock, vec![]).await;
    store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    drain(&store, &model, 10).await;
    serve(&store, &model).await;
    let person = database.person().await;
    person.batch_execute("CREATE VIEW public.mine AS SELECT balance FROM diptych.balance").await.unwrap();
    let second = shadow(&store, &model).await;
    deposit(&store, "c2", "a", 1, 1).await.unwrap();
    drain(&store, &model.at(second), 10).await;
    let shown = async || person.query_one("SELECT balance FROM mine", &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(shown().await, 5);
    store.transit(&model, &switch(FIRST, second), &order()).await.unwrap();
    assert_eq!(shown().await, 6);
    remove(&store, &model, FIRST).await;
    assert_eq!(shown().await, 6);
    // An older revision that switches its own builds does not take the view from a newer one.
    let newer = group::<SameBalance>();
    store.attach(&newer).await.unwrap();
    drain(&store, &newer, 10).await;
    serve(&store, &newer).await;
    let third = shadow(&store, &model).await;
    store.transit(&model, &switch(second, third), &order()).await.unwrap();
    deposit(&store, "c3", "a", 2, 1).await.unwrap();
    drain(&store, &newer, 10).await;
    assert_eq!(shown().await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_of_another_revision_is_read_where_its_tables_are_the_same() {
    let (database, clock) = (Database::new().await, Hands::new());
    let (old, same, wider) = (group::<Balance>(), group::<SameBalance>(), group::<NewerBalance>());
    let store = open(&database, &clock, vec![]).await;
    store.attach(&old).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    drain(&store, &old, 10).await;
    serve(&store, &old).await;
    let newer = open(&database, &clock, vec![]).await;
    newer.attach(&same).await.unwrap();
    assert_eq!(balances(&newer, &same).await, []);
    assert_eq!(balances(&newer, &same.at(FIRST)).await, [("a".to_owned(), 5)]);
    let wide = open(&database, &clock, vec![]).await;
    let refused = wide.checkpoint(&wider.at(FIRST)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ShapeChanged, "{refused}");
    let unknown = BuildId { revision: 1, generation: 9 };
    assert_eq!(newer.checkpoint(&same.at(unknown)).await.unwrap_err().code(), Code::ServiceInvalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_only_reads_reads_builds_that_come_later_and_what_is_known_of_them() {
    let (database, clock) = (Database::new().await, Hands::new());
    let role = format!("reader_{}", database.0.rsplit('/').next().unwrap());
    database.person().await.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
    let (_, host) = database.0.rsplit_once('@').unwrap();
    let reader_url = format!("postgres://{role}@{host}");
    let model = group::<Balance>();
    let store = open_with(&database, &clock, vec![], |options| options.reader_url = Some(reader_url)).await;
    store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    drain(&store, &model, 10).await;
    serve(&store, &model).await;
    let second = shadow(&store, &model).await;
    store.transit(&model, &switch(FIRST, second), &order()).await.unwrap();
    assert_eq!(read_everything(&store, &model, 0, &[("a".to_owned(), 5)]).await, second);
    assert_eq!(store.write_record("rebuild", "balance", 0, "{}").await.unwrap(), Some(1));
    assert_eq!(store.records("rebuild", 10).await.unwrap()[0].body, "{}");
    assert_eq!(store.parked(&model).await.unwrap(), []);
    assert_eq!(store.stage_moves(Some("balance"), 1).await.unwrap()[0].moved.build, second);
}
