//! Portable values: every type comes back as it went in, and compares the same on every store.

use crate::drive::{self, EVERYTHING, MAIN, build, contents, principal, query, take};
use crate::failure::ensure_eq;
use crate::fixtures::{
    Account, AccountCommand, AccountId, JsonText, Kind, Level, Sample, SampleEvent, group,
};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_command::{HandleError, Refusal, Request};
use diptych_core::{Code, Currency, Money, Portable, Position, Timestamp, Value};
use diptych_query::{Condition, Direction, Group, Operator, ReadModel};
use std::sync::Arc;

/// Times around the edges of what the timestamp type takes.
const TIMES: [&str; 4] = [
    "-004712-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999999Z",
    "2026-07-07T09:00:00.000001Z",
    "9999-12-30T22:00:00Z",
];

/// Texts that differ in the ways databases like to overlook, in the order of their bytes.
const TEXTS: [&str; 12] =
    ["", " ", "%_", "'\"\\", "A", "Z", "a", "a ", "a\u{301}", "z", "\u{e1}", "\u{1F600}\n"];

/// Each type at its extremes reads back as it was written.
pub(crate) async fn every_type_reads_back(harness: &dyn Harness) -> Outcome {
    let amount = (1_i64 << 53) - 1;
    let mut samples = Vec::new();
    for number in [i64::MIN, -1, 0, 1, i64::MAX] {
        let maybe_number = Some(number);
        samples.push(Sample { number, maybe_number, ..Sample::default() });
    }
    for text in TEXTS {
        let (word, maybe_word) = (text.to_owned(), Some(text.to_owned()));
        samples.push(Sample { word, maybe_word, ..Sample::default() });
    }
    for time in TIMES {
        let at: Timestamp = time.parse()?;
        samples.push(Sample { at, maybe_at: Some(at), ..Sample::default() });
    }
    for (thousandths, code) in [(amount, "GBP"), (-amount, "JPY"), (0, "BHD"), (-1, "EUR")] {
        let price = money(thousandths, code)?;
        samples.push(Sample { price, maybe_price: Some(price), ..Sample::default() });
    }
    for blob in [vec![], vec![0], vec![0, 255, 0, 39], (0..=255).collect()] {
        samples.push(Sample { maybe_blob: Some(blob.clone()), blob, ..Sample::default() });
    }
    for text in ["null", "{}", "{ \"b\":1, \"a\" : [ 1e400, \"\\u00e4ä\" ] }", "\"\""] {
        samples.push(Sample { structure: JsonText(text.to_owned()), ..Sample::default() });
    }
    for (kind, level) in [(Kind::Plain, Level::Low), (Kind::Fancy, Level::Medium), (Kind::Fancy, Level::High)]
    {
        samples.push(Sample { kind, level, maybe_level: Some(level), ..Sample::default() });
    }
    for flag in [false, true] {
        samples.push(Sample { flag, maybe_flag: Some(flag), ..Sample::default() });
    }
    let mut stores = harness.open(Vec::new()).await?;
    let group = taken(harness, &stores, &samples).await?;
    for life in 0..2 {
        let rows = contents(&stores, &group).await?;
        ensure_eq!(rows.len(), samples.len(), "the rows in life {life}");
        for ((_, row), sample) in rows.iter().zip(&samples) {
            ensure_eq!(Sample::from_row(row)?, named(sample, row)?, "a row in life {life}");
        }
        drive::digest(&stores, &group).await?;
        harness.crash(stores).await?;
        stores = harness.open(Vec::new()).await?;
        stores.models.attach(&group).await?;
    }
    Ok(())
}

/// A row that is read into a fold and written again is the same row: nothing changes on the way.
pub(crate) async fn values_survive_being_folded_again(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let samples = mixed()?;
    let group = taken(harness, &stores, &samples).await?;
    let before = contents(&stores, &group).await?;
    for (index, sample) in samples.iter().enumerate() {
        let sample = Box::new(sample.clone());
        take(&stores, &format!("{index:03}"), SampleEvent::Taken { sample }).await?;
    }
    drive::advance_to_head(&stores, &group, 2).await?;
    ensure_eq!(contents(&stores, &group).await?, before, "rows written twice");
    drive::digest(&stores, &group).await?;
    take(&stores, "000", SampleEvent::Dropped {}).await?;
    drive::advance_to_head(&stores, &group, 2).await?;
    ensure_eq!(contents(&stores, &group).await?.len(), before.len() - 1, "rows after one was dropped");
    drive::digest(&stores, &group).await?;
    Ok(())
}

/// Every sortable column, both ways, in the portable order: no value last, ranks by rank, text by bytes.
pub(crate) async fn sorting_is_portable(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let group = taken(harness, &stores, &mixed()?).await?;
    let by_key = drive::find(&stores, &group, &query(None, Vec::new())?).await?;
    ensure_eq!(by_key.len(), mixed()?.len(), "the rows by key");
    for (column, spec) in Sample::SCHEMA.columns.iter().enumerate().filter(|(_, spec)| spec.sort) {
        for direction in [Direction::Ascending, Direction::Descending] {
            let mut expected = by_key.clone();
            // Sorting is stable, and the rows come in the order of their keys: ties stay so.
            expected.sort_by(|a, b| {
                let (a, b) = (ranked(column, &a[column]), ranked(column, &b[column]));
                match (&a, &b, direction) {
                    (Value::Null, _, _) | (_, Value::Null, _) | (_, _, Direction::Ascending) => {
                        a.portable_cmp(&b)
                    }
                    _ => b.portable_cmp(&a),
                }
            });
            let find = query(Some((column, direction)), Vec::new())?;
            let found = drive::find(&stores, &group, &find).await?;
            let of =
                |rows: &[Vec<Value>]| rows.iter().map(|row| (row[column].clone(), row[0].clone())).collect();
            let (found, expected): (Vec<_>, Vec<_>) = (of(&found), of(&expected));
            ensure_eq!(found, expected, "`{}` {direction:?}", spec.name);
        }
    }
    Ok(())
}

/// No value comes last both ways, said with values rather than with the shared order.
pub(crate) async fn no_value_sorts_last_both_ways(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let samples = [None, Some(2), None, Some(1)].map(|maybe_number| Sample {
        maybe_number,
        maybe_flag: maybe_number.map(|number| number == 2),
        maybe_word: maybe_number.map(|number| number.to_string()),
        maybe_at: maybe_number.and_then(|number| Timestamp::from_micros(number).ok()),
        maybe_price: maybe_number.and_then(|number| Money::from_thousandths(number, Currency::GBP).ok()),
        maybe_level: maybe_number.map(|number| if number == 1 { Level::Medium } else { Level::High }),
        ..Sample::default()
    });
    let group = taken(harness, &stores, &samples).await?;
    for name in ["maybe_number", "maybe_flag", "maybe_word", "maybe_at", "maybe_price", "maybe_level"] {
        let column = Sample::column(name);
        for (direction, order) in [
            (Direction::Ascending, ["003", "001", "000", "002"]),
            (Direction::Descending, ["001", "003", "000", "002"]),
        ] {
            let find = query(Some((column, direction)), Vec::new())?;
            let keys = keys(&drive::find(&stores, &group, &find).await?)?;
            ensure_eq!(keys, order, "`{name}` {direction:?}");
        }
    }
    Ok(())
}

/// Ranked scalars sort and compare by rank, unranked ones by name, money by currency and then amount.
pub(crate) async fn ranks_and_money_have_their_own_order(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let mut samples = Vec::new();
    for (level, kind, thousandths, code) in [
        (Level::High, Kind::Plain, 5, "USD"),
        (Level::Low, Kind::Fancy, 9_000, "EUR"),
        (Level::Medium, Kind::Plain, -7, "USD"),
        (Level::Low, Kind::Plain, 10_000, "EUR"),
    ] {
        let price = money(thousandths, code)?;
        samples.push(Sample { level, kind, price, ..Sample::default() });
    }
    let group = taken(harness, &stores, &samples).await?;
    for (name, order) in [
        ("level", ["001", "003", "002", "000"]),
        ("kind", ["001", "000", "002", "003"]),
        ("price", ["001", "003", "002", "000"]),
    ] {
        let find = query(Some((Sample::column(name), Direction::Ascending)), Vec::new())?;
        let found = keys(&drive::find(&stores, &group, &find).await?)?;
        ensure_eq!(found, order, "`{name}` in order");
    }
    let level = |level: Level| level.to_value();
    for (operator, value, fit) in [
        (Operator::Less, level(Level::Medium), vec!["001", "003"]),
        (Operator::AtMost, level(Level::Medium), vec!["001", "002", "003"]),
        (Operator::Greater, level(Level::Low), vec!["000", "002"]),
        (Operator::AtLeast, level(Level::High), vec!["000"]),
    ] {
        let condition = one(Sample::column("level"), operator, value.clone());
        let found = keys(&drive::find(&stores, &group, &query(None, vec![condition])?).await?)?;
        ensure_eq!(found, fit, "level {operator:?} {value:?}");
    }
    Ok(())
}

/// Every operator on every filterable column keeps exactly the rows that the portable order says.
pub(crate) async fn conditions_are_portable(harness: &dyn Harness) -> Outcome {
    use Operator::{AtLeast, AtMost, Equal, Greater, Less};
    let stores = harness.open(Vec::new()).await?;
    let group = taken(harness, &stores, &mixed()?).await?;
    let all = drive::find(&stores, &group, &query(None, Vec::new())?).await?;
    for (column, spec) in Sample::SCHEMA.columns.iter().enumerate().filter(|(_, spec)| spec.filter) {
        let mut values: Vec<_> = all.iter().map(|row| row[column].clone()).collect();
        values.retain(|value| *value != Value::Null);
        values.dedup();
        for value in values {
            for operator in [Equal, Less, AtMost, Greater, AtLeast] {
                let fit = all.iter().filter(|row| {
                    let order = ranked(column, &row[column]).portable_cmp(&ranked(column, &value));
                    row[column] != Value::Null
                        && match operator {
                            Equal => order.is_eq(),
                            Less => order.is_lt(),
                            AtMost => order.is_le(),
                            Greater => order.is_gt(),
                            AtLeast => order.is_ge(),
                        }
                });
                let fit: Vec<_> = fit.cloned().collect();
                let condition = one(column, operator, value.clone());
                let found = drive::find(&stores, &group, &query(None, vec![condition])?).await?;
                ensure_eq!(keys(&found)?, keys(&fit)?, "`{}` {operator:?} {value:?}", spec.name);
            }
        }
    }
    Ok(())
}

/// Several conditions must all hold; one of several values is enough; none of no values is; no value never
/// fits.
pub(crate) async fn conditions_join(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let samples = [(1, true, Some(1)), (2, true, None), (3, false, Some(3)), (4, true, Some(4))];
    let samples = samples.map(|(number, flag, maybe_number)| Sample {
        number,
        flag,
        maybe_number,
        ..Sample::default()
    });
    let group = taken(harness, &stores, &samples).await?;
    let [number, flag, maybe] = ["number", "flag", "maybe_number"].map(Sample::column);
    let equal = |column, values| Condition { column, operator: Operator::Equal, values };
    let whole = |numbers: &[i64]| numbers.iter().map(|number| Value::Integer(*number)).collect();
    for (conditions, fit) in [
        (vec![equal(number, whole(&[1, 3, 9]))], vec!["000", "002"]),
        (vec![equal(number, whole(&[]))], vec![]),
        (vec![equal(number, whole(&[1, 3])), equal(flag, vec![Value::Bool(true)])], vec!["000"]),
        (
            vec![
                one(number, Operator::Greater, Value::Integer(1)),
                one(number, Operator::Less, Value::Integer(4)),
            ],
            vec!["001", "002"],
        ),
        (vec![one(maybe, Operator::AtLeast, Value::Integer(i64::MIN))], vec!["000", "002", "003"]),
        (vec![one(maybe, Operator::AtMost, Value::Integer(i64::MAX))], vec!["000", "002", "003"]),
        (vec![equal(maybe, vec![Value::Null])], vec![]),
        (vec![equal(maybe, vec![Value::Null, Value::Integer(4)])], vec!["003"]),
    ] {
        let found = drive::find(&stores, &group, &query(None, conditions.clone())?).await?;
        ensure_eq!(keys(&found)?, fit, "rows with {conditions:?}");
    }
    Ok(())
}

/// NUL is refused where texts come in, before anything is recorded.
pub(crate) async fn nul_never_reaches_the_store(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let commands = drive::commands(&stores);
    let ann = principal(MAIN)?;
    for (key, owner, code) in
        [("a", "nul\0", Code::Invalid), ("nul\0", "ann", Code::BadKey), ("", "x", Code::BadKey)]
    {
        let open = AccountCommand::Open { owner: owner.into() };
        let request = Request::by(&ann).to(&AccountId(key.into()), open);
        match commands.handle::<Account>(request).await {
            Err(HandleError::Refused(refusal)) => {
                ensure_eq!(Refusal::code(&refusal), code, "the code of {refusal}");
            }
            other => return Err(Failure::new(format!("key {key:?}, owner {owner:?}: {other:?}"))),
        }
    }
    ensure_eq!(stores.feed.head().await?.position(), Position::START, "the head");
    Ok(())
}

/// Samples in which every column has ties, extremes and, where it may, no value.
fn mixed() -> Outcome<Vec<Sample>> {
    let mut samples = Vec::new();
    for index in 0..24_usize {
        let pick = |count: usize| (index * 7 + index / 5) % count;
        let level = [Level::High, Level::Low, Level::Medium][pick(3)];
        let number = [i64::MIN, -2, 0, 9, 10, i64::MAX][pick(6)];
        let at = TIMES[pick(4)].parse()?;
        let price = money([-10, 5, 40_000][pick(3)], ["GBP", "EUR", "JPY"][pick(2)])?;
        let present = index % 4 != 1;
        samples.push(Sample {
            number,
            flag: pick(2) == 0,
            word: TEXTS[pick(TEXTS.len())].to_owned(),
            at,
            price,
            kind: [Kind::Plain, Kind::Fancy][pick(2)],
            level,
            maybe_number: present.then_some(number),
            maybe_flag: present.then_some(pick(2) == 1),
            maybe_word: present.then(|| TEXTS[pick(5)].to_owned()),
            maybe_at: present.then_some(at),
            maybe_price: present.then_some(price),
            maybe_blob: present.then(|| vec![u8::try_from(pick(3)).unwrap_or(0); pick(3)]),
            maybe_level: present.then_some(level),
            ..Sample::default()
        });
    }
    Ok(samples)
}

/// Takes samples under the keys `000`, `001`, … and folds them.
pub(super) async fn taken(harness: &dyn Harness, stores: &Stores, samples: &[Sample]) -> Outcome<Arc<Group>> {
    for (index, sample) in samples.iter().enumerate() {
        let sample = Box::new(sample.clone());
        take(stores, &format!("{index:03}"), SampleEvent::Taken { sample }).await?;
    }
    let group = group::<Sample>(harness);
    build(stores, &group, EVERYTHING).await?;
    Ok(group)
}

/// The sample as the row holds it, which is named by its stream.
fn named(sample: &Sample, row: &[Value]) -> Outcome<Sample> {
    Ok(Sample { name: String::from_value(&row[0])?, ..sample.clone() })
}

/// A ranked scalar as its rank, any other value as it is.
pub(super) fn ranked(column: usize, value: &Value) -> Value {
    let spec = &Sample::SCHEMA.columns[column];
    match value {
        Value::Text(name) if spec.ranked => {
            let rank = spec.choices.iter().position(|choice| choice == name);
            Value::Integer(rank.map_or(-1, |rank| i64::try_from(rank).unwrap_or(-1)))
        }
        other => other.clone(),
    }
}

fn money(thousandths: i64, code: &str) -> Outcome<Money> {
    let currency = code.parse().map_err(|()| Failure::new(format!("`{code}` is not a currency")))?;
    Money::from_thousandths(thousandths, currency).map_err(|error| Failure::new(error.to_string()))
}

fn one(column: usize, operator: Operator, value: Value) -> Condition {
    let values = vec![value];
    Condition { column, operator, values }
}

pub(super) fn keys(rows: &[Vec<Value>]) -> Outcome<Vec<String>> {
    rows.iter().map(|row| Ok(String::from_value(&row[0])?)).collect()
}
