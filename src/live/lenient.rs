//! Types that decode values of responses. The documentation, its samples and XML responses differ in spelling, type
//! and nesting, so these types accept each value in all of these forms.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
};
use serde_json::Number;

/// The maximum number of IDs in a list, to limit memory usage. The service accepts three.
const MAX_IDS: usize = 100;

/// An object whose member names can have any case (`Hasmore`, `HasMore`). The fields of `T` have lower-case names. If a
/// member occurs in several spellings, the first one is used.
pub(super) struct AnyCase<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AnyCase<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                any_case(members)
            }
        }

        deserializer.deserialize_map(Object(PhantomData)).map(Self)
    }
}

/// Decodes the members of an object in the same way as [`AnyCase`].
pub(super) fn any_case<'de, T: Deserialize<'de>, A: MapAccess<'de>>(members: A) -> Result<T, A::Error> {
    T::deserialize(MapAccessDeserializer::new(LowerCase { members, seen: HashSet::new() }))
}

/// Yields each member of an object once, with its name in lower case.
struct LowerCase<A> {
    members: A,
    seen: HashSet<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for LowerCase<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(name) = self.members.next_key::<String>()? {
            let name = name.to_ascii_lowercase();
            if self.seen.insert(name.clone()) {
                let name: StringDeserializer<A::Error> = name.into_deserializer();
                return seed.deserialize(name).map(Some);
            }
            self.members.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.members.next_value_seed(seed)
    }
}

/// A string, number or boolean. Other values are treated as absent.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Bool(bool),
    Number(Number),
    Text(String),
    Absent(IgnoredAny),
}

impl Default for Scalar {
    fn default() -> Self {
        Self::Absent(IgnoredAny)
    }
}

impl Scalar {
    /// Returns the string, or the number or boolean as text. Returns `None` if the value is absent.
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(number) => Some(number.to_string()),
            Self::Bool(flag) => Some(flag.to_string()),
            Self::Absent(_) => None,
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            Self::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" => Some(true),
                "false" | "0" | "" => Some(false),
                _ => None,
            },
            Self::Number(number) => number.as_i64().map(|n| n != 0),
            Self::Absent(_) => None,
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// A list of IDs in any of these forms: `["a","b"]`, `[["a","b"]]`, `["[\"a\",\"b\"]"]`, `"a,b"`, `"[a, b]"`, `[1,2]`,
/// `{"Admins": ["a"]}` (XML). A string is split, not parsed as JSON, because a parser could round a large number.
#[derive(Default)]
pub(super) struct Ids(pub Vec<String>);

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut ids = Vec::new();
        IdsInto(&mut ids).deserialize(deserializer)?;
        Ok(Self(ids))
    }
}

struct IdsInto<'a>(&'a mut Vec<String>);

impl IdsInto<'_> {
    fn add<E: Error>(&mut self, id: String) -> Result<(), E> {
        if self.0.len() == MAX_IDS {
            return Err(E::custom("too many IDs"));
        }
        self.0.push(id);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for IdsInto<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for IdsInto<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IDs")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(mut self, id: bool) -> Result<(), E> {
        self.add(id.to_string())
    }

    fn visit_i64<E: Error>(mut self, id: i64) -> Result<(), E> {
        self.add(id.to_string())
    }

    fn visit_u64<E: Error>(mut self, id: u64) -> Result<(), E> {
        self.add(id.to_string())
    }

    fn visit_f64<E: Error>(mut self, id: f64) -> Result<(), E> {
        Number::from_f64(id).map_or(Ok(()), |id| self.add(id.to_string()))
    }

    fn visit_str<E: Error>(mut self, ids: &str) -> Result<(), E> {
        let is_between = |c: char| c.is_whitespace() || matches!(c, '[' | ']' | '"' | '\'' | '\\' | ',');
        ids.split(is_between).filter(|id| !id.is_empty()).try_for_each(|id| self.add(id.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(IdsInto(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key::<IgnoredAny>()?.is_some() {
            members.next_value_seed(IdsInto(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
