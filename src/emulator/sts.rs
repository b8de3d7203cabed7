//! Issues temporary keys for the operations of STS (version 2015-04-01), the ECS metadata service and the admin API.
//!
//! The format, the expiry and the audience of an OIDC token are verified. Its signature is not verified, because the
//! emulator does not have the keys of the issuer.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::Value as Json;

use super::error::ApiError;
use super::key::{AccessKey, is_account};
use super::operation::Operation;
use super::payload::{Payload, Value};
use super::request::Params;

/// The value that the audience of an OIDC token must contain.
pub const AUDIENCE: &str = "sts.aliyuncs.com";

/// A RAM role: `acs:ram::ACCOUNT:role/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleArn {
    /// The ID of the account that owns the role.
    pub account: String,
    /// The role's name within its account.
    pub name: String,
}

impl FromStr for RoleArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (account, name) =
            text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(":role/")).unwrap_or_default();
        if !is_account(account) || name.is_empty() {
            return Err("expected acs:ram::ACCOUNT:role/NAME, where ACCOUNT is an account ID (digits)".to_owned());
        }
        Ok(Self { account: account.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "acs:ram::{}:role/{}", self.account, self.name)
    }
}

/// Issues temporary keys. The caller registers them with [`super::Verifier`].
#[derive(Debug, Default)]
pub struct Sts {
    roles: Vec<RoleArn>,
    max_duration: Option<Duration>,
    sessions: HashMap<String, Session>,
}

#[derive(Debug)]
struct Session {
    key: AccessKey,
    renew_at: Timestamp,
}

impl Sts {
    /// Allows clients to assume `roles`, or any role if the list is empty. `max_duration` is the maximum lifetime of a
    /// key.
    pub fn new(roles: Vec<RoleArn>, max_duration: Option<Duration>) -> Self {
        Self { roles, max_duration, sessions: HashMap::new() }
    }

    /// Issues a key for an account. The lifetime of the key is the shorter of `lifetime` and the configured maximum.
    pub fn issue(&self, account: &str, lifetime: Duration, now: Timestamp) -> AccessKey {
        let lifetime = self.max_duration.map_or(lifetime, |max_duration| max_duration.min(lifetime));
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        // Responses contain whole seconds. The start time is rounded up, so that a key does not expire early.
        let start = now.as_second() + i64::from(now.subsec_nanosecond() > 0);
        let expires = Timestamp::from_second(start.saturating_add(seconds)).unwrap_or(Timestamp::MAX);
        let random = |length: usize| -> String { (0..length).map(|_| fastrand::alphanumeric()).collect() };
        let token: Vec<u8> = (0..160).map(|_| fastrand::u8(..)).collect();
        AccessKey::new(format!("STS.{}", random(26)), random(44))
            .with_token(format!("CAIS{}", STANDARD.encode(token)), Some(expires))
            .with_account(account)
    }

    /// Returns the key of a named session. The key is reused until half of its lifetime has passed, unless `is_usable`
    /// rejects it earlier.
    pub fn session_key(
        &mut self,
        name: &str,
        account: &str,
        lifetime: Duration,
        now: Timestamp,
        is_usable: impl Fn(&AccessKey) -> bool,
    ) -> AccessKey {
        if let Some(session) =
            self.sessions.get(name).filter(|session| now < session.renew_at && is_usable(&session.key))
        {
            return session.key.clone();
        }
        let key = self.issue(account, lifetime, now);
        let left = key.expires.map_or(0, |expires| expires.as_second() - now.as_second());
        let renew_at = Timestamp::from_second(now.as_second().saturating_add(left / 2)).unwrap_or(Timestamp::MAX);
        self.sessions.insert(name.to_owned(), Session { key: key.clone(), renew_at });
        key
    }

    /// Executes `AssumeRoleWithOIDC` or `AssumeRole`. Returns the new key and the response. `client_now` is the time on
    /// the clients' clock. An OIDC token is rejected as expired only if it has expired at both times, `now` and
    /// `client_now`.
    ///
    /// # Errors
    ///
    /// Returns `Missing<Parameter>` for a missing parameter and `InvalidParameter.<Parameter>` for an invalid one.
    /// Returns 401 `AuthenticationFail.OIDCToken.Invalid`, `.Expired` or `.AudienceNotMatch` for an OIDC token that is
    /// not accepted. For an unknown role, returns 401 `AuthenticationFail.NoPermission` from `AssumeRoleWithOIDC` and
    /// 404 `EntityNotExist.Role` from `AssumeRole`.
    pub fn assume(
        &self,
        operation: Operation,
        params: &Params,
        now: Timestamp,
        client_now: Timestamp,
    ) -> Result<(AccessKey, Payload), ApiError> {
        let with_oidc = operation == Operation::AssumeRoleWithOidc;
        let arn = required_param(params, "RoleArn")?;
        let role: RoleArn = arn.parse().map_err(|reason: String| invalid_parameter("RoleArn", &reason))?;
        let session = required_param(params, "RoleSessionName")?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if !(2..=64).contains(&session.len()) || !session.chars().all(allowed) {
            return Err(invalid_parameter("RoleSessionName", "expected 2 to 64 characters: letters, digits and -_.@"));
        }
        let lifetime = session_duration(params)?;
        let mut payload = Payload::new();
        if with_oidc {
            let provider = required_param(params, "OIDCProviderArn")?;
            if !provider.starts_with("acs:ram::") || !provider.contains(":oidc-provider/") {
                return Err(invalid_parameter("OIDCProviderArn", "expected acs:ram::ACCOUNT:oidc-provider/NAME"));
            }
            payload = payload.with(
                "OIDCTokenInfo",
                Value::Object(check_oidc_token(required_param(params, "OIDCToken")?, now.min(client_now))?),
            );
        }
        if !self.roles.is_empty() && !self.roles.contains(&role) {
            return Err(match with_oidc {
                true => authentication_failure(
                    "NoPermission",
                    &format!("The caller is not permitted to assume the role {arn}."),
                ),
                false => ApiError::new(404, "EntityNotExist.Role", format!("The role not exists: {arn}.")),
            });
        }
        let key = self.issue(&role.account, lifetime, now);
        let user = Payload::new()
            .with("AssumedRoleId", format!("3{:017}:{session}", fastrand::u64(..100_000_000_000_000_000)).as_str())
            .with("Arn", format!("acs:ram::{}:role/{}/{session}", role.account, role.name).as_str());
        let credentials = credential_fields(&key)
            .into_iter()
            .fold(Payload::new(), |all, (name, value)| all.with(name, value.as_str()));
        payload = payload.with("AssumedRoleUser", Value::Object(user)).with("Credentials", Value::Object(credentials));
        Ok((key, payload))
    }
}

/// Returns the fields of a temporary key in a response, including its secrets.
pub(super) fn credential_fields(key: &AccessKey) -> [(&'static str, String); 4] {
    [
        ("AccessKeyId", key.id.clone()),
        ("AccessKeySecret", key.secret.expose_secret().to_owned()),
        ("SecurityToken", key.token.as_ref().map(|token| token.expose_secret().to_owned()).unwrap_or_default()),
        ("Expiration", key.expires.map(|expires| format!("{expires:.0}")).unwrap_or_default()),
    ]
}

fn required_param<'p>(params: &'p Params, name: &str) -> Result<&'p str, ApiError> {
    params.get(name).filter(|value| !value.is_empty()).ok_or_else(|| ApiError::missing(name))
}

fn invalid_parameter(parameter: &str, reason: &str) -> ApiError {
    ApiError::new(
        400,
        format!("InvalidParameter.{parameter}"),
        format!("The parameter {parameter} is not valid: {reason}."),
    )
}

fn authentication_failure(code: &str, message: &str) -> ApiError {
    ApiError::new(401, format!("AuthenticationFail.{code}"), message)
}

/// Reads `DurationSeconds`: 900 to 3,600, or 3,600 by default. The maximum is the default of `MaxSessionDuration`.
fn session_duration(params: &Params) -> Result<Duration, ApiError> {
    match params.get("DurationSeconds").unwrap_or_default() {
        "" => Ok(Duration::from_secs(3600)),
        text => match text.parse() {
            Ok(seconds @ 900..=3600) => Ok(Duration::from_secs(seconds)),
            _ => Err(invalid_parameter("DurationSeconds", "expected 900 to 3600")),
        },
    }
}

/// Checks the format, the expiry and the audience of an OIDC token, and returns `OIDCTokenInfo`.
fn check_oidc_token(token: &str, now: Timestamp) -> Result<Payload, ApiError> {
    let malformed =
        || authentication_failure("OIDCToken.Invalid", "The OIDC token is not a JWT of 4 to 20,000 characters.");
    if !(4..=20_000).contains(&token.chars().count()) {
        return Err(malformed());
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts.as_slice() else { return Err(malformed()) };
    let object = |part: &str| -> Option<Json> {
        let json: Json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
        json.is_object().then_some(json)
    };
    let (Some(_), Some(claims)) = (object(head), object(claims)) else { return Err(malformed()) };
    if signature.is_empty() || URL_SAFE_NO_PAD.decode(signature).is_err() {
        return Err(malformed());
    }
    let expires = claims["exp"].as_i64().and_then(|second| Timestamp::from_second(second).ok());
    let expires =
        expires.ok_or_else(|| authentication_failure("OIDCToken.Invalid", "The OIDC token has no exp claim."))?;
    if expires <= now {
        let message = format!("The OIDC token expired at {expires:.0}. Server time is {now:.0}.");
        return Err(authentication_failure("OIDCToken.Expired", &message));
    }
    let audience: Vec<&str> = match &claims["aud"] {
        Json::Array(list) => list.iter().filter_map(Json::as_str).collect(),
        single => single.as_str().into_iter().collect(),
    };
    if !audience.contains(&AUDIENCE) {
        let message = format!("The audience of the OIDC token does not contain {AUDIENCE}.");
        return Err(authentication_failure("OIDCToken.AudienceNotMatch", &message));
    }
    let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    Ok(Payload::new()
        .with("Subject", text("sub").as_str())
        .with("Issuer", text("iss").as_str())
        .with("ClientIds", audience.join(",").as_str())
        .with("ExpirationTime", format!("{expires:.0}").as_str())
        .with("VerificationInfo", "Success"))
}

#[cfg(test)]
mod tests;
