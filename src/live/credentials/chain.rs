//! Providers in an order, tried until one gives credentials.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::environment::Environment;
use super::ini::IniFile;
use super::metadata::Metadata;
use super::oidc::Oidc;
use super::profile::Profiles;
use super::uri::CredentialsUri;
use super::{CredentialsError, Issued, Provider, ProviderEnv, ProviderError};

const NONE: usize = usize::MAX;

/// Providers in the order they are tried. The one that gave credentials is kept: from then on the others are asked only
/// when nobody asks for it any more.
#[derive(Debug)]
pub struct Chain {
    providers: Vec<Box<dyn Provider>>,
    kept: AtomicUsize,
}

impl Chain {
    /// The order of the official SDKs: environment, OIDC, profile of the command line, credentials file, ECS RAM role,
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

    /// Any providers, in this order.
    pub fn of(providers: Vec<Box<dyn Provider>>) -> Self {
        Self { providers, kept: AtomicUsize::new(NONE) }
    }

    /// Credentials, and the name of the provider that gave them.
    ///
    /// # Errors
    /// Every provider that was tried, and why it gave nothing.
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

/// Asks a provider. What it gives is refused where no request could carry it: every call would fail, and look like a
/// connection in trouble.
async fn issue(provider: &dyn Provider) -> Result<Issued, ProviderError> {
    let issued = provider.issue().await?;
    issued.credentials.validate().map_err(ProviderError::Failed)?;
    Ok(issued)
}
