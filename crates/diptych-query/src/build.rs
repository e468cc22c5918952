//! Physical builds of a group: which there are, at which stage each stands, which one its code moves and
//! which one answers. Values and pure rules; a [`Registry`](crate::Registry) keeps them.

use crate::{IllegalMove, Stage};
use diptych_core::{Actor, Fault, Position, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One build of a group: the code's revision, and which of its builds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BuildId {
    /// The code's version of the group.
    pub revision: u32,
    /// Which build of it, the first being 1.
    pub generation: u32,
}

impl fmt::Display for BuildId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "r{}g{}", self.revision, self.generation)
    }
}

/// What is known of a build.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Build {
    /// Which.
    pub id: BuildId,
    /// Where it stands.
    pub stage: Stage,
    /// The fingerprint of its tables, `Group::shape`.
    pub shape: String,
    /// What its tables were declared as, in JSON, for code that declares them otherwise.
    pub declared: String,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it last moved to another stage.
    pub moved_at: Timestamp,
}

/// Who orders something and why. Kept with everything that an operator does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Who.
    pub actor: Actor,
    /// Why, in a sentence.
    pub reason: String,
}

impl Order {
    /// What the hinge does by itself.
    ///
    /// # Panics
    /// Never: the name is valid.
    #[must_use]
    pub fn of_the_hinge(reason: impl Into<String>) -> Self {
        Self { actor: Actor::new("diptych").expect("a valid name"), reason: reason.into() }
    }
}

/// A build that goes from one stage to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BuildMove {
    /// Which.
    pub build: BuildId,
    /// Where it must stand.
    pub from: Stage,
    /// Where it goes.
    pub to: Stage,
}

/// A move that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StageMove {
    /// Of which group.
    pub group: String,
    /// Of which build, from where to where; a build that is begun comes from `designed`.
    pub moved: BuildMove,
    /// Who ordered it and why.
    pub order: Order,
    /// When.
    pub at: Timestamp,
}

/// Why builds did not move. Nothing of it is in the store.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransitError {
    /// A move that is not in the table.
    Illegal(IllegalMove),
    /// A build is not where it was said to be.
    Elsewhere {
        /// Which.
        build: BuildId,
        /// Where it stands; none when there is no such build.
        stage: Option<Stage>,
    },
    /// More than one build of a revision would answer.
    TwoAnswer {
        /// Of which revision.
        revision: u32,
    },
    /// The build that was to answer has not come as far as the one that does: answers would go back in time.
    Behind {
        /// Where it stands.
        position: Position,
        /// Where the other stands.
        other: Position,
    },
    /// An inline build that was to answer cannot take what is missing in it: a row of it was changed by hand,
    /// or a fact cannot be folded into it.
    Unfit {
        /// What it met.
        fault: Fault,
    },
    /// Infrastructure failed.
    Fault(Fault),
}

impl From<Fault> for TransitError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<IllegalMove> for TransitError {
    fn from(illegal: IllegalMove) -> Self {
        Self::Illegal(illegal)
    }
}

impl fmt::Display for TransitError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Illegal(illegal) => illegal.fmt(out),
            Self::Elsewhere { build, stage: Some(stage) } => {
                write!(out, "build {build} is {stage} by now; look again")
            }
            Self::Elsewhere { build, stage: None } => write!(out, "there is no build {build}"),
            Self::TwoAnswer { revision } => {
                write!(out, "more than one build of revision {revision} would answer")
            }
            Self::Behind { position, other } => write!(
                out,
                "the build stands at {position} and the one that answers at {other}: answers would go back \
                 in time; try again once it has caught up"
            ),
            Self::Unfit { fault } => {
                write!(out, "{fault}")?;
                match std::error::Error::source(fault) {
                    Some(cause) => write!(out, ": {cause}"),
                    None => Ok(()),
                }
            }
            Self::Fault(fault) => fault.fmt(out),
        }
    }
}

impl std::error::Error for TransitError {}

/// The build that code of a revision moves and reads: the one that answers; or else the newest of those that
/// follow; or else the oldest of those that are filled, so that beginning another changes nothing.
#[must_use]
pub fn own_build(builds: &[Build], revision: u32) -> Option<&Build> {
    let rank = |stage: Stage| match stage {
        _ if stage.answers() => 3,
        Stage::Shadowing => 2,
        Stage::Building => 1,
        _ => 0,
    };
    let own = builds.iter().filter(|build| build.id.revision == revision && build.stage.follows());
    own.max_by_key(|build| {
        let generation = build.id.generation;
        let age = if build.stage == Stage::Building { u32::MAX - generation } else { generation };
        (rank(build.stage), age)
    })
}

/// The build that code of a revision answers from, where that is not its own: while its own is not ready, an
/// other revision's with tables of the same shape, which the code can read.
#[must_use]
pub fn stand_in(builds: &[Build], revision: u32) -> Option<&Build> {
    let own = own_build(builds, revision).filter(|own| !own.stage.answers())?;
    let readable =
        |build: &&Build| build.id.revision != revision && build.stage.answers() && build.shape == own.shape;
    builds.iter().filter(readable).max_by_key(|build| build.id)
}

/// Judges moves by the table and by each other: which build ends where. For a registry, inside the
/// transaction in which it makes them.
///
/// # Errors
/// See [`TransitError`]; positions are the registry's to judge.
pub fn judge(builds: &[Build], moves: &[BuildMove]) -> Result<Vec<Build>, TransitError> {
    let mut after = builds.to_vec();
    for BuildMove { build: id, from, to } in moves.iter().copied() {
        from.check(to)?;
        let build = after.iter_mut().find(|build| build.id == id);
        match build {
            Some(build) if build.stage == from => build.stage = to,
            other => {
                let stage = other.map(|build| build.stage);
                return Err(TransitError::Elsewhere { build: id, stage });
            }
        }
    }
    for BuildMove { build: BuildId { revision, .. }, .. } in moves.iter().copied() {
        let answering = |build: &&Build| build.id.revision == revision && build.stage.answers();
        if after.iter().filter(answering).count() > 1 {
            return Err(TransitError::TwoAnswer { revision });
        }
    }
    Ok(after)
}

/// The build that answers after moves although it did not before, with the one whose place it takes: of the
/// same revision if there is one, or else of another.
#[must_use]
pub fn taken_over<'a>(before: &'a [Build], after: &'a [Build]) -> Option<(&'a Build, Option<&'a Build>)> {
    let answered = |id: BuildId| before.iter().any(|build| build.id == id && build.stage.answers());
    let new = after.iter().find(|build| build.stage.answers() && !answered(build.id))?;
    let gone = |build: &&Build| {
        let now = after.iter().find(|held| held.id == build.id);
        build.stage.answers() && now.is_some_and(|now| !now.stage.answers())
    };
    let same =
        before.iter().filter(gone).max_by_key(|build| (build.id.revision == new.id.revision, build.id));
    Some((new, same))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(revision: u32, generation: u32, stage: Stage, shape: &str) -> Build {
        let id = BuildId { revision, generation };
        let (shape, declared, at) = (shape.to_owned(), String::new(), Timestamp::EPOCH);
        Build { id, stage, shape, declared, created_at: at, moved_at: at }
    }

    fn own(builds: &[Build], revision: u32) -> Option<u32> {
        own_build(builds, revision).map(|build| build.id.generation)
    }

    #[test]
    fn code_moves_what_answers_before_what_follows_before_what_is_filled() {
        use Stage::{Building, Deprecated, Designed, Rebuilding, Retired, Serving, Shadowing};
        let first = |stages: &[Stage]| {
            let builds = stages.iter().zip(1..).map(|(stage, generation)| build(1, generation, *stage, "a"));
            own(&builds.collect::<Vec<_>>(), 1)
        };
        assert_eq!(first(&[]), None);
        assert_eq!(first(&[Retired, Designed]), None);
        assert_eq!(first(&[Building, Building]), Some(1), "another that is begun changes nothing");
        assert_eq!(first(&[Building, Shadowing]), Some(2));
        assert_eq!(first(&[Shadowing, Shadowing, Building]), Some(2));
        for answering in [Serving, Rebuilding, Deprecated] {
            assert_eq!(first(&[answering, Shadowing, Building]), Some(1), "{answering}");
        }
        assert_eq!(own(&[build(2, 1, Serving, "a")], 1), None, "another revision's");
    }

    #[test]
    fn another_revision_stands_in_only_until_the_own_is_ready_and_only_if_it_can_be_read() {
        let pair = |own, other, shape| [build(1, 3, other, shape), build(2, 1, own, "a")];
        let stands_in = |builds: &[Build]| stand_in(builds, 2).map(|build| build.id.revision);
        assert_eq!(stands_in(&pair(Stage::Building, Stage::Serving, "a")), Some(1));
        assert_eq!(stands_in(&pair(Stage::Shadowing, Stage::Deprecated, "a")), Some(1));
        assert_eq!(stands_in(&pair(Stage::Building, Stage::Serving, "b")), None, "another shape");
        assert_eq!(stands_in(&pair(Stage::Serving, Stage::Serving, "a")), None, "its own is ready");
        assert_eq!(stands_in(&pair(Stage::Building, Stage::Shadowing, "a")), None, "it does not answer");
        assert_eq!(stands_in(&pair(Stage::Building, Stage::Serving, "a")[..1]), None, "nothing of its own");
    }

    #[test]
    fn a_take_over_names_who_answers_and_whose_place_it_takes() {
        let before = [build(1, 1, Stage::Rebuilding, "a"), build(1, 2, Stage::Shadowing, "a")];
        let moves = [
            BuildMove { build: before[0].id, from: Stage::Rebuilding, to: Stage::Shadowing },
            BuildMove { build: before[1].id, from: Stage::Shadowing, to: Stage::Serving },
        ];
        let after = judge(&before, &moves).unwrap();
        let (new, gone) = taken_over(&before, &after).unwrap();
        assert_eq!((new.id, gone.map(|build| build.id)), (before[1].id, Some(before[0].id)));
        let alone = [build(1, 1, Stage::Shadowing, "a")];
        let up = [BuildMove { build: alone[0].id, from: Stage::Shadowing, to: Stage::Serving }];
        let after = judge(&alone, &up).unwrap();
        assert!(matches!(taken_over(&alone, &after), Some((_, None))), "it takes nobody's place");
        assert!(taken_over(&after, &after).is_none(), "nothing changed");
    }
}
