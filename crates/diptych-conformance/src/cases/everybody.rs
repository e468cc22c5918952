//! Read models of all tenants: one set of rows over everybody's facts, the same however it is cut or split,
//! and apart from the rows of any one tenant.

use super::partitions::same_rows;
use crate::drive::{
    self, EVERYTHING, MAIN, all_contents, build, history, opened, query, record, rows, stream, tenant,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, Balance, Namesakes, group};
use crate::{Harness, Outcome, Stores};
use diptych_core::{Portable, Value};
use diptych_query::{Group, ReadModel, RowRef};

/// How often each name is opened, and by whom, one after the other.
const TURNS: [(&str, &str); 7] =
    [(MAIN, "a"), ("other", "a"), ("other", "b"), (MAIN, "a"), ("third", "a"), ("*", "a"), (MAIN, "c")];

async fn opened_in_turns(stores: &Stores) -> Outcome {
    for (tenant, key) in TURNS {
        record(stores, &stream::<AccountEvent>(tenant, key)?, &[opened(tenant)]).await?;
    }
    Ok(())
}

/// The rows that those turns make.
fn expected() -> Vec<Vec<Value>> {
    let row = |account: &str, facts, turns, last: &str| {
        Namesakes { account: account.to_owned(), facts, turns, last: last.to_owned() }.to_row()
    };
    vec![row("a", 5, 4, "*"), row("b", 1, 0, "other"), row("c", 1, 0, MAIN)]
}

/// What is found for whoever asks as a tenant.
async fn found_by(stores: &Stores, group: &Group, name: &str) -> Outcome<Vec<Vec<Value>>> {
    let mut find = query(None, Vec::new())?;
    find.tenant = Namesakes::SCHEMA.tenants.owner(&tenant(name)?).clone();
    drive::find(stores, group, &find).await
}

/// Everybody's facts change one set of rows, which is the same whoever asks.
pub(crate) async fn rows_of_all_tenants_stand_in_one_set(harness: &dyn Harness) -> Outcome {
    for positions_max in [1, 2, EVERYTHING] {
        let stores = harness.open(Vec::new()).await?;
        if stores.feed.head().await?.position().0 == 0 {
            opened_in_turns(&stores).await?;
        }
        let namesakes = group::<Namesakes>(harness);
        stores.models.attach(&namesakes).await?;
        stores.models.reset(&namesakes).await?;
        build(&stores, &namesakes, positions_max).await?;
        for name in [MAIN, "other", "nobody"] {
            ensure_eq!(found_by(&stores, &namesakes, name).await?, expected(), "what `{name}` finds");
        }
        let schema = namesakes.models()[0].schema();
        let key = vec!["a".to_owned().to_value()];
        let row = RowRef { tenant: schema.tenants.owner(&tenant("other")?).clone(), key };
        let got = stores.models.get(&namesakes, schema, &row).await?;
        ensure_eq!(got.rows, expected()[..1], "the row of a name");
        let scanned = rows(&stores, &namesakes).await?;
        let owners: Vec<_> = scanned.iter().map(|row| row.row.tenant.clone()).collect();
        ensure!(owners.iter().all(|owner| *owner == row.tenant), "the rows of a scan belong to {owners:?}");
        drive::digest(&stores, &namesakes).await?;
        harness.stop(stores).await?;
    }
    Ok(())
}

/// A tenant shares nothing with the rows of all tenants, whatever it is called, and has its own beside them.
pub(crate) async fn rows_of_all_tenants_are_no_tenants_own(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    opened_in_turns(&stores).await?;
    let (namesakes, balance) = (group::<Namesakes>(harness), group::<Balance>(harness));
    build(&stores, &namesakes, 2).await?;
    build(&stores, &balance, 2).await?;
    let everybody = Namesakes::SCHEMA.tenants.owner(&tenant(MAIN)?).clone();
    for (name, accounts) in
        [(MAIN, vec!["a", "c"]), ("other", vec!["a", "b"]), (everybody.as_str(), vec!["a"])]
    {
        let mut find = query(None, Vec::new())?;
        find.tenant = tenant(name)?;
        let found = drive::find(&stores, &balance, &find).await?;
        let found: Vec<_> = found.into_iter().map(|row| row[0].clone()).collect();
        let accounts: Vec<_> = accounts.into_iter().map(|account| account.to_owned().to_value()).collect();
        ensure_eq!(found, accounts, "the accounts of `{name}` itself");
    }
    stores.models.reset(&balance).await?;
    ensure_eq!(found_by(&stores, &namesakes, MAIN).await?, expected(), "after the other table was emptied");
    Ok(())
}

/// In several partitions the set is the same, and so is its digest.
pub(crate) async fn a_set_of_all_tenants_may_be_split(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    for number in 0..30 {
        for tenant in [MAIN, "other", "third"].into_iter().take(1 + number % 3) {
            let stream = stream::<AccountEvent>(tenant, &format!("account {number}"))?;
            record(&stores, &stream, &[opened(tenant)]).await?;
        }
    }
    for partitions in [2, 5] {
        same_rows::<Namesakes>(harness, &stores, partitions).await?;
    }
    let held = all_contents(&stores, &group::<Namesakes>(harness)).await?;
    ensure_eq!(held[0].len(), 33, "names");
    Ok(())
}
