//! A correction takes its place among the facts of its row, in every way of folding, and only where it is
//! declared.

use super::world::{Kept, Log, ShelfEvent};
use crate::{
    Build, BuildId, CORRECTION, ColumnSpec, Contract, Correction, Corrections, Direction, Fold, Governance,
    Group, IndexSpec, Mode, Partition, Projection, ROW_CORRECTED, ReadModel, Route, Schema, Sensitivity,
    Stage, Storage, Tenants, Touch, Upkeep, erase,
};
use diptych_core::{
    DecodeError, EventName, Fact, Portable, Position, RawFact, StreamId, StreamRef, Tenant, Timestamp, Value,
    ValueType, Version,
};
use serde_json::json;
use std::sync::Arc;

const fn column(name: &'static str, public: &'static str, value_type: ValueType) -> ColumnSpec {
    ColumnSpec {
        name,
        public,
        value_type,
        nullable: matches!(value_type, ValueType::Integer),
        choices: &[],
        ranked: false,
        filter: false,
        sort: false,
        sensitivity: Sensitivity::Internal,
        facets: crate::Facets::PLAIN,
        meaning: "",
    }
}

static COLUMNS: [ColumnSpec; 3] = [
    column("shelf", "shelfId", ValueType::Text),
    column("name", "name", ValueType::Text),
    column("seen", "seen", ValueType::Integer),
];

const fn labels(corrections: Corrections) -> Schema {
    Schema {
        name: "label",
        path: "",
        revision: 1,
        meaning: "",
        columns: &COLUMNS,
        key: &[0],
        indexes: &[IndexSpec { columns: &[(1, Direction::Ascending)] }],
        default_sort: None,
        computed: &[],
        reads: &[],
        mode: Mode::Asynchronous,
        partitions: 1,
        contract: Contract::Eventual,
        tenants: Tenants::Own,
        about: "",
        pending: false,
        storage: Storage::Columns,
        source: "",
        upkeep: Upkeep { corrections, ..Upkeep::DEFAULT },
        governance: Governance::NONE,
    }
}

const REFUSED: u8 = 0;
const KEPT: u8 = 1;
const UNTIL_REBUILD: u8 = 2;

/// What a shelf is called, and how often it was named.
#[derive(Clone, PartialEq, Debug)]
struct Label<const CORRECTIONS: u8> {
    shelf: String,
    name: String,
    seen: Option<i64>,
}

impl<const CORRECTIONS: u8> ReadModel for Label<CORRECTIONS> {
    type Key = String;
    const SCHEMA: &'static Schema = match CORRECTIONS {
        REFUSED => &labels(Corrections::Refused),
        KEPT => &labels(Corrections::Kept),
        _ => &labels(Corrections::UntilRebuild),
    };

    fn key(&self) -> String {
        self.shelf.clone()
    }

    fn key_values(key: &String) -> Vec<Value> {
        vec![key.to_value()]
    }

    fn key_from_values(values: &[Value]) -> Result<String, DecodeError> {
        String::from_value(&values[0])
    }

    fn to_row(&self) -> Vec<Value> {
        vec![self.shelf.to_value(), self.name.to_value(), self.seen.to_value()]
    }

    fn from_row(values: &[Value]) -> Result<Self, DecodeError> {
        let [shelf, name, seen] = values else { return Err(DecodeError::malformed("row", &"three values")) };
        let (shelf, name) = (String::from_value(shelf)?, String::from_value(name)?);
        Ok(Self { shelf, name, seen: Option::from_value(seen)? })
    }
}

impl<const CORRECTIONS: u8> Projection for Label<CORRECTIONS> {
    type Event = ShelfEvent;

    fn route(fact: &Fact<ShelfEvent>) -> Route<Self> {
        Route::key(fact.stream().key.as_str().to_owned())
    }

    fn project(row: Option<Self>, fact: &Fact<ShelfEvent>) -> Option<Self> {
        let seen = row.as_ref().and_then(|row| row.seen).unwrap_or(0);
        match &fact.event {
            ShelfEvent::Named { name } => {
                let shelf = fact.stream().key.as_str().to_owned();
                Some(Self { shelf, name: name.clone(), seen: Some(seen + 1) })
            }
            ShelfEvent::Removed => None,
        }
    }
}

fn model<const CORRECTIONS: u8>() -> Group {
    Group::of_one(erase::<Label<CORRECTIONS>>())
}

fn corrected(log: &mut Log, at: i64, body: &serde_json::Value) {
    let stream = StreamId::new(CORRECTION, "c").unwrap();
    log.facts.push(Arc::new(RawFact {
        position: Position(log.facts.len() as u64 + 1),
        stream: Arc::new(StreamRef { tenant: Tenant::new("main").unwrap(), stream }),
        version: Version(1),
        event: EventName { name: ROW_CORRECTED.into(), schema_version: 1 },
        recorded_at: Timestamp::from_stored(at),
        occurred_at: Timestamp::EPOCH,
        metadata: "{}".to_owned().into(),
        payload: body.to_string().into(),
    }));
}

fn named(name: &str) -> ShelfEvent {
    ShelfEvent::Named { name: name.to_owned() }
}

/// A shelf that is named, corrected, and named again; another that is corrected and stays so; one that is not
/// there when it is corrected; one of another tenant.
fn history() -> Log {
    let mut log = Log::default();
    log.tell("a", named("one")).tell("b", named("two")).tell_in("other", "b", named("theirs"));
    corrected(&mut log, 10, &json!({"model": "label", "key": ["a"], "set": {"seen": 40}, "reason": "r"}));
    let both = json!({"name": "zwei", "seen": null});
    corrected(&mut log, 20, &json!({"model": "label", "key": ["b"], "set": both, "reason": "r"}));
    corrected(&mut log, 20, &json!({"model": "label", "key": ["c"], "set": {"name": "x"}, "reason": "r"}));
    corrected(&mut log, 20, &json!({"model": "sign", "key": ["b"], "set": {"name": "x"}, "reason": "r"}));
    log.tell("a", named("uno")).tell("c", named("three"));
    log
}

/// The rows after a log, folded at once, one by one, and once more from the middle: all must be the same.
#[track_caller]
fn check(group: &Group, log: &Log, expected: &[&str]) {
    let mut at_once = Kept::new(group.clone());
    at_once.apply(&log.facts).unwrap();
    let mut one_by_one = Kept::new(group.clone());
    for raw in &log.facts {
        one_by_one.apply(std::slice::from_ref(raw)).unwrap();
    }
    let again = one_by_one.plan(&[&log.facts[2..]], false).unwrap();
    one_by_one.finish(again).unwrap();
    assert_eq!(at_once.contents(), one_by_one.contents());
    let rows = at_once.contents().swap_remove(0);
    let rows: Vec<_> = rows
        .into_iter()
        .map(|((tenant, _), values)| {
            let values: Vec<_> = values.iter().map(|value| value.to_json().to_string()).collect();
            format!("{tenant} {}", values.join(" ").replace('"', ""))
        })
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn a_correction_takes_its_place_among_the_facts_of_its_row() {
    check(
        &model::<KEPT>(),
        &history(),
        &["main a uno 41", "main b zwei null", "main c three 1", "other b theirs 1"],
    );
}

#[test]
fn a_model_that_takes_no_corrections_does_not_see_them() {
    let group = model::<REFUSED>();
    check(&group, &history(), &["main a uno 2", "main b two 1", "main c three 1", "other b theirs 1"]);
    let held: Vec<_> = model::<KEPT>().models()[0].routed(&history().facts[4]).unwrap();
    assert_eq!(held, [Touch::Row(vec![Value::Text("b".to_owned())])]);
    assert_eq!(group.models()[0].routed(&history().facts[4]).unwrap(), []);
}

#[test]
fn a_build_leaves_out_what_holds_until_it_is_begun() {
    let build = |generation, begun: i64| Build {
        id: BuildId { revision: 1, generation },
        stage: if generation == 1 { Stage::Rebuilding } else { Stage::Building },
        shape: String::new(),
        declared: String::new(),
        created_at: Timestamp::from_stored(begun),
        moved_at: Timestamp::EPOCH,
    };
    let group = model::<UNTIL_REBUILD>();
    let rest = ["main c three 1", "other b theirs 1"];
    let with = |first: &'static str, second: &'static str| [&[first, second], rest.as_slice()].concat();
    check(&group, &history(), &with("main a uno 41", "main b zwei null"));
    group.know(&[build(1, 0), build(2, 15), build(3, 30)]);
    check(&group, &history(), &with("main a uno 41", "main b zwei null"));
    check(&group.at(build(2, 0).id), &history(), &with("main a uno 2", "main b zwei null"));
    check(&group.at(build(3, 0).id), &history(), &with("main a uno 2", "main b two 1"));
    let kept = model::<KEPT>();
    kept.know(&[build(1, 30)]);
    check(&kept, &history(), &with("main a uno 41", "main b zwei null"));
}

#[test]
fn a_correction_is_folded_by_the_partition_of_its_row() {
    let (group, log) = (model::<KEPT>(), history());
    let checkpoint = Kept::new(group.clone()).plan(&[], true).unwrap().through();
    let parts = Partition::all(4).map(|partition| {
        let mut fold = Fold::in_partition(&group, partition, checkpoint);
        fold.plan_facts(&log.facts, checkpoint).unwrap();
        fold.changes().unwrap().swap_remove(0).rows
    });
    let mut names: Vec<_> =
        parts.flatten().map(|change| format!("{:?}", change.stored.values.unwrap()[1].to_json())).collect();
    names.sort();
    assert_eq!(names, [r#"String("theirs")"#, r#"String("three")"#, r#"String("uno")"#, r#"String("zwei")"#]);
}

fn body(model: &str, key: serde_json::Value, set: serde_json::Value, reason: &str) -> serde_json::Value {
    json!({ "model": model, "key": key, "set": set, "reason": reason })
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let check = |corrections, body: serde_json::Value, expected: &str| {
        let correction: Correction = serde_json::from_value(body).unwrap();
        let checked = correction.check(&labels(corrections)).map(|corrected| format!("{corrected:?}"));
        assert!(checked.unwrap_or_else(|error| error.to_string()).starts_with(expected), "{correction:?}");
    };
    let set = |set: serde_json::Value| body("label", json!(["a"]), set, "why");
    check(Corrections::Kept, set(json!({"name": "x", "seen": null})), "Corrected {");
    check(Corrections::Refused, set(json!({"name": "x"})), "`model` takes no corrections");
    check(Corrections::Kept, set(json!({"colour": "x"})), "`set.colour` is no column; there are: name, seen");
    check(Corrections::Kept, set(json!({"shelfId": "x"})), "`set.shelfId` is part of the key");
    check(Corrections::Kept, set(json!({"name": 7})), "`set.name` must be a text");
    check(Corrections::Kept, set(json!({"name": null})), "`set.name` must hold a value");
    check(Corrections::Kept, set(json!({"seen": "7"})), "`set.seen` must be a whole number");
    check(Corrections::Kept, set(json!({})), "`set` must name a column");
    check(
        Corrections::Kept,
        body("label", json!([]), json!({"name": "x"}), "why"),
        "`key` must have a value for each of: shelfId",
    );
    check(Corrections::Kept, body("label", json!([7]), json!({"name": "x"}), "why"), "`key` must be a text");
    check(Corrections::Kept, body("label", json!(["a"]), json!({"name": "x"}), " "), "`reason` must say why");
}
