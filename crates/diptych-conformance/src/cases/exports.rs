//! Exports: the rows of one tenant that fit, all of one moment, whatever happens meanwhile.

use super::values::keys;
use crate::drive::{self, EVERYTHING, MAIN, QUERY_MAX, tell, tenant};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Sample, SampleEvent, Tally, group};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Code, Forbidden, Principal, Value};
use diptych_query::{
    Ask, Condition, Direction, ExportRows, Exporting, FieldRule, Group, Operator, Purpose, Queries,
    QueryError, RawExport, ReadPolicy, RowConditions, RowExpr, RowRule, Schema, Sight, Words,
};
use std::sync::Arc;
use std::time::Duration;

/// More rows than a store reads ahead of whoever takes them.
const ROWS: i64 = 2_600;

fn of(tenant_name: &str) -> Outcome<RawExport> {
    let (conditions, rule, words) = (Vec::new(), RowRule::All, Words::default());
    Ok(RawExport { tenant: tenant(tenant_name)?, conditions, rule, words })
}

async fn begun(stores: &Stores, model: &Group, export: &RawExport) -> Outcome<Exporting> {
    Ok(stores.models.export(model, model.models()[0].schema(), export, QUERY_MAX).await?)
}

async fn all(mut rows: ExportRows) -> Outcome<Vec<Vec<Value>>> {
    let mut taken = Vec::new();
    while let Some(batch) = rows.next().await? {
        ensure!(!batch.is_empty(), "a batch without rows");
        taken.extend(batch);
    }
    Ok(taken)
}

/// A table of many rows in one tenant and of one in another, folded.
async fn many(harness: &dyn Harness, stores: &Stores) -> Outcome<Arc<Group>> {
    let model = group::<Tally>(harness);
    stores.models.attach(&model).await?;
    let stream = drive::stream::<SampleEvent>(MAIN, "k")?;
    let numbers: Vec<i64> = (0..ROWS).collect();
    for numbers in numbers.chunks(100) {
        let events: Vec<_> = numbers.iter().map(|number| counted(*number)).collect();
        drive::record(stores, &stream, &events).await?;
    }
    tell(stores, "other", "foreign", counted(1)).await?;
    drive::advance_to_head(stores, &model, EVERYTHING).await?;
    Ok(model)
}

/// What adds one to the row of a number, and makes it where there is none.
fn counted(number: i64) -> SampleEvent {
    SampleEvent::Taken { sample: Box::new(Sample { number, ..Sample::default() }) }
}

/// What is exported is of the moment of its checkpoint, in the order of the key, while rows come and change.
pub(crate) async fn an_export_is_of_one_moment(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = many(harness, &stores).await?;
    let everything = drive::query(None, Vec::new())?;
    let before = drive::find(&stores, &model, &everything).await?;
    ensure_eq!(before.len() as i64, ROWS, "the rows there are");
    let checkpoint = stores.models.checkpoint(&model).await?;
    let Exporting { checkpoint: of_export, build, mut rows } = begun(&stores, &model, &of(MAIN)?).await?;
    ensure_eq!(of_export.mark, checkpoint.mark, "the checkpoint of an export");
    ensure_eq!(build.revision, model.revision(), "the build of an export");
    let mut taken = rows.next().await?.unwrap_or_default();
    for number in [-1, 0, ROWS / 2, ROWS - 1, ROWS] {
        drive::take(&stores, "later", counted(number)).await?;
    }
    drive::advance_to_head(&stores, &model, EVERYTHING).await?;
    taken.extend(all(rows).await?);
    ensure_eq!(taken.len(), before.len(), "how many rows are exported");
    ensure!(taken == before, "the rows of an export are not those of its moment");
    let after = drive::find(&stores, &model, &everything).await?;
    ensure_eq!(after.len(), before.len() + 2, "the rows afterwards");
    ensure!(all(begun(&stores, &model, &of(MAIN)?).await?.rows).await? == after, "the next export");
    Ok(())
}

/// An export holds to the tenant, to conditions and to the rule.
pub(crate) async fn an_export_respects_tenant_and_rule(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = group::<Sample>(harness);
    for number in 0..6 {
        let sample = Box::new(Sample { number, ..Sample::default() });
        drive::take(&stores, &format!("k{number}"), SampleEvent::Taken { sample }).await?;
    }
    tell(&stores, "other", "foreign", SampleEvent::Taken { sample: Box::default() }).await?;
    drive::build(&stores, &model, EVERYTHING).await?;
    let taken = async |export: RawExport| {
        let rows = all(begun(&stores, &model, &export).await?.rows).await?;
        keys(&rows)
    };
    ensure_eq!(taken(of("other")?).await?, ["foreign"], "the rows of another tenant");
    ensure!(taken(of("nobody")?).await?.is_empty(), "the rows of a tenant without any");
    let number = Sample::column("number");
    let forbid = RowExpr::Equal(Box::new(RowExpr::Cell(number)), Box::new(RowExpr::Integer(3)));
    let rule = RowConditions { permits: vec![RowExpr::Bool(true)], forbids: vec![forbid] }.into();
    let below = Condition { column: number, operator: Operator::AtMost, values: vec![Value::Integer(4)] };
    let export = RawExport { conditions: vec![below], rule, ..of(MAIN)? };
    ensure_eq!(taken(export).await?, ["k0", "k1", "k2", "k4"], "the rows under conditions and a rule");
    ensure!(taken(RawExport { rule: RowRule::Nothing, ..of(MAIN)? }).await?.is_empty(), "nothing to see");
    Ok(())
}

/// Whoever goes away, or takes nothing, keeps neither commands nor folds from going on, and time runs out.
pub(crate) async fn an_export_holds_up_nobody(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = many(harness, &stores).await?;
    let idle = begun(&stores, &model, &of(MAIN)?).await?;
    for round in 0..12 {
        drop(begun(&stores, &model, &of(MAIN)?).await?);
        drive::take(&stores, "later", counted(ROWS + round)).await?;
        drive::advance_to_head(&stores, &model, EVERYTHING).await?;
    }
    let rows = drive::find(&stores, &model, &drive::query(None, Vec::new())?).await?;
    ensure_eq!(rows.len() as i64, ROWS + 12, "the rows there are by now");
    let late = all(idle.rows).await?;
    ensure_eq!(late.len() as i64, ROWS, "the rows of an export that nobody took for a while");
    let schema = model.models()[0].schema();
    let code = match stores.models.export(&model, schema, &of(MAIN)?, Duration::ZERO).await {
        Ok(mut exporting) => exporting.rows.next().await.err().map(|fault| fault.code()),
        Err(fault) => Some(fault.code()),
    };
    ensure_eq!(code, Some(Code::TimedOut), "what is said of an export that took too long");
    Ok(())
}

/// Lets others see rows below a number, without their word, and only to carry them away.
struct Partly;

impl ReadPolicy for Partly {
    fn sight(&self, _: &Principal, _: &'static Schema, purpose: Purpose) -> Result<Arc<Sight>, Forbidden> {
        if purpose != Purpose::Export {
            return Err(Forbidden { reason: "not to be looked at".to_owned() });
        }
        let number = Box::new(RowExpr::Cell(Sample::column("number")));
        let permits = vec![RowExpr::Less(number, Box::new(RowExpr::Integer(3)))];
        let mut fields = vec![FieldRule::Visible; Sample::column("word")];
        fields.push(FieldRule::Withheld);
        let rows = RowConditions { permits, forbids: Vec::new() }.into();
        Ok(Arc::new(Sight { rows, fields, ..Sight::everything() }))
    }

    fn may_ask_by(
        &self,
        _: &Principal,
        _: &'static Schema,
        _: usize,
        _: Option<&Value>,
    ) -> Result<(), Forbidden> {
        Ok(())
    }
}

/// The checksum of an export of everything.
async fn sum_of(queries: &Queries) -> Outcome<String> {
    let mut stream = queries.export(&drive::principal(MAIN)?, "sample", &Ask::default()).await?.value;
    while stream.next().await?.is_some() {}
    let totals = stream.totals().ok_or_else(|| Failure::new("no totals at the end"))?;
    Ok(totals.checksum.clone())
}

/// Whoever exports gets what he may carry away, without what is withheld; the same rows make the same
/// checksum; and there are only so many exports at a time.
pub(crate) async fn an_export_shows_what_may_be_seen(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = group::<Sample>(harness);
    for number in 0..6 {
        let sample = Box::new(Sample { number, word: "secret".to_owned(), ..Sample::default() });
        drive::take(&stores, &format!("k{number}"), SampleEvent::Taken { sample }).await?;
    }
    drive::build(&stores, &model, EVERYTHING).await?;
    let (partly, ann) =
        (super::questions::queries_by(&stores, &model, Arc::new(Partly)), drive::principal(MAIN)?);
    let open = super::questions::queries_by(&stores, &model, Arc::new(diptych_core::Unrestricted));
    let looked = partly.ask(&ann, "sample", &Ask::default()).await;
    ensure!(matches!(looked, Err(QueryError::Forbidden(_))), "looked at: {looked:?}");
    let ordered = Ask { sort: Some((0, Direction::Ascending)), ..Ask::default() };
    ensure!(partly.export(&ann, "sample", &ordered).await.is_err(), "an export in an order");
    let mut sums = Vec::new();
    for (queries, expected) in [(&partly, (3, 0)), (&partly, (3, 0)), (&open, (6, 6))] {
        let answer = queries.export(&ann, "sample", &Ask::default()).await?;
        let head = stores.feed.head().await?;
        ensure_eq!(answer.freshness.token, head.token, "the token of an export");
        let mut stream = answer.value;
        let mut shown = Vec::new();
        while let Some(rows) = stream.next().await? {
            ensure!(stream.totals().is_none(), "totals before the end");
            shown.extend(rows);
        }
        let totals = stream.totals().cloned().ok_or_else(|| Failure::new("no totals at the end"))?;
        ensure_eq!(totals.rows, shown.len() as u64, "how many rows are said to be exported");
        let word = Sample::column("word");
        let told = shown.iter().filter(|row| row.values[word] != Value::Null || row.withheld != [word]);
        ensure_eq!((shown.len(), told.count()), expected, "rows, and those that tell the word");
        sums.push(totals.checksum);
    }
    ensure_eq!(sums[0], sums[1], "the checksums of the same rows");
    ensure!(sums[0] != sums[2], "other rows have the same checksum");
    // The sum is of what is shown: it tells nothing of what is not.
    for (key, word) in [("k0", "another secret"), ("k1", "")] {
        let sample =
            Box::new(Sample { number: i64::from(key == "k1"), word: word.to_owned(), ..Sample::default() });
        drive::take(&stores, key, SampleEvent::Taken { sample }).await?;
    }
    drive::advance_to_head(&stores, &model, EVERYTHING).await?;
    ensure_eq!(sum_of(&partly).await?, sums[0], "the checksum of rows that differ in what is withheld");
    ensure!(sum_of(&open).await? != sums[2], "rows that differ in what is shown have the same checksum");
    let everything = Ask::default();
    let first = open.export(&ann, "sample", &everything).await?;
    let second = open.export(&ann, "sample", &everything).await?;
    let third = open.export(&ann, "sample", &everything).await.map(drop);
    ensure!(matches!(&third, Err(QueryError::Fault(fault)) if fault.code() == Code::Overloaded), "{third:?}");
    drop((first, second));
    open.export(&ann, "sample", &everything).await?;
    Ok(())
}
