//! HTTP clients: timeouts, trusted certificates and proxies.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Certificate;

/// HTTP options for the Live API and for credential providers.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The time limit for connecting, including TLS. Defaults to 3 s.
    pub connect_timeout: Duration,
    /// The time limit for a whole request, including connecting. Defaults to 10 s.
    pub request_timeout: Duration,
    /// CA certificates that are trusted in addition to the CA certificates of the machine.
    pub ca_bundle: Option<CaBundle>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(3), request_timeout: Duration::from_secs(10), ca_bundle: None }
    }
}

/// If sent data is not acknowledged for this long, the kernel closes the connection, even if the process is frozen.
/// After that, a call is not retransmitted and can no longer arrive.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

impl HttpOptions {
    /// Creates a client that reuses connections. It reads its proxy settings from `HTTPS_PROXY`, `HTTP_PROXY`,
    /// `ALL_PROXY` and `NO_PROXY`. Redirects and automatic retries are disabled.
    ///
    /// # Errors
    /// Returns an error if the TLS client cannot be built, for example because the machine has no CA certificates.
    pub(super) fn client(&self) -> Result<reqwest::Client, HttpClientError> {
        built(self.builder())
    }

    /// Creates the same client as [`HttpOptions::client`], except that it keeps no idle connections. An account calls
    /// STS about once an hour, and servers close idle connections sooner than that.
    ///
    /// # Errors
    /// See [`HttpOptions::client`].
    pub(super) fn exchange_client(&self) -> Result<reqwest::Client, HttpClientError> {
        built(self.builder().pool_max_idle_per_host(0))
    }

    /// Creates a client that uses no proxies, for addresses on this machine.
    ///
    /// # Errors
    /// See [`HttpOptions::client`].
    pub(super) fn direct_client(&self) -> Result<reqwest::Client, HttpClientError> {
        built(self.builder().no_proxy())
    }

    /// Creates a client that uses no proxies and trusts no certificates, for plain HTTP to the metadata service.
    ///
    /// # Errors
    /// See [`HttpOptions::client`].
    pub(super) fn plain_client(timeout: Duration) -> Result<reqwest::Client, HttpClientError> {
        let options = Self { connect_timeout: timeout, request_timeout: timeout, ca_bundle: None };
        built(options.builder().tls_certs_only([]).no_proxy())
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        let certificates = self.ca_bundle.iter().flat_map(|bundle| bundle.certificates.iter().cloned());
        let builder = reqwest::Client::builder();
        #[cfg(target_os = "linux")]
        let builder = builder.tcp_user_timeout(UNACKNOWLEDGED);
        builder
            .user_agent(concat!("live-message-operator/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout)
            .timeout(self.request_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .tls_certs_merge(certificates)
    }
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, HttpClientError> {
    builder.build().map_err(|error| HttpClientError::of(&error, |name| std::env::var_os(name)))
}

/// The environment variables that replace the CA certificates of the machine. `SSL_CERT_FILE` contains the path of a
/// file, and `SSL_CERT_DIR` contains the paths of one or more directories.
const CA_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The reason why an HTTP client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// An environment variable specifies CA certificates that cannot be used.
    #[error("the CA certificates in {path:?} cannot be used: {why}: correct or unset {variable}")]
    CaPath {
        /// The variable.
        variable: &'static str,
        /// The file or the directory.
        path: PathBuf,
        /// The cause: an operating system error, or a file that contains no certificates.
        why: String,
    },
    /// Any other cause, for example a machine without CA certificates.
    #[error(
        "the HTTP client cannot be built: {0}: install the system's CA certificates, or set SSL_CERT_FILE to the path \
         of a file with PEM certificates"
    )]
    Other(String),
}

impl HttpClientError {
    /// Converts an error of the HTTP library. The library reports neither the path nor the cause of a failed read, so
    /// the paths are examined here.
    fn of(error: &reqwest::Error, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        for name in CA_VARIABLES {
            let value = variable(name).unwrap_or_default();
            for path in std::env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()) {
                if let Some(why) = unusable(&path) {
                    return Self::CaPath { variable: name, path, why };
                }
            }
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Other(cause.to_string())
    }
}

/// Returns the reason why a file or a directory cannot be used for CA certificates, or `None` if the file contains
/// certificates or the directory can be read.
fn unusable(path: &Path) -> Option<String> {
    if path.is_dir() {
        return std::fs::read_dir(path).err().map(|error| error.to_string());
    }
    match std::fs::read(path) {
        Err(error) => Some(error.to_string()),
        Ok(bytes) => {
            let has_some = Certificate::from_pem_bundle(&bytes).is_ok_and(|certificates| !certificates.is_empty());
            (!has_some).then(|| "the file contains no PEM certificate".to_owned())
        }
    }
}

/// CA certificates from a PEM file, for example for a proxy that inspects TLS.
#[derive(Debug, Clone)]
pub struct CaBundle {
    certificates: Vec<Certificate>,
}

/// An error that occurs while a CA bundle is read.
#[derive(Debug, thiserror::Error)]
pub enum CaBundleError {
    /// The file cannot be read.
    #[error("cannot read the CA bundle {path:?}: {error}")]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// The operating system error.
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
    /// Returns a [`CaBundleError`], which contains the path of the file.
    pub fn read(path: &Path) -> Result<Self, CaBundleError> {
        let bytes = std::fs::read(path).map_err(|error| CaBundleError::Unreadable { path: path.to_owned(), error })?;
        match Certificate::from_pem_bundle(&bytes) {
            Ok(certificates) if !certificates.is_empty() => Ok(Self { certificates }),
            _ => Err(CaBundleError::Malformed(path.to_owned())),
        }
    }
}
