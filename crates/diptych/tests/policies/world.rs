//! Pieces of work: a decider that offers what it is judged by, and a read model with a column of every kind.

use crate::support::Folder;
use crate::support::kitchen::fresh;
use diptych::Place;
use diptych::core::Claims;
use diptych::prelude::*;
use diptych::query::{Ask, RawRow};
use std::time::Duration;

#[derive(Id)]
pub(crate) struct PieceId(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
#[scalar(ordered)]
pub(crate) enum Risk {
    Low,
    Medium,
    High,
}

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "piece", owner = "works")]
pub(crate) enum PieceEvent {
    PieceMade {
        team: Option<String>,
        title: String,
        amount: i64,
        extra: Option<i64>,
        is_open: bool,
        urgent: Option<bool>,
        due_at: Option<Timestamp>,
        risk: Risk,
        grade: Option<Risk>,
    },
    PieceClosed {
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Command)]
pub(crate) enum PieceCommand {
    Make {
        team: Option<String>,
        title: String,
        amount: i64,
        extra: Option<i64>,
        is_open: bool,
        urgent: Option<bool>,
        due_at: Option<Timestamp>,
        risk: Risk,
        grade: Option<Risk>,
    },
    Close {
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Rejection)]
pub(crate) enum PieceRejection {
    #[reject("the piece is made")]
    PieceIsMade,
}

#[derive(Default, Data)]
pub(crate) struct Piece {
    made: bool,
    is_closed: bool,
    team: Option<String>,
}

impl Decider for Piece {
    type Command = PieceCommand;
    type Event = PieceEvent;
    type Rejection = PieceRejection;
    const POLICY_VIEW: &'static [PolicyAttribute] =
        &[PolicyAttribute::text("team"), PolicyAttribute::bool("isClosed").always()];

    fn decide(&self, command: PieceCommand, _: &Context) -> Result<Vec<PieceEvent>, PieceRejection> {
        match command {
            PieceCommand::Make { .. } if self.made => Err(PieceRejection::PieceIsMade),
            PieceCommand::Make { team, title, amount, extra, is_open, urgent, due_at, risk, grade } => {
                Ok(vec![PieceEvent::PieceMade {
                    team,
                    title,
                    amount,
                    extra,
                    is_open,
                    urgent,
                    due_at,
                    risk,
                    grade,
                }])
            }
            PieceCommand::Close { reason } => Ok(vec![PieceEvent::PieceClosed { reason }]),
        }
    }

    fn evolve(self, event: &PieceEvent) -> Self {
        match event {
            PieceEvent::PieceMade { team, .. } => Self { made: true, is_closed: false, team: team.clone() },
            PieceEvent::PieceClosed { .. } => Self { is_closed: true, ..self },
        }
    }
}

impl Boundary for Piece {
    fn boundary(_: &PieceCommand, context: &Context) -> TagQuery {
        TagQuery::stream(&context.stream)
    }
}

/// Pieces that are made.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "piece_of_work", revision = 1, owner = "works")]
pub(crate) struct PieceOfWork {
    #[key]
    pub(crate) piece: PieceId,
    #[filter]
    pub(crate) team: Option<String>,
    #[filter]
    #[sensitivity(personal)]
    pub(crate) title: String,
    pub(crate) amount: i64,
    pub(crate) extra: Option<i64>,
    pub(crate) is_open: bool,
    pub(crate) urgent: Option<bool>,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) risk: Risk,
    pub(crate) grade: Option<Risk>,
}

impl Projection for PieceOfWork {
    type Event = PieceEvent;

    fn route(fact: &Fact<PieceEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<PieceEvent>) -> Option<Self> {
        match fact.event.clone() {
            PieceEvent::PieceMade { team, title, amount, extra, is_open, urgent, due_at, risk, grade } => {
                Some(Self {
                    piece: fact.id(),
                    team,
                    title,
                    amount,
                    extra,
                    is_open,
                    urgent,
                    due_at,
                    risk,
                    grade,
                })
            }
            PieceEvent::PieceClosed { .. } => row.map(|row| Self { is_open: false, ..row }),
        }
    }
}

/// The command that makes a row.
pub(crate) fn make(row: &PieceOfWork) -> PieceCommand {
    let PieceOfWork { team, title, amount, extra, is_open, urgent, due_at, risk, grade, .. } = row.clone();
    PieceCommand::Make { team, title, amount, extra, is_open, urgent, due_at, risk, grade }
}

/// A piece of a team.
pub(crate) fn piece(name: &str, team: &str) -> PieceOfWork {
    PieceOfWork {
        piece: PieceId::new(name),
        team: Some(team.to_owned()),
        title: format!("piece {name}"),
        amount: 3,
        extra: None,
        is_open: true,
        urgent: None,
        due_at: None,
        risk: Risk::Medium,
        grade: None,
    }
}

pub(crate) fn service(policies: &str) -> Service {
    Service::new("works").decider::<Piece>().read_model::<PieceOfWork>().policies_from(policies)
}

/// The same, with a boundary for each command.
pub(crate) fn service_of_boundaries(policies: &str) -> Service {
    Service::new("works").boundary::<Piece>().read_model::<PieceOfWork>().policies_from(policies)
}

/// Somebody of a team with some roles.
pub(crate) fn somebody(actor: &str, team: &str, roles: &[&str]) -> Principal {
    let claims = Claims {
        teams: [team.to_owned()].into(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        clearance: 0,
    };
    Principal::new("main", actor).unwrap().with(claims)
}

/// Gives a command that makes a piece.
pub(crate) async fn made(running: &Running, who: &Principal, row: &PieceOfWork) -> Token {
    let request = Request::by(who).to(&row.piece, make(row));
    running.commands().handle::<Piece>(request).await.unwrap().token
}

/// What somebody sees of the pieces, with everything up to a position.
pub(crate) async fn asked(running: &Running, who: &Principal, token: Token) -> Vec<RawRow> {
    let (at_least, wait) = (Some(token), Some(Duration::from_secs(20)));
    let ask = Ask { at_least, wait, ..Ask::default() };
    running.queries().ask(who, "piece_of_work", &ask).await.unwrap().value.rows
}

/// Where tests run: a folder of the embedded store, or a schema of PostgreSQL.
pub(crate) enum Home {
    Embedded(Folder),
    Postgres(Place),
}

impl Home {
    pub(crate) fn embedded() -> Self {
        Self::Embedded(Folder::new())
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres(fresh())
    }

    pub(crate) fn config(&self) -> Config {
        match self {
            Self::Embedded(folder) => Config::at(folder.path()),
            Self::Postgres(place) => Config::at(place.clone()),
        }
    }
}
