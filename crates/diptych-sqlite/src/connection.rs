//! How connections are opened: pragmas, versions, and who may write.

use crate::fault::OrFault;
use crate::{Durability, SqliteLimits};
use diptych_core::{Code, Fault};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// The oldest SQLite whose WAL is known to be sound here: 3.51.3.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// The size of a page of the log. A commit writes whole pages, so small ones make small commits cheap.
const LOG_PAGE_BYTES: i64 = 4_096;

/// The size of a page of a read model's file. Batches change rows all over it, several of them in one page,
/// and each page is written by a call of its own.
pub(crate) const MODEL_PAGE_BYTES: i64 = 8_192;

/// How many pages SQLite gives to a file at most.
const PAGES_MAX: i64 = 4_294_967_294;

/// How much of a file is mapped into memory.
const MMAP_BYTES: i64 = 1 << 30;

/// How many bytes the WAL holds before it is written back.
const WAL_BYTES: i64 = 64 * 1_024 * 1_024;

/// Statements each connection keeps prepared.
const STATEMENTS_MAX: usize = 256;

/// Kibibytes of pages that a writing connection keeps.
const WRITER_CACHE_KIBIBYTES: i64 = 65_536;

/// Kibibytes of pages that the writer of the log keeps. Room for what a group changes; more would not help,
/// since SQLite looks through all it keeps at many a commit, and what it lacks is in the mapped file.
const LOG_CACHE_KIBIBYTES: i64 = 8_192;

/// Kibibytes of pages that a reading connection keeps; the mapped file serves the rest.
const READER_CACHE_KIBIBYTES: i64 = 4_096;

/// Opens a file for writing, and makes it where there is none, with pages of so many bytes.
pub(crate) fn open_writer(
    path: &Path,
    durability: Durability,
    page_bytes: i64,
    limits: &SqliteLimits,
) -> Result<Connection, Fault> {
    check_sqlite()?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).or_fault()?;
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    connection.busy_timeout(limits.busy_timeout).or_fault()?;
    connection.pragma_update(None, "page_size", page_bytes).or_fault()?;
    connection.pragma_update(None, "journal_mode", "WAL").or_fault()?;
    connection.pragma_update(None, "synchronous", synchronous).or_fault()?;
    // A file that is there already keeps the pages it was made with.
    let page_bytes = page_bytes_of(&connection)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_BYTES / page_bytes).or_fault()?;
    common(&connection, WRITER_CACHE_KIBIBYTES)?;
    Ok(connection)
}

fn page_bytes_of(connection: &Connection) -> Result<i64, Fault> {
    let bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).or_fault()?;
    Ok(bytes.max(1))
}

/// Opens the log for writing, and makes it where there is none. It may not grow beyond its limit.
pub(crate) fn open_log(
    path: &Path,
    durability: Durability,
    limits: &SqliteLimits,
) -> Result<Connection, Fault> {
    let connection = open_writer(path, durability, LOG_PAGE_BYTES, limits)?;
    connection.pragma_update(None, "cache_size", -LOG_CACHE_KIBIBYTES).or_fault()?;
    if let Some(bytes_max) = limits.log_bytes_max {
        let pages_max = i64::try_from(bytes_max).unwrap_or(i64::MAX) / page_bytes_of(&connection)?;
        // SQLite keeps what is there already: below that, nothing can be added, and nothing is lost.
        let pages_max = pages_max.clamp(1, PAGES_MAX);
        connection.pragma_update_and_check(None, "max_page_count", pages_max, |_| Ok(())).or_fault()?;
    }
    Ok(connection)
}

/// Opens a file for reading only. SQLite itself refuses every write through it, twice over.
pub(crate) fn open_reader(path: &Path, limits: &SqliteLimits) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).or_fault()?;
    connection.busy_timeout(limits.busy_timeout).or_fault()?;
    common(&connection, READER_CACHE_KIBIBYTES)?;
    connection.pragma_update(None, "query_only", true).or_fault()?;
    Ok(connection)
}

/// Refuses a file of another program, and one that newer code has written. Answers the version of the schema.
pub(crate) fn schema_version(
    connection: &Connection,
    application: i32,
    version_max: i32,
) -> Result<i32, Fault> {
    let read =
        |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).or_fault();
    let (id, version) = (read("application_id")?, read("user_version")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).or_fault()?;
    if id != application && (id != 0 || version != 0 || tables != 0) {
        let message = "the file is a database of another program; choose another directory";
        return Err(Fault::permanent(Code::StoreVersion, message));
    }
    if version > version_max {
        let message = format!(
            "the store has schema {version} and this program knows {version_max}; run the newer program"
        );
        return Err(Fault::permanent(Code::StoreVersion, message));
    }
    Ok(version)
}

fn common(connection: &Connection, cache_kibibytes: i64) -> Result<(), Fault> {
    connection.pragma_update(None, "mmap_size", MMAP_BYTES).or_fault()?;
    connection.pragma_update(None, "cache_size", -cache_kibibytes).or_fault()?;
    connection.pragma_update(None, "temp_store", "MEMORY").or_fault()?;
    connection.pragma_update(None, "trusted_schema", false).or_fault()?;
    // Without this guarantee the planner looks at bound values, and a lookup beside a partial index is
    // prepared again for every new value: ten times the cost of running it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).or_fault()?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

fn check_sqlite() -> Result<(), Fault> {
    if rusqlite::version_number() >= SQLITE_VERSION_MIN {
        return Ok(());
    }
    let message =
        format!("SQLite {} is too old, 3.51.3 is the oldest that is safe here", rusqlite::version());
    Err(Fault::permanent(Code::StoreVersion, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ErrorCode;

    #[test]
    fn sqlite_itself_refuses_to_write_through_a_reader() {
        let path = std::env::temp_dir().join(format!("diptych-reader-{}.db", std::process::id()));
        let limits = SqliteLimits::default();
        let writer = open_writer(&path, Durability::Full, LOG_PAGE_BYTES, &limits).unwrap();
        writer.execute_batch("CREATE TABLE IF NOT EXISTS held (number INTEGER) STRICT").unwrap();
        let reader = open_reader(&path, &limits).unwrap();
        // Switching the pragma off does not help: the file itself is opened for reading.
        for statement in ["INSERT INTO held VALUES (1)", "DROP TABLE held"] {
            let refused = reader.execute(statement, []).unwrap_err();
            assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::ReadOnly), "{statement}");
            reader.pragma_update(None, "query_only", false).unwrap();
        }
        drop((reader, writer));
        let _ = std::fs::remove_file(path);
    }
}
