//! Following a rebuild to where it rests, and driving it meanwhile where no other process does.

use crate::actions::group_of;
use crate::builds_report::rebuild_line;
use crate::words::{bytes_in_words, seconds_in_words};
use crate::{ActionError, Operator, Report};
use diptych_projector::{Rebuild, RebuildStep, Switching, Tended};
use std::fmt::Write;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a rebuild that another process drives is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long an order waits for a process that serves to take it up.
const TAKEN_UP: Duration = Duration::from_secs(3);

/// How many rebuilds that are over are searched for one that has just ended.
const REBUILDS_SEARCHED: usize = 100;

/// Who is told how far a rebuild has come.
pub trait RebuildWatcher: Send {
    /// Tells how it stands now.
    fn see(&mut self, rebuild: &Rebuild);
}

/// Follows a rebuild until it rests, and drives it here where no other process does. Whoever stops following
/// loses nothing: it stays where it is until a process takes it up.
///
/// # Errors
/// An unknown group, no rebuild, or a fault.
pub async fn watch_rebuild(
    operator: &Operator<'_>,
    name: &str,
    watcher: &mut dyn RebuildWatcher,
) -> Result<Report, ActionError> {
    let group = group_of(operator, name)?.name();
    loop {
        let tended = operator.projector.steward().step().await?;
        let Some(rebuild) = operator.projector.rebuild_of(group).await? else {
            return ended(operator, group).await;
        };
        watcher.see(&rebuild);
        // One that switches by itself rests only for the moment.
        let about_to_switch = rebuild.step == RebuildStep::Ready && rebuild.switching == Switching::Automatic;
        if rebuild.step.rests() && !about_to_switch {
            return Ok(Report::Rebuild(Box::new(rebuild)));
        }
        if tended == Tended::AtRest {
            sleep(LOOK).await;
        }
    }
}

/// Whether another process drives a rebuild, or takes it up soon.
pub(crate) async fn is_taken_up(operator: &Operator<'_>, group: &str) -> Result<bool, ActionError> {
    let until = Instant::now() + TAKEN_UP;
    loop {
        match operator.projector.rebuild_of(group).await? {
            Some(Rebuild { driver: Some(_), .. }) | None => return Ok(true),
            Some(_) if Instant::now() >= until => return Ok(false),
            Some(_) => sleep(LOOK).await,
        }
    }
}

async fn ended(operator: &Operator<'_>, group: &str) -> Result<Report, ActionError> {
    let done = operator.projector.rebuilds_done(REBUILDS_SEARCHED).await?;
    match done.into_iter().find(|done| done.group == group) {
        Some(done) => Ok(Report::Rebuild(Box::new(done))),
        None => Err(ActionError::Refused {
            reason: "no rebuild is under way".to_owned(),
            instead: vec!["rebuild".to_owned()],
        }),
    }
}

pub(crate) fn rebuild_text(rebuild: &Rebuild) -> String {
    let Rebuild { measured, compared, .. } = rebuild;
    let mut text = rebuild_line(rebuild);
    if let Some(path) = &rebuild.filled_from {
        let _ = write!(text, "\nfilled from {path}");
    }
    if measured.positions > 0 {
        let size = bytes_in_words(measured.bytes);
        let (facts, rows, rate) = (measured.facts, measured.rows, measured.events_per_second);
        let _ = write!(text, "\n{facts} facts folded into {rows} rows ({size}), {rate:.0} events/s");
    }
    for took in &measured.steps {
        let _ = write!(text, "\n  {}: {}", took.step, seconds_in_words(took.seconds));
    }
    if let Some(report) = compared {
        let _ = write!(text, "\n{}", report.to_string().trim_end());
    }
    text
}
