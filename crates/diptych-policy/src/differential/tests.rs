//! The rule for stores equals Cedar's own decision, row by row, for random policies, principals and rows; and
//! every way to get it wrong on purpose is noticed.
#![allow(clippy::print_stderr, reason = "seeds are printed")]

use super::*;
use crate::breakage::Breakage;
use crate::test_world::WORK;
use crate::{Declarations, Policies};
use diptych_query::{FieldRule, ReadPolicy, RowRule};
use fastrand::Rng;

/// How much is drawn for one look.
struct Amount {
    policy_sets: usize,
    principals: usize,
    rows: usize,
}

#[derive(Default, Debug)]
struct Tally {
    decisions: usize,
    allowed: usize,
    refused_sets: usize,
    refusals: Vec<String>,
    conditional: usize,
    mismatches: Vec<String>,
}

/// Every mistake, and a seed whose first policies show it.
const NOTICED: [(Breakage, u64); 11] = [
    (Breakage::FailureIsFalse, 35),
    (Breakage::HasAlways, 3),
    (Breakage::BranchesSwapped, 3),
    (Breakage::OperandsSwapped, 151),
    (Breakage::AtMostIsLess, 2),
    (Breakage::ItemsNotLookedAt, 513),
    (Breakage::StarIsWild, 885),
    (Breakage::FailureSimplifiedAway, 513),
    (Breakage::GuardsReachTooFar, 3),
    (Breakage::ForbidsLost, 42),
    (Breakage::FailureForbids, 112),
];

fn declarations() -> Declarations {
    Declarations { categories: Vec::new(), models: vec![&WORK] }
}

/// Compares rules and decisions for everything that is drawn from a seed.
fn compare(seed: u64, amount: &Amount, breakage: Option<Breakage>) -> Tally {
    let mut tally = Tally::default();
    for number in 0..amount.policy_sets as u64 {
        let mut rng = Rng::with_seed(seed.wrapping_add(number));
        let mut draw = Draw::new(&mut rng, &WORK);
        let text = draw.policies();
        let rows: Vec<_> = (0..amount.rows).map(|row| draw.row(row)).collect();
        let principals: Vec<_> = (0..amount.principals).map(|_| draw.principal()).collect();
        let policies = Policies::from_text(&text).expect("what is drawn can be parsed");
        let mut guard = match PolicyGuard::new(&policies, &declarations()) {
            Ok(guard) => guard,
            // Cedar's strict types refuse some of what is drawn, such as a choice between what cannot be.
            Err(error) => {
                tally.refused_sets += 1;
                tally.refusals.push(error.problems[0].clone());
                continue;
            }
        };
        guard.breakage = breakage;
        for principal in principals {
            let oracle = Oracle::new(&guard, &policies, &principal, &WORK).expect("the model is declared");
            for purpose in [Purpose::View, Purpose::Export] {
                let sight = guard.sight(&principal, &WORK, purpose);
                let rule = sight.as_ref().map_or(RowRule::Nothing, |sight| sight.rows.clone());
                tally.conditional += usize::from(matches!(rule, RowRule::Where(_)));
                for row in &rows {
                    let (expected, found) = (oracle.sees(row, purpose), rule.admits(&WORK, row));
                    tally.decisions += 1;
                    tally.allowed += usize::from(expected);
                    if expected != found {
                        let what = format!(
                            "seed {}: {expected}\n{text}\n{rule:?}\n{row:?}",
                            seed.wrapping_add(number)
                        );
                        tally.mismatches.push(what);
                    }
                }
            }
        }
        if breakage.is_some() && !tally.mismatches.is_empty() {
            break;
        }
    }
    tally
}

#[test]
fn the_rule_for_rows_equals_cedars_decision_on_every_row() {
    let seed = std::env::var("DIPTYCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let sets = std::env::var("DIPTYCH_POLICY_SETS").ok().and_then(|sets| sets.parse().ok());
    let amount = Amount { policy_sets: sets.unwrap_or(150), principals: 3, rows: 20 };
    let tally = compare(seed, &amount, None);
    eprintln!(
        "seed {seed}: {} decisions, {} allowed, {} rules are conditions, {} sets refused",
        tally.decisions, tally.allowed, tally.conditional, tally.refused_sets
    );
    eprintln!("refused: {:#?}", tally.refusals.iter().take(8).collect::<Vec<_>>());
    assert_eq!(tally.mismatches.first(), None, "DIPTYCH_SEED={seed}");
    assert!(tally.refused_sets * 4 < amount.policy_sets * 3, "too few sets were compared: {tally:?}");
    assert!(tally.allowed > 0 && tally.allowed < tally.decisions && tally.conditional > 0, "{tally:?}");
}

#[test]
fn every_mistake_that_is_made_on_purpose_is_noticed() {
    for (breakage, seed) in NOTICED {
        // Where something else is drawn than was, it may take longer.
        let amount = Amount { policy_sets: 4_000, principals: 2, rows: 20 };
        let tally = compare(seed, &amount, Some(breakage));
        let found = tally.mismatches.first().unwrap_or_else(|| panic!("{breakage:?} went unnoticed"));
        eprintln!("{breakage:?}: {}", found.lines().next().unwrap_or_default());
    }
}

#[test]
fn a_field_is_seen_where_cedar_says_so() {
    let policies = Policies::from_text(
        r#"@id("rows") permit (principal, action == Action::"viewRow", resource);
           @id("own") permit (principal, action == Action::"viewField", resource is WorkItemView)
           when { context.sensitivity == "personal" && resource has team
                  && principal.teams.contains(resource.team) };
           @id("never") forbid (principal, action == Action::"viewField", resource is WorkItemView)
           when { context.field == "count" && resource.count < 0 };"#,
    );
    let policies = policies.unwrap();
    let guard = PolicyGuard::new(&policies, &declarations()).unwrap();
    let mut rng = Rng::with_seed(5);
    let mut draw = Draw::new(&mut rng, &WORK);
    let mut conditional = 0;
    for number in 0..50 {
        let (principal, row) = (draw.principal(), draw.row(number));
        let oracle = Oracle::new(&guard, &policies, &principal, &WORK).unwrap();
        let sight = guard.sight(&principal, &WORK, Purpose::View).unwrap();
        for column in 0..WORK.columns.len() {
            let key = WORK.key.contains(&column);
            let (expected, rule) = (key || oracle.sees_field(&row, column), &sight.fields[column]);
            conditional += usize::from(matches!(rule, FieldRule::Where(_)));
            let withheld = sight.withheld(&WORK, &row).contains(&column);
            assert_eq!(withheld, !expected, "column {column} of {row:?} for {principal:?}: {rule:?}");
        }
    }
    assert!(conditional > 50);
}
