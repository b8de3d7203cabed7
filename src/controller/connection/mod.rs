//! The connections to the apiserver, with a timeout for every request.
//!
//! The module owns the clients. It imports no module of the controller. Its invariant: every request has a timeout for
//! the head of its response, and a client closes a connection that receives no data for longer than the client's read
//! timeout.

mod throttle;

use std::sync::Arc;
use std::time::Duration;

use http::{Response, Uri};
use kube::Client;
use kube::client::ClientBuilder;
use tower::timeout::TimeoutLayer;
use tower::util::MapResponseLayer;

use crate::telemetry::Metrics;
pub use throttle::Throttle;

/// The timeout of a request to the apiserver. It does not apply to the body of a watch.
pub const API_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeout for connecting, including the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for the apiserver, with its own `Retry-After` delay.
#[derive(Clone)]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// The delay that the apiserver requests with `Retry-After`.
    pub throttle: Arc<Throttle>,
}

/// The connections to the apiserver. Watches use a separate client with a longer read timeout, because a working watch
/// can go without data for longer than the timeout of a request.
#[derive(Clone)]
pub struct Connections {
    /// The connection for reads and writes.
    pub requests: Connection,
    /// The connection for watches. The lists that precede them use `requests`.
    pub watches: Connection,
}

impl Connections {
    /// Creates the clients for a cluster. `longest_watch` is the maximum duration of a watch.
    ///
    /// # Errors
    /// Returns an error if the settings of the cluster are invalid.
    pub fn new(cluster: &kube::Config, longest_watch: Duration, metrics: &Metrics) -> kube::Result<Self> {
        let requests = connection(cluster.clone(), API_TIMEOUT, metrics)?;
        Ok(Self { requests, watches: connection(cluster.clone(), longest_watch, metrics)? })
    }
}

/// Uses the same client for requests and watches, and sets no timeouts.
#[cfg(test)]
impl From<Client> for Connections {
    fn from(client: Client) -> Self {
        let connection = Connection { client, throttle: Arc::default() };
        Self { requests: connection.clone(), watches: connection }
    }
}

fn connection(mut cluster: kube::Config, silence: Duration, metrics: &Metrics) -> kube::Result<Connection> {
    cluster.connect_timeout = Some(CONNECT_TIMEOUT);
    // The read timeout also closes idle connections, because a network failure can break a connection without an error.
    cluster.read_timeout = Some(silence);
    cluster.reset_reader_on_write = true;
    // The queue retries failed requests. With additional retries in the client, a request could take minutes.
    cluster.default_retry = false;
    let throttle: Arc<Throttle> = Arc::default();
    let observed = Arc::clone(&throttle);
    let client = ClientBuilder::try_from(cluster.clone())?
        .with_layer(&metrics.count_requests(host_and_port(&cluster.cluster_url)))
        .with_layer(&MapResponseLayer::new(move |response: Response<_>| observed.observe(response)))
        .with_layer(&TimeoutLayer::new(API_TIMEOUT))
        .build();
    Ok(Connection { client, throttle })
}

/// The host and port, without user information, which may contain a password.
fn host_and_port(url: &Uri) -> String {
    let host = url.host().unwrap_or_default();
    url.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use tower::timeout::error::Elapsed;

    use super::*;
    use crate::live::loopback::{Act, Loopback, answer_with};

    fn connections(server: &Loopback) -> Connections {
        let cluster = kube::Config::new(server.origin.parse().unwrap());
        Connections::new(&cluster, Duration::from_secs(30), &Metrics::default()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn request_without_an_answer_ends_after_ten_seconds() {
        let server = Loopback::start(|_| Act::Silence).await;
        let connections = connections(&server);
        for connection in [connections.requests, connections.watches] {
            let started = Instant::now();
            let error = connection.client.apiserver_version().await.unwrap_err();
            assert!(matches!(&error, kube::Error::Service(inner) if inner.is::<Elapsed>()), "{error}");
            assert_eq!(started.elapsed(), API_TIMEOUT);
        }
    }

    #[tokio::test]
    async fn retry_after_of_an_answer_delays_the_next_request() {
        let server = Loopback::start(|_| answer_with(429, "retry-after: 2\r\n", "busy")).await;
        let Connections { requests, watches } = connections(&server);
        requests.client.apiserver_version().await.unwrap_err();
        let started = Instant::now();
        watches.throttle.wait().await;
        assert!(started.elapsed() < Duration::from_secs(1), "each client has its own delay");
        requests.throttle.wait().await;
        assert!(started.elapsed() > Duration::from_secs(1));
    }

    #[test]
    fn host_label_has_no_user_information() {
        let label = |url: &'static str| host_and_port(&Uri::from_static(url));
        assert_eq!(label("https://admin:hush@10.96.0.1:6443/prefix"), "10.96.0.1:6443");
        assert_eq!(label("https://[fd00::1]:443"), "[fd00::1]:443");
        assert_eq!(label("https://kubernetes.example.com/"), "kubernetes.example.com");
    }
}
