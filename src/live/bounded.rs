//! Decodes response bodies with bounds on size, depth and number of values. A LiveAccount can name any endpoint, so
//! responses are not trusted.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Operation;

/// The maximum nesting depth of a response.
pub(super) const MAX_DEPTH: usize = 32;

/// The bounds of a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes after decompression.
    pub bytes: usize,
    /// Objects, lists, strings and numbers together.
    pub values: usize,
}

impl Limits {
    /// The bounds for any operation. A list has the largest response.
    // 50 groups of 32 KB each. JSON can encode a character of 4 bytes as 12 bytes.
    pub(super) const LARGEST: Self = Self { bytes: 8 * 1024 * 1024, values: 50_000 };

    /// The bounds of the response to `operation`.
    pub(super) fn of(operation: Operation) -> Self {
        match operation {
            Operation::ListByPage => Self::LARGEST,
            Operation::Describe => Self { bytes: 256 * 1024, values: 5_000 },
            _ => Self { bytes: 64 * 1024, values: 1_000 },
        }
    }
}

/// Decodes JSON; `None` if it is malformed, deeper than [`MAX_DEPTH`] or has more than `values` values.
pub(super) fn json(bytes: &[u8], values: usize) -> Option<Value> {
    let mut left = values;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Bounded { left: &mut left, depth: MAX_DEPTH }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(value)
}

struct Bounded<'a> {
    /// The number of values that may still follow.
    left: &'a mut usize,
    /// The remaining nesting depth.
    depth: usize,
}

impl Bounded<'_> {
    fn inner<E: Error>(&mut self) -> Result<Bounded<'_>, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Bounded { left: self.left, depth })
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        *self.left = self.left.checked_sub(1).ok_or_else(|| D::Error::custom("too many values"))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner()?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            object.insert(name, fields.next_value_seed(self.inner()?)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_any_shape_is_decoded() {
        let text = r#"{"a":[1,-2,1.5,true,null,"x\u00e9",{}],"b":{"c":18446744073709551615}}"#;
        assert_eq!(json(text.as_bytes(), 100), serde_json::from_str(text).ok());
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(json(nested(MAX_DEPTH).as_bytes(), 100).is_some());
        assert_eq!(json(nested(MAX_DEPTH + 2).as_bytes(), 100), None);
        assert_eq!(json(nested(1_000_000).as_bytes(), usize::MAX), None);
        assert!(json(b"[1,2,3]", 4).is_some());
        assert_eq!(json(b"[1,2,3]", 3), None);
        assert_eq!(json(br#"{"a":{},"b":{}}"#, 2), None);
    }

    #[test]
    fn malformed_json_is_refused() {
        for text in ["", "{", "{}x", "[1,]", "{\"a\":}"] {
            assert_eq!(json(text.as_bytes(), 100), None, "{text}");
        }
    }
}
