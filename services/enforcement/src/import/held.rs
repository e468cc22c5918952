//! What the log holds already of the fines of a file: how far each has come, and what that adds up to.

use super::error::BadRow;
use super::file::FineCase;
use super::row::Step;
use super::tally::{Tally, money, money_of};
use crate::facts::{Balance, FineEvent, FineStep};
use diptych::VerbError;
use diptych::core::{Event, RawFact, Tenant};
use diptych::prelude::*;
use diptych::query::{Categories, Feed};
use std::collections::HashMap;

/// Positions of the log that are read at once.
const POSITIONS_MAX: usize = 10_000;

/// What the log holds of the fines of a file.
#[derive(Debug)]
pub(super) struct Held {
    /// How many events each fine has, in the order of the file; also those that no row tells of.
    pub(super) versions: Vec<u64>,
    /// What the events that rows tell of add up to: as many of each fine as it has rows.
    pub(super) tally: Tally,
    /// The rows in whose place the log holds something else.
    pub(super) differing: Vec<BadRow>,
}

/// How far one fine has come.
#[derive(Clone, Copy, Default)]
struct Standing {
    version: u64,
    balance: Balance,
    last: Option<FineStep>,
}

/// Reads every fine of a tenant in the log, and holds those of a file against its rows.
pub(super) async fn look(feed: &dyn Feed, tenant: &Tenant, cases: &[FineCase]) -> Result<Held, VerbError> {
    let places: HashMap<&str, usize> = cases.iter().map(|case| case.id.as_str()).zip(0..).collect();
    let mut standings = vec![Standing::default(); cases.len()];
    let (mut tally, mut differing) = (Tally::default(), Vec::new());
    let wanted = Categories::Only(vec![FineEvent::CATEGORY]);
    let mut after = Position::START;
    loop {
        let block = feed.read(after, &wanted, POSITIONS_MAX).await?;
        for fact in block.facts.iter().filter(|fact| fact.stream.tenant == *tenant) {
            let Some(place) = places.get(fact.stream.stream.key.as_str()).copied() else { continue };
            let standing = &mut standings[place];
            standing.version = fact.version.0;
            let Some((event, row)) = told(fact, &cases[place])? else { continue };
            tally.count_event(&event);
            standing.balance = standing.balance.after(&event);
            standing.last = Some(event.step());
            if (event.step(), money_of(&event), fact.occurred_at) != (row.step, money(&row.command), row.at) {
                let reason =
                    format!("is not what the log holds at version {} of {}", fact.version, fact.stream);
                differing.push(BadRow { line: row.line, reason });
            }
        }
        after = block.through.position();
        if after >= block.head {
            break;
        }
    }
    for standing in standings.iter().filter(|standing| standing.last.is_some()) {
        tally.end(standing.balance, standing.last);
    }
    let versions = standings.into_iter().map(|standing| standing.version).collect();
    Ok(Held { versions, tally, differing })
}

/// An event and the row that tells of it; none where no row does.
fn told<'a>(fact: &RawFact, case: &'a FineCase) -> Result<Option<(FineEvent, &'a Step)>, VerbError> {
    let row = usize::try_from(fact.version.0 - 1).ok().and_then(|place| case.steps.get(place));
    Ok(fact.decode::<FineEvent>()?.zip(row))
}
