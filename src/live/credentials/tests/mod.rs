//! Tests of every provider against a server on loopback.

mod chain;
mod files;
mod fuzz;
mod metadata;
mod oidc;
mod secrets;
mod uri;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::live::loopback::{self, Act, answer};
use crate::live::{Endpoint, HttpOptions};

/// The environment of a provider chain. Plain HTTP is allowed, and the default metadata service cannot be reached.
pub struct Setup {
    pub home: TempDir,
    variables: Vec<(String, String)>,
    metadata: Option<Endpoint>,
}

impl Setup {
    pub fn new(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { home: TempDir::new().unwrap(), variables, metadata: None }
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn metadata(mut self, endpoint: Endpoint) -> Self {
        self.metadata = Some(endpoint);
        self
    }

    /// Writes a file in the home folder and returns its path.
    pub fn file(&self, path: &str, text: &str) -> String {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub fn env(&self) -> ProviderEnv {
        loopback::install_tls();
        let variables = self.variables.clone();
        let lookup = move |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let http = HttpOptions { request_timeout: Duration::from_secs(5), ..HttpOptions::default() };
        let metadata = self.metadata.clone().unwrap_or_else(|| Endpoint::parse("http://127.0.0.1:1", true).unwrap());
        let home = Some(self.home.path().to_owned());
        ProviderEnv::new(lookup, home, http, true).with_metadata(&metadata)
    }

    pub async fn issue(&self) -> Result<(Issued, &'static str), CredentialsError> {
        Chain::default_chain(&self.env()).issue().await
    }

    /// Requests credentials from the chain. Returns their access key ID and the name of the provider.
    pub async fn id(&self) -> (String, &'static str) {
        let (issued, provider) = self.issue().await.unwrap();
        (issued.credentials.access_key_id().to_owned(), provider)
    }

    pub async fn error(&self) -> String {
        self.issue().await.unwrap_err().to_string()
    }
}

pub fn in_seconds(seconds: i64) -> String {
    Timestamp::from_second(Timestamp::now().as_second() + seconds).unwrap().to_string()
}

/// Returns the JSON members of credentials that expire after `seconds`.
pub fn key_for(seconds: i64) -> String {
    let expiration = in_seconds(seconds);
    format!(
        r#""AccessKeyId":"STS.id","AccessKeySecret":"hush-secret","SecurityToken":"hush-token","Expiration":"{expiration}""#
    )
}

/// Creates an STS response with credentials that expire after `seconds`.
pub fn sts_response(seconds: i64) -> Act {
    answer(200, &format!(r#"{{"RequestId":"r","Credentials":{{{}}}}}"#, key_for(seconds)))
}

#[test]
fn debug_output_shows_no_secrets() {
    let shown = format!("{:?}", Credentials::new("id", "hush-secret", Some("hush-token")));
    assert!(shown.contains("id") && !shown.contains("hush"), "{shown}");
}

#[test]
fn secrets_are_redacted_in_every_encoding() {
    let credentials = Credentials::new("id", "se cret/+", Some("tok=en"));
    for form in
        ["se cret/+", "se%20cret%2F%2B", "se%20cret%2f%2b", "se+cret%2F%2B", "c2UgY3JldC8r", "tok=en", "tok%3Den"]
    {
        assert_eq!(credentials.redact(&format!("<{form}>id")), "<…>id", "{form}");
    }
}

#[test]
fn surrounding_white_space_is_removed() {
    let credentials = Credentials::new("id\n", "secret\n", Some(" \n"));
    assert_eq!(credentials.access_key_id(), "id");
    assert_eq!(credentials.access_key_secret(), "secret");
    assert_eq!(credentials.security_token(), None);
}
