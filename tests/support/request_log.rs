//! The emulator's request log: every call it received, one JSON object a line.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer};

use super::error::{Context as _, Result};

/// One call, as the emulator saw it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// When it arrived, RFC 3339.
    pub time: String,
    /// Who signed it; in a refused request a claim.
    pub access_key_id: Option<String>,
    /// `CreateLiveMessageGroup` and the like; empty when it named none.
    #[serde(deserialize_with = "or_empty")]
    pub operation: String,
    /// The parameters, decoded, without those of the signature.
    pub params: BTreeMap<String, String>,
    /// Version of the signature, if it was signed.
    pub signature: Option<String>,
    /// HTTP status of the answer; 0 when there was none.
    pub status: u16,
    /// Error code of the answer, if it was one.
    pub code: Option<String>,
    /// The answer's RequestId.
    pub request_id: String,
    /// From the arrival to the answer, in milliseconds.
    pub duration_ms: u64,
}

impl Request {
    /// A parameter's text.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }
}

fn or_empty<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

/// All complete lines of the log so far; none before the first call.
pub fn read(path: &Path) -> Result<Vec<Request>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.context(path.display())?,
    };
    // The last line may be in the middle of being written.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |line| serde_json::from_str(line).context(format_args!("request log line {line}"));
    complete.lines().filter(|line| !line.is_empty()).map(parse).collect()
}
