//! The stages of a build of a read model, and which moves between them are legal. A pure table.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a build of a group of read models stands between its declaration and its end.
///
/// ```
/// use diptych_query::Stage;
/// assert!(Stage::Shadowing.may_become(Stage::Serving));
/// let refused = Stage::Serving.check(Stage::Retired).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "a build that is serving cannot become retired: \
///      from serving it may become rebuilding, shadowing, deprecated"
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is declared, and has no tables yet.
    Designed,
    /// It is filled from the log.
    Building,
    /// It follows the log and answers nobody: before a switch, or after one until it is retired.
    Shadowing,
    /// It answers.
    Serving,
    /// It answers, and a successor is under way.
    Rebuilding,
    /// It answers, and says that it will not for ever.
    Deprecated,
    /// It is gone.
    Retired,
}

impl Stage {
    /// Every stage, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Designed,
        Self::Building,
        Self::Shadowing,
        Self::Serving,
        Self::Rebuilding,
        Self::Deprecated,
        Self::Retired,
    ];

    /// The stages that may follow.
    #[must_use]
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Designed => &[Self::Building],
            // Cancelled, it is retired.
            Self::Building => &[Self::Shadowing, Self::Retired],
            Self::Shadowing => &[Self::Serving, Self::Retired],
            // A switch makes it the shadow of its successor.
            Self::Serving => &[Self::Rebuilding, Self::Shadowing, Self::Deprecated],
            // Without its successor it serves as before.
            Self::Rebuilding => &[Self::Serving, Self::Shadowing],
            Self::Deprecated => &[Self::Serving, Self::Retired],
            Self::Retired => &[],
        }
    }

    /// Whether a move is legal.
    #[must_use]
    pub fn may_become(self, to: Self) -> bool {
        self.next().contains(&to)
    }

    /// Refuses an illegal move and says what would be legal.
    ///
    /// # Errors
    /// A move that is not in the table.
    pub fn check(self, to: Self) -> Result<(), IllegalMove> {
        if self.may_become(to) { Ok(()) } else { Err(IllegalMove { from: self, to }) }
    }

    /// Whether questions are answered from it.
    #[must_use]
    pub const fn answers(self) -> bool {
        matches!(self, Self::Serving | Self::Rebuilding | Self::Deprecated)
    }

    /// Whether it has tables that follow the log.
    #[must_use]
    pub const fn follows(self) -> bool {
        !matches!(self, Self::Designed | Self::Retired)
    }

    /// The word that operators see and stores keep.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Designed => "designed",
            Self::Building => "building",
            Self::Shadowing => "shadowing",
            Self::Serving => "serving",
            Self::Rebuilding => "rebuilding",
            Self::Deprecated => "deprecated",
            Self::Retired => "retired",
        }
    }

    /// The stage of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == word)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A move that is not in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IllegalMove {
    /// Where the build stands.
    pub from: Stage,
    /// Where it was to go.
    pub to: Stage,
}

impl fmt::Display for IllegalMove {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(out, "a build that is {from} cannot become {to}: ")?;
        if from.next().is_empty() {
            return write!(out, "{from} is the end");
        }
        let legal: Vec<_> = from.next().iter().map(|stage| stage.as_str()).collect();
        write!(out, "from {from} it may become {}", legal.join(", "))
    }
}

impl std::error::Error for IllegalMove {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table once more, written as a person reads it.
    const LEGAL: &[(Stage, Stage)] = &[
        (Stage::Designed, Stage::Building),
        (Stage::Building, Stage::Shadowing),
        (Stage::Building, Stage::Retired),
        (Stage::Shadowing, Stage::Serving),
        (Stage::Shadowing, Stage::Retired),
        (Stage::Serving, Stage::Rebuilding),
        (Stage::Serving, Stage::Shadowing),
        (Stage::Serving, Stage::Deprecated),
        (Stage::Rebuilding, Stage::Serving),
        (Stage::Rebuilding, Stage::Shadowing),
        (Stage::Deprecated, Stage::Serving),
        (Stage::Deprecated, Stage::Retired),
    ];

    #[test]
    fn every_pair_of_stages_is_judged() {
        for from in Stage::ALL {
            for to in Stage::ALL {
                let legal = LEGAL.contains(&(from, to));
                assert_eq!(from.may_become(to), legal, "{from} to {to}");
                assert_eq!(from.check(to).is_ok(), legal, "{from} to {to}");
            }
        }
    }

    #[test]
    fn a_refusal_names_every_legal_move() {
        for (from, to) in Stage::ALL.into_iter().flat_map(|from| Stage::ALL.map(|to| (from, to))) {
            let Err(refused) = from.check(to) else { continue };
            let (_, legal) =
                refused.to_string().split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            for stage in Stage::ALL {
                let named = legal
                    .split([' ', ','])
                    .skip_while(|word| *word != "become")
                    .any(|word| word == stage.as_str());
                assert_eq!(named, from.may_become(stage), "{refused}");
            }
        }
    }

    #[test]
    fn nothing_answers_that_does_not_follow_and_everything_can_end() {
        for stage in Stage::ALL {
            assert!(!stage.answers() || stage.follows(), "{stage}");
            let mut reached = vec![stage];
            while let Some(more) =
                reached.iter().flat_map(|held| held.next()).find(|next| !reached.contains(next)).copied()
            {
                reached.push(more);
            }
            assert!(reached.contains(&Stage::Retired), "{stage} never ends");
        }
    }

    #[test]
    fn words_are_read_back() {
        for stage in Stage::ALL {
            assert_eq!(Stage::of(stage.as_str()), Some(stage));
        }
        assert_eq!(Stage::of("unknown"), None);
    }
}
