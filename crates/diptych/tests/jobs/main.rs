//! Scheduled jobs, the nightly export, and read models that are folded from it; on both stores.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../support/mod.rs"]
mod support;

mod chain;
mod keeping;
mod killed;
mod kinds;
mod rebuilds;
mod runs;
mod standing;
mod world;

/// Has each case run on the embedded store and on PostgreSQL.
macro_rules! on_both_stores {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::world::World::on_sqlite()).await;
                }
            )+
        }

        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::world::World::on_postgres()).await;
                }
            )+
        }
    };
}
pub(crate) use on_both_stores;
