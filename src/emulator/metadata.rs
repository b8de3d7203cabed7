//! The ECS metadata service, as far as the role of an instance needs it.
//!
//! | request | answer |
//! | --- | --- |
//! | `PUT /latest/api/token` | a token (IMDSv2), for `X-aliyun-ecs-metadata-token-ttl-seconds`: 1 to 21600 |
//! | `GET /latest/meta-data/ram/security-credentials/` | the name of the role; 404 without one |
//! | `GET /latest/meta-data/ram/security-credentials/ROLE` | its temporary key, as JSON |
//!
//! That a request without a token is refused with 403 where only IMDSv2 is allowed follows the documents. So does a
//! wrong token here, where they say nothing.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use super::key::{AccessKey, DEFAULT_ACCOUNT, is_account};
use super::request::Request;
use super::sts::fields;

const CREDENTIALS: &str = "/latest/meta-data/ram/security-credentials/";

/// How long the key of a role lives.
pub const LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// Which versions of the service there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Imds {
    /// `any`: with and without a token.
    #[default]
    Any,
    /// `v1`: there are no tokens, asking for one is answered with 404.
    V1,
    /// `v2`: a request without a token is refused with 403.
    V2,
}

impl FromStr for Imds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self::Any),
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err("expected any, v1 or v2".to_owned()),
        }
    }
}

/// The role of the instance: `NAME[@ACCOUNT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcsRole {
    /// Its name.
    pub name: String,
    /// The number of its account.
    pub account: String,
}

impl FromStr for EcsRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, account) = text.split_once('@').unwrap_or((text, DEFAULT_ACCOUNT));
        if name.is_empty() || name.contains('/') || !is_account(account) {
            return Err("expected NAME[@ACCOUNT], the account in digits".to_owned());
        }
        Ok(Self { name: name.to_owned(), account: account.to_owned() })
    }
}

/// The service: its settings, and the tokens it gave out.
#[derive(Debug, Default)]
pub struct Metadata {
    imds: Imds,
    role: Option<EcsRole>,
    tokens: HashMap<String, Timestamp>,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Answered already.
    Text(String),
    /// The key of this role.
    Key(EcsRole),
}

impl Metadata {
    /// Whether a path is one of the service's.
    pub fn owns(path: &str) -> bool {
        path.starts_with("/latest/")
    }

    /// A service for an instance with this role, or without one.
    pub fn new(imds: Imds, role: Option<EcsRole>) -> Self {
        Self { imds, role, tokens: HashMap::new() }
    }

    /// What a request asks for.
    ///
    /// # Errors
    ///
    /// 400 for a bad lifetime of a token, 403 for a token that is missing or not valid, 404 for what is not there.
    pub fn ask(&mut self, request: &Request, now: Timestamp) -> Result<Asked, ApiError> {
        if request.path == "/latest/api/token" && self.imds != Imds::V1 {
            return self.token(request, now).map(Asked::Text);
        }
        let token = request.header("x-aliyun-ecs-metadata-token").filter(|_| self.imds != Imds::V1);
        let valid = |token: &str| self.tokens.get(token).is_some_and(|expires| now < *expires);
        if !token.map_or(self.imds != Imds::V2, valid) {
            return Err(refusal(403, "Forbidden"));
        }
        let role = self.role.as_ref().filter(|_| request.method == "GET").ok_or_else(not_found)?;
        let path = percent_decode_str(&request.path).decode_utf8_lossy();
        let list = *path == *CREDENTIALS.trim_end_matches('/');
        match path.strip_prefix(CREDENTIALS).or(list.then_some("")) {
            Some("") => Ok(Asked::Text(role.name.clone())),
            Some(name) if name == role.name => Ok(Asked::Key(role.clone())),
            _ => Err(not_found()),
        }
    }

    fn token(&mut self, request: &Request, now: Timestamp) -> Result<String, ApiError> {
        if request.method != "PUT" {
            return Err(refusal(405, "MethodNotAllowed"));
        }
        let ttl = request.header("x-aliyun-ecs-metadata-token-ttl-seconds").and_then(|ttl| ttl.parse().ok());
        let ttl = ttl.filter(|ttl| (1..=21_600).contains(ttl)).ok_or_else(|| refusal(400, "BadRequest"))?;
        let token: String = (0..40).map(|_| fastrand::alphanumeric()).collect();
        let expires = now.checked_add(SignedDuration::from_secs(ttl)).unwrap_or(Timestamp::MAX);
        self.tokens.retain(|_, expires| now < *expires);
        self.tokens.insert(token.clone(), expires);
        Ok(token)
    }
}

/// The key of a role as the service and a credentials URI show it.
pub(super) fn key_json(key: &AccessKey, now: Timestamp) -> serde_json::Value {
    let mut json: serde_json::Map<String, serde_json::Value> =
        fields(key).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json.insert("LastUpdated".to_owned(), format!("{now:.0}").into());
    json.insert("Code".to_owned(), "Success".into());
    json.into()
}

fn refusal(status: u16, code: &'static str) -> ApiError {
    ApiError::new(status, code, "Refused by the metadata service.")
}

fn not_found() -> ApiError {
    refusal(404, "NotFound")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(service: &mut Metadata, method: &str, path: &str, header: Option<(&str, &str)>) -> Result<Asked, u16> {
        let headers = header.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = Request::new(method, path, headers, Vec::new()).unwrap();
        service.ask(&request, Timestamp::UNIX_EPOCH).map_err(|error| error.status)
    }

    fn service(imds: Imds) -> Metadata {
        Metadata::new(imds, Some("operator@42".parse().unwrap()))
    }

    #[test]
    fn a_role_is_listed_and_only_that_one_has_a_key() {
        let mut service = service(Imds::Any);
        let mut get = |path: &str| ask(&mut service, "GET", path, None);
        assert_eq!(get(CREDENTIALS), Ok(Asked::Text("operator".to_owned())));
        let role = EcsRole { name: "operator".to_owned(), account: "42".to_owned() };
        assert_eq!(get(&format!("{CREDENTIALS}operator")), Ok(Asked::Key(role)));
        assert_eq!(get(&format!("{CREDENTIALS}other")), Err(404));
        assert_eq!(get("/latest/meta-data/instance-id"), Err(404));
        assert_eq!(ask(&mut Metadata::default(), "GET", CREDENTIALS, None), Err(404));
    }

    #[test]
    fn tokens_are_needed_or_unknown_as_the_version_says() {
        let ttl = Some(("X-aliyun-ecs-metadata-token-ttl-seconds", "60"));
        let mut v1 = service(Imds::V1);
        assert_eq!(ask(&mut v1, "PUT", "/latest/api/token", ttl), Err(404));
        assert!(ask(&mut v1, "GET", CREDENTIALS, None).is_ok());
        for imds in [Imds::Any, Imds::V2] {
            let mut service = service(imds);
            assert_eq!(ask(&mut service, "GET", CREDENTIALS, None).is_ok(), imds == Imds::Any);
            let Ok(Asked::Text(token)) = ask(&mut service, "PUT", "/latest/api/token", ttl) else { panic!() };
            fn with(token: &str) -> Option<(&str, &str)> {
                Some(("X-aliyun-ecs-metadata-token", token))
            }
            assert!(ask(&mut service, "GET", CREDENTIALS, with(token.as_str())).is_ok());
            assert_eq!(ask(&mut service, "GET", CREDENTIALS, with("other")), Err(403));
            let late = Request::new(
                "GET",
                CREDENTIALS,
                with(token.as_str()).map(|(n, v)| (n.to_owned(), v.to_owned())),
                Vec::new(),
            );
            let minute = Timestamp::from_second(60).unwrap();
            assert_eq!(service.ask(&late.unwrap(), minute).unwrap_err().status, 403);
        }
        let mut any = service(Imds::Any);
        assert_eq!(ask(&mut any, "PUT", "/latest/api/token", None), Err(400));
        assert_eq!(ask(&mut any, "GET", "/latest/api/token", ttl), Err(405));
    }
}
