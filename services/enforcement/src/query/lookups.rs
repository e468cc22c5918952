//! What the tables about decisions look up: what a case is called, what a party is called.

use crate::facts::{CaseEvent, CaseId, PartyEvent, PartyId, RiskBand};
use diptych::prelude::*;

/// What a case is about, and how much is at stake.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "case_title",
    revision = 1,
    owner = "casework",
    contract = "bounded 5s",
    about = "case",
    default_sort = "opened_at desc",
    purpose = "name the case beside a decision, so that no list has to load the case",
    journey = "a caseworker looks a case up by its number while drafting a decision",
    freshness_target = "99% within 3s over 30d",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct CaseTitle {
    /// The case.
    #[key]
    pub case_id: CaseId,
    /// What it is about.
    #[sensitivity(internal)]
    pub title: String,
    /// How much is at stake.
    #[filter]
    #[sort]
    pub risk_band: RiskBand,
    /// Whom it concerns.
    #[filter]
    #[sensitivity(internal)]
    pub party_id: PartyId,
    /// When it was opened.
    #[sort]
    pub opened_at: Timestamp,
    /// The version to act on: send it back as `If-Match`.
    pub version: Version,
}

impl Projection for CaseTitle {
    type Event = CaseEvent;

    fn route(fact: &Fact<CaseEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<CaseEvent>) -> Option<Self> {
        match &fact.event {
            CaseEvent::CaseOpened { title, party_id, risk_band } => Some(Self {
                case_id: fact.id(),
                title: title.clone(),
                risk_band: *risk_band,
                party_id: party_id.clone(),
                opened_at: fact.occurred_at(),
                version: fact.version(),
            }),
            CaseEvent::CaseRiskBandChanged { risk_band, .. } => {
                Some(Self { risk_band: *risk_band, version: fact.version(), ..row? })
            }
        }
    }
}

/// What a party is called.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "party_name",
    revision = 1,
    owner = "registry",
    contract = "bounded 5s",
    about = "party",
    purpose = "name the party beside a decision, and keep the name in one place to put it right",
    journey = "a registrar corrects a name and sees it corrected everywhere",
    freshness_target = "99% within 3s over 30d",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct PartyName {
    /// The party.
    #[key]
    #[sensitivity(internal)]
    pub party_id: PartyId,
    /// What it is called.
    #[sort]
    #[sensitivity(personal)]
    pub display_name: String,
    /// The version to act on: send it back as `If-Match`.
    pub version: Version,
}

impl Projection for PartyName {
    type Event = PartyEvent;

    fn route(fact: &Fact<PartyEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(_: Option<Self>, fact: &Fact<PartyEvent>) -> Option<Self> {
        let (PartyEvent::PartyRegistered { display_name }
        | PartyEvent::PartyNameCorrected { display_name, .. }) = &fact.event;
        Some(Self { party_id: fact.id(), display_name: display_name.clone(), version: fact.version() })
    }
}
