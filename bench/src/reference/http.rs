//! The reference's HTTP interface: one point query in place on a read-only connection, and the same without
//! it.

use super::rebuild::{Shape, model_path};
use crate::Outcome;
use axum::Router;
use axum::extract::{Path as Segment, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

const SELECT_ROW: &str = "SELECT owner, name, balance, entries, updated_at, guard, \
        (SELECT position FROM checkpoint) \
    FROM account WHERE account = ?1";

const CONNECTIONS: usize = 4;

/// Idle connections.
type Pool = Arc<Mutex<Vec<Connection>>>;

/// `GET /account-summary/{key}` from the reference's read model.
pub(crate) fn with_query(directory: &Path) -> Outcome<Router> {
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(model_path(directory, Shape::One), flags)?;
        connection.pragma_update(None, "mmap_size", 1_i64 << 30)?;
        idle.push(connection);
    }
    let pool: Pool = Arc::new(Mutex::new(idle));
    Ok(Router::new().route("/account-summary/{key}", get(row)).with_state(pool))
}

/// The same address with an answer that is always the same bytes under the same headers.
pub(crate) fn without_query(headers: HeaderMap, body: Vec<u8>) -> Router {
    let body: Arc<[u8]> = body.into();
    let constant = move |Segment(_): Segment<String>| {
        let (headers, body) = (headers.clone(), body.to_vec());
        async move { (headers, body) }
    };
    Router::new().route("/account-summary/{key}", get(constant))
}

async fn row(State(pool): State<Pool>, Segment(key): Segment<String>) -> impl IntoResponse {
    let taken = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let Some(connection) = taken else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let found = read(&connection, &key);
    pool.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    match found {
        Ok(Some(body)) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn read(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let mut select = connection.prepare_cached(SELECT_ROW)?;
    let found = select.query_row([key], |row| {
        let body = serde_json::json!({
            "account": key,
            "owner": row.get::<_, String>(0)?,
            "name": row.get::<_, String>(1)?,
            "balance": row.get::<_, i64>(2)?,
            "entries": row.get::<_, i64>(3)?,
            "updatedAt": row.get::<_, i64>(4)?,
            "freshness": { "guard": row.get::<_, i64>(5)?, "position": row.get::<_, i64>(6)? },
        });
        Ok(body.to_string())
    });
    found.optional()
}
