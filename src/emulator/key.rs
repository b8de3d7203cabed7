//! Access keys, permanent and temporary.

use std::str::FromStr;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::error::ApiError;

/// The account of keys and roles that name none.
pub const DEFAULT_ACCOUNT: &str = "1000000000000000";

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
    /// The account it belongs to; [`DEFAULT_ACCOUNT`] when `None`. Limits are shared by the keys of an account.
    pub account: Option<String>,
    /// Deactivated: its requests get `InvalidAccessKeyId.Inactive`.
    pub inactive: bool,
}

impl AccessKey {
    /// A permanent key.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        let secret = SecretString::from(secret.into());
        Self { id: id.into(), secret, token: None, expires: None, account: None, inactive: false }
    }

    /// The same key as a temporary one.
    pub fn with_token(mut self, token: impl Into<String>, expires: Option<Timestamp>) -> Self {
        self.token = Some(SecretString::from(token.into()));
        self.expires = expires;
        self
    }

    /// The same key in an account of its own.
    pub fn with_account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// The number of the account it belongs to.
    pub fn account(&self) -> &str {
        self.account.as_deref().unwrap_or(DEFAULT_ACCOUNT)
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

    /// `ID:SECRET[@ACCOUNT]`. What follows the last `@` is an account if it is digits, and part of the secret if not.
    fn from_str(text: &str) -> Result<Self, String> {
        let (id, rest) = text.split_once(':').unwrap_or_default();
        let (secret, account) = match rest.rsplit_once('@') {
            Some((secret, account)) if is_account(account) => (secret, Some(account.to_owned())),
            _ => (rest, None),
        };
        if id.is_empty() || secret.is_empty() {
            return Err("expected ID:SECRET[@ACCOUNT], the account in digits".to_owned());
        }
        Ok(Self { account, ..Self::new(id, secret) })
    }
}

/// Whether a text is the number of an account: digits.
pub(super) fn is_account(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, String, String)> {
        let key: AccessKey = text.parse().ok()?;
        Some((key.id.clone(), key.secret.expose_secret().to_owned(), key.account().to_owned()))
    }

    #[test]
    fn an_account_is_digits_after_the_last_at() {
        let key = |id: &str, secret: &str, account: &str| Some((id.to_owned(), secret.to_owned(), account.to_owned()));
        assert_eq!(read("id:secret"), key("id", "secret", DEFAULT_ACCOUNT));
        assert_eq!(read("id:secret@42"), key("id", "secret", "42"));
        assert_eq!(read("id:se:cr@t"), key("id", "se:cr@t", DEFAULT_ACCOUNT));
        assert_eq!(read("id:se@1@42"), key("id", "se@1", "42"));
        assert_eq!(read("id:@42"), None);
        assert_eq!(read(":secret"), None);
    }
}
