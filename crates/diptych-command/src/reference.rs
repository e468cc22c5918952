//! Reference data that decisions are taken under: a value in editions, each with a version, one of them in
//! force. A decider finds it in its circumstances. Nothing here opens a file, and no rule of any domain
//! stands here.

use diptych_core::KEY_BYTES_MAX;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// How many editions of one kind of reference data are kept.
pub const EDITIONS_MAX: usize = 1_000;

/// A kind of reference data, such as the policies that decisions are taken under. `#[derive(Data)]` gives
/// what a value needs.
///
/// ```
/// use diptych_command::{Editions, Reference, Standing};
///
/// #[derive(serde::Deserialize)]
/// struct Tariff { fee_cents: i64 }
///
/// impl Reference for Tariff {
///     const NAME: &'static str = "tariff";
///     fn editions() -> Editions<Self> {
///         Editions::new("2025", Tariff { fee_cents: 900 }).then("2026", Tariff { fee_cents: 1_100 })
///     }
/// }
///
/// let tariffs = Tariff::editions();
/// assert_eq!(tariffs.in_force().version(), "2026");
/// assert!(matches!(tariffs.standing("2026"), Standing::InForce(tariff) if tariff.fee_cents == 1_100));
/// assert!(matches!(tariffs.standing("2025"), Standing::Superseded(tariff) if tariff.fee_cents == 900));
/// assert!(matches!(tariffs.standing("1999"), Standing::Unknown));
/// ```
pub trait Reference: DeserializeOwned + Send + Sync + 'static {
    /// What it is called in configuration and in messages, such as `decision-policy`.
    const NAME: &'static str;

    /// The editions that the code brings along. A service that is handed others decides under those.
    #[must_use]
    fn editions() -> Editions<Self>;
}

/// One edition of reference data.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edition<T> {
    version: String,
    value: T,
}

impl<T> Edition<T> {
    /// What it is called, such as `ENF-POLICY-2026.04`: this is what commands name and events record.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it says.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }
}

/// Every edition of one kind of reference data, of which the last is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Editions<T> {
    /// In the order in which they came into force.
    superseded: Vec<Edition<T>>,
    in_force: Edition<T>,
}

/// What a version that somebody names is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing<'a, T> {
    /// It is in force.
    InForce(&'a T),
    /// It was in force once.
    Superseded(&'a T),
    /// Nobody has heard of it.
    Unknown,
}

/// A text that holds no editions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EditionsError(String);

impl fmt::Display for EditionsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for EditionsError {}

impl<T> Editions<T> {
    /// A single edition, which is in force.
    #[must_use]
    pub fn new(version: impl Into<String>, value: T) -> Self {
        Self { superseded: Vec::new(), in_force: Edition { version: version.into(), value } }
    }

    /// The same with another edition in force. One that is called like an earlier one takes its place in
    /// every answer, so that a version means one thing.
    #[must_use]
    pub fn then(mut self, version: impl Into<String>, value: T) -> Self {
        let next = Edition { version: version.into(), value };
        let before = std::mem::replace(&mut self.in_force, next);
        self.superseded.push(before);
        self.superseded.retain(|edition| edition.version != self.in_force.version);
        self
    }

    /// The edition that decisions are taken under.
    #[must_use]
    pub fn in_force(&self) -> &Edition<T> {
        &self.in_force
    }

    /// Those that were in force once, in their order.
    #[must_use]
    pub fn superseded(&self) -> &[Edition<T>] {
        &self.superseded
    }

    /// What a version is worth.
    #[must_use]
    pub fn standing(&self, version: &str) -> Standing<'_, T> {
        if self.in_force.version == version {
            return Standing::InForce(&self.in_force.value);
        }
        let found = self.superseded.iter().find(|edition| edition.version == version);
        found.map_or(Standing::Unknown, |edition| Standing::Superseded(&edition.value))
    }

    fn versions(&self) -> Vec<String> {
        let all = self.superseded.iter().chain([&self.in_force]);
        all.map(|edition| edition.version.clone()).collect()
    }
}

impl<T: DeserializeOwned> Editions<T> {
    /// Reads `[{"version": "2025", "value": {..}}, {"version": "2026", "value": {..}}]`: in the order in
    /// which they came into force, so that the last one is.
    ///
    /// # Errors
    /// A text that is not that, or one with no edition, too many of them, or two of the same version.
    pub fn from_json(text: &str) -> Result<Self, EditionsError> {
        let read: Result<Vec<Edition<T>>, _> = serde_json::from_str(text);
        let mut editions =
            read.map_err(|error| EditionsError(format!("the editions do not read: {error}")))?;
        if editions.len() > EDITIONS_MAX {
            let count = editions.len();
            return Err(EditionsError(format!("there are {count} editions, more than {EDITIONS_MAX}")));
        }
        let mut seen = BTreeSet::new();
        for Edition { version, .. } in &editions {
            if version.is_empty() || version.len() > KEY_BYTES_MAX {
                return Err(EditionsError(format!("a version has 1 to {KEY_BYTES_MAX} bytes: `{version}`")));
            }
            if !seen.insert(version) {
                return Err(EditionsError(format!("version `{version}` is there twice")));
            }
        }
        let in_force = editions.pop().ok_or_else(|| EditionsError("there is no edition".to_owned()))?;
        Ok(Self { superseded: editions, in_force })
    }
}

/// The reference data that a service was handed, of every kind.
#[derive(Clone, Default)]
pub struct References(Arc<BTreeMap<TypeId, Kept>>);

#[derive(Clone)]
struct Kept {
    name: &'static str,
    versions: Vec<String>,
    editions: Arc<dyn Any + Send + Sync>,
}

impl References {
    /// The same with these editions instead of any others of their kind.
    #[must_use]
    pub fn with<T: Reference>(mut self, editions: Editions<T>) -> Self {
        let kept = Kept { name: T::NAME, versions: editions.versions(), editions: Arc::new(editions) };
        Arc::make_mut(&mut self.0).insert(TypeId::of::<T>(), kept);
        self
    }

    /// The editions that were handed in, or else those that the code brings along.
    #[must_use]
    pub fn get<T: Reference>(&self) -> Arc<Editions<T>> {
        let kept = self.0.get(&TypeId::of::<T>()).map(|kept| Arc::clone(&kept.editions));
        let kept = kept.and_then(|editions| editions.downcast().ok());
        kept.unwrap_or_else(|| Arc::new(T::editions()))
    }

    /// Each kind by its name, with its versions in the order in which they came into force.
    pub fn versions(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.0.values().map(|kept| (kept.name, kept.versions.as_slice()))
    }
}

impl PartialEq for References {
    /// Editions of the same versions are taken for the same: a version means one thing.
    fn eq(&self, other: &Self) -> bool {
        let same = |(left, right): (&Kept, &Kept)| left.name == right.name && left.versions == right.versions;
        self.0.len() == other.0.len() && self.0.values().zip(other.0.values()).all(same)
    }
}

impl Eq for References {}

impl fmt::Debug for References {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.versions()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, PartialEq, Debug, Deserialize)]
    struct Tariff {
        fee_cents: i64,
    }

    impl Reference for Tariff {
        const NAME: &'static str = "tariff";

        fn editions() -> Editions<Self> {
            Editions::new("2025", Tariff { fee_cents: 900 })
        }
    }

    fn read(text: &str) -> Result<Editions<Tariff>, String> {
        Editions::from_json(text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_last_edition_is_in_force_and_the_others_are_superseded() {
        let text =
            r#"[{"version":"2025","value":{"fee_cents":900}},{"version":"2026","value":{"fee_cents":1}}]"#;
        let tariffs = read(text).unwrap();
        assert_eq!(tariffs, Tariff::editions().then("2026", Tariff { fee_cents: 1 }));
        assert_eq!((tariffs.in_force().version(), tariffs.in_force().value().fee_cents), ("2026", 1));
        assert_eq!(tariffs.standing("2025"), Standing::Superseded(&Tariff { fee_cents: 900 }));
        assert_eq!(tariffs.standing("2024"), Standing::Unknown);
    }

    #[test]
    fn a_version_means_one_thing() {
        let twice =
            r#"[{"version":"2025","value":{"fee_cents":1}},{"version":"2025","value":{"fee_cents":2}}]"#;
        assert_eq!(read(twice).unwrap_err(), "version `2025` is there twice");
        let again = Tariff::editions().then("2025", Tariff { fee_cents: 1 });
        assert_eq!(again.standing("2025"), Standing::InForce(&Tariff { fee_cents: 1 }));
        assert!(again.superseded().is_empty());
    }

    #[test]
    fn a_text_without_editions_is_refused_and_says_why() {
        assert_eq!(read("[]").unwrap_err(), "there is no edition");
        let none = read(r#"[{"version":"","value":{"fee_cents":1}}]"#).unwrap_err();
        assert_eq!(none, "a version has 1 to 200 bytes: ``");
        let other = read(r#"[{"version":"2025","value":{"fee":1}}]"#).unwrap_err();
        assert!(other.contains("fee_cents"), "{other}");
        let more = read(r#"[{"version":"2025","value":{"fee_cents":1},"from":"May"}]"#).unwrap_err();
        assert!(more.contains("from"), "{more}");
    }

    #[test]
    fn what_is_handed_in_goes_before_what_the_code_brings_along() {
        let none = References::default();
        assert_eq!(none.get::<Tariff>().in_force().version(), "2025");
        let handed = none.clone().with(Editions::new("2027", Tariff { fee_cents: 7 }));
        assert_eq!(handed.get::<Tariff>().in_force().version(), "2027");
        assert_eq!(
            handed.get::<Tariff>().standing("2025"),
            Standing::Unknown,
            "only what was handed in counts"
        );
        let listed: Vec<_> = handed.versions().collect();
        assert_eq!(listed, [("tariff", ["2027".to_owned()].as_slice())]);
        assert!(none != handed && handed == handed.clone());
    }
}
