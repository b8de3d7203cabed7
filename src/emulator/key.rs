//! The permanent and temporary access keys that the emulator accepts.

use std::str::FromStr;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::error::ApiError;

/// The default account ID of keys and roles.
pub const DEFAULT_ACCOUNT: &str = "1000000000000000";

/// An access key with the account that it belongs to.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// The `AccessKeyId`, which requests carry.
    pub id: String,
    /// The `AccessKeySecret`, which clients use to sign requests.
    pub secret: SecretString,
    /// The security token of a temporary (STS) key; `None` for a permanent key. Every request that is signed with a
    /// temporary key must carry its token.
    pub token: Option<SecretString>,
    /// When a temporary key expires. Requests after this time get `InvalidSecurityToken.Expired`.
    pub expires: Option<Timestamp>,
    /// The owning account; `None` means [`DEFAULT_ACCOUNT`]. The keys of an account share its rate limit.
    pub account: Option<String>,
    /// Whether the key is deactivated. Requests with an inactive key get `InvalidAccessKeyId.Inactive`.
    pub inactive: bool,
}

impl AccessKey {
    /// Creates a permanent, active key of [`DEFAULT_ACCOUNT`].
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        let secret = SecretString::from(secret.into());
        Self { id: id.into(), secret, token: None, expires: None, account: None, inactive: false }
    }

    /// Makes the key temporary. If `expires` is `None`, the key never expires.
    pub fn with_token(mut self, token: impl Into<String>, expires: Option<Timestamp>) -> Self {
        self.token = Some(SecretString::from(token.into()));
        self.expires = expires;
        self
    }

    /// Sets the account of the key.
    pub fn with_account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Returns the ID of the owning account.
    pub fn account(&self) -> &str {
        self.account.as_deref().unwrap_or(DEFAULT_ACCOUNT)
    }

    /// Checks the security token of a request. The three possible errors have the status 400. This is an assumption,
    /// because the public documentation does not specify the status of these errors.
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

    /// Parses `ID:SECRET[@ACCOUNT]`. If the text after the last `@` consists of digits, it is the account ID.
    /// Otherwise, it is part of the secret.
    fn from_str(text: &str) -> Result<Self, String> {
        let (id, rest) = text.split_once(':').unwrap_or_default();
        let (secret, account) = match rest.rsplit_once('@') {
            Some((secret, account)) if is_account(account) => (secret, Some(account.to_owned())),
            _ => (rest, None),
        };
        if id.is_empty() || secret.is_empty() {
            return Err("expected ID:SECRET[@ACCOUNT], where ACCOUNT is an account ID (digits)".to_owned());
        }
        Ok(Self { account, ..Self::new(id, secret) })
    }
}

/// Whether a text is an account ID: one or more digits.
pub(super) fn is_account(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(String, String, String)> {
        let key: AccessKey = text.parse().ok()?;
        Some((key.id.clone(), key.secret.expose_secret().to_owned(), key.account().to_owned()))
    }

    #[test]
    fn digits_after_the_last_at_sign_are_the_account() {
        let key = |id: &str, secret: &str, account: &str| Some((id.to_owned(), secret.to_owned(), account.to_owned()));
        assert_eq!(parse("id:secret"), key("id", "secret", DEFAULT_ACCOUNT));
        assert_eq!(parse("id:secret@42"), key("id", "secret", "42"));
        assert_eq!(parse("id:se:cr@t"), key("id", "se:cr@t", DEFAULT_ACCOUNT));
        assert_eq!(parse("id:se@1@42"), key("id", "se@1", "42"));
        assert_eq!(parse("id:@42"), None);
        assert_eq!(parse(":secret"), None);
    }
}
