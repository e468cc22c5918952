//! A run of an export: which events are new, written to a file that joins those before. A run that is
//! repeated writes the same file, or finds it written.

use super::record::{Done, ExportRange};
use super::{Job, JobDesk};
use crate::Operator;
use crate::export::files::ExportFile;
use crate::export::join::file_of;
use crate::export::{EXPORT_FORMAT, ExportFilter, Lineage, write_whole};
use diptych_core::{Code, Fault, Position, Timestamp};
use std::path::Path;

/// Says what is new since the last file.
///
/// # Errors
/// Files that are not whole or do not join, or a fault of the store.
pub(super) async fn range(
    operator: &Operator<'_>,
    job: &Job,
    told: Option<Position>,
    now: Timestamp,
) -> Result<ExportRange, Fault> {
    let from = match reached(operator.jobs, job).await {
        Ok(from) => from,
        // Somebody has taken all files away: the next one holds everything.
        Err(_) if told.is_some() && is_empty(&job.folder(&operator.jobs.exports)) => Position::START,
        Err(fault) => return Err(fault),
    };
    let through = operator.feed.head().await?.token;
    Ok(ExportRange { from, through, at: now })
}

/// Up to where the files reach.
async fn reached(desk: &JobDesk, job: &Job) -> Result<Position, Fault> {
    let feed = desk.sources.feed(job.name()).ok_or_else(|| {
        Fault::permanent(Code::Internal, format!("nothing is known of the files of `{}`", job.name()))
    })?;
    let chain = feed.look().await?;
    Ok(chain.last().map_or(Position::START, |file| file.through()))
}

fn is_empty(folder: &Path) -> bool {
    crate::export::files::listed(folder).is_ok_and(|files| files.is_empty())
}

/// Writes the file of a range, unless it is there and whole.
///
/// # Errors
/// A file that cannot be written, or a fault of the store.
pub(super) async fn write(operator: &Operator<'_>, job: &Job, range: &ExportRange) -> Result<Done, Fault> {
    let through = range.through.position;
    let position = Some(through);
    if range.from == through {
        return Ok(Done { outcome: "nothing is new".to_owned(), position, ..Done::default() });
    }
    let folder = job.folder(&operator.jobs.exports);
    let file = file_of(&folder, range.from, through);
    let written = match whole(&file, range).await {
        Some(written) => written,
        None => {
            let start = operator.feed.mark(Position::START).await?;
            let start = start.ok_or_else(|| Fault::permanent(Code::Storage, "the log has no beginning"))?;
            let lineage = Lineage {
                diptych_export: EXPORT_FORMAT,
                service: operator.service.to_owned(),
                log: start.token,
                epoch: range.through.epoch,
                from: range.from,
                through: range.through,
                filter: ExportFilter::default(),
                exported_at: range.at,
            };
            std::fs::create_dir_all(&folder).map_err(|error| crate::export::unwritable(&folder, error))?;
            clear(&folder, file.file_name().and_then(|name| name.to_str()).unwrap_or_default());
            let suffix = format!("{}.partial", operator.jobs.own_suffix());
            write_whole(operator.feed, &lineage, &file, &suffix).await?;
            ExportFile::open(&file)?
        }
    };
    let (rows, bytes) = (written.end.events, written.stamp.bytes);
    Ok(Done {
        outcome: format!("{rows} events exported"),
        rows,
        bytes,
        file: Some(file.display().to_string()),
        checksum: Some(written.end.checksum),
        position,
        untidied: None,
    })
}

/// The file of a range, if a run that was cut short has finished it.
async fn whole(file: &Path, range: &ExportRange) -> Option<ExportFile> {
    if !file.exists() {
        return None;
    }
    let path = file.to_owned();
    let look = move || {
        let found = ExportFile::open(&path)?;
        found.verify()?;
        Ok::<_, Fault>(found)
    };
    let found = tokio::task::spawn_blocking(look).await.ok()?.ok()?;
    (found.lineage.from == range.from && found.lineage.through == range.through).then_some(found)
}

/// Removes what processes that have died left of files whose names begin so. One that lives still, and is
/// only slow, writes nothing more under such a name, and fails.
pub(super) fn clear(folder: &Path, beginning: &str) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let found = found.to_string_lossy();
        if found.starts_with(beginning) && found.ends_with(".partial") {
            // What is left behind takes room and nothing else.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
