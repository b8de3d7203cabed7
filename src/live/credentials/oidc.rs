//! RRSA: exchanges a ServiceAccount token at STS for the credentials of a RAM role. The token is projected into a file
//! in the pod, or comes from a [`TokenSource`].

use std::fmt;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};

use super::provider::read_text;
use super::sts::{self, Role};
use super::{Issued, Provider, ProviderEnv, ProviderError};

/// The environment variable that contains the ARN of the role to assume.
pub const ROLE_ARN: &str = "ALIBABA_CLOUD_ROLE_ARN";
const PROVIDER: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
const TOKEN_FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";
const SESSION_NAME: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";

/// The token lengths that STS accepts, in characters.
const TOKEN_LENGTH: std::ops::RangeInclusive<usize> = 4..=20_000;

/// Uses the variables that the ACK webhook sets: the ARN of the role, the ARN of the OIDC provider and the path of the
/// token file. The provider is configured only if all three are set.
#[derive(Debug)]
pub(super) struct Oidc(pub ProviderEnv);

impl Provider for Oidc {
    fn name(&self) -> &'static str {
        "OIDC (RRSA)"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        Box::pin(async {
            let needed = |name: &str| {
                self.0.value(name).ok_or_else(|| ProviderError::NotConfigured(format!("{name} is not set")))
            };
            let role = Role { arn: needed(ROLE_ARN)?, session_name: self.0.value(SESSION_NAME), ..Role::default() };
            let (provider_arn, token_file) = (needed(PROVIDER)?, PathBuf::from(needed(TOKEN_FILE)?));
            exchange(&self.0, &role, &provider_arn, &token_file).await
        })
    }
}

/// A source of tokens that an OIDC provider issues.
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// Requests a new token.
    fn token(&self) -> BoxFuture<'_, Result<SecretString, ProviderError>>;
}

/// Assumes a role with tokens from a [`TokenSource`].
#[derive(Debug)]
pub struct AssumedRole {
    env: ProviderEnv,
    role: Role,
    provider_arn: String,
    tokens: Box<dyn TokenSource>,
}

impl AssumedRole {
    /// Creates a provider for a role. `provider_arn` is the ARN of the RAM OIDC provider for the token issuer.
    pub fn new(env: &ProviderEnv, role_arn: &str, provider_arn: &str, tokens: impl TokenSource + 'static) -> Self {
        let role = Role { arn: role_arn.to_owned(), ..Role::default() };
        Self { env: env.clone(), role, provider_arn: provider_arn.to_owned(), tokens: Box::new(tokens) }
    }
}

impl Provider for AssumedRole {
    fn name(&self) -> &'static str {
        "OIDC"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>> {
        Box::pin(async {
            let token = self.tokens.token().await?;
            if !TOKEN_LENGTH.contains(&token.expose_secret().chars().count()) {
                return Err(ProviderError::failed(
                    "the length of the token is invalid: STS accepts 4 to 20,000 characters",
                ));
            }
            sts::assume_with_oidc(&self.env, &self.role, &self.provider_arn, &token).await
        })
    }
}

/// Reads the token file and exchanges the token for credentials. The file is rotated, so it is read every time.
pub(super) async fn exchange(
    env: &ProviderEnv,
    role: &Role,
    provider_arn: &str,
    token_file: &Path,
) -> Result<Issued, ProviderError> {
    let shown = token_file.display();
    let text =
        read_text(token_file)?.ok_or_else(|| ProviderError::Failed(format!("token file {shown} does not exist")))?;
    let token = text.trim();
    if !TOKEN_LENGTH.contains(&token.chars().count()) {
        return Err(ProviderError::Failed(format!("token file {shown} contains no token of 4 to 20,000 characters")));
    }
    sts::assume_with_oidc(env, role, provider_arn, &SecretString::from(token)).await
}
