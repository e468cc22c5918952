//! Builds of a group and their moves, looked at.

use crate::actions::group_of;
use crate::report::table;
use crate::words::{bytes_in_words, seconds_in_words};
use crate::{ActionError, Operator, Report};
use diptych_core::{Fault, Position, Timestamp};
use diptych_projector::{Rebuild, RebuildStep};
use diptych_query::{Build, Group, Notice, StageMove};
use serde::Serialize;
use std::fmt::Write;

/// One build of a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildReport {
    /// Which: `r2g1` is the first build of revision 2.
    pub build: String,
    /// Where it stands.
    pub stage: &'static str,
    /// Whether it is the one that this code moves and reads.
    pub own: bool,
    /// Its rows, of all tables; none where it has no tables any more or other code declares them.
    pub rows: Option<u64>,
    /// The bytes of its tables.
    pub bytes: u64,
    /// Where it stands in the log; none where that is not known here.
    pub position: Option<Position>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Since when it is at this stage.
    pub since: Timestamp,
}

/// A move that was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveReport {
    /// When.
    pub at: Timestamp,
    /// Of which group.
    pub group: String,
    /// Which build.
    pub build: String,
    /// From where.
    pub from: &'static str,
    /// To where.
    pub to: &'static str,
    /// Who ordered it.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// The builds of a group, what is announced of it, and its rebuild.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildsReport {
    /// Every build, oldest first.
    pub builds: Vec<BuildReport>,
    /// What operators announced.
    pub notice: Notice,
    /// The rebuild that is under way.
    pub rebuild: Option<Rebuild>,
    /// The last moves, newest first.
    pub moves: Vec<MoveReport>,
}

/// How many moves are shown beside a model.
const MOVES_SHOWN: usize = 10;

/// Everything that is known of a group's builds.
pub(crate) async fn builds_of(operator: &Operator<'_>, group: &Group) -> Result<BuildsReport, ActionError> {
    let builds = operator.projector.builds(group.name()).await?;
    let own = diptych_query::own_build(&builds, group.revision()).map(|own| own.id);
    let mut reports = Vec::new();
    for build in &builds {
        reports.push(one_build(operator, group, build, Some(build.id) == own).await?);
    }
    let moves = operator.projector.stage_moves(Some(group.name()), MOVES_SHOWN).await?;
    Ok(BuildsReport {
        builds: reports,
        notice: Notice::of(operator.registry, group.name()).await?,
        rebuild: operator.projector.rebuild_of(group.name()).await?,
        moves: moves.into_iter().map(MoveReport::of).collect(),
    })
}

async fn one_build(
    operator: &Operator<'_>,
    group: &Group,
    build: &Build,
    own: bool,
) -> Result<BuildReport, Fault> {
    let bytes = operator.registry.build_bytes(group, build.id).await?;
    let (mut rows, mut position) = (None, None);
    // Tables that are gone, or of another shape, are not this code's to read.
    if build.stage.follows() && build.id.revision == group.revision() {
        let at = group.at(build.id);
        let mut all = 0;
        for model in at.models() {
            all += operator.models.row_count(&at, model.schema()).await?;
        }
        rows = Some(all);
        position = Some(operator.models.checkpoint(&at).await?.mark.position());
    }
    let Build { id, stage, created_at, moved_at, .. } = build;
    let (build, stage) = (id.to_string(), stage.as_str());
    Ok(BuildReport { build, stage, own, rows, bytes, position, created_at: *created_at, since: *moved_at })
}

impl MoveReport {
    fn of(made: StageMove) -> Self {
        let StageMove { group, moved, order, at } = made;
        let (build, from, to) = (moved.build.to_string(), moved.from.as_str(), moved.to.as_str());
        Self { at, group, build, from, to, actor: order.actor.as_str().to_owned(), reason: order.reason }
    }
}

/// The moves of one group's builds, or of all groups', newest first.
///
/// # Errors
/// A fault of the store.
pub async fn list_moves(
    operator: &Operator<'_>,
    name: Option<&str>,
    most: usize,
) -> Result<Report, ActionError> {
    // A group that is gone has moves too, so that a name that no code declares is taken as it is.
    let group = name.map(|name| group_of(operator, name).map_or(name, |group| group.name()));
    let moves = operator.projector.stage_moves(group, most).await?;
    Ok(Report::Moves(moves.into_iter().map(MoveReport::of).collect()))
}

pub(crate) fn moves_table(moves: &[MoveReport]) -> String {
    let mut table = table(&["when", "group", "build", "from", "to", "who", "why"]);
    for MoveReport { at, group, build, from, to, actor, reason } in moves {
        table.add_row(vec![
            at.to_string(),
            group.clone(),
            build.clone(),
            (*from).to_owned(),
            (*to).to_owned(),
            actor.clone(),
            reason.clone(),
        ]);
    }
    table.to_string()
}

/// The builds for people.
pub(crate) fn builds_text(report: &BuildsReport) -> String {
    let BuildsReport { builds, notice, rebuild, moves } = report;
    let mut table = table(&["build", "stage", "rows", "size", "position", "since", ""]);
    for build in builds {
        table.add_row(vec![
            build.build.clone(),
            build.stage.to_owned(),
            build.rows.map(|rows| rows.to_string()).unwrap_or_default(),
            bytes_in_words(build.bytes),
            build.position.map(|position| position.to_string()).unwrap_or_default(),
            build.since.to_string(),
            if build.own { "this code's".to_owned() } else { String::new() },
        ]);
    }
    let mut text = format!("{table}\n");
    if let Some(suspended) = &notice.suspended {
        let (actor, reason, at) = (&suspended.actor, &suspended.reason, suspended.at);
        let _ = writeln!(text, "suspended by {actor} at {at}: {reason}");
    }
    if let Some(since) = notice.deprecated_at {
        let sunset = notice.sunset.map_or_else(String::new, |sunset| format!(", until {}", sunset.date()));
        let successor = notice.successor.as_deref().map_or_else(String::new, |it| format!("; instead: {it}"));
        let _ = writeln!(text, "deprecated since {}{sunset}{successor}", since.date());
    }
    if let Some(rebuild) = rebuild {
        let _ = writeln!(text, "{}", rebuild_line(rebuild));
    }
    if !moves.is_empty() {
        let _ = writeln!(text, "\n{}", moves_table(moves));
    }
    text
}

/// A rebuild in one line.
pub(crate) fn rebuild_line(rebuild: &Rebuild) -> String {
    let Rebuild { group, to, step, progress, reason, .. } = rebuild;
    let mut line = format!("rebuild of {group}: build {to} is {step}");
    if matches!(step, RebuildStep::Building | RebuildStep::CatchingUp) {
        let (position, target) = (progress.position, progress.target);
        let percent = progress.share() * 100.0;
        let rate = progress.events_per_second;
        let _ = write!(line, ", {position} of {target} ({percent:.0} %), {rate:.0} events/s");
        if let Some(left) = progress.seconds_left {
            let _ = write!(line, ", {} left", seconds_in_words(left));
        }
    }
    if let Some(reason) = reason {
        let _ = write!(line, ": {reason}");
    }
    line
}
