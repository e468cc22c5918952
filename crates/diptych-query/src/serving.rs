//! What this process knows of a group's builds: which one its code moves, which one answers, which others can
//! be read. A pure look at the builds; who looks is decided elsewhere.

use crate::{Build, BuildId, Stage, own_build, stand_in};

/// The builds of a group as the code of one revision sees them. Nothing is known before somebody has looked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Serving {
    /// The build that the code moves, and where it stands.
    pub own: Option<(BuildId, Stage)>,
    /// The build of another revision that questions are answered from while the own one is not ready.
    pub stand_in: Option<BuildId>,
    /// The build that answers while the own one does not, of whatever shape: the own one is its successor,
    /// and moves only as far as the two can be compared.
    pub predecessor: Option<BuildId>,
    /// The build that is under way to replace the one that answers.
    pub successor: Option<BuildId>,
    /// The builds that follow the log and have tables of the own one's shape, so that a page begun on one of
    /// them can go on.
    pub readable: Vec<BuildId>,
    /// Whether every build of the code's revision is retired.
    pub retired: bool,
}

impl Serving {
    /// What builds mean for the code of a revision.
    #[must_use]
    pub fn of(builds: &[Build], revision: u32) -> Self {
        let own = own_build(builds, revision);
        let unready = own.filter(|own| !own.stage.answers());
        let newest_answer = builds.iter().filter(|build| build.stage.answers()).max_by_key(|build| build.id);
        let answering = own.filter(|own| own.stage.answers()).or(newest_answer);
        let under_way = |build: &&Build| {
            let filled = matches!(build.stage, Stage::Building | Stage::Shadowing);
            filled && answering.is_some_and(|answering| build.id > answering.id)
        };
        let like_own =
            |build: &&Build| build.stage.follows() && own.is_some_and(|own| own.shape == build.shape);
        let of_revision = |build: &&Build| build.id.revision == revision;
        Self {
            own: own.map(|own| (own.id, own.stage)),
            stand_in: stand_in(builds, revision).map(|build| build.id),
            predecessor: unready.and(newest_answer).map(|build| build.id),
            successor: builds.iter().filter(under_way).map(|build| build.id).max(),
            readable: builds.iter().filter(like_own).map(|build| build.id).collect(),
            retired: own.is_none() && builds.iter().any(|build| of_revision(&build)),
        }
    }

    /// Where the own build stands, as far as is known.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        if self.retired { Some(Stage::Retired) } else { self.own.map(|(_, stage)| stage) }
    }

    /// Whether the own build waits for a comparison before it may take over: nobody but whoever compares
    /// moves it.
    #[must_use]
    pub fn waits_for_comparison(&self) -> bool {
        let newer = |predecessor: BuildId| self.own.is_some_and(|(own, _)| own > predecessor);
        self.predecessor.is_some_and(newer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych_core::Timestamp;

    fn build(revision: u32, generation: u32, stage: Stage, shape: &str) -> Build {
        let (created_at, moved_at) = (Timestamp::EPOCH, Timestamp::EPOCH);
        let id = BuildId { revision, generation };
        Build { id, stage, shape: shape.to_owned(), declared: String::new(), created_at, moved_at }
    }

    #[test]
    fn a_new_revision_reads_the_one_before_while_its_shape_is_the_same() {
        let old = build(1, 2, Stage::Rebuilding, "a");
        let new = |shape| build(2, 1, Stage::Building, shape);
        let same = Serving::of(&[old.clone(), new("a")], 2);
        assert_eq!((same.stand_in, same.predecessor), (Some(old.id), Some(old.id)));
        let other = Serving::of(&[old.clone(), new("b")], 2);
        assert_eq!((other.stand_in, other.predecessor), (None, Some(old.id)));
        assert!(same.waits_for_comparison() && other.waits_for_comparison());
        let seen_by_old_code = Serving::of(&[old.clone(), new("b")], 1);
        assert_eq!(seen_by_old_code.successor, Some(new("b").id));
        assert_eq!(seen_by_old_code.predecessor, None);
    }

    #[test]
    fn old_code_beside_a_new_revision_that_answers_is_nobodys_successor() {
        let builds = [build(1, 1, Stage::Shadowing, "a"), build(2, 1, Stage::Serving, "a")];
        let old = Serving::of(&builds, 1);
        assert_eq!(old.stand_in, Some(builds[1].id));
        assert!(!old.waits_for_comparison());
    }

    #[test]
    fn a_first_build_has_no_predecessor() {
        let serving = Serving::of(&[build(1, 1, Stage::Building, "a")], 1);
        assert_eq!((serving.stage(), serving.predecessor), (Some(Stage::Building), None));
        let gone = Serving::of(&[build(1, 1, Stage::Retired, "a")], 1);
        assert_eq!(gone.stage(), Some(Stage::Retired));
    }
}
