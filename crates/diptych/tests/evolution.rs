//! Event types come and go: read models that read a part of a category, services that would lose facts, and
//! the catalog, on a real service.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::ops::catalog::{FindingKind, Replacing, check, compare, warnings, write};
use diptych::ops::{Output, show_model};
use diptych::prelude::*;
use diptych::testing::catalog;
use support::Folder;

#[derive(Id)]
struct ParcelId(String);

/// What happens to a parcel.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "parcel", owner = "post", retired = "Weighed")]
enum ParcelEvent {
    /// It is on its way.
    Sent { to: String, postage: Money },
    /// It was somewhere.
    Scanned { place: String },
    /// It has arrived.
    Delivered,
}

/// All that matters to whoever waits at the door.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "parcel", owner = "door", unknown = "ignore")]
enum DoorEvent {
    Delivered,
}

#[derive(Clone, Debug, PartialEq, Command)]
enum ParcelCommand {
    Send { to: String },
    Scan { place: String },
    Deliver,
}

#[derive(Clone, Debug, PartialEq, Rejection)]
enum ParcelRejection {
    #[reject("it is delivered")]
    AlreadyDelivered,
}

#[derive(Default, Data)]
struct Parcel {
    delivered: bool,
}

impl Decider for Parcel {
    type Command = ParcelCommand;
    type Event = ParcelEvent;
    type Rejection = ParcelRejection;

    fn decide(&self, command: ParcelCommand, _: &Context) -> Result<Vec<ParcelEvent>, ParcelRejection> {
        if self.delivered {
            return Err(ParcelRejection::AlreadyDelivered);
        }
        Ok(vec![match command {
            ParcelCommand::Send { to } => {
                ParcelEvent::Sent { to, postage: Money::parse("4.90", Currency::GBP).unwrap() }
            }
            ParcelCommand::Scan { place } => ParcelEvent::Scanned { place },
            ParcelCommand::Deliver => ParcelEvent::Delivered,
        }])
    }

    fn evolve(self, event: &ParcelEvent) -> Self {
        Self { delivered: self.delivered || *event == ParcelEvent::Delivered }
    }
}

macro_rules! delivered {
    ($model:ident, $name:literal, $event:ty $(, $mode:ident)?) => {
        #[derive(Clone, Debug, PartialEq, ReadModel)]
        #[read_model(name = $name, revision = 1, owner = "door" $(, $mode)?)]
        struct $model {
            #[key]
            parcel: ParcelId,
        }

        impl Projection for $model {
            type Event = $event;

            fn route(fact: &Fact<$event>) -> Route<Self> {
                Route::key(fact.id())
            }

            fn project(_: Option<Self>, fact: &Fact<$event>) -> Option<Self> {
                Some(Self { parcel: fact.id() })
            }
        }
    };
}
delivered!(AtTheDoor, "at_the_door", DoorEvent);
delivered!(AtOnce, "at_once", DoorEvent, inline);

fn service() -> Service {
    Service::new("post").decider::<Parcel>().read_model::<AtTheDoor>().read_model::<AtOnce>()
}

#[tokio::test]
async fn what_a_read_model_ignores_is_counted_and_shown() {
    let folder = Folder::new();
    let running = service().open(Config::at(folder.path())).await.unwrap();
    let mut last = None;
    for command in [
        ParcelCommand::Send { to: "ann".into() },
        ParcelCommand::Scan { place: "hub".into() },
        ParcelCommand::Deliver,
    ] {
        let request = Request::by(running.principal()).to(&ParcelId::new("1"), command);
        last = Some(running.commands().handle::<Parcel>(request).await.unwrap().token);
    }
    let find = AtTheDoor::find().at_least(last.unwrap()).wait(std::time::Duration::from_secs(20));
    let rows = running.queries().find(running.principal(), find).await.unwrap();
    assert_eq!(rows.value.items, [AtTheDoor { parcel: ParcelId::new("1") }]);
    let operator = running.operator().await.unwrap();
    for model in ["at_the_door", "at_once"] {
        let report = show_model(&operator, model).await.unwrap();
        let text = report.render(Output::Human);
        assert!(text.contains("ignores unknown types of: parcel"), "{text}");
        assert!(text.contains("facts ignored: 2") && text.contains("facts that met no row: 0"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.render(Output::Json)).unwrap();
        assert_eq!((&json["ignored"], &json["ignores"][0]), (&2.into(), &"parcel".into()));
    }
    running.stop().await.unwrap();
}

/// A language that would miss or misread something.
macro_rules! misreading {
    ($test:ident, $decider:ty, $event:item, $expected:expr) => {
        #[test]
        fn $test() {
            #[derive(Clone, Debug, PartialEq, Event)]
            $event
            delivered!(Row, "row", Language);
            let problems = Service::new("post").decider::<$decider>().read_model::<Row>().problems();
            assert_eq!(problems, $expected);
        }
    };
}

misreading!(
    a_part_of_a_category_is_read_only_where_that_is_said,
    Parcel,
    #[event(category = "parcel", owner = "door")]
    enum Language {
        Sent { to: String },
        Delivered,
    },
    [
        "read model `row` would stop at `Scanned` of `parcel`, which it does not know; add it, or \
         declare `unknown = \"ignore\"`",
        "read model `row` would stop at `Weighed` of `parcel`, which it does not know; add it, or \
         declare `unknown = \"ignore\"`",
    ]
);
misreading!(
    a_type_that_nobody_writes_is_a_mistake,
    Parcel,
    #[event(category = "parcel", owner = "door", unknown = "ignore")]
    enum Language {
        Deliverd,
        Weighed,
    },
    ["read model `row` reads `Deliverd` of `parcel`, which is neither written nor retired"]
);

#[test]
fn a_decider_must_know_every_type_of_its_own() {
    #[derive(Default, Data)]
    struct Door {}

    impl Decider for Door {
        type Command = ParcelCommand;
        type Event = DoorEvent;
        type Rejection = ParcelRejection;

        fn decide(&self, _: ParcelCommand, _: &Context) -> Result<Vec<DoorEvent>, ParcelRejection> {
            Ok(Vec::new())
        }

        fn evolve(self, _: &DoorEvent) -> Self {
            self
        }
    }

    let problems = Service::new("door").decider::<Door>().problems();
    let expected = "the decider of `parcel` ignores unknown event types, but a decision needs every event";
    assert_eq!(problems, [expected]);
}

#[test]
fn a_catalog_says_who_writes_and_who_reads() {
    let code = service().catalog().unwrap();
    assert_eq!(code.to_text(), service().catalog().unwrap().to_text(), "the file is deterministic");
    let sent = code.events.iter().find(|event| event.name == "Sent").unwrap();
    assert_eq!((sent.id(), sent.version, &*sent.owner), ("parcel/Sent".to_owned(), 1, "post"));
    assert_eq!((&*sent.meaning, &sent.money[..]), ("It is on its way.", &["postage".to_owned()][..]));
    assert_eq!(sent.schema["properties"]["to"]["type"], "string");
    assert_eq!((sent.producers.len(), sent.consumers.len()), (1, 0));
    let delivered = code.events.iter().find(|event| event.name == "Delivered").unwrap();
    let readers: Vec<_> = delivered.consumers.iter().map(|reader| (&*reader.model, &*reader.owner)).collect();
    assert_eq!(readers, [("at_once", "door"), ("at_the_door", "door")]);
    assert_eq!(code.events_without_consumer, ["parcel/Scanned", "parcel/Sent"]);
    assert_eq!(warnings(&code).len(), 2);
    assert_eq!(code.models[0].reads[0].unknown, "ignore");
    assert_eq!(code.deciders[0].commands[2].segment, "deliver");
    assert_eq!(code.retired, ["parcel/Weighed"]);
}

#[test]
fn a_committed_catalog_holds_the_code() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    let file = folder.path().join("catalog.json");
    let code = service().catalog().unwrap();
    let missing = check(&code, &file, false).unwrap();
    assert_eq!(missing.findings[0].kind, FindingKind::Stale);
    assert!(write(&code, &file, Replacing::Compatible).unwrap().written);
    catalog(&service(), &file);
    assert!(!check(&code, &file, true).unwrap().is_clean(), "strict: two events have no consumer");
    let without_reader = Service::new("post").decider::<Parcel>().catalog().unwrap();
    let stale = check(&without_reader, &file, false).unwrap();
    assert_eq!(stale.findings.len(), 1, "{stale:?}");
    assert_eq!(stale.findings[0].kind, FindingKind::Stale);
    let mut broken = code.clone();
    broken.events.remove(0);
    let refused = write(&broken, &file, Replacing::Compatible).unwrap();
    assert!(!refused.written && !refused.is_clean(), "a breaking change is not written over");
    assert_eq!(compare(&code, &broken)[0].kind, FindingKind::Breaking);
    assert!(write(&broken, &file, Replacing::Anything).unwrap().written);
    std::fs::write(&file, "[]").unwrap();
    let error = check(&code, &file, false).unwrap_err().to_string();
    assert!(error.contains("is no catalog of this program") && error.contains("DP0049"), "{error}");
}
