//! Row rules: a question is answered by exactly the rows that a rule lets through, whatever fails on the way.

use super::pages::{paged, tied};
use super::values::keys;
use crate::drive::{self, EVERYTHING, MAIN, query, tenant};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Level, Sample, SampleEvent, group};
use crate::{Harness, Outcome, Stores};
use diptych_core::{Timestamp, Value};
use diptych_query::{
    Condition, Direction, Group, Operator, PatternPart, RawFind, ReadModel, RowConditions, RowExpr, RowRule,
    RowType,
};
use std::sync::Arc;

fn column(name: &str) -> RowExpr {
    RowExpr::Cell(Sample::column(name))
}

fn has(name: &str) -> RowExpr {
    RowExpr::Has(Sample::column(name))
}

fn text(text: &str) -> RowExpr {
    RowExpr::Text(text.to_owned())
}

fn not(inner: RowExpr) -> RowExpr {
    RowExpr::Not(Box::new(inner))
}

fn and(left: RowExpr, right: RowExpr) -> RowExpr {
    RowExpr::And(Box::new(left), Box::new(right))
}

fn or(left: RowExpr, right: RowExpr) -> RowExpr {
    RowExpr::Or(Box::new(left), Box::new(right))
}

fn choice(test: RowExpr, then: RowExpr, otherwise: RowExpr) -> RowExpr {
    RowExpr::If(Box::new(test), Box::new(then), Box::new(otherwise))
}

fn equal(left: RowExpr, right: RowExpr) -> RowExpr {
    RowExpr::Equal(Box::new(left), Box::new(right))
}

fn less(left: RowExpr, right: RowExpr) -> RowExpr {
    RowExpr::Less(Box::new(left), Box::new(right))
}

fn plus(left: RowExpr, right: RowExpr) -> RowExpr {
    RowExpr::Plus(Box::new(left), Box::new(right))
}

fn one_of(inner: RowExpr, list: Vec<RowExpr>) -> RowExpr {
    RowExpr::OneOf(Box::new(inner), list)
}

/// A pattern in which `*` stands for any text.
fn like(name: &str, pattern: &[&str]) -> RowExpr {
    let part = |part: &&str| match *part {
        "*" => PatternPart::Any,
        text => PatternPart::Text(text.to_owned()),
    };
    RowExpr::Like(Box::new(column(name)), pattern.iter().map(part).collect())
}

fn permits(permit: RowExpr) -> RowRule {
    RowConditions { permits: vec![permit], forbids: Vec::new() }.into()
}

fn but(permit: RowExpr, forbid: RowExpr) -> RowRule {
    RowConditions { permits: vec![permit], forbids: vec![forbid] }.into()
}

/// Samples under names of their own, folded.
async fn named(harness: &dyn Harness, stores: &Stores, samples: &[(&str, Sample)]) -> Outcome<Arc<Group>> {
    for (name, sample) in samples {
        let sample = Box::new(sample.clone());
        drive::take(stores, name, SampleEvent::Taken { sample }).await?;
    }
    let group = group::<Sample>(harness);
    drive::build(stores, &group, EVERYTHING).await?;
    Ok(group)
}

/// The names of the rows that a rule lets through are these, in the order of the key; as the pure rule says.
async fn check(stores: &Stores, group: &Group, rule: RowRule, expected: &[&str]) -> Outcome {
    let find = RawFind { rule: rule.clone(), ..query(None, Vec::new())? };
    let found = keys(&drive::find(stores, group, &find).await?)?;
    let all = drive::find(stores, group, &query(None, Vec::new())?).await?;
    let by_rule: Vec<_> = all.into_iter().filter(|row| rule.admits(Sample::SCHEMA, row)).collect();
    ensure_eq!(keys(&by_rule)?, expected, "what the pure rule {rule:?} lets through");
    ensure_eq!(found, expected, "the rows that are found under {rule:?}");
    Ok(())
}

/// Two rows, one with every value that may be missing and one without any.
async fn with_and_without(harness: &dyn Harness, stores: &Stores) -> Outcome<Arc<Group>> {
    let with = Sample {
        maybe_number: Some(5),
        maybe_flag: Some(true),
        maybe_word: Some("w".to_owned()),
        maybe_at: Some(Timestamp::from_stored(10)),
        maybe_level: Some(Level::High),
        ..Sample::default()
    };
    named(harness, stores, &[("with", with), ("without", Sample::default())]).await
}

/// A condition that reads a column without a value counts for nothing: neither it nor its opposite permits.
pub(crate) async fn no_value_makes_a_condition_fail(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let rows = with_and_without(harness, &stores).await?;
    let (yes, no) = (RowExpr::Bool(true), RowExpr::Bool(false));
    let flag = || column("maybe_flag");
    for (permit, expected) in [
        (less(RowExpr::Integer(4), column("maybe_number")), &["with"][..]),
        (not(less(RowExpr::Integer(5), column("maybe_number"))), &["with"]),
        (not(less(RowExpr::Integer(4), column("maybe_number"))), &[]),
        (equal(column("maybe_at"), RowExpr::Integer(10)), &["with"]),
        (not(equal(column("maybe_word"), text("x"))), &["with"]),
        (not(like("maybe_word", &["x", "*"])), &["with"]),
        (not(one_of(column("maybe_word"), vec![text("x"), text("y")])), &["with"]),
        (has("maybe_word"), &["with"]),
        (not(has("maybe_word")), &["without"]),
        (has("word"), &["with", "without"]),
        // What fails first fails as a whole, whatever comes after it.
        (or(flag(), yes.clone()), &["with"]),
        (or(yes.clone(), flag()), &["with", "without"]),
        (not(and(flag(), no.clone())), &["with"]),
        (not(and(no.clone(), flag())), &["with", "without"]),
        (or(not(has("maybe_flag")), flag()), &["with", "without"]),
        (and(has("maybe_flag"), or(not(flag()), yes.clone())), &["with"]),
        (or(and(has("maybe_flag"), flag()), yes.clone()), &["with", "without"]),
        (not(and(or(flag(), yes.clone()), no.clone())), &["with"]),
        (choice(flag(), yes.clone(), yes.clone()), &["with"]),
        (choice(has("maybe_flag"), flag(), yes.clone()), &["with", "without"]),
        (not(choice(has("maybe_flag"), flag(), no.clone())), &["without"]),
        (equal(flag(), equal(flag(), yes.clone())), &["with"]),
        (RowExpr::Failed(RowType::Bool), &[]),
        (or(no.clone(), equal(RowExpr::Failed(RowType::Text), column("word"))), &[]),
    ] {
        check(&stores, &rows, permits(permit), expected).await?;
    }
    Ok(())
}

/// What forbids counts for nothing where it fails, and goes before what permits where it does not.
pub(crate) async fn what_fails_does_not_forbid(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let rows = with_and_without(harness, &stores).await?;
    let yes = || RowExpr::Bool(true);
    let five = || equal(column("maybe_number"), RowExpr::Integer(5));
    check(&stores, &rows, but(yes(), five()), &["without"]).await?;
    check(&stores, &rows, but(yes(), not(five())), &["with", "without"]).await?;
    check(&stores, &rows, but(yes(), or(five(), yes())), &["without"]).await?;
    check(&stores, &rows, but(yes(), and(five(), has("maybe_number"))), &["without"]).await?;
    check(&stores, &rows, but(yes(), yes()), &[]).await?;
    check(&stores, &rows, but(yes(), RowExpr::Bool(false)), &["with", "without"]).await?;
    check(&stores, &rows, RowConditions::default().into(), &[]).await?;
    check(&stores, &rows, RowRule::Nothing, &[]).await?;
    // What one set of conditions forbids, another may let through.
    let either = but(yes(), five()).or(&permits(five()));
    check(&stores, &rows, either, &["with", "without"]).await?;
    Ok(())
}

/// A sum beyond 64 bits fails, and the question does not.
pub(crate) async fn sums_beyond_64_bits_fail(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let number = |number| Sample { number, ..Sample::default() };
    let samples = [("least", number(i64::MIN)), ("most", number(i64::MAX)), ("one", number(1))];
    let rows = named(harness, &stores, &samples).await?;
    let n = || Box::new(column("number"));
    let of = |number: i64| Box::new(RowExpr::Integer(number));
    let any = |sum: RowExpr| or(less(sum.clone(), RowExpr::Integer(0)), not(less(sum, RowExpr::Integer(0))));
    for (sum, expected) in [
        (RowExpr::Plus(n(), of(1)), &["least", "one"][..]),
        (RowExpr::Minus(n(), of(1)), &["most", "one"]),
        (RowExpr::Times(n(), of(2)), &["one"]),
        (RowExpr::Times(n(), of(-1)), &["most", "one"]),
        (RowExpr::Negative(n()), &["most", "one"]),
        (RowExpr::Minus(Box::new(RowExpr::Plus(n(), of(1))), of(1)), &["least", "one"]),
        (RowExpr::Plus(Box::new(RowExpr::Minus(n(), of(1))), of(1)), &["most", "one"]),
        (RowExpr::Plus(of(i64::MAX), of(1)), &[]),
        (choice(less(*n(), RowExpr::Integer(2)), *n(), RowExpr::Plus(n(), of(1))), &["least", "one"]),
    ] {
        check(&stores, &rows, permits(any(sum.clone())), expected).await?;
        let others = ["least", "most", "one"].into_iter().filter(|name| !expected.contains(name));
        check(&stores, &rows, but(RowExpr::Bool(true), any(sum)), &others.collect::<Vec<_>>()).await?;
    }
    let next = one_of(plus(column("number"), RowExpr::Integer(1)), vec![]);
    check(&stores, &rows, permits(not(next)), &["least", "one"]).await?;
    let times = Box::new(RowExpr::Times(n(), n()));
    check(&stores, &rows, permits(equal(RowExpr::Minus(times, of(1)), RowExpr::Integer(0))), &["one"]).await
}

/// The letters that mean something in the patterns of databases mean themselves; upper and lower case differ.
pub(crate) async fn patterns_take_every_letter_as_it_is(harness: &dyn Harness) -> Outcome {
    const WORDS: [&str; 12] =
        ["", "%", "*", "?", "A%b", "[a]", "\\", "_", "a\nb", "a%b", "ab", "\u{e4}\u{1F600}"];
    let stores = harness.open(Vec::new()).await?;
    let samples: Vec<_> =
        WORDS.iter().map(|word| (*word, Sample { word: (*word).to_owned(), ..Sample::default() })).collect();
    let samples: Vec<_> = samples.into_iter().map(|(word, sample)| (format!("k{word}"), sample)).collect();
    let samples: Vec<_> = samples.iter().map(|(name, sample)| (name.as_str(), sample.clone())).collect();
    let rows = named(harness, &stores, &samples).await?;
    for (pattern, expected) in [
        (&["*"][..], &WORDS[..]),
        (&["*", "*"], &WORDS),
        (&[], &[""]),
        (&["a", "*", "b"], &["a\nb", "a%b", "ab"]),
        (&["A", "*"], &["A%b"]),
        (&["*", "b"], &["A%b", "a\nb", "a%b", "ab"]),
        (&["*", "a", "b", "*"], &["ab"]),
        (&["*", "%", "*"], &["%", "A%b", "a%b"]),
        (&["_"], &["_"]),
        (&["*", "_"], &["_"]),
        (&["?", "*"], &["?"]),
        (&["[", "*"], &["[a]"]),
        (&["*", "]"], &["[a]"]),
        (&["\\", "*"], &["\\"]),
        (&["*", "\n", "*"], &["a\nb"]),
        (&["\u{e4}", "*"], &["\u{e4}\u{1F600}"]),
        (&["*", "\u{1F600}"], &["\u{e4}\u{1F600}"]),
        (&["\u{c4}", "*"], &[]),
        (&["a", "*", "a"], &[]),
        (&["a\0", "*"], &[]),
        (&["*", "\0"], &[]),
    ] {
        // The star is a part of its own above.
        let expected: Vec<_> = expected.iter().map(|word| format!("k{word}")).collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check(&stores, &rows, permits(like("word", pattern)), &expected).await?;
        let others = samples.iter().map(|(name, _)| *name).filter(|name| !expected.contains(name));
        check(&stores, &rows, permits(not(like("word", pattern))), &others.collect::<Vec<_>>()).await?;
    }
    let star = vec![PatternPart::Text("*".to_owned()), PatternPart::Any];
    check(&stores, &rows, permits(RowExpr::Like(Box::new(column("word")), star)), &["k*"]).await?;
    check(&stores, &rows, permits(equal(column("word"), text("ab\0"))), &[]).await?;
    let other = choice(less(column("number"), RowExpr::Integer(1)), text("a\0"), column("word"));
    check(&stores, &rows, permits(equal(other.clone(), text("a\0"))), &samples_of(&samples)).await?;
    check(&stores, &rows, permits(not(equal(other, column("word")))), &samples_of(&samples)).await
}

fn samples_of<'s>(samples: &[(&'s str, Sample)]) -> Vec<&'s str> {
    samples.iter().map(|(name, _)| *name).collect()
}

/// A choice compares by its place, not by its name; times as numbers of microseconds.
pub(crate) async fn ranks_and_times_compare_as_numbers(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let of = |level, maybe_level, micros| Sample {
        level,
        maybe_level,
        at: Timestamp::from_stored(micros),
        ..Sample::default()
    };
    let samples = [
        ("a", of(Level::High, None, -1)),
        ("b", of(Level::Low, Some(Level::High), 0)),
        ("c", of(Level::Medium, Some(Level::Low), 1_000_001)),
    ];
    let rows = named(harness, &stores, &samples).await?;
    let rank = |name: &str| RowExpr::Rank(Sample::column(name));
    let of = RowExpr::Integer;
    let at = || column("at");
    for (permit, expected) in [
        (less(rank("level"), of(2)), &["b", "c"][..]),
        (less(rank("maybe_level"), rank("level")), &["c"]),
        (not(less(rank("maybe_level"), rank("level"))), &["b"]),
        (one_of(rank("level"), vec![of(0), of(2)]), &["a", "b"]),
        (equal(column("level"), text("MEDIUM")), &["c"]),
        (less(at(), of(0)), &["a"]),
        (less(of(0), at()), &["c"]),
        (RowExpr::AtMost(Box::new(at()), Box::new(of(0))), &["a", "b"]),
        (equal(at(), of(1_000_001)), &["c"]),
        (equal(plus(at(), of(1)), of(1_000_002)), &["c"]),
        (one_of(at(), vec![of(-1), of(0)]), &["a", "b"]),
        (less(at(), of(i64::MAX)), &["a", "b", "c"]),
        (less(of(i64::MIN), at()), &["a", "b", "c"]),
    ] {
        check(&stores, &rows, permits(permit), expected).await?;
    }
    Ok(())
}

/// Lists may be empty and long, and so may rules.
pub(crate) async fn lists_may_be_empty_or_long(harness: &dyn Harness) -> Outcome {
    const LONG: i64 = 3_000;
    let stores = harness.open(Vec::new()).await?;
    let rows = with_and_without(harness, &stores).await?;
    let number = || column("maybe_number");
    let texts = |last: &str| (0..LONG).map(|nth| text(&format!("{nth}"))).chain([text(last)]).collect();
    let numbers: Vec<_> = (0..LONG).map(RowExpr::Integer).collect();
    for (permit, expected) in [
        (one_of(column("word"), vec![]), &[][..]),
        (not(one_of(column("word"), vec![])), &["with", "without"]),
        (not(one_of(number(), vec![])), &["with"]),
        (one_of(number(), numbers.clone()), &["with"]),
        (not(one_of(number(), numbers)), &[]),
        (one_of(column("maybe_word"), texts("w")), &["with"]),
        (not(one_of(column("maybe_word"), texts("'\"\\{},"))), &["with"]),
        (one_of(column("name"), texts("without")), &["without"]),
        (one_of(column("maybe_flag"), vec![RowExpr::Bool(true), RowExpr::Bool(false)]), &["with"]),
        (not(one_of(column("flag"), vec![RowExpr::Bool(true)])), &["with", "without"]),
        (not(one_of(text("x"), vec![text("y")])), &["with", "without"]),
        (not(one_of(column("maybe_word"), vec![text("w\0"), text("w\0\0")])), &["with"]),
    ] {
        check(&stores, &rows, permits(permit), expected).await?;
    }
    let mut policies: Vec<_> = (0..LONG).map(|nth| equal(number(), RowExpr::Integer(nth))).collect();
    let never = policies.iter().map(|policy| not(policy.clone())).collect();
    check(&stores, &rows, RowConditions { permits: never, forbids: Vec::new() }.into(), &["with"]).await?;
    let chain = policies.clone().into_iter().reduce(or);
    check(&stores, &rows, permits(chain.unwrap_or(RowExpr::Bool(false))), &["with"]).await?;
    let forbids = std::mem::take(&mut policies);
    let conditions = RowConditions { permits: vec![RowExpr::Bool(true)], forbids };
    check(&stores, &rows, conditions.into(), &["without"]).await
}

/// Under a rule the pages are the whole in every order, and no page shows what another would not.
pub(crate) async fn pages_hold_under_a_rule(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let samples = tied();
    let group = super::values::taken(harness, &stores, &samples).await?;
    let rule = but(
        or(column("flag"), has("maybe_number")),
        and(has("maybe_word"), equal(column("maybe_number"), RowExpr::Integer(0))),
    );
    let sorts = Sample::SCHEMA.columns.iter().enumerate().filter(|(_, spec)| spec.sort);
    let mut orders = vec![None];
    for (column, _) in sorts {
        orders.extend([Direction::Ascending, Direction::Descending].map(|to| Some((column, to))));
    }
    for order in orders {
        let everything = drive::find(&stores, &group, &query(order, Vec::new())?).await?;
        let expected: Vec<_> =
            everything.iter().filter(|row| rule.admits(Sample::SCHEMA, row)).cloned().collect();
        ensure!(!expected.is_empty() && expected.len() < everything.len(), "the rule tells nothing apart");
        let find = RawFind { rule: rule.clone(), ..query(order, Vec::new())? };
        for size in [1, 2, 5, EVERYTHING] {
            let pages = paged(&stores, &group, &find, size).await?;
            ensure_eq!(keys(&pages)?, keys(&expected)?, "pages of {size} under a rule in order {order:?}");
        }
    }
    Ok(())
}

/// A rule narrows what conditions leave, and lets nobody see the rows of another tenant.
pub(crate) async fn a_rule_narrows_a_question(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let number = |number| Sample { number, ..Sample::default() };
    let rows = named(harness, &stores, &[("a", number(1)), ("b", number(2)), ("c", number(3))]).await?;
    let sample = Box::new(number(2));
    drive::tell(&stores, "other", "foreign", SampleEvent::Taken { sample }).await?;
    drive::advance_to_head(&stores, &rows, EVERYTHING).await?;
    let at_least = RowExpr::AtMost(Box::new(RowExpr::Integer(2)), Box::new(column("number")));
    let values = vec![Value::Integer(3)];
    let below = Condition { column: Sample::column("number"), operator: Operator::Less, values };
    let rule = permits(at_least).or(&permits(RowExpr::Bool(false)));
    let mut find = RawFind { rule, ..query(None, vec![below])? };
    ensure_eq!(keys(&drive::find(&stores, &rows, &find).await?)?, ["b"], "the rows of {MAIN}");
    find.tenant = tenant("other")?;
    ensure_eq!(keys(&drive::find(&stores, &rows, &find).await?)?, ["foreign"], "the rows of another tenant");
    find.rule = RowRule::Nothing;
    ensure!(drive::find(&stores, &rows, &find).await?.is_empty(), "nothing lets something through");
    Ok(())
}
