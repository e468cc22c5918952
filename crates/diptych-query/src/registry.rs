//! The port to what is known of read models beside their rows: their builds, and records of what the hinge
//! and its operators do.

use crate::{Build, BuildId, BuildMove, Group, Order, StageMove, TransitError};
use diptych_core::{BoxFuture, Fault, Timestamp};

/// Something that the hinge remembers, as JSON: a rebuild under way, an incident, how far a patrol has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What it is about, such as `rebuild`.
    pub kind: String,
    /// Which of them.
    pub name: String,
    /// How often it was written; the first time is 1.
    pub version: u64,
    /// What it says, as JSON.
    pub body: String,
    /// When it was written last.
    pub updated_at: Timestamp,
}

/// What a record says of the build that is begun with it, which has its number only then.
pub type RecordOf = Box<dyn FnOnce(BuildId) -> Result<String, Fault> + Send>;

/// What is known of read models beside their rows.
///
/// A build is looked at and moved through [`ModelStore`](crate::ModelStore) by a group [at](Group::at) it; a
/// group that names none means the [own build](crate::own_build) of its revision.
pub trait Registry: Send + Sync + 'static {
    /// Every build of a group, of all revisions and retired ones included, oldest first.
    fn builds<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<Vec<Build>, Fault>>;

    /// The groups of which any build is known, by name.
    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, Fault>>;

    /// Begins a build of a group's revision beside those there are: empty tables that stand at the start of
    /// the log, at stage `building`. The move from `designed` is recorded.
    fn begin_build<'a>(&'a self, group: &'a Group, order: &'a Order) -> BoxFuture<'a, Result<Build, Fault>>;

    /// Begins a build as [`Registry::begin_build`] does and writes the first record of a kind about its
    /// group, in one transaction: nobody finds the one without the other. Answers none, and begins nothing,
    /// where there is such a record already.
    fn begin_recorded<'a>(
        &'a self,
        group: &'a Group,
        order: &'a Order,
        kind: &'a str,
        body: RecordOf,
    ) -> BoxFuture<'a, Result<Option<Build>, Fault>>;

    /// Moves builds from stage to stage in one transaction, and records each move.
    ///
    /// INVARIANT: a build takes over from another only if it has come at least as far, and whoever moved
    /// either before by a lease has lost it. An inline build takes over at the head, inside of one append's
    /// turn.
    fn transit<'a>(
        &'a self,
        group: &'a Group,
        moves: &'a [BuildMove],
        order: &'a Order,
    ) -> BoxFuture<'a, Result<Vec<Build>, TransitError>>;

    /// Removes the tables of a retired build; one whose tables are gone is left as it is.
    fn drop_build<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<(), Fault>>;

    /// How many bytes the tables of a build take.
    fn build_bytes<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<u64, Fault>>;

    /// The moves of one group's builds, or of all groups', newest first.
    fn stage_moves<'a>(
        &'a self,
        group: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<StageMove>, Fault>>;

    /// Looks which builds there are, so that this process follows what another has switched.
    fn refresh(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// A record.
    fn record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>>;

    /// The records of a kind, the last written first.
    fn records<'a>(&'a self, kind: &'a str, most: usize) -> BoxFuture<'a, Result<Vec<Record>, Fault>>;

    /// Writes a record, if the one that stands there has the version that the writer has seen; 0 where there
    /// was none. Answers the version it has now, or none when somebody else was first.
    fn write_record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
        seen: u64,
        body: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, Fault>>;

    /// Forgets a record.
    fn forget_record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), Fault>>;
}
