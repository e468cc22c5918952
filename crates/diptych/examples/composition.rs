//! One page for a customer out of three sources: what is on its way comes from a read model, its price from
//! the command side, and where the parcel is from a carrier that never answers in time. The page comes all
//! the same, and says what is missing. `cargo run -p diptych --example composition` shows it against a real
//! store.

use diptych::compose::{Composed, Incomplete, compose};
use diptych::core::Fault;
use diptych::prelude::*;
use std::time::Duration;

#[derive(Id)]
struct ParcelId(String);

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "parcel", owner = "shipping")]
enum ParcelEvent {
    ParcelSent { to: String },
}

#[derive(Clone, Debug, PartialEq, Command)]
enum ParcelCommand {
    Send { to: String },
}

#[derive(Clone, Debug, PartialEq, Rejection)]
enum ParcelRejection {
    #[reject("the parcel has been sent already")]
    AlreadySent,
}

/// A parcel: sent once.
#[derive(Default, Data)]
struct Parcel {
    to: Option<String>,
}

impl Decider for Parcel {
    type Command = ParcelCommand;
    type Event = ParcelEvent;
    type Rejection = ParcelRejection;

    fn decide(&self, command: ParcelCommand, _: &Context) -> Result<Vec<ParcelEvent>, ParcelRejection> {
        let ParcelCommand::Send { to } = command;
        match self.to {
            None => Ok(vec![ParcelEvent::ParcelSent { to }]),
            Some(_) => Err(ParcelRejection::AlreadySent),
        }
    }

    fn evolve(self, event: &ParcelEvent) -> Self {
        let ParcelEvent::ParcelSent { to } = event;
        Self { to: Some(to.clone()) }
    }
}

/// Parcels that are on their way.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "on_their_way", revision = 1, owner = "shipping", inline)]
struct OnTheirWay {
    #[key]
    parcel: ParcelId,
    to: String,
}

impl Projection for OnTheirWay {
    type Event = ParcelEvent;

    fn route(fact: &Fact<ParcelEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(_: Option<Self>, fact: &Fact<ParcelEvent>) -> Option<Self> {
        let ParcelEvent::ParcelSent { to } = &fact.event;
        Some(Self { parcel: fact.id(), to: to.clone() })
    }
}

fn service() -> Service {
    Service::new("shipping").decider::<Parcel>().read_model::<OnTheirWay>()
}

/// A carrier whose answer does not come.
async fn whereabouts(_: &ParcelId) -> Result<String, Fault> {
    std::future::pending().await
}

/// Everything that a customer sees of a parcel.
async fn page(running: &Running, parcel: &ParcelId) -> Result<Composed, Incomplete> {
    let (soon, principal) = (Duration::from_millis(200), running.principal());
    let shown = async {
        let answer = running.queries().get::<OnTheirWay>(principal, parcel, None).await?;
        Ok::<_, diptych::query::QueryError>(answer.map(|row| row.map(|row| row.to)))
    };
    let version = async {
        let found = running.commands().aggregate(principal, "parcel", parcel.as_ref(), None).await;
        // The command side answers in an enum of its own; here only that it failed matters.
        found.map(|found| found.map(|found| found.version.0)).map_err(|_| "the command side has no answer")
    };
    compose(Duration::from_millis(500))
        .required("parcel", soon, shown)
        .optional("version", soon, version)
        .optional("whereabouts", soon, whereabouts(parcel))
        .join()
        .await
}

#[allow(clippy::print_stdout, reason = "an example shows what it does")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("diptych-composition-{}", std::process::id()));
    let running = service().open(Config::at(folder.as_path())).await?;
    let parcel = ParcelId::new("P-1");
    let send = ParcelCommand::Send { to: "Ann".to_owned() };
    running.commands().handle::<Parcel>(Request::by(running.principal()).to(&parcel, send)).await?;
    println!("{}", serde_json::to_string_pretty(&page(&running, &parcel).await?)?);
    running.stop().await?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_comes_without_the_carrier_and_says_so() {
        let folder = std::env::temp_dir().join(format!("diptych-composition-test-{}", std::process::id()));
        let running = service().open(Config::at(folder.as_path())).await.unwrap();
        let parcel = ParcelId::new("P-1");
        let send = ParcelCommand::Send { to: "Ann".to_owned() };
        running
            .commands()
            .handle::<Parcel>(Request::by(running.principal()).to(&parcel, send))
            .await
            .unwrap();
        let page = page(&running, &parcel).await.unwrap();
        assert_eq!(page.part("parcel").unwrap()["value"], "Ann");
        assert_eq!(page.part("parcel").unwrap()["freshness"]["lagEvents"], 0);
        assert_eq!(page.part("version").unwrap(), 1);
        assert_eq!(page.missing()[0].part, "whereabouts");
        running.stop().await.unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }
}
