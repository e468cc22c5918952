//! Money: what is written is money, also inside of a column of any JSON whose schema says so, and where SQL
//! keeps the rows.

use crate::drive::{self, contents, take};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{JsonText, Owed, Priced, Sample, SampleEvent, WRONG_MONEY, group, stubborn};
use crate::hinge::{drain, process};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Code, Currency, MONEY_CASES, Money, Portable};
use diptych_query::{AdvanceError, Fold, Group, ReadModel, erase_sql};
use std::sync::Arc;

/// Lines of which one has the text where money should be.
fn lines(money: &str) -> [String; 2] {
    let price = format!(r#"[{{"sku":"a"}},{{"sku":"b","unitPrice":{money}}}]"#);
    let tax = format!(r#"[{{"unitPrice":null,"taxes":{{"vat":{money}}}}}]"#);
    [price, tax]
}

async fn take_lines(stores: &Stores, key: &str, lines: &str) -> Outcome {
    let sample = Sample { structure: JsonText(lines.to_owned()), ..Sample::default() };
    take(stores, key, SampleEvent::Taken { sample: Box::new(sample) }).await?;
    Ok(())
}

/// Every row with money where the schema says money is kept, and every other one is set aside, with the
/// field in the reason.
pub(crate) async fn money_inside_of_a_column_is_money(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (number, (case, expected)) in MONEY_CASES.iter().enumerate() {
        for (way, text) in lines(case).iter().enumerate() {
            let key = format!("{number:03}-{way}");
            take_lines(&stores, &key, text).await?;
            if expected.is_ok() { good.push(key) } else { bad.push(key) }
        }
    }
    let model = group::<Priced>(harness);
    let projector = process(&stores, &model).await?;
    drain(&projector, &model).await?;
    let held = contents(&stores, &model).await?;
    let held: Vec<String> =
        held.iter().map(|(row, _)| String::from_value(&row.key[0])).collect::<Result<_, _>>()?;
    ensure_eq!(held, good, "the rows that are kept");
    let mut parked = projector.parked(model.name()).await?;
    parked.sort_by(|a, b| a.row.table_cmp(&b.row));
    let keys: Vec<String> =
        parked.iter().map(|parked| String::from_value(&parked.row.key[0])).collect::<Result<_, _>>()?;
    ensure_eq!(keys, bad, "the rows that are set aside");
    for parked in parked {
        let named = ["`lines[].unitPrice`", "`lines[].taxes.vat`"].map(|field| parked.reason.contains(field));
        let says = named != [false; 2] && parked.reason.contains("DP0069");
        ensure!(says, "the reason: {}", parked.reason);
    }
    drive::digest(&stores, &model).await?;
    Ok(())
}

/// Where a model stops at what it cannot take, the code says that money was refused.
pub(crate) async fn refused_money_has_a_code_of_its_own(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = stubborn::<Priced>(harness);
    let start = stores.models.attach(&model).await?;
    take_lines(&stores, "a", r#"[{"unitPrice":39.98}]"#).await?;
    let block = stores.feed.read(start.mark.position(), model.categories(), 10).await?;
    let mut fold = Fold::new(&model, &start);
    let taken = match fold.plan(&block) {
        Ok(()) => stores.models.advance(&model, fold).await.map(|_| ()),
        Err(error) => Err(AdvanceError::Fold(error)),
    };
    match taken {
        Err(AdvanceError::Fold(error)) => ensure_eq!(error.code(), Code::MoneyRefused, "the code of {error}"),
        other => return Err(Failure::new(format!("a bare number was taken: {other:?}"))),
    }
    ensure_eq!(contents(&stores, &model).await?, [], "the rows");
    Ok(())
}

/// A statement of a read model that SQL keeps writes money or nothing: the constraint that it breaks is told
/// as refused money, with the column, and the batch leaves nothing. A store without SQL says that it has
/// none.
pub(crate) async fn money_that_statements_write_is_money(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = Arc::new(Group::of_one(erase_sql::<Owed>()));
    let start = match stores.models.attach(&model).await {
        Err(fault) if fault.code() == Code::ServiceInvalid => return Ok(()),
        attached => attached?,
    };
    take_lines(&stores, "right", "[]").await?;
    for key in WRONG_MONEY {
        take_lines(&stores, key, "[]").await?;
    }
    // Its statement takes the last fact of a batch alone, so that each is met by itself.
    for (facts, key) in (2..).zip(WRONG_MONEY) {
        let block = stores.feed.read(start.mark.position(), model.categories(), facts).await?;
        let mut fold = Fold::new(&model, &start);
        fold.plan(&block).map_err(AdvanceError::Fold)?;
        match stores.models.advance(&model, fold).await {
            Err(AdvanceError::Fold(error)) => {
                ensure_eq!(error.code(), Code::MoneyRefused, "the code of {error}");
                ensure!(error.to_string().contains("`total`"), "the message of {key}: {error}");
            }
            other => return Err(Failure::new(format!("{key} was taken: {other:?}"))),
        }
        ensure_eq!(stores.models.checkpoint(&model).await?, start, "where it stands after {key}");
    }
    let block = stores.feed.read(start.mark.position(), model.categories(), 1).await?;
    let mut fold = Fold::new(&model, &start);
    fold.plan(&block).map_err(AdvanceError::Fold)?;
    stores.models.advance(&model, fold).await?;
    let rows = stores.models.scan(&model, Owed::SCHEMA, None, 10).await?;
    let total = Money::parse("39.98", Currency::EUR).ok();
    let right = Owed { name: "right".to_owned(), total };
    let kept: Vec<_> = rows.into_iter().map(|row| row.values).collect();
    ensure_eq!(kept, [Some(right.to_row())], "the rows in the end");
    Ok(())
}
