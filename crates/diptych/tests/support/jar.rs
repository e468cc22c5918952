//! A small domain that several tests share: jars that are filled and emptied.

use diptych::prelude::*;

#[derive(Id)]
pub(crate) struct JarId(String);

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "jar", owner = "kitchen")]
pub(crate) enum JarEvent {
    Filled { spoons: i64 },
    Emptied,
}

#[derive(Clone, Debug, PartialEq, Command)]
pub(crate) enum JarCommand {
    Fill { spoons: i64 },
    Empty,
}

#[derive(Clone, Debug, PartialEq, Rejection)]
pub(crate) enum JarRejection {
    #[reject("the jar is empty")]
    JarEmpty,
}

#[derive(Default, Data)]
pub(crate) struct Jar {
    pub(crate) spoons: i64,
}

impl Decider for Jar {
    type Command = JarCommand;
    type Event = JarEvent;
    type Rejection = JarRejection;

    fn decide(&self, command: JarCommand, _: &Context) -> Result<Vec<JarEvent>, JarRejection> {
        match command {
            JarCommand::Fill { spoons } => Ok(vec![JarEvent::Filled { spoons }]),
            JarCommand::Empty if self.spoons == 0 => Err(JarRejection::JarEmpty),
            JarCommand::Empty => Ok(vec![JarEvent::Emptied]),
        }
    }

    fn evolve(self, event: &JarEvent) -> Self {
        match event {
            JarEvent::Filled { spoons } => Self { spoons: self.spoons + spoons },
            JarEvent::Emptied => Self { spoons: 0 },
        }
    }
}
