//! A kitchen on PostgreSQL: shelves of jars, a schema of its own for each test, and how it is asked.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use super::jar::{Jar, JarCommand, JarId};
use diptych::prelude::*;
use diptych::{Database, Place};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A read model of what is in each jar that is not empty, whose tests have `JarId` and `JarEvent` in scope.
macro_rules! shelf {
    ($name:ident, $table:literal $($mode:tt)*) => {
        /// What is in each jar that is not empty.
        #[derive(Clone, Debug, PartialEq, ReadModel)]
        #[read_model(name = $table, revision = 1, owner = "kitchen" $($mode)*)]
        struct $name {
            #[key]
            jar: JarId,
            #[sort]
            spoons: i64,
        }

        impl Projection for $name {
            type Event = JarEvent;

            fn route(fact: &Fact<JarEvent>) -> Route<Self> {
                Route::key(fact.id())
            }

            fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
                match &fact.event {
                    JarEvent::Filled { spoons } => {
                        let held = row.map_or(0, |row| row.spoons);
                        Some(Self { jar: fact.id(), spoons: held + spoons })
                    }
                    JarEvent::Emptied => None,
                }
            }
        }
    };
}
pub(crate) use shelf;

/// A schema of its own in the private server of the test run.
pub(crate) fn fresh() -> Place {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let url = std::env::var("DIPTYCH_POSTGRES_URL")
        .unwrap_or_else(|_| panic!("there is no PostgreSQL to test on: run `cargo xtask test`"));
    let schema = format!("kitchen_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Place::Postgres(Database { schema, ..Database::at(url) })
}

/// Gives a command; answers the position that it left.
pub(crate) async fn give(running: &Running, jar: &str, command: JarCommand) -> Token {
    let request = Request::by(running.principal()).to(&JarId::new(jar), command);
    running.commands().handle::<Jar>(request).await.unwrap().token
}

/// How long a row is waited for.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Rows with everything up to a position.
pub(crate) async fn rows<M: ReadModel>(running: &Running, token: Token) -> Vec<M> {
    let answer = running.queries().find(running.principal(), M::find().at_least(token).wait(LONG)).await;
    let answer = answer.unwrap();
    assert_eq!(answer.freshness.caught_up_to_requested_position, Some(true), "{:?}", answer.health);
    answer.value.items
}
