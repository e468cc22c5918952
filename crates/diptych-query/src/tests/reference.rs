//! The fold against a reference that knows no batches, no guards and no stored rows: fact by fact over maps.

use super::world::{
    BoxEvent, BoxFact, BoxRow, Kept, Log, ShelfEvent, ShelfRow, ThingEvent, ThingFact, ThingRow, group,
};
use crate::{Batch, JoinedProjection, Projection, ReadModel, Route};
use diptych_core::{EventSet, Fact, RawFact, Tenant, Value};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The rows of one table, by tenant and key.
type Rows<M> = BTreeMap<(String, String), M>;

/// What the tables hold after facts, each taken once.
#[derive(Default)]
struct Reference {
    shelves: Rows<ShelfRow>,
    boxes: Rows<BoxRow>,
    things: Rows<ThingRow>,
    no_ops: [u64; 3],
}

impl Reference {
    fn take(&mut self, raw: &Arc<RawFact>) {
        let tenant = Tenant::as_str(&raw.stream.tenant).to_owned();
        let Self { shelves, boxes, things, no_ops } = self;
        if let Some(fact) = read::<ShelfEvent>(raw) {
            let route = <ShelfRow as Projection>::route(&fact);
            no_ops[0] += touch(shelves, &tenant, route, |row| <ShelfRow as Projection>::project(row, &fact));
        }
        let shelf = |key: &str| shelves.get(&(tenant.clone(), key.to_owned())).cloned();
        if let Some(fact) = read::<BoxFact>(raw) {
            let route = BoxRow::route(&fact);
            no_ops[1] += touch(boxes, &tenant, route, |row| BoxRow::after(row, &fact, &shelf));
        }
        let inside = |key: &str| boxes.get(&(tenant.clone(), key.to_owned())).cloned();
        if let Some(fact) = read::<ThingFact>(raw) {
            let route = ThingRow::route(&fact);
            no_ops[2] += touch(things, &tenant, route, |row| ThingRow::after(row, &fact, &inside, &shelf));
        }
    }

    /// Every row of every table, as a store would tell it.
    fn contents(&self) -> Vec<BTreeMap<(String, String), Vec<Value>>> {
        vec![told(&self.shelves), told(&self.boxes), told(&self.things)]
    }
}

fn told<M: ReadModel>(rows: &Rows<M>) -> BTreeMap<(String, String), Vec<Value>> {
    let place = |row: &M| format!("{:?}", M::key_values(&row.key()));
    rows.iter().map(|((tenant, _), row)| ((tenant.clone(), place(row)), row.to_row())).collect()
}

fn read<E: EventSet>(raw: &Arc<RawFact>) -> Option<Fact<E>> {
    let reads = E::CATEGORIES.contains(&raw.stream.stream.category.as_str());
    reads.then(|| Fact::new(raw.decode::<E>().unwrap().unwrap(), Arc::clone(raw)))
}

/// Changes the rows that a route names; answers how many of them were not there and are not.
fn touch<M: ReadModel<Key = String>>(
    rows: &mut Rows<M>,
    tenant: &str,
    route: Route<M>,
    project: impl Fn(Option<M>) -> Option<M>,
) -> u64 {
    let mut named = named(rows, tenant, route);
    named.sort();
    named.dedup();
    let mut no_ops = 0;
    for key in named {
        let place = (tenant.to_owned(), key);
        let before = rows.remove(&place);
        let existed = before.is_some();
        match project(before) {
            Some(after) => drop(rows.insert(place, after)),
            None => no_ops += u64::from(!existed),
        }
    }
    no_ops
}

fn named<M: ReadModel<Key = String>>(rows: &Rows<M>, tenant: &str, route: Route<M>) -> Vec<String> {
    match route {
        Route::None => Vec::new(),
        Route::Key(key) => vec![key],
        Route::Keys(keys) => keys,
        Route::Starting(_) => unreachable!("no route of this world starts rows"),
        Route::Matching { column, value } => {
            let fits = |row: &M| value != Value::Null && row.to_row()[column] == value;
            let own = rows.iter().filter(|((owner, _), row)| owner == tenant && fits(row));
            own.map(|((_, key), _)| key.clone()).collect()
        }
        Route::All(routes) => routes.into_iter().flat_map(|route| named(rows, tenant, route)).collect(),
    }
}

/// One fact of a random history.
#[derive(Clone, Debug)]
enum Told {
    Shelf(u8, ShelfEvent),
    Box(u8, BoxEvent),
    Thing(u8, ThingEvent),
}

fn told_of() -> impl Strategy<Value = (bool, Told)> {
    let shelf = || (0_u8..3).prop_map(|number| format!("shelf {number}"));
    let inside = || (0_u8..3).prop_map(|number| format!("box {number}"));
    let colour = || prop_oneof![3 => Just(Some("red")), 3 => Just(Some("blue")), 1 => Just(None)];
    let colour = move || colour().prop_map(|colour| colour.map(str::to_owned));
    let some = || prop_oneof![Just("red".to_owned()), Just("blue".to_owned())];
    let thing = prop_oneof![
        4 => (inside(), colour()).prop_map(|(inside, colour)| ThingEvent::Made { inside, colour }),
        4 => inside().prop_map(|inside| ThingEvent::Packed { inside }),
        3 => inside().prop_map(|inside| ThingEvent::Remembered { inside }),
        3 => (some(), colour()).prop_map(|(from, to)| ThingEvent::Painted { from, to }),
        2 => proptest::collection::vec(colour(), 0..3).prop_map(|colours| ThingEvent::Dusted { colours }),
        2 => Just(ThingEvent::Lost),
    ];
    let told = prop_oneof![
        2 => (0_u8..3, "[a-c]").prop_map(|(key, name)| Told::Shelf(key, ShelfEvent::Named { name })),
        1 => (0_u8..3).prop_map(|key| Told::Shelf(key, ShelfEvent::Removed)),
        3 => (0_u8..3, shelf()).prop_map(|(key, shelf)| Told::Box(key, BoxEvent::Put { shelf })),
        1 => (0_u8..3).prop_map(|key| Told::Box(key, BoxEvent::Burnt)),
        8 => (0_u8..4, thing).prop_map(|(key, event)| Told::Thing(key, event)),
    ];
    (proptest::bool::weighted(0.15), told)
}

fn log_of(history: &[(bool, Told)]) -> Log {
    let mut log = Log::default();
    for (other, told) in history {
        let tenant = if *other { "other" } else { "main" };
        match told.clone() {
            Told::Shelf(key, event) => log.tell_in(tenant, &format!("shelf {key}"), event),
            Told::Box(key, event) => log.tell_in(tenant, &format!("box {key}"), event),
            Told::Thing(key, event) => log.tell_in(tenant, &format!("thing {key}"), event),
        };
    }
    log
}

/// How a history is delivered: batches of some sizes, each planned in one block or two, and after each what
/// came before it once more or not.
#[derive(Clone, Debug)]
struct Delivery {
    size: usize,
    /// How many facts before the new ones come with them.
    overlap: usize,
    two_blocks: bool,
    /// Whether the first block is run before the second is planned.
    two_runs: bool,
    again: Option<(u8, u8)>,
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let again = proptest::option::weighted(0.4, (any::<u8>(), 1_u8..20));
    let overlap = prop_oneof![3 => Just(0), 1 => 1_usize..8];
    (1_usize..12, overlap, any::<bool>(), any::<bool>(), again).prop_map(
        |(size, overlap, two_blocks, two_runs, again)| Delivery {
            size,
            overlap,
            two_blocks,
            two_runs,
            again,
        },
    )
}

/// One step of folding ahead.
#[derive(Clone, Debug)]
struct StepAhead {
    size: usize,
    /// How many facts are folded at once.
    parts: usize,
    /// How many batches may be folded and not written after it.
    unwritten_max: usize,
    /// Whether what is not written then is thrown away.
    thrown_away: bool,
}

impl StepAhead {
    /// Takes whatever is left and writes all of it.
    const LAST: Self = Self { size: usize::MAX, parts: 3, unwritten_max: 0, thrown_away: false };
}

fn step_ahead() -> impl Strategy<Value = StepAhead> {
    (1_usize..12, 1_usize..12, 0_usize..3, proptest::bool::weighted(0.1)).prop_map(
        |(size, parts, unwritten_max, thrown_away)| StepAhead { size, parts, unwritten_max, thrown_away },
    )
}

/// Folds two blocks in one transaction.
fn deliver(kept: &mut Kept, blocks: [&[Arc<RawFact>]; 2], two_runs: bool, fresh: bool) {
    if !two_runs {
        let fold = kept.plan(&blocks, fresh).unwrap();
        return kept.finish(fold).unwrap();
    }
    let mut fold = kept.plan(&blocks[..1], fresh).unwrap();
    kept.run(&mut fold).unwrap();
    let through = kept.plan(&blocks[1..], false).unwrap().through();
    fold.plan_facts(blocks[1], through).unwrap();
    kept.finish(fold).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_delivery_leaves_what_the_reference_has(
        history in proptest::collection::vec(told_of(), 1..60),
        deliveries in proptest::collection::vec(delivery(), 1..20),
        fresh in any::<bool>(),
    ) {
        let log = log_of(&history);
        let mut reference = Reference::default();
        let mut kept = Kept::new(group());
        let mut reached = 0;
        for delivery in deliveries.iter().cycle() {
            let end = (reached + delivery.size).min(log.facts.len());
            let batch = &log.facts[reached.saturating_sub(delivery.overlap)..end];
            let (first, second) = batch.split_at(if delivery.two_blocks { batch.len() / 2 } else { 0 });
            deliver(&mut kept, [first, second], delivery.two_runs, fresh && reached == 0);
            log.facts[reached..end].iter().for_each(|raw| reference.take(raw));
            prop_assert_eq!(kept.contents(), reference.contents());
            reached = end;
            if let Some((from, count)) = delivery.again {
                let from = usize::from(from) % (reached + 1);
                let until = (from + usize::from(count)).min(reached);
                let fold = kept.plan(&[&log.facts[from..until]], false).unwrap();
                let before = kept.tables.clone();
                kept.finish(fold).unwrap();
                prop_assert_eq!(&kept.tables, &before, "facts {}..{} once more", from, until);
            }
            prop_assert_eq!(&kept.no_ops[..], &reference.no_ops[..], "the facts that met no row");
            if reached == log.facts.len() {
                break;
            }
        }
    }

    #[test]
    fn folding_ahead_leaves_what_the_reference_has(
        history in proptest::collection::vec(told_of(), 1..60),
        steps in proptest::collection::vec(step_ahead(), 1..20),
        bytes_max in prop_oneof![Just(0), 1_usize..8_000, Just(usize::MAX)],
    ) {
        let log = log_of(&history);
        let mut reference = Reference::default();
        let mut kept = Kept::new(group());
        let mut fold = kept.lasting();
        let mut waiting = VecDeque::new();
        let mut reached = 0_usize;
        for StepAhead { size, parts, unwritten_max, thrown_away } in steps.iter().chain([&StepAhead::LAST]) {
            let end = reached.saturating_add(*size).min(log.facts.len());
            let parts: Vec<_> = log.facts[reached..end].chunks(*parts).collect();
            waiting.push_back(kept.fold_ahead(&mut fold, &parts).unwrap());
            reached = end;
            while waiting.len() > *unwritten_max {
                let batch: Batch = waiting.pop_front().unwrap();
                let written = usize::try_from(kept.reached.0).unwrap();
                let through = usize::try_from(batch.through.position().0).unwrap();
                log.facts[written..through].iter().for_each(|raw| reference.take(raw));
                kept.write_ahead(batch);
                prop_assert_eq!(kept.contents(), reference.contents());
            }
            prop_assert_eq!(&kept.no_ops[..], &reference.no_ops[..], "the facts that met no row");
            if waiting.is_empty() {
                fold.make_room(bytes_max);
            }
            if *thrown_away {
                waiting.clear();
                fold = kept.lasting();
                reached = usize::try_from(kept.reached.0).unwrap();
            }
        }
        prop_assert_eq!(kept.reached.0, log.facts.len() as u64);
    }
}
