//! Samples and what is made of them: medians, percentiles, and one line for each ratio.

use std::time::Duration;

/// Where a ratio was measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// Everything that was measured, and what has to be known of it.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) lines: Vec<Line>,
    pub(crate) notes: Vec<String>,
}

/// How far the slowest probe of a run may fall below the fastest before the run is done again.
const PROBE_SPREAD_MAX: f64 = 2.0;

/// Whether the disk was about as fast at every probe.
pub(crate) fn is_steady(probes: &[f64]) -> bool {
    let spread = |(low, high): (f64, f64), probe: &f64| (low.min(*probe), high.max(*probe));
    let (low, high) = probes.iter().fold((f64::INFINITY, 0.0), spread);
    high / low <= PROBE_SPREAD_MAX
}

/// What a ratio must reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Printed beside the others, to read them by.
    None,
}

/// One run of one ratio, both sides measured one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) product: f64,
    pub(crate) baseline: f64,
    /// The same ratio of the hand-written reference.
    pub(crate) reference: Option<f64>,
    /// The fdatasync calls per second before and after, where the disk matters.
    pub(crate) probe: Option<(f64, f64)>,
}

/// One line of the report.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The ratio's number in docs/performance.md, with the variant.
    pub(crate) number: &'static str,
    pub(crate) store: Store,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) target: Target,
    pub(crate) samples: Vec<Sample>,
}

impl Sample {
    /// Two sides where the disk does not matter.
    pub(crate) fn of(product: f64, baseline: f64) -> Self {
        Self { product, baseline, reference: None, probe: None }
    }

    /// With the reference's own ratio.
    pub(crate) fn reference(self, ratio: f64) -> Self {
        Self { reference: Some(ratio), ..self }
    }

    /// With the probes around it.
    pub(crate) fn probe(self, before: f64, after: f64) -> Self {
        Self { probe: Some((before, after)), ..self }
    }

    fn ratio(&self) -> f64 {
        self.product / self.baseline
    }
}

impl Line {
    pub(crate) fn new(
        number: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        target: Target,
    ) -> Self {
        Self { number, store: Store::Sqlite, what: what.into(), unit, target, samples: Vec::new() }
    }

    /// Measured on that store.
    pub(crate) fn on(self, store: Store) -> Self {
        Self { store, ..self }
    }

    pub(crate) fn product(&self) -> f64 {
        self.median(|sample| Some(sample.product))
    }

    pub(crate) fn baseline(&self) -> f64 {
        self.median(|sample| Some(sample.baseline))
    }

    /// The median of the runs' ratios, not the ratio of the medians: each ratio is of one moment of the disk.
    pub(crate) fn ratio(&self) -> f64 {
        self.median(|sample| Some(sample.ratio()))
    }

    /// The smallest and the largest ratio of the runs.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let ratios = self.samples.iter().map(Sample::ratio);
        ratios.fold((f64::INFINITY, 0.0), |(low, high), ratio| (low.min(ratio), high.max(ratio)))
    }

    pub(crate) fn reference(&self) -> Option<f64> {
        let ratio = self.median(|sample| sample.reference);
        ratio.is_finite().then_some(ratio)
    }

    pub(crate) fn probe(&self) -> Option<(f64, f64)> {
        let before = self.median(|sample| sample.probe.map(|(before, _)| before));
        let after = self.median(|sample| sample.probe.map(|(_, after)| after));
        (before.is_finite() && after.is_finite()).then_some((before, after))
    }

    /// Whether the target is met; none where there is none.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.target {
            Target::AtLeast(least) => Some(self.ratio() >= least),
            Target::AtMost(most) => Some(self.ratio() <= most),
            Target::None => None,
        }
    }

    fn median(&self, value: impl Fn(&Sample) -> Option<f64>) -> f64 {
        median(&self.samples.iter().filter_map(value).collect::<Vec<_>>())
    }
}

/// The middle one, or the mean of the two middle ones; no number where there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.as_slice()) {
        (_, []) => f64::NAN,
        (1, sorted) => sorted[middle],
        (_, sorted) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// The duration that a share of all durations does not exceed (nearest rank), in microseconds.
pub(crate) fn percentile(durations: &mut [Duration], share: f64) -> f64 {
    durations.sort_unstable();
    let rank = (share * durations.len() as f64).ceil() as usize;
    durations.get(rank.max(1) - 1).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_percentile_is_one_of_the_durations() {
        let mut hundred: Vec<_> = (1..=100).rev().map(Duration::from_micros).collect();
        assert_eq!(percentile(&mut hundred, 0.99).round(), 99.0);
        assert_eq!(percentile(&mut hundred, 0.5).round(), 50.0);
        assert!(percentile(&mut [], 0.99).is_nan());
    }

    #[test]
    fn a_ratio_is_the_median_of_the_runs_ratios() {
        let mut line = Line::new("3", "test", "", Target::AtLeast(2.0));
        // A slow disk in the second run slows both sides.
        line.samples = vec![Sample::of(20.0, 10.0), Sample::of(2.0, 1.0), Sample::of(30.0, 10.0)];
        assert_eq!((line.ratio(), line.met()), (2.0, Some(true)));
        assert_eq!(line.spread(), (2.0, 3.0));
        assert_eq!(line.probe(), None);
    }
}
