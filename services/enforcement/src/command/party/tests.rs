//! What a party promises, as sentences.

use super::*;
use diptych::testing::given;

fn register(name: &str) -> PartyCommand {
    PartyCommand::Register { display_name: name.to_owned() }
}

fn registered(name: &str) -> PartyEvent {
    PartyEvent::PartyRegistered { display_name: name.to_owned() }
}

fn correct(name: &str, reason: &str) -> PartyCommand {
    PartyCommand::CorrectName { display_name: name.to_owned(), reason: reason.to_owned() }
}

#[test]
fn a_party_is_registered_once() {
    given::<Party>([]).when(register("Acme Ltd")).then([registered("Acme Ltd")]);
    let twice = PartyRejection::PartyAlreadyRegistered;
    given::<Party>([registered("Acme Ltd")]).when(register("Acme Ltd")).then_rejected(twice);
}

#[test]
fn a_correction_changes_the_name_and_says_why() {
    let (display_name, reason) = ("Acme Trading Ltd".to_owned(), "as in the register".to_owned());
    let corrected = PartyEvent::PartyNameCorrected { display_name, reason };
    let correction = correct("Acme Trading Ltd", "as in the register");
    given::<Party>([registered("Acme Ltd")]).when(correction).then([corrected]);
    let same = PartyRejection::PartyNameUnchanged;
    given::<Party>([registered("Acme Ltd")]).when(correct("Acme Ltd", "why not")).then_rejected(same);
}

#[test]
fn a_party_that_nobody_registered_is_not_found() {
    given::<Party>([]).when(correct("Acme", "typo")).then_rejected(PartyRejection::PartyNotFound);
}

#[test]
fn names_and_reasons_say_something() {
    let blank = |field: &str| PartyRejection::PartyTextBlank { field: field.to_owned() };
    given::<Party>([]).when(register("\t")).then_rejected(blank("name"));
    given::<Party>([registered("Acme")]).when(correct("", "typo")).then_rejected(blank("name"));
    given::<Party>([registered("Acme")]).when(correct("Acme Ltd", "")).then_rejected(blank("reason"));
}
