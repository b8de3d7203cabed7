//! The part of the ECS metadata service that issues keys for the instance's RAM role.
//!
//! | request | response |
//! | --- | --- |
//! | `PUT /latest/api/token` | a token (IMDSv2), valid for `X-aliyun-ecs-metadata-token-ttl-seconds`: 1 to 21600 |
//! | `GET /latest/meta-data/ram/security-credentials/` | the name of the role; 404 if the instance has no role |
//! | `GET /latest/meta-data/ram/security-credentials/ROLE` | a temporary key of the role, as JSON |
//!
//! If only IMDSv2 is enabled, a request without a token gets 403, as documented. A request with an invalid token also
//! gets 403, which is an assumption.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use super::key::{AccessKey, DEFAULT_ACCOUNT, is_account};
use super::request::Request;
use super::sts::credential_fields;

const CREDENTIALS: &str = "/latest/meta-data/ram/security-credentials/";

/// The lifetime of a role's key. [`Config::longest_session`](super::Config::longest_session) can shorten it.
pub const ROLE_KEY_LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// The enabled versions of the metadata service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Imds {
    /// `any`: IMDSv1 and IMDSv2; a token is optional.
    #[default]
    Any,
    /// `v1`: IMDSv1 only; a request for a token gets 404.
    V1,
    /// `v2`: IMDSv2 only; a request without a token gets 403.
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

/// The RAM role of the instance: `NAME[@ACCOUNT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcsRole {
    /// The role's name, the last segment of the credentials path.
    pub name: String,
    /// The ID of the account that owns the role.
    pub account: String,
}

impl FromStr for EcsRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, account) = text.split_once('@').unwrap_or((text, DEFAULT_ACCOUNT));
        if name.is_empty() || name.contains('/') || !is_account(account) {
            return Err("expected NAME[@ACCOUNT], where ACCOUNT is an account ID (digits)".to_owned());
        }
        Ok(Self { name: name.to_owned(), account: account.to_owned() })
    }
}

/// The settings of the service and the tokens that it issued.
#[derive(Debug, Default)]
pub struct MetadataService {
    imds: Imds,
    role: Option<EcsRole>,
    tokens: HashMap<String, Timestamp>,
}

/// The reply to a valid request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataReply {
    /// The response body.
    Text(String),
    /// The caller must respond with a key of this role.
    Key(EcsRole),
}

impl MetadataService {
    /// Whether the path belongs to the metadata service.
    pub fn serves(path: &str) -> bool {
        path.starts_with("/latest/")
    }

    /// Creates the metadata service of an instance. `role` is the RAM role of the instance, if the instance has one.
    pub fn new(imds: Imds, role: Option<EcsRole>) -> Self {
        Self { imds, role, tokens: HashMap::new() }
    }

    /// Handles one request.
    ///
    /// # Errors
    ///
    /// Returns 400 for an invalid token lifetime, 403 for a missing or invalid token, 404 for an unknown path or role,
    /// and 405 for a token request with a method other than PUT.
    pub fn handle(&mut self, request: &Request, now: Timestamp) -> Result<MetadataReply, ApiError> {
        if request.path == "/latest/api/token" && self.imds != Imds::V1 {
            return self.issue_token(request, now).map(MetadataReply::Text);
        }
        let token = request.header("x-aliyun-ecs-metadata-token").filter(|_| self.imds != Imds::V1);
        let valid = |token: &str| self.tokens.get(token).is_some_and(|expires| now < *expires);
        if !token.map_or(self.imds != Imds::V2, valid) {
            return Err(rejected(403, "Forbidden"));
        }
        let role = self.role.as_ref().filter(|_| request.method == "GET").ok_or_else(not_found)?;
        let path = percent_decode_str(&request.path).decode_utf8_lossy();
        let list = *path == *CREDENTIALS.trim_end_matches('/');
        match path.strip_prefix(CREDENTIALS).or(list.then_some("")) {
            Some("") => Ok(MetadataReply::Text(role.name.clone())),
            Some(name) if name == role.name => Ok(MetadataReply::Key(role.clone())),
            _ => Err(not_found()),
        }
    }

    fn issue_token(&mut self, request: &Request, now: Timestamp) -> Result<String, ApiError> {
        if request.method != "PUT" {
            return Err(rejected(405, "MethodNotAllowed"));
        }
        let ttl = request.header("x-aliyun-ecs-metadata-token-ttl-seconds").and_then(|ttl| ttl.parse().ok());
        let ttl = ttl.filter(|ttl| (1..=21_600).contains(ttl)).ok_or_else(|| rejected(400, "BadRequest"))?;
        let token: String = (0..40).map(|_| fastrand::alphanumeric()).collect();
        let expires = now.checked_add(SignedDuration::from_secs(ttl)).unwrap_or(Timestamp::MAX);
        self.tokens.retain(|_, expires| now < *expires);
        self.tokens.insert(token.clone(), expires);
        Ok(token)
    }
}

/// Encodes a temporary key as the JSON object that the metadata service and a credentials URI return.
pub(super) fn credentials_json(key: &AccessKey, now: Timestamp) -> serde_json::Value {
    let mut json: serde_json::Map<String, serde_json::Value> =
        credential_fields(key).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json.insert("LastUpdated".to_owned(), format!("{now:.0}").into());
    json.insert("Code".to_owned(), "Success".into());
    json.into()
}

fn rejected(status: u16, code: &'static str) -> ApiError {
    ApiError::new(status, code, "Refused by the metadata service.")
}

fn not_found() -> ApiError {
    rejected(404, "NotFound")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(
        service: &mut MetadataService,
        method: &str,
        path: &str,
        header: Option<(&str, &str)>,
    ) -> Result<MetadataReply, u16> {
        let headers = header.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = Request::new(method, path, headers, Vec::new()).unwrap();
        service.handle(&request, Timestamp::UNIX_EPOCH).map_err(|error| error.status)
    }

    fn service(imds: Imds) -> MetadataService {
        MetadataService::new(imds, Some("operator@42".parse().unwrap()))
    }

    #[test]
    fn only_the_configured_role_is_listed_and_has_a_key() {
        let mut service = service(Imds::Any);
        let mut get = |path: &str| request(&mut service, "GET", path, None);
        assert_eq!(get(CREDENTIALS), Ok(MetadataReply::Text("operator".to_owned())));
        let role = EcsRole { name: "operator".to_owned(), account: "42".to_owned() };
        assert_eq!(get(&format!("{CREDENTIALS}operator")), Ok(MetadataReply::Key(role)));
        assert_eq!(get(&format!("{CREDENTIALS}other")), Err(404));
        assert_eq!(get("/latest/meta-data/instance-id"), Err(404));
        assert_eq!(request(&mut MetadataService::default(), "GET", CREDENTIALS, None), Err(404));
    }

    #[test]
    fn imds_version_decides_whether_tokens_are_required() {
        let ttl = Some(("X-aliyun-ecs-metadata-token-ttl-seconds", "60"));
        let mut v1 = service(Imds::V1);
        assert_eq!(request(&mut v1, "PUT", "/latest/api/token", ttl), Err(404));
        assert!(request(&mut v1, "GET", CREDENTIALS, None).is_ok());
        for imds in [Imds::Any, Imds::V2] {
            let mut service = service(imds);
            assert_eq!(request(&mut service, "GET", CREDENTIALS, None).is_ok(), imds == Imds::Any);
            let Ok(MetadataReply::Text(token)) = request(&mut service, "PUT", "/latest/api/token", ttl) else {
                panic!()
            };
            fn with(token: &str) -> Option<(&str, &str)> {
                Some(("X-aliyun-ecs-metadata-token", token))
            }
            assert!(request(&mut service, "GET", CREDENTIALS, with(token.as_str())).is_ok());
            assert_eq!(request(&mut service, "GET", CREDENTIALS, with("other")), Err(403));
            let late = Request::new(
                "GET",
                CREDENTIALS,
                with(token.as_str()).map(|(n, v)| (n.to_owned(), v.to_owned())),
                Vec::new(),
            );
            let minute = Timestamp::from_second(60).unwrap();
            assert_eq!(service.handle(&late.unwrap(), minute).unwrap_err().status, 403);
        }
        let mut any = service(Imds::Any);
        assert_eq!(request(&mut any, "PUT", "/latest/api/token", None), Err(400));
        assert_eq!(request(&mut any, "GET", "/latest/api/token", ttl), Err(405));
    }
}
