//! The endpoint of the Live API.

/// The public endpoint. One host serves both data centers; the parameter `DataCenter` selects one.
pub const DEFAULT_ENDPOINT: &str = "https://live.aliyuncs.com";

/// The host of [`DEFAULT_ENDPOINT`].
pub const DEFAULT_HOST: &str = "live.aliyuncs.com";

/// A validated endpoint: scheme, host and optional port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    origin: String,
    host: String,
}

/// The error of an invalid endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The text is not a URL, or has parts other than scheme, host and port.
    #[error("endpoint {0:?} is not of the form https://HOST[:PORT]")]
    Malformed(String),
    /// The URL uses plain HTTP, which sends security tokens unencrypted.
    #[error("endpoint {0:?} is plain http: use https, or allow it with --allow-http (for an emulator on loopback)")]
    PlainHttp(String),
}

impl Endpoint {
    /// Parses `https://HOST[:PORT]`, or `HOST[:PORT]`, which defaults to HTTPS. `http://` requires `allow_http`.
    ///
    /// # Errors
    /// Returns an [`EndpointError`], which names the text and the expected form.
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed(text.to_owned());
        let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = reqwest::Url::parse(&full).map_err(|_| malformed())?;
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
        Ok(Self { origin: format!("{}://{host}", url.scheme()), host })
    }

    /// The value of the `host` header: the host, with the port if it is not the default port of the scheme.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The URL of a request with this query.
    pub fn url(&self, query: &str) -> String {
        if query.is_empty() { format!("{}/", self.origin) } else { format!("{}/?{query}", self.origin) }
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
        assert_eq!(Endpoint::parse("https://a.example:8443", false).unwrap().url("a=b"), "https://a.example:8443/?a=b");
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
