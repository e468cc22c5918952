//! How far a rebuild has come, while the command line waits for it: a bar on a terminal, lines of JSON for
//! programs, nothing otherwise.

use diptych_ops::{Output, RebuildWatcher};
use diptych_projector::{Rebuild, RebuildStep};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is written, unless the step changes.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Shows how far a rebuild has come.
pub(crate) struct ProgressLine {
    output: Output,
    bar: Option<ProgressBar>,
    group: Option<String>,
    last: Option<(Instant, RebuildStep)>,
}

impl ProgressLine {
    pub(crate) fn new(output: Output) -> Self {
        Self { output, bar: None, group: None, last: None }
    }

    /// The group whose rebuild was watched.
    pub(crate) fn watched(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Takes the bar off the terminal.
    pub(crate) fn leave(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&mut self, rebuild: &Rebuild) {
        let due = self.last.is_none_or(|(at, step)| step != rebuild.step || at.elapsed() >= LINE_EVERY);
        if !due {
            return;
        }
        self.last = Some((Instant::now(), rebuild.step));
        let Rebuild { group, to, step, progress, .. } = rebuild;
        let line = json!({
            "group": group,
            "build": to.to_string(),
            "step": step.as_str(),
            "position": progress.position.0,
            "target": progress.target.0,
            "eventsPerSecond": progress.events_per_second,
            "secondsLeft": progress.seconds_left,
        });
        // A reader that has seen enough is no failure.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    fn bar(&mut self, rebuild: &Rebuild) {
        let bar = self.bar.get_or_insert_with(|| ProgressBar::new(0).with_style(style()));
        let Rebuild { to, step, progress, .. } = rebuild;
        bar.set_length(progress.target.0);
        bar.set_position(progress.position.0);
        let left = progress.seconds_left.map_or_else(String::new, |left| format!(", {left:.0} s left"));
        bar.set_message(format!("build {to} {step}, {:.0} events/s{left}", progress.events_per_second));
    }
}

fn style() -> ProgressStyle {
    let template = "{bar:30} {pos}/{len} {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl RebuildWatcher for ProgressLine {
    fn see(&mut self, rebuild: &Rebuild) {
        self.group = Some(rebuild.group.clone());
        match self.output {
            Output::Json => self.line(rebuild),
            Output::Human if std::io::stderr().is_terminal() => self.bar(rebuild),
            Output::Human => {}
        }
    }
}
