//! Row rules and words asked wrongly, and exports made wrongly.

use super::Defect;
use crate::drive::EVERYTHING;
use diptych_core::{Fault, Value};
use diptych_query::{
    Cursor, EXPORT_BATCH_ROWS, Exporting, Found, Group, ModelStore, PatternPart, RawExport, RawFind,
    RowConditions, RowExpr, RowRule, Schema, Words, export_channel,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Asks by a rule as a store with a defect does.
pub(super) async fn find(
    defect: Defect,
    models: &dyn ModelStore,
    (group, schema): (&Group, &'static Schema),
    mut find: RawFind,
    timeout: Duration,
) -> Result<Found, Fault> {
    match defect {
        Defect::RuleOnFirstPage if find.after.is_some() => find.rule = RowRule::All,
        Defect::FailedForbids => find.rule = each(&find.rule, forbid_by_not),
        Defect::FailuresSwallowed => find.rule = each(&find.rule, swapped),
        Defect::PatternsIgnoreCase => {
            let rule = each(&find.rule, in_lower_case);
            let whole = RawFind { rule: RowRule::All, rows_max: EVERYTHING, ..find.clone() };
            let mut found = models.find(group, schema, &whole, timeout).await?;
            found.rows.retain(|row| rule.admits(schema, &row.iter().map(lower).collect::<Vec<_>>()));
            found.rows.truncate(find.rows_max);
            return Ok(found);
        }
        Defect::WordsAlternate => {
            let all: Vec<_> = find.words.all().iter().map(|word| word.text.clone()).collect();
            if let Some(first) = all.first().and_then(|word| Words::parse(word).ok()) {
                find.words = first;
            }
        }
        Defect::WordsWithin => {
            let all: Vec<_> = find.words.all().iter().map(|word| format!("{}*", word.text)).collect();
            find.words = Words::parse(&all.join(" ")).unwrap_or_default();
        }
        _ => {}
    }
    models.find(group, schema, &find, timeout).await
}

/// Exports as a store with a defect does.
pub(super) async fn export(
    defect: Defect,
    models: &Arc<dyn ModelStore>,
    (group, schema): (&Group, &'static Schema),
    export: &RawExport,
    at_most: Duration,
) -> Result<Exporting, Fault> {
    let mut export = export.clone();
    if defect == Defect::ExportUnruled {
        export.rule = RowRule::All;
    }
    let exporting = models.export(group, schema, &export, at_most).await?;
    if defect != Defect::ExportTorn {
        return Ok(exporting);
    }
    let (sender, rows) = export_channel(Instant::now() + at_most);
    let (models, group) = (Arc::clone(models), group.clone());
    tokio::spawn(async move {
        let mut find = export.question(EXPORT_BATCH_ROWS);
        while let Ok(found) = models.find(&group, schema, &find, at_most).await {
            let Some(last) = found.rows.last() else { break };
            let key = schema.key.iter().map(|column| last[*column].clone()).collect();
            find.after = Some(Cursor { sorted: None, key });
            if !sender.rows(found.rows, Instant::now()).await.unwrap_or(false) {
                return;
            }
        }
        sender.end(Ok(())).await;
    });
    Ok(Exporting { rows, ..exporting })
}

fn each(rule: &RowRule, change: fn(&RowConditions) -> RowConditions) -> RowRule {
    match rule {
        RowRule::Where(sets) => RowRule::Where(sets.iter().map(change).collect()),
        other => other.clone(),
    }
}

/// What forbids is asked for as what is not to hold: where it fails, nothing holds.
fn forbid_by_not(conditions: &RowConditions) -> RowConditions {
    let permit = |permit: &RowExpr| {
        conditions.forbids.iter().fold(permit.clone(), |permit, forbid| {
            RowExpr::And(Box::new(permit), Box::new(RowExpr::Not(Box::new(forbid.clone()))))
        })
    };
    RowConditions { permits: conditions.permits.iter().map(permit).collect(), forbids: Vec::new() }
}

/// `AND` and `OR` as databases have them: what fails on the left is forgotten where the right decides.
fn swapped(conditions: &RowConditions) -> RowConditions {
    fn turn(expr: &RowExpr) -> RowExpr {
        let of = |expr: &RowExpr| Box::new(turn(expr));
        match expr {
            RowExpr::And(left, right) => RowExpr::And(of(right), of(left)),
            RowExpr::Or(left, right) => RowExpr::Or(of(right), of(left)),
            RowExpr::Not(inner) => RowExpr::Not(of(inner)),
            other => other.clone(),
        }
    }
    let all = |list: &[RowExpr]| list.iter().map(turn).collect();
    RowConditions { permits: all(&conditions.permits), forbids: all(&conditions.forbids) }
}

/// Patterns in lower case, for rows in lower case.
fn in_lower_case(conditions: &RowConditions) -> RowConditions {
    fn turn(expr: &RowExpr) -> RowExpr {
        match expr {
            RowExpr::Not(inner) => RowExpr::Not(Box::new(turn(inner))),
            RowExpr::Like(inner, pattern) => {
                let part = |part: &PatternPart| match part {
                    PatternPart::Text(text) => PatternPart::Text(text.to_lowercase()),
                    PatternPart::Any => PatternPart::Any,
                };
                RowExpr::Like(inner.clone(), pattern.iter().map(part).collect())
            }
            other => other.clone(),
        }
    }
    let all = |list: &[RowExpr]| list.iter().map(turn).collect();
    RowConditions { permits: all(&conditions.permits), forbids: all(&conditions.forbids) }
}

fn lower(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(text.to_lowercase()),
        other => other.clone(),
    }
}
