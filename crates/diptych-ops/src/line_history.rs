//! The command line of `streams`, `audit`, `export` and `import-log`.

use crate::export::{ExportFilter, export, import_log};
use crate::history::{AUDIT_ROWS, EVENTS_MAX, audit_tree, list_audit, show_stream, stream_events};
use crate::{ActionError, Operator, Report};
use clap::{Arg, ArgMatches, Command, value_parser};
use diptych_command::{AsOf, AuditFilter, AuditOutcome, Languages, LogRestore};
use diptych_core::{Actor, Category, CausationId, CorrelationId, StreamId, Tenant, Timestamp, Version};
use std::fmt::Display;
use std::path::PathBuf;

/// `streams`, `audit` and `export`.
pub(crate) fn verbs() -> [Command; 3] {
    let stream = || Arg::new("stream").value_name("STREAM").help("Such as `order-42`").required(true);
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let show = Command::new("show").about("One stream as it is, or as it was").args([
        stream(),
        option("version", "N", "As it was at this version").value_parser(value_parser!(u64).range(1..)),
        option("at", "TIME", "As it was recorded by then, such as 2026-11-24T10:00:00Z")
            .conflicts_with("version"),
        option("occurred-at", "TIME", "As it had happened by then").conflicts_with_all(["version", "at"]),
    ]);
    let events = Command::new("events").about("Its events, with who, when and by which command").args([
        stream(),
        option("after", "N", "Only those after this version").value_parser(value_parser!(u64)),
        option("limit", "N", "At most so many").value_parser(value_parser!(usize)),
    ]);
    let list = Command::new("list").about("Every command, refused ones too, newest first").args([
        // `--actor` says on whose behalf the operator acts, everywhere.
        option("by", "ACTOR", "Who asked"),
        option("command", "NAME", "The command's name"),
        option("stream", "STREAM", "Such as `order-42`"),
        option("category", "CATEGORY", "The category of the stream"),
        option("outcome", "WORD", "accepted, rejected, refused, conflict or forbidden"),
        option("since", "TIME", "Recorded then or later"),
        option("until", "TIME", "Recorded before then"),
        option("correlation", "ID", "The conversation"),
        option("causation", "ID", "What caused it"),
        option("limit", "N", "At most so many").value_parser(value_parser!(usize)),
    ]);
    let tree = Command::new("tree")
        .about("What a command or an event caused, the rows it touched, and what caused it")
        .arg(Arg::new("id").value_name("ID").help("A command's id, or `order-42@3`").required(true));
    let parent = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).subcommand_required(true).arg_required_else_help(true)
    };
    [
        parent("streams", "Look at streams as they are and as they were").subcommands([show, events]),
        parent("audit", "Who did what, and what caused what").subcommands([list, tree]),
        export_verb(),
    ]
}

fn export_verb() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("export").about("Write the log, or a part of it, to a file, one event in a line").args([
        option("out", "FILE", "The file").required(true).value_parser(value_parser!(PathBuf)),
        option("stream", "STREAM", "Only this stream, such as `order-42`"),
        option("category", "CATEGORY", "Only the streams of this category"),
        // `--tenant` says on whose behalf the operator acts, everywhere, and is never absent.
        option("of-tenant", "TENANT", "Only the streams of this tenant"),
        option("since", "TIME", "Only what was recorded then or later"),
        option("until", "TIME", "Only what was recorded before then"),
    ])
}

/// `import-log`, which needs a store that nothing else has opened.
#[must_use]
pub fn import_verb() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .help("What `export` wrote")
        .required(true)
        .value_parser(value_parser!(PathBuf));
    Command::new("import-log").about("Fill an empty store with an export, as it was").arg(file)
}

/// Does what `import-log` says.
///
/// # Errors
/// A store that holds something, a file that is not whole, or a fault.
pub async fn run_import(
    store: &dyn LogRestore,
    languages: &Languages,
    arguments: &ArgMatches,
) -> Result<Report, ActionError> {
    let file = arguments.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    import_log(store, languages, &file).await
}

async fn run_export(operator: &Operator<'_>, own: &ArgMatches) -> Result<Report, ActionError> {
    let stream = checked(own, "stream", |text| StreamId::parse(text))?;
    let category = checked(own, "category", Category::new)?;
    let tenant = checked(own, "of-tenant", Tenant::new)?;
    let filter = ExportFilter {
        stream: stream.map(|stream| stream.to_string()),
        category: category.map(|category| category.to_string()),
        tenant: tenant.map(|tenant| tenant.to_string()),
        since: parsed(own, "since")?,
        until: parsed(own, "until")?,
    };
    let file = own.get_one::<PathBuf>("out").cloned().unwrap_or_default();
    export(operator, filter, &file, operator.commands.now()).await
}

/// Does what `streams` or `audit` says.
pub(crate) async fn run(
    operator: &Operator<'_>,
    verb: &str,
    arguments: &ArgMatches,
) -> Result<Report, ActionError> {
    match (verb, arguments.subcommand()) {
        ("streams", Some(("show", own))) => show_stream(operator, text(own, "stream"), moment(own)?).await,
        ("streams", Some(("events", own))) => {
            let after = Version(own.get_one::<u64>("after").copied().unwrap_or_default());
            let limit = own.get_one::<usize>("limit").copied().unwrap_or(EVENTS_MAX);
            stream_events(operator, text(own, "stream"), after, limit).await
        }
        ("audit", Some(("list", own))) => {
            let limit = own.get_one::<usize>("limit").copied().unwrap_or(AUDIT_ROWS);
            list_audit(operator, filter(own)?, limit).await
        }
        ("audit", Some(("tree", own))) => audit_tree(operator, text(own, "id")).await,
        ("export", _) => run_export(operator, arguments).await,
        (other, _) => Err(ActionError::Argument { reason: format!("there is no verb `{other}`") }),
    }
}

fn moment(own: &ArgMatches) -> Result<Option<AsOf>, ActionError> {
    if let Some(version) = own.get_one::<u64>("version") {
        return Ok(Some(AsOf::Version(Version(*version))));
    }
    if let Some(time) = parsed::<Timestamp>(own, "at")? {
        return Ok(Some(AsOf::Recorded(time)));
    }
    Ok(parsed::<Timestamp>(own, "occurred-at")?.map(AsOf::Occurred))
}

fn filter(own: &ArgMatches) -> Result<AuditFilter, ActionError> {
    let mut filter = AuditFilter {
        actor: checked(own, "by", Actor::new)?,
        category: checked(own, "category", Category::new)?,
        command: own.get_one::<String>("command").cloned(),
        outcome: parsed::<AuditOutcome>(own, "outcome")?,
        since: parsed(own, "since")?,
        until: parsed(own, "until")?,
        correlation: checked(own, "correlation", CorrelationId::new)?,
        causation: checked(own, "causation", CausationId::new)?.into_iter().collect(),
        ..AuditFilter::default()
    };
    if let Some(stream) = checked(own, "stream", |text| StreamId::parse(text))? {
        (filter.category, filter.key) = (Some(stream.category), Some(stream.key));
    }
    Ok(filter)
}

/// A value that is made from text.
pub(crate) fn checked<'a, T, E: Display>(
    own: &'a ArgMatches,
    name: &str,
    make: impl FnOnce(&'a String) -> Result<T, E>,
) -> Result<Option<T>, ActionError> {
    let made = own.get_one::<String>(name).map(make).transpose();
    made.map_err(|error| ActionError::Argument { reason: format!("`--{name}`: {error}") })
}

/// A value that reads itself from text.
pub(crate) fn parsed<T>(own: &ArgMatches, name: &str) -> Result<Option<T>, ActionError>
where
    T: std::str::FromStr,
    T::Err: Display,
{
    checked(own, name, |text| text.parse())
}

fn text<'a>(arguments: &'a ArgMatches, name: &str) -> &'a str {
    arguments.get_one::<String>(name).map(String::as_str).unwrap_or_default()
}
