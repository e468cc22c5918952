//! What a case promises, as sentences.

use super::*;
use diptych::testing::given;

fn open() -> CaseCommand {
    let title = "Regional enforcement review".to_owned();
    CaseCommand::Open { title, party_id: "PARTY-1".into(), risk_band: RiskBand::Medium }
}

fn opened() -> CaseEvent {
    let title = "Regional enforcement review".to_owned();
    CaseEvent::CaseOpened { title, party_id: "PARTY-1".into(), risk_band: RiskBand::Medium }
}

fn change(risk_band: RiskBand, reason: &str) -> CaseCommand {
    CaseCommand::ChangeRiskBand { risk_band, reason: reason.to_owned() }
}

#[test]
fn a_case_is_opened_once() {
    given::<Case>([]).when(open()).then([opened()]);
    let title = "Regional enforcement review".to_owned();
    given::<Case>([opened()]).when(open()).then_rejected(CaseRejection::CaseAlreadyOpen { title });
}

#[test]
fn a_case_that_nobody_opened_is_not_found() {
    given::<Case>([]).when(change(RiskBand::High, "more")).then_rejected(CaseRejection::CaseNotFound);
}

#[test]
fn a_change_of_the_risk_band_changes_it_and_says_why() {
    let (risk_band, reason) = (RiskBand::High, "a second report".to_owned());
    let changed = CaseEvent::CaseRiskBandChanged { risk_band, reason };
    given::<Case>([opened()]).when(change(RiskBand::High, "a second report")).then([changed.clone()]);
    let unchanged = CaseRejection::RiskBandUnchanged { risk_band };
    given::<Case>([opened(), changed]).when(change(RiskBand::High, "again")).then_rejected(unchanged);
    let blank = CaseRejection::CaseTextBlank { field: "reason".to_owned() };
    given::<Case>([opened()]).when(change(RiskBand::High, " ")).then_rejected(blank);
}

#[test]
fn a_case_has_a_title() {
    let blank = CaseRejection::CaseTextBlank { field: "title".to_owned() };
    let open =
        CaseCommand::Open { title: String::new(), party_id: "PARTY-1".into(), risk_band: RiskBand::Low };
    given::<Case>([]).when(open).then_rejected(blank);
}
