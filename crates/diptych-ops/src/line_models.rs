//! The command line of what is done to read models: `models`, `parked`, `drift`, `operations`.

use crate::action::Action;
use crate::actions::{drain, find_model, group_of, list_models, show_model, verify_models};
use crate::builds_report::list_moves;
use crate::line_history::parsed;
use crate::operation::list_operations;
use crate::rows_export::{RowsFormat, export_rows};
use crate::rows_report::{list_drift, list_parked, patrol, row_history, row_named, show_drift, show_parked};
use crate::watch::{RebuildWatcher, is_taken_up, watch_rebuild};
use crate::{ActionError, Operator, Report};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use diptych_core::{Timestamp, ValueType};
use diptych_projector::{Deprecation, Gate, Keys, Repair, Switching};
use diptych_query::{BuildId, ColumnSpec, Correction, Order, Schema, key_from_text};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// How many moves, incidents or operations are shown unless more are asked for.
const SHOWN: usize = 50;

/// What an order on the command line says where looking needs no reason.
const LOOKING: &str = "looked at on the command line";

/// `models`, `parked`, `drift` and `operations`.
pub(crate) fn verbs() -> [Command; 4] {
    let parent = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).subcommand_required(true).arg_required_else_help(true)
    };
    let limit = || option("limit", "N", "At most so many").value_parser(value_parser!(usize));
    let operations =
        Command::new("list").about("Who did what to which read model, newest first").arg(limit());
    [
        parent("models", "Look at read models, build them anew, switch, verify, correct")
            .subcommands(looking(&limit))
            .subcommands(building())
            .subcommands(serving()),
        parked(parent("parked", "Look at keys that are held back, fold them again")),
        drift(parent("drift", "Look at rows that are not what the log says, put them right"), limit()),
        parent("operations", "What operators have done").subcommand(operations),
    ]
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn model() -> Arg {
    Arg::new("model").value_name("MODEL").help("The read model's name").required(true)
}

fn key() -> Arg {
    Arg::new("key").value_name("KEY").help("The row's key, `/` between its parts").required(true)
}

/// What everything that changes something takes: a reason, or only the plan.
fn changing(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).args([
        option("reason", "TEXT", "Why; kept with who does it").required_unless_present("plan"),
        flag("plan", "Say what would happen, and do nothing; exit code 1 when it may not be done now"),
    ])
}

fn looking(limit: &impl Fn() -> Arg) -> Vec<Command> {
    vec![
        Command::new("list").about("How every read model is doing"),
        Command::new("show").about("Everything a read model declares, and its builds").arg(model()),
        Command::new("verify")
            .about("Count and compare every row with a fresh fold of the log; exit code 1 on a difference")
            .arg(model().required(false).help("The read model's name; all of them without")),
        Command::new("drain").about("Fold everything the log holds by now").arg(model()),
        Command::new("moves")
            .about("Which build went from which stage to which, and who ordered it")
            .arg(model().required(false).help("The read model's name; all of them without"))
            .arg(limit()),
        Command::new("watch")
            .about("Follow a rebuild, and drive it where no other process does")
            .arg(model()),
        exporting(),
        Command::new("history").about("Which facts touched a row, corrections too").args([model(), key()]),
    ]
}

fn exporting() -> Command {
    let path = |name, help| {
        option(name, "FILE", help).required(true).value_parser(value_parser!(std::path::PathBuf))
    };
    Command::new("export").about("Write its rows, of one moment, to a file, and FILE.lineage.json").args([
        model(),
        path("to", "The file"),
        option("format", "FORMAT", "`ndjson` or `csv`").default_value("ndjson"),
        Arg::new("filter").value_name("FILTER=VALUE").help("Only rows that fit").num_args(0..),
    ])
}

fn building() -> Vec<Command> {
    let order = |name, about| changing(name, about).arg(model());
    vec![
        order("rebuild", "Build it anew beside the build that answers, compare, and switch").args([
            option("intended", "COLUMNS", "What may differ: `status,+rows`"),
            option("from", "FILE or FOLDER", "Fill it from an export, or from a folder of exports that join")
                .value_parser(value_parser!(std::path::PathBuf)),
            flag("hold", "Do not switch by itself; wait for `models switch`"),
            flag("wait", "Wait until it rests, also where another process does it"),
        ]),
        order("pause", "Let a rebuild stand still"),
        order("resume", "Let a rebuild go on, or a suspended read model answer"),
        order("cancel", "Give a rebuild up; nothing of the new build is left"),
        Command::new("compare")
            .about("Compare the builds of a rebuild; exit code 1 on differences that were not declared")
            .args([model(), option("reason", "TEXT", "Why"), flag("plan", "Say what would happen")]),
        order("switch", "Let the new build answer")
            .arg(flag("force", "Although it differs in ways that were not declared")),
        order("rollback", "Let the old build answer again, at once"),
        order("retire", "Retire a build and remove its tables").arg(option(
            "build",
            "BUILD",
            "Such as `r1g2`; without, the one that is deprecated or replaced",
        )),
    ]
}

fn serving() -> Vec<Command> {
    let order = |name, about| changing(name, about).arg(model());
    let set = option("set", "COLUMN=VALUE", "What a column holds from now on")
        .action(ArgAction::Append)
        .required(true);
    vec![
        order("deprecate", "Say with every answer that it will not be there for ever").args([
            option("sunset", "DATE", "From when on it may be gone, such as 2027-03-31"),
            option("successor", "MODEL", "What answers instead: a read model, or an address"),
        ]),
        order("reinstate", "Take a deprecation back"),
        order("suspend", "Have it answer nobody until `models resume`"),
        changing("correct", "Correct a row, by a command that is kept in its history").args([
            model(),
            key(),
            set,
        ]),
    ]
}

fn parked(parent: Command) -> Command {
    let optional = || model().required(false).help("The read model's name; all of them without");
    parent
        .subcommand(
            Command::new("list").about("Every parked key; exit code 1 if there is any").arg(optional()),
        )
        .subcommand(Command::new("show").about("One parked key").args([model(), key()]))
        .subcommand(changing("retry", "Fold parked keys again, in order").args([
            model(),
            key().required(false).required_unless_present("all"),
            flag("all", "All keys of the read model").conflicts_with("key"),
        ]))
        .subcommand(
            changing("skip", "Have a key pass over the fact that it waits at, for good")
                .args([model(), key()]),
        )
}

fn drift(parent: Command, limit: Arg) -> Command {
    let id = || Arg::new("id").value_name("ID").required(true).help("The incident's id");
    parent
        .subcommand(Command::new("list").about("Every incident; exit code 1 if one is open").arg(limit))
        .subcommand(Command::new("show").about("One incident, with its evidence").arg(id()))
        .subcommand(
            changing("repair", "Fold the row again from the log, and write it where it differs").args([
                Arg::new("id")
                    .value_name("ID or MODEL")
                    .required(true)
                    .help("An incident's id, or a read model"),
                key().required(false).help("With a read model: the row's key"),
            ]),
        )
        .subcommand(changing("close", "Close an incident that is explained; nothing is put right").arg(id()))
        .subcommand(
            Command::new("patrol")
                .about("Compare rows with the log now; exit code 1 on a difference")
                .arg(model().required(false).help("The read model's name; all of them without")),
        )
}

/// Does what one of these verbs says.
pub(crate) async fn run(
    operator: &Operator<'_>,
    verb: &str,
    arguments: &ArgMatches,
    watcher: &mut dyn RebuildWatcher,
) -> Result<Report, ActionError> {
    let Some((name, own)) = arguments.subcommand() else {
        return Err(ActionError::Argument { reason: format!("`{verb}` needs to be told what") });
    };
    let limit = || own.try_get_one::<usize>("limit").ok().flatten().copied().unwrap_or(SHOWN);
    match (verb, name) {
        ("models", "list") => list_models(operator).await,
        ("models", "show") => show_model(operator, text(own, "model")).await,
        ("models", "verify") => verify_models(operator, optional(own, "model")).await,
        ("models", "drain") => drain(operator, text(own, "model")).await,
        ("models", "moves") => list_moves(operator, optional(own, "model"), limit()).await,
        ("models", "history") => row_history(operator, text(own, "model"), text(own, "key")).await,
        ("models", "export") => export(operator, own).await,
        ("models", "watch") => watch_rebuild(operator, text(own, "model"), watcher).await,
        ("models", "rebuild") => rebuild(operator, own, watcher).await,
        ("parked", "list") => list_parked(operator, optional(own, "model")).await,
        ("parked", "show") => show_parked(operator, text(own, "model"), text(own, "key")).await,
        ("drift", "list") => list_drift(operator, limit()).await,
        ("drift", "show") => show_drift(operator, text(own, "id")).await,
        ("drift", "patrol") => patrol(operator, optional(own, "model")).await,
        ("operations", _) => list_operations(operator, limit()).await,
        _ => act(operator, &action(operator, verb, name, own).await?, own).await,
    }
}

/// Plans or applies.
async fn act(operator: &Operator<'_>, action: &Action, own: &ArgMatches) -> Result<Report, ActionError> {
    if own.get_flag("plan") {
        return Ok(Report::Planned(Box::new(action.plan(operator).await?)));
    }
    let reason = optional(own, "reason").unwrap_or(LOOKING).to_owned();
    if reason.trim().is_empty() {
        return Err(ActionError::Argument { reason: "`--reason` must say why".to_owned() });
    }
    action.apply(operator, Order { actor: operator.principal.actor.clone(), reason }).await
}

async fn export(operator: &Operator<'_>, own: &ArgMatches) -> Result<Report, ActionError> {
    let filter: Vec<String> = own.get_many::<String>("filter").into_iter().flatten().cloned().collect();
    let format = parsed(own, "format")?.unwrap_or(RowsFormat::Ndjson);
    let file = own.get_one::<std::path::PathBuf>("to").cloned().unwrap_or_default();
    export_rows(operator, text(own, "model"), &filter, format, &file).await
}

async fn rebuild(
    operator: &Operator<'_>,
    own: &ArgMatches,
    watcher: &mut dyn RebuildWatcher,
) -> Result<Report, ActionError> {
    let group = group_of(operator, text(own, "model"))?.name();
    let intended = parsed(own, "intended")?.unwrap_or_default();
    let switching = if own.get_flag("hold") { Switching::Ordered } else { Switching::Automatic };
    // Another process may do it, from another folder.
    let absolute = |path: &std::path::PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let filled_from = own.get_one::<std::path::PathBuf>("from");
    let filled_from = filled_from.map(|path| absolute(path).display().to_string());
    let action = Action::Rebuild { group: group.to_owned(), intended, switching, filled_from };
    let ordered = act(operator, &action, own).await?;
    if own.get_flag("plan") || (!own.get_flag("wait") && is_taken_up(operator, group).await?) {
        return Ok(ordered);
    }
    watch_rebuild(operator, group, watcher).await
}

/// The action that the words mean.
async fn action(
    operator: &Operator<'_>,
    verb: &str,
    name: &str,
    own: &ArgMatches,
) -> Result<Action, ActionError> {
    if verb == "drift" {
        return drift_action(operator, name, own).await;
    }
    let group = group_of(operator, text(own, "model"))?.name().to_owned();
    Ok(match (verb, name) {
        ("models", "pause") => Action::Pause { group },
        ("models", "resume") => Action::Resume { group },
        ("models", "cancel") => Action::Cancel { group },
        ("models", "compare") => Action::Compare { group },
        ("models", "switch") => {
            let gate = if own.get_flag("force") { Gate::Forced } else { Gate::Compared };
            Action::Switch { group, gate }
        }
        ("models", "rollback") => Action::Rollback { group },
        ("models", "retire") => {
            Action::Retire { group, build: optional(own, "build").map(build).transpose()? }
        }
        ("models", "deprecate") => {
            let sunset = optional(own, "sunset").map(day).transpose()?;
            let successor = optional(own, "successor").map(|name| successor(operator, name));
            Action::Deprecate { group, announced: Deprecation { sunset, successor } }
        }
        ("models", "reinstate") => Action::Reinstate { group },
        ("models", "suspend") => Action::Suspend { group },
        ("models", "correct") => Action::Correct(correction(operator, own)?),
        ("parked", "retry") if own.get_flag("all") => Action::RetryParked { group, keys: Keys::All },
        ("parked", "retry") => {
            let (_, row) = row_named(operator, text(own, "model"), text(own, "key"))?;
            Action::RetryParked { group, keys: Keys::One(row) }
        }
        ("parked", "skip") => {
            let (_, row) = row_named(operator, text(own, "model"), text(own, "key"))?;
            Action::SkipParked { group, row }
        }
        _ => return Err(ActionError::Argument { reason: format!("there is no verb `{verb} {name}`") }),
    })
}

async fn drift_action(operator: &Operator<'_>, name: &str, own: &ArgMatches) -> Result<Action, ActionError> {
    let id = text(own, "id").to_owned();
    if name == "close" {
        return Ok(Action::CloseIncident { id });
    }
    if let Some(key) = optional(own, "key") {
        let (group, row) = row_named(operator, &id, key)?;
        return Ok(Action::RepairRow { group: group.name().to_owned(), what: Repair::Row(row) });
    }
    let group = operator.projector.incident(&id).await?.group;
    Ok(Action::RepairRow { group, what: Repair::Incident(id) })
}

/// A build as people write it, `r1g2`.
fn build(text: &str) -> Result<BuildId, ActionError> {
    let read = || {
        let (revision, generation) = text.strip_prefix('r')?.split_once('g')?;
        Some(BuildId { revision: revision.parse().ok()?, generation: generation.parse().ok()? })
    };
    read().ok_or_else(|| ActionError::Argument {
        reason: format!("`--build`: `{text}` is not a build such as `r1g2`; `models show` lists them"),
    })
}

/// The beginning of a day, or a time.
fn day(text: &str) -> Result<Timestamp, ActionError> {
    let day = format!("{text}T00:00:00Z");
    text.parse().or_else(|_| day.parse()).map_err(|_| ActionError::Argument {
        reason: format!("`--sunset`: `{text}` is not a date such as 2027-03-31"),
    })
}

/// A read model's path segment where the name is that of one; anything else as it is.
fn successor(operator: &Operator<'_>, name: &str) -> String {
    find_model(operator, name).map_or_else(|_| name.to_owned(), |(model, _)| model.schema().segment())
}

fn correction(operator: &Operator<'_>, own: &ArgMatches) -> Result<Correction, ActionError> {
    let (model, _) = find_model(operator, text(own, "model"))?;
    let schema = model.schema();
    let key = text(own, "key");
    let parts: Vec<_> = if schema.key.len() == 1 { vec![key] } else { key.split('/').collect() };
    let key = key_from_text(schema, &parts)?.iter().map(diptych_core::Value::to_json).collect();
    let mut set = BTreeMap::new();
    for pair in own.get_many::<String>("set").into_iter().flatten() {
        let Some((name, value)) = pair.split_once('=') else {
            let reason = format!("`--set`: `{pair}` is not of the form `column=value`");
            return Err(ActionError::Argument { reason });
        };
        set.insert(
            name.to_owned(),
            column(schema, name).map_or_else(|| json!(value), |it| json_of(it, value)),
        );
    }
    let reason = optional(own, "reason").unwrap_or("planned").to_owned();
    Ok(Correction { model: schema.name.to_owned(), key, set, reason })
}

fn column(schema: &'static Schema, name: &str) -> Option<&'static ColumnSpec> {
    schema.column(name).map(|index| &schema.columns[index])
}

/// A value as people write it, in the form that its column has on the wire. What does not fit is left so.
fn json_of(column: &ColumnSpec, text: &str) -> Json {
    if text == "null" && column.nullable {
        return Json::Null;
    }
    match column.value_type {
        ValueType::Integer | ValueType::Bool | ValueType::Json => {
            serde_json::from_str(text).unwrap_or_else(|_| json!(text))
        }
        ValueType::Money => match text.split_once(' ') {
            Some((amount, currency)) => json!({ "amount": amount, "currency": currency }),
            None => json!(text),
        },
        ValueType::Text | ValueType::Timestamp | ValueType::Bytes => json!(text),
    }
}

fn text<'a>(arguments: &'a ArgMatches, name: &str) -> &'a str {
    optional(arguments, name).unwrap_or_default()
}

fn optional<'a>(arguments: &'a ArgMatches, name: &str) -> Option<&'a str> {
    arguments.get_one::<String>(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_read_as_it_is_written() {
        let id = BuildId { revision: 12, generation: 3 };
        assert_eq!(build(&id.to_string()).unwrap(), id);
        for text in ["", "r1", "1g2", "r1g", "rg", "r1g2x"] {
            assert!(build(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_sunset_is_a_day_or_a_time() {
        assert_eq!(day("2027-03-31").unwrap().to_string(), "2027-03-31T00:00:00Z");
        assert_eq!(day("2027-03-31T12:00:00Z").unwrap().to_string(), "2027-03-31T12:00:00Z");
        assert!(day("soon").is_err());
    }

    #[test]
    fn every_verb_that_changes_something_needs_a_reason_or_only_plans() {
        let mut changing = 0;
        for parent in verbs() {
            parent.clone().debug_assert();
            for verb in parent.get_subcommands() {
                let takes_plan = verb.get_arguments().any(|argument| argument.get_id() == "plan");
                if !takes_plan || verb.get_name() == "compare" {
                    continue;
                }
                changing += 1;
                let positional = verb.get_arguments().filter(|argument| argument.is_positional());
                let words = positional.map(|argument| argument.get_id().to_string());
                let mut line = vec![parent.get_name().to_owned(), verb.get_name().to_owned()];
                line.extend(words);
                line.extend((verb.get_name() == "correct").then(|| "--set=a=b".to_owned()));
                let parse = |way: Option<&str>| {
                    let words = line.iter().cloned().chain(way.map(str::to_owned));
                    parent.clone().try_get_matches_from(words).is_ok()
                };
                assert!(!parse(None), "{line:?}");
                assert!(parse(Some("--plan")) && parse(Some("--reason=because")), "{line:?}");
            }
        }
        assert_eq!(changing, 15);
    }
}
