//! Reads the request log of the emulator, which has one JSON object per call.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer};

use super::error::{Context as _, Result};

/// A call that the emulator received.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Time of arrival, RFC 3339.
    pub time: String,
    /// Access key of the signature, which is not verified in a rejected request.
    pub access_key_id: Option<String>,
    /// Operation such as `CreateLiveMessageGroup`, or empty if the request has none.
    #[serde(deserialize_with = "or_empty")]
    pub operation: String,
    /// The decoded parameters, without those of the signature.
    pub params: BTreeMap<String, String>,
    /// Version of the signature, if the request was signed.
    pub signature: Option<String>,
    /// HTTP status of the response, or 0 without a response.
    pub status: u16,
    /// Error code of the response, if it is an error.
    pub code: Option<String>,
    /// RequestId of the response.
    pub request_id: String,
    /// Milliseconds from the arrival to the response.
    pub duration_ms: u64,
}

impl Request {
    /// The value of a parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }
}

fn or_empty<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

/// The calls so far; empty before the first call.
pub fn read(path: &Path) -> Result<Vec<Request>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.context(path.display())?,
    };
    // The last line may be incomplete.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |line| serde_json::from_str(line).context(format_args!("request log line {line}"));
    complete.lines().filter(|line| !line.is_empty()).map(parse).collect()
}
