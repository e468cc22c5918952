//! Commits on a condition, done wrongly.

use super::Defect;
use diptych_command::{Base, Commit, CommitError, Committed, Condition, Conflict, Effect, EventStore};
use diptych_core::{Position, StreamRef, Version};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often a command looks away before it is checked, so that others come that are under way with it.
const TOGETHER: usize = 50;

/// How long the time between a check and its commit may last, if nobody comes.
const WINDOW: usize = 20_000;

pub(super) struct Conditions {
    defect: Defect,
    checked: AtomicU32,
    group: Mutex<Group>,
}

/// The commands that are under way together.
#[derive(Default)]
struct Group {
    commands: u32,
    /// Where the log stood when the first of them came.
    began_at: Option<Position>,
}

impl Conditions {
    pub(super) fn new(defect: Defect) -> Self {
        Self { defect, checked: AtomicU32::new(0), group: Mutex::default() }
    }

    pub(super) async fn commit(
        &self,
        store: &dyn EventStore,
        mut commit: Commit,
    ) -> Result<Committed, CommitError> {
        match self.defect {
            Defect::ConditionIgnored => commit.condition = None,
            Defect::ConditionOutside => {
                if let Some(condition) = commit.condition.take() {
                    check(store, &commit, &condition, Position(u64::MAX)).await?;
                    self.until_another_has_looked().await;
                }
            }
            Defect::GroupMatesUnseen => return self.commit_without_mates(store, commit).await,
            Defect::TagsLost => {
                if let Effect::Append { events, .. } = &mut commit.effect {
                    events.iter_mut().for_each(|event| event.tags.clear());
                }
            }
            _ => {}
        }
        store.commit(commit).await
    }

    /// The window in which a racer is let through as well: open until one has looked, or nobody comes.
    async fn until_another_has_looked(&self) {
        let seen = self.checked.fetch_add(1, Ordering::SeqCst) + 1;
        for _ in 0..WINDOW {
            if self.checked.load(Ordering::SeqCst) > seen {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Checks a condition against the log as it stood before all that are under way.
    async fn commit_without_mates(
        &self,
        store: &dyn EventStore,
        mut commit: Commit,
    ) -> Result<Committed, CommitError> {
        let Some(condition) = commit.condition.take() else {
            return store.commit(commit).await;
        };
        self.group().commands += 1;
        for _ in 0..TOGETHER {
            tokio::task::yield_now().await;
        }
        let head = head(store, &commit, &condition).await;
        let began_at = *self.group().began_at.get_or_insert(head?);
        let answer = match check(store, &commit, &condition, began_at).await {
            Ok(()) => store.commit(commit).await,
            Err(error) => Err(error),
        };
        let mut group = self.group();
        group.commands -= 1;
        if group.commands == 0 {
            group.began_at = None;
        }
        answer
    }

    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a command whose condition is broken by a fact up to a position.
async fn check(
    store: &dyn EventStore,
    commit: &Commit,
    Condition { query, after }: &Condition,
    through: Position,
) -> Result<(), CommitError> {
    let StreamRef { tenant, stream } = &commit.header.stream;
    let found = store.load_query(tenant, query, *after, usize::MAX).await.map_err(CommitError::Fault)?;
    match found.facts.iter().find(|fact| fact.position <= through) {
        Some(fact) => {
            let version = match &commit.effect {
                Effect::Append { base: Base::At(version), .. } => *version,
                _ => Version::NONE,
            };
            Err(CommitError::Conflict(Conflict::of_boundary(stream.clone(), version, fact.position)))
        }
        None => Ok(()),
    }
}

async fn head(
    store: &dyn EventStore,
    commit: &Commit,
    condition: &Condition,
) -> Result<Position, CommitError> {
    let tenant = &commit.header.stream.tenant;
    let found = store.load_query(tenant, &condition.query, condition.after, usize::MAX).await;
    Ok(found.map_err(CommitError::Fault)?.through)
}
