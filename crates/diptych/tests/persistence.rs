//! What a service says of deciders whose state is stored: columns that are not the state's, collections of
//! nobody, states that do not survive.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

use diptych::prelude::*;
use diptych::testing::{given, stored_state};

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "meter", owner = "energy")]
enum MeterEvent {
    MeterRead { kilowatt_hours: i64 },
}

#[derive(Clone, Command)]
enum MeterCommand {
    Read { kilowatt_hours: i64 },
}

#[derive(Debug, PartialEq, Rejection)]
enum MeterRejection {
    #[reject("a meter does not run backwards")]
    MeterRanBackwards,
}

/// `SEEN` keeps something from its JSON.
#[derive(Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Meter<const SEEN: bool> {
    kilowatt_hours: i64,
    read: bool,
    note: Option<String>,
    #[serde(skip)]
    secret: i64,
}

impl<const SEEN: bool> Decider for Meter<SEEN> {
    type Command = MeterCommand;
    type Event = MeterEvent;
    type Rejection = MeterRejection;

    fn decide(&self, command: MeterCommand, _: &Context) -> Result<Vec<MeterEvent>, MeterRejection> {
        let MeterCommand::Read { kilowatt_hours } = command;
        let before = if SEEN { self.kilowatt_hours } else { self.secret };
        if kilowatt_hours < before {
            return Err(MeterRejection::MeterRanBackwards);
        }
        Ok(vec![MeterEvent::MeterRead { kilowatt_hours }])
    }

    fn evolve(self, event: &MeterEvent) -> Self {
        let MeterEvent::MeterRead { kilowatt_hours } = event;
        Self { kilowatt_hours: *kilowatt_hours, read: true, secret: *kilowatt_hours, ..self }
    }
}

impl StoredState for Meter<true> {
    const COLUMNS: &'static [StateColumn] = &[
        StateColumn::integer("kilowatt_hours", "kilowatt_hours").indexed(),
        StateColumn::boolean("read", "read"),
        StateColumn::text("note", "note"),
    ];
}

impl StoredState for Meter<false> {
    const COLUMNS: &'static [StateColumn] = &[
        StateColumn::text("reading", "kilowatt_hours"),
        StateColumn::integer("secret", "secret"),
        StateColumn::text("key", "note"),
        StateColumn::text("note", "note"),
        StateColumn::timestamp("note", "note"),
    ];
}

fn read(kilowatt_hours: i64) -> MeterEvent {
    MeterEvent::MeterRead { kilowatt_hours }
}

#[test]
fn columns_must_be_properties_of_the_state() {
    let sound = Service::new("energy").state_stored::<Meter<true>>().collection("meter", "meters");
    assert_eq!(sound.problems(), Vec::<String>::new());
    let wrong = Service::new("energy").snapshots::<Meter<false>>().collection("metre", "metres");
    assert_eq!(
        wrong.problems(),
        [
            "collection `metres` is for `metre`, which no decider writes",
            "two columns of the state of `meter` are called `note`",
            "column `reading` of the state of `meter` is text, and `kilowatt_hours` is not",
            "column `secret` of the state of `meter` shows `secret`, which it does not have",
            "a column of the state of `meter` cannot be called `key`",
            "column `note` of the state of `meter` is a point in time, and `note` is not",
        ]
    );
}

#[test]
fn a_state_that_survives_its_row_decides_as_before() {
    stored_state::<Meter<true>>([read(5), read(7)])
        .when(MeterCommand::Read { kilowatt_hours: 6 })
        .then_rejected(MeterRejection::MeterRanBackwards);
    stored_state::<Meter<true>>([read(5)]).when(MeterCommand::Read { kilowatt_hours: 9 }).then([read(9)]);
}

#[test]
#[should_panic(expected = "the stored state must decide as the state itself")]
fn a_state_that_keeps_something_to_itself_is_found_out() {
    given::<Meter<false>>([read(5)])
        .when(MeterCommand::Read { kilowatt_hours: 4 })
        .then_rejected(MeterRejection::MeterRanBackwards);
    let _ = stored_state::<Meter<false>>([read(5)]).when(MeterCommand::Read { kilowatt_hours: 4 });
}
