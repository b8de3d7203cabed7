//! Serves the health endpoints and the metrics.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

use super::metrics::{self, Metrics};

/// Serves `/healthz` (always 200), `/readyz` (200, or 503 with the error of `ready`) and `/metrics` until the process
/// ends.
///
/// # Errors
/// If accepting a connection fails.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    ready: impl Fn() -> Result<(), String> + Send + Sync + 'static,
) -> std::io::Result<()> {
    let ready = Arc::new(ready);
    let probed = Arc::clone(&ready);
    let probe = move || async move {
        match probed() {
            Ok(()) => (StatusCode::OK, "ok".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        }
    };
    let scrape = move || async move {
        let text = metrics.render(ready().is_ok());
        text.map(|text| ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text)).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    };
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(probe))
        .route("/metrics", get(scrape));
    axum::serve(listener, app).await
}
