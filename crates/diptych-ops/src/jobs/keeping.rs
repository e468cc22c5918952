//! Which of the files of a job are kept. Exports of the log are joined and never lost: the chain begins at
//! the first event for as long as anybody may read it. Files of rows stand for themselves, and the oldest go.

use super::export::clear;
use super::{Job, JobKind};
use crate::Operator;
use crate::export::join::{join, remove_joined};
use crate::rows_export::lineage_of;
use diptych_core::{Code, Fault, Timestamp};
use std::path::{Path, PathBuf};

/// Does with the files of a job what it declares, once a run has written the last one. Answers what was done
/// in words, or nothing.
///
/// # Errors
/// A file that is not what its last line says, one that cannot be written or removed, or a fault of the
/// store.
pub(super) async fn keep(operator: &Operator<'_>, job: &Job) -> Result<Option<String>, Fault> {
    let Some(files) = job.kept() else { return Ok(None) };
    match job.kind() {
        JobKind::Export => join_older(operator, job, files).await,
        JobKind::Rows { model, format } => {
            let folder = job.folder(&operator.jobs.exports);
            let removed = remove_older(&folder, model, format.extension(), files)?;
            Ok((removed > 0).then(|| format!("{removed} older files removed")))
        }
        _ => Ok(None),
    }
}

/// Joins the oldest files of an export once there are twice as many as stay as they are, so that what is old
/// is not written anew every night.
async fn join_older(operator: &Operator<'_>, job: &Job, kept: usize) -> Result<Option<String>, Fault> {
    let desk = operator.jobs;
    let feed = desk.sources.feed(job.name()).ok_or_else(|| {
        Fault::permanent(Code::Internal, format!("nothing is known of the files of `{}`", job.name()))
    })?;
    // Held against the log: what is joined is of this log, and without a hole.
    let chain = feed.look().await?;
    let folder = job.folder(&desk.exports);
    let older = if chain.len() > kept.saturating_mul(2) { chain.len() - kept } else { 0 };
    let (older, suffix) = (chain[..older].to_vec(), desk.own_suffix());
    let acting = tokio::task::spawn_blocking(move || {
        if older.len() > 1 {
            clear(&folder, "events-");
            join(&folder, &older, &suffix)?;
        }
        // Also what was joined by a process that was killed before it had removed them.
        remove_joined(&folder)
    });
    let removed = acting.await.map_err(|error| {
        Fault::transient(Code::Internal, "the thread that joins files ended").because(error)
    })??;
    feed.look().await?;
    Ok((removed > 0).then(|| format!("{removed} older files joined into one")))
}

/// Removes the oldest files of rows beyond the number that is kept, with what says where they come from.
fn remove_older(folder: &Path, model: &str, extension: &str, kept: usize) -> Result<usize, Fault> {
    let unreadable = |error: std::io::Error| {
        Fault::permanent(Code::Storage, format!("`{}` cannot be read", folder.display())).because(error)
    };
    let mut files = Vec::<(Timestamp, PathBuf)>::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        files.extend(due_of(name, model, extension).map(|due| (due, path)));
    }
    files.sort();
    let older = files.len().saturating_sub(kept);
    for (_, file) in &files[..older] {
        for path in [file, &lineage_of(file)] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(crate::export::unwritable(path, error));
                }
                _ => {}
            }
        }
    }
    Ok(older)
}

/// The name of the file of a run that was due then.
pub(super) fn rows_file(model: &str, due: Timestamp, extension: &str) -> String {
    format!("{model}-{}.{extension}", due.to_string().replace(':', ""))
}

/// When the run was due that wrote a file of this name; none for whatever else is in the folder.
fn due_of(name: &str, model: &str, extension: &str) -> Option<Timestamp> {
    let when = name.strip_prefix(model)?.strip_prefix('-')?.strip_suffix(extension)?.strip_suffix('.')?;
    let (date, time) = when.split_once('T')?;
    let (hour, rest) = time.split_at_checked(2)?;
    let (minute, rest) = rest.split_at_checked(2)?;
    let due = format!("{date}T{hour}:{minute}:{rest}").parse().ok()?;
    (rows_file(model, due, extension) == name).then_some(due)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_a_job_are_its_files() {
        for text in ["2026-11-29T02:00:00Z", "2026-11-29T02:00:00.123456Z"] {
            let due = text.parse().unwrap();
            assert_eq!(due_of(&rows_file("shelf", due, "csv"), "shelf", "csv"), Some(due));
        }
        for foreign in [
            "shelf-2026-11-29T020000Z.csv.lineage.json",
            "shelf-2026-11-29T020000Z.ndjson",
            "shelf-before-the-move.csv",
            "shelf_two-2026-11-29T020000Z.csv",
            "shelf-2026-11-29T020000Z.csv.partial",
            "shelf-2026-11-29T02:00:00Z.csv",
            "shelf-T.csv",
        ] {
            assert_eq!(due_of(foreign, "shelf", "csv"), None, "{foreign}");
        }
    }
}
