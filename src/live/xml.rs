//! Converts XML responses to JSON. An element with children becomes an object, an element without children becomes a
//! string, and repeated elements become a list.

use quick_xml::events::Event;
use quick_xml::reader::Reader;
use serde_json::{Map, Value};

use super::bounded::MAX_DEPTH;

struct Element {
    name: String,
    text: String,
    children: Map<String, Value>,
}

impl Element {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), text: String::new(), children: Map::new() }
    }

    fn value(self) -> (String, Value) {
        let value = if self.children.is_empty() { Value::String(self.text) } else { Value::Object(self.children) };
        (self.name, value)
    }

    fn add(&mut self, name: String, value: Value) {
        match self.children.remove(&name) {
            None => self.children.insert(name, value),
            Some(Value::Array(mut items)) => {
                items.push(value);
                self.children.insert(name, Value::Array(items))
            }
            Some(first) => self.children.insert(name, Value::Array(vec![first, value])),
        };
    }
}

/// Returns the content of the root element, or `None` if the text is not well-formed XML, is nested deeper than 32
/// levels or has more than `elements` elements.
pub(super) fn to_json(bytes: &[u8], elements: usize) -> Option<Value> {
    let mut reader = Reader::from_str(std::str::from_utf8(bytes).ok()?);
    let mut open: Vec<Element> = Vec::new();
    let mut left = elements;
    loop {
        let event = reader.read_event().ok()?;
        if matches!(event, Event::Start(_) | Event::Empty(_)) {
            left = left.checked_sub(1)?;
        }
        let closed = match event {
            Event::Start(_) if open.len() == MAX_DEPTH => return None,
            Event::Start(start) => {
                open.push(Element::new(start.name().as_ref()));
                continue;
            }
            Event::Empty(empty) => Element::new(empty.name().as_ref()),
            Event::Text(text) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&text);
                }
                continue;
            }
            Event::CData(data) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&data);
                }
                continue;
            }
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref().ok()? {
                    Some(character) => character.to_string(),
                    None => quick_xml::escape::resolve_predefined_entity(&reference)?.to_owned(),
                };
                open.last_mut()?.text.push_str(&resolved);
                continue;
            }
            Event::End(_) => open.pop()?,
            Event::Eof => return None,
            _ => continue,
        };
        let (name, value) = closed.value();
        match open.last_mut() {
            Some(parent) => parent.add(name, value),
            None => return Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elements_become_objects_strings_and_lists() {
        let xml = b"<?xml version=\"1.0\"?><R><A>x &amp; &#65;<![CDATA[<y>]]></A><L><I>1</I><I>2</I></L><E/></R>";
        assert_eq!(to_json(xml, 100), Some(json!({"A": "x & A<y>", "L": {"I": ["1", "2"]}, "E": ""})));
    }

    #[test]
    fn malformed_xml_is_refused() {
        for broken in ["", "<R>", "<R></S>", "text", "<R>&unknown;</R>"] {
            assert_eq!(to_json(broken.as_bytes(), 100), None, "{broken}");
        }
        assert_eq!(to_json(b"<R>\xff</R>", 100), None, "not UTF-8");
    }

    #[test]
    fn depth_and_number_of_elements_are_bounded() {
        let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert!(to_json(nested(MAX_DEPTH).as_bytes(), 100).is_some());
        assert_eq!(to_json(nested(MAX_DEPTH + 1).as_bytes(), 100), None);
        assert_eq!(to_json(nested(60_000).as_bytes(), usize::MAX), None);
        assert_eq!(to_json(b"<a><b/><b/></a>", 2), None);
    }
}
