//! Decodes a JSON or XML response body into a type. A body that exceeds the limits is rejected before it is decoded.

use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::bounded;
use super::lenient::AnyCase;
use super::xml;

/// A complete response body.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    pub bytes: &'a [u8],
    pub is_xml: bool,
    /// The maximum number of values or elements.
    pub values: usize,
}

impl Document<'_> {
    /// Decodes an object, whose member names can have any case. Returns `None` if the body is malformed, is not an
    /// object, exceeds the limits, or does not match `T`.
    pub(super) fn read<T: DeserializeOwned>(self) -> Option<T> {
        let AnyCase(value) = if self.is_xml {
            // Only one body is decoded at a time, because a tree of small elements takes a hundred times the memory of
            // its text.
            static TREE: Mutex<()> = Mutex::new(());
            let _only = TREE.lock();
            serde_json::from_value(xml::to_json(self.bytes, self.values)?).ok()?
        } else if bounded::json_fits(self.bytes, self.values) {
            serde_json::from_slice(self.bytes).ok()?
        } else {
            return None;
        };
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn read(text: &str, is_xml: bool) -> Option<Value> {
        Document { bytes: text.as_bytes(), is_xml, values: 4 }.read()
    }

    #[test]
    fn json_and_xml_are_decoded_alike() {
        let expected = Some(serde_json::json!({"a": "x", "b": {"C": "y"}}));
        assert_eq!(read(r#"{"A":"x","B":{"C":"y"}}"#, false), expected);
        assert_eq!(read("<R><A>x</A><B><C>y</C></B></R>", true), expected);
    }

    #[test]
    fn malformed_and_unbounded_documents_are_refused() {
        for text in ["", "{", "{}x", "[1,]", "{\"a\":}", "[]", r#"{"a":[1,2,3,4]}"#] {
            assert_eq!(read(text, false), None, "{text}");
        }
        for text in ["", "<R>", "<R>text</R>", "<R><a/><a/><a/><a/></R>"] {
            assert_eq!(read(text, true), None, "{text}");
        }
    }
}
