//! A tower layer that counts the requests of the Kubernetes client.

use std::task::{Context, Poll};

use axum::http::{Method, Request, Response};
use futures::future::BoxFuture;
use tower::{Layer, Service};

use super::labels::RequestLabels;
use super::register::Counters;

/// Counts the requests to the apiserver at `host`.
#[derive(Debug, Clone)]
pub struct CountRequests {
    pub(super) requests: Counters<RequestLabels>,
    pub(super) host: String,
}

/// A wrapped service that counts its requests.
#[derive(Debug, Clone)]
pub struct CountedService<S> {
    inner: S,
    layer: CountRequests,
}

impl<S> Layer<S> for CountRequests {
    type Service = CountedService<S>;

    fn layer(&self, inner: S) -> CountedService<S> {
        CountedService { inner, layer: self.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for CountedService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let in_flight = InFlightRequest { layer: self.layer.clone(), method: label(request.method()), code: None };
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await;
            in_flight.complete(match &response {
                Ok(response) => response.status().as_str().to_owned(),
                Err(_) => "unreachable".to_owned(),
            });
            response
        })
    }
}

/// A request that has no response yet. If it is dropped, it counts as a timeout, because callers implement timeouts by
/// dropping the request.
struct InFlightRequest {
    layer: CountRequests,
    method: &'static str,
    code: Option<String>,
}

impl InFlightRequest {
    fn complete(mut self, code: String) {
        self.code = Some(code);
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        let code = self.code.take().unwrap_or_else(|| "timeout".to_owned());
        let labels = RequestLabels { code, method: self.method, host: self.layer.host.clone() };
        self.layer.requests.get_or_create(&labels).inc();
    }
}

fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A server that responds with the status in the path. It fails for `/reset`, and never responds to other paths.
    #[derive(Clone)]
    struct Server;

    impl Service<Request<()>> for Server {
        type Response = Response<()>;
        type Error = &'static str;
        type Future = BoxFuture<'static, Result<Response<()>, &'static str>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<()>) -> Self::Future {
            Box::pin(async move {
                match request.uri().path() {
                    "/reset" => Err("connection reset"),
                    path => match path[1..].parse::<u16>() {
                        Ok(status) => Ok(Response::builder().status(status).body(()).unwrap()),
                        Err(_) => std::future::pending().await,
                    },
                }
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_request_is_counted_once() {
        let requests = Counters::default();
        let mut client = CountRequests { requests: requests.clone(), host: "api:443".to_owned() }.layer(Server);
        for (method, path) in [
            ("GET", "/200"),
            ("GET", "/200"),
            ("PATCH", "/422"),
            ("POST", "/reset"),
            ("GET", "/never"),
            ("TRACE", "/200"),
        ] {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            let _ = tokio::time::timeout(Duration::from_secs(10), client.call(request)).await;
        }
        let count = |method, code: &str| {
            let labels = RequestLabels { code: code.to_owned(), method, host: "api:443".to_owned() };
            requests.get(&labels).map_or(0, |counter| counter.get())
        };
        assert_eq!(count("GET", "200"), 2);
        assert_eq!(count("PATCH", "422"), 1);
        assert_eq!(count("POST", "unreachable"), 1);
        assert_eq!(count("GET", "timeout"), 1);
        assert_eq!(count("other", "200"), 1);
        let (mut all, mut registry) = (String::new(), prometheus_client::registry::Registry::default());
        registry.register("requests", "", requests.clone());
        prometheus_client::encoding::text::encode(&mut all, &registry).unwrap();
        assert_eq!(all.lines().filter(|line| line.starts_with("requests_total{")).count(), 5, "{all}");
    }
}
