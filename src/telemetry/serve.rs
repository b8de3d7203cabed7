//! Serves the health endpoints and the metrics.
//!
//! Every pod in the cluster can reach the port, so the server limits the number of connections, the size and duration
//! of a request, and the duration of a connection. Each connection serves one request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::metrics::{self, Metrics};

/// The maximum number of open connections. At this limit, the server closes the oldest connection to serve a new one.
/// Probes and scrapes are short, so the oldest connection is probably stuck.
const MAX_CONNECTIONS: usize = 64;

/// The time limit for the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The time limit for a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// The maximum size of the request line and the headers. No body is read.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The delay after the server fails to accept a connection, for example because the process has no free file
/// descriptors.
const ACCEPT_DELAY: Duration = Duration::from_secs(1);

/// A check that determines the response to a probe: 200 if the check succeeds, or 503 with the error if it fails.
trait Check: Fn() -> Result<(), String> + Send + Sync + 'static {}

impl<F: Fn() -> Result<(), String> + Send + Sync + 'static> Check for F {}

/// Serves `/healthz`, `/livez`, `/readyz` and `/metrics`. This function never returns.
///
/// `/healthz` always responds with 200. `/livez` and `/readyz` respond with 200, or with 503 and the error.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    live: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ready: impl Fn() -> Result<(), String> + Send + Sync + 'static,
) {
    let app = router(metrics, Arc::new(live), Arc::new(ready));
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "failed to accept a connection to the health endpoints");
                sleep(ACCEPT_DELAY).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(serve_connection(stream, app.clone())).abort_handle());
    }
}

async fn serve_connection(stream: TcpStream, app: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    match timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection to the health endpoints failed"),
        Err(_) => tracing::debug!("closed a connection to the health endpoints that exceeded its time limit"),
    }
}

fn router(metrics: Arc<Metrics>, live: Arc<impl Check>, ready: Arc<impl Check>) -> Router {
    let probed = Arc::clone(&ready);
    let scrape = move || async move {
        // The metrics are rendered on a separate thread, so that a scrape does not delay a worker.
        let text = tokio::task::spawn_blocking(move || metrics.render(ready().is_ok())).await;
        let text = text.ok().and_then(Result::ok).ok_or(StatusCode::INTERNAL_SERVER_ERROR);
        text.map(|text| ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
    };
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/livez", get(move || std::future::ready(answer(live()))))
        .route("/readyz", get(move || std::future::ready(answer(probed()))))
        .route("/metrics", get(scrape))
}

fn answer(result: Result<(), String>) -> (StatusCode, String) {
    match result {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    async fn start() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Arc::default(), || Err("stuck".to_owned()), || Ok(())));
        address
    }

    /// Sends `request` and reads until the server closes the connection. Returns `None` if the connection is still open
    /// after `limit`.
    async fn exchange(address: SocketAddr, request: &str, limit: Duration) -> Option<String> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may close the connection before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut text = Vec::new();
        let _ = timeout(limit, stream.read_to_end(&mut text)).await.ok()?;
        Some(String::from_utf8(text).unwrap())
    }

    const PROBE: &str = "GET /healthz HTTP/1.1\r\nhost: pod\r\n\r\n";

    #[tokio::test]
    async fn idle_connections_do_not_keep_probes_out() {
        let address = start().await;
        let mut idle = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        for _ in 0..10 {
            let text = exchange(address, PROBE, Duration::from_secs(3)).await.unwrap();
            assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("ok"), "{text}");
        }
        // To serve the first probe, the server closed the oldest connection before the header timeout.
        let closed = timeout(Duration::from_secs(3), idle[0].read(&mut [0])).await;
        assert!(closed.is_ok_and(|read| read.is_ok_and(|bytes| bytes == 0)));
    }

    #[tokio::test]
    async fn slow_and_large_requests_are_closed() {
        let address = start().await;
        let started = Instant::now();
        let slow = exchange(address, "GET /healthz HTTP/1.1\r\nhost:", HEADER_TIMEOUT + Duration::from_secs(10)).await;
        assert!(slow.is_some() && started.elapsed() >= HEADER_TIMEOUT, "{slow:?} after {:?}", started.elapsed());
        let large = format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(MAX_HEADER_BYTES));
        let large = exchange(address, &large, Duration::from_secs(3)).await.unwrap();
        assert!(!large.starts_with("HTTP/1.1 200"), "{large}");
    }

    #[tokio::test]
    async fn every_connection_serves_one_request() {
        let address = start().await;
        let text = exchange(address, &format!("{PROBE}{PROBE}"), Duration::from_secs(3)).await.unwrap();
        assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
        let text = exchange(address, &PROBE.replace("healthz", "metrics"), Duration::from_secs(3)).await.unwrap();
        assert!(text.contains("live_message_operator_ready 1") && text.ends_with("# EOF\n"), "{text}");
        let text = exchange(address, &PROBE.replace("healthz", "livez"), Duration::from_secs(3)).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 503") && text.ends_with("stuck"), "{text}");
    }
}
