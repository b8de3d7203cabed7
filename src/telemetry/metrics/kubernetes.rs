//! Counts the requests of a client of the apiserver, as a layer around it.

use std::task::{Context, Poll};

use axum::http::{Method, Request, Response};
use futures::future::BoxFuture;
use tower::{Layer, Service};

use super::labels::RequestLabels;
use super::register::Counters;

/// The layer.
#[derive(Debug, Clone)]
pub struct CountRequests {
    pub(super) requests: Counters<RequestLabels>,
}

/// A client whose requests are counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    requests: Counters<RequestLabels>,
}

impl<S> Layer<S> for CountRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, requests: self.requests.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for Counted<S>
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
        let asked = Asked { requests: self.requests.clone(), method: word(request.method()), code: None };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            asked.answered(match &answer {
                Ok(answer) => answer.status().as_str().to_owned(),
                Err(_) => "unreachable".to_owned(),
            });
            answer
        })
    }
}

/// A request that is out. The client has no time-out: whoever waits too long for it drops it.
struct Asked {
    requests: Counters<RequestLabels>,
    method: &'static str,
    code: Option<String>,
}

impl Asked {
    fn answered(mut self, code: String) {
        self.code = Some(code);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let code = self.code.take().unwrap_or_else(|| "timeout".to_owned());
        self.requests.get_or_create(&RequestLabels { method: self.method, code }).inc();
    }
}

fn word(method: &Method) -> &'static str {
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

    /// Answers with the status that the path names; never, where it names none.
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
    async fn every_request_is_counted_once_whatever_becomes_of_it() {
        let requests = Counters::default();
        let mut client = CountRequests { requests: requests.clone() }.layer(Server);
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
            requests.get(&RequestLabels { method, code: code.to_owned() }).map_or(0, |counter| counter.get())
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
