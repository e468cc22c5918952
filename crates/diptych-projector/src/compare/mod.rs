//! Two builds of a group held against each other at positions that both stand at.

mod newer;
mod refold;
mod report;
mod rows;
mod run;
mod sides;

pub use report::{
    BuildDifference, CompareReport, QuestionDifference, QuestionsCompared, Refolded, TableCompared,
};
pub(crate) use run::{Compared, Comparison};
pub(crate) use sides::Sides;

use crate::rebuild::Rebuild;
use diptych_core::Timestamp;
use diptych_query::Group;

/// The report of a comparison that cannot even begin.
pub(crate) fn uncomparable(rebuild: &Rebuild, group: &Group, why: &str, at: Timestamp) -> CompareReport {
    let table = |name: &str| TableCompared {
        table: name.to_owned(),
        uncomparable: Some(why.to_owned()),
        ..TableCompared::default()
    };
    CompareReport {
        group: rebuild.group.clone(),
        from: rebuild.from.unwrap_or(rebuild.to),
        to: rebuild.to,
        at,
        seconds: 0.0,
        tables: group.models().iter().map(|model| table(model.schema().name)).collect(),
        questions: QuestionsCompared::default(),
        refolded: Refolded::default(),
        differences: Vec::new(),
    }
}
