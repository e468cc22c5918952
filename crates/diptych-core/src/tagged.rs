//! Reading JSON objects for `#[derive(Data)]`: by name only, and enums by their tag. Unlike serde's own
//! reader it buffers only what stands before the tag, so that unknown properties and the paths of errors stay
//! visible.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// An enum that is read by its tag.
pub trait Tagged<'de>: Sized {
    /// The property that names the variant.
    const TAG: &'static str;
    /// The names of the variants.
    const NAMES: &'static [&'static str];

    /// Reads the other properties of the named variant; `None` for an unknown name.
    ///
    /// # Errors
    /// As the deserializer.
    fn read<D: Deserializer<'de>>(name: &str, rest: D) -> Result<Option<Self>, D::Error>;
}

/// Reads the tag, wherever it stands, and then the variant.
///
/// # Errors
/// No object, no tag, an unknown name, or properties that do not fit the variant.
pub fn deserialize<'de, T: Tagged<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(ByTag(PhantomData))
}

/// Reads an object by the names of its properties, never an array by their order.
///
/// # Errors
/// No object, or properties that do not fit.
pub fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(ByName(PhantomData))
}

struct ByName<T>(PhantomData<fn() -> T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ByName<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

struct ByTag<T>(PhantomData<fn() -> T>);

impl<'de, T: Tagged<'de>> Visitor<'de> for ByTag<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an object with a property `{}`", T::TAG)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut early = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key != T::TAG {
                early.push((key, map.next_value()?));
                continue;
            }
            let name: String = map.next_value()?;
            let early = early.into_iter();
            let rest = Rest { early, held: None, map };
            let read = T::read(&name, MapAccessDeserializer::new(rest))?;
            return read.ok_or_else(|| A::Error::unknown_variant(&name, T::NAMES));
        }
        Err(A::Error::missing_field(T::TAG))
    }
}

/// What stood before the tag, then what stands after it.
struct Rest<A> {
    early: std::vec::IntoIter<(String, serde_json::Value)>,
    held: Option<serde_json::Value>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.early.next() {
            Some((key, value)) => {
                self.held = Some(value);
                seed.deserialize(key.into_deserializer()).map(Some)
            }
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.held.take() {
            Some(value) => seed.deserialize(value).map_err(A::Error::custom),
            None => self.map.next_value_seed(seed),
        }
    }
}
