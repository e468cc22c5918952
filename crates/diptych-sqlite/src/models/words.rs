//! The index of words of a table whose columns are searched: a full-text table (FTS5, without a copy of the
//! texts) and, since rows of ours have no number of their own, a table that gives each one. Triggers keep
//! both, whoever writes. Pure: only text of SQL.
//!
//! Letters are those of Unicode 6.1, in lower case as FTS5 folds it
//! (<https://sqlite.org/fts5.html#unicode61_tokenizer>): letters that came later part words, and an accent
//! that stands as a letter of its own belongs to the word before.

use super::document;
use super::sql::{column_definitions, key_columns, quoted};
use diptych_query::{ColumnSpec, Schema, Storage, Words};

/// The columns that are searched.
fn searched(schema: &Schema) -> Vec<&ColumnSpec> {
    schema.columns.iter().filter(|column| column.facets.full_text).collect()
}

/// The names of the index and of the table of numbers.
fn names(table: &str) -> (String, String) {
    (quoted(&format!("{table}_words")), quoted(&format!("{table}_word_row")))
}

fn triggers(table: &str) -> [String; 3] {
    ["inserted", "updated", "deleted"].map(|when| quoted(&format!("{table}_words_{when}")))
}

/// The statements that make the index of what a table holds, and keep it from then on.
pub(crate) fn create(table: &str, schema: &Schema) -> Option<String> {
    let columns: Vec<_> = searched(schema).iter().map(|column| quoted(column.name)).collect();
    if columns.is_empty() {
        return None;
    }
    let ((words, rows), [inserted, updated, deleted]) = (names(table), triggers(table));
    let (keys, held) = (key_columns(schema), quoted(table));
    let of = |prefix: &str, columns: &[String]| {
        let all: Vec<_> = columns.iter().map(|column| format!("{prefix}.{column}")).collect();
        all.join(", ")
    };
    let text = |prefix: &str| {
        let all: Vec<_> = columns.iter().map(|column| format!("coalesce({prefix}.{column}, '')")).collect();
        all.join(" || ' ' || ")
    };
    let same = |prefix: &str| {
        let all: Vec<_> = keys.iter().map(|key| format!("{rows}.{key} = {prefix}.{key}")).collect();
        all.join(" AND ")
    };
    let number = |prefix: &str| format!("(SELECT id FROM {rows} WHERE {})", same(prefix));
    let add = format!(
        "INSERT OR IGNORE INTO {rows} ({key}) VALUES ({new}); \
         INSERT OR REPLACE INTO {words} (rowid, text) VALUES ({number}, {text});",
        key = keys.join(", "),
        new = of("new", &keys),
        number = number("new"),
        text = text("new"),
    );
    let remove = format!(
        "DELETE FROM {words} WHERE rowid = {}; DELETE FROM {rows} WHERE {};",
        number("old"),
        same("old")
    );
    let mut definitions = vec!["id INTEGER PRIMARY KEY".to_owned(), "\"tenant_id\" TEXT NOT NULL".to_owned()];
    definitions.extend(schema.key.iter().flat_map(|column| column_definitions(&schema.columns[*column])));
    definitions.push(format!("UNIQUE ({})", keys.join(", ")));
    let moved: Vec<String> = keys.iter().chain(&columns).cloned().collect();
    // Nobody names a computed column when writing, so that no trigger can wait for that.
    let named: Vec<String> = match schema.storage {
        Storage::Columns => moved.clone(),
        Storage::Document => keys.iter().cloned().chain([quoted(document::COLUMN)]).collect(),
    };
    Some(format!(
        "CREATE TABLE {rows} ({definitions}) STRICT;
CREATE VIRTUAL TABLE {words} USING
  fts5(text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 0');
INSERT INTO {rows} ({key}) SELECT {key} FROM {held};
INSERT INTO {words} (rowid, text) SELECT {rows}.id, {text} FROM {held} AS held JOIN {rows} ON {same};
CREATE TRIGGER {inserted} AFTER INSERT ON {held} BEGIN {add} END;
CREATE TRIGGER {updated} AFTER UPDATE OF {named} ON {held} WHEN ({old_all}) IS NOT ({new_all})
  BEGIN {remove} {add} END;
CREATE TRIGGER {deleted} AFTER DELETE ON {held} BEGIN {remove} END;",
        definitions = definitions.join(", "),
        key = keys.join(", "),
        text = text("held"),
        same = same("held"),
        named = named.join(", "),
        old_all = of("old", &moved),
        new_all = of("new", &moved),
    ))
}

/// The statements that drop the index.
pub(crate) fn drop(table: &str, schema: &Schema) -> Option<String> {
    if searched(schema).is_empty() {
        return None;
    }
    let (words, rows) = names(table);
    let triggers = triggers(table).map(|trigger| format!("DROP TRIGGER IF EXISTS {trigger};"));
    Some(format!("{} DROP TABLE IF EXISTS {words}; DROP TABLE IF EXISTS {rows};", triggers.join(" ")))
}

/// The condition that a row of the tenant of the first parameter has all words, and what `place` is to hold.
/// None where no column is searched.
pub(crate) fn condition(
    table: &str,
    schema: &Schema,
    asked: &Words,
    place: &str,
) -> Option<(String, String)> {
    if searched(schema).is_empty() {
        return None;
    }
    let (words, rows) = names(table);
    let key = key_columns(schema).join(", ");
    let text = format!(
        "({key}) IN (SELECT {key} FROM {rows} WHERE \"tenant_id\" = ?1 AND id IN \
         (SELECT rowid FROM {words} WHERE {words} MATCH {place}))"
    );
    // Words are letters and digits: nothing in them means something here.
    let asked = asked.all().iter().map(|word| match word.begins {
        true => format!("\"{}\" *", word.text),
        false => format!("\"{}\"", word.text),
    });
    Some((text, asked.collect::<Vec<_>>().join(" AND ")))
}
