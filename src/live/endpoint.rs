//! The address of the service.

/// The service's own address: one host for both data centres, `DataCenter` routes.
pub const DEFAULT_ENDPOINT: &str = "https://live.aliyuncs.com";

/// The host of [`DEFAULT_ENDPOINT`].
pub const DEFAULT_HOST: &str = "live.aliyuncs.com";

/// A checked endpoint: scheme and host, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    origin: String,
    host: String,
}

/// Why an endpoint is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL, or one with more than scheme, host and port.
    #[error("endpoint {0:?} is not of the form https://HOST[:PORT]")]
    Malformed(String),
    /// Plain HTTP sends security tokens in the clear.
    #[error("endpoint {0:?} is plain http: use https, or allow it with --allow-http (for an emulator on loopback)")]
    PlainHttp(String),
}

impl Endpoint {
    /// Checks `text`: `https://HOST[:PORT]`, or `HOST[:PORT]`, which means https. `http://` only with `allow_http`.
    ///
    /// # Errors
    /// [`EndpointError`], which names the text and what to write instead.
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

    /// The host as it stands in the `host` header: with the port where it is not the scheme's own.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address of a request with this query.
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
    fn https_is_the_rule_and_the_default_port_is_not_signed() {
        assert_eq!(Endpoint::parse("live.aliyuncs.com", false).unwrap().host(), "live.aliyuncs.com");
        assert_eq!(Endpoint::parse("https://a.example:443/", false).unwrap().host(), "a.example");
        assert_eq!(Endpoint::parse("https://a.example:8443", false).unwrap().url("a=b"), "https://a.example:8443/?a=b");
    }

    #[test]
    fn plain_http_needs_its_flag_and_anything_more_than_a_host_is_refused() {
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
