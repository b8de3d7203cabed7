//! Temporary keys: the operations of STS (version 2015-04-01), and the sessions handed out by the ECS metadata service
//! and at the admin address.
//!
//! The signature of an OIDC token is not verified: the emulator has no keys of any issuer. Its shape, its expiry and its
//! audience are.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::Value as Json;

use super::answer::{Answer, Value};
use super::error::ApiError;
use super::key::{AccessKey, is_account};
use super::operation::Operation;
use super::request::Params;

/// What the audience of an OIDC token must contain.
pub const AUDIENCE: &str = "sts.aliyuncs.com";

/// A RAM role: `acs:ram::ACCOUNT:role/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleArn {
    /// The number of its account.
    pub account: String,
    /// Its name.
    pub name: String,
}

impl FromStr for RoleArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (account, name) =
            text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(":role/")).unwrap_or_default();
        if !is_account(account) || name.is_empty() {
            return Err("expected acs:ram::ACCOUNT:role/NAME, the account in digits".to_owned());
        }
        Ok(Self { account: account.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "acs:ram::{}:role/{}", self.account, self.name)
    }
}

/// Issues temporary keys. It forgets them: [`super::Verifier`] knows them.
#[derive(Debug, Default)]
pub struct Sts {
    roles: Vec<RoleArn>,
    longest: Option<Duration>,
    sessions: HashMap<String, Session>,
}

#[derive(Debug)]
struct Session {
    key: AccessKey,
    renew: Timestamp,
}

impl Sts {
    /// Roles that can be assumed, all when there are none; no key lives longer than `longest`.
    pub fn new(roles: Vec<RoleArn>, longest: Option<Duration>) -> Self {
        Self { roles, longest, sessions: HashMap::new() }
    }

    /// A new temporary key, of at most this lifetime.
    pub fn issue(&self, account: &str, lifetime: Duration, now: Timestamp) -> AccessKey {
        let lifetime = self.longest.map_or(lifetime, |longest| longest.min(lifetime));
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        // Whole seconds are all an answer can tell; no key lives shorter than it was asked for.
        let start = now.as_second() + i64::from(now.subsec_nanosecond() > 0);
        let expires = Timestamp::from_second(start.saturating_add(seconds)).unwrap_or(Timestamp::MAX);
        let random = |length: usize| -> String { (0..length).map(|_| fastrand::alphanumeric()).collect() };
        let token: Vec<u8> = (0..160).map(|_| fastrand::u8(..)).collect();
        AccessKey::new(format!("STS.{}", random(26)), random(44))
            .with_token(format!("CAIS{}", STANDARD.encode(token)), Some(expires))
            .with_account(account)
    }

    /// The temporary key of whoever does not ask for one of its own: the same until half of its time is over, or until
    /// the caller finds it unusable.
    pub fn session(
        &mut self,
        name: &str,
        account: &str,
        lifetime: Duration,
        now: Timestamp,
        usable: impl Fn(&AccessKey) -> bool,
    ) -> AccessKey {
        if let Some(session) = self.sessions.get(name).filter(|session| now < session.renew && usable(&session.key)) {
            return session.key.clone();
        }
        let key = self.issue(account, lifetime, now);
        let left = key.expires.map_or(0, |expires| expires.as_second() - now.as_second());
        let renew = Timestamp::from_second(now.as_second().saturating_add(left / 2)).unwrap_or(Timestamp::MAX);
        self.sessions.insert(name.to_owned(), Session { key: key.clone(), renew });
        key
    }

    /// `AssumeRoleWithOIDC` and `AssumeRole`: the new key and the answer that shows it. A token has expired when it has
    /// by `now` and by the clock of the `machine` it comes from.
    ///
    /// # Errors
    ///
    /// `Missing<Parameter>`, `InvalidParameter.<Parameter>`; 401 `AuthenticationFail.OIDCToken.Invalid`, `.Expired`,
    /// `.AudienceNotMatch`, and 401 `AuthenticationFail.NoPermission` for a role that is not known; without OIDC that is
    /// 404 `EntityNotExist.Role`.
    pub fn assume(
        &self,
        operation: Operation,
        params: &Params,
        now: Timestamp,
        machine: Timestamp,
    ) -> Result<(AccessKey, Answer), ApiError> {
        let with_oidc = operation == Operation::AssumeRoleWithOidc;
        let arn = required(params, "RoleArn")?;
        let role: RoleArn = arn.parse().map_err(|why: String| invalid("RoleArn", &why))?;
        let session = required(params, "RoleSessionName")?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if !(2..=64).contains(&session.len()) || !session.chars().all(allowed) {
            return Err(invalid("RoleSessionName", "expected 2 to 64 letters, digits and -_.@"));
        }
        let lifetime = duration(params)?;
        let mut answer = Answer::new();
        if with_oidc {
            let provider = required(params, "OIDCProviderArn")?;
            if !provider.starts_with("acs:ram::") || !provider.contains(":oidc-provider/") {
                return Err(invalid("OIDCProviderArn", "expected acs:ram::ACCOUNT:oidc-provider/NAME"));
            }
            answer =
                answer.with("OIDCTokenInfo", Value::Object(examine(required(params, "OIDCToken")?, now.min(machine))?));
        }
        if !self.roles.is_empty() && !self.roles.contains(&role) {
            return Err(match with_oidc {
                true => refused("NoPermission", &format!("The role {arn} may not be assumed.")),
                false => ApiError::new(404, "EntityNotExist.Role", format!("The role not exists: {arn}.")),
            });
        }
        let key = self.issue(&role.account, lifetime, now);
        let user = Answer::new()
            .with("AssumedRoleId", format!("3{:017}:{session}", fastrand::u64(..100_000_000_000_000_000)).as_str())
            .with("Arn", format!("acs:ram::{}:role/{}/{session}", role.account, role.name).as_str());
        let credentials =
            fields(&key).into_iter().fold(Answer::new(), |all, (name, value)| all.with(name, value.as_str()));
        answer = answer.with("AssumedRoleUser", Value::Object(user)).with("Credentials", Value::Object(credentials));
        Ok((key, answer))
    }
}

/// A temporary key as it is shown to its owner.
pub(super) fn fields(key: &AccessKey) -> [(&'static str, String); 4] {
    [
        ("AccessKeyId", key.id.clone()),
        ("AccessKeySecret", key.secret.expose_secret().to_owned()),
        ("SecurityToken", key.token.as_ref().map(|token| token.expose_secret().to_owned()).unwrap_or_default()),
        ("Expiration", key.expires.map(|expires| format!("{expires:.0}")).unwrap_or_default()),
    ]
}

fn required<'p>(params: &'p Params, name: &str) -> Result<&'p str, ApiError> {
    params.get(name).filter(|value| !value.is_empty()).ok_or_else(|| ApiError::missing(name))
}

fn invalid(parameter: &str, why: &str) -> ApiError {
    ApiError::new(
        400,
        format!("InvalidParameter.{parameter}"),
        format!("The parameter {parameter} is not valid: {why}."),
    )
}

fn refused(code: &str, message: &str) -> ApiError {
    ApiError::new(401, format!("AuthenticationFail.{code}"), message)
}

/// `DurationSeconds`: 900 to 3,600, the greatest `MaxSessionDuration` of a role that nobody changed.
fn duration(params: &Params) -> Result<Duration, ApiError> {
    match params.get("DurationSeconds").unwrap_or_default() {
        "" => Ok(Duration::from_secs(3600)),
        text => match text.parse() {
            Ok(seconds @ 900..=3600) => Ok(Duration::from_secs(seconds)),
            _ => Err(invalid("DurationSeconds", "expected 900 to 3600")),
        },
    }
}

/// Looks at shape, expiry and audience of an OIDC token.
fn examine(token: &str, now: Timestamp) -> Result<Answer, ApiError> {
    let malformed = || refused("OIDCToken.Invalid", "The OIDC token is not a JWT of 4 to 20,000 characters.");
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
    let expires = expires.ok_or_else(|| refused("OIDCToken.Invalid", "The OIDC token has no claim exp."))?;
    if expires <= now {
        let message = format!("The OIDC token expired at {expires:.0}. Server time is {now:.0}.");
        return Err(refused("OIDCToken.Expired", &message));
    }
    let audience: Vec<&str> = match &claims["aud"] {
        Json::Array(list) => list.iter().filter_map(Json::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    if !audience.contains(&AUDIENCE) {
        let message = format!("The audience of the OIDC token does not contain {AUDIENCE}.");
        return Err(refused("OIDCToken.AudienceNotMatch", &message));
    }
    let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    Ok(Answer::new()
        .with("Subject", text("sub").as_str())
        .with("Issuer", text("iss").as_str())
        .with("ClientIds", audience.join(",").as_str())
        .with("ExpirationTime", format!("{expires:.0}").as_str())
        .with("VerificationInfo", "Success"))
}

#[cfg(test)]
mod tests;
