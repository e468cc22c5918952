//! Composition where a read model is not worth it: one answer out of several sources that are asked at the
//! same time, each within a time of its own and all within one. What is missing is named, with why. No
//! source is asked twice, and nothing is kept.

use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// Begins a composition that takes so long at most.
///
/// ```
/// use diptych::compose::{compose, Absence};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let soon = Duration::from_millis(20);
/// let view = compose(Duration::from_millis(200))
///     .required("order", soon, async { Ok::<_, String>(42) })
///     .optional("rating", soon, async { Err::<u8, _>("no connection") })
///     .optional("parcel", soon, std::future::pending::<Result<u8, String>>())
///     .join()
///     .await
///     .expect("the order is there");
/// assert_eq!(view.part("order").unwrap(), 42);
/// let missing: Vec<_> = view.missing().iter().map(|missing| (missing.part, missing.reason)).collect();
/// assert_eq!(missing, [("rating", Absence::Failed), ("parcel", Absence::Late)]);
/// # });
/// ```
pub fn compose<'a>(within: Duration) -> Composition<'a> {
    Composition { within, sources: Vec::new() }
}

/// Several sources, to be asked together.
#[must_use]
pub struct Composition<'a> {
    within: Duration,
    sources: Vec<Source<'a>>,
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<Value, (Absence, String)>> + Send + 'a>>;

struct Source<'a> {
    part: &'static str,
    is_required: bool,
    asked: Asked<'a>,
}

/// Why a part is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// It did not come in time.
    Late,
    /// Its source failed.
    Failed,
}

/// A part that is missing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Missing {
    /// Which.
    pub part: &'static str,
    /// Why.
    pub reason: Absence,
    /// Why, as its source says it.
    pub message: String,
}

/// What came of a composition: the parts under their names, and beside them `missing`.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Composed {
    #[serde(flatten)]
    parts: Map<String, Value>,
    missing: Vec<Missing>,
}

/// A part is missing that the whole is nothing without.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incomplete {
    /// That part.
    pub missing: Missing,
}

impl<'a> Composition<'a> {
    /// A part that the whole is nothing without.
    pub fn required<T: Serialize, E: fmt::Display>(
        self,
        part: &'static str,
        within: Duration,
        source: impl Future<Output = Result<T, E>> + Send + 'a,
    ) -> Self {
        self.with(part, true, within, source)
    }

    /// A part that the whole can do without.
    pub fn optional<T: Serialize, E: fmt::Display>(
        self,
        part: &'static str,
        within: Duration,
        source: impl Future<Output = Result<T, E>> + Send + 'a,
    ) -> Self {
        self.with(part, false, within, source)
    }

    fn with<T: Serialize, E: fmt::Display>(
        mut self,
        part: &'static str,
        is_required: bool,
        within: Duration,
        source: impl Future<Output = Result<T, E>> + Send + 'a,
    ) -> Self {
        let within = within.min(self.within);
        let asked = async move {
            match tokio::time::timeout(within, source).await {
                Ok(Ok(value)) => {
                    serde_json::to_value(value).map_err(|error| (Absence::Failed, error.to_string()))
                }
                Ok(Err(error)) => Err((Absence::Failed, error.to_string())),
                Err(_) => Err((Absence::Late, format!("it did not come within {within:?}"))),
            }
        };
        self.sources.push(Source { part, is_required, asked: Box::pin(asked) });
        self
    }

    /// Asks all sources at once, and waits until each has answered or its time is over.
    ///
    /// # Errors
    /// [`Incomplete`] as soon as a required part is known to be missing.
    pub async fn join(self) -> Result<Composed, Incomplete> {
        let parts: Vec<_> = self.sources.iter().map(|source| source.part).collect();
        let mut open: Vec<Option<Source<'a>>> = self.sources.into_iter().map(Some).collect();
        let mut found: Vec<Option<Result<Value, Missing>>> = parts.iter().map(|_| None).collect();
        poll_fn(|context| {
            for (place, found) in open.iter_mut().zip(&mut found) {
                let Some(source) = place else { continue };
                let Poll::Ready(answer) = source.asked.as_mut().poll(context) else { continue };
                let (part, is_required) = (source.part, source.is_required);
                *place = None;
                match answer {
                    Ok(value) => *found = Some(Ok(value)),
                    Err((reason, message)) => {
                        let missing = Missing { part, reason, message };
                        if is_required {
                            return Poll::Ready(Err(Incomplete { missing }));
                        }
                        *found = Some(Err(missing));
                    }
                }
            }
            if open.iter().all(Option::is_none) { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await?;
        let mut composed = Composed::default();
        for (part, found) in parts.into_iter().zip(found) {
            match found {
                Some(Ok(value)) => {
                    composed.parts.insert(part.to_owned(), value);
                }
                Some(Err(missing)) => composed.missing.push(missing),
                None => {}
            }
        }
        Ok(composed)
    }
}

impl Composed {
    /// A part; none where it is missing.
    #[must_use]
    pub fn part(&self, part: &str) -> Option<&Value> {
        self.parts.get(part)
    }

    /// The parts that are missing, in the order in which they were asked for.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { part, message, .. } = &self.missing;
        write!(out, "`{part}` is missing: {message}")
    }
}

impl std::error::Error for Incomplete {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::future::{pending, ready};

    const SOON: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn what_is_missing_is_named_beside_what_is_there() {
        let view = compose(LONG)
            .required("order", LONG, ready(Ok::<_, String>(json!({"id": "A-1"}))))
            .optional("rating", LONG, ready(Err::<u8, _>("no connection")))
            .optional("parcel", SOON, pending::<Result<u8, String>>())
            .join()
            .await
            .unwrap();
        let golden = json!({
            "order": {"id": "A-1"},
            "missing": [
                {"part": "rating", "reason": "failed", "message": "no connection"},
                {"part": "parcel", "reason": "late", "message": "it did not come within 10ms"},
            ],
        });
        assert_eq!(serde_json::to_value(&view).unwrap(), golden);
        assert!(!view.is_whole());
    }

    #[tokio::test]
    async fn a_required_part_that_fails_ends_the_whole_at_once() {
        let composed = compose(LONG)
            .optional("parcel", LONG, pending::<Result<u8, String>>())
            .required("order", LONG, ready(Err::<u8, _>("no such order")))
            .join()
            .await;
        assert_eq!(composed.unwrap_err().to_string(), "`order` is missing: no such order");
    }

    #[tokio::test]
    async fn no_part_outlasts_the_whole() {
        let composed = compose(SOON).optional("parcel", LONG, pending::<Result<u8, String>>()).join().await;
        assert_eq!(composed.unwrap().missing()[0].reason, Absence::Late);
    }
}
