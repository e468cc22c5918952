//! Two builds of a group held against each other at positions that both stand at.

mod report;

pub use report::{
    BuildDifference, CompareReport, QuestionDifference, QuestionsCompared, Refolded, TableCompared,
};
