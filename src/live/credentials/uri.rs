//! Requests credentials from a URI. The server is, for example, a sidecar or the `aliyun` command line.

use futures::future::BoxFuture;

use super::{Issued, Provider, ProviderEnv, ProviderError, http_reply};

const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// Reads `ALIBABA_CLOUD_CREDENTIALS_URI`. The URI can contain a key, so it is never shown.
#[derive(Debug)]
pub(super) struct CredentialsUri(pub ProviderEnv);

impl Provider for CredentialsUri {
    fn name(&self) -> &'static str {
        "credentials URI"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        Box::pin(async {
            let uri = self.0.value(URI).ok_or_else(|| ProviderError::NotConfigured(format!("{URI} is not set")))?;
            let url = reqwest::Url::parse(&uri).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let url = url.ok_or_else(|| ProviderError::Failed(format!("{URI} is not an http or https URL")))?;
            let here = matches!(url.host_str(), Some("localhost" | "[::1]"))
                || url.host_str().is_some_and(|host| host.starts_with("127."));
            let client = if here { self.0.direct_client()? } else { self.0.http_client()? };
            let page = http_reply::fetch(client.get(url)).await.map_err(|error| ProviderError::Failed(error.why))?;
            page.credentials().map_err(ProviderError::Failed)
        })
    }
}
