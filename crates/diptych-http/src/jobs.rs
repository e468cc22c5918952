//! How scheduled jobs stand, beside the models: what is due and did not happen is lag that everybody sees.
//! Why a run failed is for operators and not told here.

use crate::app::App;
use crate::json::Object;
use diptych_query::JobStanding;

/// The jobs of the service; nothing where it has none.
pub(crate) fn told(app: &App) -> Option<Vec<Object>> {
    let (queries, jobs) = (&app.wire.queries, app.wire.queries.jobs().all());
    let now = queries.now();
    let job = |standing: JobStanding| {
        let lag_seconds = standing.lag_seconds(now);
        let JobStanding { job, kind, schedule, succeeded_at, exported_through, next_due, .. } = standing;
        let state = match () {
            () if standing.running.is_some() => "running",
            () if standing.overdue_since.is_some_and(|since| since <= now) => "overdue",
            () => "waiting",
        };
        Object::new()
            .with("job", job)
            .with("kind", kind)
            .with("schedule", schedule)
            .with("state", state)
            .with("lagSeconds", lag_seconds)
            .with("lastSuccessAt", succeeded_at.map(|at| at.to_string()))
            .with_some("exportedThrough", exported_through.map(|position| position.0))
            .with("nextDue", next_due.map(|at| at.to_string()))
    };
    if jobs.is_empty() { None } else { Some(jobs.into_iter().map(job).collect()) }
}
