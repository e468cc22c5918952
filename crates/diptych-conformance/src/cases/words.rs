//! Full text: a question for words is answered by exactly the rows that have them, whoever wrote the rows.

use super::pages::paged;
use super::values::keys;
use crate::drive::{self, EVERYTHING, MAIN, all_contents, query, tenant};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{JsonText, Sample, SampleEvent, Searchable, group};
use crate::{Harness, Outcome, Stores};
use diptych_core::Value;
use diptych_query::{
    Changed, Condition, Direction, Group, Mend, Operator, Partition, RawFind, ReadModel, RowChange,
    RowConditions, RowExpr, RowRule, StoredRow, TableChanges, Words,
};
use std::sync::Arc;

const NUMBER: usize = 4;

async fn told(stores: &Stores, name: &str, title: &str, body: Option<&str>) -> Outcome {
    let sample = Box::new(Sample {
        word: title.to_owned(),
        maybe_word: body.map(str::to_owned),
        structure: JsonText("\"hidden\"".to_owned()),
        number: title.len() as i64,
        ..Sample::default()
    });
    drive::take(stores, name, SampleEvent::Taken { sample }).await?;
    Ok(())
}

fn asking(words: &str) -> Outcome<RawFind> {
    Ok(RawFind { words: Words::parse(words)?, ..query(None, Vec::new())? })
}

/// The rows that have some words are these, as the pure meaning of words says.
async fn check(stores: &Stores, model: &Group, words: &str, expected: &[&str]) -> Outcome {
    let schema = model.models()[0].schema();
    let find = asking(words)?;
    let all = drive::find(stores, model, &query(None, Vec::new())?).await?;
    let fitting: Vec<_> = all.into_iter().filter(|row| find.words.fit(schema, row)).collect();
    ensure_eq!(keys(&fitting)?, expected, "the rows that have `{words}`");
    ensure_eq!(keys(&drive::find(stores, model, &find).await?)?, expected, "the rows found by `{words}`");
    Ok(())
}

async fn some(stores: &Stores) -> Outcome {
    told(stores, "CASE-2026-00091", "Regional planning; enforcement notice", None).await?;
    told(stores, "CASE-2026-00092", "planning_permission (2nd)", Some("Straße 7b, Köln")).await?;
    told(stores, "CASE-2027-1", "", Some("KÖLN-ÉCOLE/enforce, \"Ωmega\"")).await?;
    told(stores, "x", "a'b:c*d \u{1F600} e\"f", Some("NOT OR AND near")).await
}

/// Words are letters and digits in lower case, whole or as they begin, and all must be there.
pub(crate) async fn words_are_found_whole_and_by_how_they_begin(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    some(&stores).await?;
    let model = group::<Searchable<false>>(harness);
    drive::build(&stores, &model, EVERYTHING).await?;
    let (first, second, third, last) = ("CASE-2026-00091", "CASE-2026-00092", "CASE-2027-1", "x");
    for (words, expected) in [
        ("planning", &[first, second][..]),
        ("PLANNING", &[first, second]),
        ("plan", &[]),
        ("plan*", &[first, second]),
        ("planning enforcement", &[first]),
        ("enforce", &[third]),
        ("enforce*", &[first, third]),
        ("case-2026-00091", &[first]),
        ("case 2026", &[first, second]),
        ("case-2026*", &[first, second]),
        ("00091", &[first]),
        ("0009*", &[first, second]),
        ("91", &[]),
        ("permission", &[second]),
        ("planning_permission", &[second]),
        ("2nd", &[second]),
        ("straße", &[second]),
        ("strasse", &[]),
        ("köln", &[second, third]),
        ("KÖLN", &[second, third]),
        ("koln", &[]),
        ("école", &[third]),
        ("ωmega", &[third]),
        ("Ωm*", &[third]),
        ("not or and", &[last]),
        ("near a b c d e f", &[last]),
        ("hidden", &[]),
        ("case x", &[]),
    ] {
        check(&stores, &model, words, expected).await?;
    }
    ensure_eq!(drive::find(&stores, &model, &query(None, Vec::new())?).await?.len(), 4, "without words");
    // A model that declares no such column has no words.
    let plain = super::values::taken(harness, &stores, &[Sample::default()]).await?;
    ensure!(drive::find(&stores, &plain, &asking("case")?).await?.is_empty(), "words of no column");
    Ok(())
}

/// Whoever writes rows keeps their words: batches of any size, a build from the start, a reset, a command.
pub(crate) async fn words_follow_their_rows(harness: &dyn Harness) -> Outcome {
    let inline = group::<Searchable<true>>(harness);
    let mut stores = harness.open(vec![Arc::clone(&inline)]).await?;
    let model = group::<Searchable<false>>(harness);
    some(&stores).await?;
    for positions_max in [1, EVERYTHING] {
        stores.models.attach(&model).await?;
        drive::advance_to_head(&stores, &model, positions_max).await?;
        check(&stores, &model, "planning", &["CASE-2026-00091", "CASE-2026-00092"]).await?;
        told(&stores, "CASE-2026-00091", "granted", None).await?;
        told(&stores, "new", "planning again", None).await?;
        drive::take(&stores, "CASE-2026-00092", SampleEvent::Dropped {}).await?;
        for model in [&model, &inline] {
            drive::advance_to_head(&stores, model, positions_max).await?;
            check(&stores, model, "planning", &["new"]).await?;
            check(&stores, model, "granted", &["CASE-2026-00091"]).await?;
            check(&stores, model, "permission", &[]).await?;
        }
        told(&stores, "CASE-2026-00091", "Regional planning; enforcement notice", None).await?;
        told(&stores, "CASE-2026-00092", "planning_permission (2nd)", None).await?;
        drive::take(&stores, "new", SampleEvent::Dropped {}).await?;
        drive::advance_to_head(&stores, &model, positions_max).await?;
        check(&stores, &model, "planning", &["CASE-2026-00091", "CASE-2026-00092"]).await?;
        stores.models.reset(&model).await?;
        ensure!(drive::find(&stores, &model, &asking("planning")?).await?.is_empty(), "words after a reset");
    }
    drive::advance_to_head(&stores, &model, EVERYTHING).await?;
    let order = super::builds::order("to be sure")?;
    let second = model.at(stores.registry.begin_build(&model, &order).await?.id);
    drive::build(&stores, &second, 3).await?;
    check(&stores, &second, "planning", &["CASE-2026-00091", "CASE-2026-00092"]).await?;
    for group in [&model, &second, &inline] {
        all_contents(&stores, group).await?;
    }
    harness.stop(stores).await?;
    stores = harness.open(vec![Arc::clone(&inline)]).await?;
    stores.models.attach(&model).await?;
    for group in [&model, &inline] {
        check(&stores, group, "planning", &["CASE-2026-00091", "CASE-2026-00092"]).await?;
    }
    Ok(())
}

/// A row that is put right is found by what it holds then.
pub(crate) async fn words_follow_a_mend(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    some(&stores).await?;
    let model = group::<Searchable<false>>(harness);
    let at = drive::build(&stores, &model, EVERYTHING).await?.mark.position();
    let held = drive::rows(&stores, &model).await?.remove(0);
    let mut values = held.values.clone().unwrap_or_default();
    values[1] = Value::Text("put right".to_owned());
    let hash = diptych_query::fold::row_digest(&held.row.tenant, &values);
    for (stored, expected) in [
        (StoredRow { values: Some(values), hash: hash as u64, ..held.clone() }, &["CASE-2026-00091"][..]),
        (StoredRow { values: None, hash: 0, ..held.clone() }, &[]),
    ] {
        let rows = vec![RowChange { stored, existed: true, changed: Changed::ALL }];
        let changes = vec![TableChanges { rows, digest: Vec::new(), facts: Vec::new() }];
        let (partition, healed, parked) = (Partition::WHOLE, Vec::new(), Vec::new());
        stores.models.mend(&model, Mend { partition, lease: None, at, changes, healed, parked }).await?;
        check(&stores, &model, "right", expected).await?;
        check(&stores, &model, "regional", &[]).await?;
    }
    Ok(())
}

/// Words narrow what conditions and a rule leave, in every order and on every page, tenant by tenant.
pub(crate) async fn words_narrow_a_question(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for number in 0..9_usize {
        told(&stores, &format!("case-{number}"), &"many words ".repeat(number % 3 + 1), None).await?;
    }
    told(&stores, "lone", "few", None).await?;
    let sample = Box::new(Sample { word: "many of another".to_owned(), ..Sample::default() });
    drive::tell(&stores, "other", "case-0", SampleEvent::Taken { sample }).await?;
    let model = group::<Searchable<false>>(harness);
    drive::build(&stores, &model, EVERYTHING).await?;
    let key = RowExpr::Cell(0);
    let forbid = RowExpr::Equal(Box::new(key), Box::new(RowExpr::Text("case-4".to_owned())));
    let rule = RowConditions { permits: vec![RowExpr::Bool(true)], forbids: vec![forbid] };
    let values = vec![Value::Integer(22)];
    let at_most = Condition { column: NUMBER, operator: Operator::AtMost, values };
    for direction in [Direction::Ascending, Direction::Descending] {
        let words = Words::parse("case many*")?;
        let sort = Some((NUMBER, direction));
        let find =
            RawFind { words, rule: RowRule::from(rule.clone()), ..query(sort, vec![at_most.clone()])? };
        let mut expected = vec!["case-0", "case-3", "case-6", "case-1", "case-7"];
        if direction == Direction::Descending {
            expected.rotate_left(3);
        }
        for size in [1, 2, EVERYTHING] {
            let pages = paged(&stores, &model, &find, size).await?;
            ensure_eq!(keys(&pages)?, expected, "pages of {size} {direction:?}");
        }
    }
    let mut find = asking("many")?;
    ensure_eq!(drive::find(&stores, &model, &find).await?.len(), 9, "the rows of {MAIN}");
    find.tenant = tenant("other")?;
    ensure_eq!(keys(&drive::find(&stores, &model, &find).await?)?, ["case-0"], "those of another tenant");
    find.words = Words::parse("words")?;
    ensure!(drive::find(&stores, &model, &find).await?.is_empty(), "words of a foreign row");
    ensure_eq!(Searchable::<false>::SCHEMA.columns[NUMBER].name, "number", "the column of the condition");
    Ok(())
}
