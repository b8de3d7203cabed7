//! `/healthz` and `/readyz` for the kubelet.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

/// Serves `/healthz` (the process runs) and `/readyz` (200, or 503 with what `ready` says is missing) until the process
/// ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve_probes(
    listener: TcpListener,
    ready: impl Fn() -> Result<(), String> + Send + Sync + 'static,
) -> std::io::Result<()> {
    let ready = Arc::new(ready);
    let app = Router::new().route("/healthz", get(|| async { "ok" })).route(
        "/readyz",
        get(move || {
            let ready = Arc::clone(&ready);
            async move {
                match ready() {
                    Ok(()) => (StatusCode::OK, "ok".to_owned()),
                    Err(what) => (StatusCode::SERVICE_UNAVAILABLE, what),
                }
            }
        }),
    );
    axum::serve(listener, app).await
}
