//! `models export`: the rows of a read model, of one moment, in a file, and beside it a file that says where
//! they come from. Who may see what is said by the policies that every answer asks.

use crate::actions::find_model;
use crate::export::{unwritable, with_suffix};
use crate::{ActionError, Operator, Report};
use diptych_core::{Fault, Position, Timestamp, Token, Value};
use diptych_query::{Ask, BuildId, RawRow, RowStream, Schema, Withheld};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How rows are written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowsFormat {
    /// One JSON object in a line, under the columns' public names.
    Ndjson,
    /// Comma-separated values with a header (RFC 4180). No value is nothing between two commas, an empty text
    /// is `""`.
    Csv,
}

impl RowsFormat {
    /// How the names of its files end.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

impl FromStr for RowsFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ndjson" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv),
            other => Err(format!("`{other}` is not a format; there are `ndjson` and `csv`")),
        }
    }
}

/// Where the rows of a file come from.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowsLineage {
    /// The service.
    pub service: String,
    /// Whose rows.
    pub tenant: String,
    /// Who exported them.
    pub actor: String,
    /// The read model.
    pub model: &'static str,
    /// What was asked for, as it was written.
    pub filter: Vec<String>,
    /// The revision of the read model.
    pub revision: u32,
    /// Its build.
    pub generation: u32,
    /// Every event up to this position is in the rows, and none after it.
    pub position: Position,
    /// The position as a token.
    pub token: Token,
    /// When the last event in the rows was recorded; none before the first.
    pub as_of: Option<Timestamp>,
    /// When the export began.
    pub exported_at: Timestamp,
    /// Which policies said what may be seen; none where none are configured.
    pub policy: Option<String>,
    /// How the rows are written down.
    pub format: RowsFormat,
    /// The columns, in the order of the file.
    pub columns: Vec<ColumnLine>,
    /// How many rows.
    pub rows: u64,
    /// BLAKE3 over the stored columns of all rows as they were shown, in the order of their keys.
    pub checksum: String,
}

/// A column of an exported file.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnLine {
    /// Its public name.
    pub name: &'static str,
    /// Its type.
    #[serde(rename = "type")]
    pub value_type: String,
    /// Whether it may hold no value.
    pub nullable: bool,
    /// Whether it is computed from the others, as of when the export began.
    pub computed: bool,
}

/// What was exported.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowsExportReport {
    /// The file of the rows.
    pub file: String,
    /// The file that says where they come from.
    pub lineage_file: String,
    /// Where they come from.
    pub lineage: RowsLineage,
}

impl RowsExportReport {
    pub(crate) fn to_text(&self) -> String {
        let RowsLineage { rows, model, position, checksum, .. } = &self.lineage;
        let (file, lineage) = (&self.file, &self.lineage_file);
        format!("{file}: {rows} rows of `{model}` at position {position}, told in {lineage}\n{checksum}")
    }
}

/// Writes the rows of a read model that fit to a file, and where they come from to another beside it. Both
/// get their names when they are whole.
///
/// # Errors
/// Rows that may not be exported, a file that cannot be written, or a fault of the store.
pub async fn export_rows(
    operator: &Operator<'_>,
    model: &str,
    filter: &[String],
    format: RowsFormat,
    file: &Path,
) -> Result<Report, ActionError> {
    let (model, _) = find_model(operator, model)?;
    let schema = model.schema();
    let mut pairs = Vec::new();
    for word in filter {
        let reason = || format!("`{word}` is not of the form `filter=value`");
        pairs.push(word.split_once('=').ok_or_else(|| ActionError::Argument { reason: reason() })?);
    }
    let ask = Ask::from_text(schema, pairs)?;
    let answer = operator.queries.export(operator.principal, schema.name, &ask).await?;
    let (mut rows, freshness) = (answer.value, answer.freshness);
    let BuildId { revision, generation } = rows.build;
    let mut lineage = RowsLineage {
        service: operator.service.to_owned(),
        tenant: operator.principal.tenant.as_str().to_owned(),
        actor: operator.principal.actor.as_str().to_owned(),
        model: schema.name,
        filter: filter.to_vec(),
        revision,
        generation,
        position: freshness.projection_position,
        token: freshness.token,
        as_of: freshness.as_of,
        exported_at: rows.begun_at,
        policy: rows.policy.as_ref().map(|policy| policy.0.clone().into_owned()),
        format,
        columns: columns(schema),
        rows: 0,
        checksum: String::new(),
    };
    let (partial, lineage_file) = (with_suffix(file, ".partial"), lineage_of(file));
    if let Err(error) = write(&mut rows, format, &partial).await {
        // What is not whole is of no use; that it cannot be removed is not the failure to tell.
        let _ = std::fs::remove_file(&partial);
        return Err(error);
    }
    if let Some(totals) = rows.totals() {
        lineage.rows = totals.rows;
        lineage.checksum.clone_from(&totals.checksum);
    }
    // INVARIANT: rows stand under their name only beside the lineage that is theirs.
    let text = serde_json::to_vec_pretty(&lineage).map_err(std::io::Error::from);
    let told = text.and_then(|text| std::fs::write(&lineage_file, text));
    told.map_err(|error| unwritable(&lineage_file, error))?;
    std::fs::rename(&partial, file).map_err(|error| unwritable(file, error))?;
    let (file, lineage_file) = (file.display().to_string(), lineage_file.display().to_string());
    Ok(Report::RowsExported(Box::new(RowsExportReport { file, lineage_file, lineage })))
}

fn columns(schema: &Schema) -> Vec<ColumnLine> {
    let word = |value_type: diptych_core::ValueType| format!("{value_type:?}").to_lowercase();
    let stored = schema.columns.iter().map(|column| ColumnLine {
        name: column.public,
        value_type: word(column.value_type),
        nullable: column.nullable,
        computed: false,
    });
    let computed = schema.computed.iter().map(|column| ColumnLine {
        name: column.public,
        value_type: word(column.value_type),
        nullable: column.nullable,
        computed: true,
    });
    stored.chain(computed).collect()
}

async fn write(rows: &mut RowStream, format: RowsFormat, file: &Path) -> Result<(), ActionError> {
    let out = File::create(file).map_err(|error| unwritable(file, error))?;
    let mut out = BufWriter::with_capacity(1 << 18, out);
    let schema = rows.schema;
    if format == RowsFormat::Csv {
        let names: Vec<_> = columns(schema).iter().map(|column| quoted(column.name)).collect();
        line(&mut out, file, &names.join(","), "\r\n")?;
    }
    while let Some(batch) = rows.next().await? {
        for row in &batch {
            match format {
                RowsFormat::Ndjson => line(&mut out, file, &object(schema, row).to_string(), "\n")?,
                RowsFormat::Csv => line(&mut out, file, &record(row), "\r\n")?,
            }
        }
    }
    let out = out.into_inner().map_err(|error| unwritable(file, error.into_error()))?;
    out.sync_all().map_err(|error| unwritable(file, error))?;
    Ok(())
}

fn line(out: &mut impl Write, file: &Path, text: &str, end: &str) -> Result<(), Fault> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes()));
    written.map_err(|error| unwritable(file, error))
}

/// A row under its public names. What is withheld has no value, or is left out, as its column declares.
fn object(schema: &Schema, row: &RawRow) -> Json {
    let mut map = Map::new();
    for (index, (column, value)) in columns(schema).into_iter().zip(&row.values).enumerate() {
        let absent = schema.columns.get(index).is_some_and(|spec| spec.facets.withheld == Withheld::Absent);
        if !(absent && row.withheld.contains(&index)) {
            map.insert(column.name.to_owned(), value.to_json());
        }
    }
    Json::Object(map)
}

/// A row as a record of comma-separated values.
fn record(row: &RawRow) -> String {
    let fields = row.values.iter().map(|value| match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Timestamp(time) => time.to_string(),
        Value::Money(money) => money.to_string(),
        Value::Text(text) | Value::Json(text) => quoted(text),
        Value::Bytes(_) => quoted(value.to_json().as_str().unwrap_or_default()),
    });
    fields.collect::<Vec<_>>().join(",")
}

/// A text as a field: in quotes, since one that looks like a number is none.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The file that says where the rows of another one come from.
pub(crate) fn lineage_of(file: &Path) -> PathBuf {
    with_suffix(file, ".lineage.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_no_value_from_an_empty_text() {
        let values = vec![
            Value::Null,
            Value::Text(String::new()),
            Value::Text("a \"b\", c\nd".to_owned()),
            Value::Integer(-7),
            Value::Bool(true),
        ];
        let row = RawRow { values, withheld: Vec::new() };
        assert_eq!(record(&row), ",\"\",\"a \"\"b\"\", c\nd\",-7,true");
    }

    #[test]
    fn a_format_is_one_of_two() {
        assert_eq!("csv".parse(), Ok(RowsFormat::Csv));
        assert_eq!("ndjson".parse(), Ok(RowsFormat::Ndjson));
        assert!("json".parse::<RowsFormat>().is_err());
    }
}
