//! Credentials and where they come from: the official chain of providers, and the store that keeps what they give.

mod answer;
mod chain;
mod environment;
mod ini;
mod lease;
mod metadata;
mod oidc;
mod profile;
mod provider;
mod recipe;
mod store;
mod sts;
mod uri;

use std::fmt;
use std::sync::Arc;

use super::access_key::Credentials;

pub use chain::Chain;
pub use oidc::{AssumedRole, ROLE_ARN, TokenSource};
pub use provider::{Issued, Provider, Refusal, Surroundings};
pub use store::{CredentialSource, Held};

/// Why there are no credentials: what was tried, in order. Cheap to clone; shown in conditions, so it holds no secret and
/// is the same at every try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsError {
    tried: Arc<[(&'static str, Refusal)]>,
}

impl CredentialsError {
    fn of(tried: Vec<(&'static str, Refusal)>) -> Self {
        Self { tried: tried.into() }
    }

    fn panicked() -> Self {
        Self::of(vec![("credentials", Refusal::failed("a provider panicked: this is a defect, please report it"))])
    }

    /// Every provider that was tried, in order, and why it gave nothing.
    pub fn tried(&self) -> &[(&'static str, Refusal)] {
        &self.tried
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.tried.iter().find(|(_, why)| matches!(why, Refusal::Failed(_)));
        if let Some((provider, Refusal::Failed(why))) = failed {
            write!(f, "no credentials from {provider}: {why}")?;
        } else {
            f.write_str("no credentials are configured")?;
        }
        let mut separator = "; not configured: ";
        for (provider, why) in self.tried.iter() {
            if let Refusal::NotConfigured(why) = why {
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
