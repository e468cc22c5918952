//! What is known beside the rows in these tests: what a test says.

use super::{NOW, Store};
use diptych_core::{BoxFuture, Code, Fault, Timestamp};
use diptych_query::{
    Build, BuildId, BuildMove, Group, NOTICE, Notice, Order, Record, RecordOf, Registry, Stage, StageMove,
    TransitError,
};

impl Store {
    /// Announces something of a group.
    pub(crate) fn announce(&self, group: &str, notice: &Notice) {
        let body = serde_json::to_string(notice).unwrap();
        let (kind, name) = (NOTICE.to_owned(), group.to_owned());
        let updated_at = NOW.parse().unwrap();
        self.notices.lock().unwrap().push(Record { kind, name, version: 1, body, updated_at });
    }

    /// Lets the only build stand somewhere.
    pub(crate) fn stand(&self, stage: Stage) {
        *self.stage.lock().unwrap() = Some(stage);
    }
}

fn now<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(async move { value })
}

fn unasked<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Fault>> {
    now(Err(Fault::permanent(Code::Internal, "these tests do not ask for it")))
}

impl Registry for Store {
    fn builds<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Build>, Fault>> {
        let at: Timestamp = NOW.parse().unwrap();
        let build = |stage| Build {
            id: BuildId { revision: 1, generation: 1 },
            stage,
            shape: String::new(),
            declared: "[]".to_owned(),
            created_at: at,
            moved_at: at,
        };
        now(Ok(vec![build(self.stage.lock().unwrap().unwrap_or(Stage::Serving))]))
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, Fault>> {
        unasked()
    }

    fn begin_build<'a>(&'a self, _: &'a Group, _: &'a Order) -> BoxFuture<'a, Result<Build, Fault>> {
        unasked()
    }

    fn begin_recorded<'a>(
        &'a self,
        _: &'a Group,
        _: &'a Order,
        _: &'a str,
        _: RecordOf,
    ) -> BoxFuture<'a, Result<Option<Build>, Fault>> {
        unasked()
    }

    fn transit<'a>(
        &'a self,
        _: &'a Group,
        _: &'a [BuildMove],
        _: &'a Order,
    ) -> BoxFuture<'a, Result<Vec<Build>, TransitError>> {
        Box::pin(async { Ok(unasked::<Vec<Build>>().await?) })
    }

    fn drop_build<'a>(&'a self, _: &'a Group, _: BuildId) -> BoxFuture<'a, Result<(), Fault>> {
        unasked()
    }

    fn build_bytes<'a>(&'a self, _: &'a Group, _: BuildId) -> BoxFuture<'a, Result<u64, Fault>> {
        unasked()
    }

    fn stage_moves<'a>(
        &'a self,
        _: Option<&'a str>,
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<StageMove>, Fault>> {
        unasked()
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), Fault>> {
        unasked()
    }

    fn record<'a>(&'a self, _: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        let notices = self.notices.lock().unwrap();
        now(Ok(notices.iter().find(|notice| notice.name == name).cloned()))
    }

    fn records<'a>(&'a self, kind: &'a str, _: usize) -> BoxFuture<'a, Result<Vec<Record>, Fault>> {
        let notices = self.notices.lock().unwrap();
        now(Ok(notices.iter().filter(|notice| notice.kind == kind).cloned().collect()))
    }

    fn write_record<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: u64,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, Fault>> {
        unasked()
    }

    fn forget_record<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        unasked()
    }
}
