//! What row conditions mean.

use super::*;
use PatternPart::{Any, Text};

fn pattern(parts: &[&str]) -> Vec<PatternPart> {
    parts.iter().map(|part| if *part == "*" { Any } else { Text((*part).to_owned()) }).collect()
}

#[test]
fn a_pattern_is_met_by_the_whole_text() {
    for (parts, text, expected) in [
        (vec!["ab"], "ab", true),
        (vec!["ab"], "abc", false),
        (vec!["a", "*"], "a", true),
        (vec!["*", "a"], "ba", true),
        (vec!["*", "a"], "ab", false),
        (vec!["a", "*", "a"], "a", false),
        (vec!["*", "ab", "*", "b"], "ab", false),
        (vec!["*", "ab", "*", "b"], "xabb", true),
        (vec!["*", "a", "b"], "xab", true),
        (vec!["*", "a", "b", "*"], "xaab", true),
        (vec!["*", "", "*", "*"], "", true),
        (vec!["*"], "", true),
        (vec![], "", true),
        (vec![], "a", false),
    ] {
        let pattern = settled::joined(&pattern(&parts));
        assert_eq!(fits(&pattern, text), expected, "{parts:?} {text:?}");
    }
}

#[test]
fn what_is_not_looked_at_cannot_fail() {
    let (schema, yes, no, failed) = (
        &crate::tests::SCHEMA,
        || Box::new(RowExpr::Bool(true)),
        || Box::new(RowExpr::Bool(false)),
        || Box::new(RowExpr::Failed(RowType::Bool)),
    );
    let holds = |expr: RowExpr| expr.holds(schema, &[]);
    assert_eq!(holds(RowExpr::And(no(), failed())), Ok(false));
    assert_eq!(holds(RowExpr::And(failed(), no())), Err(RowFailed));
    assert_eq!(holds(RowExpr::Or(yes(), failed())), Ok(true));
    assert_eq!(holds(RowExpr::Or(failed(), yes())), Err(RowFailed));
    assert_eq!(holds(RowExpr::If(yes(), no(), failed())), Ok(false));
    assert_eq!(holds(RowExpr::Cell(99)), Err(RowFailed));
    assert_eq!(holds(RowExpr::Negative(Box::new(RowExpr::Integer(i64::MIN)))), Err(RowFailed));
}

#[test]
fn a_condition_that_fails_neither_permits_nor_forbids() {
    let rule = |permits: Vec<RowExpr>, forbids: Vec<RowExpr>| {
        RowRule::from(RowConditions { permits, forbids }).admits(&crate::tests::SCHEMA, &[])
    };
    let (yes, failed) = (RowExpr::Bool(true), RowExpr::Failed(RowType::Bool));
    assert!(rule(vec![failed.clone(), yes.clone()], vec![failed.clone()]));
    assert!(!rule(vec![failed], vec![]));
    assert!(!rule(vec![yes.clone()], vec![yes]));
}
