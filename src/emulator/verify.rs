//! Authenticates requests. Checks the signature (version V3 or V1), the time and the nonce of each request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;

use super::error::ApiError;
pub use super::key::AccessKey;
use super::payload::Format;
use super::request::{Params, Request};
use super::signature_v1::sign_v1;
use crate::live::signature::{V3_ALGORITHM, V3Request, sha256_hex, sign_v3};

/// The maximum difference between the time of a request and the server's time: 15 minutes, as documented.
pub const TIME_WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// The versions of the API's request signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum SignatureVersion {
    /// `ACS3-HMAC-SHA256`. The signature is in the headers.
    V3,
    /// HMAC-SHA1. The signature is in the parameters.
    V1,
}

/// The unverified claims of a request. The request log records them, and they determine the format of the response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// The signature version; `None` if the request is not signed.
    pub signature: Option<SignatureVersion>,
    /// The ID of the access key, `AccessKeyId`.
    pub access_key_id: Option<String>,
    /// The name of the operation, even if the API has no operation with this name.
    pub action: Option<String>,
    /// The version of the API.
    pub version: Option<String>,
}

impl Claims {
    /// Reads the claims of a V3 request from its headers, and the claims of a V1 or unsigned request from its
    /// parameters.
    pub fn from_request(request: &Request) -> Self {
        let authorization = request.header("authorization").unwrap_or_default();
        let header = |name: &str| request.header(name).filter(|value| !value.is_empty()).map(str::to_owned);
        if authorization.starts_with(V3_ALGORITHM) {
            return Self {
                signature: Some(SignatureVersion::V3),
                access_key_id: Authorization::parse(authorization).map(|a| a.access_key_id.to_owned()),
                action: header("x-acs-action"),
                version: header("x-acs-version"),
            };
        }
        let params = request.params();
        let param = |name: &str| params.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let signed = ["Signature", "AccessKeyId", "SignatureMethod"].into_iter().any(|name| params.get(name).is_some());
        Self {
            signature: signed.then_some(SignatureVersion::V1),
            access_key_id: param("AccessKeyId"),
            action: param("Action").or_else(|| header("x-acs-action")),
            version: param("Version").or_else(|| header("x-acs-version")),
        }
    }

    /// Returns the format of the response. V1 requests select it with the `Format` parameter, and the default is XML.
    /// All other requests select it with the `accept` header, and the default is JSON.
    pub fn format(&self, request: &Request) -> Format {
        let xml = match self.signature {
            Some(SignatureVersion::V1) => {
                !request.params().get("Format").is_some_and(|format| format.eq_ignore_ascii_case("json"))
            }
            _ => request.header("accept").is_some_and(|accept| {
                let first = accept.split([',', ';']).next().unwrap_or_default().trim().to_ascii_lowercase();
                first == "application/xml" || first == "text/xml"
            }),
        };
        if xml { Format::Xml } else { Format::Json }
    }
}

/// Authenticates requests by their signature, regardless of their operation.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: HashMap<String, AccessKey>,
    nonces: Nonces,
}

/// A request whose signature is valid. Its nonce has not been checked yet.
struct VerifiedRequest<'r> {
    access_key_id: &'r str,
    nonce: &'r str,
    date: Timestamp,
}

impl Verifier {
    /// Creates a verifier with an initial set of keys.
    pub fn new(keys: impl IntoIterator<Item = AccessKey>) -> Self {
        let keys = keys.into_iter().map(|key| (key.id.clone(), key)).collect();
        Self { keys, nonces: Nonces::default() }
    }

    /// Adds an access key, or replaces the key with the same ID.
    pub fn put_key(&mut self, key: AccessKey) {
        self.keys.insert(key.id.clone(), key);
    }

    /// Removes a key and returns it. Returns `None` if the key is unknown.
    pub fn remove_key(&mut self, id: &str) -> Option<AccessKey> {
        self.keys.remove(id)
    }

    /// Returns the known keys, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = &AccessKey> {
        self.keys.values()
    }

    /// Returns the key with this ID, active or not.
    pub fn key(&self, id: &str) -> Option<&AccessKey> {
        self.keys.get(id)
    }

    /// Authenticates a request at the time `now`, marks its nonce as used and returns its access key ID.
    ///
    /// # Errors
    ///
    /// Returns the error of the first check that fails. Its code is `Missing<Parameter>`, `InvalidSignatureMethod`,
    /// `InvalidSignatureVersion`, `InvalidTimeStamp.Format`, `IncompleteSignature`, `InvalidAccessKeyId.NotFound`,
    /// `InvalidAccessKeyId.Inactive`, `MissingSecurityToken`, `InvalidSecurityToken.*`, `InvalidTimeStamp.Expired`,
    /// `SignatureDoesNotMatch` or `SignatureNonceUsed`.
    pub fn verify(&mut self, request: &Request, now: Timestamp) -> Result<String, ApiError> {
        let authorization = request.header("authorization").unwrap_or_default();
        let params = request.params();
        let verified = if authorization.starts_with(V3_ALGORITHM) {
            self.verify_v3(request, authorization, now)?
        } else {
            self.verify_v1(request, &params, now)?
        };
        let caller = verified.access_key_id.to_owned();
        if !self.nonces.insert(&caller, verified.nonce, verified.date, now) {
            return Err(ApiError::new(400, "SignatureNonceUsed", "Specified signature nonce was used already."));
        }
        Ok(caller)
    }

    fn verify_v3<'r>(
        &self,
        request: &'r Request,
        authorization: &'r str,
        now: Timestamp,
    ) -> Result<VerifiedRequest<'r>, ApiError> {
        let header = |name: &str, parameter: &str| {
            request.header(name).filter(|value| !value.is_empty()).ok_or_else(|| ApiError::missing(parameter))
        };
        header("x-acs-action", "Action")?;
        header("x-acs-version", "Version")?;
        let nonce = header("x-acs-signature-nonce", "SignatureNonce")?;
        let date = parse_timestamp(header("x-acs-date", "Timestamp")?)?;
        let content_hash = header("x-acs-content-sha256", "ContentSha256")?;
        let parsed = Authorization::parse(authorization).ok_or_else(malformed_authorization)?;
        let key = self.active_key(parsed.access_key_id)?;
        key.check_token(request.header("x-acs-security-token"), now)?;
        check_time(date, now)?;
        parsed.check_signed_headers(request)?;
        if content_hash != sha256_hex(&request.body) {
            let detail = "x-acs-content-sha256 is not the lower-case hex SHA-256 of the body";
            return Err(signature_mismatch(detail));
        }
        let headers: Vec<(String, String)> =
            parsed.signed_headers.iter().map(|name| ((*name).to_owned(), joined_header(request, name))).collect();
        let query = crate::live::encode::canonical_query(request.query.iter());
        let expected = sign_v3(
            V3Request {
                method: &request.method,
                path: &request.path,
                query: &query,
                headers: &headers,
                body_sha256: content_hash,
            },
            key.secret.expose_secret(),
        );
        if expected.signature != parsed.signature {
            return Err(signature_mismatch(&format!(
                "server string to sign is:{} server CanonicalRequest is:{}",
                expected.string_to_sign, expected.canonical_request
            )));
        }
        Ok(VerifiedRequest { access_key_id: parsed.access_key_id, nonce, date })
    }

    fn verify_v1<'p>(
        &self,
        request: &Request,
        params: &'p Params,
        now: Timestamp,
    ) -> Result<VerifiedRequest<'p>, ApiError> {
        let param =
            |name: &str| params.get(name).filter(|value| !value.is_empty()).ok_or_else(|| ApiError::missing(name));
        let access_key_id = param("AccessKeyId")?;
        param("Action")?;
        param("Version")?;
        let signature = param("Signature")?;
        for (name, only) in [("SignatureMethod", "HMAC-SHA1"), ("SignatureVersion", "1.0")] {
            if param(name)? != only {
                let message = format!("The value of {name} must be {only}.");
                return Err(ApiError::new(400, format!("Invalid{name}"), message));
            }
        }
        let nonce = param("SignatureNonce")?;
        let date = parse_timestamp(param("Timestamp")?)?;
        let key = self.active_key(access_key_id)?;
        key.check_token(params.get("SecurityToken"), now)?;
        check_time(date, now)?;
        let signed = params.iter().filter(|(name, _)| *name != "Signature");
        let expected = sign_v1(&request.method, signed, key.secret.expose_secret());
        if expected.signature != signature {
            return Err(signature_mismatch(&format!("server string to sign is:{}", expected.string_to_sign)));
        }
        Ok(VerifiedRequest { access_key_id, nonce, date })
    }

    fn active_key(&self, id: &str) -> Result<&AccessKey, ApiError> {
        match self.keys.get(id) {
            Some(key) if key.inactive => Err(ApiError::new(
                400,
                "InvalidAccessKeyId.Inactive",
                format!("Specified access key {id} is disabled."),
            )),
            Some(key) => Ok(key),
            None => {
                let message = format!("Specified access key {id} is not found.");
                Err(ApiError::new(404, "InvalidAccessKeyId.NotFound", message))
            }
        }
    }
}

/// A parsed V3 `Authorization` header.
struct Authorization<'a> {
    access_key_id: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in header.strip_prefix(V3_ALGORITHM)?.strip_prefix(' ')?.split(',') {
            match part.trim().split_once('=')? {
                ("Credential", value) => credential = Some(value),
                ("SignedHeaders", value) => signed_headers = Some(value.split(';').collect()),
                ("Signature", value) => signature = Some(value),
                _ => return None,
            }
        }
        let access_key_id = credential.filter(|id| !id.is_empty())?;
        Some(Self { access_key_id, signed_headers: signed_headers?, signature: signature? })
    }

    /// Checks the list of signed headers. It must contain every header that affects the meaning of the request, and its
    /// names must be sorted and unique.
    fn check_signed_headers(&self, request: &Request) -> Result<(), ApiError> {
        let mut required =
            vec!["x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"];
        if request.header("x-acs-security-token").is_some() {
            required.push("x-acs-security-token");
        }
        if !request.body.is_empty() && request.header("content-type").is_some() {
            required.push("content-type");
        }
        if let Some(name) = required.into_iter().find(|name| !self.signed_headers.contains(name)) {
            return Err(incomplete_signature(&format!("The header {name} is not signed.")));
        }
        if !self.signed_headers.is_sorted_by(|a, b| a < b) {
            return Err(incomplete_signature("SignedHeaders is not sorted, or contains a name twice."));
        }
        Ok(())
    }
}

/// Returns the values of all headers with this name, joined by commas.
fn joined_header(request: &Request, name: &str) -> String {
    let values: Vec<&str> = request.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
    values.join(",")
}

fn incomplete_signature(message: &str) -> ApiError {
    ApiError::new(400, "IncompleteSignature", message)
}

fn malformed_authorization() -> ApiError {
    incomplete_signature(&format!(
        "Authorization must be {V3_ALGORITHM} Credential=<id>,SignedHeaders=<a;b>,Signature=<hex>."
    ))
}

fn signature_mismatch(detail: &str) -> ApiError {
    let message = format!("Specified signature does not match our calculation. {detail}");
    ApiError::new(400, "SignatureDoesNotMatch", message)
}

/// Parses `yyyy-MM-ddTHH:mm:ssZ`, the only valid format.
fn parse_timestamp(text: &str) -> Result<Timestamp, ApiError> {
    let parsed = if text.len() == 20 && text.as_bytes()[10] == b'T' { text.parse().ok() } else { None };
    parsed.filter(|time: &Timestamp| time.to_string() == text).ok_or_else(|| {
        ApiError::new(
            400,
            "InvalidTimeStamp.Format",
            "Specified time stamp or date value is not well formatted: it must be yyyy-MM-ddTHH:mm:ssZ.",
        )
    })
}

fn check_time(date: Timestamp, now: Timestamp) -> Result<(), ApiError> {
    if now.duration_since(date).abs() > TIME_WINDOW {
        return Err(ApiError::new(
            400,
            "InvalidTimeStamp.Expired",
            format!("Specified time stamp or date value is expired. Server time is {now:.0}."),
        ));
    }
    Ok(())
}

/// The used nonces. Each nonce is kept until its request is older than [`TIME_WINDOW`]. After that, a repeated request
/// is rejected because of its time.
#[derive(Debug, Default)]
struct Nonces {
    seen: HashMap<(String, String), Timestamp>,
    cleanup_size: usize,
}

impl Nonces {
    /// Records a nonce and returns whether it is new.
    fn insert(&mut self, access_key_id: &str, nonce: &str, date: Timestamp, now: Timestamp) -> bool {
        let is_in_window = |date: Timestamp| now.duration_since(date) <= TIME_WINDOW;
        if self.seen.len() >= self.cleanup_size {
            self.seen.retain(|_, date| is_in_window(*date));
            self.cleanup_size = (self.seen.len() * 2).max(1024);
        }
        match self.seen.entry((access_key_id.to_owned(), nonce.to_owned())) {
            Entry::Occupied(mut seen) if !is_in_window(*seen.get()) => {
                seen.insert(date);
                true
            }
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(date);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests;
