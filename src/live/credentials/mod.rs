//! Credentials: the official chain of providers, and the store that keeps and renews the issued credentials.

mod chain;
mod environment;
mod http_reply;
mod ini;
mod lease;
mod metadata;
mod oidc;
mod profile;
mod profile_source;
mod provider;
mod store;
mod sts;
mod uri;

use std::fmt;
use std::sync::Arc;

use super::access_key::Credentials;

pub use chain::Chain;
pub use oidc::{AssumedRole, ROLE_ARN, TokenSource};
pub use provider::{Issued, Provider, ProviderEnv, ProviderError};
pub use store::{CredentialSource, CredentialState};

/// The error that reports missing credentials. It lists the providers that were tried, in order, and is cheap to clone.
/// Its text is shown in conditions. Therefore, the text contains no secrets and does not change when another attempt
/// fails for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsError {
    tried: Arc<[(&'static str, ProviderError)]>,
}

impl CredentialsError {
    fn of(tried: Vec<(&'static str, ProviderError)>) -> Self {
        Self { tried: tried.into() }
    }

    fn panicked() -> Self {
        Self::of(vec![("the provider chain", ProviderError::failed("a provider panicked: report this bug"))])
    }

    /// Returns the providers that were tried, in order, with their errors.
    pub fn tried(&self) -> &[(&'static str, ProviderError)] {
        &self.tried
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.tried.iter().find(|(_, why)| matches!(why, ProviderError::Failed(_)));
        if let Some((provider, ProviderError::Failed(why))) = failed {
            write!(f, "no credentials from {provider}: {why}")?;
        } else {
            f.write_str("no credentials are configured")?;
        }
        let mut separator = "; not configured: ";
        for (provider, why) in self.tried.iter() {
            if let ProviderError::NotConfigured(why) = why {
                write!(f, "{separator}{provider} ({why})")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

impl std::error::Error for CredentialsError {}

#[cfg(test)]
mod tests;
