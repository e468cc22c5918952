//! `POST /commands`: any command in one envelope, which names its type, its target and what it insists on
//! beside the command's own fields.

use crate::app::App;
use crate::command::{Asked, must_be_keyed, read_headers, run, too_slow};
use crate::problem::Problem;
use crate::{body, error, headers, words};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use diptych_command::{
    AnyDecider, CommandType, Fields, RawCommand, RawRequest, Refusal, Request as By, ShapeError,
};
use diptych_core::{Code, CommandId, Version};
use std::sync::Arc;
use tokio::time::timeout_at;

pub(crate) async fn take(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let mut asked = read_headers(&request)?;
    let text =
        timeout_at(asked.framed.deadline, body::json_text(request, app.wire.limits.body_bytes_max)).await;
    let text = text.unwrap_or_else(|_| Err(too_slow())).map_err(|problem| problem.command(&asked.id))?;
    let opened = open(&app, &text, &mut asked);
    let (decider, raw) = opened.map_err(|problem| problem.command(&asked.id))?;
    run(&app, decider.as_ref(), raw, &asked).await
}

/// Takes the command out of its envelope, and into `asked` what the envelope says besides.
fn open(app: &App, text: &str, asked: &mut Asked) -> Result<(Arc<dyn AnyDecider>, RawRequest), Problem> {
    // The command's own reading checks how long its texts are.
    let mut fields = Fields::parse_with(text, usize::MAX).map_err(shape)?;
    let id: Option<Option<String>> = fields.take("commandId");
    let expected: Option<Option<u64>> = fields.take("expectedVersion");
    let name: Option<String> = fields.take("type");
    if let Some(id) = id.flatten() {
        name_command(id, asked)?;
    }
    if let Some(expected) = expected.flatten() {
        expect(Version(expected), asked)?;
    }
    let Some(name) = name else {
        return Err(shape(fields.rest().err().unwrap_or_else(|| ShapeError::field("type", "is missing"))));
    };
    let (decider, command) = addressed(app, &name, &mut fields)?;
    let key: Option<String> = fields.take(&words::id_member(decider.category()));
    check_actor(asked, &command, &mut fields)?;
    let body = fields.rest().map_err(shape)?;
    let key = key.ok_or_else(|| shape(ShapeError::field("", "the target is missing")))?;
    must_be_keyed(&command, asked)?;
    let command = RawCommand { name: command.name.to_owned(), body };
    let raw = By::by(&asked.principal).to_raw(decider.category(), &key, command);
    let raw = asked.complete(raw);
    Ok((decider, raw))
}

/// The envelope's own id is the key, as the header is; both may say the same.
fn name_command(id: String, asked: &mut Asked) -> Result<(), Problem> {
    let id = CommandId::new(id).map_err(|error| shape(ShapeError::field("commandId", error)))?;
    if asked.keyed && asked.id != id {
        return Err(headers::bad(&headers::IDEMPOTENCY_KEY, "names another command than `commandId`"));
    }
    (asked.id, asked.keyed) = (id, true);
    Ok(())
}

fn expect(version: Version, asked: &mut Asked) -> Result<(), Problem> {
    if asked.expected.is_some_and(|named| named != version) {
        let name = axum::http::header::IF_MATCH;
        return Err(headers::bad(&name, "names another version than `expectedVersion`"));
    }
    asked.expected = Some(version);
    Ok(())
}

/// The decider that is meant: the one that knows the name, or of several the one whose id the envelope holds.
fn addressed(
    app: &App,
    name: &str,
    fields: &mut Fields,
) -> Result<(Arc<dyn AnyDecider>, CommandType), Problem> {
    let deciders = app.wire.commands.deciders().filter_map(|decider| {
        let command = decider.commands().iter().find(|command| command.name == name)?;
        Some((Arc::clone(decider), *command))
    });
    let mut known: Vec<_> = deciders.collect();
    let members: Vec<_> = known.iter().map(|(decider, _)| words::id_member(decider.category())).collect();
    if known.len() > 1 {
        known.retain(|(decider, _)| fields.has(&words::id_member(decider.category())));
    }
    match known.len() {
        1 => Ok(known.remove(0)),
        _ if members.is_empty() => {
            Err(shape(ShapeError::field("type", format!("`{name}` is not a command here"))))
        }
        0 => {
            let reason = format!("`{name}` needs one of the members `{}`", members.join("`, `"));
            Err(shape(ShapeError::field("", reason)))
        }
        _ => {
            let reason = format!("`{name}` may have only one of the members `{}`", members.join("`, `"));
            Err(shape(ShapeError::field("", reason)))
        }
    }
}

/// A member that says who acts must say who asks.
fn check_actor(asked: &Asked, command: &CommandType, fields: &mut Fields) -> Result<(), Problem> {
    let Some(member) = command.actor else {
        return Ok(());
    };
    let named: Option<Option<String>> = fields.take(member);
    let actor = asked.principal.actor.as_str();
    match named.flatten() {
        Some(named) if named != actor => {
            let detail = format!("`{member}` is `{named}`, and the request comes from `{actor}`");
            Err(Problem::new(StatusCode::FORBIDDEN, Code::OtherActor, detail))
        }
        _ => Ok(()),
    }
}

fn shape(error: ShapeError) -> Problem {
    error::of_command_side(Refusal::Shape(error).into())
}
