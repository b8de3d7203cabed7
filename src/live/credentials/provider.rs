//! The trait for credential providers, and the environment (variables, files, metadata service) that the providers of
//! the official SDKs use.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::super::endpoint::Endpoint;
use super::super::http::{HttpClientError, HttpOptions};
use super::Credentials;

/// The metadata service of an ECS instance. It supports only plain HTTP, and requests do not leave the hypervisor.
const METADATA: &str = "http://100.100.100.200";

/// The timeout is short, because the metadata service answers immediately or does not exist.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// Credentials and their lifetime.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The credentials.
    pub credentials: Credentials,
    /// The lifetime from the time of issue, measured by the issuer's clock; `None` if the credentials do not expire.
    pub lifetime: Option<Duration>,
    /// The time after which the credentials are requested again even if they have not expired, because they can change
    /// at their source; `None` if they cannot change.
    pub refresh_after: Option<Duration>,
}

impl Issued {
    /// Creates credentials that do not expire.
    pub fn non_expiring(credentials: Credentials) -> Self {
        Self { credentials, lifetime: None, refresh_after: None }
    }

    /// Creates credentials that do not expire but can change at their source. They are requested again after
    /// `refresh_after`.
    pub fn refreshable(credentials: Credentials, refresh_after: Duration) -> Self {
        Self { refresh_after: Some(refresh_after), ..Self::non_expiring(credentials) }
    }
}

/// The reason why a provider returned no credentials. Its text is shown in conditions. Therefore, the text contains no
/// secrets and does not change when another attempt fails for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderError {
    /// The provider is not configured. The next one is tried.
    NotConfigured(String),
    /// The provider is configured but failed. The next provider is not tried, because its credentials can have
    /// different permissions.
    Failed(String),
}

impl ProviderError {
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    pub(super) fn not_configured(why: impl Into<String>) -> Self {
        Self::NotConfigured(why.into())
    }

    /// Converts `NotConfigured` to `Failed`, for a source that the configuration specifies explicitly.
    pub(super) fn into_failed(self) -> Self {
        match self {
            Self::NotConfigured(why) | Self::Failed(why) => Self::Failed(why),
        }
    }
}

/// A source of credentials.
pub trait Provider: fmt::Debug + Send + Sync {
    /// Returns the name that is shown to users.
    fn name(&self) -> &'static str;

    /// Requests credentials. Implementations do not cache them.
    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>>;
}

/// The environment of the providers: variables, home folder, HTTP options and metadata service.
#[derive(Clone)]
pub struct ProviderEnv {
    lookup: Arc<Lookup>,
    home: Option<PathBuf>,
    allow_http: bool,
    http: HttpOptions,
    /// The HTTP client for STS and the credentials URI. It is created for the first request.
    exchanges: Arc<Mutex<Option<reqwest::Client>>>,
    metadata_origin: String,
    metadata_timeout: Duration,
}

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

impl ProviderEnv {
    /// Creates an environment. `lookup` reads a variable, `home` is the folder that contains `.aliyun` and
    /// `.alibabacloud`, `http` applies to STS and the credentials URI, and `allow_http` permits an STS endpoint that
    /// uses plain HTTP.
    pub fn new(
        lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        home: Option<PathBuf>,
        http: HttpOptions,
        allow_http: bool,
    ) -> Self {
        let (metadata_origin, metadata_timeout) = (METADATA.to_owned(), METADATA_TIMEOUT);
        let exchanges = Arc::default();
        Self { lookup: Arc::new(lookup), home, allow_http, http, exchanges, metadata_origin, metadata_timeout }
    }

    /// Replaces the metadata service and its short timeout, for tests.
    #[must_use]
    pub fn with_metadata(self, metadata: &Endpoint) -> Self {
        Self { metadata_origin: metadata.to_string(), metadata_timeout: self.http.request_timeout, ..self }
    }

    /// Returns the trimmed value of a variable, or `None` if the variable is unset or empty.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Whether a variable is `true`, in upper or lower case.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Returns the path of a file in the home folder, or `None` if the home folder is unknown.
    pub(super) fn home_path(&self, path: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(path))
    }

    pub(super) fn allows_http(&self) -> bool {
        self.allow_http
    }

    /// Returns the client for STS and the credentials URI. It uses the proxies that are set in the environment. All
    /// requests share it, because all LiveAccounts exchange their tokens when the process starts, and each client needs
    /// 100 KiB of memory for the trusted certificates.
    pub(super) fn http_client(&self) -> Result<reqwest::Client, ProviderError> {
        let mut client = self.exchanges.lock();
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        Ok(client.insert(built(self.http.exchange_client())?).clone())
    }

    /// Creates a client that uses no proxies, for addresses on this machine.
    pub(super) fn direct_client(&self) -> Result<reqwest::Client, ProviderError> {
        built(self.http.direct_client())
    }

    /// Creates a client for the metadata service. It has a short timeout and uses no proxies.
    pub(super) fn metadata(&self) -> Result<reqwest::Client, ProviderError> {
        built(HttpOptions::plain_client(self.metadata_timeout))
    }

    /// Returns the URL of a path in the metadata service.
    pub(super) fn metadata_url(&self, path: &str) -> String {
        format!("{}{path}", self.metadata_origin)
    }
}

impl fmt::Debug for ProviderEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderEnv").field("home", &self.home).finish_non_exhaustive()
    }
}

fn built(client: Result<reqwest::Client, HttpClientError>) -> Result<reqwest::Client, ProviderError> {
    client.map_err(|error| ProviderError::Failed(error.to_string()))
}

/// Reads a file. Returns `None` if the file does not exist.
///
/// # Errors
/// Returns the operating system error and the path of the file.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, ProviderError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ProviderError::Failed(format!("cannot read {}: {error}", path.display()))),
    }
}
