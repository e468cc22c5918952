//! Stored states: a row beside the log that moves with its command, and that can always be done without.

use crate::counting::Counting;
use crate::drive::{
    self, MAIN, account, append, command_id, deposited, on, opened, pounds, principal, reject, renamed,
    stream,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountCommand, AccountEvent, AccountId, Brittle, Kept, NoteEvent, group, kept};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_command::{
    AnyDecider, CommandLimits, Commands, Commit, CommitError, HandleError, NewState, Persistence, Request,
    RowProblem, Shape, StateRow,
};
use diptych_core::{Clock, StreamRef, Unrestricted, Version};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the fixtures' account writes.
const SHAPE: u64 = 7;

fn row(version: u64, state: &str) -> StateRow {
    StateRow { version: Version(version), shape: Shape(SHAPE), state: state.to_owned() }
}

fn leaving(commit: Commit, state: &str) -> Commit {
    commit.with_state(NewState { shape: Shape(SHAPE), state: state.to_owned() })
}

async fn held(stores: &Stores, key: &str) -> Outcome<Option<StateRow>> {
    Ok(stores.events.load_state(&account(key)?).await?)
}

fn panel(stores: &Stores, decider: Arc<dyn AnyDecider>) -> Commands {
    let limits = CommandLimits { load_events_max: 3, attempts_max: 50, ..CommandLimits::default() };
    let clock: Arc<dyn Clock> = Arc::<diptych_memory::ManualClock>::clone(&stores.clock);
    Commands::new(Arc::clone(&stores.events), vec![decider], Arc::new(Unrestricted), clock, limits)
}

fn stored(persistence: Persistence, events: u32) -> Arc<dyn AnyDecider> {
    kept(persistence, events)
}

/// What a handled command said, in a form that two stores can be compared by.
async fn ask(commands: &Commands, key: &str, id: String, command: AccountCommand) -> Outcome<String> {
    let request = Request::by(&principal(MAIN)?).to(&AccountId(key.into()), command).command_id(id);
    match commands.handle::<Kept<0>>(request).await {
        Ok(receipt) => Ok(format!("{} {} {:?}", receipt.version, receipt.token.position, receipt.events)),
        Err(HandleError::Rejected(no)) => Ok(format!("rejected: {no:?}")),
        Err(other) => Err(other.into()),
    }
}

/// The row is there when the commit answers, at the version that its events lead to; without events, none is.
pub(crate) async fn a_state_is_written_with_its_events(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let a = account("a")?;
    ensure_eq!(held(&stores, "a").await?, None, "the state of a stream without events");
    let two = append(&stores, &a, "one", 0, &[opened("ann"), deposited(1)?])?;
    stores.events.commit(leaving(two.clone(), r#"{"n":2}"#)).await?;
    ensure_eq!(held(&stores, "a").await?, Some(row(2, r#"{"n":2}"#)), "the state after two events");
    stores.events.commit(append(&stores, &a, "two", 2, &[deposited(1)?])?).await?;
    ensure_eq!(held(&stores, "a").await?, Some(row(2, r#"{"n":2}"#)), "after a commit that leaves none");
    let text = r#"{"name":"Åsa 'the \"one\"' \\ 字","n":4}"#;
    stores.events.commit(leaving(append(&stores, &a, "three", 3, &[deposited(1)?])?, text)).await?;
    ensure_eq!(held(&stores, "a").await?, Some(row(4, text)), "the next state, byte for byte");
    let nothing = leaving(append::<AccountEvent>(&stores, &a, "four", 4, &[])?, "{}");
    stores.events.commit(nothing).await?;
    stores.events.commit(leaving(reject(&stores, &a, "no", 4)?, "{}")).await?;
    ensure_eq!(held(&stores, "a").await?, Some(row(4, text)), "after commands that append nothing");
    let again = stores.events.commit(leaving(two, "{}")).await?;
    ensure!(again.replayed, "the same command was not recognized");
    ensure_eq!(held(&stores, "a").await?, Some(row(4, text)), "after a replay");
    Ok(())
}

/// What is refused leaves the row as it was.
pub(crate) async fn a_conflict_writes_no_state(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let a = account("a")?;
    let first = append(&stores, &a, "one", 0, &[opened("ann"), deposited(1)?])?;
    stores.events.commit(leaving(first, r#"{"n":2}"#)).await?;
    for base in [0, 1, 3, 9] {
        let late = append(&stores, &a, &format!("late {base}"), base, &[deposited(1)?])?;
        let refused = stores.events.commit(leaving(late, "{}")).await;
        ensure!(matches!(refused, Err(CommitError::Conflict(_))), "on {base}: {refused:?}");
        ensure_eq!(held(&stores, "a").await?, Some(row(2, r#"{"n":2}"#)), "the state after a conflict");
    }
    let other = append(&stores, &a, "one", 2, &[deposited(5)?])?;
    let reused = stores.events.commit(leaving(other, "{}")).await;
    ensure!(matches!(reused, Err(CommitError::KeyReused)), "{reused:?}");
    ensure_eq!(held(&stores, "a").await?, Some(row(2, r#"{"n":2}"#)), "the state after a reused key");
    let b = append(&stores, &account("b")?, "b", 4, &[deposited(1)?])?;
    let refused = stores.events.commit(leaving(b, "{}")).await;
    ensure!(matches!(refused, Err(CommitError::Conflict(_))), "{refused:?}");
    ensure_eq!(held(&stores, "b").await?, None, "the state of a stream that was never begun");
    Ok(())
}

/// A command that an inline model cannot take leaves no state, like it leaves no event.
pub(crate) async fn a_failing_command_writes_no_state(harness: &dyn Harness) -> Outcome {
    let brittle = group::<Brittle>(harness);
    let stores = harness.open(vec![Arc::clone(&brittle)]).await?;
    stores.models.attach(&brittle).await?;
    let a = account("a")?;
    stores.events.commit(leaving(append(&stores, &a, "one", 0, &[opened("ann")])?, r#"{"n":1}"#)).await?;
    let breaks = append(&stores, &a, "two", 1, &[renamed(Brittle::BREAKS)])?;
    let failed = stores.events.commit(leaving(breaks, "{}")).await;
    ensure!(matches!(failed, Err(CommitError::Fault(_))), "{failed:?}");
    ensure_eq!(held(&stores, "a").await?, Some(row(1, r#"{"n":1}"#)), "the state after a failed command");
    let recorded = stores.events.recorded(&a.tenant, &command_id("two")?).await?;
    ensure_eq!(recorded, None, "the ledger after a failed command");
    Ok(())
}

/// Of commands on one stream that are committed together, the last one's state stays.
pub(crate) async fn the_last_of_a_group_wins(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for round in 0..5 {
        let key = format!("a{round}");
        let commit = |base: u64| {
            let events = [if base == 0 { opened("ann") } else { deposited(1)? }];
            let id = format!("{key} {base}");
            Ok::<_, Failure>(leaving(
                append(&stores, &account(&key)?, &id, base, &events)?,
                &base.to_string(),
            ))
        };
        let events = &stores.events;
        let other = leaving(append(&stores, &account("b")?, &key, round, &[deposited(1)?])?, "other");
        // Handed over in this order, so that each finds the stream where the one before has left it.
        let (zero, one, between, two, three) = tokio::join!(
            biased;
            events.commit(commit(0)?),
            events.commit(commit(1)?),
            events.commit(other),
            events.commit(commit(2)?),
            events.commit(commit(3)?),
        );
        for done in [zero, one, between, two, three] {
            done?;
        }
        ensure_eq!(held(&stores, &key).await?, Some(row(4, "3")), "the state after four commands at once");
        ensure_eq!(held(&stores, "b").await?, Some(row(round + 1, "other")), "that of the other stream");
    }
    Ok(())
}

/// One key in two tenants and in two categories has states of its own.
pub(crate) async fn another_tenants_state_is_another(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let (ours, theirs) = (account("a")?, stream::<AccountEvent>("other", "a")?);
    let written = NoteEvent::Written { text: "x".to_owned() };
    let note = stream::<NoteEvent>(MAIN, "a")?;
    let commits = [
        leaving(append(&stores, &ours, "one", 0, &[opened("ann")])?, "ours"),
        leaving(append(&stores, &theirs, "one", 0, &[opened("bob"), deposited(1)?])?, "theirs"),
        leaving(append(&stores, &note, "two", 0, &[written])?, "note"),
    ];
    for commit in commits {
        stores.events.commit(commit).await?;
    }
    let events = &stores.events;
    let states = |stream: StreamRef| async move { events.load_state(&stream).await };
    ensure_eq!(states(ours).await?, Some(row(1, "ours")), "our state");
    ensure_eq!(states(theirs).await?, Some(row(2, "theirs")), "the other tenant's");
    ensure_eq!(states(note).await?, Some(row(1, "note")), "the other category's");
    ensure_eq!(states(stream::<NoteEvent>("other", "a")?).await?, None, "nobody's");
    Ok(())
}

/// States are still there after a clean stop and after a crash.
pub(crate) async fn states_survive(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let a = account("a")?;
    for round in 0_u64..4 {
        let commit = append(&stores, &a, &format!("c{round}"), round, &[deposited(1)?])?;
        stores.events.commit(leaving(commit, &round.to_string())).await?;
        if round % 2 == 0 {
            harness.stop(stores).await?;
        } else {
            harness.crash(stores).await?;
        }
        stores = harness.open(Vec::new()).await?;
        let expected = row(round + 1, &round.to_string());
        ensure_eq!(held(&stores, "a").await?, Some(expected), "the state after the store was opened again");
    }
    Ok(())
}

/// A row of another shape is given back as it is, decides nothing, and is replaced by the next one.
pub(crate) async fn a_row_of_another_shape_counts_for_nothing(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann"), deposited(5)?]).await?;
    let a = account("a")?;
    let lie = row(2, r#"{"open":true,"thousandths":9000000}"#);
    ensure!(stores.events.write_state(&a, lie.clone()).await?, "the row was not written");
    ensure_eq!(held(&stores, "a").await?, Some(lie.clone()), "a row of a shape that nobody knows");
    for (number, persistence) in (1..).zip(Persistence::ALL) {
        stores.events.drop_states("account", 1).await?;
        ensure!(stores.events.write_state(&a, lie.clone()).await?, "the row was not written");
        let commands = panel(&stores, stored(persistence, 1));
        let take = AccountCommand::Withdraw { amount: pounds(6)? };
        let answer = ask(&commands, "a", format!("take {number}"), take).await?;
        ensure!(answer.starts_with("rejected: NotEnough"), "{persistence}: {answer}");
        ensure_eq!(held(&stores, "a").await?.map(|row| row.shape), Some(Shape(SHAPE)), "after a rejection");
        let rename = AccountCommand::Rename { owner: "bob".to_owned() };
        ask(&commands, "a", format!("rename {number}"), rename).await?;
        let shape = stored(persistence, 1).stored().map(|stored| stored.shape);
        let new = held(&stores, "a").await?;
        ensure_eq!(new.as_ref().map(|row| row.shape), shape, "the shape after an accepted command");
        let state = new.map(|row| row.state);
        ensure_eq!(state.as_deref(), Some(r#"{"open":true,"thousandths":5000}"#), "the state after it");
    }
    Ok(())
}

/// A state-stored decision on a row that others have left behind is made again on what the stream has by now.
pub(crate) async fn a_row_that_is_behind_catches_up(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let first = panel(&stores, stored(Persistence::StateStored, 0));
    ask(&first, "a", "open".into(), AccountCommand::Open { owner: "ann".into() }).await?;
    ask(&first, "a", "in".into(), AccountCommand::Deposit { amount: pounds(5)? }).await?;
    on(&stores, "a", &[AccountEvent::Withdrawn { amount: pounds(4)? }, deposited(1)?]).await?;
    ensure_eq!(held(&stores, "a").await?.map(|row| row.version), Some(Version(2)), "the row");
    let second = panel(&stores, stored(Persistence::StateStored, 0));
    let answer = ask(&second, "a", "out".into(), AccountCommand::Withdraw { amount: pounds(3)? }).await?;
    ensure!(answer.starts_with("rejected: NotEnough"), "decided on an old row: {answer}");
    let third = panel(&stores, stored(Persistence::StateStored, 0));
    let answer =
        ask(&third, "a", "out again".into(), AccountCommand::Withdraw { amount: pounds(2)? }).await?;
    ensure!(answer.starts_with("5 5 "), "{answer}");
    ensure_eq!(held(&stores, "a").await?.map(|row| row.version), Some(Version(5)), "the row afterwards");
    let ann = principal(MAIN)?;
    for (version, thousandths) in [(2, 5_000), (3, 1_000), (4, 2_000), (5, 0)] {
        let read = panel(&stores, stored(Persistence::StateStored, 0));
        let aggregate = read.aggregate(&ann, "account", "a", Some(Version(version))).await;
        let aggregate = aggregate.map_err(|error| Failure::new(format!("{error:?}")))?;
        let state = aggregate.map(|aggregate| (aggregate.version.0, aggregate.state["thousandths"].as_i64()));
        ensure_eq!(state, Some((version, Some(thousandths))), "the aggregate at version {version}");
    }
    Ok(())
}

/// A first command after a start reads what has come since the row and no more, however long the stream is.
pub(crate) async fn a_first_command_reads_no_more_than_a_snapshot_leaves(harness: &dyn Harness) -> Outcome {
    const LONG: usize = 400;
    let mut stores = harness.open(Vec::new()).await?;
    on(&stores, "long", &[opened("ann")]).await?;
    on(&stores, "long", &vec![deposited(1)?; LONG]).await?;
    for (number, (persistence, events_max)) in
        (0..).zip([(Persistence::EventSourced, 7), (Persistence::StateStored, 0)])
    {
        // The first finds no row and leaves one.
        ask(&panel(&stores, stored(persistence, 7)), "long", format!("first {number}"), one_pound()?).await?;
        for step in 0..20 {
            if step % 5 == 0 {
                harness.crash(stores).await?;
                stores = harness.open(Vec::new()).await?;
            }
            let counting = Counting::over(Arc::clone(&stores.events));
            let events = Arc::clone(&counting) as _;
            let fresh = panel(&Stores { events, ..stores.clone() }, stored(persistence, 7));
            ask(&fresh, "long", format!("{number} {step}"), one_pound()?).await?;
            let loaded = counting.loaded();
            ensure!(loaded < events_max.max(1), "{persistence}, step {step}: {loaded} events were read");
            ask(&fresh, "long", format!("{number} {step} again"), one_pound()?).await?;
            ensure_eq!(counting.loaded(), 0, "events read with the state at hand");
        }
    }
    Ok(())
}

fn one_pound() -> Outcome<AccountCommand> {
    Ok(AccountCommand::Deposit { amount: pounds(1)? })
}

/// A generator of numbers that are the same every time (xorshift, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn command(&mut self) -> Outcome<AccountCommand> {
        let amount = pounds(i64::try_from(self.below(5)).unwrap_or(0) + 1)?;
        Ok(match self.below(12) {
            0 => AccountCommand::Open { owner: "ann".to_owned() },
            1 => AccountCommand::Close {},
            2 => AccountCommand::Rename { owner: "bob".to_owned() },
            3..=4 => AccountCommand::Transfer { to: "x".to_owned(), amount },
            5..=7 => AccountCommand::Withdraw { amount },
            _ => AccountCommand::Deposit { amount },
        })
    }
}

/// Loading from a row and the events after it is the fold, wherever rows were written and whoever restarted.
pub(crate) async fn a_row_and_the_events_after_it_are_the_fold(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let ann = principal(MAIN)?;
    for seed in 1..=6 {
        let mut numbers = Numbers::of(seed);
        let mut commands = panel(&stores, stored(Persistence::EventSourced, 2));
        for step in 0..40 {
            if numbers.below(4) == 0 {
                let persistence = Persistence::ALL[numbers.below(2) as usize];
                if numbers.below(4) == 0 {
                    drop(commands);
                    harness.crash(stores).await?;
                    stores = harness.open(Vec::new()).await?;
                }
                commands = panel(&stores, stored(persistence, numbers.below(12) as u32));
            }
            let key = format!("s{seed} {}", numbers.below(3));
            ask(&commands, &key, format!("{seed} {step}"), numbers.command()?).await?;
        }
        for key in 0..3 {
            let key = format!("s{seed} {key}");
            let mut answers = Vec::new();
            let plain = diptych_command::erase::<Kept<0>>();
            let all = [plain, stored(Persistence::EventSourced, 7), stored(Persistence::StateStored, 0)];
            for decider in all {
                let read = panel(&stores, decider).aggregate(&ann, "account", &key, None).await;
                let read = read.map_err(|error| Failure::new(format!("{error:?}")))?;
                answers.push(read.map(|read| (read.version, read.state)));
            }
            ensure!(answers.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}, `{key}`: {answers:?}");
        }
    }
    let (rows, problems) =
        panel(&stores, stored(Persistence::StateStored, 0)).verify_rows("account", 9).await?;
    ensure!(rows > 0, "no row was written");
    ensure_eq!(problems, Vec::new(), "rows that are not the fold of their streams");
    Ok(())
}

/// The same commands in both persistences get the same answers and leave the same log.
pub(crate) async fn both_persistences_leave_the_same_log(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for seed in 1..=4 {
        let mut told: Vec<Vec<String>> = Vec::new();
        for (name, decider) in [
            ("plain", diptych_command::erase::<Kept<0>>()),
            ("snapshots", stored(Persistence::EventSourced, 3)),
            ("stored", stored(Persistence::StateStored, 0)),
        ] {
            let mut numbers = Numbers::of(100 + seed);
            let mut answers = Vec::new();
            let mut commands = panel(&stores, Arc::clone(&decider));
            for step in 0..40 {
                if numbers.below(5) == 0 {
                    commands = panel(&stores, Arc::clone(&decider));
                }
                let key = format!("{name} {seed} {}", numbers.below(2));
                let answer =
                    ask(&commands, &key, format!("{name} {seed} {step}"), numbers.command()?).await?;
                // Positions differ, because the three share a log.
                answers.push(answer.split_whitespace().filter(|word| word.parse::<u64>().is_err()).collect());
            }
            for key in 0..2 {
                let stream = account(&format!("{name} {seed} {key}"))?;
                let events = stores.events.load(&stream, Version::NONE, drive::EVERYTHING).await?;
                answers.extend(
                    events.iter().map(|fact| format!("{} {:?} {}", fact.version, fact.event, &*fact.payload)),
                );
            }
            told.push(answers);
        }
        ensure_eq!(told[1], told[0], "with snapshots, seed {seed}");
        ensure_eq!(told[2], told[0], "state-stored, seed {seed}");
    }
    Ok(())
}

/// A walk meets every stream of its category with events once, with where its row stands.
pub(crate) async fn a_walk_meets_every_stream_once(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let mut expected = BTreeSet::new();
    for (number, (tenant, key)) in
        (0..).zip([(MAIN, "b"), ("other", "b"), (MAIN, "a"), (MAIN, "ä"), ("another", "z"), ("other", "a-1")])
    {
        let stream = stream::<AccountEvent>(tenant, key)?;
        let commit = append(&stores, &stream, key, 0, &[opened("ann"), deposited(1)?])?;
        let commit = if number % 2 == 0 { leaving(commit, "{}") } else { commit };
        stores.events.commit(commit).await?;
        expected.insert((stream, Version(2), (number % 2 == 0).then_some((Version(2), Shape(SHAPE)))));
    }
    stores.events.commit(reject(&stores, &account("never begun")?, "no", 0)?).await?;
    drive::note(&stores, "n").await?;
    for streams_max in [1, 2, 3, 100] {
        let (mut met, mut after) = (Vec::new(), None);
        loop {
            let page = stores.events.streams_of("account", after.as_ref(), streams_max).await?;
            ensure!(page.len() <= streams_max, "a page has {} streams", page.len());
            let last = page.len() < streams_max;
            after = page.last().map(|standing| standing.stream.clone());
            met.extend(page.into_iter().map(|standing| (standing.stream, standing.version, standing.row)));
            if last {
                break;
            }
        }
        ensure_eq!(met.len(), expected.len(), "the streams met in pages of {streams_max}");
        ensure_eq!(met.into_iter().collect::<BTreeSet<_>>(), expected, "in pages of {streams_max}");
    }
    ensure_eq!(stores.events.streams_of("nothing", None, 10).await?, Vec::new(), "an unknown category");
    Ok(())
}

/// A state that was folded aside never goes over a later one, nor into a stream that has no events.
pub(crate) async fn a_later_state_is_never_replaced(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let a = account("a")?;
    ensure!(!stores.events.write_state(&a, row(1, "x")).await?, "a stream without events got a state");
    on(&stores, "a", &[opened("ann"), deposited(1)?, deposited(1)?]).await?;
    ensure!(stores.events.write_state(&a, row(2, "two")).await?, "the first row was not written");
    ensure!(!stores.events.write_state(&a, row(1, "one")).await?, "an older row was written");
    ensure_eq!(held(&stores, "a").await?, Some(row(2, "two")), "the row after an older one");
    ensure!(stores.events.write_state(&a, row(2, "again")).await?, "a row cannot be mended");
    ensure!(stores.events.write_state(&a, row(3, "three")).await?, "a newer row was not written");
    ensure_eq!(held(&stores, "a").await?, Some(row(3, "three")), "the row after a newer one");
    Ok(())
}

/// Dropping removes the states of one category, at most so many at once, and nothing else.
pub(crate) async fn states_are_dropped_by_category(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for key in ["a", "b", "c"] {
        stores
            .events
            .commit(leaving(append(&stores, &account(key)?, key, 0, &[opened("ann")])?, "{}"))
            .await?;
    }
    let note = stream::<NoteEvent>(MAIN, "n")?;
    let written = NoteEvent::Written { text: "x".to_owned() };
    stores.events.commit(leaving(append(&stores, &note, "note", 0, &[written])?, "{}")).await?;
    ensure_eq!(stores.events.drop_states("account", 2).await?, 2, "two at most");
    ensure_eq!(stores.events.drop_states("account", 2).await?, 1, "the rest");
    ensure_eq!(stores.events.drop_states("account", 2).await?, 0, "once more");
    for key in ["a", "b", "c"] {
        ensure_eq!(held(&stores, key).await?, None, "a dropped state");
    }
    ensure_eq!(stores.events.load_state(&note).await?, Some(row(1, "{}")), "another category's state");
    ensure_eq!(stores.feed.head().await?.position().0, 4, "the log");
    Ok(())
}

/// Rows are brought up to date beside commands that go on; a changed row is found and named, and mended.
pub(crate) async fn rows_are_moved_beside_commands(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let plain = panel(&stores, diptych_command::erase::<Kept<0>>());
    for key in 0..8 {
        let key = format!("a{key}");
        ask(&plain, &key, format!("open {key}"), AccountCommand::Open { owner: "ann".into() }).await?;
    }
    let moving = Arc::new(panel(&stores, stored(Persistence::StateStored, 0)));
    let giving = {
        let moving = Arc::clone(&moving);
        tokio::spawn(async move {
            for step in 0..40 {
                let commands = if step % 2 == 0 { &plain } else { &*moving };
                let deposit = AccountCommand::Deposit { amount: pounds(1)? };
                ask(commands, &format!("a{}", step % 8), format!("in {step}"), deposit).await?;
            }
            Ok::<_, Failure>(())
        })
    };
    let first = moving.write_rows("account").await?;
    giving.await.map_err(|error| Failure::new(error.to_string()))??;
    ensure_eq!(first.streams, 8, "the streams walked");
    moving.write_rows("account").await?;
    let counts = moving.count_rows("account").await?;
    ensure_eq!((counts.streams, counts.rows, counts.behind), (8, 8, 0), "streams, rows, rows behind");
    ensure_eq!(moving.verify_rows("account", 10).await?, (8, Vec::new()), "rows and differences");
    let a = account("a3")?;
    let sound = held(&stores, "a3").await?.ok_or_else(|| Failure::new("there is no row"))?;
    let state = r#"{"open":false,"thousandths":5000}"#.to_owned();
    stores.events.write_state(&a, StateRow { state, ..sound.clone() }).await?;
    let (_, problems) = moving.verify_rows("account", 10).await?;
    ensure_eq!(problems.len(), 1, "the differences");
    ensure_eq!((&problems[0].stream, problems[0].version), (&a, sound.version), "where it differs");
    let named = matches!(&problems[0].problem, RowProblem::Property { pointer, .. } if pointer == "/open");
    ensure!(named, "in what it differs: {problems:?}");
    Ok(())
}
