//! Restricts the endpoints of LiveAccounts, because the operator can reach networks that the tenants cannot reach.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::Endpoint;
use super::endpoint::{EndpointError, canonical, is_live_api_host};

/// The hosts of the Live API, as shown in messages. [`is_live_api_host`] checks a host.
const LIVE_API_HOSTS: &str = "live.aliyuncs.com, live.REGION.aliyuncs.com, live-vpc.REGION.aliyuncs.com";

/// A host name in which `*` matches one label, an IP address, or `*` for all hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern(String);

/// The error for a text that is not a [`HostPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "use a host such as live.example.com, a pattern such as *.example.com (`*` stands for one label), or `*` for all \
     hosts"
)]
pub struct InvalidHostPattern;

impl FromStr for HostPattern {
    type Err = InvalidHostPattern;

    fn from_str(text: &str) -> Result<Self, InvalidHostPattern> {
        let pattern = canonical(text);
        let is_label = |label: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
            label == "*" || (!label.is_empty() && label.len() <= 63 && label.chars().all(plain))
        };
        let is_address = || pattern.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let fits = pattern.len() <= 253 && (pattern.split('.').all(is_label) || is_address());
        fits.then_some(Self(pattern)).ok_or(InvalidHostPattern)
    }
}

impl HostPattern {
    /// Whether the pattern matches this host.
    pub fn matches(&self, host: &str) -> bool {
        let host = canonical(host);
        if self.0 == "*" {
            return true;
        }
        // Brackets are ignored, because an IPv6 address has brackets in a URL but may have none in the pattern.
        let (pattern, host) = (self.0.trim_matches(['[', ']']), host.trim_matches(['[', ']']));
        let (mut expected, mut actual) = (pattern.split('.'), host.split('.'));
        loop {
            match (expected.next(), actual.next()) {
                (None, None) => return true,
                (Some("*"), Some(label)) if !label.is_empty() => {}
                (Some(expected), Some(label)) if expected == label => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The endpoints that LiveAccounts may use. The operator's own endpoint is always permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPolicy {
    /// The operator's own endpoint, which a LiveAccount without an endpoint uses.
    pub own: Endpoint,
    /// The hosts that LiveAccounts may use. If the list is empty, the hosts of the Live API are permitted.
    pub hosts: Vec<HostPattern>,
    /// Whether LiveAccounts may use plain http. The operator's own endpoint is not affected.
    pub allow_http: bool,
}

/// The reason why a LiveAccount may not use its endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointRefusal {
    /// The text is not an endpoint.
    #[error(transparent)]
    Invalid(#[from] EndpointError),
    /// The host is not permitted.
    #[error(
        "the host of endpoint {endpoint} is not permitted: use one of {hosts}; omit spec.endpoint to use the \
         operator's own endpoint; or ask the administrator to add the host to --account-endpoints"
    )]
    Host {
        /// The endpoint.
        endpoint: Endpoint,
        /// The permitted hosts.
        hosts: String,
    },
    /// The endpoint is plain http.
    #[error(
        "endpoint {0} uses plain http, which is not permitted for LiveAccounts: use https, or ask the administrator to \
         set --account-allow-http (for an emulator)"
    )]
    PlainHttp(Endpoint),
}

impl EndpointPolicy {
    /// Returns the endpoint of a LiveAccount. `named` is the `spec.endpoint` of the LiveAccount. If `named` is `None`,
    /// the LiveAccount uses the operator's own endpoint.
    ///
    /// # Errors
    /// Returns the reason why the LiveAccount may not use the endpoint. A condition shows this reason.
    pub fn endpoint(&self, named: Option<&str>) -> Result<Endpoint, EndpointRefusal> {
        let Some(text) = named else { return Ok(self.own.clone()) };
        let endpoint = Endpoint::parse(text, true)?;
        if endpoint == self.own {
            return Ok(endpoint);
        }
        if !self.permits(hostname(&endpoint)) {
            return Err(EndpointRefusal::Host { endpoint, hosts: self.shown_hosts() });
        }
        if endpoint.url("").scheme() == "http" && !self.allow_http {
            return Err(EndpointRefusal::PlainHttp(endpoint));
        }
        Ok(endpoint)
    }

    /// Whether conditions may show the errors of this endpoint. They may show errors only from hosts of the Live API
    /// and from the operator's own endpoint. A tenant could use the errors of other hosts to probe the operator's
    /// network.
    pub fn shows_errors_of(&self, endpoint: &Endpoint) -> bool {
        *endpoint == self.own || is_live_api_host(hostname(endpoint))
    }

    fn permits(&self, host: &str) -> bool {
        if self.hosts.is_empty() { is_live_api_host(host) } else { self.hosts.iter().any(|known| known.matches(host)) }
    }

    fn shown_hosts(&self) -> String {
        if self.hosts.is_empty() {
            return LIVE_API_HOSTS.to_owned();
        }
        self.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// Returns the host of an endpoint, without the port.
fn hostname(endpoint: &Endpoint) -> &str {
    let host = endpoint.host();
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    // The text after the last colon is not a port if it ends with the bracket of an IPv6 address.
    if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("live.aliyuncs.com", true)]
    #[case("live.aliyuncs.com.", true)]
    #[case("LIVE.aliyuncs.COM", true)]
    #[case("live.ap-southeast-1.aliyuncs.com", true)]
    #[case("live-vpc.cn-shanghai.aliyuncs.com.", true)]
    #[case("live-vpc.aliyuncs.com", false)]
    #[case("live.aliyuncs.com..", false)]
    #[case("live.aliyuncs.com.example.com", false)]
    #[case("xlive.aliyuncs.com", false)]
    #[case("live.cn-hangzhou.oss.aliyuncs.com", false)]
    // This host serves an OSS bucket named `live`.
    #[case("live.oss-cn-hangzhou.aliyuncs.com", false)]
    #[case("ecs.cn-hangzhou.aliyuncs.com", false)]
    #[case("aliyuncs.com", false)]
    #[case("", false)]
    fn live_api_hosts_are_recognized(#[case] host: &str, #[case] expected: bool) {
        assert_eq!(is_live_api_host(host), expected);
    }

    #[rstest]
    #[case("*", "anything.example.com", true)]
    #[case("*", "10.0.0.1", true)]
    #[case("live.example.com", "live.example.com", true)]
    #[case("Live.Example.com.", "live.example.com", true)]
    #[case("live.example.com", "live.example.com.", true)]
    #[case("live.example.com", "xlive.example.com", false)]
    #[case("live.example.com", "a.live.example.com", false)]
    #[case("*.example.com", "a.example.com", true)]
    #[case("*.example.com", "example.com", false)]
    #[case("*.example.com", "a.b.example.com", false)]
    #[case("live.*.example.com", "live.x.example.com", true)]
    #[case("10.0.0.*", "10.0.0.7", true)]
    #[case("[fd00::1]", "[fd00::1]", true)]
    #[case("fd00::1", "[fd00::1]", true)]
    #[case("fd00::1", "[fd00::2]", false)]
    fn star_stands_for_one_label(#[case] pattern: &str, #[case] host: &str, #[case] expected: bool) {
        assert_eq!(pattern.parse::<HostPattern>().unwrap().matches(host), expected);
    }

    #[test]
    fn invalid_host_patterns_are_refused() {
        for text in ["", ".", "a..b", "live*.example.com", "https://a", "a:8443", "a/b", "a b", "**", &"a".repeat(64)] {
            assert_eq!(text.parse::<HostPattern>(), Err(InvalidHostPattern), "{text:?}");
        }
    }

    fn policy(own: &str, hosts: &[&str], allow_http: bool) -> EndpointPolicy {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        EndpointPolicy { own: Endpoint::parse(own, true).unwrap(), hosts, allow_http }
    }

    const PUBLIC: &str = "https://live.aliyuncs.com";
    const LOOPBACK: &str = "http://127.0.0.1:8787";

    #[rstest]
    #[case::own(LOOPBACK, &[], false, None, Some(LOOPBACK))]
    #[case::own_by_name(LOOPBACK, &[], false, Some(LOOPBACK), Some(LOOPBACK))]
    #[case::own_is_never_excluded(LOOPBACK, &["a.example"], false, Some(LOOPBACK), Some(LOOPBACK))]
    #[case::another_port(LOOPBACK, &[], true, Some("http://127.0.0.1:22"), None)]
    #[case::region(PUBLIC, &[], false, Some("live.cn-beijing.aliyuncs.com"), Some("https://live.cn-beijing.aliyuncs.com"))]
    #[case::internal(PUBLIC, &[], true, Some("https://kubernetes.default.svc"), None)]
    #[case::metadata(PUBLIC, &[], true, Some("http://100.100.100.200"), None)]
    #[case::decimal_address(PUBLIC, &["127.0.0.1"], true, Some("http://2130706433"), Some("http://127.0.0.1"))]
    #[case::listed(PUBLIC, &["a.example"], false, Some("https://a.example:8443"), Some("https://a.example:8443"))]
    #[case::not_listed(PUBLIC, &["a.example"], false, Some("https://live.cn-beijing.aliyuncs.com"), None)]
    #[case::http(PUBLIC, &["a.example"], false, Some("http://a.example"), None)]
    #[case::http_of_the_service(PUBLIC, &[], false, Some("http://live.cn-beijing.aliyuncs.com"), None)]
    #[case::http_allowed(PUBLIC, &["a.example"], true, Some("http://a.example"), Some("http://a.example"))]
    #[case::all(PUBLIC, &["*"], false, Some("https://10.1.2.3"), Some("https://10.1.2.3"))]
    #[case::malformed(PUBLIC, &["*"], true, Some("https://a/b"), None)]
    fn endpoint_is_permitted_by_host_and_scheme(
        #[case] own: &str,
        #[case] hosts: &[&str],
        #[case] allow_http: bool,
        #[case] named: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        let endpoint = policy(own, hosts, allow_http).endpoint(named).ok();
        assert_eq!(endpoint.map(|endpoint| endpoint.to_string()).as_deref(), expected);
    }

    #[test]
    fn refusal_lists_the_permitted_hosts() {
        let refusal =
            |hosts: &[&str], named| policy(PUBLIC, hosts, false).endpoint(Some(named)).unwrap_err().to_string();
        let host = refusal(&[], "https://a.example");
        assert!(
            host.contains("https://a.example is not permitted") && host.contains("live.REGION.aliyuncs.com"),
            "{host}"
        );
        assert!(refusal(&["b.example", "*.c.example"], "https://a.example").contains("b.example, *.c.example"));
        assert!(refusal(&["*"], "http://a.example").contains("--account-allow-http"));
    }

    #[test]
    fn errors_of_foreign_hosts_are_not_shown() {
        let policy = policy(LOOPBACK, &["*"], true);
        let shows = |text| policy.shows_errors_of(&Endpoint::parse(text, true).unwrap());
        assert!(shows(LOOPBACK) && shows("https://live.cn-shanghai.aliyuncs.com"));
        assert!(!shows("http://127.0.0.1:8788") && !shows("https://live.oss-cn-shanghai.aliyuncs.com"));
    }
}
