//! The command line of a service: `serve`, the operator's verbs, and the service's own.
#![allow(clippy::print_stderr, reason = "this is the command line")]

use crate::authentication;
use crate::progress_line::ProgressLine;
use crate::serve::{listen, stop_signal};
use crate::{Config, Place, Role, Roles, Running, Service, Verb, VerbError};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use diptych_command::Persistence;
use diptych_core::{Authenticate, Claims, Fault, Principal};
use diptych_couch::Address;
use diptych_ops::Output;
use diptych_postgres::Notify;
use std::collections::BTreeSet;
use std::io::{ErrorKind, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Parses the command line and does what it says.
pub(crate) fn main(service: Service) -> ExitCode {
    let arguments = command_line(&service).get_matches();
    start_logging();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(run(service, &arguments)) {
        Ok(code) => code,
        Err(error) => fail(&*error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter =
        EnvFilter::try_from_env("DIPTYCH_LOG").unwrap_or_else(|_| EnvFilter::new("warn,diptych=info"));
    // Colours are for people: a log that goes to a file or a collector is plain text.
    let log = tracing_subscriber::fmt().with_ansi(std::io::stderr().is_terminal());
    // Whoever embeds the service may have installed a subscriber of their own.
    let _ = log.with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

fn command_line(service: &Service) -> Command {
    let tenant = Arg::new("tenant").long("tenant").help("Whose data").default_value("main").global(true);
    let actor = Arg::new("actor").long("actor").help("Who acts").default_value("local").global(true);
    let json = Arg::new("json").long("json").help("Print JSON").action(ArgAction::SetTrue).global(true);
    let mut line = Command::new(service.name.clone())
        .about(service.about.clone())
        .version(service.version.clone())
        .args(places())
        .args(choices())
        .args([tenant, actor, json])
        .subcommand(serve_command())
        .subcommand(authentication::token_verb());
    line = line.subcommand(diptych_ops::import_verb());
    for verb in diptych_ops::verbs() {
        line = line.subcommand(verb);
    }
    for verb in &service.verbs {
        line = line.subcommand(verb.command());
    }
    line
}

/// Where everything is.
fn places() -> [Arg; 6] {
    let store = Arg::new("store")
        .long("store")
        .value_name("DIRECTORY or postgres://…")
        .help("Where the store is; `DIPTYCH_STORE` where not given, `var` where that is not set either")
        .global(true);
    let reader = Arg::new("reader-url")
        .long("reader-url")
        .value_name("postgres://…")
        .help("A role of the database that cannot write, for reads; or `DIPTYCH_READER_URL`")
        .global(true);
    let listen = Arg::new("notify-url")
        .long("notify-url")
        .value_name("postgres://… or `poll`")
        .help("Where to listen for appends when the store's URL leads through a pooler")
        .global(true);
    let documents = Arg::new("documents")
        .long("documents")
        .value_name("http://…")
        .help("The CouchDB server that keeps read models declared `document`; or `DIPTYCH_DOCUMENTS`")
        .global(true);
    let outbox = Arg::new("outbox")
        .long("outbox")
        .value_name("FILE")
        .help("The application's own SQLite file, whose outbox is taken in; or `DIPTYCH_OUTBOX`")
        .global(true);
    let exports = Arg::new("exports")
        .long("exports")
        .value_name("FOLDER")
        .help("Under which folder jobs write files; or `DIPTYCH_EXPORTS`; without, in that of the store")
        .global(true);
    [store, reader, listen, documents, outbox, exports]
}

/// What is decided at the start, and not by the code.
fn choices() -> [Arg; 2] {
    let persistence = Arg::new("persistence")
        .long("persistence")
        .value_name("CATEGORY=PERSISTENCE")
        .help("Where a decider's state comes from: `order=event-sourced` or `order=state-stored`")
        .action(ArgAction::Append)
        .value_parser(persistence)
        .global(true);
    let reference = Arg::new("reference")
        .long("reference")
        .value_name("NAME=FILE")
        .help("Where other editions of reference data are read from: `decision-policy=policies.json`")
        .action(ArgAction::Append)
        .value_parser(reference)
        .global(true);
    [persistence, reference]
}

fn serve_command() -> Command {
    let listen = Arg::new("listen")
        .long("listen")
        .value_name("ADDRESS")
        .help("Where to listen; this machine only, unless callers prove who they are by tokens")
        .default_value("127.0.0.1:8080")
        .value_parser(value_parser!(SocketAddr));
    let roles = Arg::new("roles")
        .long("roles")
        .value_name("ROLES")
        .help("What this process does of the service: `command`, `query`, `projector`, joined by commas")
        .default_value("command,query,projector")
        .value_parser(value_parser!(Roles));
    let options = authentication::serve_options();
    Command::new("serve").about("Serve the HTTP interface").args([listen, roles]).args(options)
}

async fn run(service: Service, arguments: &ArgMatches) -> Result<ExitCode, VerbError> {
    if let Some(("catalog", own)) = arguments.subcommand() {
        let report = diptych_ops::run_catalog(&service.catalog()?, own)?;
        say(&report.render(output(own)))?;
        return Ok(exit_code(report.is_clean()));
    }
    if let Some(("policies", own)) = arguments.subcommand()
        && let Some(report) = diptych_ops::run_policies(&own_policies(&service, own)?.in_force(), own)
    {
        let report = report?;
        let output = own.subcommand().map_or(Output::Human, |(_, own)| output(own));
        say(&report.render(output))?;
        return Ok(exit_code(report.is_clean()));
    }
    if let Some(("token", own)) = arguments.subcommand() {
        say(&authentication::make(own)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = config(arguments)?;
    match arguments.subcommand() {
        Some(("import-log", own)) => fill(&service, &config, own).await,
        None => {
            let default = serve_command().get_matches_from(["serve"]);
            let first = service.before_serving.clone();
            serve(&service, developing(&service, config, arguments), &default, first).await
        }
        Some(("serve", own)) => serve(&service, developing(&service, config, arguments), own, None).await,
        Some((name, own)) => match service.verbs.iter().find(|verb| verb.command().get_name() == name) {
            Some(verb) => run_verb(&service, config, &**verb, own).await,
            None => operate(&service, config, name, own).await,
        },
    }
}

/// The service with its policies in force, where they are looked at: others can be checked beside broken
/// ones.
fn own_policies(service: &Service, arguments: &ArgMatches) -> Result<Service, Fault> {
    match arguments.subcommand_name() {
        Some("show") => service.clone().guarded(),
        _ => Ok(service.clone().declared()),
    }
}

fn config(arguments: &ArgMatches) -> Result<Config, VerbError> {
    let text = |name| arguments.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    // Whoever can run this program can read its store: policies may tell operators apart by the role.
    let claims = Claims { roles: BTreeSet::from(["operator".to_owned()]), ..Claims::default() };
    let principal = Principal::new(text("tenant"), text("actor"))?.with(claims);
    let given = |name: &str, variable: &str| {
        let given = arguments.get_one::<String>(name).cloned();
        given.or_else(|| std::env::var(variable).ok().filter(|text| !text.is_empty()))
    };
    let mut store = Place::from_text(&given("store", "DIPTYCH_STORE").unwrap_or_else(|| "var".to_owned()));
    if let Place::Postgres(database) = &mut store {
        database.reader_url = given("reader-url", "DIPTYCH_READER_URL");
        database.notify = match given("notify-url", "DIPTYCH_NOTIFY_URL") {
            None => Notify::Direct,
            Some(text) if text == "poll" => Notify::Poll,
            Some(url) => Notify::At(url),
        };
    }
    let documents = given("documents", "DIPTYCH_DOCUMENTS");
    let documents = documents.map(|text| Address::parse(&text)).transpose()?;
    let outbox = given("outbox", "DIPTYCH_OUTBOX").map(Into::into);
    let persistence = arguments.get_many("persistence").into_iter().flatten().cloned().collect();
    let references = arguments.get_many("reference").into_iter().flatten().cloned().collect();
    let exports = given("exports", "DIPTYCH_EXPORTS").map(PathBuf::from);
    Ok(Config { principal, documents, outbox, persistence, references, exports, ..Config::at(store) })
}

/// Has everybody be whom the service names for development, unless the command line names somebody.
fn developing(service: &Service, config: Config, arguments: &ArgMatches) -> Config {
    let given = |name| arguments.value_source(name) == Some(ValueSource::CommandLine);
    match &service.development {
        Some(principal) if !given("tenant") && !given("actor") => {
            Config { principal: principal.clone(), ..config }
        }
        _ => config,
    }
}

/// Reads `decision-policy=policies.json`.
fn reference(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("it is not of the form `decision-policy=policies.json`")?;
    Ok((name.to_owned(), PathBuf::from(file)))
}

/// Reads `order=state-stored`.
fn persistence(text: &str) -> Result<(String, Persistence), String> {
    let (category, persistence) = text.split_once('=').ok_or("it is not of the form `order=state-stored`")?;
    let persistence = persistence.parse::<Persistence>().map_err(|fault| fault.to_string())?;
    Ok((category.to_owned(), persistence))
}

async fn serve(
    service: &Service,
    config: Config,
    arguments: &ArgMatches,
    first: Option<Arc<dyn Verb>>,
) -> Result<ExitCode, VerbError> {
    let address = *arguments.get_one::<SocketAddr>("listen").expect("the argument has a default");
    let (service, config) = authentication::configured(service, config, arguments)?;
    let proven = service.authenticate.as_deref().is_some_and(Authenticate::is_proof);
    // Taken before anything long begins, so that a taken address is known at once.
    let listener = listen(address, proven).await?;
    let roles = *arguments.get_one::<Roles>("roles").expect("the argument has a default");
    authentication::warn_of_development(&service, &config);
    // INVARIANT: signals are handled before the first sign that the service is there.
    let mut stop = Box::pin(stop_signal());
    let running = tokio::select! {
        running = service.open(Config { roles, ..config }) => running?,
        () = &mut stop => return Ok(stopped_early()),
    };
    if let Some(verb) = first {
        let defaults = verb.command().no_binary_name(true).get_matches_from(Vec::<String>::new());
        tokio::select! {
            result = verb.run(&running, &defaults) => if let Err(error) = result {
                return Err(ended_with(error, running).await);
            },
            () = &mut stop => {
                running.stop().await?;
                return Ok(stopped_early());
            }
        }
    }
    let address = listener.local_addr()?;
    let part = if roles == Roles::ALL { String::new() } else { format!(" ({roles})") };
    eprintln!("{}{part} is at http://{address}  (interface: http://{address}/docs)", running.name());
    running.serve_on(listener, stop).await?;
    eprintln!("finishing what has begun");
    running.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Stops what runs, and answers why it had to: an end without a stop would look like faults of its workers.
async fn ended_with(error: VerbError, running: Running) -> VerbError {
    if let Err(fault) = running.stop().await {
        tracing::warn!(%fault, "what ran did not stop as it should");
    }
    error
}

/// The end of a process that was asked to stop before it served.
fn stopped_early() -> ExitCode {
    eprintln!("stopped; start again to go on");
    ExitCode::from(130)
}

/// Fills an empty store. Nothing else is opened over it: read models would make it one that is in use.
async fn fill(service: &Service, config: &Config, arguments: &ArgMatches) -> Result<ExitCode, VerbError> {
    let store = service.open_store(config).await?;
    let filled = diptych_ops::run_import(&*store, service.languages(), arguments).await;
    store.close().await;
    say(&filled?.render(output(arguments)))?;
    Ok(ExitCode::SUCCESS)
}

async fn run_verb(
    service: &Service,
    config: Config,
    verb: &dyn Verb,
    arguments: &ArgMatches,
) -> Result<ExitCode, VerbError> {
    let running = service.open(config).await?;
    let result = tokio::select! {
        result = verb.run(&running, arguments) => Some(result),
        () = stop_signal() => None,
    };
    let interrupted = match result {
        Some(Err(error)) => return Err(ended_with(error, running).await),
        Some(Ok(())) => false,
        None => true,
    };
    running.stop().await?;
    Ok(if interrupted { ExitCode::from(130) } else { ExitCode::SUCCESS })
}

async fn operate(
    service: &Service,
    config: Config,
    name: &str,
    arguments: &ArgMatches,
) -> Result<ExitCode, VerbError> {
    // The operator looks and drains; following the log and running commands is for a process that serves.
    let roles = Roles::ALL.without(Role::Projector).without(Role::Command);
    let running = service.open(Config { roles, ..config }).await?;
    let operator = running.operator().await?;
    let mut progress = ProgressLine::new(output(arguments));
    let report = tokio::select! {
        report = diptych_ops::run(&operator, name, arguments, &mut progress) => Some(report),
        () = stop_signal() => None,
    };
    progress.leave();
    let Some(report) = report else {
        if let Some(group) = progress.watched() {
            eprintln!(
                "left; the rebuild of {group} goes on in a process that serves, or by `models watch {group}`"
            );
        }
        running.stop().await?;
        return Ok(ExitCode::from(130));
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => return Err(ended_with(error.into(), running).await),
    };
    say(&report.render(output(arguments)))?;
    let clean = report.is_clean();
    running.stop().await?;
    Ok(exit_code(clean))
}

/// Prints a report. A reader that has seen enough, such as `head`, is no failure.
fn say(text: &str) -> std::io::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn output(arguments: &ArgMatches) -> Output {
    if arguments.get_flag("json") { Output::Json } else { Output::Human }
}

fn exit_code(clean: bool) -> ExitCode {
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
