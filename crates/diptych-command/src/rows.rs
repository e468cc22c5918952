//! What an operator does with stored states: count them, bring them up to date, hold them against their
//! streams, remove them. All in pages, beside commands that go on.

use crate::cache::Loaded;
use crate::{AnyDecider, Commands, Persistence, Shape, StateRow, StreamStanding};
use diptych_core::{Code, Fault, StreamRef, Version};
use serde_json::Value;

/// How many streams are walked at once.
const STREAMS_MAX: usize = 500;

/// How many rows one statement removes.
const ROWS_MAX: usize = 1_000;

/// How the rows of a category stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RowCounts {
    /// Streams that have events.
    pub streams: u64,
    /// Streams that have a row.
    pub rows: u64,
    /// Rows of another shape than the code's; they count for nothing.
    pub of_another_shape: u64,
    /// Rows of the code's shape at an earlier version than their stream's.
    pub behind: u64,
}

/// What bringing rows up to date has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WrittenRows {
    /// Streams that have events.
    pub streams: u64,
    /// Rows that were written.
    pub written: u64,
    /// Rows that a command had brought further in the meantime.
    pub overtaken: u64,
}

/// A row that is not the fold of its stream.
#[derive(Clone, PartialEq, Debug)]
pub struct DifferingState {
    /// Whose.
    pub stream: StreamRef,
    /// The version that the row says it stands at.
    pub version: Version,
    /// In what it differs.
    pub problem: RowProblem,
}

/// In what a row differs from the fold of its stream.
#[derive(Clone, PartialEq, Debug)]
pub enum RowProblem {
    /// A property has another value.
    Property {
        /// Which, as a JSON Pointer (RFC 6901).
        pointer: String,
        /// What the fold has there.
        expected: Option<Value>,
        /// What the row has there.
        actual: Option<Value>,
    },
    /// It stands at a version that its stream has not reached.
    Ahead {
        /// The stream's version.
        stream: Version,
    },
    /// Its text is not JSON.
    Unreadable,
}

impl Commands {
    /// How the rows of a category stand.
    ///
    /// # Errors
    /// A category without a decider, or a fault of the store.
    pub async fn count_rows(&self, category: &str) -> Result<RowCounts, Fault> {
        let shape = self.decider_of(category)?.stored().map(|stored| stored.shape);
        let mut counts = RowCounts::default();
        let mut walk = Walk::default();
        while let Some(page) = self.walk(category, &mut walk).await? {
            for StreamStanding { version, row, .. } in page {
                counts.streams += 1;
                if let Some((at, held)) = row {
                    counts.rows += 1;
                    counts.of_another_shape += u64::from(Some(held) != shape);
                    counts.behind += u64::from(Some(held) == shape && at < version);
                }
            }
        }
        Ok(counts)
    }

    /// Brings a row for every stream of a category up to date. Commands go on meanwhile; a row that one of
    /// them has brought further is left alone.
    ///
    /// # Errors
    /// A decider whose state cannot be stored, an event that cannot be read, or a fault of the store.
    pub async fn write_rows(&self, category: &str) -> Result<WrittenRows, Fault> {
        let decider = self.decider_of(category)?;
        let shape = shape_of(decider)?;
        let mut done = WrittenRows::default();
        let mut walk = Walk::default();
        while let Some(page) = self.walk(category, &mut walk).await? {
            for StreamStanding { stream, version, row } in page {
                done.streams += 1;
                if row.is_some_and(|(at, held)| held == shape && at >= version) {
                    continue;
                }
                let from = self.load_row(decider, &stream, None).await?;
                let from = from.unwrap_or_else(|| Loaded::initial(decider));
                let Loaded { state, version, .. } = self.catch_up(decider, &stream, from).await?;
                let row = StateRow { version, shape, state: decider.to_text(&state)? };
                match self.store.write_state(&stream, row).await? {
                    true => done.written += 1,
                    false => done.overtaken += 1,
                }
            }
        }
        Ok(done)
    }

    /// Holds every row of the code's shape against the fold of its stream up to the row's version. Answers
    /// how many rows were held, and the differences, at most `differences_max` of them.
    ///
    /// # Errors
    /// A decider whose state cannot be stored, an event that cannot be read, or a fault of the store.
    pub async fn verify_rows(
        &self,
        category: &str,
        differences_max: usize,
    ) -> Result<(u64, Vec<DifferingState>), Fault> {
        let decider = self.decider_of(category)?;
        let shape = shape_of(decider)?;
        let (mut held, mut differences) = (0, Vec::new());
        let mut walk = Walk::default();
        while let Some(page) = self.walk(category, &mut walk).await? {
            for StreamStanding { stream, row, .. } in page {
                if row.is_none_or(|(_, written)| written != shape) {
                    continue;
                }
                // It may have moved since the walk came past it.
                let row = self.store.load_state(&stream).await?.filter(|row| row.shape == shape);
                let Some(row) = row else {
                    continue;
                };
                held += 1;
                for problem in self.problems_of(decider, &stream, &row).await? {
                    if differences.len() < differences_max {
                        let (stream, version) = (stream.clone(), row.version);
                        differences.push(DifferingState { stream, version, problem });
                    }
                }
            }
        }
        Ok((held, differences))
    }

    /// Removes every row of a category. Its state is what the log says, as it was with them.
    ///
    /// # Errors
    /// A category that is state-stored here, one without a decider, or a fault of the store.
    pub async fn drop_rows(&self, category: &str) -> Result<u64, Fault> {
        if self.decider_of(category)?.persistence() == Persistence::StateStored {
            let message = format!(
                "`{category}` is state-stored in this service, which would write its rows again: \
                 move it first, with `--persistence {category}=event-sourced`"
            );
            return Err(Fault::permanent(Code::StatesInUse, message));
        }
        self.store.hide_states(category).await?;
        let mut dropped = 0;
        loop {
            let rows = self.store.drop_states(category, ROWS_MAX).await?;
            dropped += rows as u64;
            if rows < ROWS_MAX {
                return Ok(dropped);
            }
        }
    }

    async fn problems_of(
        &self,
        decider: &dyn AnyDecider,
        stream: &StreamRef,
        row: &StateRow,
    ) -> Result<Vec<RowProblem>, Fault> {
        let folded = self.catch_up_to(decider, stream, Loaded::initial(decider), row.version).await?;
        if folded.version < row.version {
            return Ok(vec![RowProblem::Ahead { stream: folded.version }]);
        }
        let Ok(actual) = serde_json::from_str(&row.state) else {
            return Ok(vec![RowProblem::Unreadable]);
        };
        let mut problems = Vec::new();
        differences(&decider.to_json(&folded.state)?, &actual, &mut String::new(), &mut problems);
        Ok(problems)
    }

    /// The next page of a category's streams; none after the last one.
    async fn walk(&self, category: &str, walk: &mut Walk) -> Result<Option<Vec<StreamStanding>>, Fault> {
        if walk.done {
            return Ok(None);
        }
        let page = self.store.streams_of(category, walk.after.as_ref(), STREAMS_MAX).await?;
        walk.done = page.len() < STREAMS_MAX;
        walk.after = page.last().map(|last| last.stream.clone());
        Ok(Some(page))
    }

    fn decider_of(&self, category: &str) -> Result<&dyn AnyDecider, Fault> {
        let unknown = || {
            let known: Vec<_> = self.deciders.keys().map(|known| format!("`{known}`")).collect();
            let message = format!("no decider has category `{category}`; known are {}", known.join(", "));
            Fault::permanent(Code::NotFound, message)
        };
        self.deciders.get(category).map(|decider| &**decider).ok_or_else(unknown)
    }
}

/// How far a walk over streams has come.
#[derive(Default)]
struct Walk {
    after: Option<StreamRef>,
    done: bool,
}

fn shape_of(decider: &dyn AnyDecider) -> Result<Shape, Fault> {
    let cannot = || {
        let message = format!(
            "the state of `{}` cannot be stored: its decider is not a `StoredState`",
            decider.category()
        );
        Fault::permanent(Code::ServiceInvalid, message)
    };
    decider.stored().map(|stored| stored.shape).ok_or_else(cannot)
}

/// Where two values differ, by the deepest objects that hold the difference.
fn differences(expected: &Value, actual: &Value, pointer: &mut String, problems: &mut Vec<RowProblem>) {
    if let (Value::Object(expected), Value::Object(actual)) = (expected, actual) {
        let mut names: Vec<_> = expected.keys().chain(actual.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let length = pointer.len();
            pointer.push('/');
            pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
            match (expected.get(name), actual.get(name)) {
                (Some(expected), Some(actual)) => differences(expected, actual, pointer, problems),
                (expected, actual) => problems.push(differing(pointer, expected, actual)),
            }
            pointer.truncate(length);
        }
    } else if expected != actual {
        problems.push(differing(pointer, Some(expected), Some(actual)));
    }
}

fn differing(pointer: &str, expected: Option<&Value>, actual: Option<&Value>) -> RowProblem {
    RowProblem::Property { pointer: pointer.to_owned(), expected: expected.cloned(), actual: actual.cloned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_is_named_by_its_property() {
        let expected = json!({ "a": 1, "b": { "c/d": "x", "e": [1, 2] }, "gone": null });
        let actual = json!({ "a": 1, "b": { "c/d": "y", "e": [1, 2] }, "more": true });
        let mut found = Vec::new();
        differences(&expected, &actual, &mut String::new(), &mut found);
        let pointers = found.iter().map(|problem| match problem {
            RowProblem::Property { pointer, .. } => pointer.as_str(),
            _ => "",
        });
        assert_eq!(pointers.collect::<Vec<_>>(), ["/b/c~1d", "/gone", "/more"]);
        found.clear();
        differences(&expected, &expected.clone(), &mut String::new(), &mut found);
        assert!(found.is_empty());
    }
}
