//! What the cases are written with: commits by hand, a projector of one function, whole tables and their
//! digests.

use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Account, AccountEvent, Enrolment, NoteEvent, SampleEvent};
use crate::{Failure, Outcome, Stores};
use diptych_command::{
    Base, CommandHeader, CommandLimits, Commands, Commit, Committed, Effect, InputHash, RawCommand,
    RefusedFor,
};
use diptych_core::{
    Actor, Authorize, Clock, CommandId, Currency, Event, ExpectedVersion, Money, NewEvent, Portable,
    Position, Principal, StreamId, StreamRef, Tenant, Unrestricted, Value, Version,
};
use diptych_query::fold::{bucket_of, row_digest};
use diptych_query::{
    AdvanceError, BucketDigest, Checkpoint, Condition, Cursor, Direction, Fold, Found, Group, RawFind,
    RowRef, ScannedRow,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The tenant of cases that need one only.
pub(crate) const MAIN: &str = "main";

/// Long enough for every query of a case.
pub(crate) const QUERY_MAX: Duration = Duration::from_secs(60);

/// More positions than any case writes.
pub(crate) const EVERYTHING: usize = 100_000;

pub(crate) fn tenant(name: &str) -> Outcome<Tenant> {
    Ok(Tenant::new(name)?)
}

pub(crate) fn principal(tenant: &str) -> Outcome<Principal> {
    Ok(Principal::new(tenant, "ann")?)
}

pub(crate) fn command_id(id: &str) -> Outcome<CommandId> {
    Ok(CommandId::new(id)?)
}

/// The stream of a language's category and a key.
pub(crate) fn stream<E: Event>(tenant_name: &str, key: &str) -> Outcome<StreamRef> {
    Ok(StreamRef { tenant: tenant(tenant_name)?, stream: StreamId::new(E::CATEGORY, key)? })
}

/// An account of the main tenant.
pub(crate) fn account(key: &str) -> Outcome<StreamRef> {
    stream::<AccountEvent>(MAIN, key)
}

pub(crate) fn opened(owner: &str) -> AccountEvent {
    let owner = owner.to_owned();
    AccountEvent::Opened { owner }
}

pub(crate) fn renamed(owner: &str) -> AccountEvent {
    let owner = owner.to_owned();
    AccountEvent::Renamed { owner }
}

pub(crate) fn pounds(amount: i64) -> Outcome<Money> {
    Money::from_thousandths(amount * 1_000, Currency::GBP).map_err(|error| Failure::new(error.to_string()))
}

pub(crate) fn deposited(amount: i64) -> Outcome<AccountEvent> {
    let amount = pounds(amount)?;
    Ok(AccountEvent::Deposited { amount })
}

pub(crate) fn transferred(to: &str, amount: i64) -> Outcome<AccountEvent> {
    let (to, amount) = (to.to_owned(), pounds(amount)?);
    Ok(AccountEvent::Transferred { to, amount })
}

/// A command's header; its hash covers `body`.
pub(crate) fn header(stores: &Stores, stream: &StreamRef, id: &str, body: &str) -> Outcome<CommandHeader> {
    let command = RawCommand { name: "Record".to_owned(), body: body.to_owned() };
    let actor = Actor::new("ann")?;
    Ok(CommandHeader {
        id: command_id(id)?,
        stream: stream.clone(),
        hash: InputHash::of(&actor, stream, &command, ExpectedVersion::Any),
        name: command.name,
        actor,
        correlation: None,
        causation: None,
        policy: None,
        occurred_at: stores.clock.now(),
    })
}

/// The commit of some events on a version.
pub(crate) fn append<E: Event>(
    stores: &Stores,
    stream: &StreamRef,
    id: &str,
    base: u64,
    events: &[E],
) -> Outcome<Commit> {
    let mut encoded = Vec::new();
    for event in events {
        encoded.push(NewEvent::from_event(event)?);
    }
    let body: Vec<_> = encoded.iter().map(|event| event.payload.as_str()).collect();
    let header = header(stores, stream, id, &body.join(","))?;
    let effect = Effect::Append { base: Base::At(Version(base)), events: encoded };
    Ok(Commit::new(header, effect))
}

/// The commit of the domain's no.
pub(crate) fn reject(stores: &Stores, stream: &StreamRef, id: &str, base: u64) -> Outcome<Commit> {
    let base = Base::At(Version(base));
    let effect = Effect::Reject { base, name: "NotOpen".to_owned(), data: "{}".to_owned() };
    let header = header(stores, stream, id, "rejected")?;
    Ok(Commit::new(header, effect))
}

/// The commit of a refusal's evidence.
pub(crate) fn refuse(stores: &Stores, stream: &StreamRef, id: &str, reason: RefusedFor) -> Outcome<Commit> {
    let effect = Effect::Refuse { reason, version: Version(0) };
    let header = header(stores, stream, id, "refused")?;
    Ok(Commit::new(header, effect))
}

/// Appends on the version that the stream has, under a command id of its own.
pub(crate) async fn record<E: Event>(
    stores: &Stores,
    stream: &StreamRef,
    events: &[E],
) -> Outcome<Committed> {
    let held = stores.events.load(stream, Version::NONE, EVERYTHING).await?;
    let id = format!("{} {} at {}", stream.tenant, stream, held.len());
    let commit = append(stores, stream, &id, held.len() as u64, events)?;
    Ok(stores.events.commit(commit).await?)
}

/// Appends one event to a stream of a tenant.
pub(crate) async fn tell<E: Event>(stores: &Stores, tenant: &str, key: &str, event: E) -> Outcome {
    record(stores, &stream::<E>(tenant, key)?, &[event]).await?;
    Ok(())
}

/// Appends to an account of the main tenant.
pub(crate) async fn on(stores: &Stores, key: &str, events: &[AccountEvent]) -> Outcome<Committed> {
    record(stores, &account(key)?, events).await
}

/// Appends to a note: a fact that no account model reads.
pub(crate) async fn note(stores: &Stores, key: &str) -> Outcome<Committed> {
    let text = "x".to_owned();
    record(stores, &stream::<NoteEvent>(MAIN, key)?, &[NoteEvent::Written { text }]).await
}

/// Appends to a sample of the main tenant.
pub(crate) async fn take(stores: &Stores, key: &str, event: SampleEvent) -> Outcome<Committed> {
    record(stores, &stream::<SampleEvent>(MAIN, key)?, &[event]).await
}

/// A mixed history: several accounts in two tenants, closed and opened again, with notes in between.
pub(crate) async fn history(stores: &Stores) -> Outcome {
    for round in 0..3 {
        for (tenant, key) in [(MAIN, "a"), (MAIN, "b"), ("other", "a"), (MAIN, "c")] {
            let stream = stream::<AccountEvent>(tenant, key)?;
            record(stores, &stream, &[opened(&format!("{key} {round}")), deposited(round + 1)?]).await?;
            let to = if key == "a" { "b" } else { "a" };
            record(stores, &stream, &[transferred(to, 1)?]).await?;
            note(stores, &format!("{tenant} {key} {round}")).await?;
            if key != "b" {
                record(stores, &stream, &[renamed("new"), AccountEvent::Closed {}]).await?;
            }
            stores.clock.advance(Duration::from_millis(1_500));
        }
    }
    on(stores, "c", &[opened("c for good"), deposited(7)?]).await?;
    Ok(())
}

/// A left panel over the store, which lets everybody do everything.
pub(crate) fn commands(stores: &Stores) -> Commands {
    commands_for(stores, Arc::new(Unrestricted))
}

pub(crate) fn commands_for(stores: &Stores, authorize: Arc<dyn Authorize>) -> Commands {
    let limits = CommandLimits {
        attempts_max: 200,
        retry_pause_max: Duration::from_millis(2),
        ..CommandLimits::default()
    };
    let clock: Arc<dyn Clock> = Arc::<diptych_memory::ManualClock>::clone(&stores.clock);
    let deciders = vec![diptych_command::erase::<Account>(), diptych_command::erase_boundary::<Enrolment>()];
    Commands::new(Arc::clone(&stores.events), deciders, authorize, clock, limits)
}

/// Folds one batch; answers whether the group stands at the head.
pub(crate) async fn advance_once(stores: &Stores, group: &Group, positions_max: usize) -> Outcome<bool> {
    let checkpoint = stores.models.checkpoint(group).await?;
    let from = checkpoint.mark.position();
    let block = stores.feed.read(from, group.categories(), positions_max).await?;
    if block.through.position() == from {
        return Ok(true);
    }
    let mut fold = Fold::new(group, &checkpoint);
    if fold.is_fresh() && group.may_park() {
        // A fold over empty tables folds while it plans, so that it must know before.
        for parked in stores.models.parked(group).await? {
            let table = group.models().iter().position(|model| model.schema().name == parked.model);
            fold.hold(table.unwrap_or_default(), vec![(parked.row, parked.position)]);
        }
    }
    fold.plan(&block)?;
    let advanced = stores.models.advance(group, fold).await?;
    ensure_eq!(advanced.checkpoint.mark, block.through, "the checkpoint after an advance of {group:?}");
    Ok(block.through.position() == block.head)
}

/// Folds everything in batches of at most so many positions.
pub(crate) async fn advance_to_head(
    stores: &Stores,
    group: &Group,
    positions_max: usize,
) -> Outcome<Checkpoint> {
    while !advance_once(stores, group, positions_max).await? {}
    Ok(stores.models.checkpoint(group).await?)
}

/// Attaches a group and folds everything.
pub(crate) async fn build(stores: &Stores, group: &Group, positions_max: usize) -> Outcome<Checkpoint> {
    stores.models.attach(group).await?;
    advance_to_head(stores, group, positions_max).await
}

/// Delivers old positions again: everything in `(after, through]`, to a group that is beyond.
pub(crate) async fn redeliver(
    stores: &Stores,
    group: &Group,
    after: Position,
    through: Position,
) -> Outcome<Result<usize, AdvanceError>> {
    let checkpoint = stores.models.checkpoint(group).await?;
    let count = usize::try_from(after.lag_to(through)).unwrap_or(EVERYTHING);
    let block = stores.feed.read(after, group.categories(), count).await?;
    let mut fold = Fold::redelivery(group, checkpoint.mark);
    fold.plan_facts(&block.facts, block.through)?;
    let advanced = stores.models.advance(group, fold).await;
    Ok(advanced.map(|advanced| advanced.rows))
}

/// Every row of a group's first table.
pub(crate) async fn rows(stores: &Stores, group: &Group) -> Outcome<Vec<ScannedRow>> {
    rows_in(stores, group, 0).await
}

/// Every row of a table of a group, page by page, and the proof that each carries its hash.
pub(crate) async fn rows_in(stores: &Stores, group: &Group, table: usize) -> Outcome<Vec<ScannedRow>> {
    const ROWS_MAX: usize = 3;
    let schema = group.models()[table].schema();
    let mut all: Vec<ScannedRow> = Vec::new();
    loop {
        let after = all.last().map(|row| row.row.clone());
        let page = stores.models.scan(group, schema, after.as_ref(), ROWS_MAX).await?;
        ensure!(page.len() <= ROWS_MAX, "a scan answered more rows than asked for");
        let last = page.len() < ROWS_MAX;
        all.extend(page);
        if last {
            break;
        }
    }
    for row in &all {
        let values = row.values.as_deref().unwrap_or_default();
        ensure!(!values.is_empty(), "a scan answered the tombstone of {:?}", row.row);
        let digest = row_digest(&row.row.tenant, values);
        ensure_eq!(row.hash, digest as u64, "the hash kept with {:?}", row.row);
    }
    Ok(all)
}

/// A row without its guard, which depends on how the log was cut.
pub(crate) type Content = (RowRef, Vec<Value>);

/// Every row of a group's first table, without guards.
pub(crate) async fn contents(stores: &Stores, group: &Group) -> Outcome<Vec<Content>> {
    contents_in(stores, group, 0).await
}

/// Every row of a table of a group, without guards.
pub(crate) async fn contents_in(stores: &Stores, group: &Group, table: usize) -> Outcome<Vec<Content>> {
    let rows = rows_in(stores, group, table).await?;
    Ok(rows.into_iter().map(|row| (row.row, row.values.unwrap_or_default())).collect())
}

/// Every row of every table of a group, after the proof that each table's digest is that of its rows.
pub(crate) async fn all_contents(stores: &Stores, group: &Group) -> Outcome<Vec<Vec<Content>>> {
    let mut all = Vec::new();
    for table in 0..group.models().len() {
        digest_in(stores, group, table).await?;
        all.push(contents_in(stores, group, table).await?);
    }
    Ok(all)
}

/// The digest of a group's first table.
pub(crate) async fn digest(stores: &Stores, group: &Group) -> Outcome<Vec<BucketDigest>> {
    digest_in(stores, group, 0).await
}

/// The kept digest of a table without empty buckets, after the proof that it is that of the rows.
pub(crate) async fn digest_in(stores: &Stores, group: &Group, table: usize) -> Outcome<Vec<BucketDigest>> {
    let mut expected: BTreeMap<u8, (i64, u128)> = BTreeMap::new();
    for (row, values) in contents_in(stores, group, table).await? {
        let bucket = expected.entry(bucket_of(&row.tenant, &row.key)).or_default();
        bucket.0 += 1;
        bucket.1 = bucket.1.wrapping_add(row_digest(&row.tenant, &values));
    }
    let schema = group.models()[table].schema();
    let mut kept = stores.models.digest(group, schema).await?;
    kept.retain(|(_, rows, sum)| (*rows, *sum) != (0, 0));
    kept.sort_unstable();
    let expected: Vec<_> = expected.into_iter().map(|(bucket, (rows, sum))| (bucket, rows, sum)).collect();
    ensure_eq!(kept, expected, "the digest kept of {group:?}");
    Ok(kept)
}

/// The row of a text key in the main tenant, of a group's first table.
pub(crate) async fn get(stores: &Stores, group: &Group, key: &str) -> Outcome<Found> {
    get_in(stores, group, 0, key).await
}

/// The row of a text key in the main tenant.
pub(crate) async fn get_in(stores: &Stores, group: &Group, table: usize, key: &str) -> Outcome<Found> {
    let row = RowRef { tenant: tenant(MAIN)?, key: vec![key.to_owned().to_value()] };
    Ok(stores.models.get(group, group.models()[table].schema(), &row).await?)
}

/// A query of the main tenant.
pub(crate) fn query(sort: Option<(usize, Direction)>, conditions: Vec<Condition>) -> Outcome<RawFind> {
    Ok(RawFind {
        rule: diptych_query::RowRule::All,
        words: diptych_query::Words::default(),
        tenant: tenant(MAIN)?,
        conditions,
        sort,
        after: None,
        rows_max: EVERYTHING,
    })
}

pub(crate) async fn find(stores: &Stores, group: &Group, find: &RawFind) -> Outcome<Vec<Vec<Value>>> {
    let schema = group.models()[0].schema();
    Ok(stores.models.find(group, schema, find, QUERY_MAX).await?.rows)
}

/// The place after a row, for the next page.
pub(crate) fn place_of(group: &Group, find: &RawFind, row: &[Value]) -> Cursor {
    let schema = group.models()[0].schema();
    Cursor {
        sorted: find.sort.map(|(column, _)| row[column].clone()),
        key: schema.key.iter().map(|column| row[*column].clone()).collect(),
    }
}
