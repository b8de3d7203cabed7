//! Encodes the fields of a response as JSON or XML.

use quick_xml::escape::escape;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::error::ApiError;

/// The encoding of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json;charset=utf-8`.
    Json,
    /// `text/xml;charset=utf-8`. The SDKs compare the header with exactly this text.
    Xml,
}

impl Format {
    /// Returns the value of the header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json;charset=utf-8",
            Self::Xml => "text/xml;charset=utf-8",
        }
    }
}

/// The value of a response field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A whole number.
    Int(i64),
    /// `true` or `false`, lower case in both formats.
    Bool(bool),
    /// A list. In XML the entries are child elements of the list: `<AdminList><Admins>…</Admins></AdminList>`.
    List(Vec<Value>),
    /// Nested fields in a fixed order.
    Object(Payload),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<&[String]> for Value {
    fn from(list: &[String]) -> Self {
        Self::List(list.iter().map(|entry| Self::from(entry.as_str())).collect())
    }
}

impl From<Vec<Payload>> for Value {
    fn from(list: Vec<Payload>) -> Self {
        Self::List(list.into_iter().map(Self::Object).collect())
    }
}

/// The fields of a response except `RequestId`, in the documented order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload(Vec<(&'static str, Value)>);

impl Payload {
    /// Creates a payload that has no fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a field.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// Returns the value of the first field with this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    fn with_first(name: &'static str, value: &str, rest: &Self) -> Self {
        let mut fields = vec![(name, Value::from(value))];
        fields.extend(rest.0.iter().cloned());
        Self(fields)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::List(list) => list.serialize(serializer),
            Self::Object(fields) => fields.serialize(serializer),
        }
    }
}

/// Returns the body of a successful response. In XML the root element is `<operation>Response`.
pub fn render(format: Format, operation: &str, request_id: &str, payload: &Payload) -> String {
    encode(format, &format!("{operation}Response"), &Payload::with_first("RequestId", request_id, payload))
}

/// Returns the body of an error response. In XML the root element is `Error`.
pub fn render_error(format: Format, request_id: &str, host: &str, error: &ApiError) -> String {
    let fields = Payload::new()
        .with("RequestId", request_id)
        .with("HostId", host)
        .with("Code", error.code.as_ref())
        .with("Message", error.message.as_str());
    encode(format, "Error", &fields)
}

fn encode(format: Format, root: &str, fields: &Payload) -> String {
    match format {
        // Serialization cannot fail, because all keys are strings.
        Format::Json => serde_json::to_string(fields).unwrap_or_default(),
        Format::Xml => {
            let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
            write_element(&mut out, root, &Value::Object(fields.clone()));
            out
        }
    }
}

fn write_element(out: &mut String, name: &str, value: &Value) {
    out.push_str(&format!("<{name}>"));
    match value {
        Value::Text(text) => out.push_str(&escape_xml(text)),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Bool(truth) => out.push_str(&truth.to_string()),
        Value::Object(fields) => fields.0.iter().for_each(|(name, value)| write_element(out, name, value)),
        Value::List(entries) => {
            let name = entry_name(name);
            entries.iter().for_each(|entry| write_element(out, &name, entry));
        }
    }
    out.push_str(&format!("</{name}>"));
}

/// Returns the name of the XML element for each entry of a list. The documentation specifies `Admins` for `AdminList`,
/// and `Groups` for `GroupList`.
fn entry_name(list: &str) -> String {
    format!("{}s", list.strip_suffix("List").unwrap_or(list))
}

/// Escapes text for XML 1.0. A carriage return becomes a character reference, because a parser would otherwise convert
/// it to a line feed. A character that is not allowed in XML becomes U+FFFD.
fn escape_xml(text: &str) -> String {
    let allowed =
        |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    let clean: String = text.chars().map(|c| if allowed(c) { c } else { '\u{FFFD}' }).collect();
    escape(clean.as_str()).replace('\r', "&#13;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Payload {
        Payload::new()
            .with("GroupId", "grouptest")
            .with("AdminList", &["uid1".to_owned(), "uid2".to_owned()][..])
            .with("Createtime", 1_698_305_471)
            .with("GroupInfo", "<a & \"b\">\r\n\u{1}群")
            .with("Delete", false)
            .with("MsgAmount", Value::Object(Payload::new()))
    }

    #[test]
    fn json_keeps_field_order_and_types() {
        assert_eq!(
            render(Format::Json, "DescribeLiveMessageGroup", "R-1", &sample()),
            "{\"RequestId\":\"R-1\",\"GroupId\":\"grouptest\",\"AdminList\":[\"uid1\",\"uid2\"],\
             \"Createtime\":1698305471,\"GroupInfo\":\"<a & \\\"b\\\">\\r\\n\\u0001群\",\"Delete\":false,\
             \"MsgAmount\":{}}"
        );
    }

    #[test]
    fn xml_wraps_the_entries_of_a_list_and_escapes_text() {
        assert_eq!(
            render(Format::Xml, "DescribeLiveMessageGroup", "R-1", &sample()),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><DescribeLiveMessageGroupResponse><RequestId>R-1</RequestId>\
             <GroupId>grouptest</GroupId><AdminList><Admins>uid1</Admins><Admins>uid2</Admins></AdminList>\
             <Createtime>1698305471</Createtime>\
             <GroupInfo>&lt;a &amp; &quot;b&quot;&gt;&#13;\n\u{FFFD}群</GroupInfo><Delete>false</Delete>\
             <MsgAmount></MsgAmount></DescribeLiveMessageGroupResponse>"
        );
    }

    #[test]
    fn xml_wraps_nested_and_empty_lists() {
        let group = |admins: &[String]| Payload::new().with("AdminList", admins);
        let groups = vec![group(&["uid1".to_owned()]), group(&[])];
        let xml = render(Format::Xml, "ListLiveMessageGroups", "R-1", &Payload::new().with("GroupList", groups));
        let expected = "<GroupList><Groups><AdminList><Admins>uid1</Admins></AdminList></Groups>\
                        <Groups><AdminList></AdminList></Groups></GroupList>";
        assert!(xml.contains(expected), "{xml}");
    }

    #[test]
    fn errors_have_four_fields() {
        let error = ApiError::throttling_user();
        assert_eq!(
            render_error(Format::Json, "R-1", "live.aliyuncs.com", &error),
            "{\"RequestId\":\"R-1\",\"HostId\":\"live.aliyuncs.com\",\"Code\":\"Throttling.User\",\
             \"Message\":\"Request was denied due to user flow control.\"}"
        );
        let xml = render_error(Format::Xml, "R-1", "live.aliyuncs.com", &error);
        assert!(
            xml.contains("<Error><RequestId>R-1</RequestId><HostId>live.aliyuncs.com</HostId><Code>Throttling.User")
        );
    }
}
