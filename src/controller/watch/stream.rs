//! The connection of one watch: it ends silent watches. The library would renew them without a report.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame};
use kube::Client;
use kube::client::Body;
use tokio::time::{Instant, Sleep, sleep_until};

use super::health::WatchHealth;
use crate::controller::connection::{API_TIMEOUT, Connection};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long after its time-out a watch is dropped, if the apiserver has not ended it.
pub const GRACE: Duration = Duration::from_secs(5);

/// A client for one watch, which reports to `health`.
pub fn client(connection: &Connection, health: &Arc<WatchHealth>) -> Client {
    let (connection, health) = (connection.clone(), Arc::clone(health));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (connection, health) = (connection.clone(), Arc::clone(&health));
        async move {
            let is_watch = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
            connection.throttle.wait().await;
            let response = connection.client.send(request).await?;
            if !response.status().is_success() {
                health.alive();
            } else if is_watch {
                health.started();
            }
            let is_watch = is_watch && response.status().is_success();
            Ok::<_, BoxError>(response.map(|body| WatchBody::new(body, health, is_watch)))
        }
    });
    Client::new(service, "default")
}

/// Why the body of a list or of a watch failed.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("the apiserver did not end the watch, the connection may be silent")]
    SilentWatch,
    #[error("the apiserver did not send the rest of its answer")]
    SilentAnswer,
}

/// The body of a response.
struct WatchBody {
    body: Body,
    health: Arc<WatchHealth>,
    /// For a watch, the time after which it is dropped. For a list, that of its next part.
    limit: Pin<Box<Sleep>>,
    is_watch: bool,
    has_ended: bool,
}

impl WatchBody {
    fn new(body: Body, health: Arc<WatchHealth>, is_watch: bool) -> Self {
        let limit = if is_watch { longest_watch(health.seconds) } else { API_TIMEOUT };
        let limit = Box::pin(sleep_until(Instant::now() + limit));
        Self { body, health, limit, is_watch, has_ended: false }
    }

    fn received(&mut self) {
        if self.is_watch {
            self.health.alive();
        } else {
            self.limit.as_mut().reset(Instant::now() + API_TIMEOUT);
        }
    }

    fn ended(&mut self) {
        self.has_ended = true;
        self.health.alive();
    }
}

/// The longest time from the start of a watch to its end.
pub fn longest_watch(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into()) + GRACE
}

impl HttpBody for WatchBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            ready!(self.limit.as_mut().poll(context));
            self.has_ended = true;
            let error = if self.is_watch { BodyError::SilentWatch } else { BodyError::SilentAnswer };
            return Poll::Ready(Some(Err(error.into())));
        };
        match &frame {
            Some(Ok(_)) => self.received(),
            Some(Err(_)) => self.has_ended = true,
            None => self.ended(),
        }
        Poll::Ready(frame.map(|frame| Ok(frame?)))
    }
}

#[cfg(test)]
mod tests;
