//! An intake with a defect between the store and whoever brings something.

use super::Defect;
use super::ports::Broken;
use diptych_command::{Arrival, Intake, Source, SourcePosition, TakenIn, Watermark};
use diptych_core::{BoxFuture, Code, Fault};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl Broken {
    /// The store is given a source that it does not know, so that it takes everything.
    async fn take_all(&self, source: &Source, arrivals: Vec<Arrival>) -> Result<TakenIn, Fault> {
        let number = self.arrived.fetch_add(1, Ordering::SeqCst);
        let unknown = Source::new(format!("{source} {number} {self:p}"));
        let unknown = unknown.map_err(|error| Fault::permanent(Code::Internal, error.to_string()))?;
        self.inner.intake.take_in(&unknown, arrivals).await
    }

    /// What this process has not taken yet is taken, and remembered afterwards.
    async fn take_beside(&self, source: &Source, arrivals: Vec<Arrival>) -> Result<TakenIn, Fault> {
        let held = self.watermarks.lock().unwrap_or_else(PoisonError::into_inner).get(source).copied();
        let all = arrivals.len();
        let new: Vec<_> = arrivals.into_iter().filter_map(|arrival| arrival.beyond(held)).collect();
        let reached = new.last().map(|last| Watermark { position: last.position(), print: last.print });
        let passed_over = all - new.len();
        let taken = self.take_all(source, new).await?;
        if let Some(reached) = reached {
            let mut held = self.watermarks.lock().unwrap_or_else(PoisonError::into_inner);
            held.insert(source.clone(), reached);
        }
        Ok(TakenIn { passed_over, ..taken })
    }

    /// Goes on behind whatever is refused.
    async fn take_the_rest(&self, source: &Source, mut arrivals: Vec<Arrival>) -> Result<TakenIn, Fault> {
        loop {
            let taken = self.inner.intake.take_in(source, arrivals.clone()).await?;
            let Some((entry, _)) = &taken.refused else { return Ok(taken) };
            let refused: SourcePosition = *entry;
            arrivals.retain(|arrival| arrival.position() > refused);
        }
    }
}

impl Intake for Broken {
    fn take_in<'a>(
        &'a self,
        source: &'a Source,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'a, Result<TakenIn, Fault>> {
        match self.defect {
            Defect::WatermarkIgnored => Box::pin(self.take_all(source, arrivals)),
            Defect::WatermarkOutside => Box::pin(self.take_beside(source, arrivals)),
            Defect::RefusedArrivalsSkipped => Box::pin(self.take_the_rest(source, arrivals)),
            _ => self.inner.intake.take_in(source, arrivals),
        }
    }

    fn watermark<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Option<Watermark>, Fault>> {
        self.inner.intake.watermark(source)
    }
}
