//! The registry of builds, and records of the hinge.

use crate::MemoryStore;
use crate::log::Log;
use crate::rows::GroupRows;
use crate::store::Held;
use diptych_core::{BoxFuture, Code, Fault, Timestamp};
use diptych_query::{
    Build, BuildId, BuildMove, Fold, Group, Mode, Order, Partition, Record, RecordOf, Registry, Stage,
    StageMove, TransitError, judge, own_build, taken_over,
};
use std::collections::BTreeMap;

/// A build of a group by the group's name.
pub(crate) type BuildKey = (&'static str, BuildId);

/// What is known beside the rows.
#[derive(Clone, Default)]
pub(crate) struct Known {
    builds: BTreeMap<String, Vec<Build>>,
    moves: Vec<StageMove>,
    records: BTreeMap<(String, String), Record>,
}

impl Known {
    pub(crate) fn of(&self, group: &str) -> &[Build] {
        self.builds.get(group).map(Vec::as_slice).unwrap_or_default()
    }

    /// The build that a group means.
    pub(crate) fn meant(&self, group: &Group) -> Option<BuildKey> {
        let own = || own_build(self.of(group.name()), group.revision()).map(|build| build.id);
        Some((group.name(), group.build().or_else(own)?))
    }

    /// Whether the last build of a group's revision is retired, and none follows.
    pub(crate) fn is_retired(&self, group: &Group) -> bool {
        let mut own = self.of(group.name()).iter().filter(|build| build.id.revision == group.revision());
        own.next().is_some() && own_build(self.of(group.name()), group.revision()).is_none()
    }

    /// The build of a group's revision that comes next.
    fn next(&self, group: &Group) -> BuildId {
        let own = self.of(group.name()).iter().filter(|build| build.id.revision == group.revision());
        let generation = own.map(|build| build.id.generation).max().unwrap_or(0) + 1;
        BuildId { revision: group.revision(), generation }
    }

    fn begin(&mut self, group: &Group, shape: String, order: &Order, now: Timestamp) -> Build {
        let id = self.next(group);
        let builds = self.builds.entry(group.name().to_owned()).or_default();
        let declared = group.declared();
        let build = Build { id, stage: Stage::Building, shape, declared, created_at: now, moved_at: now };
        builds.push(build.clone());
        builds.sort_by_key(|build| build.id);
        let moved = BuildMove { build: id, from: Stage::Designed, to: Stage::Building };
        let group = group.name().to_owned();
        self.moves.push(StageMove { group, moved, order: order.clone(), at: now });
        build
    }
}

/// Begins a build with empty tables.
pub(crate) fn begin(held: &mut Held, group: &Group, order: &Order, now: Timestamp) -> Build {
    let rows = GroupRows::new(group, &held.log, now);
    let build = held.known.begin(group, rows.shape(), order, now);
    held.groups.insert((group.name(), build.id), rows);
    build
}

impl Registry for MemoryStore {
    fn builds<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<Vec<Build>, Fault>> {
        Box::pin(async move { Ok(self.lock().known.of(group).to_vec()) })
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, Fault>> {
        Box::pin(async move { Ok(self.lock().known.builds.keys().cloned().collect()) })
    }

    fn begin_build<'a>(&'a self, group: &'a Group, order: &'a Order) -> BoxFuture<'a, Result<Build, Fault>> {
        Box::pin(async move { Ok(begin(&mut self.lock(), group, order, self.clock.now())) })
    }

    fn begin_recorded<'a>(
        &'a self,
        group: &'a Group,
        order: &'a Order,
        kind: &'a str,
        body: RecordOf,
    ) -> BoxFuture<'a, Result<Option<Build>, Fault>> {
        Box::pin(async move {
            let updated_at = self.clock.now();
            let held = &mut *self.lock();
            let key = (kind.to_owned(), group.name().to_owned());
            if held.known.records.contains_key(&key) {
                return Ok(None);
            }
            let body = body(held.known.next(group))?;
            let build = begin(held, group, order, updated_at);
            let (kind, name) = key.clone();
            held.known.records.insert(key, Record { kind, name, version: 1, body, updated_at });
            Ok(Some(build))
        })
    }

    fn transit<'a>(
        &'a self,
        group: &'a Group,
        moves: &'a [BuildMove],
        order: &'a Order,
    ) -> BoxFuture<'a, Result<Vec<Build>, TransitError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let held = &mut *self.lock();
            let before = held.known.of(group.name()).to_vec();
            let mut after = judge(&before, moves)?;
            if let Some((new, Some(gone))) = taken_over(&before, &after) {
                take_over(held, group, new.id, gone.id, now)?;
            }
            for BuildMove { build, .. } in moves {
                let moved = after.iter_mut().filter(|held| held.id == *build);
                moved.for_each(|build| build.moved_at = now);
                if let Some(rows) = held.groups.get_mut(&(group.name(), *build)) {
                    rows.fence_off();
                }
            }
            let recorded = moves.iter().map(|moved| StageMove {
                group: group.name().to_owned(),
                moved: *moved,
                order: order.clone(),
                at: now,
            });
            held.known.moves.extend(recorded);
            held.known.builds.insert(group.name().to_owned(), after.clone());
            Ok(after)
        })
    }

    fn drop_build<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let held = &mut *self.lock();
            let stage = held.known.of(group.name()).iter().find(|held| held.id == build);
            if stage.is_some_and(|held| held.stage != Stage::Retired) {
                let message = format!("build {build} of `{}` is not retired", group.name());
                return Err(Fault::permanent(Code::MoveRefused, message));
            }
            held.groups.remove(&(group.name(), build));
            Ok(())
        })
    }

    fn build_bytes<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(async move {
            let held = self.lock();
            Ok(held.groups.get(&(group.name(), build)).map_or(0, GroupRows::bytes))
        })
    }

    fn stage_moves<'a>(
        &'a self,
        group: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<StageMove>, Fault>> {
        Box::pin(async move {
            let held = self.lock();
            let moves = held.known.moves.iter().rev();
            let own = moves.filter(|moved| group.is_none_or(|group| moved.group == group));
            Ok(own.take(most).cloned().collect())
        })
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }

    fn record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        Box::pin(
            async move { Ok(self.lock().known.records.get(&(kind.to_owned(), name.to_owned())).cloned()) },
        )
    }

    fn records<'a>(&'a self, kind: &'a str, most: usize) -> BoxFuture<'a, Result<Vec<Record>, Fault>> {
        Box::pin(async move {
            let held = self.lock();
            let own = held.known.records.values().filter(|record| record.kind == kind);
            let mut own: Vec<_> = own.cloned().collect();
            own.sort_by(|a, b| b.updated_at.cmp(&a.updated_at).then_with(|| b.name.cmp(&a.name)));
            own.truncate(most);
            Ok(own)
        })
    }

    fn write_record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
        seen: u64,
        body: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, Fault>> {
        Box::pin(async move {
            let updated_at = self.clock.now();
            let records = &mut self.lock().known.records;
            let key = (kind.to_owned(), name.to_owned());
            if records.get(&key).map_or(0, |record| record.version) != seen {
                return Ok(None);
            }
            let (kind, name) = key.clone();
            let version = seen + 1;
            records.insert(key, Record { kind, name, version, body: body.to_owned(), updated_at });
            Ok(Some(version))
        })
    }

    fn forget_record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            self.lock().known.records.remove(&(kind.to_owned(), name.to_owned()));
            Ok(())
        })
    }
}

/// Checks that a build has come as far as the one whose place it takes; an inline one is brought to the head.
fn take_over(
    held: &mut Held,
    group: &Group,
    new: BuildId,
    gone: BuildId,
    now: Timestamp,
) -> Result<(), TransitError> {
    let Held { log, groups, .. } = held;
    let other = groups.get(&(group.name(), gone)).map(GroupRows::checkpoint);
    let Some(rows) = groups.get_mut(&(group.name(), new)) else {
        return Err(TransitError::Elsewhere { build: new, stage: None });
    };
    if group.mode() == Mode::Inline {
        bring_to_the_head(log, rows, group, now)?;
    }
    let (position, other) = (rows.checkpoint(), other.unwrap_or_else(|| rows.checkpoint()));
    let (position, other) = (position.mark.position(), other.mark.position());
    if position < other { Err(TransitError::Behind { position, other }) } else { Ok(()) }
}

fn bring_to_the_head(log: &Log, rows: &mut GroupRows, group: &Group, now: Timestamp) -> Result<(), Fault> {
    let (checkpoint, head) = (rows.checkpoint(), log.head());
    let mut fold = Fold::new(group, &checkpoint);
    let facts = log.between(checkpoint.mark.position(), head.position());
    let planned = fold.plan_facts(facts, head);
    rows.hold(&mut fold, group);
    let changes = planned.and_then(|()| rows.fold(&mut fold)).map_err(|error| {
        Fault::permanent(error.code(), format!("the new build of `{}` cannot take a fact", group.name()))
            .because(error)
    })?;
    rows.apply(Partition::WHOLE, changes, head, now);
    Ok(())
}
