//! Runs: the smallest complete service. A run is recorded with a status; statuses are counted per tenant.

use diptych::prelude::*;

#[derive(Id)]
struct RunId(String);

/// The hinge: what both panels read. Names are the stored format.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "run", owner = "platform")]
enum RunEvent {
    /// A run has ended with a status, which may be any text.
    RunRecorded { status: String },
}

#[derive(Clone, Debug, PartialEq, Command)]
enum RunCommand {
    /// Records how a run ended.
    Record { status: String },
}

#[derive(Clone, Debug, PartialEq, Rejection)]
enum RunRejection {
    #[reject("the run is already recorded as `{status}`")]
    RunAlreadyRecorded { status: String },
}

/// The left panel: one run, which is recorded once.
#[derive(Default, Data)]
struct Run {
    status: Option<String>,
}

impl Decider for Run {
    type Command = RunCommand;
    type Event = RunEvent;
    type Rejection = RunRejection;

    fn decide(&self, command: RunCommand, _: &Context) -> Result<Vec<RunEvent>, RunRejection> {
        match (&self.status, command) {
            (None, RunCommand::Record { status }) => Ok(vec![RunEvent::RunRecorded { status }]),
            (Some(status), _) => Err(RunRejection::RunAlreadyRecorded { status: status.clone() }),
        }
    }

    fn evolve(self, event: &RunEvent) -> Self {
        match event {
            RunEvent::RunRecorded { status } => Self { status: Some(status.clone()) },
        }
    }
}

/// The right panel: every run.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "runs_kept", revision = 1, owner = "platform", contract = "bounded 5s")]
struct KeptRun {
    #[key]
    run: RunId,
    #[filter]
    status: String,
    #[sort]
    recorded_at: Timestamp,
}

impl Projection for KeptRun {
    type Event = RunEvent;

    fn route(fact: &Fact<RunEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(_: Option<Self>, fact: &Fact<RunEvent>) -> Option<Self> {
        let RunEvent::RunRecorded { status } = &fact.event;
        Some(Self { run: fact.id(), status: status.clone(), recorded_at: fact.occurred_at() })
    }
}

/// The right panel: how many runs ended with each status. Brought up to date by `drain`.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "run_summary", revision = 1, owner = "platform", on_demand)]
struct StatusCount {
    #[key]
    status: String,
    #[sort]
    runs: i64,
}

impl Projection for StatusCount {
    type Event = RunEvent;

    fn route(fact: &Fact<RunEvent>) -> Route<Self> {
        let RunEvent::RunRecorded { status } = &fact.event;
        Route::key(status.clone())
    }

    fn project(row: Option<Self>, fact: &Fact<RunEvent>) -> Option<Self> {
        let RunEvent::RunRecorded { status } = &fact.event;
        let row = row.unwrap_or(Self { status: status.clone(), runs: 0 });
        Some(Self { runs: row.runs + 1, ..row })
    }
}

fn service() -> Service {
    Service::new("runs")
        .about("Records how runs ended and counts their statuses")
        .decider::<Run>()
        .read_model::<KeptRun>()
        .read_model::<StatusCount>()
        .link("/run-summary")
}

fn main() -> ExitCode {
    service().main()
}

#[cfg(test)]
mod tests;
