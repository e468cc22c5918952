//! The fold over one typed table: facts waiting for their rows, and what became of them.

use super::correction::Correcting;
use super::decoded::{Decoded, Facts};
use super::digest::{bucket_of, short};
use super::earlier::{Earlier, Looked};
use super::excepted::Exception;
use super::guarded::guarded;
use super::near::{Near, ROWS_AT_ONCE};
use super::slots::{Buckets, Prepared, Slots, TableUse, listed};
use super::stored::AsStored;
use super::{FoldError, FoldErrorKind, ROWS_PER_FACT_MAX, Ran, TableFold};
use crate::{JoinedProjection, Matching, OnFailure, ReadModel, Route, RowRef, Siblings, StoredRow};
use crate::{TableChanges, TableNeeds};
use diptych_core::{EventSet, Fact, Position, RawFact, Tenant, Value};
use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

/// A table of a typed projection.
pub struct TypedTable<M: JoinedProjection> {
    pub(super) rows: Slots<M>,
    /// What has changed, where rows stay.
    prepared: Prepared,
    /// Room for the routes of the facts at hand.
    routes: Vec<Option<Route<M>>>,
    /// What is found out about the rows of each of these facts.
    near: Vec<Near>,
    pub(super) queue: Vec<Waiting<M>>,
    /// The facts of the last run, to be freed when the fold is: nobody waits for it then.
    spent: Vec<Waiting<M>>,
    matching: HashSet<Matching>,
    asked: Vec<Matching>,
    /// The values of which a store has handed over one row more than a fact may touch: there may be others
    /// that nobody has seen, also when some of those have left.
    cut_short: Vec<Matching>,
    pub(super) no_ops: u64,
    ignored: u64,
    /// The row whose projection runs, or was running when it panicked.
    projecting: Option<usize>,
}

/// A fact that waits for its rows.
pub(super) struct Waiting<M: JoinedProjection> {
    pub(super) facts: Facts<M::Event>,
    /// Which of the facts, which is one that the table can read.
    pub(super) index: usize,
    pub(super) touched: Touched<M>,
}

impl<M: JoinedProjection> Waiting<M> {
    fn fact(&self) -> Option<&Fact<M::Event>> {
        self.facts.get(self.index)?.as_ref()
    }
}

/// The rows a fact touches.
pub(super) enum Touched<M> {
    One(usize),
    Many(Vec<usize>),
    /// With the row that each starts from where there is none.
    Starting(Vec<(usize, M)>),
    /// Those that hold the value in the column when the fact comes.
    Matching(usize, Value),
    All(Vec<Self>),
    /// The one that a person corrects; the projection does not see the fact.
    Corrected(Box<Correcting>),
}

/// What a fact is folded under.
#[derive(Clone, Copy)]
struct Moment<'a> {
    /// The position that the group had reached before.
    clock: Position,
    earlier: Earlier<'a>,
}

impl<M: JoinedProjection> TypedTable<M> {
    /// An empty working set.
    #[must_use]
    pub fn new(purpose: TableUse) -> Self {
        Self {
            rows: Slots::new(purpose),
            prepared: Prepared::default(),
            routes: Vec::new(),
            near: Vec::new(),
            queue: Vec::new(),
            spent: Vec::new(),
            matching: HashSet::new(),
            asked: Vec::new(),
            cut_short: Vec::new(),
            no_ops: 0,
            ignored: 0,
            projecting: None,
        }
    }

    /// Counts a fact that says nothing to the table if that is because its type is ignored. Every partition
    /// is handed the fact, so that one of them counts.
    pub(super) fn passed_over(&mut self, raw: &RawFact) {
        let category = raw.stream.stream.category.as_str();
        if self.rows.is_first_partition() && M::Event::ignores(category, &raw.event.name) {
            self.ignored += 1;
        }
    }

    pub(crate) fn look(&self, tenant: &Tenant, key: &M::Key, at: Position) -> Looked<'_, M> {
        self.rows.look(tenant, key, at)
    }

    /// Brings the rows near that facts most likely touch.
    fn approach(&mut self, facts: &[Option<Fact<M::Event>>], routes: &[Option<Route<M>>]) {
        let keys = facts.iter().zip(routes).map(|(fact, route)| match (fact, route) {
            (Some(fact), Some(Route::Key(key))) => Some((M::SCHEMA.tenants.owner(fact.tenant()), key)),
            _ => None,
        });
        self.rows.approach_keys(keys, &mut self.near);
    }

    fn plan_one(
        &mut self,
        facts: &Facts<M::Event>,
        index: usize,
        (route, near): (Route<M>, Near),
        earlier: Earlier<'_>,
    ) -> Result<(), FoldError> {
        let Some(fact) = &facts[index] else { return Ok(()) };
        // Most facts touch one row, whose key need not be copied then.
        let (touched, spare) = match route {
            Route::Key(key) => {
                let tenant = M::SCHEMA.tenants.owner(fact.tenant());
                let Some((slot, spare)) = self.rows.own_with(tenant, key, near) else { return Ok(()) };
                (Touched::One(slot), spare)
            }
            route => match self.touched(fact, route)? {
                Some(touched) => (touched, None),
                None => return Ok(()),
            },
        };
        // A table that is empty asks for no row: a fact is folded while it is at hand.
        let moment = Moment { clock: Position::START, earlier };
        match touched {
            Touched::One(slot) if self.rows.is_fresh() => self.fold_with(slot, None, spare, fact, moment),
            touched if self.rows.is_fresh() => self.fold_touched(fact, &touched, moment),
            touched => {
                self.queue.push(Waiting { facts: Arc::clone(facts), index, touched });
                Ok(())
            }
        }
    }

    fn touched(&mut self, fact: &Fact<M::Event>, route: Route<M>) -> Result<Option<Touched<M>>, FoldError> {
        let tenant = M::SCHEMA.tenants.owner(fact.tenant());
        Ok(Some(match route {
            Route::None => return Ok(None),
            Route::Key(key) => match self.rows.own(tenant, key) {
                Some(slot) => Touched::One(slot),
                None => return Ok(None),
            },
            Route::Keys(keys) => {
                few(fact, keys.len())?;
                let mut slots: Vec<_> =
                    keys.into_iter().filter_map(|key| self.rows.own(tenant, key)).collect();
                slots.sort_unstable();
                slots.dedup();
                Touched::Many(slots)
            }
            Route::Starting(rows) => {
                few(fact, rows.len())?;
                let slots = rows.into_iter().filter_map(|row| Some((self.rows.own(tenant, row.key())?, row)));
                let mut slots: Vec<_> = slots.collect();
                slots.sort_by_key(|(slot, _)| *slot);
                slots.dedup_by_key(|(slot, _)| *slot);
                Touched::Starting(slots)
            }
            Route::Matching { column, .. } if M::SCHEMA.upkeep.on_failure == OnFailure::Park => {
                let column = M::SCHEMA.columns.get(column).map_or("", |column| column.name);
                return Err(FoldError::at(fact.raw(), FoldErrorKind::ParksByColumn { column }));
            }
            // No value is equal to none, as in a query.
            Route::Matching { value: Value::Null, .. } => return Ok(None),
            Route::Matching { column, value } => {
                if !M::SCHEMA.is_indexed(column) {
                    let column = M::SCHEMA.columns.get(column).map_or("", |column| column.name);
                    return Err(FoldError::at(fact.raw(), FoldErrorKind::ColumnNotIndexed { column }));
                }
                self.rows.index_by(column);
                if !self.rows.is_fresh() {
                    let asked = Matching { tenant: tenant.clone(), column, value: value.clone() };
                    if self.matching.insert(asked.clone()) {
                        self.asked.push(asked);
                    }
                }
                Touched::Matching(column, value)
            }
            Route::All(routes) => {
                let mut all = Vec::with_capacity(routes.len());
                for route in routes {
                    all.extend(self.touched(fact, route)?);
                }
                Touched::All(all)
            }
        }))
    }

    fn fold_touched(
        &mut self,
        fact: &Fact<M::Event>,
        touched: &Touched<M>,
        moment: Moment<'_>,
    ) -> Result<(), FoldError> {
        match touched {
            Touched::One(slot) => self.fold_one(*slot, None, fact, moment),
            Touched::Many(slots) => {
                slots.iter().try_for_each(|slot| self.fold_one(*slot, None, fact, moment))
            }
            Touched::Starting(slots) => {
                slots.iter().try_for_each(|(slot, start)| self.fold_one(*slot, Some(start), fact, moment))
            }
            Touched::Matching(column, value) => {
                let slots = self.found(fact, *column, value)?;
                slots.into_iter().try_for_each(|slot| self.fold_one(slot, None, fact, moment))
            }
            Touched::Corrected(correcting) => self.correct(correcting, moment.clock),
            Touched::All(_) => {
                let mut slots = Vec::new();
                self.all_slots(fact, touched, &mut slots)?;
                // A row that is named twice is touched once, from where it starts if any of the names says
                // so.
                slots.sort_by_key(|(slot, start)| (*slot, start.is_none()));
                slots.dedup_by_key(|(slot, _)| *slot);
                few(fact, slots.len())?;
                slots.into_iter().try_for_each(|(slot, start)| self.fold_one(slot, start, fact, moment))
            }
        }
    }

    /// The rows that hold a value in a column now, if they are all known and no more than a fact may touch.
    fn found(&self, fact: &Fact<M::Event>, column: usize, value: &Value) -> Result<Vec<usize>, FoldError> {
        let tenant = M::SCHEMA.tenants.owner(fact.tenant());
        let slots = self.rows.matching(tenant, column, value);
        let cut_short = self
            .cut_short
            .iter()
            .any(|cut| cut.column == column && cut.value == *value && cut.tenant == *tenant);
        few(fact, if cut_short { slots.len().max(ROWS_PER_FACT_MAX + 1) } else { slots.len() })?;
        Ok(slots)
    }

    /// Every row that parts of a route name, before the fact has changed any of them.
    fn all_slots<'t>(
        &self,
        fact: &Fact<M::Event>,
        touched: &'t Touched<M>,
        into: &mut Vec<(usize, Option<&'t M>)>,
    ) -> Result<(), FoldError> {
        match touched {
            Touched::One(slot) => into.push((*slot, None)),
            Touched::Many(slots) => into.extend(slots.iter().map(|slot| (*slot, None))),
            Touched::Starting(slots) => into.extend(slots.iter().map(|(slot, start)| (*slot, Some(start)))),
            Touched::Matching(column, value) => {
                into.extend(self.found(fact, *column, value)?.into_iter().map(|slot| (slot, None)));
            }
            Touched::All(all) => all.iter().try_for_each(|one| self.all_slots(fact, one, into))?,
            // No route names one.
            Touched::Corrected(_) => {}
        }
        Ok(())
    }

    /// Whether a row takes nothing from a position: it has, or it is held back.
    pub(super) fn has_passed(&self, slot: usize, at: Position, clock: Position) -> bool {
        let held = &self.rows.slots[slot];
        // Where there is no row, what came before the group's clock has left none, whether one was deleted
        // there or never was: a fact that met nothing has moved no guard, and its siblings may say more by
        // now.
        let passed = at <= held.guard || (held.row().is_none() && at <= clock);
        passed || self.rows.passes_over(slot, at)
    }

    fn fold_one(
        &mut self,
        slot: usize,
        start: Option<&M>,
        fact: &Fact<M::Event>,
        moment: Moment<'_>,
    ) -> Result<(), FoldError> {
        self.fold_with(slot, start, None, fact, moment)
    }

    /// Folds one fact into one row; `spare` is the row's key, where that is at hand.
    fn fold_with(
        &mut self,
        slot: usize,
        start: Option<&M>,
        spare: Option<M::Key>,
        fact: &Fact<M::Event>,
        moment: Moment<'_>,
    ) -> Result<(), FoldError> {
        let at = fact.position();
        if self.has_passed(slot, at, moment.clock) {
            return Ok(());
        }
        let (before, taken) = self.rows.take(slot, spare);
        let existed = before.is_some();
        let siblings = Siblings::new(moment.earlier, fact.tenant(), at);
        self.projecting = Some(slot);
        let after = M::project(before.or_else(|| start.cloned()), fact, &siblings);
        self.projecting = None;
        match &after {
            None if !existed => {
                self.no_ops += 1;
                return Ok(());
            }
            Some(row) if !self.rows.slots[slot].fits(row) => {
                let routed = format!("{:?}", self.rows.slots[slot].key());
                let answered = format!("{:?}", row.key());
                let error = FoldError::at(fact.raw(), FoldErrorKind::KeyChanged { routed, answered });
                return Err(error.in_row(M::SCHEMA.name, self.rows.row_ref(slot)));
            }
            _ => {}
        }
        // INVARIANT: a touched row absorbs the group's clock, not only the fact it took.
        self.rows.put(slot, taken, after, at, at.max(moment.clock));
        Ok(())
    }

    fn run_queue(&mut self, moment: Moment<'_>) -> Result<(), FoldError> {
        let queue = std::mem::take(&mut self.queue);
        let raw = |cursor: usize| {
            queue.get(cursor).and_then(Waiting::fact).map(|fact| Arc::new(fact.raw().clone()))
        };
        let (mut result, mut next) = (Ok(()), 0);
        while next < queue.len() {
            result = guarded(&raw, &mut |cursor| {
                for (index, waiting) in queue.iter().enumerate().skip(next) {
                    (*cursor, next) = (index, index + 1);
                    match (&waiting.touched, waiting.fact()) {
                        (Touched::Corrected(correcting), _) => self.correct(correcting, moment.clock)?,
                        (touched, Some(fact)) => self.fold_touched(fact, touched, moment)?,
                        (_, None) => {}
                    }
                }
                Ok(())
            });
            result = self.blame(result);
            // A failure over a missing row is folded again. The facts after it only tell what else is
            // missing, so that the store is asked once and not once for each of them.
            if result.is_err() && !moment.earlier.has_missed() {
                break;
            }
        }
        self.queue = queue;
        result
    }

    fn except(&mut self, rows: Vec<(RowRef, Position)>, exception: Exception) {
        for (row, at) in rows {
            // A key that does not read back is none of this table's.
            if let Ok(key) = M::key_from_values(&row.key) {
                self.rows.except(&row.tenant, key, exception, at);
            }
        }
    }

    /// The next changed rows in the order of the table, at most so many.
    fn take_changes(&mut self, rows_max: usize, at_end: bool) -> Result<TableChanges, FoldError> {
        let mut changes = TableChanges::default();
        let mut digest = Buckets::new();
        guarded(&|_| None, &mut |_| {
            let changed = self.rows.take_changed(rows_max);
            changes.rows.reserve_exact(changed.len());
            self.rows.take_changes(&changed, at_end, &mut changes, &mut digest)
        })?;
        changes.digest = listed(digest);
        Ok(changes)
    }

    /// Says at which row the projection panicked.
    fn blame(&mut self, result: Result<(), FoldError>) -> Result<(), FoldError> {
        let projecting = self.projecting.take();
        match (result, projecting) {
            (Err(error), Some(slot)) => Err(error.in_row(M::SCHEMA.name, self.rows.row_ref(slot))),
            (result, _) => result,
        }
    }

    /// Remembers the values of which a store may hold more rows than it handed over.
    fn note_cut_short(&mut self, rows: &[StoredRow]) {
        if rows.len() <= ROWS_PER_FACT_MAX {
            return;
        }
        for matching in &self.matching {
            let holds = |row: &&StoredRow| {
                let value = row.values.as_ref().and_then(|values| values.get(matching.column));
                row.row.tenant == matching.tenant && value == Some(&matching.value)
            };
            if rows.iter().filter(holds).count() > ROWS_PER_FACT_MAX {
                self.cut_short.push(matching.clone());
            }
        }
    }
}

/// Refuses a fact that touches more rows than it may.
fn few<E>(fact: &Fact<E>, rows: usize) -> Result<(), FoldError> {
    if rows > ROWS_PER_FACT_MAX {
        return Err(FoldError::at(fact.raw(), FoldErrorKind::TooManyRows { rows }));
    }
    Ok(())
}

impl<M: JoinedProjection> TableFold for TypedTable<M> {
    fn plan(
        &mut self,
        facts: &[Arc<RawFact>],
        decoded: &mut Decoded,
        earlier: Earlier<'_>,
    ) -> Result<(), FoldError> {
        let typed = decoded.facts::<M::Event>(facts)?;
        let result = guarded(&|cursor| facts.get(cursor).map(Arc::clone), &mut |cursor| {
            let mut routes = std::mem::take(&mut self.routes);
            for (number, together) in typed.chunks(ROWS_AT_ONCE).enumerate() {
                let first = number * ROWS_AT_ONCE;
                for (index, fact) in together.iter().enumerate() {
                    *cursor = first + index;
                    routes.push(fact.as_ref().map(M::route));
                }
                self.approach(together, &routes);
                for (index, route) in routes.drain(..).enumerate() {
                    *cursor = first + index;
                    let near = self.near[index];
                    match route {
                        Some(route) => self.plan_one(&typed, *cursor, (route, near), earlier)?,
                        None => self.plan_other(&facts[*cursor], (&typed, *cursor))?,
                    }
                }
            }
            self.routes = routes;
            Ok(())
        });
        self.blame(result)
    }

    fn needs(&mut self) -> TableNeeds {
        TableNeeds { rows: self.rows.take_wanted(), matching: std::mem::take(&mut self.asked) }
    }

    fn supply(&mut self, rows: Vec<StoredRow>) -> Result<(), FoldError> {
        self.note_cut_short(&rows);
        for stored in rows {
            let StoredRow { row: named, values, guard, hash } = stored;
            let unreadable =
                |error| row_error::<M>(&named, |key| FoldErrorKind::RowUnreadable { key, error });
            let typed = M::key_from_values(&named.key).map_err(unreadable)?;
            let tenant = &named.tenant;
            // A row found by a column is often not known by its key yet, and may be another partition's.
            let slot = match self.rows.known(tenant, &typed) {
                Some(slot) => slot,
                None if !self.rows.owns(tenant, &typed) => continue,
                None => self.rows.add(tenant, typed),
            };
            let mut row = None;
            if let Some(mut values) = values {
                let stored = AsStored::of(tenant, &values, bucket_of(tenant, &named.key));
                if short(stored.digest) != hash {
                    return Err(row_error::<M>(&named, |key| FoldErrorKind::RowEdited { key }));
                }
                let typed = M::from_row(&values).map_err(unreadable)?;
                row = Some((typed, stored, self.rows.indexed_of(&mut values)));
            }
            self.rows.fill(slot, row, guard);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    fn let_go(&mut self) {
        self.rows.let_go();
        self.matching.clear();
        self.cut_short.clear();
    }

    fn empty(&mut self) {
        self.rows.empty();
        self.matching.clear();
        self.cut_short.clear();
    }

    fn run(&mut self, clock: Position, earlier: Earlier<'_>) -> Result<Ran, FoldError> {
        if self.queue.is_empty() {
            return Ok(Ran::Done);
        }
        let no_ops = self.no_ops;
        if !M::SCHEMA.reads.is_empty() {
            self.rows.begin();
        }
        let result = self.run_queue(Moment { clock, earlier });
        if earlier.has_missed() {
            // What was folded without a sibling proves nothing, be it a row, an error or a panic.
            self.rows.take_back();
            self.no_ops = no_ops;
            return Ok(Ran::Missed);
        }
        self.rows.keep();
        if self.rows.is_lasting() {
            // Few at a time: their room is given out again while it is near.
            self.queue.clear();
        } else {
            self.spent = std::mem::take(&mut self.queue);
        }
        result.map(|()| Ran::Done)
    }

    fn want(&mut self, row: &RowRef) {
        // A key that does not read back was made by `key_values` of another type: it names no row.
        if let Ok(key) = M::key_from_values(&row.key) {
            self.rows.of(&row.tenant, key);
        }
    }

    fn settle(&mut self) -> Result<(), FoldError> {
        self.rows.settle();
        if self.rows.is_lasting() {
            guarded(&|_| None, &mut |_| self.rows.prepare(&mut self.prepared))?;
        }
        Ok(())
    }

    fn hold(&mut self, rows: Vec<(RowRef, Position)>) {
        self.except(rows, Exception::From);
    }

    fn skip(&mut self, rows: Vec<(RowRef, Position)>) {
        self.except(rows, Exception::At);
    }

    fn only(&mut self, rows: Vec<(RowRef, Position)>) {
        self.rows.fold_only(None);
        for (row, since) in rows {
            if let Ok(key) = M::key_from_values(&row.key) {
                self.rows.fold_only(Some((&row.tenant, key, since)));
            }
        }
    }

    fn changes(&mut self) -> Result<TableChanges, FoldError> {
        if self.rows.is_lasting() {
            return Ok(self.prepared.take());
        }
        self.take_changes(usize::MAX, false)
    }

    fn rows_up_to(&mut self, rows_max: usize) -> Result<TableChanges, FoldError> {
        if self.rows.is_lasting() {
            return self.changes();
        }
        self.take_changes(rows_max, true)
    }

    fn no_ops(&self) -> u64 {
        self.no_ops
    }

    fn ignored(&self) -> u64 {
        self.ignored
    }

    fn rows_held(&self) -> usize {
        self.rows.slots.len()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An error about a row that no single fact is to blame for.
pub(super) fn row_error<M: ReadModel>(row: &RowRef, kind: impl FnOnce(String) -> FoldErrorKind) -> FoldError {
    let key = row.key.iter().map(|value| value.to_json().to_string()).collect::<Vec<_>>().join(", ");
    FoldError::of_no_fact(kind(key)).in_row(M::SCHEMA.name, row.clone())
}
