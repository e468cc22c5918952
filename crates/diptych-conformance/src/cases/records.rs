//! Records of the hinge: written by whoever has seen the last version.

use crate::failure::{ensure, ensure_eq};
use crate::{Failure, Harness, Outcome};
use std::sync::Arc;
use std::time::Duration;

/// A record is written over the version that was seen, or not at all.
pub(crate) async fn a_record_is_compared_and_set(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let registry = &stores.registry;
    ensure_eq!(registry.record("rebuild", "a").await?, None, "a record that nobody wrote");
    ensure_eq!(registry.write_record("rebuild", "a", 1, "{}").await?, None, "a write over nothing");
    ensure_eq!(registry.write_record("rebuild", "a", 0, r#"{"n":1}"#).await?, Some(1), "the first write");
    ensure_eq!(registry.write_record("rebuild", "a", 0, r#"{"n":9}"#).await?, None, "a first write again");
    ensure_eq!(registry.write_record("rebuild", "a", 1, r#"{"n":2}"#).await?, Some(2), "the second write");
    let held = registry.record("rebuild", "a").await?;
    let held = held.ok_or_else(|| Failure::new("a record is not there"))?;
    ensure_eq!((held.version, held.body.as_str()), (2, r#"{"n":2}"#), "the record, byte for byte");
    ensure_eq!((held.kind.as_str(), held.name.as_str()), ("rebuild", "a"), "what the record is about");
    ensure_eq!(registry.record("incident", "a").await?, None, "a record of another kind");
    registry.forget_record("rebuild", "a").await?;
    ensure_eq!(registry.record("rebuild", "a").await?, None, "a record that was forgotten");
    registry.forget_record("rebuild", "a").await?;
    ensure_eq!(
        registry.write_record("rebuild", "a", 0, "{}").await?,
        Some(1),
        "a write after it was forgotten"
    );
    Ok(())
}

/// Records of a kind come the last written first.
pub(crate) async fn the_last_written_comes_first(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for name in ["a", "b", "c"] {
        stores.registry.write_record("incident", name, 0, "{}").await?;
        stores.clock.advance(Duration::from_secs(1));
    }
    stores.registry.write_record("patrol", "x", 0, "{}").await?;
    stores.registry.write_record("incident", "a", 1, r#"{"again":true}"#).await?;
    let names = |most| {
        let registry = &stores.registry;
        async move {
            let records = registry.records("incident", most).await?;
            Ok::<Vec<String>, Failure>(records.into_iter().map(|record| record.name).collect())
        }
    };
    ensure_eq!(names(10).await?, ["a", "c", "b"].map(str::to_owned).to_vec(), "the records of a kind");
    ensure_eq!(names(2).await?, ["a", "c"].map(str::to_owned).to_vec(), "the last two");
    Ok(())
}

/// Of writers who have seen the same version one is first, from any process.
pub(crate) async fn one_writer_is_first(harness: &dyn Harness) -> Outcome {
    const WRITERS: usize = 8;
    let (ours, theirs) = (harness.open(Vec::new()).await?, harness.open(Vec::new()).await?);
    for seen in 0..5_u64 {
        let writers = (0..WRITERS).map(|writer| {
            let stores = if writer % 2 == 0 { &ours } else { &theirs };
            let registry = Arc::clone(&stores.registry);
            tokio::spawn(async move {
                registry.write_record("rebuild", "a", seen, &format!("{{\"by\":{writer}}}")).await
            })
        });
        let writers: Vec<_> = writers.collect();
        let mut first = 0;
        for writer in writers {
            let wrote = writer.await.map_err(|error| Failure::new(error.to_string()))??;
            first += usize::from(wrote == Some(seen + 1));
            ensure!(wrote.is_none() || wrote == Some(seen + 1), "a write answered {wrote:?}");
        }
        ensure_eq!(first, 1, "writers that were first over version {seen}");
        let late = theirs.registry.write_record("rebuild", "a", seen, "{\"by\":\"late\"}").await?;
        ensure_eq!(late, None, "what a writer is told who comes after the others with version {seen}");
    }
    harness.stop(theirs).await?;
    Ok(())
}
