//! The two operations of the Security Token Service that issue credentials. They are not part of the Live API, so they
//! do not use the budget of an account.

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::super::encode::canonical_query;
use super::super::endpoint::Endpoint;
use super::super::request::{FORM, Method, Placement, RpcRequest, nonce};
use super::http_reply::{self, HttpReply};
use super::{Credentials, Issued, ProviderEnv, ProviderError};

const VERSION: &str = "2015-04-01";

/// The default lifetime in seconds. STS accepts values from 900 to the role's maximum.
const DURATION: u32 = 3600;

/// The default session name, which appears in the STS audit log.
const SESSION_NAME: &str = "live-message-operator";

/// A role to assume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Role {
    pub arn: String,
    pub session_name: Option<String>,
    pub duration_seconds: Option<u32>,
    pub policy: Option<String>,
    pub external_id: Option<String>,
    /// The STS region, if a profile specifies it.
    pub region: Option<String>,
    pub vpc: bool,
}

impl Role {
    fn params(&self) -> Vec<(String, String)> {
        let mut params = vec![
            ("RoleArn".to_owned(), self.arn.clone()),
            ("RoleSessionName".to_owned(), self.session_name.clone().unwrap_or_else(|| SESSION_NAME.to_owned())),
            ("DurationSeconds".to_owned(), self.duration_seconds.unwrap_or(DURATION).to_string()),
        ];
        params.extend(self.policy.clone().map(|policy| ("Policy".to_owned(), policy)));
        params
    }
}

/// Returns the STS endpoint for a role. `ALIBABA_CLOUD_STS_ENDPOINT` takes precedence. If it is not set, the endpoint
/// of the role's region is used. If the role has no region, `ALIBABA_CLOUD_STS_REGION` specifies it. If neither
/// specifies a region, the global endpoint is used. For a region, the VPC endpoint is used if the role or
/// `ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED` requires it.
pub(super) fn endpoint(env: &ProviderEnv, role: &Role) -> Result<Endpoint, ProviderError> {
    let given = env.value("ALIBABA_CLOUD_STS_ENDPOINT");
    let region = role.region.clone().or_else(|| env.value("ALIBABA_CLOUD_STS_REGION"));
    let vpc = role.vpc || env.flag("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED");
    let host = match (given, region) {
        (Some(given), _) => given,
        (None, Some(region)) if vpc => format!("sts-vpc.{region}.aliyuncs.com"),
        (None, Some(region)) => format!("sts.{region}.aliyuncs.com"),
        (None, None) => "sts.aliyuncs.com".to_owned(),
    };
    Endpoint::parse(&host, env.allows_http()).map_err(|error| ProviderError::Failed(format!("STS: {error}")))
}

/// Calls `AssumeRoleWithOIDC`, which is not signed. The token is sent in the body, because proxies log URLs.
pub(super) async fn assume_with_oidc(
    env: &ProviderEnv,
    role: &Role,
    provider_arn: &str,
    token: &SecretString,
) -> Result<Issued, ProviderError> {
    const ACTION: &str = "AssumeRoleWithOIDC";
    let endpoint = endpoint(env, role)?;
    let now = timestamp();
    let query = canonical_query([("Action", ACTION), ("Format", "JSON"), ("Timestamp", &now), ("Version", VERSION)]);
    let mut params = role.params();
    params.push(("OIDCProviderArn".to_owned(), provider_arn.to_owned()));
    params.push(("OIDCToken".to_owned(), token.expose_secret().to_owned()));
    let request = env
        .http_client()?
        .post(endpoint.url(&query))
        .header("content-type", FORM)
        .header("accept", "application/json")
        .body(canonical_query(params));
    outcome(ACTION, http_reply::fetch(request).await)
}

/// Calls `AssumeRole`, signed with the credentials in `source` (signature V3).
pub(super) async fn assume(env: &ProviderEnv, role: &Role, source: &Credentials) -> Result<Issued, ProviderError> {
    const ACTION: &str = "AssumeRole";
    let endpoint = endpoint(env, role)?;
    let mut params = role.params();
    params.extend(role.external_id.clone().map(|id| ("ExternalId".to_owned(), id)));
    let request = RpcRequest {
        action: ACTION.to_owned(),
        version: VERSION.to_owned(),
        method: Method::Post,
        params,
        placement: Placement::Query,
    };
    let signed = request.sign(endpoint.host(), source, &timestamp(), &nonce());
    let mut request = env.http_client()?.post(endpoint.url(&signed.query)).header("accept", "application/json");
    for (name, value) in &signed.headers {
        request = request.header(name, value);
    }
    outcome(ACTION, http_reply::fetch(request).await)
}

fn outcome(action: &str, answer: Result<HttpReply, http_reply::FetchError>) -> Result<Issued, ProviderError> {
    let page = answer.map_err(|error| ProviderError::Failed(format!("{action}: {}", error.why)))?;
    page.nested_credentials().map_err(|why| {
        let hint = page.code().as_deref().and_then(hint).map(|hint| format!(": {hint}")).unwrap_or_default();
        ProviderError::Failed(format!("{action}: {why}{hint}"))
    })
}

/// Explains the most frequent STS errors, which are listed in the public document "STS error codes".
fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "AuthenticationFail.NoPermission" => {
            "the trust policy of the role does not allow this caller to assume the role: correct the policy"
        }
        "AuthenticationFail.OIDCToken.Expired" => "the token has expired: check that the token file is renewed",
        "AuthenticationFail.OIDCToken.AudienceNotMatch" => "the audience of the token must be sts.aliyuncs.com",
        "AuthenticationFail.OIDCToken.InvalidSignature" => {
            "the token was not issued by this OIDC provider: correct the ARN of the provider"
        }
        "EntityNotExist.Role" => "the role does not exist: create it, or correct its ARN",
        _ => return None,
    })
}

fn timestamp() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
