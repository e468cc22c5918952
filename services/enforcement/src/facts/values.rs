//! Identities and values of the domain.

use diptych::prelude::*;

/// A case.
#[derive(Id)]
pub struct CaseId(String);

/// A decision on a case.
#[derive(Id)]
pub struct DecisionId(String);

/// A party whom a decision concerns.
#[derive(Id)]
pub struct PartyId(String);

/// A team that decides.
#[derive(Id)]
pub struct TeamId(String);

/// A version of the policy that decisions are taken under, such as `ENF-POLICY-2026.04`.
#[derive(Id)]
pub struct PolicyVersion(String);

/// A fine.
#[derive(Id)]
pub struct FineId(String);

/// Who imposes fines, by number.
#[derive(Id)]
pub struct OfficerId(String);

/// An article of the road traffic act, by number.
#[derive(Id)]
pub struct Article(String);

/// A kind of vehicle, by the letter that the registration uses.
#[derive(Id)]
pub struct VehicleClass(String);

/// Why a fine is dismissed, by the sign that the office uses.
#[derive(Id)]
pub struct DismissalCode(String);

/// How somebody is notified, by the letter that the office uses.
#[derive(Id)]
pub struct NotificationCode(String);

/// Where a decision stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
pub enum DecisionStatus {
    /// It is being prepared.
    Draft,
    /// It waits for somebody to decide.
    ReadyForApproval,
    /// It is in force.
    Approved,
    /// It was turned down.
    Rejected,
    /// It was given up before anybody decided.
    Withdrawn,
}

/// How much is at stake in a case; compares from low to high.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
#[scalar(ordered)]
pub enum RiskBand {
    /// Little.
    Low,
    /// Something.
    Medium,
    /// Much.
    High,
}

/// Who may see a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
pub enum VisibilityScope {
    /// The team that it is assigned to.
    Team,
    /// Every team of the organisation.
    Organisation,
}

/// How careful to be with what a decision says; compares from normal to restricted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
#[scalar(ordered)]
pub enum SensitivityLevel {
    /// As with any file.
    Normal,
    /// It names people or trade secrets.
    Confidential,
    /// Looking at it needs a reason.
    Restricted,
}

/// What supports a decision.
#[derive(Clone, Debug, PartialEq, Eq, Data)]
pub struct Evidence {
    /// Where it is filed.
    pub reference: String,
    /// What it is.
    pub description: String,
}
