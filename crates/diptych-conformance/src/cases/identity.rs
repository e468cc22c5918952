//! Whose data it is: nothing crosses from one tenant to another.

use crate::drive::{
    self, EVERYTHING, MAIN, append, build, command_id, header, opened, query, record, stream, tenant,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, Balance, group};
use crate::{Harness, Outcome};
use diptych_command::{CommitError, Outcome as Ledger};
use diptych_core::{Portable, Version};
use diptych_query::RowRef;

/// One key in two tenants is two streams.
pub(crate) async fn one_key_in_two_tenants_is_two_streams(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let main = stream::<AccountEvent>(MAIN, "a")?;
    let other = stream::<AccountEvent>("other", "a")?;
    record(&stores, &main, &[opened("ann"), opened("again")]).await?;
    let first = record(&stores, &other, &[opened("bob")]).await?;
    ensure_eq!(first.record.version, Version(1), "the version of the other tenant's stream");
    ensure_eq!(*first.events[0].stream, other, "the stream of the recorded fact");
    let seen = stores.feed.stream(&main, Version::NONE, EVERYTHING).await?;
    ensure_eq!(seen.len(), 2, "the facts in the one tenant's stream");
    let seen = stores.events.load(&other, Version::NONE, EVERYTHING).await?;
    ensure_eq!(seen.len(), 1, "the events of the other tenant's stream");
    ensure!(seen[0].payload.contains("bob"), "the other tenant's stream holds {}", &*seen[0].payload);
    Ok(())
}

/// A command id belongs to its tenant: the other one may use it for something else.
pub(crate) async fn a_command_id_belongs_to_its_tenant(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let main = stream::<AccountEvent>(MAIN, "a")?;
    let other = stream::<AccountEvent>("other", "b")?;
    stores.events.commit(append(&stores, &main, "one", 0, &[opened("ann")])?).await?;
    let id = command_id("one")?;
    let unseen = stores.events.recorded(&tenant("other")?, &id).await?;
    ensure_eq!(unseen, None, "what the other tenant sees under the id");
    let theirs = stores.events.commit(append(&stores, &other, "one", 0, &[opened("bob")])?).await?;
    ensure!(!theirs.replayed, "the other tenant's command was answered with the first one's outcome");
    let ours = stores.events.recorded(&tenant(MAIN)?, &id).await?;
    let theirs = stores.events.recorded(&tenant("other")?, &id).await?;
    let streams = [ours, theirs].map(|record| record.map(|record| record.header.stream));
    ensure_eq!(streams, [Some(main), Some(other)], "the streams under the id, by tenant");
    Ok(())
}

/// Rows of one key in two tenants are two rows, and neither tenant's queries see the other's.
pub(crate) async fn rows_never_cross_tenants(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for (tenant, key, owner) in [(MAIN, "a", "ann"), ("other", "a", "bob"), ("other", "b", "eve")] {
        record(&stores, &stream::<AccountEvent>(tenant, key)?, &[opened(owner)]).await?;
    }
    let balance = group::<Balance>(harness);
    build(&stores, &balance, EVERYTHING).await?;
    let schema = balance.models()[0].schema();
    for (name, owners) in [(MAIN, vec!["ann"]), ("other", vec!["bob", "eve"]), ("nobody", vec![])] {
        let mut find = query(None, Vec::new())?;
        find.tenant = tenant(name)?;
        let rows = drive::find(&stores, &balance, &find).await?;
        let found: Vec<_> = rows.iter().map(|row| row[1].clone()).collect();
        let owners: Vec<_> = owners.into_iter().map(|owner| owner.to_owned().to_value()).collect();
        ensure_eq!(found, owners, "the owners that `{name}` finds");
        let key = vec!["b".to_owned().to_value()];
        let row = RowRef { tenant: tenant(name)?, key };
        let got = stores.models.get(&balance, schema, &row).await?;
        ensure_eq!(got.rows.len(), usize::from(name == "other"), "rows `b` that `{name}` gets");
    }
    let scanned = drive::rows(&stores, &balance).await?;
    let keys: Vec<_> = scanned.iter().map(|row| row.row.tenant.as_str().to_owned()).collect();
    ensure_eq!(keys, [MAIN, "other", "other"], "the tenants of a scan, in order");
    drive::digest(&stores, &balance).await?;
    Ok(())
}

/// Keys and ids hold any text of up to 200 bytes and come back as they were.
pub(crate) async fn names_are_any_text(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let longest = "ä".repeat(100);
    for key in [longest.as_str(), " ", "%", "_", "a/b-c", "'; drop table", "\u{1F600}", "A", "a", "\n"] {
        let stream = stream::<AccountEvent>(key, key)?;
        let header = header(&stores, &stream, key, "Record")?;
        let mut commit = append(&stores, &stream, "unused", 0, &[opened("x")])?;
        commit.header = header.clone();
        let done = stores.events.commit(commit.clone()).await?;
        ensure!(!done.replayed, "key {key:?} was taken for another");
        let read = stores.events.load(&stream, Version::NONE, EVERYTHING).await?;
        ensure_eq!(read, done.events, "the events of stream {key:?}");
        let found = stores.events.recorded(&stream.tenant, &header.id).await?;
        ensure_eq!(found, Some(done.record), "the ledger's row of {key:?}");
        commit.header.hash.0[0] ^= 1;
        let reused = stores.events.commit(commit).await;
        ensure!(matches!(reused, Err(CommitError::KeyReused)), "{key:?} again: {reused:?}");
    }
    let total = stores.feed.head().await?.position();
    ensure_eq!(total.0, 10, "the head after ten keys");
    let last = stores.events.recorded(&tenant("a")?, &command_id("a")?).await?;
    ensure!(matches!(last.map(|row| row.outcome), Some(Ledger::Accepted { .. })), "`a` is not accepted");
    Ok(())
}
