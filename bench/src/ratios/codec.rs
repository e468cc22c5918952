//! Ratio 9: typed decode through the upcaster path, newest versions, against serde straight into equal
//! structs.

use super::say;
use crate::Outcome;
use crate::domain;
use crate::measure::{Line, Sample, Target};
use crate::options::Options;
use crate::reference::events::AccountEvent;
use crate::workload::Workload;
use diptych_core::{Event, NewEvent};
use std::hint::black_box;
use std::time::{Duration, Instant};

const PAYLOADS: usize = 4_096;

/// Decodes the same payloads on both sides, in turns.
pub(crate) fn measure(options: &Options) -> Outcome<Line> {
    say("9: decoding");
    let mut line = Line::new(
        "9",
        "typed decode, newest version / serde_json straight",
        "events/s",
        Target::AtLeast(0.95),
    );
    let mut workload = Workload::new(PAYLOADS, 9);
    let mut payloads = Vec::with_capacity(PAYLOADS);
    for number in 0..PAYLOADS {
        let action = if number % 16 == 0 { workload.opening() } else { workload.next() };
        let kind = AccountEvent::of(action.clone()).kind();
        payloads.push((NewEvent::from_event(&domain::event(action))?, kind));
    }
    let turns = 20;
    let turn = options.slice / turns;
    for _ in 0..options.runs.max(3) {
        let (mut product, mut baseline) = (0.0, 0.0);
        // Many short turns, so that whatever else the machine does falls on both sides.
        for _ in 0..turns {
            product += rate(&payloads, turn, |event, _| {
                let decoded = domain::AccountEvent::decode(event.name, event.schema_version, &event.payload)?;
                black_box(&decoded);
                Ok(())
            })?;
            baseline += rate(&payloads, turn, |event, kind| {
                let decoded = AccountEvent::decode_text(kind, &event.payload)?;
                black_box(&decoded);
                Ok(())
            })?;
        }
        line.samples.push(Sample::of(product / f64::from(turns), baseline / f64::from(turns)));
    }
    Ok(line)
}

fn rate(
    payloads: &[(NewEvent, i64)],
    time: Duration,
    mut decode: impl FnMut(&NewEvent, i64) -> Outcome<()>,
) -> Outcome<f64> {
    let started = Instant::now();
    let mut decoded = 0;
    while started.elapsed() < time {
        for (event, kind) in payloads {
            decode(event, *kind)?;
        }
        decoded += payloads.len();
    }
    Ok(decoded as f64 / started.elapsed().as_secs_f64())
}
