//! Putting rows right that are not what the log says, with what was found and done kept as incidents.

use crate::parked::MEND_ATTEMPTS_MAX;
use crate::projector::Followed;
use crate::recount::{Recount, Recounted};
use crate::refold::{Expected, hash_of};
use crate::skips::Exceptions;
use crate::trouble::unmended;
use crate::verify::compare;
use crate::worker::Part;
use crate::{
    ActionTaken, Differs, Finding, FoundBy, Incident, IncidentStatus, Projector, RowName, Subject,
    TroubleError,
};
use diptych_core::{Position, Value};
use diptych_query::fold::bucket_of;
use diptych_query::{
    AdvanceError, Changed, Health, Lease, Mend, Order, Partition, RowChange, RowRef, StoredRow, TableChanges,
};

/// How often a table is counted again when its model has moved meanwhile.
const RECOUNT_ATTEMPTS_MAX: usize = 5;

/// What is to be repaired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Repair {
    /// What an incident is about.
    Incident(String),
    /// A row, whether or not anything is known to be wrong with it.
    Row(RowName),
}

/// What a repair has done.
#[derive(Clone, PartialEq, Debug)]
pub struct Repaired {
    /// Where the model stood.
    pub position: Position,
    /// In what the row differed from the log; nothing where it did not.
    pub differences: Vec<Differs>,
    /// Whether the digest of its bucket was that of the rows then, and what was made of it.
    pub digest: DigestCheck,
    /// Whether the model had stopped, and moves on now.
    pub resumed: bool,
    /// The incidents that are over by this, with everything that was done.
    pub incidents: Vec<Incident>,
}

/// What became of the digest of a bucket whose rows are right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DigestCheck {
    /// It is the sum of the rows.
    Right,
    /// It was not, and was written anew.
    Recounted,
    /// The model moved on all the time, so that there was nothing to compare.
    Unknown,
}

/// The table and the bucket of a repair, and the row, where one is repaired.
struct Place {
    table: usize,
    row: Option<RowRef>,
    bucket: u8,
}

impl Projector {
    /// Folds a row again from the log, exactly up to where its model stands, and writes it; writes the
    /// digest of its bucket anew if that is not the sum of the rows; lets a model go on that had
    /// stopped. What was found and done is kept as an incident.
    ///
    /// # Errors
    /// An unknown group, row or incident, a model that moves on too fast, a fact that cannot be folded,
    /// or a fault.
    pub async fn repair(&self, name: &str, what: &Repair, order: &Order) -> Result<Repaired, TroubleError> {
        let followed = self.known(name)?;
        let subject = match what {
            Repair::Row(row) => Subject::Row(row.clone()),
            Repair::Incident(id) => self.incident(id).await?.subject,
        };
        let place = place_of(followed, &subject)?;
        let part = followed.parts.iter().find(|part| part.partition.owns_bucket(place.bucket));
        let part = part.ok_or_else(|| TroubleError::NoSuchRow { row: subject.to_string() })?;
        let (position, differences) = match &place.row {
            Some(row) => self.mend_row(followed, part, (place.table, row)).await?,
            None => {
                let checkpoint = self.parts.store.checkpoint_of(&followed.group, part.partition).await?;
                (checkpoint.mark.position(), Vec::new())
            }
        };
        if !differences.is_empty() {
            let (subject, differences) = (subject.clone(), differences.clone());
            let finding = Finding { subject, differences, position, found_by: FoundBy::Verify };
            // One that is open about the row stays as it was found.
            self.kept_incidents().report(name, finding).await?;
        }
        let digest = self.mend_digest(followed, part, &place).await?;
        let resumed = self.let_go_on(followed).await?;
        let mut repaired = Repaired { position, differences, digest, resumed, incidents: Vec::new() };
        let model = subject.model().to_owned();
        let mut subjects = vec![subject];
        if place.row.is_some() && digest != DigestCheck::Unknown {
            subjects.push(Subject::Digest { model, bucket: place.bucket });
        }
        for subject in &subjects {
            let over = place.row.is_some() || digest != DigestCheck::Unknown;
            let open = self.kept_incidents().open_about(name, subject).await?;
            if let Some(Incident { id, .. }) = open.filter(|_| over) {
                let action = ActionTaken::by(order, self.parts.clock.now(), repaired.in_words());
                let noted = self.kept_incidents().note(&id, &action, IncidentStatus::Repaired).await?;
                repaired.incidents.extend(noted);
            }
        }
        self.look_at(followed).await?;
        Ok(repaired)
    }

    /// Makes a row what the log says it is, exactly where its partition stands. Answers where that is,
    /// and in what the row differed. It is written even if it does not differ: its hash may.
    async fn mend_row(
        &self,
        followed: &Followed,
        part: &Part,
        (table, row): (usize, &RowRef),
    ) -> Result<(Position, Vec<Differs>), TroubleError> {
        let (feed, store, group) = (&*self.parts.feed, &*self.parts.store, &followed.group);
        let schema = group.models()[table].schema();
        let exceptions = Exceptions::of(store, &*self.parts.registry, group).await?;
        let mut expected = Expected::of_row(feed, group, (table, row), &exceptions).await?;
        // Most of the way while the worker goes on.
        let checkpoint = store.checkpoint_of(group, part.partition).await?;
        expected.fold_to(feed, checkpoint.mark.position()).await?;
        let mut follower = part.follower.lock().await;
        let mut lease = follower.lease();
        for _ in 0..MEND_ATTEMPTS_MAX {
            let found = store.get(group, schema, row).await?;
            let at = found.checkpoint.mark.position();
            expected.fold_to(feed, at).await?;
            if expected.position != at {
                // The model was reset meanwhile.
                break;
            }
            let (said, stands) = (expected.tables[table].get(row), found.rows.first());
            let differences = compare(schema, row, said, stands).into_iter().map(Into::into).collect();
            let guard =
                exceptions.held_from(table, row).map_or(at, |from| Position(from.0.saturating_sub(1)));
            let stored = stored(row, said, guard.min(at));
            let change = RowChange { stored, existed: stands.is_some(), changed: Changed::ALL };
            let mut changes = vec![TableChanges::default(); group.models().len()];
            changes[table].rows.push(change);
            match store.mend(group, mend(part.partition, lease, at, changes)).await {
                Ok(()) => {
                    follower.forget();
                    return Ok((at, differences));
                }
                Err(AdvanceError::Moved { .. }) => {}
                Err(AdvanceError::Fenced) => lease = None,
                Err(error) => return Err(unmended(error)),
            }
        }
        Err(TroubleError::Busy { name: group.name().to_owned() })
    }

    /// Makes the digest of a bucket the sum of its rows, exactly where their partition stands.
    async fn mend_digest(
        &self,
        followed: &Followed,
        part: &Part,
        place: &Place,
    ) -> Result<DigestCheck, TroubleError> {
        let (store, group) = (&*self.parts.store, &followed.group);
        let schema = group.models()[place.table].schema();
        let partitions = store.partitions_of(group);
        let mut follower = part.follower.lock().await;
        let mut lease = follower.lease();
        for _ in 0..RECOUNT_ATTEMPTS_MAX {
            let at = store.checkpoint_of(group, part.partition).await?.mark.position();
            let mut recount = Recount::default();
            while recount.page(store, group, schema, &partitions).await? {}
            if !recount.stood_still_at(&partitions, part.partition, at) {
                continue;
            }
            let differing = recount.differing(&partitions);
            let Some(wrong) = differing.iter().find(|wrong| wrong.bucket == place.bucket) else {
                return Ok(DigestCheck::Right);
            };
            let mut changes = vec![TableChanges::default(); group.models().len()];
            changes[place.table].digest.push(Recounted::change(wrong));
            match store.mend(group, mend(part.partition, lease, at, changes)).await {
                Ok(()) => {
                    follower.forget();
                    return Ok(DigestCheck::Recounted);
                }
                Err(AdvanceError::Moved { .. }) => {}
                Err(AdvanceError::Fenced) => lease = None,
                Err(error) => return Err(unmended(error)),
            }
        }
        Ok(DigestCheck::Unknown)
    }

    /// Has a group that stopped at a fact try it again. Answers whether it had stopped.
    pub(crate) async fn let_go_on(&self, followed: &Followed) -> Result<bool, TroubleError> {
        let store = &*self.parts.store;
        let mut had_stopped = false;
        for part in &followed.parts {
            let stopped = store.checkpoint_of(&followed.group, part.partition).await?.stopped;
            if stopped.is_none() {
                continue;
            }
            had_stopped = true;
            store.set_stopped(&followed.group, part.partition, None).await?;
            part.follower.lock().await.forget();
            part.entry.set_health_in(part.partition, Health::Live);
            part.nudge.notify_one();
        }
        if had_stopped {
            self.given_up.forget(&followed.group);
            self.nudge.notify_one();
        }
        Ok(had_stopped)
    }
}

impl Repaired {
    /// What was done, in a sentence.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self { position, differences, digest, resumed, .. } = self;
        let mut words = match differences.len() {
            0 => format!("the row was what the log says at {position}"),
            _ => {
                let columns =
                    differences.iter().map(|differs| differs.column.as_deref().unwrap_or("the row"));
                let columns: Vec<_> = columns.collect();
                format!("the row was folded again up to {position} and written: {}", columns.join(", "))
            }
        };
        words.push_str(match digest {
            DigestCheck::Right => "; the digest is that of the rows",
            DigestCheck::Recounted => "; the digest was not that of the rows and was written anew",
            DigestCheck::Unknown => "; the digest could not be compared while the model moves on",
        });
        if *resumed {
            words.push_str("; the model moves on");
        }
        words
    }
}

fn mend(partition: Partition, lease: Option<Lease>, at: Position, changes: Vec<TableChanges>) -> Mend {
    Mend { partition, lease, at, changes, healed: Vec::new(), parked: Vec::new() }
}

/// A row as the log says it is.
fn stored(row: &RowRef, values: Option<&Vec<Value>>, guard: Position) -> StoredRow {
    let hash = values.map_or(0, |values| hash_of(row, values));
    StoredRow { row: row.clone(), values: values.cloned(), guard, hash }
}

fn place_of(followed: &Followed, subject: &Subject) -> Result<Place, TroubleError> {
    let nowhere = || TroubleError::NoSuchRow { row: subject.to_string() };
    let models = followed.group.models();
    let place = match subject {
        Subject::Row(name) => {
            let (table, row) = name.resolve(&followed.group).ok_or_else(nowhere)?;
            let bucket = bucket_of(&row.tenant, &row.key);
            Place { table, row: Some(row), bucket }
        }
        Subject::Digest { model, bucket } => {
            let table = models.iter().position(|held| held.schema().name == model).ok_or_else(nowhere)?;
            Place { table, row: None, bucket: *bucket }
        }
    };
    if models[place.table].statements().is_some() {
        return Err(TroubleError::KeptBySql { model: models[place.table].schema().name });
    }
    Ok(place)
}
