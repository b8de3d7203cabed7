//! Responses that contain credentials, from STS, the metadata service and a credentials URI.
//!
//! Messages show only the status and the code of a refusal, because its text can repeat a token.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::DATE;
use serde_json::Value;

use super::super::response::field;
use super::super::transport::{self, Body};
use super::{Credentials, Issued};

/// The maximum size of a body. Credentials with a token take a few kilobytes.
const MAX_BYTES: usize = 256 * 1024;

/// A response whose body was read completely.
pub(super) struct HttpReply {
    pub status: u16,
    pub body: Vec<u8>,
    /// The issuer's time, or the local time if the response has no `Date`.
    now: Timestamp,
}

/// The error if there is no complete response.
pub(super) struct FetchError {
    /// The connection was never established.
    pub unreachable: bool,
    pub why: String,
}

/// Sends a request and reads the complete response.
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
        Body::TooLong => Err(FetchError { unreachable: false, why: "the response is too long".to_owned() }),
        Body::Broken => Err(FetchError { unreachable: false, why: "the response is truncated".to_owned() }),
    }
}

impl HttpReply {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The code and the status of a refusal.
    pub(super) fn refusal(&self) -> String {
        match self.code() {
            Some(code) => format!("{code} (HTTP {})", self.status),
            None => format!("HTTP {}", self.status),
        }
    }

    /// The code of a refusal; `None` if it does not look like a code.
    pub(super) fn code(&self) -> Option<String> {
        let value: Value = serde_json::from_slice(&self.body).ok()?;
        let code = field(&value, "Code")?.as_str()?;
        let plain = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
        plain.then(|| code.to_owned())
    }

    /// The credentials in the member `within` of the response, or at its top level.
    ///
    /// # Errors
    /// Describes the error without the content of the response.
    pub(super) fn credentials(&self, within: Option<&str>) -> Result<Issued, String> {
        if !self.is_success() {
            return Err(self.refusal());
        }
        let value: Value = serde_json::from_slice(&self.body).map_err(|_| "the response is not JSON".to_owned())?;
        if let Some(code) = self.code().filter(|code| code != "Success") {
            return Err(code);
        }
        let object = match within {
            Some(name) => field(&value, name).ok_or_else(|| format!("the response has no {name}"))?,
            None => &value,
        };
        let text = |name: &str| match field(object, name).and_then(Value::as_str).map(str::trim) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(format!("the response has no {name}")),
        };
        let credentials =
            Credentials::new(text("AccessKeyId")?, text("AccessKeySecret")?, Some(text("SecurityToken")?));
        let expiration: Timestamp =
            text("Expiration")?.parse().map_err(|_| "the Expiration in the response is not a time".to_owned())?;
        let lifetime = Duration::try_from(expiration.duration_since(self.now)).unwrap_or_default();
        if lifetime.is_zero() {
            return Err("the issued credentials have already expired".to_owned());
        }
        Ok(Issued { lifetime: Some(lifetime), ..Issued::non_expiring(credentials) })
    }
}
