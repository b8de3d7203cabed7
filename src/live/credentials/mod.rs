//! Credentials and where they come from.

mod environment;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

use super::encode::percent_encode;

pub use environment::from_environment;

/// An access key, with a security token where it is a temporary one. Neither `Debug` nor any message shows a secret.
#[derive(Clone)]
pub struct Credentials {
    access_key_id: String,
    access_key_secret: SecretString,
    security_token: Option<SecretString>,
}

impl Credentials {
    /// Credentials of the given parts; surrounding white space (a new line at the end of a Secret's value) is dropped.
    pub fn new(access_key_id: &str, access_key_secret: &str, security_token: Option<&str>) -> Self {
        Self {
            access_key_id: access_key_id.trim().to_owned(),
            access_key_secret: SecretString::from(access_key_secret.trim()),
            security_token: security_token.map(str::trim).filter(|t| !t.is_empty()).map(SecretString::from),
        }
    }

    /// The id of the access key: not secret, but named in logs only where it helps.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub(super) fn access_key_secret(&self) -> &str {
        self.access_key_secret.expose_secret()
    }

    pub(super) fn security_token(&self) -> Option<&str> {
        self.security_token.as_ref().map(|token| token.expose_secret())
    }

    /// `text` with `…` wherever it holds the secret or the token, also percent-encoded or in base64.
    pub(super) fn redact(&self, text: &str) -> String {
        let secrets = [Some(self.access_key_secret()), self.security_token()];
        secrets.into_iter().flatten().fold(text.to_owned(), |text, secret| redact(&text, secret))
    }
}

/// `text` with `…` wherever it holds `secret`, also percent-encoded or in base64.
fn redact(text: &str, secret: &str) -> String {
    if secret.is_empty() {
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

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Nothing is configured.
    #[error(
        "no credentials: set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET \
         (and ALIBABA_CLOUD_SECURITY_TOKEN for a temporary key)"
    )]
    Missing,
    /// One variable is set and its partner is not.
    #[error("incomplete credentials: {0} is not set or empty")]
    Incomplete(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret_and_no_token() {
        let shown = format!("{:?}", Credentials::new("id", "hush-secret", Some("hush-token")));
        assert!(shown.contains("id") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn a_secret_is_taken_out_of_a_text_in_every_form() {
        let credentials = Credentials::new("id", "se cret/+", Some("tok=en"));
        for form in
            ["se cret/+", "se%20cret%2F%2B", "se%20cret%2f%2b", "se+cret%2F%2B", "c2UgY3JldC8r", "tok=en", "tok%3Den"]
        {
            assert_eq!(credentials.redact(&format!("<{form}>id")), "<…>id", "{form}");
        }
    }

    #[test]
    fn a_new_line_at_the_end_of_a_value_is_not_part_of_it() {
        let credentials = Credentials::new("id\n", "secret\n", Some(" \n"));
        assert_eq!(credentials.access_key_id(), "id");
        assert_eq!(credentials.access_key_secret(), "secret");
        assert_eq!(credentials.security_token(), None);
    }
}
