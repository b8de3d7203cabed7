//! Who calls: the signatures V3 and V1, the time of a request, and its nonce.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;

use super::answer::Format;
use super::error::ApiError;
pub use super::key::AccessKey;
use super::request::{Params, Request};
use super::signature_v1::sign_v1;
use crate::live::signature::{V3_ALGORITHM, V3Request, sha256_hex, sign_v3};

/// How far the time of a request may be from the server's, either way.
pub const TIME_WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// The two signature versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum SignatureVersion {
    /// `ACS3-HMAC-SHA256`, in the headers.
    V3,
    /// HMAC-SHA1, in the parameters.
    V1,
}

/// What a request says of itself, believed or not: for the log, and for the format of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// How it is signed, if it is.
    pub signature: Option<SignatureVersion>,
    /// Whose key.
    pub access_key_id: Option<String>,
    /// Which operation.
    pub action: Option<String>,
    /// Of which version of the API.
    pub version: Option<String>,
}

impl Claims {
    /// Reads the claims of a request.
    pub fn of(request: &Request) -> Self {
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

    /// The format of the answer: V1 asks with `Format` and gets XML by default, V3 with `accept` and gets JSON.
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

/// Decides whether a request is what its caller signed. It knows nothing of operations.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: HashMap<String, AccessKey>,
    nonces: Nonces,
}

/// A request found genuine, but for its nonce.
struct Genuine<'r> {
    access_key_id: &'r str,
    nonce: &'r str,
    date: Timestamp,
}

impl Verifier {
    /// A verifier that knows these keys.
    pub fn new(keys: impl IntoIterator<Item = AccessKey>) -> Self {
        let keys = keys.into_iter().map(|key| (key.id.clone(), key)).collect();
        Self { keys, nonces: Nonces::default() }
    }

    /// Adds a key, or replaces the one with its id.
    pub fn put_key(&mut self, key: AccessKey) {
        self.keys.insert(key.id.clone(), key);
    }

    /// Forgets a key.
    pub fn remove_key(&mut self, id: &str) -> Option<AccessKey> {
        self.keys.remove(id)
    }

    /// The keys it knows, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &AccessKey> {
        self.keys.values()
    }

    /// The key of that id.
    pub fn key(&self, id: &str) -> Option<&AccessKey> {
        self.keys.get(id)
    }

    /// Authenticates a request at the time `now` and remembers its nonce.
    ///
    /// # Errors
    ///
    /// In this order: `Missing<Parameter>`, `IncompleteSignature`, `InvalidTimeStamp.Format`,
    /// `InvalidAccessKeyId.NotFound`, `InvalidAccessKeyId.Inactive`, `MissingSecurityToken`, `InvalidSecurityToken.*`,
    /// `InvalidTimeStamp.Expired`, `SignatureDoesNotMatch`, `SignatureNonceUsed`.
    pub fn verify(&mut self, request: &Request, now: Timestamp) -> Result<String, ApiError> {
        let authorization = request.header("authorization").unwrap_or_default();
        let params = request.params();
        let genuine = if authorization.starts_with(V3_ALGORITHM) {
            self.verify_v3(request, authorization, now)?
        } else {
            self.verify_v1(request, &params, now)?
        };
        let caller = genuine.access_key_id.to_owned();
        if !self.nonces.insert(&caller, genuine.nonce, genuine.date, now) {
            return Err(ApiError::new(400, "SignatureNonceUsed", "Specified signature nonce was used already."));
        }
        Ok(caller)
    }

    fn verify_v3<'r>(
        &self,
        request: &'r Request,
        authorization: &'r str,
        now: Timestamp,
    ) -> Result<Genuine<'r>, ApiError> {
        let header = |name: &str, parameter: &str| {
            request.header(name).filter(|value| !value.is_empty()).ok_or_else(|| ApiError::missing(parameter))
        };
        header("x-acs-action", "Action")?;
        header("x-acs-version", "Version")?;
        let nonce = header("x-acs-signature-nonce", "SignatureNonce")?;
        let date = timestamp(header("x-acs-date", "Timestamp")?)?;
        let content_hash = header("x-acs-content-sha256", "ContentSha256")?;
        let parsed = Authorization::parse(authorization).ok_or_else(incomplete_authorization)?;
        let key = self.active_key(parsed.access_key_id)?;
        key.check_token(request.header("x-acs-security-token"), now)?;
        fresh(date, now)?;
        parsed.covers(request)?;
        if content_hash != sha256_hex(&request.body) {
            let why = "x-acs-content-sha256 is not the lower-case hex SHA-256 of the body";
            return Err(does_not_match(why));
        }
        let headers: Vec<(String, String)> =
            parsed.signed_headers.iter().map(|name| ((*name).to_owned(), joined(request, name))).collect();
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
            return Err(does_not_match(&format!(
                "server string to sign is:{} server CanonicalRequest is:{}",
                expected.string_to_sign, expected.canonical_request
            )));
        }
        Ok(Genuine { access_key_id: parsed.access_key_id, nonce, date })
    }

    fn verify_v1<'p>(&self, request: &Request, params: &'p Params, now: Timestamp) -> Result<Genuine<'p>, ApiError> {
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
        let date = timestamp(param("Timestamp")?)?;
        let key = self.active_key(access_key_id)?;
        key.check_token(params.get("SecurityToken"), now)?;
        fresh(date, now)?;
        let signed = params.iter().filter(|(name, _)| *name != "Signature");
        let expected = sign_v1(&request.method, signed, key.secret.expose_secret());
        if expected.signature != signature {
            return Err(does_not_match(&format!("server string to sign is:{}", expected.string_to_sign)));
        }
        Ok(Genuine { access_key_id, nonce, date })
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

/// The parts of a V3 `Authorization` header.
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

    /// Whether everything that decides what a request means is signed, and the names are sorted, each once.
    fn covers(&self, request: &Request) -> Result<(), ApiError> {
        let mut needed = vec![
            "host",
            "x-acs-action",
            "x-acs-content-sha256",
            "x-acs-date",
            "x-acs-signature-nonce",
            "x-acs-version",
        ];
        if request.header("x-acs-security-token").is_some() {
            needed.push("x-acs-security-token");
        }
        if !request.body.is_empty() && request.header("content-type").is_some() {
            needed.push("content-type");
        }
        if let Some(name) = needed.into_iter().find(|name| !self.signed_headers.contains(name)) {
            return Err(incomplete(&format!("The header {name} is not signed.")));
        }
        if !self.signed_headers.is_sorted_by(|a, b| a < b) {
            return Err(incomplete("SignedHeaders is not sorted, or has a name twice."));
        }
        Ok(())
    }
}

/// The value of a header; of several of that name, all joined by commas.
fn joined(request: &Request, name: &str) -> String {
    let values: Vec<&str> = request.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
    values.join(",")
}

fn incomplete(message: &str) -> ApiError {
    ApiError::new(400, "IncompleteSignature", message)
}

fn incomplete_authorization() -> ApiError {
    incomplete(&format!("Authorization must be {V3_ALGORITHM} Credential=<id>,SignedHeaders=<a;b>,Signature=<hex>."))
}

fn does_not_match(why: &str) -> ApiError {
    let message = format!("Specified signature does not match our calculation. {why}");
    ApiError::new(400, "SignatureDoesNotMatch", message)
}

/// `yyyy-MM-ddTHH:mm:ssZ` and nothing else.
fn timestamp(text: &str) -> Result<Timestamp, ApiError> {
    let parsed = if text.len() == 20 && text.as_bytes()[10] == b'T' { text.parse().ok() } else { None };
    parsed.filter(|time: &Timestamp| time.to_string() == text).ok_or_else(|| {
        ApiError::new(
            400,
            "InvalidTimeStamp.Format",
            "Specified time stamp or date value is not well formatted: it must be yyyy-MM-ddTHH:mm:ssZ.",
        )
    })
}

fn fresh(date: Timestamp, now: Timestamp) -> Result<(), ApiError> {
    if now.duration_since(date).abs() > TIME_WINDOW {
        return Err(ApiError::new(
            400,
            "InvalidTimeStamp.Expired",
            format!("Specified time stamp or date value is expired. Server time is {now:.0}."),
        ));
    }
    Ok(())
}

/// The nonces seen, each until the time of its request is out of the window: from then on the request is refused for its
/// time.
#[derive(Debug, Default)]
struct Nonces {
    seen: HashMap<(String, String), Timestamp>,
    clean_at: usize,
}

impl Nonces {
    /// Whether the nonce is new.
    fn insert(&mut self, access_key_id: &str, nonce: &str, date: Timestamp, now: Timestamp) -> bool {
        let live = |date: Timestamp| now.duration_since(date) <= TIME_WINDOW;
        if self.seen.len() >= self.clean_at {
            self.seen.retain(|_, date| live(*date));
            self.clean_at = (self.seen.len() * 2).max(1024);
        }
        match self.seen.entry((access_key_id.to_owned(), nonce.to_owned())) {
            Entry::Occupied(mut seen) if !live(*seen.get()) => {
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
