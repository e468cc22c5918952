//! The right panel over the store: what an answer says of itself is true.

use crate::drive::{self, MAIN, build, deposited, note, on, opened, principal};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Balance, Total, group};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Clock, Fingerprint, Position, Token, Unrestricted};
use diptych_query::{
    Ask, Direction, Group, Health, PageKey, Queries, QueryError, QueryLimits, QueryParts, ReadModel,
    ReadPolicy, Stopped,
};
use std::sync::Arc;
use std::time::Duration;

/// Lag in events and seconds, the time of the last event, and whether a position is reached: all as they are.
pub(crate) async fn answers_say_how_fresh_they_are(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let total = group::<Total>(harness);
    stores.models.attach(&total).await?;
    let (queries, ann) = (queries(&stores, &total), principal(MAIN)?);
    let mut seen = Position::START;
    for round in 1..=3_u64 {
        let first = on(&stores, "a", &[deposited(1)?]).await?;
        stores.clock.advance(Duration::from_secs(5));
        let last = note(&stores, "n").await?.record;
        stores.clock.advance(Duration::from_secs(2));
        let ask = Ask { at_least: Some(last.token), ..Ask::default() };
        let behind = queries.ask(&ann, "total", &ask).await?.freshness;
        ensure_eq!(behind.lag_events, 2, "the lag in events, behind");
        let late = stores.clock.now().seconds_since(first.record.recorded_at);
        ensure_eq!(behind.lag_seconds, late, "the lag in seconds, behind");
        ensure_eq!(behind.caught_up_to_requested_position, Some(false), "whether the token is reached");
        ensure!(behind.projection_position >= seen, "an answer older than the one before");
        drive::advance_to_head(&stores, &total, 1).await?;
        let answer = queries.ask(&ann, "total", &ask).await?;
        let fresh = answer.freshness;
        ensure_eq!((fresh.lag_events, fresh.lag_seconds), (0, 0.0), "the lag when caught up");
        ensure_eq!(fresh.caught_up_to_requested_position, Some(true), "whether the token is reached");
        ensure_eq!((fresh.token, fresh.projection_position), (last.token, Position(2 * round)), "the token");
        ensure_eq!(fresh.as_of, Some(last.recorded_at), "as of when");
        ensure_eq!(answer.health, Health::Live, "how the model is doing");
        seen = fresh.projection_position;
    }
    Ok(())
}

/// A token that is not an entry of this log as it is now is refused, whether it is beyond, changed or of
/// another life.
pub(crate) async fn a_token_of_another_log_is_refused(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let total = group::<Total>(harness);
    let own = on(&stores, "a", &[opened("ann")]).await?.record.token;
    build(&stores, &total, 1).await?;
    let (queries, ann) = (queries(&stores, &total), principal(MAIN)?);
    let ask = |token| Ask { at_least: Some(token), ..Ask::default() };
    queries.ask(&ann, "total", &ask(own)).await?;
    let mut epoch = own;
    epoch.epoch.0 += 1;
    let changed = Token { fingerprint: Fingerprint(!own.fingerprint.0), ..own };
    let beyond = Token { position: Position(9), ..own };
    for token in [changed, beyond, epoch] {
        let answer = queries.ask(&ann, "total", &ask(token)).await;
        let refused = matches!(&answer, Err(QueryError::EpochChanged { token: named }) if *named == token);
        ensure!(refused, "token {token} was met with {answer:?}");
    }
    Ok(())
}

/// Page tokens lead through all rows of one question, and answer no other.
pub(crate) async fn page_tokens_continue_one_question(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    for key in ["a", "b", "c", "d", "e"] {
        on(&stores, key, &[opened("same")]).await?;
    }
    let balance = group::<Balance>(harness);
    build(&stores, &balance, 10).await?;
    let ann = principal(MAIN)?;
    let owner = Balance::SCHEMA.column("owner").map(|column| (column, Direction::Descending));
    let mut ask = Ask { sort: owner, page_size: Some(2), ..Ask::default() };
    let mut keys = Vec::new();
    for page in 0..3 {
        let answer = queries(&stores, &balance).ask(&ann, "balance", &ask).await?;
        keys.extend(answer.value.rows.iter().map(|row| row.values[0].to_json().to_string()));
        let token = answer.value.next_page_token;
        ensure_eq!(token.is_none(), page == 2, "whether page {page} is the last");
        if token.is_some() {
            ask.page_token = token;
            let bob = diptych_core::Principal::new("other", "bob")?;
            let stolen = queries(&stores, &balance).ask(&bob, "balance", &ask).await;
            ensure!(matches!(stolen, Err(QueryError::PageToken { .. })), "another tenant: {stolen:?}");
        }
        // A token outlives the process that wrote it.
        harness.stop(stores).await?;
        stores = harness.open(Vec::new()).await?;
        stores.models.attach(&balance).await?;
    }
    let expected = ["a", "b", "c", "d", "e"].map(|key| format!("{key:?}"));
    ensure_eq!(keys, expected, "the keys over all pages");
    Ok(())
}

/// A stopped model answers with what it has and says so; what it will never have is refused.
pub(crate) async fn a_stopped_model_says_so(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let total = group::<Total>(harness);
    on(&stores, "a", &[opened("ann")]).await?;
    build(&stores, &total, 1).await?;
    let token = on(&stores, "a", &[deposited(1)?]).await?.record.token;
    let (position, reason) = (Position(2), "it broke".to_owned());
    let stopped = Stopped { position, reason: reason.clone() };
    stores.models.set_stopped(&total, diptych_query::Partition::WHOLE, Some(stopped)).await?;
    let (queries, ann) = (queries(&stores, &total), principal(MAIN)?);
    let answer = queries.ask(&ann, "total", &Ask::default()).await?;
    ensure_eq!(answer.health, Health::Stopped { position, reason }, "the health of a stopped model");
    ensure_eq!((answer.value.rows.len(), answer.freshness.lag_events), (1, 1), "rows and lag");
    let ask = Ask { at_least: Some(token), ..Ask::default() };
    match queries.ask(&ann, "total", &ask).await {
        Err(QueryError::Stalled { .. }) => Ok(()),
        other => Err(Failure::new(format!("a position that is never reached: {other:?}"))),
    }
}

fn queries(stores: &Stores, group: &Arc<Group>) -> Queries {
    queries_by(stores, group, Arc::new(Unrestricted))
}

/// A right panel over the store that shows what a policy says.
pub(super) fn queries_by(stores: &Stores, group: &Arc<Group>, policy: Arc<dyn ReadPolicy>) -> Queries {
    Queries::new(QueryParts {
        store: Arc::clone(&stores.models),
        feed: Arc::clone(&stores.feed),
        groups: vec![Arc::clone(group)],
        progress: Arc::clone(&stores.progress),
        authorize: Arc::new(Unrestricted),
        policy,
        clock: Arc::<diptych_memory::ManualClock>::clone(&stores.clock),
        page_key: PageKey::new([7; 32], None),
        limits: QueryLimits::default(),
    })
}
