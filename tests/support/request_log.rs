//! The emulator's request log: every call it received, one JSON object a line.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::error::{Context as _, Result};

/// One call, as the emulator saw it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// When it arrived, RFC 3339.
    pub time: String,
    /// Who signed it.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// `CreateLiveMessageGroup` and the like.
    pub operation: String,
    /// The parameters, decoded.
    #[serde(default)]
    pub params: BTreeMap<String, serde_json::Value>,
    /// How the signature was judged.
    #[serde(default)]
    pub signature: serde_json::Value,
    /// HTTP status of the answer.
    pub status: u16,
    /// Error code of the answer, if it was one.
    #[serde(default)]
    pub code: Option<String>,
    /// The answer's RequestId.
    #[serde(default)]
    pub request_id: Option<String>,
    /// How long the answer took, in milliseconds.
    #[serde(default)]
    pub duration_ms: f64,
}

impl Request {
    /// A parameter's text.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(serde_json::Value::as_str)
    }
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
