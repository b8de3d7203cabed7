//! How HTTP clients are built: time-outs, trust and proxies.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How HTTP is done, for the Live API and for what gives credentials.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// To connect, TLS included. Default 3 s.
    pub connect_timeout: Duration,
    /// The whole request, connecting included. Default 10 s.
    pub request_timeout: Duration,
    /// Trusted besides the machine's own certificates.
    pub ca_bundle: Option<CaBundle>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(3), request_timeout: Duration::from_secs(10), ca_bundle: None }
    }
}

impl HttpOptions {
    /// A client that keeps connections, and takes its proxy from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
    /// `NO_PROXY`. One call is one request: redirects and hidden retries are off.
    ///
    /// # Errors
    /// When the TLS client cannot be built (no CA certificates on this machine, for example).
    pub(super) fn client(&self) -> Result<reqwest::Client, reqwest::Error> {
        self.builder().build()
    }

    /// A client for an address of this very machine: no proxy can reach it.
    ///
    /// # Errors
    /// As [`HttpOptions::client`].
    pub(super) fn direct_client(&self) -> Result<reqwest::Client, reqwest::Error> {
        self.builder().no_proxy().build()
    }

    /// A client for plain HTTP to this machine's own surroundings: no proxy, no trusted certificate at all.
    ///
    /// # Errors
    /// As [`HttpOptions::client`].
    pub(super) fn plain_client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
        let options = Self { connect_timeout: timeout, request_timeout: timeout, ca_bundle: None };
        options.builder().tls_certs_only([]).no_proxy().build()
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        let certificates = self.ca_bundle.iter().flat_map(|bundle| bundle.certificates.iter().cloned());
        reqwest::Client::builder()
            .user_agent(concat!("live-message-operator/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout)
            .timeout(self.request_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .tls_certs_merge(certificates)
    }
}

/// Certificates of authorities, read from a PEM file: those of a proxy that looks into TLS, for example.
#[derive(Debug, Clone)]
pub struct CaBundle {
    certificates: Vec<reqwest::Certificate>,
}

/// Why a CA bundle is refused.
#[derive(Debug, thiserror::Error)]
pub enum CaBundleError {
    /// The file cannot be read.
    #[error("cannot read the CA bundle {path:?}: {error}")]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// Of the system.
        error: std::io::Error,
    },
    /// The file holds no certificate, or a malformed one.
    #[error("the CA bundle {0:?} is not a list of PEM certificates")]
    Malformed(PathBuf),
}

impl CaBundle {
    /// Reads a PEM file of one or more certificates.
    ///
    /// # Errors
    /// [`CaBundleError`], which names the file.
    pub fn read(path: &Path) -> Result<Self, CaBundleError> {
        let bytes = std::fs::read(path).map_err(|error| CaBundleError::Unreadable { path: path.to_owned(), error })?;
        match reqwest::Certificate::from_pem_bundle(&bytes) {
            Ok(certificates) if !certificates.is_empty() => Ok(Self { certificates }),
            _ => Err(CaBundleError::Malformed(path.to_owned())),
        }
    }
}
