//! What follows the outcome of an attempt: an end, or another attempt. Pure, so that every case is tested.

use super::{Ending, QueueLimits, Trouble};
use crate::{Conflict, ConflictCause, HandleError, RawError, RawReceipt, Refusal};
use diptych_core::{Code, ExpectedVersion, Fault};
use std::time::Duration;

/// The circumstances of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// How often the command has been begun, this time included.
    pub number: u32,
    /// How often it may be.
    pub attempts_max: u32,
    /// What the command insists on.
    pub expected: ExpectedVersion,
}

/// What follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum After {
    /// The command is over.
    Finish(Ending),
    /// It waits for another attempt.
    Retry(Trouble),
}

/// Decides what follows an outcome. What the domain, the caller's belief or a refusal decided is final;
/// only what may pass is tried again: faults that are transient, an unknown outcome, overload, races lost
/// without a belief, and what only newer code knows.
#[must_use]
pub fn after(outcome: Result<RawReceipt, RawError>, attempt: Attempt) -> After {
    let error = match outcome {
        Ok(RawReceipt { version, token, .. }) => return After::Finish(Ending::Succeeded { version, token }),
        Err(HandleError::Rejected(rejection)) => {
            return After::Finish(Ending::Rejected { name: rejection.name, data: rejection.data });
        }
        Err(error) => error,
    };
    let passes = may_pass(&error, attempt.expected);
    let trouble = trouble(error, attempt.expected);
    if passes && attempt.number < attempt.attempts_max {
        After::Retry(trouble)
    } else {
        After::Finish(Ending::Failed(trouble))
    }
}

/// Whether the same command may fare better later.
fn may_pass(error: &RawError, expected: ExpectedVersion) -> bool {
    match error {
        HandleError::Rejected(_) => false,
        HandleError::Conflict(conflict) => !is_stale(conflict, expected),
        HandleError::Refused(refusal) => match refusal {
            Refusal::Overloaded { .. } | Refusal::QueueFull { .. } | Refusal::Indeterminate { .. } => true,
            // It was known where it was accepted: this process is the older one.
            Refusal::Unknown { .. } => true,
            Refusal::Forbidden(_)
            | Refusal::Shape(_)
            | Refusal::Text(_)
            | Refusal::Boundary(_)
            | Refusal::KeyReused { .. } => false,
        },
        HandleError::Fault(fault) => {
            fault.is_transient() || matches!(fault.code(), Code::OlderCode | Code::TimedOut)
        }
    }
}

/// The words for whoever asked. Of a fault they learn the code; the log has the rest.
fn trouble(error: RawError, expected: ExpectedVersion) -> Trouble {
    match error {
        HandleError::Rejected(rejection) => Trouble { code: Code::Rejected, message: rejection.message },
        HandleError::Conflict(conflict) => conflicted(&conflict, expected),
        HandleError::Refused(refusal) => {
            let (code, text) = (refusal.code(), refusal.to_string());
            let message = text.strip_suffix(&format!(" ({code})")).unwrap_or(&text).to_owned();
            Trouble { code, message }
        }
        HandleError::Fault(fault) => of_fault(&fault),
    }
}

fn conflicted(conflict: &Conflict, expected: ExpectedVersion) -> Trouble {
    let Conflict { stream, expected: believed, actual, attempts, .. } = conflict;
    if is_stale(conflict, expected) {
        let message = format!("stream `{stream}` is at version {actual}, expected {believed}");
        return Trouble { code: Code::StaleVersion, message };
    }
    let message = format!("it was decided {attempts} times and lost every race for `{stream}`");
    Trouble { code: Code::Conflict, message }
}

/// Whether it was the caller's belief that is wrong, which does not pass.
fn is_stale(conflict: &Conflict, expected: ExpectedVersion) -> bool {
    expected != ExpectedVersion::Any && conflict.cause == ConflictCause::Version
}

fn of_fault(fault: &Fault) -> Trouble {
    let code = fault.code();
    Trouble { code, message: format!("{}; the service's log says why", code.title()) }
}

/// The pause before another attempt: a random share, `fraction` in `[0, 1)`, of a bound that doubles with
/// every attempt up to its limit ("full jitter": Brooker, Exponential Backoff And Jitter, AWS Architecture
/// Blog, 2015).
#[must_use]
pub fn retry_pause(attempts: u32, limits: &QueueLimits, fraction: f64) -> Duration {
    let doubled = limits.retry_pause.saturating_mul(1 << attempts.saturating_sub(1).min(30));
    doubled.min(limits.retry_pause_max).mul_f64(fraction.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
