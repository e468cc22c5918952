//! How a service knows its callers, as the command line says it: by tokens whose keys lie in a file, or not
//! at all, in development. Checks no token itself.
#![allow(clippy::print_stderr, reason = "this is the command line")]

use crate::{Config, Service, SystemClock};
use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use diptych_core::{Anybody, Authenticate, Clock, Code, Fault, Principal, PrincipalError};
use diptych_http::MetricsAccess;
use diptych_policy::{ClaimNames, Jwt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where keys come from: the option, the variable, and how they are read.
const KEYS: [(&str, &str, Open); 3] = [
    ("jwks", "DIPTYCH_JWKS", |file| Jwt::jwks(file)),
    ("jwt-key", "DIPTYCH_JWT_KEY", |file| Jwt::public_key(file)),
    ("jwt-secret", "DIPTYCH_JWT_SECRET", |file| Jwt::secret(file)),
];

type Open = fn(&Path) -> Result<Jwt, Fault>;

/// How long a token made on the command line lives, in minutes.
const TOKEN_MINUTES_DEFAULT: &str = "60";

/// What a token has to fit, on every verb that reads or makes one.
fn token_options() -> [Arg; 6] {
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FILE").help(help).value_parser(NonEmptyStringValueParser::new())
    };
    [
        file("jwks", "Know callers by tokens: a set of public keys (JWKS); or `DIPTYCH_JWKS`"),
        file("jwt-key", "Know callers by tokens: public keys in PEM; or `DIPTYCH_JWT_KEY`"),
        file("jwt-secret", "Know callers by tokens: shared secrets, one a line; or `DIPTYCH_JWT_SECRET`"),
        Arg::new("jwt-issuer")
            .long("jwt-issuer")
            .value_name("TEXT")
            .help("Take only tokens of this issuer; or `DIPTYCH_JWT_ISSUER`"),
        Arg::new("jwt-audience")
            .long("jwt-audience")
            .value_name("TEXT")
            .help("Take only tokens for this audience; or `DIPTYCH_JWT_AUDIENCE`"),
        Arg::new("jwt-claim")
            .long("jwt-claim")
            .value_name("WHAT=CLAIM")
            .help("Under which name a token says it: `tenant=org`, `roles=/realm_access/roles`")
            .action(ArgAction::Append)
            .value_parser(claim),
    ]
}

/// The options of `serve`.
pub(crate) fn serve_options() -> Vec<Arg> {
    let levels = Arg::new("jwt-levels")
        .long("jwt-levels")
        .value_name("LEVELS")
        .help("The levels of clearance, from the lowest on, joined by commas; or `DIPTYCH_JWT_LEVELS`");
    let metrics = Arg::new("metrics-open")
        .long("metrics-open")
        .help("Show the metrics to callers who do not prove who they are, too")
        .action(ArgAction::SetTrue);
    let principal = Arg::new("principal")
        .long("principal")
        .value_name("PRINCIPAL")
        .help("Whom everybody is taken for without tokens: `main/ann;teams=a,b;roles=c;clearance=2`")
        .value_parser(|text: &str| Principal::from_text(text));
    let anybody = Arg::new("any-principal")
        .long("any-principal")
        .help("Take callers for whom the header `Development-Principal` names; for development only")
        .action(ArgAction::SetTrue);
    let mut options = Vec::from(token_options());
    options.extend([levels, metrics, principal, anybody]);
    options
}

/// The verb that makes tokens.
pub(crate) fn token_verb() -> Command {
    let words = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("NAMES").help(help).value_delimiter(',')
    };
    let clearance = Arg::new("clearance")
        .long("clearance")
        .help("How careful a thing may be looked at: a rank, 0 being the lowest")
        .default_value("0")
        .value_parser(value_parser!(u32));
    let minutes = Arg::new("minutes")
        .long("minutes")
        .help("How long it holds")
        .default_value(TOKEN_MINUTES_DEFAULT)
        .value_parser(value_parser!(u32).range(1..));
    let issue = Command::new("issue")
        .about("Make a token for `--actor` of `--tenant`, signed with the first secret of `--jwt-secret`")
        .args(token_options())
        .args([words("teams", "The actor's teams"), words("roles", "The actor's roles"), clearance, minutes]);
    let file =
        Arg::new("file").value_name("FILE").help("A new file, readable by its owner only").required(true);
    let secret = Command::new("secret").about("Make a secret that signs tokens").arg(file);
    Command::new("token")
        .about("Make tokens, where a secret signs them: for development and machines")
        .subcommand_required(true)
        .subcommands([issue, secret])
}

/// Reads `tenant=org`.
fn claim(text: &str) -> Result<(String, String), String> {
    let (what, claim) = text.split_once('=').ok_or("it is not of the form `tenant=org`")?;
    let known = ["actor", "tenant", "teams", "roles", "clearance"];
    if !known.contains(&what) || claim.is_empty() {
        return Err(format!("a token says of a caller: {}", known.join(", ")));
    }
    Ok((what.to_owned(), claim.to_owned()))
}

/// What an option says, or else its variable.
fn given(arguments: &ArgMatches, name: &str, variable: &str) -> Option<String> {
    let given = arguments.try_get_one::<String>(name).ok().flatten().cloned();
    given.or_else(|| std::env::var(variable).ok().filter(|text| !text.is_empty()))
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::permanent(Code::AuthenticationInvalid, message)
}

/// The authentication that options and variables describe; none where they name no keys.
fn tokens(arguments: &ArgMatches) -> Result<Option<Jwt>, Fault> {
    let named = KEYS.iter().filter_map(|(name, variable, open)| {
        given(arguments, name, variable).map(|file| (*name, file, *open))
    });
    let mut named: Vec<_> = named.collect();
    let further = [("jwt-issuer", "DIPTYCH_JWT_ISSUER"), ("jwt-audience", "DIPTYCH_JWT_AUDIENCE")];
    let [issuer, audience] = further.map(|(name, variable)| given(arguments, name, variable));
    let claims: Vec<_> = arguments.get_many::<(String, String)>("jwt-claim").into_iter().flatten().collect();
    if named.len() > 1 {
        let options: Vec<_> = named.iter().map(|(name, ..)| format!("`--{name}`")).collect();
        return Err(invalid(format!("{} exclude each other: name one file of keys", options.join(" and "))));
    }
    let Some((_, file, open)) = named.pop() else {
        if issuer.is_some() || audience.is_some() || !claims.is_empty() {
            let files = "`--jwks`, `--jwt-key` or `--jwt-secret`";
            return Err(invalid(format!(
                "what tokens say is configured, and no keys of tokens: name {files}"
            )));
        }
        return Ok(None);
    };
    let mut jwt = open(Path::new(&file))?;
    if let Some(issuer) = issuer {
        jwt = jwt.issuer(issuer);
    }
    if let Some(audience) = audience {
        jwt = jwt.audience(audience);
    }
    if let Some(levels) = given(arguments, "jwt-levels", "DIPTYCH_JWT_LEVELS") {
        jwt = jwt.levels(levels.split(',').map(|level| level.trim().to_owned()));
    }
    let mut names = ClaimNames::default();
    for (what, claim) in claims {
        let place = match what.as_str() {
            "actor" => &mut names.actor,
            "tenant" => &mut names.tenant,
            "teams" => &mut names.teams,
            "roles" => &mut names.roles,
            _ => &mut names.clearance,
        };
        place.clone_from(claim);
    }
    Ok(Some(jwt.claim_names(names)))
}

/// The service and its configuration, with what the command line says of callers.
pub(crate) fn configured(
    service: &Service,
    config: Config,
    arguments: &ArgMatches,
) -> Result<(Service, Config), Fault> {
    let (mut service, mut config) = (service.clone(), config);
    if arguments.get_flag("metrics-open") {
        config.metrics_access = MetricsAccess::Open;
    }
    let principal = arguments.get_one::<Principal>("principal").cloned();
    let anybody = arguments.get_flag("any-principal");
    let tokens = tokens(arguments)?;
    if tokens.is_some() && service.authenticate.is_some() {
        return Err(invalid(
            "the service knows its callers by its own means, and takes no keys from outside",
        ));
    }
    if let Some(jwt) = tokens {
        service.authenticate = Some(Arc::new(jwt));
    }
    if service.authenticate.as_deref().is_some_and(Authenticate::is_proof) && (principal.is_some() || anybody)
    {
        return Err(invalid(
            "callers have to prove who they are here, and `--principal` and `--any-principal` are for \
             development",
        ));
    }
    if let Some(principal) = principal {
        config.principal = principal;
    }
    if anybody {
        service.authenticate = Some(Arc::new(Anybody(config.principal.clone())));
    }
    Ok((service, config))
}

/// What whoever starts a service without proof has to know.
pub(crate) fn warn_of_development(service: &Service, config: &Config) {
    if service.authenticate.as_deref().is_some_and(Authenticate::is_proof) {
        return;
    }
    let chosen = if service.authenticate.is_some() { ", or whom `Development-Principal` names" } else { "" };
    eprintln!(
        "DEVELOPMENT: no caller proves who it is. Everybody on this machine is {}{chosen}.\n\
         To know callers by tokens: `serve --jwks FILE` (see docs/security.md)",
        config.principal
    );
}

/// Makes a token or a secret, and says it.
pub(crate) fn make(arguments: &ArgMatches) -> Result<String, Fault> {
    if let Some(("secret", own)) = arguments.subcommand() {
        let file = own.get_one::<String>("file").expect("the argument is required");
        return diptych_policy::write_secret(Path::new(file)).map(|()| format!("{file} holds a new secret"));
    }
    let Some(("issue", own)) = arguments.subcommand() else {
        return Err(invalid("`token` has the verbs `issue` and `secret`"));
    };
    let jwt = tokens(own)?.ok_or_else(|| invalid("name the secret that signs: `--jwt-secret FILE`"))?;
    let minutes = own.get_one::<u32>("minutes").copied().expect("the argument has a default");
    let life = Duration::from_secs(u64::from(minutes) * 60);
    let principal = described(own).map_err(|error| invalid(error.to_string()))?;
    jwt.issue(&principal, SystemClock.now(), life)
}

fn described(arguments: &ArgMatches) -> Result<Principal, PrincipalError> {
    let text = |name| arguments.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let words = |name| arguments.get_many::<String>(name).into_iter().flatten().cloned().collect();
    let claims = diptych_core::Claims {
        teams: words("teams"),
        roles: words("roles"),
        clearance: arguments.get_one::<u32>("clearance").copied().unwrap_or_default(),
    };
    Ok(Principal::new(text("tenant"), text("actor"))?.with(claims))
}
