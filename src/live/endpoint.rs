//! The endpoint of the Live API, and the service behind it.

use std::sync::Arc;

use reqwest::Url;

/// The public endpoint. One host serves both data centers; the parameter `DataCenter` selects one.
pub const DEFAULT_ENDPOINT: &str = "https://live.aliyuncs.com";

/// The host of [`DEFAULT_ENDPOINT`].
pub const DEFAULT_HOST: &str = "live.aliyuncs.com";

/// A validated endpoint: scheme, host and optional port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    origin: String,
    /// Parsed once, because each request needs it.
    url: Arc<Url>,
    host: String,
    service: Service,
}

/// The service behind an endpoint. All hosts of the Live API count as the same service; any other host and port is a
/// separate service. Each service has its own groups, and its own rate limit for each account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Service(Arc<str>);

impl Service {
    /// Returns the name of the service: `live.aliyuncs.com` for the Live API, otherwise the host and port.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Service {
    /// Restores a service from its name, as returned by [`Service::as_str`].
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a host in lower case, without a trailing dot.
pub(super) fn canonical(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The prefixes of region IDs. A similar host without a region ID can belong to another service: any customer can
/// create an OSS bucket named `live`, which is served at `live.oss-cn-hangzhou.aliyuncs.com`.
const REGIONS: [&str; 6] = ["ap-", "cn-", "eu-", "me-", "na-", "us-"];

/// Whether this is a host of the Live API: `live.aliyuncs.com`, `live.REGION.aliyuncs.com` or
/// `live-vpc.REGION.aliyuncs.com`, with or without a trailing dot.
pub fn is_live_api_host(host: &str) -> bool {
    let host = canonical(host);
    let labels: Vec<&str> = host.split('.').collect();
    match labels[..] {
        ["live", "aliyuncs", "com"] => true,
        ["live" | "live-vpc", region, "aliyuncs", "com"] => REGIONS.iter().any(|prefix| region.starts_with(prefix)),
        _ => false,
    }
}

/// The reason why an endpoint is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The text is not a URL, or has parts other than scheme, host and port.
    #[error("endpoint {0:?} does not have the form https://HOST[:PORT]")]
    Malformed(String),
    /// The URL uses plain HTTP, which sends security tokens unencrypted.
    #[error("endpoint {0:?} uses plain http: use https, or set --allow-http (for an emulator on loopback)")]
    PlainHttp(String),
}

impl Endpoint {
    /// Parses `https://HOST[:PORT]`, or `HOST[:PORT]`, which defaults to HTTPS. `http://` requires `allow_http`.
    ///
    /// # Errors
    /// Returns an [`EndpointError`], whose message contains the text and the expected form.
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed(text.to_owned());
        let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&full).map_err(|_| malformed())?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(malformed());
        }
        match url.scheme() {
            "https" => {}
            "http" if allow_http => {}
            "http" => return Err(EndpointError::PlainHttp(text.to_owned())),
            _ => return Err(malformed()),
        }
        let name = url.host_str().ok_or_else(malformed)?;
        let host = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        // For a host outside the Live API, the name of the service contains the port unless it is 443. Port 80 is kept,
        // because the servers for http and https can be different.
        let is_default_port = url.port().is_none();
        let service = match url.port_or_known_default().filter(|port| *port != 443) {
            _ if is_default_port && is_live_api_host(name) => DEFAULT_HOST.to_owned(),
            Some(port) => format!("{}:{port}", canonical(name)),
            None => canonical(name),
        };
        Ok(Self {
            origin: format!("{}://{host}", url.scheme()),
            url: Arc::new(url),
            host,
            service: Service(service.into()),
        })
    }

    /// Returns the service behind the endpoint.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Returns the value of the `host` header: the host, with the port if it is not the default port of the scheme.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the URL of a request with this encoded query.
    pub fn url(&self, query: &str) -> Url {
        let mut url = Url::clone(&self.url);
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        url
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_the_default_and_its_port_is_omitted() {
        assert_eq!(Endpoint::parse("live.aliyuncs.com", false).unwrap().host(), "live.aliyuncs.com");
        assert_eq!(Endpoint::parse("https://a.example:443/", false).unwrap().host(), "a.example");
        assert_eq!(
            Endpoint::parse("https://a.example:8443", false).unwrap().url("a=b").as_str(),
            "https://a.example:8443/?a=b"
        );
    }

    #[test]
    fn hosts_of_the_live_api_are_one_service() {
        let service = |text: &str| Endpoint::parse(text, true).unwrap().service().to_string();
        for text in [
            "live.aliyuncs.com",
            "LIVE.aliyuncs.com.",
            "https://live.aliyuncs.com:443",
            "http://live.aliyuncs.com",
            "live.ap-southeast-1.aliyuncs.com",
            "live-vpc.cn-shanghai.aliyuncs.com.",
        ] {
            assert_eq!(service(text), "live.aliyuncs.com", "{text}");
        }
        for (text, expected) in [
            ("live.aliyuncs.com:8443", "live.aliyuncs.com:8443"),
            ("live.evil.cn-shanghai.aliyuncs.com", "live.evil.cn-shanghai.aliyuncs.com"),
            ("live.oss-cn-shanghai.aliyuncs.com", "live.oss-cn-shanghai.aliyuncs.com"),
            ("live-cn-shanghai.aliyuncs.com", "live-cn-shanghai.aliyuncs.com"),
            ("evil-live.aliyuncs.com", "evil-live.aliyuncs.com"),
            ("live.aliyuncs.com.evil.example.", "live.aliyuncs.com.evil.example"),
            ("http://127.0.0.1:80", "127.0.0.1:80"),
            ("https://127.0.0.1:443", "127.0.0.1"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(service(text), expected, "{text}");
        }
    }

    #[test]
    fn plain_http_without_flag_and_extra_url_parts_are_refused() {
        assert_eq!(
            Endpoint::parse("http://127.0.0.1:1", false),
            Err(EndpointError::PlainHttp("http://127.0.0.1:1".into()))
        );
        assert_eq!(Endpoint::parse("http://127.0.0.1:1", true).unwrap().host(), "127.0.0.1:1");
        for bad in ["", "https://", "https://a/b", "https://a/?q=1", "https://u:p@a", "ftp://a"] {
            assert!(matches!(Endpoint::parse(bad, true), Err(EndpointError::Malformed(_))), "{bad}");
        }
    }
}
