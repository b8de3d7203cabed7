//! Answers that hold credentials: from STS, the metadata service and a credentials URI.
//!
//! Nothing of a refusal but its code is ever shown: the text may repeat a token.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::DATE;
use serde_json::Value;

use super::super::response::field;
use super::super::transport::{self, Body};
use super::{Credentials, Issued};

/// Credentials and their token are some kilobytes.
const MAX_BYTES: usize = 256 * 1024;

/// A complete answer.
pub(super) struct HttpReply {
    pub status: u16,
    pub body: Vec<u8>,
    /// The issuer's clock, or this machine's where it tells no time.
    now: Timestamp,
}

/// Why there is no answer.
pub(super) struct FetchError {
    /// The connection was never made.
    pub unreachable: bool,
    pub why: String,
}

/// Sends a request and reads its answer whole.
pub(super) async fn fetch(request: reqwest::RequestBuilder) -> Result<HttpReply, FetchError> {
    let response = request.send().await.map_err(|error| {
        let error = transport::transport(&error);
        FetchError { unreachable: !error.may_have_arrived(), why: error.to_string() }
    })?;
    let status = response.status().as_u16();
    let date = response.headers().get(DATE).and_then(|value| value.to_str().ok()).and_then(transport::httpdate);
    let now = date.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_else(Timestamp::now);
    match transport::read(response, MAX_BYTES).await {
        Body::Whole(body) => Ok(HttpReply { status, body, now }),
        Body::TooLong => Err(FetchError { unreachable: false, why: "the answer is too long".to_owned() }),
        Body::Broken => Err(FetchError { unreachable: false, why: "the answer broke off".to_owned() }),
    }
}

impl HttpReply {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Code and status of a refusal.
    pub(super) fn refusal(&self) -> String {
        match self.code() {
            Some(code) => format!("{code} (HTTP {})", self.status),
            None => format!("HTTP {}", self.status),
        }
    }

    /// The code of a refusal, where it looks like one.
    pub(super) fn code(&self) -> Option<String> {
        let value: Value = serde_json::from_slice(&self.body).ok()?;
        let code = field(&value, "Code")?.as_str()?;
        let plain = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
        plain.then(|| code.to_owned())
    }

    /// The credentials of an answer, which stand in its member `within` or at its top.
    ///
    /// # Errors
    /// What is wrong, without any of its content.
    pub(super) fn credentials(&self, within: Option<&str>) -> Result<Issued, String> {
        if !self.is_success() {
            return Err(self.refusal());
        }
        let value: Value = serde_json::from_slice(&self.body).map_err(|_| "the answer is not JSON".to_owned())?;
        if let Some(code) = self.code().filter(|code| code != "Success") {
            return Err(code);
        }
        let object = match within {
            Some(name) => field(&value, name).ok_or_else(|| format!("the answer has no {name}"))?,
            None => &value,
        };
        let text = |name: &str| match field(object, name).and_then(Value::as_str).map(str::trim) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(format!("the answer has no {name}")),
        };
        let credentials =
            Credentials::new(text("AccessKeyId")?, text("AccessKeySecret")?, Some(text("SecurityToken")?));
        let expiration: Timestamp =
            text("Expiration")?.parse().map_err(|_| "the answer's Expiration is not a time".to_owned())?;
        let lifetime = Duration::try_from(expiration.duration_since(self.now)).unwrap_or_default();
        if lifetime.is_zero() {
            return Err("the credentials it gave have expired".to_owned());
        }
        Ok(Issued { lifetime: Some(lifetime), ..Issued::non_expiring(credentials) })
    }
}
