//! Read models that share one checkpoint.

use crate::fold::{TableFold, TableUse, Use};
use crate::{
    AnyModel, Build, BuildId, CORRECTION, Categories, Corrections, JoinedProjection, Mode, OnFailure,
    PARTITIONS_MAX, Partition, Schema, SqlProjection, Storage, erase, erase_sql, own_build,
};
use diptych_core::Timestamp;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Read models in the order in which they fold, each once.
#[derive(Clone, Default)]
pub struct Tables {
    models: Vec<Arc<dyn AnyModel>>,
}

impl Tables {
    /// Adds a read model, and before it those that its projection looks rows up in.
    pub fn add<M: JoinedProjection>(&mut self) {
        if self.models.iter().any(|model| model.schema().name == M::SCHEMA.name) {
            return;
        }
        M::siblings(self);
        self.models.push(erase::<M>());
    }

    /// Adds a read model that SQL keeps.
    pub fn add_sql<M: SqlProjection>(&mut self) {
        if self.models.iter().all(|model| model.schema().name != M::SCHEMA.name) {
            self.models.push(erase_sql::<M>());
        }
    }

    /// The read models.
    #[must_use]
    pub fn into_models(self) -> Vec<Arc<dyn AnyModel>> {
        self.models
    }
}

/// Tables that move together under one checkpoint. A read model by itself is a group of one.
#[derive(Clone)]
pub struct Group {
    name: &'static str,
    revision: u32,
    mode: Mode,
    partitions: u8,
    models: Vec<Arc<dyn AnyModel>>,
    categories: Categories,
    /// Which build is meant; none is the own build of the revision.
    build: Option<BuildId>,
    /// What was last heard of the builds, by all that are this group.
    known: Arc<RwLock<Vec<Build>>>,
}

/// Why read models do not form a group.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GroupError {
    /// It has no table.
    Empty {
        /// The group.
        group: &'static str,
    },
    /// A table looks rows up in one that does not fold before it.
    SiblingMissing {
        /// The table that reads.
        model: &'static str,
        /// The one that it reads.
        sibling: &'static str,
    },
    /// A table looks rows up in one whose rows SQL keeps, where no row is in memory.
    SiblingKeptBySql {
        /// The table that reads.
        model: &'static str,
        /// The one that it reads.
        sibling: &'static str,
    },
    /// SQL of the author's would run in the transaction of the command.
    InlineBySql {
        /// The table.
        model: &'static str,
    },
    /// A table kept by SQL declares that a person may correct its rows, which no fold sees.
    CorrectedBySql {
        /// The table.
        model: &'static str,
    },
    /// A split table is inline, kept by SQL, or part of look-ups, which need every row in one place.
    CannotSplit {
        /// The table.
        model: &'static str,
        /// Why, in a few words.
        reason: &'static str,
    },
    /// A table declares that it parks, which needs rows that nobody else looks at, folded by a worker.
    CannotPark {
        /// The table.
        model: &'static str,
        /// Why, in a few words.
        reason: &'static str,
    },
    /// Two tables are split differently.
    PartitionsDiffer {
        /// The group.
        group: &'static str,
        /// A table.
        model: &'static str,
        /// Into how many it is split.
        partitions: u8,
        /// Into how many the first table is.
        first: u8,
    },
    /// Two tables are kept in different forms, or folded from different sources.
    PlacesDiffer {
        /// The group.
        group: &'static str,
        /// The table that is not as the first.
        model: &'static str,
    },
    /// A table is inline and folded from an export, which is written when its command is long over.
    InlineFromExport {
        /// The table.
        model: &'static str,
    },
    /// Two tables move at different moments.
    ModesDiffer {
        /// The group.
        group: &'static str,
        /// A table.
        model: &'static str,
        /// When it folds.
        mode: Mode,
        /// When the first table folds.
        first: Mode,
    },
}

impl fmt::Display for GroupError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { group } => write!(out, "group `{group}` has no read model"),
            Self::SiblingMissing { model, sibling } => write!(
                out,
                "read model `{model}` reads `{sibling}`, which does not come before it in its group"
            ),
            Self::SiblingKeptBySql { model, sibling } => {
                write!(out, "read model `{model}` reads `{sibling}`, whose rows are kept by SQL")
            }
            Self::InlineBySql { model } => {
                write!(out, "read model `{model}` cannot be inline: its rows are kept by SQL")
            }
            Self::CorrectedBySql { model } => {
                write!(out, "read model `{model}` cannot take corrections: its rows are kept by SQL")
            }
            Self::CannotSplit { model, reason } => {
                write!(out, "read model `{model}` cannot have more than one partition: {reason}")
            }
            Self::CannotPark { model, reason } => write!(
                out,
                "read model `{model}` declares `on_failure = \"park\"`, which it cannot: {reason}"
            ),
            Self::PartitionsDiffer { group, model, partitions, first } => write!(
                out,
                "read model `{model}` has {partitions} partitions, but group `{group}` moves as one and its \
                 first has {first}"
            ),
            Self::PlacesDiffer { group, model } => write!(
                out,
                "read model `{model}` is not kept in the form (`document`), or not folded from the `source`, \
                 of the first in group `{group}`, which moves as one"
            ),
            Self::InlineFromExport { model } => {
                write!(out, "read model `{model}` cannot be inline and folded from an export: leave out one")
            }
            Self::ModesDiffer { group, model, mode, first } => write!(
                out,
                "read model `{model}` is {}, but group `{group}` moves as one and its first is {}",
                mode.as_str(),
                first.as_str()
            ),
        }
    }
}

impl std::error::Error for GroupError {}

impl Group {
    /// A read model by itself.
    #[must_use]
    pub fn of_one(model: Arc<dyn AnyModel>) -> Self {
        let Schema { name, mode, partitions, .. } = *model.schema();
        Self::joined(name, mode, partitions, vec![model])
    }

    /// Read models that move together, in the order in which they fold.
    ///
    /// # Errors
    /// No read model, a sibling that does not come first, modes or partitions that differ, or a split that
    /// cannot be.
    pub fn new(name: &'static str, models: Vec<Arc<dyn AnyModel>>) -> Result<Self, GroupError> {
        let Some(Schema { mode: first, partitions, storage, source, .. }) =
            models.first().map(|model| model.schema())
        else {
            return Err(GroupError::Empty { group: name });
        };
        let (first, partitions, place) = (*first, *partitions, (*storage, *source));
        for (index, model) in models.iter().enumerate() {
            if let Some(reason) = unparkable(&**model, &models) {
                return Err(GroupError::CannotPark { model: model.schema().name, reason });
            }
            let kept_by_sql = model.statements().is_some();
            if let Some(reason) = unsplittable(&**model) {
                return Err(GroupError::CannotSplit { model: model.schema().name, reason });
            }
            let Schema { name: model, mode, reads, upkeep, partitions: own, storage, source, .. } =
                model.schema();
            if (*storage, *source) != place {
                return Err(GroupError::PlacesDiffer { group: name, model });
            }
            if *mode == Mode::Inline && !source.is_empty() {
                return Err(GroupError::InlineFromExport { model });
            }
            if *own != partitions {
                let (partitions, first) = (*own, partitions);
                return Err(GroupError::PartitionsDiffer { group: name, model, partitions, first });
            }
            if kept_by_sql && upkeep.corrections != Corrections::Refused {
                return Err(GroupError::CorrectedBySql { model });
            }
            if kept_by_sql && *mode == Mode::Inline {
                return Err(GroupError::InlineBySql { model });
            }
            for sibling in reads.iter().map(|schema| schema.name) {
                match models[..index].iter().find(|held| held.schema().name == sibling) {
                    None => return Err(GroupError::SiblingMissing { model, sibling }),
                    Some(held) if held.statements().is_some() => {
                        return Err(GroupError::SiblingKeptBySql { model, sibling });
                    }
                    Some(_) => {}
                }
            }
            if *mode != first {
                return Err(GroupError::ModesDiffer { group: name, model, mode: *mode, first });
            }
        }
        Ok(Self::joined(name, first, partitions, models))
    }

    fn joined(name: &'static str, mode: Mode, partitions: u8, models: Vec<Arc<dyn AnyModel>>) -> Self {
        // A revision that is raised anywhere raises the sum, so the tables are built again together.
        let revision = models.iter().map(|model| model.schema().revision).sum();
        let mut categories: Vec<_> = models.iter().flat_map(|model| model.categories()).copied().collect();
        if models.iter().any(|model| model.schema().upkeep.corrections != Corrections::Refused) {
            categories.push(CORRECTION);
        }
        categories.sort_unstable();
        categories.dedup();
        let categories = Categories::Only(categories);
        Self {
            name,
            revision,
            mode,
            partitions: partitions.clamp(1, PARTITIONS_MAX),
            models,
            categories,
            build: None,
            known: Arc::default(),
        }
    }

    /// Empty working sets of its tables for the rows of a partition.
    pub(crate) fn tables(&self, partition: Partition, held: Use) -> Vec<Box<dyn TableFold>> {
        let (begun_at, Use { fresh, lasting }) = (self.begun_at(), held);
        let tables = self.models.iter().enumerate().map(|(index, model)| {
            let name = model.schema().name;
            let mut later = self.models[index + 1..].iter().flat_map(|model| model.schema().reads);
            let read = later.any(|schema| schema.name == name);
            model.table(TableUse { partition, fresh, read, lasting, begun_at })
        });
        tables.collect()
    }

    /// The name that its checkpoint goes by.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The code's version of it: the sum of the revisions of its tables.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// The same group, with one of its builds meant: that of another revision may be read, never moved.
    #[must_use]
    pub fn at(&self, build: BuildId) -> Self {
        Self { build: Some(build), ..self.clone() }
    }

    /// Which build is meant; none is the [own build](crate::own_build) of the revision.
    #[must_use]
    pub fn build(&self) -> Option<BuildId> {
        self.build
    }

    /// Notes which builds there are, for this group and all its copies: a build leaves out what a person has
    /// corrected before it was begun, where that holds until then only.
    pub fn know(&self, builds: &[Build]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_slice() != builds {
            *known = builds.to_vec();
        }
    }

    /// When the build that is meant was begun; none where nobody said, or where nothing depends on it.
    fn begun_at(&self) -> Option<Timestamp> {
        let until =
            |model: &Arc<dyn AnyModel>| model.schema().upkeep.corrections == Corrections::UntilRebuild;
        if !self.models.iter().any(until) {
            return None;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let meant = match self.build {
            Some(id) => known.iter().find(|build| build.id == id),
            None => own_build(&known, self.revision),
        };
        meant.map(|build| build.created_at)
    }

    /// A name for people and for this process's bookkeeping, which tells builds that are meant apart.
    #[must_use]
    pub fn label(&self) -> String {
        self.build.map_or_else(|| self.name.to_owned(), |build| format!("{} {build}", self.name))
    }

    /// Whether keys of any of its tables may be held back.
    #[must_use]
    pub fn may_park(&self) -> bool {
        self.models.iter().any(|model| model.schema().upkeep.on_failure == OnFailure::Park)
    }

    /// What its tables are declared as, in JSON: for code that declares them otherwise one day.
    #[must_use]
    pub fn declared(&self) -> String {
        let tables: Vec<_> = self.models.iter().map(|model| model.schema().declared()).collect();
        serde_json::Value::Array(tables).to_string()
    }

    /// When its facts are folded.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// In which form its rows are kept.
    #[must_use]
    pub fn storage(&self) -> Storage {
        self.models.first().map_or(Storage::Columns, |model| model.schema().storage)
    }

    /// The scheduled export whose files it is folded from; empty where it is folded from the log.
    #[must_use]
    pub fn source(&self) -> &'static str {
        self.models.first().map_or("", |model| model.schema().source)
    }

    /// Its partitions, where a store shares them among processes.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + Clone + use<> {
        Partition::all(self.partitions)
    }

    /// Its tables, in the order in which they fold.
    #[must_use]
    pub fn models(&self) -> &[Arc<dyn AnyModel>] {
        &self.models
    }

    /// Whether SQL keeps rows of any of its tables: such a group cannot be folded in memory.
    #[must_use]
    pub fn has_statements(&self) -> bool {
        self.models.iter().any(|model| model.statements().is_some())
    }

    /// The categories whose facts it reads.
    #[must_use]
    pub fn categories(&self) -> &Categories {
        &self.categories
    }
}

/// Why keys of a model that declares so cannot be held back while the rest moves on.
fn unparkable(model: &dyn AnyModel, group: &[Arc<dyn AnyModel>]) -> Option<&'static str> {
    let Schema { name, mode, reads, upkeep, .. } = model.schema();
    let mut others = group.iter().flat_map(|other| other.schema().reads);
    match () {
        () if upkeep.on_failure == OnFailure::Stop => None,
        () if *mode == Mode::Inline => Some("it is inline, so a fact it cannot take fails its command"),
        () if model.statements().is_some() => Some("its rows are kept by SQL"),
        () if !reads.is_empty() => Some("it looks rows up in siblings"),
        () if others.any(|read| read.name == *name) => Some("others look rows up in it"),
        () => None,
    }
}

/// Why a model that wants more than one partition cannot have them.
fn unsplittable(model: &dyn AnyModel) -> Option<&'static str> {
    let Schema { mode, reads, partitions, .. } = model.schema();
    match () {
        () if *partitions == 1 => None,
        () if *partitions == 0 || *partitions > PARTITIONS_MAX => Some("1 to 64 are possible"),
        () if *mode == Mode::Inline => Some("it is inline, so the writer folds it"),
        () if model.statements().is_some() => Some("its rows are kept by SQL"),
        () if !reads.is_empty() => Some("it looks rows up in siblings"),
        () => None,
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Group({} r{}, {})", self.name, self.revision, self.mode.as_str())
    }
}
