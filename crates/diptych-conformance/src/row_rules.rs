//! Random row rules over random rows: a store answers with the rows that the pure rule lets through, in every
//! order and on every page.

use crate::drive::{self, EVERYTHING, query, take};
use crate::failure::ensure_eq;
use crate::fixtures::{Kind, Level, Sample, SampleEvent, group};
use crate::random::play_all;
use crate::{Failure, Harness, Outcome};
use diptych_core::Timestamp;
use diptych_query::{Direction, PatternPart, RawFind, ReadModel, RowConditions, RowExpr, RowRule, RowType};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};

/// How many rules one table is asked by.
const RULES: usize = 30;

/// The most rows of a table.
const ROWS_MAX: usize = 12;

/// How deep an expression is drawn.
const DEPTH: u32 = 4;

/// A rule, how the rows are sorted, and the size of a page.
type Question = (RowRule, u8, bool, usize);

/// Draws so many tables with rules to ask them by.
///
/// # Errors
/// The shortest table and rules found over which the store and the rule disagree, with the seed.
pub fn rules<H: Harness>(make: impl Fn() -> H, count: u32) -> Outcome {
    let drawn = (vec(sample(), 1..ROWS_MAX), vec(question(), RULES));
    play_all((count, 200), drawn, async |(samples, questions)| play(&make(), &samples, &questions).await)
}

async fn play(harness: &dyn Harness, samples: &[Sample], questions: &[Question]) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for (nth, sample) in samples.iter().enumerate() {
        let sample = Box::new(sample.clone());
        take(&stores, &format!("{nth}"), SampleEvent::Taken { sample }).await?;
    }
    let table = group::<Sample>(harness);
    drive::build(&stores, &table, EVERYTHING).await?;
    let sortable: Vec<_> =
        (0..Sample::SCHEMA.columns.len()).filter(|column| Sample::SCHEMA.columns[*column].sort).collect();
    for (rule, column, descending, size) in questions {
        let direction = if *descending { Direction::Descending } else { Direction::Ascending };
        let sort = sortable.get(usize::from(*column)).map(|column| (*column, direction));
        let all = drive::find(&stores, &table, &query(sort, Vec::new())?).await?;
        let expected: Vec<_> = all.into_iter().filter(|row| rule.admits(Sample::SCHEMA, row)).collect();
        let find = RawFind { rule: rule.clone(), ..query(sort, Vec::new())? };
        let found = drive::find(&stores, &table, &find).await;
        let found = found.map_err(|error| Failure::new(format!("{rule:?} is refused: {error}")))?;
        ensure_eq!(found, expected, "the rows under {rule:?}");
        let paged = crate::cases::pages::paged(&stores, &table, &find, *size).await?;
        ensure_eq!(paged, expected, "the pages of {size} under {rule:?}");
    }
    harness.stop(stores).await?;
    Ok(())
}

fn word() -> impl Strategy<Value = String> {
    proptest::prop_oneof![4 => "[abA%_*?\\[\\]\\\\äß\n]{0,3}", 1 => Just(String::new())]
}

fn number() -> impl Strategy<Value = i64> {
    let far = [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 1 << 32, -(1 << 32)];
    proptest::prop_oneof![4 => -3_i64..4, 2 => proptest::sample::select(far.to_vec())]
}

fn level() -> impl Strategy<Value = Level> {
    proptest::sample::select(vec![Level::Low, Level::Medium, Level::High])
}

fn sample() -> impl Strategy<Value = Sample> {
    let time = || (-3_i64..4).prop_map(Timestamp::from_stored);
    let kind = proptest::sample::select(vec![Kind::Plain, Kind::Fancy]);
    let fixed = (number(), any::<bool>(), word(), time(), kind, level());
    let perhaps = (
        option::of(number()),
        option::of(any::<bool>()),
        option::of(word()),
        option::of(time()),
        option::of(level()),
    );
    (fixed, perhaps).prop_map(|((number, flag, word, at, kind, level), perhaps)| {
        let (maybe_number, maybe_flag, maybe_word, maybe_at, maybe_level) = perhaps;
        Sample {
            number,
            flag,
            word,
            at,
            kind,
            level,
            maybe_number,
            maybe_flag,
            maybe_word,
            maybe_at,
            maybe_level,
            ..Sample::default()
        }
    })
}

fn question() -> impl Strategy<Value = Question> {
    let conditions = (vec(bool(DEPTH), 0..4), vec(bool(DEPTH), 0..3));
    let conditions = conditions.prop_map(|(permits, forbids)| RowConditions { permits, forbids });
    let rule = vec(conditions, 1..3).prop_map(|sets| RowRule::Where(sets.into()));
    (rule, 0_u8..20, any::<bool>(), 1_usize..5)
}

fn column(names: &[&str]) -> BoxedStrategy<usize> {
    let columns: Vec<_> = names.iter().map(|name| Sample::column(name)).collect();
    proptest::sample::select(columns).boxed()
}

fn boxed(expr: BoxedStrategy<RowExpr>) -> impl Strategy<Value = Box<RowExpr>> {
    expr.prop_map(Box::new)
}

type Two = fn(Box<RowExpr>, Box<RowExpr>) -> RowExpr;

fn two(make: Two, of: fn(u32) -> BoxedStrategy<RowExpr>, depth: u32) -> impl Strategy<Value = RowExpr> {
    (boxed(of(depth)), boxed(of(depth))).prop_map(move |(left, right)| make(left, right))
}

fn choice(of: fn(u32) -> BoxedStrategy<RowExpr>, depth: u32) -> impl Strategy<Value = RowExpr> {
    let drawn = (boxed(bool(depth)), boxed(of(depth)), boxed(of(depth)));
    drawn.prop_map(|(test, then, otherwise)| RowExpr::If(test, then, otherwise))
}

fn bool(depth: u32) -> BoxedStrategy<RowExpr> {
    let nullable = ["maybe_number", "maybe_flag", "maybe_word", "maybe_at", "maybe_level", "word"];
    let leaf = proptest::prop_oneof![
        2 => any::<bool>().prop_map(RowExpr::Bool),
        4 => column(&["flag", "maybe_flag", "maybe_flag"]).prop_map(RowExpr::Cell),
        4 => column(&nullable).prop_map(RowExpr::Has),
        1 => Just(RowExpr::Failed(RowType::Bool)),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let next = depth - 1;
    let list = |of: BoxedStrategy<RowExpr>, listed: BoxedStrategy<RowExpr>| {
        (boxed(of), vec(listed, 0..20)).prop_map(|(inner, list)| RowExpr::OneOf(inner, list))
    };
    let part = proptest::prop_oneof![1 => Just(PatternPart::Any), 1 => word().prop_map(PatternPart::Text)];
    let like = (boxed(text(next)), vec(part, 0..4)).prop_map(|(inner, parts)| RowExpr::Like(inner, parts));
    proptest::prop_oneof![
        2 => leaf,
        3 => boxed(bool(next)).prop_map(RowExpr::Not),
        4 => two(RowExpr::And, bool, next),
        4 => two(RowExpr::Or, bool, next),
        2 => choice(bool, next),
        2 => two(RowExpr::Equal, bool, next),
        2 => two(RowExpr::Equal, integer, next),
        2 => two(RowExpr::Equal, text, next),
        3 => two(RowExpr::Less, integer, next),
        3 => two(RowExpr::AtMost, integer, next),
        2 => list(integer(next), number().prop_map(RowExpr::Integer).boxed()),
        2 => list(text(next), word().prop_map(RowExpr::Text).boxed()),
        1 => list(bool(next), any::<bool>().prop_map(RowExpr::Bool).boxed()),
        3 => like,
    ]
    .boxed()
}

fn integer(depth: u32) -> BoxedStrategy<RowExpr> {
    let numbers = ["number", "maybe_number", "at", "maybe_at"];
    let leaf = proptest::prop_oneof![
        4 => number().prop_map(RowExpr::Integer),
        6 => column(&numbers).prop_map(RowExpr::Cell),
        2 => column(&["level", "maybe_level", "kind"]).prop_map(RowExpr::Rank),
        1 => Just(RowExpr::Failed(RowType::Integer)),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let next = depth - 1;
    proptest::prop_oneof![
        5 => leaf,
        2 => two(RowExpr::Plus, integer, next),
        1 => two(RowExpr::Minus, integer, next),
        1 => two(RowExpr::Times, integer, next),
        1 => boxed(integer(next)).prop_map(RowExpr::Negative),
        1 => choice(integer, next),
    ]
    .boxed()
}

fn text(depth: u32) -> BoxedStrategy<RowExpr> {
    let names = ["word", "maybe_word", "level", "maybe_level", "kind", "name"];
    let leaf = proptest::prop_oneof![
        3 => word().prop_map(RowExpr::Text),
        1 => Just(RowExpr::Text("a\0".to_owned())),
        6 => column(&names).prop_map(RowExpr::Cell),
        1 => Just(RowExpr::Failed(RowType::Text)),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    proptest::prop_oneof![5 => leaf, 1 => choice(text, depth - 1)].boxed()
}
