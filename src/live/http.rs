//! HTTP clients: time-outs, trusted certificates and proxies.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// HTTP options for the Live API and for credential providers.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The time limit for connecting, including TLS. Defaults to 3 s.
    pub connect_timeout: Duration,
    /// The time limit for a whole request, including connecting. Defaults to 10 s.
    pub request_timeout: Duration,
    /// CA certificates that are trusted in addition to those of the machine.
    pub ca_bundle: Option<CaBundle>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(3), request_timeout: Duration::from_secs(10), ca_bundle: None }
    }
}

impl HttpOptions {
    /// A client that reuses connections. It takes its proxy from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
    /// `NO_PROXY`. Redirects and hidden retries are disabled.
    ///
    /// # Errors
    /// The TLS client cannot be built, for example because the machine has no CA certificates.
    pub(super) fn client(&self) -> Result<reqwest::Client, reqwest::Error> {
        self.builder().build()
    }

    /// A client without proxies, for addresses of this machine.
    ///
    /// # Errors
    /// Same as [`HttpOptions::client`].
    pub(super) fn direct_client(&self) -> Result<reqwest::Client, reqwest::Error> {
        self.builder().no_proxy().build()
    }

    /// A client without proxies and without trusted certificates, for plain HTTP to the metadata service.
    ///
    /// # Errors
    /// Same as [`HttpOptions::client`].
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

/// CA certificates from a PEM file, for example those of a proxy that inspects TLS.
#[derive(Debug, Clone)]
pub struct CaBundle {
    certificates: Vec<reqwest::Certificate>,
}

/// An error while reading a CA bundle.
#[derive(Debug, thiserror::Error)]
pub enum CaBundleError {
    /// The file cannot be read.
    #[error("cannot read the CA bundle {path:?}: {error}")]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The file contains no certificate, or a malformed one.
    #[error("the CA bundle {0:?} is invalid: use a file with one or more PEM certificates")]
    Malformed(PathBuf),
}

impl CaBundle {
    /// Reads one or more certificates from a PEM file.
    ///
    /// # Errors
    /// Returns a [`CaBundleError`], which names the file.
    pub fn read(path: &Path) -> Result<Self, CaBundleError> {
        let bytes = std::fs::read(path).map_err(|error| CaBundleError::Unreadable { path: path.to_owned(), error })?;
        match reqwest::Certificate::from_pem_bundle(&bytes) {
            Ok(certificates) if !certificates.is_empty() => Ok(Self { certificates }),
            _ => Err(CaBundleError::Malformed(path.to_owned())),
        }
    }
}
