//! The port to stored states with a defect: rows that are written without their command, over newer ones, or
//! of no shape.

use super::Defect;
use super::ports::Broken;
use crate::fixtures::kept;
use diptych_command::{
    Base, Commit, CommitError, Committed, Effect, NewState, Persistence, StateColumn, StateRow, StateStore,
    StreamStanding,
};
use diptych_core::{BoxFuture, Fault, StreamRef, Version};

impl Broken {
    /// Commits, and writes the command's state where the defect has it.
    pub(super) async fn commit_with_state(&self, mut commit: Commit) -> Result<Committed, CommitError> {
        let stream = commit.header.stream.clone();
        let aside = commit.state.clone().zip(version_after(&commit));
        let row = aside.map(|(NewState { shape, state }, version)| StateRow { version, shape, state });
        let write = async |row: Option<StateRow>| match row {
            Some(row) => {
                self.inner.events.write_state(&stream, row).await.map(drop).map_err(CommitError::Fault)
            }
            None => Ok(()),
        };
        match self.defect {
            Defect::StateOutside => {
                commit.state = None;
                write(row).await?;
            }
            Defect::FirstStateWins => {
                let held = self.inner.events.load_state(&stream).await.map_err(CommitError::Fault)?;
                if held.is_some() {
                    commit.state = None;
                }
            }
            Defect::StateOnConflict => {
                let done = self.inner.events.commit(commit).await;
                if matches!(done, Err(CommitError::Conflict(_))) {
                    write(row).await?;
                }
                return done;
            }
            _ => {}
        }
        self.inner.events.commit(commit).await
    }
}

/// The version that a command's events lead to, if it has any.
fn version_after(commit: &Commit) -> Option<Version> {
    match &commit.effect {
        Effect::Append { base: Base::At(base), events } if !events.is_empty() => {
            Some(base.plus(events.len()))
        }
        _ => None,
    }
}

impl StateStore for Broken {
    fn load_state<'a>(&'a self, stream: &'a StreamRef) -> BoxFuture<'a, Result<Option<StateRow>, Fault>> {
        Box::pin(async move {
            let mut row = self.inner.events.load_state(&self.stream(stream)).await?;
            if self.defect == Defect::ShapeIgnored {
                let decider = kept(Persistence::StateStored, 0);
                let shape = decider.stored().map(|stored| stored.shape);
                row = row.zip(shape).map(|(row, shape)| StateRow { shape, ..row });
            }
            Ok(row.filter(|_| self.defect != Defect::StatesForgotten))
        })
    }

    fn streams_of<'a>(
        &'a self,
        category: &'a str,
        after: Option<&'a StreamRef>,
        streams_max: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamStanding>, Fault>> {
        self.inner.events.streams_of(category, after, streams_max)
    }

    fn write_state<'a>(&'a self, stream: &'a StreamRef, row: StateRow) -> BoxFuture<'a, Result<bool, Fault>> {
        Box::pin(async move {
            let stream = self.stream(stream);
            if self.defect == Defect::OldStateOverNew {
                self.inner.events.drop_states(stream.stream.category.as_str(), usize::MAX).await?;
            }
            self.inner.events.write_state(&stream, row).await
        })
    }

    fn drop_states<'a>(&'a self, category: &'a str, rows_max: usize) -> BoxFuture<'a, Result<usize, Fault>> {
        self.inner.events.drop_states(category, rows_max)
    }

    fn show_states<'a>(
        &'a self,
        category: &'a str,
        columns: &'static [StateColumn],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.inner.events.show_states(category, columns)
    }

    fn hide_states<'a>(&'a self, category: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        self.inner.events.hide_states(category)
    }
}
