//! How a profile of a file says credentials are made.

use std::fmt;
use std::path::PathBuf;

use futures::future::BoxFuture;

use super::sts::Role;
use super::{Credentials, Issued, ProviderEnv, ProviderError, metadata, oidc, sts};

/// One profile, read.
#[derive(Clone)]
pub(super) enum ProfileSource {
    /// A key, with a token or without.
    Key(Credentials),
    /// The role of the ECS instance.
    EcsRamRole(Option<String>),
    /// A token file, exchanged.
    Oidc { role: Role, provider_arn: String, token_file: PathBuf },
    /// A role, assumed with what another recipe gives.
    Assume { role: Role, source: Box<ProfileSource> },
}

impl ProfileSource {
    /// A key whose parts a profile names.
    ///
    /// # Errors
    /// Not configured where both halves are empty, as `aliyun` leaves its first profile.
    pub(super) fn key(profile: &str, id: &str, secret: &str, token: Option<&str>) -> Result<Self, ProviderError> {
        match (id.trim().is_empty(), secret.trim().is_empty()) {
            (false, false) => Ok(Self::Key(Credentials::new(id, secret, token))),
            (true, true) => Err(ProviderError::NotConfigured(format!("profile {profile:?} holds no key"))),
            (true, false) => {
                Err(ProviderError::Failed(format!("profile {profile:?} has a secret and no access_key_id")))
            }
            (false, true) => Err(ProviderError::Failed(format!("profile {profile:?} has no access_key_secret"))),
        }
    }

    /// Does what the recipe says.
    pub(super) fn issue<'a>(&'a self, env: &'a ProviderEnv) -> BoxFuture<'a, Result<Issued, ProviderError>> {
        Box::pin(async move {
            match self {
                Self::Key(credentials) => Ok(Issued::non_expiring(credentials.clone())),
                Self::EcsRamRole(role) => {
                    metadata::of_instance(env, role.as_deref()).await.map_err(ProviderError::into_failed)
                }
                Self::Oidc { role, provider_arn, token_file } => {
                    oidc::exchange(env, role, provider_arn, token_file).await
                }
                Self::Assume { role, source } => {
                    let source = source.issue(env).await?;
                    sts::assume(env, role, &source.credentials).await
                }
            }
        })
    }
}

impl fmt::Debug for ProfileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key",
            Self::EcsRamRole(_) => "EcsRamRole",
            Self::Oidc { .. } => "Oidc",
            Self::Assume { .. } => "Assume",
        })
    }
}
