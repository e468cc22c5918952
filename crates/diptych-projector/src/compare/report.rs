//! What a comparison of two builds found, for people and machines.

use diptych_core::{Position, Tenant, Timestamp};
use diptych_query::BuildId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How two builds of a group differ, each table at one position that both stood at.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompareReport {
    /// The group.
    pub group: String,
    /// The build that answers.
    pub from: BuildId,
    /// The build that is to take its place.
    pub to: BuildId,
    /// When it was compared.
    pub at: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Table by table.
    pub tables: Vec<TableCompared>,
    /// Questions that were asked lately, asked of both.
    pub questions: QuestionsCompared,
    /// Rows of the new build against a fresh fold of the log.
    pub refolded: Refolded,
    /// The first differences, of all tables.
    pub differences: Vec<BuildDifference>,
}

/// What was found in one table.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TableCompared {
    /// The table.
    pub table: String,
    /// The position at which both stood, the lowest of its partitions.
    pub position: Position,
    /// Rows of the build that answers.
    pub rows_before: u64,
    /// Rows of the new one.
    pub rows_after: u64,
    /// How many buckets of the digests differ; none where the tables have other shapes and only the columns
    /// that both have were compared.
    pub buckets_differing: Option<u32>,
    /// Columns that only the new table has.
    pub columns_added: Vec<String>,
    /// Columns that only the old one has.
    pub columns_removed: Vec<String>,
    /// Rows that differ as was declared.
    pub declared: u64,
    /// Rows that differ otherwise.
    pub undeclared: u64,
    /// Rows that were left out because a key is parked in either build.
    pub parked: u64,
    /// Rows that were left out because the new build stood further already and newer facts name them.
    pub newer: u64,
    /// Why the table could not be compared.
    pub uncomparable: Option<String>,
}

/// Questions that were asked of both builds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QuestionsCompared {
    /// How many were asked.
    pub asked: u64,
    /// How many could not be: of columns that are gone, or the old build would not stand still.
    pub left_out: u64,
    /// How many were answered otherwise than was declared.
    pub undeclared: u64,
    /// The first of them.
    pub differing: Vec<QuestionDifference>,
}

/// A question that the builds answer differently.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuestionDifference {
    /// The table.
    pub table: String,
    /// What was asked, in words.
    pub question: String,
    /// The first row, counted from 0, in which the answers differ.
    pub row: u64,
    /// What the old build has there.
    pub before: serde_json::Value,
    /// What the new one has.
    pub after: serde_json::Value,
}

/// Rows of the new build that were folded afresh.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Refolded {
    /// The bucket of keys, of 64; none where nothing was folded.
    pub bucket: Option<u8>,
    /// How many rows.
    pub rows: u64,
    /// How many of them are not what the log says.
    pub differing: u64,
    /// Why nothing was folded.
    pub left_out: Option<String>,
}

/// A row or a column in which two builds differ.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDifference {
    /// The table.
    pub table: String,
    /// Whose row.
    pub tenant: Tenant,
    /// Its key, one entry for each key column.
    pub key: Vec<serde_json::Value>,
    /// The column, by its name in SQL; none when the whole row is missing on one side.
    pub column: Option<String>,
    /// What the old build has; null for no row.
    pub before: serde_json::Value,
    /// What the new one has, or the log says; null for no row.
    pub after: serde_json::Value,
    /// Whether it was declared beforehand.
    pub declared: bool,
}

impl CompareReport {
    /// Whether nothing stands against a switch.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.undeclared() == 0 && self.tables.iter().all(|table| table.uncomparable.is_none())
    }

    /// How many rows and answers differ in ways that were not declared.
    #[must_use]
    pub fn undeclared(&self) -> u64 {
        let rows: u64 = self.tables.iter().map(|table| table.undeclared).sum();
        rows + self.questions.undeclared + self.refolded.differing
    }
}

impl fmt::Display for CompareReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, from, to, seconds, .. } = self;
        let verdict =
            if self.is_clean() { "nothing stands against the switch" } else { "the switch is blocked" };
        writeln!(out, "{group}: build {from} and build {to}, compared in {seconds:.1} s: {verdict}")?;
        for table in &self.tables {
            writeln!(out, "  {table}")?;
        }
        let QuestionsCompared { asked, left_out, undeclared, differing } = &self.questions;
        writeln!(
            out,
            "  questions: {asked} asked of both, {undeclared} answered differently, {left_out} left out"
        )?;
        for QuestionDifference { table, question, row, before, after } in differing {
            writeln!(out, "    {table} {question}: row {row} is {before}, new {after}")?;
        }
        match &self.refolded {
            Refolded { left_out: Some(why), .. } => writeln!(out, "  folded afresh: nothing, {why}")?,
            Refolded { rows, differing, .. } => {
                writeln!(out, "  folded afresh: {rows} rows, {differing} of them not what the log says")?;
            }
        }
        for difference in &self.differences {
            writeln!(out, "    {difference}")?;
        }
        Ok(())
    }
}

impl fmt::Display for TableCompared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, position, rows_before, rows_after, declared, undeclared, .. } = self;
        if let Some(why) = &self.uncomparable {
            return write!(out, "{table}: cannot be compared, {why}");
        }
        write!(out, "{table} at position {position}: {rows_before} rows, new {rows_after}; ")?;
        match self.buckets_differing {
            Some(0) => write!(out, "digests equal")?,
            _ => write!(out, "{undeclared} rows differ undeclared, {declared} as declared")?,
        }
        for (what, columns) in [("new columns", &self.columns_added), ("columns gone", &self.columns_removed)]
        {
            if !columns.is_empty() {
                write!(out, "; {what}: {}", columns.join(", "))?;
            }
        }
        for (what, rows) in [("with parked keys", self.parked), ("named by newer facts", self.newer)] {
            if rows > 0 {
                write!(out, "; {rows} {what} left out")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for BuildDifference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, tenant, key, before, after, .. } = self;
        let key: Vec<_> = key.iter().map(ToString::to_string).collect();
        let column = self.column.as_deref().unwrap_or("the row");
        let declared = if self.declared { " (declared)" } else { "" };
        write!(out, "{table} {tenant} {}: {column} is {before}, new {after}{declared}", key.join(" "))
    }
}
