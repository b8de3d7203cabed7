//! Creates kubeconfigs. They are JSON, which is valid YAML.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::error::Result;

/// The connection settings for an apiserver.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The URL of the apiserver, `https://…`.
    pub server: String,
    /// The other fields of the cluster in a kubeconfig, such as `certificate-authority-data`.
    pub settings: serde_json::Map<String, Value>,
}

/// The credentials of a user.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    /// A client certificate and its key, in PEM.
    Certificate(&'a str, &'a str),
    /// A bearer token.
    Token(&'a str),
}

impl Cluster {
    /// Creates the settings for the apiserver at the URL `server`. `ca` is its CA certificate (PEM).
    pub fn new(server: String, ca: &str) -> Self {
        let mut settings = serde_json::Map::new();
        settings.insert("certificate-authority-data".to_owned(), json!(STANDARD.encode(ca)));
        Self { server, settings }
    }

    /// Creates a kubeconfig with one context.
    pub fn kubeconfig(&self, access: Access<'_>, namespace: &str) -> Result<String> {
        let user = match access {
            Access::Token(token) => json!({ "token": token }),
            Access::Certificate(certificate, key) => json!({
                "client-certificate-data": STANDARD.encode(certificate),
                "client-key-data": STANDARD.encode(key),
            }),
        };
        let mut cluster = self.settings.clone();
        cluster.insert("server".to_owned(), json!(self.server));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": cluster }],
            "users": [{ "name": "test", "user": user }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test", "namespace": namespace } }],
            "current-context": "test",
        });
        Ok(serde_json::to_string_pretty(&config)?)
    }
}
