//! How scheduled jobs stand, beside the models: what is due and did not happen is lag that everybody sees.
//! Why a run failed is for operators and not told here.

use crate::app::App;
use crate::html::escape;
use crate::json::Object;
use diptych_core::Timestamp;
use diptych_query::JobStanding;
use std::fmt::Write;

/// The jobs of the service; nothing where it has none.
pub(crate) fn told(app: &App) -> Option<Vec<Object>> {
    let (queries, jobs) = (&app.wire.queries, app.wire.queries.jobs().all());
    let now = queries.now();
    if jobs.is_empty() { None } else { Some(jobs.iter().map(|standing| object(standing, now)).collect()) }
}

fn object(standing: &JobStanding, now: Timestamp) -> Object {
    let JobStanding { job, kind, schedule, succeeded_at, exported_through, next_due, .. } = standing;
    Object::new()
        .with("job", job.as_str())
        .with("kind", *kind)
        .with("schedule", schedule.as_str())
        .with("state", state(standing, now))
        .with("words", standing.in_words(now))
        .with("lagSeconds", standing.lag_seconds(now))
        .with("lastSuccessAt", succeeded_at.map(|at| at.to_string()))
        .with_some("exportedThrough", exported_through.map(|position| position.0))
        .with("nextDue", next_due.map(|at| at.to_string()))
}

fn state(standing: &JobStanding, now: Timestamp) -> &'static str {
    match () {
        () if standing.running.is_some() => "running",
        () if standing.overdue_since.is_some_and(|since| since <= now) => "overdue",
        () => "waiting",
    }
}

/// The jobs of the service as a table of the front page; nothing where it has none.
pub(crate) fn table(out: &mut String, app: &App) {
    let (jobs, now) = (app.wire.queries.jobs().all(), app.wire.queries.now());
    if jobs.is_empty() {
        return;
    }
    out.push_str(
        "<section aria-labelledby=\"jobs\">\n<h2 id=\"jobs\">Scheduled jobs</h2>\n\
         <div class=\"scroll\"><table>\n\
         <thead><tr><th scope=\"col\">Job</th><th scope=\"col\">Does</th><th scope=\"col\">When</th>\
         <th scope=\"col\">How it stands</th><th scope=\"col\">State</th></tr></thead>\n<tbody>\n",
    );
    for standing in jobs {
        let state = state(&standing, now);
        let tone = if state == "overdue" { "bad" } else { "good" };
        let row = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"{tone}\">{state}</td></tr>",
            escape(&standing.job),
            standing.kind,
            escape(&standing.schedule),
            escape(&standing.in_words(now)),
        );
        row.expect("writing to a text cannot fail");
    }
    out.push_str("</tbody>\n</table></div>\n</section>\n");
}
