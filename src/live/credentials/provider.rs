//! What a provider of credentials is, and what the official ones are given to look at.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::super::endpoint::Endpoint;
use super::super::http::HttpOptions;
use super::Credentials;

/// The metadata service of an ECS instance. Plain HTTP by its nature: it never leaves the machine's own hypervisor.
const METADATA: &str = "http://100.100.100.200";

/// The metadata service answers at once or not at all.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// Credentials, and how long they are good for.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The credentials.
    pub credentials: Credentials,
    /// From the moment they were issued, by the issuer's clock; `None` = they do not expire.
    pub lifetime: Option<Duration>,
    /// When they are to be asked for again though they have not expired: a place that is rotated by others.
    pub refresh_after: Option<Duration>,
}

impl Issued {
    /// Credentials that do not expire.
    pub fn non_expiring(credentials: Credentials) -> Self {
        Self { credentials, lifetime: None, refresh_after: None }
    }

    /// Credentials that do not expire, but may be replaced where they come from.
    pub fn refreshable(credentials: Credentials, refresh_after: Duration) -> Self {
        Self { refresh_after: Some(refresh_after), ..Self::non_expiring(credentials) }
    }
}

/// Why a provider gave nothing. Both texts are shown in conditions: without secrets, and the same at every try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderError {
    /// Nobody asked for this provider: the next one is tried.
    NotConfigured(String),
    /// It was asked for and failed. The next one is not tried: it would call with somebody else's rights.
    Failed(String),
}

impl ProviderError {
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    pub(super) fn not_configured(why: impl Into<String>) -> Self {
        Self::NotConfigured(why.into())
    }

    /// The same, but what is not there was asked for.
    pub(super) fn into_failed(self) -> Self {
        match self {
            Self::NotConfigured(why) | Self::Failed(why) => Self::Failed(why),
        }
    }
}

/// One place credentials come from.
pub trait Provider: fmt::Debug + Send + Sync {
    /// As shown to users.
    fn name(&self) -> &'static str;

    /// Reads or asks for credentials, anew at every call.
    fn issue(&self) -> BoxFuture<'_, Result<Issued, ProviderError>>;
}

/// Everything the official providers see of the world.
#[derive(Clone)]
pub struct ProviderEnv {
    lookup: Arc<Lookup>,
    home: Option<PathBuf>,
    allow_http: bool,
    http: HttpOptions,
    metadata_origin: String,
    metadata_timeout: Duration,
}

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

impl ProviderEnv {
    /// `lookup` reads an environment variable, `home` is the folder of `.aliyun` and `.alibabacloud`, `http` are the
    /// time-outs and the trust towards STS, and `allow_http` lets `ALIBABA_CLOUD_STS_ENDPOINT` be an `http://` one.
    pub fn new(
        lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        home: Option<PathBuf>,
        http: HttpOptions,
        allow_http: bool,
    ) -> Self {
        let (metadata_origin, metadata_timeout) = (METADATA.to_owned(), METADATA_TIMEOUT);
        Self { lookup: Arc::new(lookup), home, allow_http, http, metadata_origin, metadata_timeout }
    }

    /// The same with another metadata service, which may take its time: for tests.
    #[must_use]
    pub fn with_metadata(self, metadata: &Endpoint) -> Self {
        Self { metadata_origin: metadata.to_string(), metadata_timeout: self.http.request_timeout, ..self }
    }

    /// The value of a variable; an empty one counts as absent.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Whether a variable says `true`, in any case.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A path in the home folder.
    pub(super) fn home_path(&self, path: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(path))
    }

    pub(super) fn allows_http(&self) -> bool {
        self.allow_http
    }

    /// A client for one exchange: it takes the usual proxies. Exchanges are an hour apart; nothing is kept between them.
    pub(super) fn http_client(&self) -> Result<reqwest::Client, ProviderError> {
        built(self.http.client())
    }

    /// A client for addresses of this machine, which no proxy reaches.
    pub(super) fn direct_client(&self) -> Result<reqwest::Client, ProviderError> {
        built(self.http.direct_client())
    }

    /// A client for the metadata service: impatient, without proxies and without TLS.
    pub(super) fn metadata(&self) -> Result<reqwest::Client, ProviderError> {
        built(HttpOptions::plain_client(self.metadata_timeout))
    }

    /// An address of the metadata service.
    pub(super) fn metadata_url(&self, path: &str) -> String {
        format!("{}{path}", self.metadata_origin)
    }
}

impl fmt::Debug for ProviderEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderEnv").field("home", &self.home).finish_non_exhaustive()
    }
}

fn built(client: Result<reqwest::Client, reqwest::Error>) -> Result<reqwest::Client, ProviderError> {
    client.map_err(|error| ProviderError::Failed(format!("the HTTP client cannot be built: {error}")))
}

/// A file's text; `None` where there is no such file.
///
/// # Errors
/// What the system says, with the path.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, ProviderError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ProviderError::Failed(format!("cannot read {}: {error}", path.display()))),
    }
}
