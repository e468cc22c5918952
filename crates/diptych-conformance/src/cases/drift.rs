//! Rows that somebody changed behind the projection's back: found, named exactly, repaired, with the
//! evidence kept; and nothing found where nothing is wrong.

use crate::drive::{self, Content, MAIN, contents, deposited, history, on, opened};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, Balance, Mended, POISON, Total, group, split};
use crate::hinge::{Tamper, drain, limits, name, order, process, process_within, row, tamper};
use crate::{Harness, Outcome, Stores};
use diptych_core::{Position, Value};
use diptych_projector::{
    Differs, DigestCheck, DrainError, FoundBy, Incident, IncidentStatus, Patrol, Patrolled, Projector,
    ProjectorLimits, Repair, Subject,
};
use diptych_query::fold::bucket_of;
use diptych_query::{Group, Health};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// A group with its rows, drained, and a process that moves it.
async fn drained(stores: &Stores, group: &Arc<Group>) -> Outcome<(Projector, Vec<Content>)> {
    let projector = process(stores, group).await?;
    drain(&projector, group).await?;
    let rows = contents(stores, group).await?;
    Ok((projector, rows))
}

/// The values of an account's row.
fn values(rows: &[Content], key: &str) -> Outcome<Vec<Value>> {
    let row = row(key)?;
    let held = rows.iter().find(|(held, _)| *held == row);
    held.map(|(_, values)| values.clone()).ok_or_else(|| crate::Failure::new(format!("no row of `{key}`")))
}

/// Every way to change a table by hand, what a patrol says of it, and what a repair leaves.
async fn found_and_repaired(stores: &Stores, group: &Arc<Group>) -> Outcome {
    let (projector, clean) = drained(stores, group).await?;
    let model = group.models()[0].schema();
    let (_, incidents) = projector.patrol_now(group.name()).await?;
    ensure_eq!(incidents, Vec::new(), "what a patrol finds where nothing is wrong");
    let kept = values(&clean, "a")?;
    let mut added = kept.clone();
    added[0] = Value::Text("ghost".to_owned());
    let whole = |values: &[Value]| -> serde_json::Value {
        let pairs = model
            .columns
            .iter()
            .zip(values)
            .map(|(column, value)| (column.public.to_owned(), value.to_json()));
        serde_json::Value::Object(pairs.collect())
    };
    let (column, text) = (model.columns[1].name, kept[1].to_json());
    let eve = || Value::Text("eve".to_owned());
    let in_column =
        || vec![Differs { column: Some(column.to_owned()), expected: text.clone(), actual: json!("eve") }];
    let row_of = |expected, actual| vec![Differs { column: None, expected, actual }];
    let cases = [
        ("a", Tamper::Column(1, eve()), in_column()),
        ("a", Tamper::ColumnAndHash(1, eve()), in_column()),
        ("a", Tamper::Delete, row_of(whole(&kept), json!(null))),
        ("ghost", Tamper::Add(added.clone()), row_of(json!(null), whole(&added))),
    ];
    for (round, (key, by_hand, differences)) in cases.into_iter().enumerate() {
        tamper(stores, group, key, by_hand).await?;
        for again in 0..2 {
            let (state, incidents) = projector.patrol_now(group.name()).await?;
            ensure_eq!(incidents.len(), 1, "incidents of round {round}, {again}: {incidents:?}");
            let Incident { subject, differences: told, found_by, status, .. } = &incidents[0];
            ensure_eq!(*subject, Subject::Row(name(group, key)?), "whose row, in round {round}");
            ensure_eq!(*told, differences, "what differs, in round {round}");
            ensure_eq!((*found_by, *status), (FoundBy::Patrol, IncidentStatus::Open), "round {round}");
            ensure_eq!(state.verified_up_to, Some(stores.feed.head().await?.position()), "verified up to");
            let all = projector.incidents(100).await?;
            ensure_eq!(all.len(), round + 1, "incidents kept in round {round}, {again}");
        }
        let open = Health::Degraded { parked: 0, incidents: 1 };
        let health = stores.progress.entry(group.name()).troubles().health();
        ensure_eq!(health, Some(open), "the health in round {round}");
        let id = projector.incidents(1).await?.remove(0).id;
        let repaired =
            projector.repair(group.name(), &Repair::Incident(id.clone()), &order("by hand")?).await?;
        ensure_eq!(repaired.differences, differences, "what was repaired in round {round}");
        ensure_eq!(repaired.digest, DigestCheck::Right, "the digest after round {round}");
        let incident = projector.incident(&id).await?;
        ensure_eq!(incident.status, IncidentStatus::Repaired, "the incident after round {round}");
        ensure_eq!(incident.actions.len(), 1, "the evidence of round {round}");
        ensure_eq!(incident.actions[0].reason, "by hand".to_owned(), "the reason kept of round {round}");
        check_clean(stores, group, &projector, &clean).await?;
    }
    Ok(())
}

/// The rows are what they were, the digest is theirs, and nobody finds anything.
async fn check_clean(
    stores: &Stores,
    group: &Arc<Group>,
    projector: &Projector,
    clean: &[Content],
) -> Outcome {
    ensure_eq!(contents(stores, group).await?, clean.to_vec(), "the rows");
    drive::digest(stores, group).await?;
    let reports = projector.verify(group.name(), 10).await?;
    ensure!(reports.iter().all(diptych_projector::VerifyReport::is_clean), "it verifies: {reports:?}");
    let (_, incidents) = projector.patrol_now(group.name()).await?;
    ensure_eq!(incidents, Vec::new(), "what a patrol finds");
    ensure_eq!(stores.progress.entry(group.name()).troubles().health(), None, "the health");
    Ok(())
}

/// Rows folded again by a routed scan, in one partition and in several.
pub(crate) async fn what_was_changed_by_hand_is_found_and_repaired(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    found_and_repaired(&stores, &group::<Balance>(harness)).await
}

/// The same where the rows are split.
pub(crate) async fn what_was_changed_in_a_partition_is_found_and_repaired(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    found_and_repaired(&stores, &split::<Balance>(harness, 5)).await
}

/// The same where each row is folded again from its stream.
pub(crate) async fn what_was_changed_is_found_from_its_stream(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    // It was closed, which leaves no row.
    on(&stores, "a", &[opened("ann")]).await?;
    found_and_repaired(&stores, &group::<Mended>(harness)).await
}

/// A digest that somebody changed is named by its bucket and written anew; a hash, by its row.
pub(crate) async fn a_changed_digest_or_hash_is_found_and_repaired(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    on(&stores, "a", &[opened("ann")]).await?;
    for group in [group::<Balance>(harness), split::<Balance>(harness, 5), group::<Mended>(harness)] {
        let (projector, clean) = drained(&stores, &group).await?;
        tamper(&stores, &group, "a", Tamper::Digest).await?;
        let (_, incidents) = projector.patrol_now(group.name()).await?;
        let (row, model) = (row("a")?, group.models()[0].schema().name.to_owned());
        let subject = Subject::Digest { model, bucket: bucket_of(&row.tenant, &row.key) };
        let subjects: Vec<_> = incidents.iter().map(|incident| incident.subject.clone()).collect();
        ensure_eq!(subjects, vec![subject], "what a changed digest is told as");
        let by = Repair::Incident(incidents[0].id.clone());
        let repaired = projector.repair(group.name(), &by, &order("by hand")?).await?;
        ensure_eq!(repaired.digest, DigestCheck::Recounted, "what was made of the digest");
        ensure_eq!(repaired.incidents.len(), 1, "the incidents that are over");
        check_clean(&stores, &group, &projector, &clean).await?;

        tamper(&stores, &group, "a", Tamper::Hash).await?;
        let (_, incidents) = projector.patrol_now(group.name()).await?;
        ensure_eq!(incidents.len(), 1, "incidents of a changed hash: {incidents:?}");
        ensure_eq!(incidents[0].subject, Subject::Row(name(&group, "a")?), "whose hash");
        ensure_eq!(incidents[0].differences[0].column.as_deref(), Some("(hash)"), "what differs");
        let by = Repair::Row(name(&group, "a")?);
        let repaired = projector.repair(group.name(), &by, &order("by hand")?).await?;
        ensure_eq!(repaired.incidents.len(), 1, "the incidents that are over");
        check_clean(&stores, &group, &projector, &clean).await?;
    }
    Ok(())
}

/// A fold that loads an edited row stops there, as an incident with what the log says; the repair lets
/// it go on.
pub(crate) async fn an_edited_row_that_is_loaded_is_an_incident(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let (projector, clean) = drained(&stores, &balance).await?;
    tamper(&stores, &balance, "a", Tamper::Column(1, Value::Text("eve".to_owned()))).await?;
    on(&stores, "a", &[deposited(1)?]).await?;
    on(&stores, "z", &[opened("zoe")]).await?;
    for again in 0..2 {
        let stopped = projector.drain("balance").await;
        let told = matches!(&stopped, Err(DrainError::Stopped { health: Health::Stopped { reason, .. } })
            if reason.contains("DP0059"));
        ensure!(told, "what a fold of the row comes to, {again}: {stopped:?}");
        let incidents = projector.incidents(10).await?;
        ensure_eq!(incidents.len(), 1, "incidents: {incidents:?}");
        ensure_eq!(incidents[0].found_by, FoundBy::Load, "what found it");
        let expected = values(&clean, "a")?[1].to_json();
        let differs = Differs { column: Some("owner".to_owned()), expected, actual: json!("eve") };
        ensure_eq!(incidents[0].differences, vec![differs], "what differs");
    }
    let by = Repair::Row(name(&balance, "a")?);
    let repaired = projector.repair("balance", &by, &order("it was eve")?).await?;
    ensure!(repaired.resumed, "the model moves on: {repaired:?}");
    ensure_eq!(repaired.incidents.len(), 1, "the incidents that are over");
    drain(&projector, &balance).await?;
    let rows = contents(&stores, &balance).await?;
    check_clean(&stores, &balance, &projector, &rows).await
}

/// A row that facts were folded into after it was deleted by hand: row and digest are both wrong, and
/// both are put right.
pub(crate) async fn facts_on_a_deleted_row_are_put_right(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann"), deposited(1)?]).await?;
    on(&stores, "b", &[opened("bob")]).await?;
    let total = group::<Balance>(harness);
    let (projector, _) = drained(&stores, &total).await?;
    tamper(&stores, &total, "a", Tamper::Delete).await?;
    on(&stores, "a", &[opened("ann again"), deposited(2)?]).await?;
    drain(&projector, &total).await?;
    let (_, incidents) = projector.patrol_now("balance").await?;
    ensure_eq!(incidents.len(), 1, "incidents: {incidents:?}");
    let columns: Vec<_> =
        incidents[0].differences.iter().filter_map(|differs| differs.column.clone()).collect();
    ensure!(columns.contains(&"moves".to_owned()), "the columns named: {columns:?}");
    let by = Repair::Incident(incidents[0].id.clone());
    let repaired = projector.repair("balance", &by, &order("somebody deleted it")?).await?;
    ensure_eq!(repaired.digest, DigestCheck::Recounted, "what was made of the digest");
    let rows = contents(&stores, &total).await?;
    check_clean(&stores, &total, &projector, &rows).await?;
    projector.reset("balance").await?;
    drain(&projector, &total).await?;
    ensure_eq!(contents(&stores, &total).await?, rows, "a clean fold");
    Ok(())
}

/// A patrol goes slice by slice, on from where another process was killed, and one process at a time.
pub(crate) async fn a_patrol_goes_on_where_another_was_killed(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let balance = group::<Balance>(harness);
    let limits = ProjectorLimits {
        patrol_events_per_second: 5,
        patrol_rows_max: 1,
        patrol_interval: Duration::from_secs(60),
        ..limits()
    };
    let one = Arc::new(process_within(&stores, &balance, limits.clone()).await?);
    drain(&one, &balance).await?;
    tamper(&stores, &balance, "b", Tamper::Delete).await?;
    let mut patrol = Patrol::new(Arc::clone(&one));
    ensure_eq!(patrol.step().await?, Patrolled::Nothing, "before the first is due");
    stores.clock.advance(Duration::from_secs(61));
    for _ in 0..8 {
        ensure!(patrol.step().await? != Patrolled::Nothing, "a slice of a pass");
    }
    let two = Arc::new(process_within(&stores, &balance, limits).await?);
    let mut other = Patrol::new(Arc::clone(&two));
    ensure_eq!(other.step().await?, Patrolled::Nothing, "while another patrols");
    ensure!(two.patrol_now("balance").await.is_err(), "a pass on top of another's");
    drop(patrol);
    stores.clock.advance(Duration::from_secs(61));
    let (mut found, mut slices) = (Vec::new(), 0);
    loop {
        slices += 1;
        match other.step().await? {
            Patrolled::Slice { found: more, pass_ended, .. } => {
                found.extend(more);
                if pass_ended {
                    break;
                }
            }
            Patrolled::Nothing => return Err(crate::Failure::new("the pass of a killed process is left")),
        }
    }
    ensure!(slices > 20, "a pass is made of slices: {slices}");
    ensure_eq!(found.len(), 1, "what was found: {found:?}");
    let state = two.patrols().await?.remove(0);
    ensure_eq!((state.passes, state.driver), (1, None), "the pass");
    ensure_eq!(state.verified_up_to, Some(stores.feed.head().await?.position()), "verified up to");
    ensure_eq!(other.step().await?, Patrolled::Nothing, "a patrol rests between passes");
    Ok(())
}

/// Rows that are held back are no incident, and a poisoned row does not keep a patrol from the others.
pub(crate) async fn parked_keys_are_left_out_of_a_patrol(harness: &dyn Harness) -> Outcome {
    use crate::fixtures::Broken;
    let stores = harness.open(Vec::new()).await?;
    for key in ["a", "b", "c"] {
        on(&stores, key, &[opened(key), deposited(1)?]).await?;
    }
    on(&stores, "a", &[AccountEvent::Renamed { owner: POISON[0].to_owned() }, deposited(2)?]).await?;
    for broken in [group::<Broken>(harness), split::<Broken>(harness, 3)] {
        let (projector, _) = drained(&stores, &broken).await?;
        ensure_eq!(projector.parked(broken.name()).await?.len(), 1, "what is parked");
        let (_, incidents) = projector.patrol_now(broken.name()).await?;
        ensure_eq!(incidents, Vec::new(), "what a patrol finds");
        tamper(&stores, &broken, "b", Tamper::Delete).await?;
        let (_, incidents) = projector.patrol_now(broken.name()).await?;
        ensure_eq!(incidents.len(), 1, "what a patrol finds: {incidents:?}");
        let by = Repair::Row(name(&broken, "b")?);
        projector.repair(broken.name(), &by, &order("by hand")?).await?;
        let by = Repair::Row(name(&broken, "a")?);
        let repaired = projector.repair(broken.name(), &by, &order("to be sure")?).await?;
        ensure_eq!(repaired.differences, Vec::new(), "a row that is held back is what it is");
        drive::digest(&stores, &broken).await?;
    }
    Ok(())
}

/// A suspended model answers nobody and follows the log; resumed, it answers everything.
pub(crate) async fn a_suspended_model_follows_and_does_not_answer(harness: &dyn Harness) -> Outcome {
    use crate::cases::poison::queries;
    use diptych_query::{Ask, QueryError};
    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann")]).await?;
    let total = group::<Total>(harness);
    let (projector, _) = drained(&stores, &total).await?;
    let queries = queries(&stores, &total)?;
    let (principal, ask) = (drive::principal(MAIN)?, Ask::default());
    queries.ask(&principal, "total", &ask).await?;
    projector.suspend("total", &order("rows are wrong")?).await?;
    let asked = queries.ask(&principal, "total", &ask).await;
    ensure!(
        matches!(&asked, Err(QueryError::Suspended { reason }) if reason.contains("rows are wrong")),
        "an answer of a suspended model: {asked:?}"
    );
    on(&stores, "a", &[deposited(1)?]).await?;
    drain(&projector, &total).await?;
    let position = stores.models.checkpoint(&total).await?.mark.position();
    ensure_eq!(position, Position(2), "where a suspended model stands");
    let told = projector.resume_serving("total", &order("they are right")?).await?;
    ensure_eq!(told.map(|told| told.actor), Some("eve".to_owned()), "who had suspended it");
    ensure_eq!(queries.ask(&principal, "total", &ask).await?.health, Health::Live, "the health afterwards");
    ensure_eq!(projector.resume_serving("total", &order("again")?).await?, None, "resuming what answers");
    Ok(())
}
