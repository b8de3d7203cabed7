//! Fetches credentials from STS, the metadata service or a credentials URI, and decodes the responses.
//!
//! Error messages show only the HTTP status and the error code of a response, because its text can contain a token.

use std::mem::take;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::DATE;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::document::Document;
use super::super::lenient::{AnyCase, Scalar};
use super::super::transport::{self, Body};
use super::{Credentials, Issued};

/// The maximum size of a body. Credentials with a token take a few kilobytes.
const MAX_BYTES: usize = 256 * 1024;

/// The maximum number of values in a response.
const MAX_VALUES: usize = 1_000;

/// The top-level members of a response.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    code: Scalar,
    credentials: Option<AnyCase<Keys>>,
}

/// The members that contain the credentials.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    #[serde(rename = "accesskeyid")]
    id: Scalar,
    #[serde(rename = "accesskeysecret")]
    secret: Scalar,
    #[serde(rename = "securitytoken")]
    token: Scalar,
    expiration: Scalar,
}

/// A complete response.
pub(super) struct HttpReply {
    pub status: u16,
    pub body: Vec<u8>,
    /// The time in the `Date` header, or the local time if the header is absent.
    pub now: Timestamp,
}

/// The error returned when a request does not receive a complete response.
pub(super) struct FetchError {
    /// Whether the request failed before a connection was established.
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
    match transport::read(response, MAX_BYTES, None).await {
        Body::Whole(body) => Ok(HttpReply { status, body, now }),
        Body::TooLong => Err(FetchError { unreachable: false, why: "the response is too long".to_owned() }),
        Body::Broken | Body::NoMemory => {
            Err(FetchError { unreachable: false, why: "the response is truncated".to_owned() })
        }
    }
}

impl HttpReply {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the error code, if any, and the HTTP status of an error response, for error messages.
    pub(super) fn refusal(&self) -> String {
        match self.code() {
            Some(code) => format!("{code} (HTTP {})", self.status),
            None => format!("HTTP {}", self.status),
        }
    }

    fn read<T: DeserializeOwned>(&self) -> Option<T> {
        Document { bytes: &self.body, is_xml: false, values: MAX_VALUES }.read()
    }

    /// Returns the error code of a response, or `None` if the value does not look like an error code.
    pub(super) fn code(&self) -> Option<String> {
        code(self.read::<Envelope>()?.code)
    }

    /// Returns the credentials at the top level of the response.
    ///
    /// # Errors
    /// Returns the reason for the failure. The reason contains no part of the response other than the HTTP status and
    /// the error code.
    pub(super) fn credentials(&self) -> Result<Issued, String> {
        self.success()?;
        self.issued(self.read().unwrap_or_default())
    }

    /// Returns the credentials in the member `Credentials` of the response.
    ///
    /// # Errors
    /// See [`HttpReply::credentials`].
    pub(super) fn nested_credentials(&self) -> Result<Issued, String> {
        let envelope = self.success()?;
        let AnyCase(keys) = envelope.credentials.ok_or_else(|| "the response has no Credentials".to_owned())?;
        self.issued(keys)
    }

    fn success(&self) -> Result<Envelope, String> {
        if !self.is_success() {
            return Err(self.refusal());
        }
        let mut envelope: Envelope = self.read().ok_or_else(|| "the response is not JSON".to_owned())?;
        match code(take(&mut envelope.code)).filter(|code| code != "Success") {
            Some(code) => Err(code),
            None => Ok(envelope),
        }
    }

    fn issued(&self, keys: Keys) -> Result<Issued, String> {
        let text = |value: Scalar, name: &str| match value {
            Scalar::Text(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            _ => Err(format!("the response has no {name}")),
        };
        let (id, secret) = (text(keys.id, "AccessKeyId")?, text(keys.secret, "AccessKeySecret")?);
        let credentials = Credentials::new(&id, &secret, Some(&text(keys.token, "SecurityToken")?));
        let expiration: Timestamp = text(keys.expiration, "Expiration")?
            .parse()
            .map_err(|_| "the Expiration in the response is not a valid time".to_owned())?;
        let lifetime = Duration::try_from(expiration.duration_since(self.now)).unwrap_or_default();
        if lifetime.is_zero() {
            return Err("the issued credentials have already expired".to_owned());
        }
        Ok(Issued { lifetime: Some(lifetime), ..Issued::non_expiring(credentials) })
    }
}

/// Returns the value of `Code`, or `None` if it does not look like an error code.
fn code(value: Scalar) -> Option<String> {
    let Scalar::Text(code) = value else { return None };
    let is_plain = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    is_plain.then_some(code)
}
