//! Access keys, permanent and temporary.

use std::str::FromStr;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::error::ApiError;

/// An access key.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: SecretString,
    /// Of a temporary key (STS): every request must carry this token.
    pub token: Option<SecretString>,
    /// Of a temporary key: from then on its requests get `InvalidSecurityToken.Expired`.
    pub expires: Option<Timestamp>,
}

impl AccessKey {
    /// A permanent key.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: SecretString::from(secret.into()), token: None, expires: None }
    }

    /// The same key as a temporary one.
    pub fn with_token(mut self, token: impl Into<String>, expires: Option<Timestamp>) -> Self {
        self.token = Some(SecretString::from(token.into()));
        self.expires = expires;
        self
    }

    /// Whether a request of this key carries the token it must. Status 400 for all three codes is an assumption: the public
    /// documents do not give one.
    pub(super) fn check_token(&self, sent: Option<&str>, now: Timestamp) -> Result<(), ApiError> {
        let sent = sent.filter(|token| !token.is_empty());
        match (&self.token, sent) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(ApiError::missing("SecurityToken")),
            (Some(token), Some(sent)) if token.expose_secret() == sent => match self.expires {
                Some(expires) if expires <= now => {
                    Err(ApiError::new(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired."))
                }
                _ => Ok(()),
            },
            _ => Err(ApiError::new(
                400,
                "InvalidSecurityToken.MismatchWithAccessKey",
                "Specified SecurityToken mismatch with the AccessKey.",
            )),
        }
    }
}

impl FromStr for AccessKey {
    type Err = String;

    /// `ID:SECRET`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok(Self::new(id, secret)),
            _ => Err("expected ID:SECRET".to_owned()),
        }
    }
}
