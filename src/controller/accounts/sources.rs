//! Credentials from the cluster: a Secret or a ServiceAccount token. Both are read by name, and only in the namespace
//! of the LiveAccount.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Client;
use kube::api::{Api, PostParams};
use secrecy::SecretString;

use crate::controller::api::API_TIMEOUT;
use crate::live::Credentials;
use crate::live::credentials::{Issued, Provider, ProviderError, TokenSource};

/// The time after which a Secret is read again, because its access key may have been rotated.
const REFRESH_AFTER: Duration = Duration::from_secs(120);

/// The audience of the ServiceAccount tokens that are sent to STS.
const AUDIENCE: &str = "sts.aliyuncs.com";

/// The lifetime of tokens in seconds. The minimum that the apiserver accepts is long enough, because each token is used
/// only once, immediately after it is issued.
const TOKEN_SECONDS: i64 = 600;

/// A reference to a namespaced object.
struct ObjectRef {
    client: Client,
    namespace: String,
    name: String,
}

/// Reads an access key from a Secret.
#[derive(Debug)]
pub struct SecretKey(ObjectRef);

/// Requests tokens for a ServiceAccount.
#[derive(Debug)]
pub struct ServiceAccountToken(ObjectRef);

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl ObjectRef {
    fn new(client: &Client, namespace: &str, name: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Returns the name if it is valid. The name becomes part of a URL path, so a name with a character such as `/` is
    /// rejected, even if admission accepted it.
    fn checked(&self) -> Result<&str, ProviderError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        let fits = self.name.bytes().all(plain) && self.name.starts_with(|c: char| c.is_ascii_alphanumeric());
        fits.then_some(self.name.as_str())
            .ok_or_else(|| ProviderError::Failed("the name in spec.credentials is not a valid object name".to_owned()))
    }
}

impl SecretKey {
    pub fn new(client: &Client, namespace: &str, name: &str) -> Self {
        Self(ObjectRef::new(client, namespace, name))
    }
}

impl Provider for SecretKey {
    fn name(&self) -> &'static str {
        "Secret"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        Box::pin(async {
            let name = self.0.checked()?;
            let api: Api<Secret> = Api::namespaced(self.0.client.clone(), &self.0.namespace);
            let what = format!("Secret {name}");
            let found = with_timeout(&format!("cannot read {what}"), "rbac.secrets", api.get_opt(name)).await?;
            let secret = found.ok_or_else(|| missing(&what))?;
            let credentials = read_key(&what, secret)?;
            Ok(Issued::refreshable(credentials, REFRESH_AFTER))
        })
    }
}

fn read_key(what: &str, mut secret: Secret) -> Result<Credentials, ProviderError> {
    let mut data = secret.data.take().unwrap_or_default();
    let mut value = |key: &str| -> Result<Option<SecretString>, ProviderError> {
        let Some(bytes) = data.remove(key) else { return Ok(None) };
        let text = String::from_utf8(bytes.0);
        let text =
            text.map_err(|_| ProviderError::NotConfigured(format!("{what}: the value of {key} is not UTF-8")))?;
        Ok((!text.trim().is_empty()).then(|| SecretString::from(text)))
    };
    let (id, key, token) = (value("accessKeyId")?, value("accessKeySecret")?, value("securityToken")?);
    let needed = |value: Option<SecretString>, key: &str| {
        value.ok_or_else(|| ProviderError::NotConfigured(format!("{what} has no value for {key}")))
    };
    let (id, key) = (needed(id, "accessKeyId")?, needed(key, "accessKeySecret")?);
    let credentials = Credentials::of_secrets(&id, &key, token.as_ref());
    // An invalid Secret is an error. The previous key is not used instead.
    credentials.validate().map_err(|why| ProviderError::NotConfigured(format!("{what}: {why}")))?;
    Ok(credentials)
}

impl ServiceAccountToken {
    pub fn new(client: &Client, namespace: &str, name: &str) -> Self {
        Self(ObjectRef::new(client, namespace, name))
    }
}

impl TokenSource for ServiceAccountToken {
    fn token(&self) -> BoxFuture<'_, Result<SecretString, ProviderError>> {
        Box::pin(async {
            let name = self.0.checked()?;
            let api: Api<ServiceAccount> = Api::namespaced(self.0.client.clone(), &self.0.namespace);
            let request = TokenRequest {
                spec: TokenRequestSpec {
                    audiences: vec![AUDIENCE.to_owned()],
                    expiration_seconds: Some(TOKEN_SECONDS),
                    ..TokenRequestSpec::default()
                },
                ..TokenRequest::default()
            };
            let what = format!("cannot request a token for ServiceAccount {name}");
            let params = PostParams::default();
            let asking = async {
                match api.create_token_request(name, &params, &request).await {
                    Ok(answer) => Ok(Some(answer)),
                    Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
                    Err(error) => Err(error),
                }
            };
            let answer = with_timeout(&what, "rbac.serviceAccountTokens", asking).await?;
            let status = answer.ok_or_else(|| missing(&format!("ServiceAccount {name}")))?.status;
            let token = status.map(|status| SecretString::from(status.token));
            token.ok_or_else(|| ProviderError::Failed(format!("{what}: the response of the apiserver has no token")))
        })
    }
}

fn missing(what: &str) -> ProviderError {
    ProviderError::NotConfigured(format!("{what} does not exist in this namespace: create it"))
}

/// Applies a timeout to a request. Errors appear in conditions, so their text must be the same on every attempt. The
/// text starts with `failure`. `permission` is the chart value that grants permission for the request.
async fn with_timeout<T>(
    failure: &str,
    permission: &str,
    call: impl Future<Output = kube::Result<Option<T>>>,
) -> Result<Option<T>, ProviderError> {
    let failed = |why: &str| ProviderError::Failed(format!("{failure}: {why}"));
    match tokio::time::timeout(API_TIMEOUT, call).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => Err(failed(&format!(
            "the operator lacks the permission: set {permission} to namespaced or cluster in the chart's values"
        ))),
        Ok(Err(kube::Error::Api(status))) => Err(failed(&format!("the apiserver responded with HTTP {}", status.code))),
        Ok(Err(_)) => Err(failed("the apiserver cannot be reached")),
        Err(_) => Err(failed("the apiserver did not respond in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn secret(values: &[(&str, &[u8])]) -> Secret {
        let data = values.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    #[test]
    fn incomplete_secret_reports_the_missing_value() {
        let whole = secret(&[("accessKeyId", b"LTAI\n"), ("accessKeySecret", b"hush"), ("securityToken", b"")]);
        assert_eq!(read_key("Secret a", whole).unwrap().access_key_id(), "LTAI");
        for (values, says) in [
            (secret(&[("accessKeyId", b"LTAI")]), "Secret a has no value for accessKeySecret"),
            (secret(&[("accessKeyId", b" "), ("accessKeySecret", b"hush")]), "Secret a has no value for accessKeyId"),
            (secret(&[("accessKeyId", b"\xff"), ("accessKeySecret", b"hush")]), "accessKeyId is not UTF-8"),
            (
                secret(&[("accessKeyId", b"LTAI\nLTAI"), ("accessKeySecret", b"hush")]),
                "Secret a: the access key ID contains",
            ),
            (Secret::default(), "has no value for accessKeyId"),
        ] {
            let Err(ProviderError::NotConfigured(why)) = read_key("Secret a", values) else { panic!("{says}") };
            assert!(why.contains(says) && !why.contains("hush"), "{why}");
        }
    }
}
