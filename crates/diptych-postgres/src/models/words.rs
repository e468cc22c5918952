//! The words of a table whose columns are searched: a column that the database computes itself from the
//! texts, with an index of its own. Only text of SQL, but for the look which letters the database knows.
//!
//! What is a letter, and which are upper and lower case of each other, is said by the ICU library where the
//! database has it, by the C library's Unicode tables where it has those, and by the database's own locale
//! otherwise: under one that knows ASCII only, other letters part words.

use super::document;
use crate::fault::OrFault;
use crate::shared::quoted;
use diptych_core::Fault;
use diptych_query::{Schema, Words};
use tokio_postgres::Client;

/// The column of words.
pub(crate) const COLUMN: &str = "full_text";

/// How many letters of a row are searched at most: the index of one row has to fit into a megabyte.
const SEARCHED_LETTERS_MAX: usize = 200_000;

/// The longest word that PostgreSQL indexes.
const WORD_BYTES_MAX: usize = 2_046;

/// The collations that know letters, the best first, of those that fit the database's encoding.
const SELECT_COLLATION: &str = "SELECT collname FROM pg_catalog.pg_collation \
    JOIN pg_catalog.pg_namespace AS space ON space.oid = collnamespace AND space.nspname = 'pg_catalog' \
    WHERE collname IN ('und-x-icu', 'C.utf8', 'C.UTF-8') \
    AND collencoding IN (-1, pg_catalog.pg_char_to_encoding(pg_catalog.getdatabaseencoding())) \
    ORDER BY array_position(ARRAY['und-x-icu', 'C.utf8', 'C.UTF-8'], collname::text) LIMIT 1";

/// Whether any column is searched.
pub(crate) fn are_searched(schema: &Schema) -> bool {
    schema.columns.iter().any(|column| column.facets.full_text)
}

/// The collation by which letters are told, as SQL writes it.
pub(crate) async fn collation(client: &Client) -> Result<String, Fault> {
    let row = client.query_typed_opt(SELECT_COLLATION, &[]).await.or_fault()?;
    let name: Option<String> = row.map(|row| row.try_get(0)).transpose().or_fault()?;
    Ok(format!("pg_catalog.{}", quoted(name.as_deref().unwrap_or("default"))))
}

/// The definition of the column of words.
pub(crate) fn definition(schema: &Schema, collation: &str) -> String {
    let searched = schema.columns.iter().enumerate().filter(|(_, column)| column.facets.full_text);
    let columns: Vec<_> =
        searched.map(|(column, _)| format!("coalesce({}, '')", document::text_of(schema, column))).collect();
    let text = columns.join(" || ' ' || ");
    format!(
        "{} tsvector GENERATED ALWAYS AS (strip(to_tsvector('pg_catalog.simple', regexp_replace(\
         lower(left({text}, {SEARCHED_LETTERS_MAX}) COLLATE {collation}) COLLATE {collation}, \
         '[^[:alnum:]]+', ' ', 'g')))) STORED",
        quoted(COLUMN)
    )
}

/// What a parameter holds that asks for words; none where no index holds one of them.
pub(crate) fn query(asked: &Words) -> Option<String> {
    let words = asked.all().iter().map(|word| {
        // Words are letters and digits: nothing in them means something here.
        let begins = if word.begins { ":*" } else { "" };
        (word.text.len() <= WORD_BYTES_MAX).then(|| format!("'{}'{begins}", word.text))
    });
    Some(words.collect::<Option<Vec<_>>>()?.join(" & "))
}
