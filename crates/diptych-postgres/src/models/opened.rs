//! The builds whose tables are open in this process, and which of them the code of a revision means.

use super::InlineGroup;
use super::attach::Attached;
use super::checkpoint::is_gone;
use super::registry;
use crate::shared::Shared;
use diptych_core::{Code, Fault};
use diptych_query::{Build, BuildId, Group, Mode, own_build};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

/// How many builds in a row may be removed under one question, each found to be the own one before.
const REMOVED_MAX: usize = 3;

/// What this process knows of builds. It may be old: another process may have switched or removed some since.
#[derive(Default)]
pub(crate) struct Models {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// The own build of a group's revision.
    own: HashMap<(&'static str, u32), BuildId>,
    attached: HashMap<(&'static str, BuildId), Arc<Attached>>,
}

impl Models {
    /// With the inline groups, which the writer has opened.
    pub(crate) fn of(inline: &[InlineGroup]) -> Self {
        let models = Self::default();
        for InlineGroup { attached, .. } in inline {
            models.set_own(attached.place.group, attached.build());
            models.keep(Arc::clone(attached));
        }
        models
    }

    /// Forgets every build: the store is closing.
    pub(crate) fn clear(&self) {
        *self.write() = Known::default();
    }

    /// Keeps a build. Two callers may have opened it; both use the first.
    pub(crate) fn keep(&self, opened: Arc<Attached>) -> Arc<Attached> {
        let key = (opened.place.group, opened.build());
        Arc::clone(self.write().attached.entry(key).or_insert(opened))
    }

    /// From now on the code of its revision means this build.
    pub(crate) fn set_own(&self, group: &'static str, build: BuildId) {
        self.write().own.insert((group, build.revision), build);
    }

    /// Learns what builds a group has. Revisions that this process has not opened stay unknown.
    pub(crate) fn learn(&self, group: &str, builds: &[Build]) {
        self.write().own.retain(|(name, revision), own| {
            let found =
                if *name == group { own_build(builds, *revision).map(|build| build.id) } else { Some(*own) };
            *own = found.unwrap_or(*own);
            found.is_some()
        });
    }

    /// Forgets a build that is not there any more.
    pub(crate) fn forget(&self, group: &str, build: BuildId) {
        let mut known = self.write();
        known.attached.retain(|(name, held), _| *name != group || *held != build);
        known.own.retain(|(name, _), held| *name != group || *held != build);
    }

    /// Whether a build is the one that the code of its revision means.
    pub(crate) fn is_own(&self, attached: &Attached) -> bool {
        let build = attached.build();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.own.get(&(attached.place.group, build.revision)) == Some(&build)
    }

    /// The build that a group means, as far as is known.
    fn build(&self, group: &Group) -> Option<BuildId> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        group.build().or_else(|| known.own.get(&(group.name(), group.revision())).copied())
    }

    /// Whether a build is open here.
    pub(crate) fn holds(&self, group: &Group, build: BuildId) -> bool {
        self.attached(group, build).is_some()
    }

    fn attached(&self, group: &Group, build: BuildId) -> Option<Arc<Attached>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.attached.get(&(group.name(), build)).map(Arc::clone)
    }

    /// The groups of which the own build of any revision is known.
    fn groups(&self) -> Vec<&'static str> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = known.own.keys().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The build that a group means, opened where it is not yet.
    pub(crate) async fn meant(&self, group: &Group) -> Result<Arc<Attached>, Fault> {
        match self.builds.build(group) {
            Some(build) => self.open_build(group, build).await,
            None => self.meant_now(group).await,
        }
    }

    /// The same, whatever this process knew.
    async fn meant_now(&self, group: &Group) -> Result<Arc<Attached>, Fault> {
        let build = match group.build() {
            Some(build) => build,
            None => self.find_own(group).await?.ok_or_else(|| not_attached(group))?,
        };
        self.open_build(group, build).await
    }

    async fn open_build(&self, group: &Group, build: BuildId) -> Result<Arc<Attached>, Fault> {
        if let Some(attached) = self.builds.attached(group, build) {
            return Ok(attached);
        }
        let reader = self.reader().await?;
        let opened = Attached::existing(&reader, &self.schema, group, build).await?;
        Ok(self.builds.keep(Arc::new(opened)))
    }

    /// Looks which build a group's revision means now; none where it has no build yet.
    ///
    /// # Errors
    /// A revision whose last build is retired.
    pub(crate) async fn find_own(&self, group: &Group) -> Result<Option<BuildId>, Fault> {
        let builds = registry::builds(&*self.reader().await?, &self.schema, group.name()).await?;
        self.builds.learn(group.name(), &builds);
        let own = registry::own(&builds, group)?;
        if let Some(own) = own {
            self.builds.set_own(group.name(), own);
        }
        Ok(own)
    }

    /// Looks which builds the groups mean that are known here.
    pub(crate) async fn find_all_own(&self) -> Result<(), Fault> {
        let groups = self.builds.groups();
        if groups.is_empty() {
            return Ok(());
        }
        let all = registry::builds_of(&*self.reader().await?, &self.schema, &groups).await?;
        for group in groups {
            let own = all.iter().filter(|(name, _)| name == group).map(|(_, build)| build.clone());
            self.builds.learn(group, &own.collect::<Vec<_>>());
        }
        Ok(())
    }

    /// Whether appends wait for the checkpoint of a build: it is folded in their transactions.
    pub(crate) fn is_waited_for(&self, attached: &Attached) -> bool {
        attached.mode == Mode::Inline && self.builds.is_own(attached)
    }

    /// Acts on the build that a group means; again, on the one that it means by then, where other processes
    /// have removed it meanwhile.
    pub(crate) async fn with_build<T, Acting: Future<Output = Result<T, Fault>>>(
        &self,
        group: &Group,
        act: impl Fn(Arc<Attached>) -> Acting,
    ) -> Result<T, Fault> {
        let mut attached = self.meant(group).await?;
        for _ in 0..REMOVED_MAX {
            let build = attached.build();
            match act(attached).await {
                Err(fault) if is_gone(&fault) => self.builds.forget(group.name(), build),
                done => return done,
            }
            attached = self.meant_now(group).await?;
        }
        act(attached).await
    }
}

fn not_attached(group: &Group) -> Fault {
    let message = format!("read model `{}` is not attached", group.name());
    Fault::permanent(Code::ServiceInvalid, message)
}
