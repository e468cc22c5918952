//! The same suites over documents: every read model that a case opens is kept as documents; and random rows,
//! which are the same as documents and as columns. Knows no store.

use crate::drive::{self, EVERYTHING, contents, take};
use crate::failure::ensure_eq;
use crate::fixtures::{JsonText, Kind, Level, Sample, SampleEvent, group, redeclared};
use crate::random::play_all;
use crate::{Harness, Outcome, Stores};
use diptych_core::{BoxFuture, CommandId, Currency, Fault, Money, Tenant, Timestamp, Value};
use diptych_query::{AnyModel, Group, ReadModel, Schema, Storage, erase, read_document, write_document};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any};
use std::sync::Arc;

/// A harness whose read models are kept as documents: `conformance_suite!(AsDocuments(MyHarness::new()));`.
pub struct AsDocuments<H>(pub H);

impl<H: Harness> Harness for AsDocuments<H> {
    fn open(&self, inline: Vec<Arc<Group>>) -> BoxFuture<'_, Result<Stores, Fault>> {
        self.0.open(inline)
    }

    fn stop(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        self.0.stop(stores)
    }

    fn crash(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        self.0.crash(stores)
    }

    fn inline_catch_up_events_max(&self) -> u64 {
        self.0.inline_catch_up_events_max()
    }

    fn audit_rows<'a>(
        &'a self,
        stores: &'a Stores,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Option<usize>> {
        self.0.audit_rows(stores, tenant, id)
    }

    fn model(&self, model: Arc<dyn AnyModel>) -> Arc<dyn AnyModel> {
        let model = self.0.model(model);
        let schema = Schema { storage: Storage::Document, ..*model.schema() };
        redeclared(model, schema)
    }
}

/// The most rows of a table.
const ROWS_MAX: usize = 12;

/// Draws so many tables of rows of every type and keeps each as columns and as documents, which read back as
/// they were written, with one digest.
///
/// # Errors
/// The shortest table found that one of them keeps otherwise, with the seed.
pub fn rows<H: Harness>(make: impl Fn() -> H, count: u32) -> Outcome {
    play_all((count, 200), vec(sample(), 1..ROWS_MAX), async |samples| play(&make(), &samples).await)
}

async fn play(harness: &dyn Harness, samples: &[Sample]) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    for (nth, sample) in samples.iter().enumerate() {
        let sample = Box::new(sample.clone());
        take(&stores, &format!("{nth:02}"), SampleEvent::Taken { sample }).await?;
    }
    let columns = group::<Sample>(harness);
    let schema = Schema { name: "sample_document", storage: Storage::Document, ..*Sample::SCHEMA };
    let documents = Arc::new(Group::of_one(redeclared(harness.model(erase::<Sample>()), schema)));
    drive::build(&stores, &columns, EVERYTHING).await?;
    // Some rows are written when they are new, and again when they are not.
    drive::build(&stores, &documents, 3).await?;
    for nth in (0..samples.len()).step_by(2) {
        let sample = Box::new(samples[samples.len() - 1 - nth].clone());
        take(&stores, &format!("{nth:02}"), SampleEvent::Taken { sample }).await?;
    }
    for group in [&columns, &documents] {
        drive::advance_to_head(&stores, group, 3).await?;
    }
    let held = contents(&stores, &columns).await?;
    ensure_eq!(held.len(), samples.len(), "the rows");
    ensure_eq!(contents(&stores, &documents).await?, held, "the documents, read back");
    let digest = drive::digest(&stores, &columns).await?;
    ensure_eq!(drive::digest(&stores, &documents).await?, digest, "the digest of the documents");
    for (_, values) in &held {
        let document = write_document(Sample::SCHEMA, values);
        let read = read_document(Sample::SCHEMA, &document).ok();
        ensure_eq!(read, Some(values.iter().map(trimmed).collect()), "{document}");
    }
    harness.stop(stores).await?;
    Ok(())
}

/// White space around a JSON text is no part of what a document holds.
fn trimmed(value: &Value) -> Value {
    match value {
        Value::Json(text) => Value::Json(text.trim().to_owned()),
        value => value.clone(),
    }
}

fn number() -> impl Strategy<Value = i64> {
    let edges = vec![i64::MIN, i64::MAX, (1 << 53) + 1, -(1 << 53) - 1, 0];
    proptest::prop_oneof![1 => proptest::sample::select(edges), 1 => any::<i64>()]
}

fn text() -> impl Strategy<Value = String> {
    let odd =
        vec!["", "null", "\"", "\\u0041", "1e5", "\u{1F600}\u{fe0f}", "\u{feff}\u{2028}", "\u{7f}\u{1}"];
    let any_text = vec(any::<char>(), 0..8)
        .prop_map(|letters| letters.into_iter().filter(|letter| *letter != '\0').collect());
    proptest::prop_oneof![1 => proptest::sample::select(odd).prop_map(str::to_owned), 2 => any_text]
}

fn time() -> impl Strategy<Value = Timestamp> {
    let edges = ["-004712-01-01T00:00:00Z", "-000001-12-31T23:59:59.999999Z", "0000-02-29T00:00:00Z"];
    let edges = edges.into_iter().chain(["0001-01-01T00:00:00Z", "9999-12-30T22:00:00Z"]);
    let edges: Vec<_> = edges.filter_map(|text| text.parse().ok()).collect();
    let first = -210_863_520_000_000_000_i64;
    let between = (first..253_402_207_200_000_000).prop_map(Timestamp::from_stored);
    proptest::prop_oneof![1 => proptest::sample::select(edges), 3 => between]
}

fn price() -> impl Strategy<Value = Money> {
    let most = Money::THOUSANDTHS_MAX;
    let amount =
        proptest::prop_oneof![1 => Just(most), 1 => Just(-most), 2 => -2000..2000_i64, 2 => -most..=most];
    let currency = proptest::sample::select(Currency::all().collect::<Vec<_>>());
    let made = |(amount, currency)| Money::from_thousandths(amount, currency);
    (amount, currency).prop_filter_map("amounts are in range", move |drawn| made(drawn).ok())
}

fn json() -> impl Strategy<Value = JsonText> {
    let forms = vec![
        "null",
        " { \"b\" : 1,\t\"a\":[ 1.0, 1e400, -0.0, 12345678901234567890123 ] } ",
        "\"\"",
        "[]",
        "{\"a\":1,\"a\":2}",
        "\"\\u00e4\\ud83d\\ude00\"",
        "false",
        "{\"\":{\"$.x\":\"it's\"}}",
    ];
    proptest::sample::select(forms).prop_map(|text| JsonText(text.to_owned()))
}

fn sample() -> impl Strategy<Value = Sample> {
    let kind = proptest::sample::select(vec![Kind::Plain, Kind::Fancy]);
    let level = || proptest::sample::select(vec![Level::Low, Level::Medium, Level::High]);
    let blob = || vec(any::<u8>(), 0..5);
    let fixed = (number(), any::<bool>(), text(), time(), price(), blob(), json(), kind, level());
    let perhaps = (
        option::of(number()),
        option::of(any::<bool>()),
        option::of(text()),
        option::of(time()),
        option::of(price()),
        option::of(blob()),
        option::of(level()),
    );
    (fixed, perhaps).prop_map(|(fixed, perhaps)| {
        let (number, flag, word, at, price, blob, structure, kind, level) = fixed;
        let (maybe_number, maybe_flag, maybe_word, maybe_at, maybe_price, maybe_blob, maybe_level) = perhaps;
        let name = String::new();
        Sample {
            name,
            number,
            flag,
            word,
            at,
            price,
            blob,
            structure,
            kind,
            level,
            maybe_number,
            maybe_flag,
            maybe_word,
            maybe_at,
            maybe_price,
            maybe_blob,
            maybe_level,
        }
    })
}
