//! The client of one watch. If the apiserver does not end the watch in time, the client ends it. If a line of the watch
//! cannot be decoded, the client ends the watch with an error, and the `kube` library lists the objects again.
//!
//! On its own, the library ignores a truncated line, and waits indefinitely for a watch to end. In both cases, the
//! operator would miss changes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use http_body::{Body as HttpBody, Frame};
use kube::Client;
use kube::client::Body;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::{Instant, Sleep, sleep_until};

use super::health::WatchHealth;
use crate::controller::connection::{API_TIMEOUT, Connections};
use crate::resources::UsedMetadata;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// If the apiserver does not end a watch at its timeout, the operator ends the watch after this additional delay.
pub const GRACE: Duration = Duration::from_secs(5);

/// The maximum size of a line. An object occupies at most 1.5 MiB in etcd.
const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;

/// Creates a client for one watch. The client reports to `health`.
///
/// Each watch opens its own connection and closes it when the watch ends. If the connection stayed open, a network
/// failure could break it without an error. The next watch on this connection would get no response, and the operator
/// would miss changes for another [`API_TIMEOUT`]. Lists use the same connections as all other requests. Each of these
/// connections is closed when it has been idle for [`API_TIMEOUT`].
pub fn client(connections: &Connections, health: &Arc<WatchHealth>) -> Client {
    let (connections, health) = (connections.clone(), Arc::clone(health));
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let is_watch = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
        let connection = if is_watch { &connections.watches } else { &connections.requests }.clone();
        let health = Arc::clone(&health);
        async move {
            connection.throttle.wait().await;
            if is_watch {
                request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
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

/// An error in the response body of a list or a watch.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("the apiserver did not end the watch in time; the connection may be lost")]
    SilentWatch,
    #[error("the apiserver did not send the rest of its response")]
    SilentList,
}

/// The body of a response.
struct WatchBody {
    body: Body,
    health: Arc<WatchHealth>,
    /// For a watch, the deadline of the whole connection. For a list, the deadline for the next part of the body.
    limit: Pin<Box<Sleep>>,
    /// For a watch, the incomplete last line.
    lines: Option<Lines>,
    has_ended: bool,
}

impl WatchBody {
    fn new(body: Body, health: Arc<WatchHealth>, is_watch: bool) -> Self {
        let limit = if is_watch { longest_watch(health.seconds) } else { API_TIMEOUT };
        let limit = Box::pin(sleep_until(Instant::now() + limit));
        Self { body, health, limit, lines: is_watch.then(Lines::default), has_ended: false }
    }

    /// Handles received data. Returns the data to pass to the library, or `None` if no line is complete yet.
    fn received(&mut self, data: Bytes) -> Option<Bytes> {
        let Some(lines) = &mut self.lines else {
            self.limit.as_mut().reset(Instant::now() + API_TIMEOUT);
            return Some(data);
        };
        match lines.add(&data) {
            Ok(None) => None,
            Ok(Some(complete)) => {
                self.health.alive();
                Some(complete)
            }
            Err(why) => Some(self.expire(why)),
        }
    }

    /// Handles a body that has ended. Returns an error event if the last line is truncated.
    fn ended(&mut self) -> Option<Bytes> {
        self.has_ended = true;
        match self.lines.as_ref().map(Lines::finish) {
            Some(Err(why)) => Some(self.expire(why)),
            Some(Ok(())) | None => {
                self.health.alive();
                None
            }
        }
    }

    /// Ends the watch, and returns the event that the apiserver sends when a resource version has expired. The library
    /// reports the message of this event as an error, and lists the objects again.
    fn expire(&mut self, why: &str) -> Bytes {
        self.has_ended = true;
        let message = format!("a line of the watch cannot be decoded: {why}");
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "reason": "Expired", "code": 410, "message": message});
        format!("{}\n", json!({"type": "ERROR", "object": status})).into()
    }
}

/// The maximum duration of a watch that the apiserver ends after `seconds`.
pub fn longest_watch(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into()) + GRACE
}

impl HttpBody for WatchBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while !self.has_ended {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                ready!(self.limit.as_mut().poll(context));
                self.has_ended = true;
                let is_watch = self.lines.is_some();
                let error = if is_watch { BodyError::SilentWatch } else { BodyError::SilentList };
                return Poll::Ready(Some(Err(error.into())));
            };
            let data = match frame {
                Some(Ok(frame)) => frame.into_data().ok().and_then(|data| self.received(data)),
                Some(Err(error)) => {
                    self.has_ended = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => self.ended(),
            };
            if let Some(data) = data {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        Poll::Ready(None)
    }
}

/// The incomplete last line of a watch. [`Lines::add`] returns complete lines only if each of them is an event.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

/// The fields that every event has.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only decoded")]
struct Line {
    r#type: LineType,
    object: Object,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum LineType {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only decoded")]
struct Object {
    #[serde(default)]
    metadata: UsedMetadata,
}

impl Lines {
    fn add(&mut self, data: &[u8]) -> Result<Option<Bytes>, &'static str> {
        let Some(end) = data.iter().rposition(|byte| *byte == b'\n') else {
            self.0.extend_from_slice(data);
            if self.0.len() > MAX_LINE_BYTES {
                return Err("it is too long");
            }
            return Ok(None);
        };
        let (complete, rest) = data.split_at(end + 1);
        let mut lines = std::mem::replace(&mut self.0, rest.to_vec());
        lines.extend_from_slice(complete);
        lines.split(|byte| *byte == b'\n').try_for_each(check)?;
        Ok(Some(if lines.split(|byte| *byte == b'\n').all(has_type_first) { lines } else { reordered(&lines)? }.into()))
    }

    /// Checks the last line, which may lack its newline.
    fn finish(&self) -> Result<(), &'static str> {
        check(&self.0)
    }
}

/// Whether the type of an event comes before its object. If it does not, the library buffers the object until it has
/// read the type. A LiveMessageGroup cannot be decoded from this buffer, because its decoder needs the JSON text.
fn has_type_first(line: &[u8]) -> bool {
    line.trim_ascii().is_empty() || line.starts_with(b"{\"type\":")
}

/// Returns the same events, with the type of each event before its object.
fn reordered(lines: &[u8]) -> Result<Vec<u8>, &'static str> {
    #[derive(Deserialize, Serialize)]
    struct Event<'a> {
        #[serde(borrow)]
        r#type: &'a RawValue,
        #[serde(borrow)]
        object: &'a RawValue,
    }
    let mut all = Vec::with_capacity(lines.len());
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let event: Event<'_> = serde_json::from_slice(line).map_err(|_| "it is not an event")?;
        serde_json::to_writer(&mut all, &event).map_err(|_| "it is not an event")?;
        all.push(b'\n');
    }
    Ok(all)
}

/// Checks that a line is an event. The error does not quote the line.
fn check(line: &[u8]) -> Result<(), &'static str> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    // The decoder does not check the strings that it skips, but the library rejects invalid UTF-8.
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8")?;
    serde_json::from_str::<Line>(text).map(drop).map_err(|error| match error.classify() {
        Category::Eof => "it is truncated",
        Category::Data => "it is not an event",
        Category::Syntax | Category::Io => "it is not JSON",
    })
}

#[cfg(test)]
mod tests;
