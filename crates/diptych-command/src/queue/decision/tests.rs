//! Every kind of outcome, on the first and on the last attempt, with and without a belief.

use super::*;
use crate::{RawRejection, RejectionKind, ShapeError};
use diptych_core::{CommandId, Epoch, Fingerprint, Forbidden, Position, StreamId, TextError, Token, Version};

const MAX: u32 = 3;
const BELIEF: ExpectedVersion = ExpectedVersion::Exactly(Version(4));

fn id() -> CommandId {
    CommandId::new("c1").unwrap()
}

fn conflict() -> RawError {
    let stream = StreamId::new("order", "42").unwrap();
    HandleError::Conflict(Conflict::of_version(stream, Version(4), Version(5)))
}

fn boundary_conflict() -> RawError {
    let stream = StreamId::new("order", "42").unwrap();
    HandleError::Conflict(Conflict::of_boundary(stream, Version(4), Position(9)))
}

#[track_caller]
fn check(make: impl Fn() -> RawError, expected: ExpectedVersion, passes: bool, code: Code) {
    for number in 1..=MAX + 1 {
        let attempt = Attempt { number, attempts_max: MAX, expected };
        match after(Err(make()), attempt) {
            After::Retry(trouble) => {
                assert!(passes && number < MAX, "{:?} was tried again after {number}", make());
                assert_eq!(trouble.code, code);
            }
            After::Finish(Ending::Failed(trouble)) => {
                assert!(!passes || number >= MAX, "{:?} was given up after {number}", make());
                assert_eq!(trouble.code, code);
                assert!(!trouble.message.contains("(DP"), "{}", trouble.message);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[track_caller]
fn refused(make: impl Fn() -> Refusal, passes: bool, code: Code) {
    for expected in [ExpectedVersion::Any, BELIEF] {
        check(|| make().into(), expected, passes, code);
    }
}

#[test]
fn success_and_rejection_are_final() {
    let token = Token { epoch: Epoch::FIRST, position: Position(7), fingerprint: Fingerprint(1) };
    let receipt = RawReceipt {
        stream: StreamId::new("order", "42").unwrap(),
        version: Version(2),
        token,
        events: Vec::new(),
        command: id(),
        replayed: true,
    };
    let attempt = Attempt { number: 1, attempts_max: MAX, expected: ExpectedVersion::Any };
    let ending = Ending::Succeeded { version: Version(2), token };
    assert_eq!(after(Ok(receipt), attempt), After::Finish(ending));
    let rejection = RawRejection {
        name: "closed".to_owned(),
        data: "{}".to_owned(),
        message: "it is closed".to_owned(),
        kind: RejectionKind::Refused,
        replayed: false,
    };
    let ending = Ending::Rejected { name: "closed".to_owned(), data: "{}".to_owned() };
    assert_eq!(after(Err(HandleError::Rejected(rejection)), attempt), After::Finish(ending));
}

#[test]
fn a_conflict_is_final_only_for_a_command_that_named_the_version() {
    check(conflict, BELIEF, false, Code::StaleVersion);
    check(conflict, ExpectedVersion::Any, true, Code::Conflict);
    for expected in [ExpectedVersion::Any, BELIEF] {
        check(boundary_conflict, expected, true, Code::Conflict);
    }
}

#[test]
fn what_the_caller_must_mend_is_final() {
    refused(|| Refusal::Forbidden(Forbidden { reason: "no".to_owned() }), false, Code::Forbidden);
    refused(|| Refusal::Shape(ShapeError::field("text", "is missing")), false, Code::Invalid);
    refused(|| Refusal::Shape(ShapeError::malformed("no JSON")), false, Code::Malformed);
    refused(|| Refusal::Text(TextError::Empty { what: "stream key" }), false, Code::BadKey);
    refused(|| Refusal::KeyReused { id: id() }, false, Code::KeyReused);
}

#[test]
fn what_may_pass_is_tried_again() {
    let retry_after = Duration::from_secs(1);
    refused(|| Refusal::Overloaded { retry_after }, true, Code::Overloaded);
    refused(|| Refusal::QueueFull { retry_after }, true, Code::QueueFull);
    refused(|| Refusal::Indeterminate { id: id() }, true, Code::Indeterminate);
    refused(|| Refusal::Unknown { what: "command `New`".to_owned() }, true, Code::NotFound);
}

#[test]
fn a_fault_is_tried_again_if_it_may_pass_and_keeps_its_words_to_the_log() {
    for expected in [ExpectedVersion::Any, BELIEF] {
        let transient = || HandleError::Fault(Fault::transient(Code::Storage, "secret"));
        let permanent = || HandleError::Fault(Fault::permanent(Code::Storage, "secret"));
        let older = || HandleError::Fault(Fault::permanent(Code::OlderCode, "secret"));
        let late = || HandleError::Fault(Fault::permanent(Code::TimedOut, "secret"));
        check(transient, expected, true, Code::Storage);
        check(permanent, expected, false, Code::Storage);
        check(older, expected, true, Code::OlderCode);
        check(late, expected, true, Code::TimedOut);
    }
    assert!(!of_fault(&Fault::transient(Code::Storage, "secret")).message.contains("secret"));
}

#[test]
fn pauses_double_up_to_their_limit_and_are_a_share_of_it() {
    let limits = QueueLimits {
        retry_pause: Duration::from_millis(100),
        retry_pause_max: Duration::from_secs(1),
        ..QueueLimits::default()
    };
    let bounds: Vec<_> = (1..=6).map(|attempts| retry_pause(attempts, &limits, 1.0).as_millis()).collect();
    assert_eq!(bounds, [100, 200, 400, 800, 1_000, 1_000]);
    assert_eq!(retry_pause(u32::MAX, &limits, 1.0), Duration::from_secs(1));
    assert_eq!(retry_pause(3, &limits, 0.5), Duration::from_millis(200));
    assert_eq!(retry_pause(3, &limits, 0.0), Duration::ZERO);
}
