//! Who may move a partition, and who lives. A lease is given in the partition's document, which decides who
//! writes; signs of life are documents of their own, so that none of them disturbs a batch.

use crate::CouchStore;
use crate::order::hex;
use crate::part::{Holder, Part};
use crate::store::{Build, Saved, WRITE_ROUNDS_MAX, contended, part_of};
use diptych_core::{Code, Fault, Timestamp};
use diptych_query::{
    BuildId, Group, Lease, PARTITIONS_MAX, Partition, PartitionState, Readiness, Shares, WorkerId,
};
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

/// How the names of workers' documents begin, and what comes after them.
const WORKERS: (&str, &str) = ("worker:", "worker~");

/// Between which names the documents of partitions are.
const PARTS: (&str, &str) = ("part:", "part~");

/// How many workers of one build are looked at.
const WORKERS_MAX: usize = 1_000;

/// The last sign of life for a lease, as long as no other has followed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sign {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_rev", default, skip_serializing_if = "Option::is_none")]
    rev: Option<String>,
    /// For which lease.
    lease: u64,
    /// Who holds it until when; none where it was given back.
    holder: Option<Holder>,
}

/// A worker's sign of life.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Worker {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_rev", default, skip_serializing_if = "Option::is_none")]
    rev: Option<String>,
    name: String,
    until: i64,
    able: bool,
}

impl CouchStore {
    /// Takes a lease: see [`diptych_query::ModelStore::claim`].
    pub(crate) async fn claim_lease(
        &self,
        group: &Group,
        partition: Partition,
        worker: &WorkerId,
        lasting: Duration,
    ) -> Result<Option<Lease>, Fault> {
        for _ in 0..WRITE_ROUNDS_MAX {
            let (build, mut parts) = self.at(group).await?;
            let part = part_of(&build, &mut parts, partition)?;
            let sign = self.signs(&build, std::slice::from_ref(part)).await?.remove(0);
            let now = self.clock.now();
            let held = holder(part, sign.as_ref()).filter(|held| now.as_micros() < held.until);
            if held.is_some_and(|held| held.worker != worker.as_str()) || part.stands_still(now) {
                return Ok(None);
            }
            part.lease(Some((worker, now.plus(lasting))));
            if self.save(&build.database, part).await? == Saved::Yes {
                return Ok(Some(Lease { partition, fence: part.fence(build.id) }));
            }
        }
        Err(contended(group))
    }

    /// Gives a lease back, if no other has followed it.
    pub(crate) async fn release_lease(&self, group: &Group, lease: Lease) -> Result<(), Fault> {
        for _ in 0..WRITE_ROUNDS_MAX {
            let (build, mut parts) = self.at(group).await?;
            let part = part_of(&build, &mut parts, lease.partition)?;
            if part.fence(build.id) != lease.fence {
                return Ok(());
            }
            let sign = self.signs(&build, std::slice::from_ref(part)).await?.remove(0);
            if self.sign(&build, part, sign, None).await? == Saved::Yes {
                return Ok(());
            }
        }
        Err(contended(group))
    }

    /// Notes that a worker lives, and tells who moves one group: see [`diptych_query::ModelStore::share`].
    pub(crate) async fn share_one(
        &self,
        worker: &WorkerId,
        (group, readiness): &(Arc<Group>, Readiness),
        lasting: Duration,
    ) -> Result<Shares, Fault> {
        let (build, parts) = self.at(group).await?;
        let until = self.clock.now().plus(lasting);
        let mut ids: Vec<_> = parts.iter().map(sign_id).collect();
        ids.push(worker_id(worker));
        let mut found = self.documents(&build.database, &ids).await?.unwrap_or_default();
        let rev = found.pop().and_then(|held| held["_rev"].as_str().map(str::to_owned));
        let (id, name) = (worker_id(worker), worker.as_str().to_owned());
        let able = *readiness == Readiness::Able;
        let mut alive = vec![json!(Worker { id, rev, name: name.clone(), until: until.as_micros(), able })];
        let mut held = Vec::with_capacity(parts.len());
        for (part, json) in parts.iter().zip(found) {
            let mut sign: Option<Sign> = serde_json::from_value(json).ok();
            if holder(part, sign.as_ref()).is_some_and(|held| held.worker == name) {
                let (id, rev) = (sign_id(part), sign.and_then(|sign| sign.rev));
                let holder = Some(Holder { worker: name.clone(), until: until.as_micros() });
                let own = Sign { id, rev, lease: part.leases(), holder };
                alive.push(json!(own));
                sign = Some(own);
            }
            held.push(holder(part, sign.as_ref()));
        }
        // Whoever was faster with one of them has said the same, or has given the lease back.
        self.put_all(&build.database, &alive).await?;
        let now = self.clock.now().as_micros();
        let states = build.partitions.iter().zip(parts.iter().zip(held)).map(|(partition, (part, held))| {
            let holder = held.filter(|held| now < held.until).map(|held| WorkerId::new(held.worker));
            let (partition, fence) = (*partition, part.fence(build.id));
            PartitionState { partition, checkpoint: part.checkpoint(), holder, fence }
        });
        Ok(Shares { workers: self.living(&build, now).await?, partitions: states.collect() })
    }

    /// Removes a worker's signs of life from every database that this process has opened.
    pub(crate) async fn bury(&self, worker: &WorkerId) -> Result<(), Fault> {
        let opened: Vec<_> = self.opened().values().cloned().collect();
        for build in opened {
            let id = worker_id(worker);
            let found = self.documents(&build.database, std::slice::from_ref(&id)).await?;
            let found = found.and_then(|found| found.into_iter().next()).unwrap_or(Json::Null);
            if let Some(rev) = found["_rev"].as_str() {
                self.delete(&build, &id, rev).await?;
            }
        }
        Ok(())
    }

    /// Takes the leases on all partitions of a build away, and has it stand still until a time, if any.
    /// Answers how it stands: nothing of a build whose database is gone.
    pub(crate) async fn fence_off(
        &self,
        group: &Group,
        build: BuildId,
        until: Option<Timestamp>,
    ) -> Result<Vec<Part>, Fault> {
        let database = self.database_of(group.name(), build);
        for _ in 0..WRITE_ROUNDS_MAX {
            let Some(found) = self.range(&database, PARTS, usize::from(PARTITIONS_MAX)).await? else {
                return Ok(Vec::new());
            };
            let (mut fenced, all) = (Vec::new(), found.len());
            for json in found {
                let mut part: Part = serde_json::from_value(json).map_err(|error| {
                    let message = format!("what is kept of `{database}` cannot be read");
                    Fault::permanent(Code::Storage, message).because(error)
                })?;
                part.lease(None);
                part.stand_still(until);
                match self.save(&database, &mut part).await? {
                    Saved::Yes => fenced.push(part),
                    Saved::Conflict => break,
                }
            }
            if fenced.len() == all {
                return Ok(fenced);
            }
        }
        Err(contended(group))
    }

    async fn living(&self, build: &Build, now: i64) -> Result<Vec<WorkerId>, Fault> {
        let found = self.range(&build.database, WORKERS, WORKERS_MAX).await?.unwrap_or_default();
        let mut living = Vec::new();
        for json in found {
            let Ok(worker) = serde_json::from_value::<Worker>(json) else { continue };
            if now < worker.until {
                living.extend(worker.able.then(|| WorkerId::new(worker.name)));
            } else if let Some(rev) = &worker.rev {
                // Nobody ever has that name again.
                self.delete(build, &worker.id, rev).await?;
            }
        }
        living.sort();
        Ok(living)
    }

    async fn delete(&self, build: &Build, id: &str, rev: &str) -> Result<(), Fault> {
        let path = format!("/{}/{id}?rev={rev}", build.database);
        let reply = self.client.ask(Method::DELETE, &path, None).await?;
        if reply.is_good() || matches!(reply.status, 404 | 409) {
            return Ok(());
        }
        Err(self.client.unexpected("the end of a document", &reply))
    }

    async fn signs(&self, build: &Build, parts: &[Part]) -> Result<Vec<Option<Sign>>, Fault> {
        let ids: Vec<_> = parts.iter().map(sign_id).collect();
        let found = self.documents(&build.database, &ids).await?.unwrap_or_default();
        let mut signs: Vec<_> = found.into_iter().map(|json| serde_json::from_value(json).ok()).collect();
        signs.resize(parts.len(), None);
        Ok(signs)
    }

    async fn sign(
        &self,
        build: &Build,
        part: &Part,
        before: Option<Sign>,
        holder: Option<Holder>,
    ) -> Result<Saved, Fault> {
        let (id, rev) = (sign_id(part), before.and_then(|before| before.rev));
        let sign = Sign { id: id.clone(), rev, lease: part.leases(), holder };
        self.put(&build.database, &id, &json!(sign)).await
    }
}

/// Who holds a partition, whether or not the time is over: by the last sign of life for its last lease, or
/// else as the lease was given.
fn holder(part: &Part, sign: Option<&Sign>) -> Option<Holder> {
    match sign {
        Some(sign) if sign.lease == part.leases() => sign.holder.clone(),
        _ => part.holder.clone(),
    }
}

fn sign_id(part: &Part) -> String {
    format!("lease:{}", part.id)
}

fn worker_id(worker: &WorkerId) -> String {
    format!("{}{}", WORKERS.0, hex(worker.as_str().as_bytes()))
}
