//! Reads credentials from the environment variables that the official SDKs use.

use futures::future::BoxFuture;

use super::{Credentials, Issued, Provider, ProviderEnv, ProviderError};

const ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

/// Reads `ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET` and, for a temporary key,
/// `ALIBABA_CLOUD_SECURITY_TOKEN`.
#[derive(Debug)]
pub(super) struct Environment(pub ProviderEnv);

impl Provider for Environment {
    fn name(&self) -> &'static str {
        "environment"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        Box::pin(std::future::ready(read(&self.0)))
    }
}

fn read(env: &ProviderEnv) -> Result<Issued, ProviderError> {
    let token = env.value(TOKEN);
    match (env.value(ID), env.value(SECRET)) {
        (Some(id), Some(secret)) => Ok(Issued::non_expiring(Credentials::new(&id, &secret, token.as_deref()))),
        (None, None) => Err(ProviderError::NotConfigured(format!("{ID} and {SECRET} are not set"))),
        (None, Some(_)) => Err(ProviderError::Failed(format!("{SECRET} is set, but {ID} is not"))),
        (Some(_), None) => Err(ProviderError::Failed(format!("{ID} is set, but {SECRET} is not"))),
    }
}
