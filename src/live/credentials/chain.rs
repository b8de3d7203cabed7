//! The provider chain: providers are tried in order until one returns credentials.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::environment::Environment;
use super::ini::IniFile;
use super::metadata::Metadata;
use super::oidc::Oidc;
use super::profile::Profiles;
use super::uri::CredentialsUri;
use super::{CredentialsError, Issued, Provider, ProviderEnv, ProviderError};

const NONE: usize = usize::MAX;

/// Credential providers in the order in which they are tried. The chain keeps using the first provider that returned
/// credentials. It tries the providers in order again only when that provider is no longer configured.
#[derive(Debug)]
pub struct Chain {
    providers: Vec<Box<dyn Provider>>,
    kept: AtomicUsize,
}

impl Chain {
    /// Creates the chain of the official SDKs: environment, OIDC, command-line profile, credentials file, ECS RAM role,
    /// credentials URI.
    pub fn default_chain(env: &ProviderEnv) -> Self {
        let around = || env.clone();
        Self::of(vec![
            Box::new(Environment(around())),
            Box::new(Oidc(around())),
            Box::new(Profiles(around())),
            Box::new(IniFile(around())),
            Box::new(Metadata(around())),
            Box::new(CredentialsUri(around())),
        ])
    }

    /// Creates a chain of the given providers.
    pub fn of(providers: Vec<Box<dyn Provider>>) -> Self {
        Self { providers, kept: AtomicUsize::new(NONE) }
    }

    /// Requests credentials. Also returns the name of the provider that issued them.
    ///
    /// # Errors
    /// Returns an error that lists the tried providers and their errors.
    pub async fn issue(&self) -> Result<(Issued, &'static str), CredentialsError> {
        if let Some(kept) = self.providers.get(self.kept.load(Ordering::Relaxed)) {
            match issue(kept.as_ref()).await {
                Ok(issued) => return Ok((issued, kept.name())),
                Err(why @ ProviderError::Failed(_)) => return Err(CredentialsError::of(vec![(kept.name(), why)])),
                Err(ProviderError::NotConfigured(_)) => self.kept.store(NONE, Ordering::Relaxed),
            }
        }
        let mut tried = Vec::new();
        for (at, provider) in self.providers.iter().enumerate() {
            match issue(provider.as_ref()).await {
                Ok(issued) => {
                    self.kept.store(at, Ordering::Relaxed);
                    return Ok((issued, provider.name()));
                }
                Err(why) => {
                    let failed = matches!(why, ProviderError::Failed(_));
                    tried.push((provider.name(), why));
                    if failed {
                        break;
                    }
                }
            }
        }
        Err(CredentialsError::of(tried))
    }
}

/// Requests credentials from a provider. Returns an error if the credentials cannot be sent in HTTP headers. Without
/// this check, every call with these credentials would fail, and the error would look like a broken connection.
async fn issue(provider: &dyn Provider) -> Result<Issued, ProviderError> {
    let issued = provider.issue().await?;
    issued.credentials.validate().map_err(ProviderError::Failed)?;
    Ok(issued)
}
