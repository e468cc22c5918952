//! What a reader of exports takes and what it refuses, line by line.

use super::*;
use diptych_command::RestoreSource;
use diptych_core::{EventName, StreamId, StreamRef, Tenant, Token, Version};
use std::sync::Arc;

fn fact(key: &str, version: u64, position: u64) -> RawFact {
    let stream =
        StreamRef { tenant: Tenant::new("main").unwrap(), stream: StreamId::new("order", key).unwrap() };
    RawFact {
        position: Position(position),
        stream: Arc::new(stream),
        version: Version(version),
        event: EventName { name: "Placed".into(), schema_version: 2 },
        recorded_at: Timestamp::from_stored(1_000_000 + i64::try_from(position).unwrap()),
        occurred_at: Timestamp::from_stored(-7),
        metadata: "{\"actor\": \"ann\"}".into(),
        payload: "{ \"a\":\t1.50,\n \"ä\":\"\\u00e4\" }".into(),
    }
}

/// The lines of an export of these facts.
fn export_of(facts: &[RawFact]) -> Vec<String> {
    let token: Token = "1.0.00c0ffee".parse().unwrap();
    let lineage = Lineage {
        diptych_export: EXPORT_FORMAT,
        service: "shop".to_owned(),
        log: token,
        epoch: token.epoch,
        from: Position::START,
        through: token,
        filter: ExportFilter::default(),
        exported_at: Timestamp::EPOCH,
    };
    let mut checksum = Checksum::default();
    let mut lines = vec![serde_json::to_string(&lineage).unwrap()];
    for fact in facts {
        let line = EventLine::of(fact);
        checksum.add(&line);
        lines.push(serde_json::to_string(&line).unwrap());
    }
    lines.push(serde_json::to_string(&EndLine { end: checksum.end() }).unwrap());
    lines
}

/// Everything that a file gives, or why it gives nothing.
fn taken(lines: &[String]) -> Result<Vec<diptych_command::RestoredEvent>, String> {
    let text = lines.join("\n");
    let mut reader = ExportReader::new(text.as_bytes(), "file").map_err(|fault| fault.to_string())?;
    let mut all = Vec::new();
    loop {
        let block = reader.next(2).map_err(|fault| fault.to_string())?;
        if block.is_empty() {
            return Ok(all);
        }
        all.extend(block);
    }
}

#[track_caller]
fn refused(lines: &[String], reason: &str) {
    let error = taken(lines).unwrap_err();
    assert!(error.contains(reason) && error.contains("DP0050"), "`{reason}` is not in `{error}`");
}

#[test]
fn every_byte_comes_back() {
    let facts = [fact("1", 1, 1), fact("2", 1, 2), fact("1", 2, 3)];
    let events = taken(&export_of(&facts)).unwrap();
    assert_eq!(events.len(), 3);
    for (event, fact) in events.iter().zip(&facts) {
        assert_eq!((&event.stream, event.version), (&*fact.stream, fact.version));
        assert_eq!((&*event.payload, &*event.metadata), (&*fact.payload, &*fact.metadata));
        assert_eq!((event.recorded_at, event.occurred_at), (fact.recorded_at, fact.occurred_at));
    }
    assert_eq!(taken(&export_of(&[])).unwrap(), []);
}

#[test]
fn the_checksum_does_not_depend_on_positions() {
    let last = |position| export_of(&[fact("1", 1, 1), RawFact { position, ..fact("1", 2, 5) }]).pop();
    assert_eq!(last(Position(5)), last(Position(6)));
    let other = export_of(&[fact("1", 1, 1), RawFact { payload: "{}".into(), ..fact("1", 2, 5) }]).pop();
    assert_ne!(last(Position(5)), other);
}

#[test]
fn what_is_not_whole_is_refused() {
    let whole = export_of(&[fact("1", 1, 1), fact("1", 2, 2), fact("1", 3, 3)]);
    refused(&whole[..whole.len() - 1], "cut off");
    refused(&whole[..1], "cut off");
    refused(&[], "the file is empty");
    refused(&["{}".to_owned()], "not the beginning of an export");
    let mut edited = whole.clone();
    edited[2] = edited[2].replace("1.50", "2.50");
    refused(&edited, "do not have the checksum");
    let mut fewer = whole.clone();
    fewer.remove(3);
    refused(&fewer, "tells of 3 events and holds 2");
    let mut gap = whole.clone();
    gap.remove(2);
    refused(&gap, "stream `order-1` has version 3 where 2 must stand");
    let mut longer = whole.clone();
    longer.push(whole[1].clone());
    refused(&longer, "something follows the last line");
    let mut newer = whole.clone();
    newer[0] = newer[0].replace("\"diptychExport\":1", "\"diptychExport\":9");
    refused(&newer, "has form 9");
    refused(&export_of(&[fact("1", 2, 1)]), "version 2 where 1 must stand");
    refused(&export_of(&[fact("1", 1, 9), fact("2", 1, 3)]), "recorded before the last");
}
