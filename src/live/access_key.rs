//! Defines access keys, and redacts their secrets from text.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

use super::encode::percent_encode;

/// An access key, with a security token if it is temporary. `Debug` output and messages never show a secret.
#[derive(Clone)]
pub struct Credentials {
    access_key_id: String,
    access_key_secret: SecretString,
    security_token: Option<SecretString>,
}

impl Credentials {
    /// Creates credentials. Trims surrounding white space, such as the newline at the end of a Secret's value. An empty
    /// token is treated as absent.
    pub fn new(access_key_id: &str, access_key_secret: &str, security_token: Option<&str>) -> Self {
        Self {
            access_key_id: access_key_id.trim().to_owned(),
            access_key_secret: SecretString::from(access_key_secret.trim()),
            security_token: security_token.map(str::trim).filter(|t| !t.is_empty()).map(SecretString::from),
        }
    }

    /// Creates credentials from secret strings, in the same way as [`Credentials::new`].
    pub fn of_secrets(id: &SecretString, secret: &SecretString, token: Option<&SecretString>) -> Self {
        Self::new(id.expose_secret(), secret.expose_secret(), token.map(|token| token.expose_secret()))
    }

    /// Returns the access key ID. It is not secret, but appears in logs only where it is useful.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub(super) fn access_key_secret(&self) -> &str {
        self.access_key_secret.expose_secret()
    }

    pub(super) fn security_token(&self) -> Option<&str> {
        self.security_token.as_ref().map(|token| token.expose_secret())
    }

    /// Whether these credentials have the same access key and token as `other`.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.access_key_id == other.access_key_id
            && self.access_key_secret() == other.access_key_secret()
            && self.security_token() == other.security_token()
    }

    /// Checks that the credentials can be sent in HTTP headers.
    ///
    /// # Errors
    /// Returns an error if a part contains a control character, for example a line break between two pasted values. The
    /// error identifies the first such part.
    pub fn validate(&self) -> Result<(), String> {
        let parts = [
            ("the access key ID", Some(self.access_key_id.as_str())),
            ("the access key secret", Some(self.access_key_secret())),
            ("the security token", self.security_token()),
        ];
        let broken = parts.into_iter().find(|(_, part)| part.is_some_and(|part| part.contains(char::is_control)));
        match broken {
            Some((name, _)) => Err(format!("{name} contains a line break or another control character")),
            None => Ok(()),
        }
    }

    /// Replaces the secret and the token in `text` with `…`. Also replaces their percent-encoded and base64 forms.
    pub(super) fn redact(&self, text: &str) -> String {
        let secrets = [Some(self.access_key_secret()), self.security_token()];
        secrets.into_iter().flatten().fold(text.to_owned(), |text, secret| redact(&text, secret))
    }
}

fn redact(text: &str, secret: &str) -> String {
    // Only tests use shorter secrets. Replacing them would damage ordinary words.
    if secret.len() < 6 {
        return text.to_owned();
    }
    let encoded = percent_encode(secret);
    let forms = [
        encoded.replace("%20", "+"),
        encoded.to_lowercase(),
        encoded,
        STANDARD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        secret.to_owned(),
    ];
    forms.iter().fold(text.to_owned(), |text, form| text.replace(form, "…"))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}
