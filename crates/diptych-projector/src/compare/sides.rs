//! The two builds that are compared, table by table and column by column, and what may differ between them.

use crate::rebuild::Differing;
use diptych_core::Value;
use diptych_query::{
    Build, BuildId, Condition, Cursor, Group, Intended, ModelStore, RawFind, Registry, RowRule, Schema,
    as_declared,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The two builds of a group.
pub(crate) struct Sides {
    pub(crate) from: BuildId,
    pub(crate) to: BuildId,
    pub(crate) store: Arc<dyn ModelStore>,
    pub(crate) registry: Arc<dyn Registry>,
    /// The build that answers, as it was declared.
    pub(crate) old: Arc<Group>,
    /// The new one.
    pub(crate) new: Arc<Group>,
    pub(crate) tables: Vec<Pair>,
}

/// One table on both sides.
pub(crate) struct Pair {
    pub(crate) old: &'static Schema,
    pub(crate) new: &'static Schema,
    /// The columns that both have, by their places on either side.
    pub(crate) columns: Vec<(usize, usize)>,
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
    /// Whether digests can be compared: both tables have the same columns, and folds keep them.
    pub(crate) by_digest: bool,
    pub(crate) intended: Declared,
    /// Why it cannot be compared.
    pub(crate) uncomparable: Option<String>,
}

/// In what a table may differ.
#[derive(Clone, Default)]
pub(crate) struct Declared {
    columns: BTreeSet<String>,
    pub(crate) rows_added: bool,
    pub(crate) rows_removed: bool,
}

impl Declared {
    /// What an order says; between revisions also what the declaration says.
    fn of(order: &Differing, declared: Option<Intended>) -> Self {
        let Intended { columns, rows_added, rows_removed } = declared.unwrap_or(Intended::NOTHING);
        let named = order.columns.iter().cloned().chain(columns.iter().map(|column| (*column).to_owned()));
        Self {
            columns: named.collect(),
            rows_added: rows_added || order.rows_added,
            rows_removed: rows_removed || order.rows_removed,
        }
    }

    pub(crate) fn column(&self, name: &str) -> bool {
        self.columns.contains(name)
    }

    /// Whether nothing may differ in which rows there are.
    pub(crate) fn same_rows(&self) -> bool {
        !self.rows_added && !self.rows_removed
    }
}

impl Sides {
    /// Looks at the build that answers with the eyes of the code that declared it.
    pub(crate) fn new(
        (store, registry): (Arc<dyn ModelStore>, Arc<dyn Registry>),
        new: &Arc<Group>,
        from: &Build,
        to: &Build,
        order: &Differing,
    ) -> Result<Self, String> {
        let alike = from.shape == to.shape;
        let old = if alike { new.at(from.id) } else { as_declared(new, from)? };
        let of_revision = from.id.revision != to.id.revision;
        let tables = new.models().iter().filter_map(|model| {
            let schema = model.schema();
            let old = old.models().iter().find(|old| old.schema().name == schema.name)?;
            let intended = Declared::of(order, of_revision.then_some(schema.upkeep.intended));
            let kept_by_sql = model.statements().is_some();
            Some(Pair::new(old.schema(), schema, alike && !kept_by_sql, intended))
        });
        let tables = tables.collect();
        Ok(Self {
            from: from.id,
            to: to.id,
            store,
            registry,
            old: Arc::new(old),
            new: Arc::clone(new),
            tables,
        })
    }
}

impl Pair {
    fn new(old: &'static Schema, new: &'static Schema, by_digest: bool, intended: Declared) -> Self {
        let place =
            |schema: &Schema, name: &str| schema.columns.iter().position(|column| column.name == name);
        let same_type =
            |old_at: usize, new_at: usize| old.columns[old_at].value_type == new.columns[new_at].value_type;
        let mut columns = Vec::new();
        for (new_at, column) in new.columns.iter().enumerate() {
            columns.extend(
                place(old, column.name).filter(|old_at| same_type(*old_at, new_at)).map(|at| (at, new_at)),
            );
        }
        let only = |schema: &Schema, held: Vec<usize>| {
            let columns = schema.columns.iter().enumerate().filter(|(at, _)| !held.contains(at));
            columns.map(|(_, column)| column.name.to_owned()).collect::<Vec<_>>()
        };
        let key = |schema: &Schema| {
            let columns = schema.key.iter().map(|at| &schema.columns[*at]);
            columns.map(|column| (column.name, column.value_type)).collect::<Vec<_>>()
        };
        let uncomparable = (key(old) != key(new)).then(|| "its key is another one".to_owned());
        let added = only(new, columns.iter().map(|(_, at)| *at).collect());
        let removed = only(old, columns.iter().map(|(at, _)| *at).collect());
        Self { old, new, columns, added, removed, by_digest, intended, uncomparable }
    }

    /// A question as the old table is asked it; none where it names columns that the old one has not, or
    /// whose values may differ.
    pub(crate) fn asked_of_old(&self, find: &RawFind) -> Option<RawFind> {
        let old_place = |new_at: usize| {
            let (old_at, _) = self.columns.iter().find(|(_, at)| *at == new_at)?;
            (!self.intended.column(self.new.columns[new_at].name)).then_some(*old_at)
        };
        let conditions = find
            .conditions
            .iter()
            .map(|condition| Some(Condition { column: old_place(condition.column)?, ..condition.clone() }));
        let sort = match find.sort {
            Some((column, direction)) => Some((old_place(column)?, direction)),
            None => None,
        };
        let after = find
            .after
            .as_ref()
            .map(|Cursor { sorted, key }| Cursor { sorted: sorted.clone(), key: key.clone() });
        let conditions = conditions.collect::<Option<_>>()?;
        // A rule and an index of words speak of columns by their place.
        let moved = self.columns.iter().any(|(old_at, new_at)| old_at != new_at);
        let placed = find.rule != RowRule::All || !find.words.is_empty();
        if placed && (moved || self.old.shape() != self.new.shape()) {
            return None;
        }
        let (rule, words) = (find.rule.clone(), find.words.clone());
        Some(RawFind {
            tenant: find.tenant.clone(),
            conditions,
            rule,
            words,
            sort,
            after,
            rows_max: find.rows_max,
        })
    }

    /// The columns in which two versions of a row differ: name, the old value, the new one, whether declared.
    pub(crate) fn differing<'a>(
        &'a self,
        old: &'a [Value],
        new: &'a [Value],
    ) -> impl Iterator<Item = (&'static str, &'a Value, &'a Value, bool)> {
        self.columns.iter().filter_map(move |(old_at, new_at)| {
            let (old, new) = (old.get(*old_at)?, new.get(*new_at)?);
            let name = self.new.columns[*new_at].name;
            (old != new).then(|| (name, old, new, self.intended.column(name)))
        })
    }
}

/// A whole row, for people.
pub(crate) fn whole(schema: &Schema, values: &[Value]) -> serde_json::Value {
    let pairs = schema.columns.iter().zip(values);
    serde_json::Value::Object(
        pairs.map(|(column, value)| (column.name.to_owned(), value.to_json())).collect(),
    )
}
