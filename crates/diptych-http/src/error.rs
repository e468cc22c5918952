//! Which status each failure of the two panels has on the wire. Nothing else decides one.

use crate::headers::IDEMPOTENCY_REPLAYED;
use crate::json::{Node, Object};
use crate::problem::{Problem, sentence};
use axum::http::{HeaderValue, StatusCode, header};
use diptych_command::{
    AnyDecider, Conflict, ConflictCause, HandleError, RawError, RawRejection, Refusal, RejectionKind,
    ShapeError,
};
use diptych_core::{Code, Fault, Flaw, Timestamp, Unauthenticated};
use diptych_query::QueryError;
use std::time::Duration;

/// When trying again makes sense after a failure that says no time itself.
pub(crate) const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// When trying again makes sense where an operator has to do something first.
pub(crate) const RETRY_AFTER_OPERATOR: Duration = Duration::from_secs(30);

/// A command's failure. `decider` knows its rejections; `named_version` whether If-Match was sent.
pub(crate) fn of_command(error: RawError, decider: &dyn AnyDecider, named_version: bool) -> Problem {
    match error {
        HandleError::Rejected(rejection) => of_rejection(&rejection, decider),
        HandleError::Conflict(conflict) => of_conflict(&conflict, named_version),
        HandleError::Refused(refusal) => of_refusal(&refusal),
        HandleError::Fault(fault) => of_fault(&fault),
    }
}

/// A failure of reading from the command side, where no rejection can occur.
pub(crate) fn of_command_side(error: RawError) -> Problem {
    match error {
        HandleError::Refused(refusal) => of_refusal(&refusal),
        HandleError::Fault(fault) => of_fault(&fault),
        HandleError::Conflict(conflict) => of_conflict(&conflict, false),
        HandleError::Rejected(rejection) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Code::Rejected, rejection.message)
        }
    }
}

/// A question's failure.
pub(crate) fn of_query(error: QueryError) -> Problem {
    let code = error.code();
    let plain = |status| Problem::new(status, code, sentence(&error));
    match &error {
        QueryError::Fault(fault) => of_fault(fault),
        QueryError::Forbidden(_) => plain(StatusCode::FORBIDDEN),
        QueryError::UnknownModel { .. } => plain(StatusCode::NOT_FOUND),
        QueryError::Parameter { name, reason } => {
            let problem = Object::new().with("field", name.as_str()).with("reason", reason.as_str());
            plain(StatusCode::BAD_REQUEST).with("errors", vec![problem])
        }
        QueryError::PageToken { .. } | QueryError::Token { .. } => plain(StatusCode::BAD_REQUEST),
        QueryError::PageTokenExpired => plain(StatusCode::GONE),
        QueryError::EpochChanged { .. } => plain(StatusCode::CONFLICT),
        QueryError::NotFreshEnough { lag_seconds, within, retry_after } => {
            plain(StatusCode::SERVICE_UNAVAILABLE)
                .with("lagSeconds", *lag_seconds)
                .with("withinSeconds", within.map(|within| within.as_secs_f64()))
                .retry_after(*retry_after)
        }
        QueryError::Stalled { health } => {
            plain(StatusCode::SERVICE_UNAVAILABLE).with("health", Node::of(health))
        }
        QueryError::FieldWithheld { .. } => plain(StatusCode::FORBIDDEN),
        QueryError::Unbounded { model, .. } => {
            plain(StatusCode::BAD_REQUEST).link("export", format!("/exports/{model}"))
        }
        QueryError::TimedOut => plain(StatusCode::SERVICE_UNAVAILABLE).retry_after(RETRY_AFTER_DEFAULT),
        // Both end by what an operator does, so that trying again now and then is right.
        _ if matches!(code, Code::ModelSuspended | Code::ModelDegraded) => {
            plain(StatusCode::SERVICE_UNAVAILABLE).retry_after(RETRY_AFTER_OPERATOR)
        }
        _ if code == Code::ModelRetired => gone(None, None),
        _ => plain(StatusCode::INTERNAL_SERVER_ERROR).logged(error.to_string()),
    }
}

/// A read model that is gone for good.
pub(crate) fn gone(successor: Option<&str>, since: Option<Timestamp>) -> Problem {
    let detail = match successor {
        Some(successor) => format!("the read model is retired; ask `{successor}` instead"),
        None => "the read model is retired, and nothing takes its place".to_owned(),
    };
    Problem::new(StatusCode::GONE, Code::ModelRetired, detail)
        .with("successor", successor)
        .with("retiredAt", since.map(|since| since.to_string()))
}

/// The answer to whoever does not say who it is, or cannot prove it (RFC 6750, section 3).
pub(crate) fn unauthenticated(error: &Unauthenticated) -> Problem {
    let challenge = match error.flaw {
        Flaw::Missing => "Bearer".to_owned(),
        Flaw::Refused => {
            // What may stand there is narrower than text: printable ASCII without quotes and backslashes.
            let plain = |character: char| match character {
                '"' | '`' => '\'',
                ' '..='~' if character != '\\' => character,
                _ => '?',
            };
            let reason: String = error.reason.chars().map(plain).collect();
            format!("Bearer error=\"invalid_token\", error_description=\"{reason}\"")
        }
    };
    let challenge = HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer"));
    Problem::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, sentence(error))
        .header(header::WWW_AUTHENTICATE, challenge)
}

/// A failure of infrastructure: the caller learns its code and whether to try again, the log learns the rest.
pub(crate) fn of_fault(fault: &Fault) -> Problem {
    let code = fault.code();
    if code == Code::ModelRetired {
        return gone(None, None);
    }
    let passes = fault.is_transient() || matches!(code, Code::OlderCode | Code::TimedOut);
    let problem = if passes {
        let detail = format!("{}; try again", code.title());
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(RETRY_AFTER_DEFAULT)
    } else {
        let detail = format!("{}; the service's log says why", code.title());
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail)
    };
    problem.logged(fault.to_string())
}

fn of_rejection(rejection: &RawRejection, decider: &dyn AnyDecider) -> Problem {
    let RawRejection { name, data, message, kind, replayed } = rejection;
    let status = match kind {
        RejectionKind::NotFound => StatusCode::NOT_FOUND,
        RejectionKind::Refused => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let known = decider.rejections().iter().find(|known| known.name == name);
    let title = known.map(|known| known.meaning).filter(|meaning| !meaning.is_empty());
    let evidence = Object::new().with("name", name.as_str()).with("data", Node::verbatim(data));
    let problem = Problem::new(status, Code::Rejected, message.as_str())
        .kind(format!("urn:diptych:rejection:{}:{name}", decider.category()), title.map(str::to_owned))
        .with("rejection", evidence);
    if *replayed { problem.header(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true")) } else { problem }
}

fn of_conflict(conflict: &Conflict, named_version: bool) -> Problem {
    let boundary = matches!(conflict.cause, ConflictCause::Boundary { .. });
    if named_version && !boundary {
        Problem::new(StatusCode::PRECONDITION_FAILED, Code::StaleVersion, sentence(conflict))
            .with("currentVersion", conflict.actual.0)
            .with("expectedVersion", conflict.expected.0)
    } else {
        let detail = format!(
            "the command was decided {} times and lost every race for `{}`; try again",
            conflict.attempts, conflict.stream
        );
        let problem = Problem::new(StatusCode::CONFLICT, Code::Conflict, detail)
            .with("currentVersion", conflict.actual.0)
            .retry_after(RETRY_AFTER_DEFAULT);
        if boundary { problem.with("cause", "boundary") } else { problem }
    }
}

fn of_refusal(refusal: &Refusal) -> Problem {
    let code = refusal.code();
    let plain = |status| Problem::new(status, code, sentence(refusal));
    match refusal {
        Refusal::Forbidden(_) => plain(StatusCode::FORBIDDEN),
        Refusal::Shape(shape) => of_shape(shape, plain(shape_status(shape))),
        Refusal::Text(_) => plain(StatusCode::BAD_REQUEST),
        Refusal::Unknown { .. } => plain(StatusCode::NOT_FOUND),
        Refusal::KeyReused { .. } | Refusal::Boundary(_) => plain(StatusCode::UNPROCESSABLE_ENTITY),
        Refusal::Overloaded { retry_after } => {
            plain(StatusCode::SERVICE_UNAVAILABLE).retry_after(*retry_after)
        }
        Refusal::QueueFull { retry_after } => plain(StatusCode::TOO_MANY_REQUESTS).retry_after(*retry_after),
        Refusal::Indeterminate { .. } => {
            plain(StatusCode::SERVICE_UNAVAILABLE).retry_after(RETRY_AFTER_DEFAULT)
        }
        _ => plain(StatusCode::BAD_REQUEST),
    }
}

fn shape_status(shape: &ShapeError) -> StatusCode {
    if shape.malformed { StatusCode::BAD_REQUEST } else { StatusCode::UNPROCESSABLE_ENTITY }
}

/// Names every bad field; a body that is no JSON object has none to name.
fn of_shape(shape: &ShapeError, problem: Problem) -> Problem {
    if shape.malformed {
        return problem;
    }
    problem.with("errors", Node::of(&shape.problems))
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych_core::{Position, StreamId, Version};

    #[test]
    fn a_lost_boundary_is_no_failed_precondition() {
        let stream = StreamId::parse("enrolment-1").unwrap();
        let boundary = Conflict::of_boundary(stream.clone(), Version(3), Position(9));
        let document = of_conflict(&boundary, true).document("/", "");
        assert!(document.contains(r#""status":409,"#), "{document}");
        assert!(document.contains(r#""code":"DP0004","#), "{document}");
        assert!(document.ends_with(r#""currentVersion":3,"retryAfter":1,"cause":"boundary"}"#), "{document}");
        let version = Conflict::of_version(stream, Version(2), Version(3));
        assert_eq!(of_conflict(&version, true).code(), Code::StaleVersion);
        assert!(!of_conflict(&version, false).document("/", "").contains("cause"));
    }
}
