//! Obtains the credentials of an ECS instance's RAM role from the metadata service. Versions 1 and 2 of the service are
//! supported. Version 2 requires a session token.

use futures::future::BoxFuture;

use super::super::encode::percent_encode;
use super::http_reply::{self, HttpReply};
use super::{Issued, Provider, ProviderEnv, ProviderError};

const ROLE: &str = "ALIBABA_CLOUD_ECS_METADATA";
const DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
const V1_DISABLED: &str = "ALIBABA_CLOUD_IMDSV1_DISABLED";

const CREDENTIALS: &str = "/latest/meta-data/ram/security-credentials/";

/// The requested lifetime of a session token, in seconds.
const TOKEN_TTL: &str = "21600";

/// Uses the RAM role of this instance. The name of the role is read from `ALIBABA_CLOUD_ECS_METADATA` if it is set, and
/// otherwise from the metadata service.
#[derive(Debug)]
pub(super) struct Metadata(pub ProviderEnv);

impl Provider for Metadata {
    fn name(&self) -> &'static str {
        "ECS RAM role"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        Box::pin(async {
            if self.0.flag(DISABLED) {
                return Err(ProviderError::NotConfigured(format!("{DISABLED} is true")));
            }
            let role = self.0.value(ROLE);
            let result = of_instance(&self.0, role.as_deref()).await;
            if role.is_some() { result.map_err(ProviderError::into_failed) } else { result }
        })
    }
}

/// Requests the credentials of `role`, or of the instance's only role, from the metadata service.
pub(super) async fn of_instance(env: &ProviderEnv, role: Option<&str>) -> Result<Issued, ProviderError> {
    let service = Service { http: env.metadata()?, env };
    let token = service.session_token().await?;
    let role = match role {
        Some(role) => role.to_owned(),
        None => {
            let page = service.get(CREDENTIALS, token.as_deref()).await?;
            match String::from_utf8_lossy(&page.body).lines().next().map(str::trim) {
                Some(role) if page.is_success() && !role.is_empty() => role.to_owned(),
                _ if page.is_success() || page.status == 404 => {
                    return Err(ProviderError::not_configured("the ECS instance has no RAM role"));
                }
                _ => return Err(ProviderError::Failed(format!("cannot list the RAM roles: HTTP {}", page.status))),
            }
        }
    };
    let page = service.get(&format!("{CREDENTIALS}{}", percent_encode(&role)), token.as_deref()).await?;
    if page.status == 404 {
        return Err(ProviderError::Failed(format!("the ECS instance has no RAM role {role:?}")));
    }
    page.credentials().map_err(|why| ProviderError::Failed(format!("role {role:?}: {why}")))
}

struct Service<'a> {
    http: reqwest::Client,
    env: &'a ProviderEnv,
}

impl Service<'_> {
    /// Returns the session token for version 2, or `None` if version 1 must be used.
    async fn session_token(&self) -> Result<Option<String>, ProviderError> {
        let request = self
            .http
            .put(self.env.metadata_url("/latest/api/token"))
            .header("X-aliyun-ecs-metadata-token-ttl-seconds", TOKEN_TTL);
        let why = match http_reply::fetch(request).await {
            Ok(page) if page.status == 200 => {
                let token = String::from_utf8_lossy(&page.body).trim().to_owned();
                if !token.is_empty() {
                    return Ok(Some(token));
                }
                "the metadata service returned an empty session token".to_owned()
            }
            Ok(page) => format!("the metadata service returned no session token: HTTP {}", page.status),
            Err(error) if error.unreachable => return Err(unreachable()),
            Err(error) => format!("the metadata service returned no session token: {}", error.why),
        };
        if self.env.flag(V1_DISABLED) {
            return Err(ProviderError::Failed(format!(
                "{why}, and {V1_DISABLED} is true, so version 1 of the service (without a token) is not used"
            )));
        }
        Ok(None)
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Result<HttpReply, ProviderError> {
        let mut request = self.http.get(self.env.metadata_url(path));
        if let Some(token) = token {
            request = request.header("X-aliyun-ecs-metadata-token", token);
        }
        http_reply::fetch(request).await.map_err(|error| {
            if error.unreachable {
                unreachable()
            } else {
                ProviderError::Failed(format!("metadata service: {}", error.why))
            }
        })
    }
}

fn unreachable() -> ProviderError {
    ProviderError::not_configured(
        "the metadata service cannot be reached: the operator is not running on an ECS instance, or a network \
         policy blocks 100.100.100.200",
    )
}
