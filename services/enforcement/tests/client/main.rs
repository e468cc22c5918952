//! The service over a socket, on both stores, to callers who prove who they are: what each may do and see
//! comes from the policies, in answers, in exports, in streams of events and in what is searched for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

/// Makes each chapter a test on both stores.
macro_rules! chapters {
    ($($chapter:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $chapter() {
                super::$chapter(false).await;
            })+
        }

        mod on_postgresql {
            $(#[tokio::test]
            async fn $chapter() {
                super::$chapter(true).await;
            })+
        }
    };
}

mod exports;
mod search;
mod served;
mod story;
mod streams;
#[allow(unreachable_pub, reason = "the file is shared with tests that are crates of their own")]
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;

const QUEUE: &str = "/decision-work-queue?teamId=TEAM-7&status=READY_FOR_APPROVAL&sort=dueAt&pageSize=50";

/// The decisions of a page, in its order.
fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["decisionId"].as_str().unwrap()).collect()
}
