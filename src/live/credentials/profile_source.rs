//! The sources from which a profile obtains credentials.

use std::fmt;
use std::path::PathBuf;

use futures::future::BoxFuture;

use super::sts::Role;
use super::{Credentials, Issued, ProviderEnv, ProviderError, metadata, oidc, sts};

/// A parsed profile. It determines how the credentials are obtained.
#[derive(Clone)]
pub(super) enum ProfileSource {
    /// An access key, with or without a token.
    Key(Credentials),
    /// The RAM role of the ECS instance. Contains the name of the role if the profile specifies it.
    EcsRamRole(Option<String>),
    /// A role that is assumed with a token file.
    Oidc { role: Role, provider_arn: String, token_file: PathBuf },
    /// A role that is assumed with the credentials of another source.
    Assume { role: Role, source: Box<ProfileSource> },
}

impl ProfileSource {
    /// Creates a source from the access key in a profile.
    ///
    /// # Errors
    /// Returns `NotConfigured` if both the ID and the secret are empty, as in the initial profile of `aliyun`, and
    /// `Failed` if only one of them is empty.
    pub(super) fn key(profile: &str, id: &str, secret: &str, token: Option<&str>) -> Result<Self, ProviderError> {
        match (id.trim().is_empty(), secret.trim().is_empty()) {
            (false, false) => Ok(Self::Key(Credentials::new(id, secret, token))),
            (true, true) => Err(ProviderError::NotConfigured(format!("profile {profile:?} has no access key"))),
            (true, false) => {
                Err(ProviderError::Failed(format!("profile {profile:?} has an access_key_secret but no access_key_id")))
            }
            (false, true) => Err(ProviderError::Failed(format!("profile {profile:?} has no access_key_secret"))),
        }
    }

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
