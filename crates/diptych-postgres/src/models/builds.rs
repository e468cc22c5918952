//! The registry of builds, and records of the hinge.

use super::advance::CLEAR_DIGESTS;
use super::attach::{Attached, table_name};
use super::checkpoint::Place;
use super::sql::Named;
use super::{parked, records, registry, transit};
use crate::PostgresStore;
use crate::fault::{DEPENDENT_OBJECTS, OrFault, storage, unsigned};
use crate::shared::Shared;
use diptych_core::{BoxFuture, Code, Fault};
use diptych_query::{
    Build, BuildId, BuildMove, Group, Order, Record, RecordOf, Registry, Stage, StageMove, TransitError,
};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, error::SqlState};

/// One that is removed meanwhile takes no bytes.
const SELECT_BYTES: &str = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class \
    WHERE relnamespace = $1::text::regnamespace AND relname = ANY($2)";
/// Views for people that show rows of some tables.
const SELECT_VIEWS: &str = "SELECT DISTINCT view.relname::text \
    FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid \
    JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class \
    JOIN pg_class AS held ON held.oid = pg_depend.refobjid \
    WHERE pg_depend.classid = 'pg_rewrite'::regclass AND pg_depend.refclassid = 'pg_class'::regclass \
    AND view.relkind = 'v' AND view.relnamespace = $1::text::regnamespace AND view.relname = ANY($3) \
    AND held.relnamespace = view.relnamespace AND held.relname = ANY($2)";
const DELETE_WORKERS: &str = "DELETE FROM diptych.worker \
    WHERE group_name = $1 AND revision = $2 AND generation = $3";

impl Registry for PostgresStore {
    fn builds<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<Vec<Build>, Fault>> {
        Box::pin(
            async move { registry::builds(&*self.shared.reader().await?, &self.shared.schema, group).await },
        )
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, Fault>> {
        Box::pin(async move { registry::groups(&*self.shared.reader().await?, &self.shared.schema).await })
    }

    fn begin_build<'a>(&'a self, group: &'a Group, order: &'a Order) -> BoxFuture<'a, Result<Build, Fault>> {
        Box::pin(async move {
            let begun = begin_build(&self.shared, group, order, None).await?;
            begun.ok_or_else(|| Fault::permanent(Code::Internal, "a build without a record was not begun"))
        })
    }

    fn begin_recorded<'a>(
        &'a self,
        group: &'a Group,
        order: &'a Order,
        kind: &'a str,
        body: RecordOf,
    ) -> BoxFuture<'a, Result<Option<Build>, Fault>> {
        Box::pin(begin_build(&self.shared, group, order, Some((kind, body))))
    }

    fn transit<'a>(
        &'a self,
        group: &'a Group,
        moves: &'a [BuildMove],
        order: &'a Order,
    ) -> BoxFuture<'a, Result<Vec<Build>, TransitError>> {
        Box::pin(transit::transit(&self.shared, group, moves, order))
    }

    fn drop_build<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(drop_build(&self.shared, group, build))
    }

    fn build_bytes<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(async move {
            let reader = self.shared.reader().await?;
            let builds = registry::builds(&reader, &self.shared.schema, group.name()).await?;
            let tables = tables_of(&self.shared, group, &builds, build);
            let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
            let asked: [_; 2] =
                [(&self.shared.schema.quoted() as _, Type::TEXT), (&names as _, Type::TEXT_ARRAY)];
            unsigned(&reader.query_typed_one(SELECT_BYTES, &asked).await.or_fault()?, 0)
        })
    }

    fn stage_moves<'a>(
        &'a self,
        group: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<StageMove>, Fault>> {
        Box::pin(async move {
            registry::moves(&*self.shared.reader().await?, &self.shared.schema, group, most).await
        })
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.shared.find_all_own())
    }

    fn record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        Box::pin(async move {
            records::record(&*self.shared.reader().await?, &self.shared.schema, kind, name).await
        })
    }

    fn records<'a>(&'a self, kind: &'a str, most: usize) -> BoxFuture<'a, Result<Vec<Record>, Fault>> {
        Box::pin(async move {
            records::records(&*self.shared.reader().await?, &self.shared.schema, kind, most).await
        })
    }

    fn write_record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
        seen: u64,
        body: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, Fault>> {
        Box::pin(async move {
            let (writer, now) = (self.shared.models().await?, self.shared.clock.now());
            records::write(&writer, &self.shared.schema, (kind, name), seen, body, now).await
        })
    }

    fn forget_record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            records::forget(&*self.shared.models().await?, &self.shared.schema, kind, name).await
        })
    }
}

/// Makes the tables of a build beside those there are, with the first record of a kind about its group. Does
/// nothing where there is such a record.
async fn begin_build(
    shared: &Shared,
    group: &Group,
    order: &Order,
    recorded: Option<(&str, RecordOf)>,
) -> Result<Option<Build>, Fault> {
    let (schema, moment) = (&shared.schema, (shared.start(), shared.clock.now()));
    let mut writer = shared.models().await?;
    let transaction = writer.transaction().await.or_fault()?;
    let client = transaction.client();
    client.batch_execute(&shared.limits.settings()).await.or_fault()?;
    registry::lock(client, schema).await?;
    if let Some((kind, _)) = &recorded
        && records::record(client, schema, kind, group.name()).await?.is_some()
    {
        return Ok(None);
    }
    let mut builds = registry::builds(client, schema, group.name()).await?;
    let (build, attached) = Attached::begin(client, schema, group, &builds, order, moment).await?;
    if let Some((kind, body)) = recorded {
        let (about, body) = ((kind, group.name()), body(build.id)?);
        if records::write(client, schema, about, 0, &body, moment.1).await?.is_none() {
            return Ok(None);
        }
    }
    transaction.commit().await.or_fault()?;
    shared.builds.keep(attached.into());
    builds.push(build.clone());
    shared.builds.learn(group.name(), &builds);
    Ok(Some(build))
}

/// Removes everything of a retired build, in one transaction. Readers of it are waited for, so long as any
/// statement waits for a lock.
async fn drop_build(shared: &Shared, group: &Group, build: BuildId) -> Result<(), Fault> {
    let schema = &shared.schema;
    let mut writer = shared.models().await?;
    let transaction = writer.transaction().await.or_fault()?;
    let client = transaction.client();
    client.batch_execute(&shared.limits.settings()).await.or_fault()?;
    registry::lock(client, schema).await?;
    let builds = registry::builds(client, schema, group.name()).await?;
    let Some(held) = builds.iter().find(|held| held.id == build) else { return Ok(()) };
    if held.stage != Stage::Retired {
        let message = format!("build {build} of `{}` is {}, not retired", group.name(), held.stage);
        return Err(Fault::permanent(Code::MoveRefused, message));
    }
    let (place, tables) = (Place::at(group.name(), build), tables_of(shared, group, &builds, build));
    let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
    // As folds do: the checkpoints first, then what they cover.
    place.remove(client, schema).await?;
    parked::clear(client, schema, place).await?;
    client.execute_typed(&schema.sql(CLEAR_DIGESTS), &[(&names, Type::TEXT_ARRAY)]).await.or_fault()?;
    client.execute_typed(&schema.sql(DELETE_WORKERS), &place.build()).await.or_fault()?;
    drop_tables(client, shared, group, &tables).await?;
    transaction.commit().await.or_fault()?;
    shared.builds.forget(group.name(), build);
    Ok(())
}

/// Removes tables, with the views for people where they still show them. What somebody else has made of them
/// is not removed.
async fn drop_tables(client: &Client, shared: &Shared, group: &Group, tables: &[Named]) -> Result<(), Fault> {
    let schema = &shared.schema;
    let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
    let models = group.models().iter().map(|model| Named::of_view(schema, model.schema().name));
    let models: Vec<_> = models.map(|view| view.name).collect();
    let asked: [_; 3] = [
        (&schema.quoted() as _, Type::TEXT),
        (&names as _, Type::TEXT_ARRAY),
        (&models as _, Type::TEXT_ARRAY),
    ];
    let views = client.query_typed(SELECT_VIEWS, &asked).await.or_fault()?;
    let mut statements = Vec::new();
    for view in &views {
        let name: &str = view.try_get(0).or_fault()?;
        statements.push(format!("DROP VIEW {}", Named::new(schema, name).sql()));
    }
    statements.extend(tables.iter().map(|table| format!("DROP TABLE IF EXISTS {}", table.sql())));
    client.batch_execute(&statements.join("; ")).await.map_err(|error| {
        if error.code().map(SqlState::code) != Some(DEPENDENT_OBJECTS) {
            return storage(error);
        }
        let message = format!("something of somebody else's is made of the tables of `{}`", group.name());
        Fault::permanent(Code::MoveRefused, message).because(error)
    })
}

/// The tables of a build and those of its tombstones: as they were declared when it was begun, or as they are
/// now where nobody wrote that down.
fn tables_of(shared: &Shared, group: &Group, builds: &[Build], build: BuildId) -> Vec<Named> {
    let declared = builds.iter().find(|held| held.id == build).map_or("", |held| &*held.declared);
    let declared: Vec<serde_json::Value> = serde_json::from_str(declared).unwrap_or_default();
    let mut models: Vec<&str> = declared.iter().filter_map(|table| table["name"].as_str()).collect();
    if models.is_empty() {
        models = group.models().iter().map(|model| model.schema().name).collect();
    }
    let named = models.into_iter().map(|model| table_name(&shared.schema, model, build));
    named.flat_map(|table| [table.tombstones(), table]).collect()
}
