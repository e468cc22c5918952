//! Stored states outside of commands: read for a decision, walked, written and removed by an operator.

mod view;

use crate::PostgresStore;
use crate::fault::{OrFault, unsigned};
use crate::log::Parameter;
use diptych_command::{Shape, StateColumn, StateRow, StateStore, StreamStanding};
use diptych_core::{BoxFuture, Category, Fault, StreamId, StreamKey, StreamRef, Tenant, Version};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

const SELECT_STATE: &str = "SELECT version, shape, state FROM diptych.state WHERE stream = (\
    SELECT stream.id FROM diptych.stream \
        JOIN diptych.tenant ON tenant.id = stream.tenant \
        JOIN diptych.category ON category.id = stream.category \
        WHERE tenant.name = $1 AND category.name = $2 AND stream.key = $3)";
/// A stream that only commands without events have named has no version. The order is that of the index.
const SELECT_STREAMS: &str = "SELECT tenant.name, stream.key, last.version, state.version, state.shape \
    FROM diptych.stream JOIN diptych.tenant ON tenant.id = stream.tenant \
    CROSS JOIN LATERAL (SELECT max(event.version) AS version FROM diptych.event \
        WHERE event.stream = stream.id) AS last \
    LEFT JOIN diptych.state ON state.stream = stream.id \
    WHERE stream.category = (SELECT id FROM diptych.category WHERE name = $1) \
        AND (stream.key, stream.tenant) > ($2, coalesce((SELECT id FROM diptych.tenant WHERE name = $3), 0)) \
        AND last.version IS NOT NULL \
    ORDER BY stream.key, stream.tenant LIMIT $4";
const WRITE_STATE: &str = "INSERT INTO diptych.state (stream, category, version, shape, state) \
    SELECT stream.id, stream.category, $4, $5, $6 FROM diptych.stream \
        JOIN diptych.tenant ON tenant.id = stream.tenant \
        JOIN diptych.category ON category.id = stream.category \
        WHERE tenant.name = $1 AND category.name = $2 AND stream.key = $3 \
            AND EXISTS (SELECT 1 FROM diptych.event WHERE event.stream = stream.id) \
    ON CONFLICT (stream) DO UPDATE SET version = excluded.version, shape = excluded.shape, \
        state = excluded.state WHERE state.version <= excluded.version";
/// Under the lock of the head: a group of commands writes several states, and would wait for one that is
/// being removed while whoever removes it waits for another.
const LOCK_HEAD: &str = "SELECT 1 FROM diptych.head FOR UPDATE";
const DELETE_STATES: &str = "DELETE FROM diptych.state WHERE stream IN (SELECT stream FROM diptych.state \
    WHERE category = (SELECT id FROM diptych.category WHERE name = $1) LIMIT $2)";

impl StateStore for PostgresStore {
    fn load_state<'a>(&'a self, stream: &'a StreamRef) -> BoxFuture<'a, Result<Option<StateRow>, Fault>> {
        Box::pin(async move {
            let reader = self.shared.reader().await?;
            let names = names(stream);
            let row =
                reader.query_typed_opt(&self.shared.sql(SELECT_STATE), &typed(&names)).await.or_fault()?;
            row.map(|row| {
                let state = row.try_get(2).or_fault()?;
                Ok(StateRow {
                    version: Version(unsigned(&row, 0)?),
                    shape: shape(row.try_get(1).or_fault()?),
                    state,
                })
            })
            .transpose()
        })
    }

    fn streams_of<'a>(
        &'a self,
        category: &'a str,
        after: Option<&'a StreamRef>,
        streams_max: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamStanding>, Fault>> {
        Box::pin(async move {
            let key = after.map_or("", |after| after.stream.key.as_str());
            let tenant = after.map_or("", |after| after.tenant.as_str());
            let limit = i64::try_from(streams_max).unwrap_or(i64::MAX);
            let asked: [Parameter<'_>; 4] =
                [(&category, Type::TEXT), (&key, Type::TEXT), (&tenant, Type::TEXT), (&limit, Type::INT8)];
            let reader = self.shared.reader().await?;
            let rows = reader.query_typed(&self.shared.sql(SELECT_STREAMS), &asked).await.or_fault()?;
            rows.iter().map(|row| standing(row, category)).collect()
        })
    }

    fn write_state<'a>(&'a self, stream: &'a StreamRef, row: StateRow) -> BoxFuture<'a, Result<bool, Fault>> {
        Box::pin(async move {
            let (version, shape) = (row.version.0.cast_signed(), row.shape.0.cast_signed());
            let names = names(stream);
            let mut asked = typed(&names);
            asked.extend([
                (&version as _, Type::INT8),
                (&shape as _, Type::INT8),
                (&row.state as _, Type::TEXT),
            ]);
            let connection = self.shared.models().await?;
            let written = connection.execute_typed(&self.shared.sql(WRITE_STATE), &asked).await.or_fault()?;
            Ok(written == 1)
        })
    }

    fn drop_states<'a>(&'a self, category: &'a str, rows_max: usize) -> BoxFuture<'a, Result<usize, Fault>> {
        Box::pin(async move {
            let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
            let asked: [Parameter<'_>; 2] = [(&category, Type::TEXT), (&limit, Type::INT8)];
            let mut connection = self.shared.models().await?;
            let transaction = connection.transaction().await.or_fault()?;
            transaction.batch_execute(&self.shared.limits.settings()).await.or_fault()?;
            transaction.batch_execute(&self.shared.sql(LOCK_HEAD)).await.or_fault()?;
            let dropped =
                transaction.execute_typed(&self.shared.sql(DELETE_STATES), &asked).await.or_fault()?;
            transaction.commit().await.or_fault()?;
            Ok(usize::try_from(dropped).unwrap_or(rows_max))
        })
    }

    fn show_states<'a>(
        &'a self,
        category: &'a str,
        columns: &'static [StateColumn],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(view::show(&self.shared, category, columns))
    }

    fn hide_states<'a>(&'a self, category: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(view::hide(&self.shared, category))
    }
}

fn names(stream: &StreamRef) -> [&str; 3] {
    let StreamRef { tenant, stream } = stream;
    [tenant.as_str(), stream.category.as_str(), stream.key.as_str()]
}

fn typed<'a>(names: &'a [&'a str; 3]) -> Vec<Parameter<'a>> {
    names.iter().map(|name| (name as _, Type::TEXT)).collect()
}

fn shape(stored: i64) -> Shape {
    Shape(stored.cast_unsigned())
}

fn standing(row: &Row, category: &str) -> Result<StreamStanding, Fault> {
    let text = |column: usize| row.try_get::<_, &str>(column).or_fault();
    let number = |column: usize| row.try_get::<_, Option<i64>>(column).or_fault();
    let stream =
        StreamId { category: Category::from_stored(category), key: StreamKey::from_stored(text(1)?) };
    let held = number(3)?.zip(number(4)?);
    Ok(StreamStanding {
        stream: StreamRef { tenant: Tenant::from_stored(text(0)?), stream },
        version: Version(unsigned(row, 2)?),
        row: held.map(|(at, held)| (Version(at.cast_unsigned()), shape(held))),
    })
}
