//! Keys that are held back from a fact on, and rows that are put right where a group stands.

use crate::drive::{
    self, EVERYTHING, MAIN, advance_to_head, all_contents, build, contents, deposited, on, opened, tenant,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Balance, Lenient, group};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Portable, Position, Value};
use diptych_query::{
    AdvanceError, Changed, Fold, Group, Mend, Parked, Partition, RowChange, RowRef, StoredRow, TableChanges,
};

fn row(key: &str) -> Outcome<RowRef> {
    Ok(RowRef { tenant: tenant(MAIN)?, key: vec![key.to_owned().to_value()] })
}

pub(crate) fn parked(stores: &Stores, model: &Group, key: &str, position: u64) -> Outcome<Parked> {
    use diptych_core::Clock;
    Ok(Parked {
        model: model.name().to_owned(),
        row: row(key)?,
        position: Position(position),
        event: "AccountRenamed".to_owned(),
        reason: "it broke (DP0035)".to_owned(),
        parked_at: stores.clock.now(),
    })
}

/// How many facts each row has taken.
pub(crate) async fn facts(stores: &Stores, model: &Group) -> Outcome<Vec<(String, i64)>> {
    drive::digest(stores, model).await?;
    let rows = contents(stores, model).await?.into_iter();
    let facts = rows.map(|(row, values)| match (&row.key[0], &values[1]) {
        (Value::Text(key), Value::Integer(facts)) => Ok((key.clone(), *facts)),
        other => Err(Failure::new(format!("a row of {other:?}"))),
    });
    facts.collect()
}

pub(crate) fn counted(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    pairs.iter().map(|(key, facts)| ((*key).to_owned(), *facts)).collect()
}

/// Two accounts with some facts each, all folded.
pub(crate) async fn lenient(stores: &Stores, harness: &dyn Harness) -> Outcome<std::sync::Arc<Group>> {
    let model = group::<Lenient>(harness);
    on(stores, "a", &[opened("ann"), deposited(1)?]).await?;
    on(stores, "b", &[opened("bob")]).await?;
    build(stores, &model, EVERYTHING).await?;
    Ok(model)
}

/// A key that is parked takes no fact from there on; all others do, and the digest is that of the rows.
pub(crate) async fn a_parked_key_waits_and_others_move(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = lenient(&stores, harness).await?;
    stores.models.park(&model, None, &[parked(&stores, &model, "a", 4)?]).await?;
    on(&stores, "a", &[deposited(1)?, deposited(1)?]).await?;
    on(&stores, "b", &[deposited(1)?]).await?;
    on(&stores, "c", &[opened("eve")]).await?;
    advance_to_head(&stores, &model, 2).await?;
    ensure_eq!(facts(&stores, &model).await?, counted(&[("a", 2), ("b", 2), ("c", 1)]), "the facts taken");
    ensure_eq!(stores.models.checkpoint(&model).await?.mark, stores.feed.head().await?, "the checkpoint");
    let held = stores.models.parked(&model).await?;
    ensure_eq!(held, vec![parked(&stores, &model, "a", 4)?], "what is parked");
    // Parked already, it stays where it is.
    stores.models.park(&model, None, &[parked(&stores, &model, "a", 5)?]).await?;
    ensure_eq!(stores.models.parked(&model).await?, held, "what is parked, once it was parked again");
    Ok(())
}

/// Facts before the one that a key was parked at are taken, also by a build from the start.
pub(crate) async fn a_parked_key_takes_what_came_before(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = group::<Lenient>(harness);
    on(&stores, "a", &[opened("ann"), deposited(1)?, deposited(1)?, deposited(1)?]).await?;
    on(&stores, "b", &[opened("bob")]).await?;
    stores.models.attach(&model).await?;
    stores.models.park(&model, None, &[parked(&stores, &model, "a", 3)?]).await?;
    advance_to_head(&stores, &model, 1).await?;
    ensure_eq!(facts(&stores, &model).await?, counted(&[("a", 2), ("b", 1)]), "the facts taken");
    Ok(())
}

/// What is parked is there after a crash, in order, and is forgotten by a reset.
pub(crate) async fn parked_keys_survive(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let model = lenient(&stores, harness).await?;
    let (a, b) = (parked(&stores, &model, "a", 9)?, parked(&stores, &model, "b", 4)?);
    stores.models.park(&model, None, &[a.clone(), b.clone()]).await?;
    for _ in 0..2 {
        harness.crash(stores).await?;
        stores = harness.open(Vec::new()).await?;
        stores.models.attach(&model).await?;
        // A store may lose rows with their checkpoint in a crash, and parks with both.
        advance_to_head(&stores, &model, EVERYTHING).await?;
        stores.models.park(&model, None, &[a.clone(), b.clone()]).await?;
        ensure_eq!(stores.models.parked(&model).await?, vec![b.clone(), a.clone()], "what is parked");
    }
    stores.models.reset(&model).await?;
    ensure_eq!(stores.models.parked(&model).await?, Vec::new(), "what is parked after a reset");
    Ok(())
}

/// Builds park by themselves.
pub(crate) async fn builds_park_by_themselves(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = lenient(&stores, harness).await?;
    stores.models.park(&model, None, &[parked(&stores, &model, "a", 4)?]).await?;
    let begun = stores.registry.begin_build(&model, &super::builds::order("to be sure")?).await?;
    let second = model.at(begun.id);
    on(&stores, "a", &[deposited(1)?]).await?;
    build(&stores, &second, EVERYTHING).await?;
    advance_to_head(&stores, &model, EVERYTHING).await?;
    ensure_eq!(stores.models.parked(&second).await?, Vec::new(), "what is parked in the second build");
    ensure_eq!(facts(&stores, &second).await?, counted(&[("a", 3), ("b", 1)]), "the facts in the second");
    ensure_eq!(facts(&stores, &model).await?, counted(&[("a", 2), ("b", 1)]), "the facts in the first");
    Ok(())
}

/// What a fold of the facts that one key missed would write.
async fn missed(stores: &Stores, model: &Group, key: &str) -> Outcome<Vec<TableChanges>> {
    let wanted = row(key)?;
    let start = stores.feed.mark(Position::START).await?;
    let mut fold = Fold::from_mark(model, start.ok_or_else(|| Failure::new("the log has no start"))?);
    let block = stores.feed.read(Position::START, model.categories(), EVERYTHING).await?;
    fold.plan(&block)?;
    fold.run()?;
    let mut changes = fold.changes()?;
    let held = stores.models.get(model, model.models()[0].schema(), &wanted).await?;
    for TableChanges { rows, digest, .. } in &mut changes {
        rows.retain(|change| change.stored.row == wanted);
        let bucket = diptych_query::fold::bucket_of(&wanted.tenant, &wanted.key);
        let old = held.rows.first().map(|values| diptych_query::fold::row_digest(&wanted.tenant, values));
        let new = rows.first().and_then(|change| change.stored.values.as_ref());
        let new = new.map(|values| diptych_query::fold::row_digest(&wanted.tenant, values));
        rows.iter_mut().for_each(|change| change.existed = old.is_some());
        let count = i64::from(new.is_some()) - i64::from(old.is_some());
        *digest = vec![(bucket, count, new.unwrap_or(0).wrapping_sub(old.unwrap_or(0)))];
    }
    Ok(changes)
}

/// A key that is mended where the group stands is held back no longer, and takes what comes.
pub(crate) async fn a_mended_key_goes_on(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = lenient(&stores, harness).await?;
    stores.models.park(&model, None, &[parked(&stores, &model, "a", 4)?]).await?;
    on(&stores, "a", &[deposited(1)?, deposited(1)?]).await?;
    let checkpoint = advance_to_head(&stores, &model, 2).await?;
    let at = checkpoint.mark.position();
    let mend = |at| {
        let (stores, model) = (&stores, &model);
        async move {
            let changes = missed(stores, model, "a").await?;
            let healed = vec![(0, row("a")?)];
            let mend =
                Mend { partition: Partition::WHOLE, lease: None, at, changes, healed, parked: Vec::new() };
            Ok::<_, Failure>(stores.models.mend(model, mend).await)
        }
    };
    let elsewhere = mend(Position(at.0 - 1)).await?;
    ensure!(matches!(elsewhere, Err(AdvanceError::Moved { .. })), "a mend elsewhere: {elsewhere:?}");
    ensure_eq!(stores.models.parked(&model).await?.len(), 1, "what is parked after a refused mend");
    ensure_eq!(facts(&stores, &model).await?, counted(&[("a", 2), ("b", 1)]), "rows after a refused mend");
    mend(at).await??;
    ensure_eq!(stores.models.parked(&model).await?, Vec::new(), "what is parked after a mend");
    ensure_eq!(stores.models.checkpoint(&model).await?, checkpoint, "the checkpoint after a mend");
    ensure_eq!(facts(&stores, &model).await?, counted(&[("a", 4), ("b", 1)]), "the rows after a mend");
    on(&stores, "a", &[deposited(1)?]).await?;
    advance_to_head(&stores, &model, 2).await?;
    ensure_eq!(facts(&stores, &model).await?, counted(&[("a", 5), ("b", 1)]), "the facts afterwards");
    Ok(())
}

/// A key that is mended up to another fact that it cannot take is held back from that one on, in the same
/// transaction.
pub(crate) async fn a_key_may_be_parked_anew(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = lenient(&stores, harness).await?;
    stores.models.park(&model, None, &[parked(&stores, &model, "a", 4)?]).await?;
    on(&stores, "a", &[deposited(1)?, deposited(1)?]).await?;
    let at = advance_to_head(&stores, &model, 2).await?.mark.position();
    let anew = parked(&stores, &model, "a", 5)?;
    let (partition, healed) = (Partition::WHOLE, vec![(0, row("a")?)]);
    let mend = Mend { partition, lease: None, at, changes: Vec::new(), healed, parked: vec![anew.clone()] };
    stores.models.mend(&model, mend).await?;
    ensure_eq!(stores.models.parked(&model).await?, vec![anew], "what is parked");
    on(&stores, "a", &[deposited(1)?]).await?;
    advance_to_head(&stores, &model, 2).await?;
    ensure_eq!(facts(&stores, &model).await?, counted(&[("a", 2), ("b", 1)]), "the facts taken");
    Ok(())
}

/// A mend writes, makes and deletes rows, and leaves the digest to whoever knows it.
pub(crate) async fn a_mend_writes_what_it_says(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let balance = group::<Balance>(harness);
    drive::history(&stores).await?;
    let at = build(&stores, &balance, EVERYTHING).await?.mark.position();
    let before = all_contents(&stores, &balance).await?;
    let rows = drive::rows(&stores, &balance).await?;
    let gone = rows[0].clone();
    let tombstone = StoredRow { values: None, hash: 0, ..gone.clone() };
    let bucket = diptych_query::fold::bucket_of(&gone.row.tenant, &gone.row.key);
    let sum = diptych_query::fold::row_digest(&gone.row.tenant, gone.values.as_deref().unwrap_or_default());
    let write = |stored: StoredRow, existed, digest| {
        let (stores, balance) = (&stores, &balance);
        async move {
            let rows = vec![RowChange { stored, existed, changed: Changed::ALL }];
            let changes = vec![TableChanges { rows, digest, facts: Vec::new() }];
            let partition = Partition::WHOLE;
            let mend = Mend { partition, lease: None, at, changes, healed: Vec::new(), parked: Vec::new() };
            Ok::<_, Failure>(stores.models.mend(balance, mend).await?)
        }
    };
    write(tombstone, true, vec![(bucket, -1, 0_u128.wrapping_sub(sum))]).await?;
    let without: Vec<_> = before[0].iter().filter(|(row, _)| *row != gone.row).cloned().collect();
    ensure_eq!(all_contents(&stores, &balance).await?, vec![without], "rows once one is taken out");
    write(gone.clone(), false, vec![(bucket, 1, sum)]).await?;
    ensure_eq!(all_contents(&stores, &balance).await?, before, "rows once it is put back");
    write(gone, true, Vec::new()).await?;
    ensure_eq!(all_contents(&stores, &balance).await?, before, "rows once one is written over by itself");
    Ok(())
}
