//! Running jobs: claimed against the version of their record, prolonged while they run, taken over when their
//! process dies.

use super::record::{Claim, Done, Held, JobRun};
use super::{Job, JobKind, export, keeping};
use crate::action::Action;
use crate::actions::{find_model, group_of, verify_models};
use crate::operation::Operation;
use crate::rows_export::export_rows;
use crate::rows_report::patrol;
use crate::watch::{RebuildWatcher, watch_rebuild};
use crate::{ActionError, Operator, Report, RowsFormat};
use diptych_core::{Code, Fault, Timestamp};
use diptych_projector::{Differing, Rebuild, RebuildStep, Switching, VerifyReport};
use diptych_query::Order;

/// How often a record is written against others who write it at the same time.
const WRITE_ATTEMPTS_MAX: usize = 20;

/// Runs every job that is due and that no other process runs, one after the other, and answers how each
/// ended. A failed run is told by its record, and does not hold up the others.
///
/// # Errors
/// A fault of the store. What was begun is taken over in its time.
pub async fn run_due_jobs(operator: &Operator<'_>) -> Result<Vec<(String, JobRun)>, Fault> {
    let desk = operator.jobs;
    let mut runs = Vec::new();
    for job in &desk.jobs {
        if let Some((held, run)) = claim(operator, job, None).await? {
            runs.extend(run_claimed(operator, job, held, run).await?.map(|run| (job.name().to_owned(), run)));
        }
    }
    desk.look(operator.registry, operator.commands.now()).await?;
    Ok(runs)
}

/// Runs a job now because somebody says so, and keeps who and why.
///
/// # Errors
/// [`Code::JobRefused`] for a job that there is not or that another process runs, [`Code::JobFailed`] for a
/// run that failed, or a fault of the store.
pub async fn order_job(operator: &Operator<'_>, name: &str, order: Order) -> Result<JobRun, ActionError> {
    let desk = operator.jobs;
    let Some(job) = desk.job(name) else {
        let reason = format!("there is no job `{name}`; `jobs list` shows them");
        return Err(Fault::permanent(Code::JobRefused, reason).into());
    };
    let Some((held, run)) = claim(operator, job, Some(order.clone())).await? else {
        let held = Held::of(operator.registry, name, operator.commands.now()).await?;
        let by = held.state.claim.map_or_else(|| "another process".to_owned(), |claim| claim.process);
        let reason = format!("job `{name}` is being run by {by}; `jobs show {name}` says how far it is");
        return Err(Fault::permanent(Code::JobRefused, reason).into());
    };
    let operation = Operation::begin(operator, "run_job", name.to_owned(), &order).await?;
    let ended = run_claimed(operator, job, held, run).await?;
    let outcome = match &ended {
        Some(JobRun { failure: Some(reason), .. }) => Err(reason.clone()),
        Some(JobRun { done: Some(done), .. }) => Ok(done.outcome.clone()),
        _ => Err("another process took the run over".to_owned()),
    };
    operation.end(operator, outcome.clone()).await?;
    desk.look(operator.registry, operator.commands.now()).await?;
    match (ended, outcome) {
        (Some(run), Ok(_)) => Ok(run),
        (_, outcome) => {
            let reason = outcome.err().unwrap_or_default();
            Err(Fault::permanent(Code::JobFailed, format!("the run of job `{name}` failed: {reason}")).into())
        }
    }
}

/// Claims a job whose run is due, was cut short or is ordered. Answers none where there is nothing to do, or
/// where another process does it.
async fn claim(
    operator: &Operator<'_>,
    job: &Job,
    order: Option<Order>,
) -> Result<Option<(Held, JobRun)>, Fault> {
    let (desk, registry) = (operator.jobs, operator.registry);
    let now = operator.commands.now();
    let mut held = Held::of(registry, job.name(), now).await?;
    let known = held.version > 0;
    if !held.state.is_free(now) {
        return Ok(None);
    }
    let by = Claim { process: desk.process.clone(), until: now.plus(desk.limits.lease_duration) };
    let run = held.state.begin(job.schedule(), order, by, now);
    if run.is_none() && known {
        return Ok(None);
    }
    // INVARIANT: who writes over the version that it has read is alone: a second one finds another version.
    let written = held.write(registry, job.name()).await?;
    Ok(run.filter(|_| written).map(|run| (held, run)))
}

/// Runs what was claimed, and says meanwhile that this process lives. Answers none where the run was taken
/// over.
async fn run_claimed(
    operator: &Operator<'_>,
    job: &Job,
    mut held: Held,
    run: JobRun,
) -> Result<Option<JobRun>, Fault> {
    let (desk, registry, name) = (operator.jobs, operator.registry, job.name());
    let mut range = run.range.clone();
    if matches!(job.kind(), JobKind::Export) && range.is_none() {
        let told = held.state.exported_through.map(|token| token.position);
        match export::range(operator, job, told, run.began).await {
            Ok(planned) => {
                range = Some(planned);
                // Whoever takes the run over writes what this one was to write, and no more.
                held.state.open_run().into_iter().for_each(|run| run.range.clone_from(&range));
                if !held.write(registry, name).await? {
                    return Ok(None);
                }
            }
            Err(fault) if fault.is_transient() => return Err(fault),
            Err(fault) => return end(operator, job, held, Err(fault.to_string())).await,
        }
    }
    let run = JobRun { range, ..run };
    let working = perform(operator, job, &run);
    tokio::pin!(working);
    let came = loop {
        tokio::select! {
            came = &mut working => break came,
            () = tokio::time::sleep(desk.limits.lease_duration / 3) => {
                held.prolong(operator.commands.now(), desk.limits.lease_duration);
                if !held.write(registry, name).await? {
                    return Ok(None);
                }
            }
        }
    };
    end(operator, job, held, came.map_err(|error| error.to_string())).await
}

/// Writes down how a run ended, if it is this process's still.
async fn end(
    operator: &Operator<'_>,
    job: &Job,
    mut held: Held,
    came: Result<Done, String>,
) -> Result<Option<JobRun>, Fault> {
    let (desk, registry, name) = (operator.jobs, operator.registry, job.name());
    if let Err(reason) = &came {
        let code = Code::JobFailed;
        tracing::error!(job = name, %reason, %code, "a run of a job failed");
    }
    for _ in 0..WRITE_ATTEMPTS_MAX {
        let now = operator.commands.now();
        let ended = held.state.end(job.schedule(), came.clone(), now, &desk.limits);
        if held.write(registry, name).await? {
            return Ok(ended);
        }
        held = Held::of(registry, name, now).await?;
        if !held.is_held_by(&desk.process) {
            break;
        }
    }
    Ok(None)
}

/// Does what a job is for, and with its files what it declares.
async fn perform(operator: &Operator<'_>, job: &Job, run: &JobRun) -> Result<Done, ActionError> {
    let done = match (job.kind(), &run.range) {
        (JobKind::Export, Some(range)) => export::write(operator, job, range).await?,
        (JobKind::Export, None) => {
            return Err(Fault::permanent(Code::Internal, "it is not known what is to be exported").into());
        }
        (JobKind::Verify { model }, _) => verified(operator, model.as_deref()).await?,
        (JobKind::Patrol { model }, _) => patrolled(operator, model.as_deref()).await?,
        (JobKind::Rebuild { model }, _) => rebuilt(operator, job, model, run).await?,
        (JobKind::Rows { model, format }, _) => rows(operator, job, model, *format, run.due).await?,
    };
    match keeping::keep(operator, job).await {
        Ok(None) => Ok(done),
        Ok(Some(kept)) => Ok(Done { outcome: format!("{}, {kept}", done.outcome), ..done }),
        Err(fault) => {
            tracing::error!(job = job.name(), %fault, "older files of a job stay as they are");
            Ok(Done { untidied: Some(fault.to_string()), ..done })
        }
    }
}

async fn verified(operator: &Operator<'_>, model: Option<&str>) -> Result<Done, ActionError> {
    let Report::Verified(reports) = verify_models(operator, model).await? else {
        return Err(unexpected());
    };
    let wrong: Vec<_> =
        reports.iter().filter(|report| !report.is_clean()).map(|report| report.model).collect();
    if !wrong.is_empty() {
        let reason =
            format!("rows of {} are not what the log says; `models verify` shows which", wrong.join(", "));
        return Err(Fault::permanent(Code::RowDiffers, reason).into());
    }
    let rows = reports.iter().map(|report| report.rows_actual as u64).sum();
    let outcome = format!("{rows} rows of {} tables are what the log says", reports.len());
    let position = reports.iter().map(|report: &VerifyReport| report.position).min();
    Ok(Done { outcome, rows, position, ..Done::default() })
}

async fn patrolled(operator: &Operator<'_>, model: Option<&str>) -> Result<Done, ActionError> {
    let Report::Drift(drift) = patrol(operator, model).await? else { return Err(unexpected()) };
    if !drift.incidents.is_empty() {
        let reason = format!("{} incidents were found; `drift list` shows them", drift.incidents.len());
        return Err(Fault::permanent(Code::RowDiffers, reason).into());
    }
    let rows = drift.patrols.iter().map(|patrol| patrol.verified_rows).sum();
    let position = drift.patrols.iter().filter_map(|patrol| patrol.verified_up_to).min();
    let outcome = format!("{rows} rows were compared with the log");
    Ok(Done { outcome, rows, position, ..Done::default() })
}

/// Nobody watches.
struct Unwatched;

impl RebuildWatcher for Unwatched {
    fn see(&mut self, _: &Rebuild) {}
}

async fn rebuilt(operator: &Operator<'_>, job: &Job, model: &str, run: &JobRun) -> Result<Done, ActionError> {
    let group = group_of(operator, model)?.name().to_owned();
    let reason = || Order::of_the_hinge(format!("job `{}` was due at {}", job.name(), run.due));
    let order = run.order.clone().unwrap_or_else(reason);
    let held = operator.projector.rebuild_of(&group).await?;
    // One that a process began that has died goes on; if it has switched, there is nothing left to do.
    let is_own = |held: &Rebuild| held.order == order && held.started_at >= run.due;
    if held.as_ref().is_none_or(|held| held.step == RebuildStep::Switched && !is_own(held)) {
        if held.is_some() {
            // The way back to the build before last ends here: the one that answers now becomes the way back.
            let retire = Action::Retire { group: group.clone(), build: None };
            retire.apply(operator, order.clone()).await?;
        }
        let action = Action::Rebuild {
            group: group.clone(),
            intended: Differing::default(),
            switching: Switching::Automatic,
            filled_from: None,
        };
        action.apply(operator, order).await?;
    }
    let Report::Rebuild(rebuild) = watch_rebuild(operator, &group, &mut Unwatched).await? else {
        return Err(unexpected());
    };
    if !matches!(rebuild.step, RebuildStep::Switched | RebuildStep::Finished) {
        let step = rebuild.step;
        let why = rebuild.reason.as_deref().unwrap_or("`models watch` shows more");
        let reason = format!("the rebuild of `{group}` is {step}: {why}");
        return Err(Fault::permanent(Code::BuildsDiffer, reason).into());
    }
    Ok(Done {
        outcome: format!("build {} of `{group}` answers", rebuild.to),
        rows: rebuild.measured.rows,
        bytes: rebuild.measured.bytes,
        checksum: Some(rebuild.measured.digest.join(",")),
        position: Some(rebuild.progress.position),
        ..Done::default()
    })
}

async fn rows(
    operator: &Operator<'_>,
    job: &Job,
    model: &str,
    format: RowsFormat,
    due: Timestamp,
) -> Result<Done, ActionError> {
    let (found, _) = find_model(operator, model)?;
    let folder = job.folder(&operator.jobs.exports);
    std::fs::create_dir_all(&folder).map_err(|error| crate::export::unwritable(&folder, error))?;
    // A run that is repeated writes over what the one before left.
    let file = folder.join(keeping::rows_file(found.schema().name, due, format.extension()));
    let Report::RowsExported(report) = export_rows(operator, model, &[], format, &file).await? else {
        return Err(unexpected());
    };
    let bytes = std::fs::metadata(&file).map_or(0, |found| found.len());
    let lineage = &report.lineage;
    Ok(Done {
        outcome: format!("{} rows exported", lineage.rows),
        rows: lineage.rows,
        bytes,
        file: Some(report.file.clone()),
        checksum: Some(lineage.checksum.clone()),
        position: Some(lineage.position),
        untidied: None,
    })
}

fn unexpected() -> ActionError {
    Fault::permanent(Code::Internal, "an action answered with another report than its own").into()
}
