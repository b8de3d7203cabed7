//! Reads the request log of the emulator, which contains one JSON object per call.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer};

use super::error::{Context as _, Error, Result};

/// A call that the emulator received.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The time at which the request arrived, in RFC 3339 format.
    pub time: String,
    /// The access key ID in the request. If the request was rejected, this ID may be unverified.
    pub access_key_id: Option<String>,
    /// The operation, such as `CreateLiveMessageGroup`, or an empty string if the request does not contain one.
    #[serde(deserialize_with = "or_empty")]
    pub operation: String,
    /// The decoded parameters, without the signature parameters.
    pub params: BTreeMap<String, String>,
    /// The version of the signature, or `None` if the request is unsigned.
    pub signature: Option<String>,
    /// The HTTP status of the response, or 0 if there was no response.
    pub status: u16,
    /// The error code, or `None` if the call succeeded.
    pub code: Option<String>,
    /// The RequestId of the response.
    pub request_id: String,
    /// Milliseconds from the arrival to the response.
    pub duration_ms: u64,
}

impl Request {
    /// Returns the value of a parameter, or `None` if the request does not have this parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    /// Returns the time at which the request arrived.
    pub fn arrived(&self) -> Result<Timestamp> {
        self.time.parse().context(&self.time)
    }
}

fn or_empty<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

/// Reads the calls so far. Returns an empty list if the file does not exist.
pub fn read(path: &Path) -> Result<Vec<Request>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.context(path.display())?,
    };
    // Skip the last line if it is incomplete.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    parse(complete.lines().filter(|line| !line.is_empty()))
}

/// Parses the lines of a request log.
pub fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Request>> {
    lines.map(|line| serde_json::from_str(line).context(format_args!("request log line {line}"))).collect()
}

/// Returns the largest number of calls in any interval of one second. `times` can be in any order.
pub fn busiest_second(times: &[Timestamp]) -> usize {
    let within = |from: Timestamp| {
        times.iter().filter(|time| **time >= from && time.duration_since(from) < SignedDuration::from_secs(1)).count()
    };
    times.iter().map(|from| within(*from)).max().unwrap_or_default()
}

/// Counts the repeated creates. A new leader repeats a create if the previous leader stopped before it wrote the
/// status. Returns an error if a create was repeated after the object of the group became ready. `ready` contains the
/// time at which the object of each group became ready.
pub fn repeated_creates(requests: &[Request], ready: &BTreeMap<String, Timestamp>) -> Result<usize> {
    let mut created = BTreeMap::new();
    let mut repeated = 0;
    for request in requests.iter().filter(|request| request.operation == "CreateLiveMessageGroup") {
        let group = request.param("GroupId").context("a create without a group ID")?;
        let time = request.arrived()?;
        let Some(first) = created.get(group) else {
            if request.status == 200 {
                created.insert(group, time);
            }
            continue;
        };
        repeated += 1;
        // The times in `ready` come from conditions, which store whole seconds.
        if ready.get(group).is_some_and(|ready| time > *ready + SignedDuration::from_secs(1)) {
            return Err(Error::new(format!(
                "{group} was created at {first}, was Ready, and was created again at {time}"
            )));
        }
    }
    Ok(repeated)
}
