//! Ratio 18: what it costs to keep rows as documents. One read model twice in one service, once as columns
//! and once as documents: building it, following, being asked, and its room on the disk.

use super::{BATCH_EVENTS_MAX, MODEL, build, catch_up, say};
use crate::Outcome;
use crate::database::{self, Database};
use crate::domain::{AccountSummary, documented_service};
use crate::domain_document::AccountDocument;
use crate::loader::Loader;
use crate::measure::{Line, Sample, Store, Target};
use crate::options::Options;
use crate::probe::fdatasync_per_second;
use crate::questions::{pages, rows};
use crate::stores::Place;
use diptych::prelude::ReadModel;
use diptych::{Role, Roles, Running};
use rusqlite::Connection;

const DOCUMENTS: &str = "account_document";

/// Both forms, that of the product's line first.
const FORMS: [&str; 2] = [DOCUMENTS, MODEL];

const SELECT_TABLES: &str = "SELECT quote_ident(schemaname) || '.' || quote_ident(relname), relid::int8 \
    FROM pg_stat_user_tables WHERE relname LIKE $1";
const SELECT_BYTES: &str = "SELECT pg_total_relation_size($1::int8::oid)";

/// Measures in a directory of its own.
pub(super) async fn on_sqlite(options: &Options) -> Outcome<Vec<Line>> {
    let place = Place::new(&options.directory, "documents")?;
    let store = place.product().into();
    let mut lines = measure(options, store, || fdatasync_per_second(place.path())).await?;
    let mut bytes = [0.0; 2];
    for (bytes, form) in bytes.iter_mut().zip(FORMS) {
        // Each build has a file of its own. What updates have left free in it is given back first.
        let path = place.product().join("models").join(format!("{form}-r1-g1.db"));
        let file = Connection::open(&path)?;
        file.execute_batch("VACUUM")?;
        file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        *bytes = std::fs::metadata(&path)?.len() as f64;
    }
    lines.push(size(options, bytes));
    Ok(lines)
}

/// Measures in an empty database.
pub(super) async fn on_postgres(options: &Options, database: &Database) -> Outcome<Vec<Line>> {
    let store = diptych::Database::at(database.url()).into();
    let mut lines = measure(options, store, database::probe).await?;
    let client = database.connect().await?;
    let mut bytes = [0.0; 2];
    for (bytes, form) in bytes.iter_mut().zip(FORMS) {
        let tables = client.query(SELECT_TABLES, &[&format!("{form}\\_r%")]).await?;
        if tables.is_empty() {
            return Err(format!("`{form}` has no table").into());
        }
        for table in tables {
            client.batch_execute(&format!("VACUUM FULL {}", table.get::<_, String>(0))).await?;
            let number: i64 = table.get(1);
            *bytes += client.query_one(SELECT_BYTES, &[&number]).await?.get::<_, i64>(0) as f64;
        }
    }
    lines.push(size(options, bytes));
    Ok(lines.into_iter().map(|line| line.on(Store::Postgres)).collect())
}

/// A row's share of what a form takes on the disk, indexes included.
fn size(options: &Options, [documents, columns]: [f64; 2]) -> Line {
    let what = "bytes on disk, documents / columns";
    let mut line = Line::new("18 (disk)", what, "bytes/row", Target::None);
    let rows = options.rows as f64;
    line.samples.push(Sample::of(documents / rows, columns / rows));
    line
}

fn lines() -> [Line; 4] {
    [
        Line::new("18", "first build as documents / as columns", "events/s", Target::None),
        Line::new("18 (live)", "live model, batches of 10,000, the same", "events/s", Target::None),
        Line::new("18 (row)", "questions for a row, the same", "questions/s", Target::None),
        Line::new("18 (page)", "questions for 50 rows by balance, the same", "questions/s", Target::None),
    ]
}

async fn measure(
    options: &Options,
    store: diptych::Place,
    probe: impl Fn() -> Outcome<f64>,
) -> Outcome<Vec<Line>> {
    let config = diptych::Config { roles: Roles::ALL.without(Role::Projector), ..diptych::Config::at(store) };
    let running = documented_service().open(config).await?;
    let mut loader = Loader::new(options.rows);
    say(format!("18: loading {} events", options.events));
    loader.load(&**running.store(), options.events).await?;
    let (mut lines, mut events) = (lines(), options.events);
    for number in 0..options.runs {
        say(format!("18: documents and columns, run {} of {}", number + 1, options.runs));
        let more = (options.events / 5).max(BATCH_EVENTS_MAX);
        let before = probe()?;
        let built = in_turns(number, async |form| build(&running, form, events).await).await?;
        loader.load(&**running.store(), more).await?;
        events += more;
        let followed = in_turns(number, async |form| catch_up(&running, form, more).await).await?;
        let after = probe()?;
        let found = in_turns(number, async |form| ask_rows(options, &running, form, number).await).await?;
        let paged = in_turns(number, async |form| ask_pages(options, &running, form).await).await?;
        let samples = [built.probe(before, after), followed.probe(before, after), found, paged];
        for (line, sample) in lines.iter_mut().zip(samples) {
            line.samples.push(sample);
        }
    }
    running.stop().await?;
    Ok(lines.into())
}

/// Does the same in both forms, one of which begins in every second run: it brings what both read into
/// memory.
async fn in_turns(number: usize, work: impl AsyncFn(&'static str) -> Outcome<f64>) -> Outcome<Sample> {
    let mut rates = [0.0; 2];
    for turn in [number % 2, (number + 1) % 2] {
        rates[turn] = work(FORMS[turn]).await?;
    }
    Ok(Sample::of(rates[0], rates[1]))
}

async fn ask_rows(options: &Options, running: &Running, form: &str, number: usize) -> Outcome<f64> {
    let (accounts, seed) = (options.rows, number as u64);
    if form == DOCUMENTS {
        rows::<AccountDocument>(running, accounts, options.slice, seed).await
    } else {
        rows::<AccountSummary>(running, accounts, options.slice, seed).await
    }
}

async fn ask_pages(options: &Options, running: &Running, form: &str) -> Outcome<f64> {
    if form == DOCUMENTS {
        pages(running, &AccountDocument::find().sort(AccountDocument::BALANCE.desc()), options.slice).await
    } else {
        pages(running, &AccountSummary::find().sort(AccountSummary::BALANCE.desc()), options.slice).await
    }
}
