//! Facts from elsewhere: the watermark of each source moves under the lock that appends.

use super::MemoryStore;
use diptych_command::{
    Arrival, CommandRecord, CommitError, Intake, Outcome, Source, TakenIn, Watermark, not_in_order,
    out_of_order,
};
use diptych_core::{BoxFuture, Code, Fault};

impl MemoryStore {
    /// Takes arrivals in up to the first that an inline group refuses.
    fn take_in_now(&self, source: &Source, arrivals: Vec<Arrival>) -> Result<TakenIn, Fault> {
        if let Some(entry) = out_of_order(&arrivals) {
            return Err(not_in_order(source, entry));
        }
        let mut held = self.lock();
        let now = held.log.time(self.clock.now());
        let watermark = held.sources.get(source).copied();
        let (mut taken, mut passed_over, mut refused) = (0, 0, None);
        for arrival in arrivals {
            let position = arrival.position();
            let print = arrival.print;
            let Some(arrival) = arrival.beyond(watermark) else {
                passed_over += 1;
                continue;
            };
            let (header, events) = arrival.into_commit();
            let base = held.log.version(&header.stream);
            let facts = match self.append_now(&mut held, &header, base, events, now) {
                Ok(facts) => facts,
                Err(CommitError::Fault(fault)) => {
                    refused = Some((position, fault));
                    break;
                }
                Err(_) => return Err(Fault::permanent(Code::Internal, "an arrival met a condition")),
            };
            let (version, token) = (base.plus(facts.len()), held.log.head().token);
            let outcome = Outcome::Accepted { base };
            held.log.note(CommandRecord { header, outcome, version, token, recorded_at: now });
            held.sources.insert(source.clone(), Watermark { position, print });
            taken += 1;
        }
        let head = held.log.head().token;
        drop(held);
        self.head.send_if_modified(|seen| {
            let moved = *seen < head.position;
            *seen = head.position.max(*seen);
            moved
        });
        Ok(TakenIn { taken, passed_over, head, refused })
    }
}

impl Intake for MemoryStore {
    fn take_in<'a>(
        &'a self,
        source: &'a Source,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'a, Result<TakenIn, Fault>> {
        Box::pin(async move { self.take_in_now(source, arrivals) })
    }

    fn watermark<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Option<Watermark>, Fault>> {
        Box::pin(async move { Ok(self.lock().sources.get(source).copied()) })
    }
}
