//! Tests of the connection of a watch, with an in-memory apiserver.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::Response;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, WatchEvent};
use kube::runtime::watcher::{self, Event, watcher};

use super::*;
use crate::controller::connection::Connections;
use crate::live::loopback::{Loopback, answer};
use crate::resources::{LiveMessageGroup, StoredGroup};
use crate::telemetry::Metrics;

/// A response of the apiserver. Each part of the body is sent after a delay in seconds. Then the body ends, or it stays
/// open without further data if `is_silent` is set.
#[derive(Clone)]
struct Answer {
    status: u16,
    parts: Vec<(u64, String)>,
    is_silent: bool,
}

fn ends(parts: &[(u64, &str)]) -> Answer {
    let parts = parts.iter().map(|(delay, part)| (*delay, (*part).to_owned())).collect();
    Answer { status: 200, parts, is_silent: false }
}

fn silent(parts: &[(u64, &str)]) -> Answer {
    Answer { is_silent: true, ..ends(parts) }
}

struct StreamBody(BoxStream<'static, Bytes>);

impl HttpBody for StreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_next_unpin(context).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

fn body(answer: Answer) -> StreamBody {
    let parts = stream::iter(answer.parts).then(|(delay, part)| async move {
        tokio::time::sleep(Duration::from_secs(delay)).await;
        Bytes::from(part)
    });
    let end = if answer.is_silent { stream::pending().boxed() } else { stream::empty().boxed() };
    StreamBody(parts.chain(end).boxed())
}

fn object(name: &str, version: u32) -> serde_json::Value {
    json!({"apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": version.to_string()}})
}

fn list(names: &[&str], version: u32) -> String {
    let items: Vec<_> = names.iter().map(|name| object(name, version)).collect();
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()}, "items": items})
        .to_string()
}

fn added(name: &str, version: u32) -> String {
    format!("{}\n", json!({"type": "ADDED", "object": object(name, version)}))
}

type Events = Pin<Box<dyn futures::Stream<Item = watcher::Result<Event<DynamicObject>>> + Send>>;

/// Returns the events of a watch. The apiserver answers the list requests with `lists` and the watch requests with
/// `watches`, in this order. It does not answer further requests.
fn events(lists: &[String], watches: &[Answer]) -> (Events, Arc<WatchHealth>, Connections) {
    let (lists, watches, listed, watched) =
        (lists.to_vec(), watches.to_vec(), AtomicUsize::new(0), AtomicUsize::new(0));
    let service = tower::service_fn(move |request: Request<Body>| {
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let answer = if is_watch {
            watches.get(watched.fetch_add(1, Ordering::Relaxed)).cloned()
        } else {
            lists.get(listed.fetch_add(1, Ordering::Relaxed)).map(|list| ends(&[(0, list)]))
        };
        async move {
            let Some(answer) = answer else { return std::future::pending().await };
            let response = Response::builder().status(answer.status);
            Ok::<_, BoxError>(response.body(body(answer))?)
        }
    });
    let connections = Connections::from(Client::new(service, "default"));
    let health: Arc<WatchHealth> = Arc::default();
    let resource = ApiResource::erase::<LiveMessageGroup>(&());
    let api: Api<DynamicObject> = Api::all_with(client(&connections, &health), &resource);
    let events = watcher(api, watcher::Config::default().timeout(health.seconds));
    (Box::pin(events), health, connections)
}

/// Returns a short description of the next event.
async fn next(events: &mut Events) -> String {
    // The clock is paused, so the timeout takes no real time.
    let next = tokio::time::timeout(Duration::from_secs(3600), events.next()).await.expect("nothing happens");
    match next.unwrap() {
        Ok(event) => event.to_string(),
        Err(watcher::Error::WatchError(status)) => format!("{} {}", status.code, status.message),
        Err(error) => super::super::error_chain(&error),
    }
}

#[tokio::test(start_paused = true)]
async fn truncated_line_is_reported_and_all_are_listed_again() {
    let line = added("lost", 3);
    for (parts, why) in [
        // In the first three cases, the line is truncated. It ends with or without a newline, and may be sent in
        // several parts.
        (vec![format!("{}{}\n", added("b", 2), &line[..line.len() / 2])], "it is truncated"),
        (vec![added("b", 2), line[..line.len() / 2].to_owned()], "it is truncated"),
        (vec![added("b", 2), line[..9].to_owned(), format!("{}\n", &line[9..40])], "it is truncated"),
        (vec![added("b", 2), "no JSON\n".to_owned()], "it is not JSON"),
        (vec![added("b", 2), "{\"type\": \"NEW\", \"object\": {}}\n".to_owned()], "it is not an event"),
        (vec![added("b", 2), "x".repeat(MAX_LINE_BYTES + 1)], "it is too long"),
    ] {
        let parts: Vec<(u64, &str)> = parts.iter().map(|part| (0, part.as_str())).collect();
        let (mut events, ..) = events(&[list(&["a"], 1), list(&["a", "b", "lost"], 3)], &[ends(&parts)]);
        let mut seen = Vec::new();
        for _ in 0..9 {
            seen.push(next(&mut events).await);
        }
        // `Apply(b)` is reported only if the event arrived in an earlier part of the body than the line that cannot be
        // decoded.
        seen.retain(|event| event != "Apply(b)");
        let error = format!("410 a line of the watch cannot be decoded: {why}");
        assert_eq!(seen[..5], ["Init", "InitApply(a)", "InitDone", &error, "Init"], "{why}");
        assert!(seen.contains(&"InitApply(lost)".to_owned()), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silent_watch_is_dropped_five_seconds_after_its_end() {
    let watches = [silent(&[(9, &added("b", 2)), (9, &added("c", 3))]), silent(&[(0, &added("d", 4))])];
    let (mut events, health, _) = events(&[list(&["a"], 1)], &watches);
    for expected in ["Init", "InitApply(a)", "InitDone", "Apply(b)", "Apply(c)"] {
        assert_eq!(next(&mut events).await, expected);
    }
    let started = Instant::now() - Duration::from_secs(18);
    assert!(next(&mut events).await.contains("did not end the watch"));
    let seconds = u64::from(health.seconds);
    assert!((20..=25).contains(&seconds));
    assert_eq!(started.elapsed().as_secs(), seconds + 5);
    assert_eq!(health.silence().as_secs(), seconds + 5 - 18);
    health.failed();
    assert_eq!(next(&mut events).await, "Apply(d)", "the next watch continues after the last event");
    assert!(health.silence().is_zero());
    tokio::time::timeout(Duration::ZERO, health.recovered()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bookmarks_and_ends_of_watches_are_signs_of_life() {
    let bookmark = format!(
        "{}\n",
        json!({"type": "BOOKMARK", "object": {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "2"}}})
    );
    let (mut events, health, _) = events(&[list(&[], 1)], &[ends(&[(15, &bookmark), (7, "")])]);
    assert_eq!(next(&mut events).await, "Init");
    assert_eq!(next(&mut events).await, "InitDone");
    let mut at = async |seconds| {
        let _ = tokio::time::timeout(Duration::from_secs(seconds), next(&mut events)).await;
        health.silence().as_secs()
    };
    assert_eq!([at(14).await, at(2).await, at(5).await, at(10).await], [14, 1, 6, 9]);
}

#[tokio::test(start_paused = true)]
async fn next_watch_waits_as_long_as_the_apiserver_asks() {
    let busy = Answer { status: 429, ..ends(&[(0, "busy")]) };
    let (mut events, health, connections) = events(&[list(&[], 1)], &[busy, silent(&[(0, &added("a", 2))])]);
    for _ in 0..2 {
        next(&mut events).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(next(&mut events).await.contains("busy"));
    assert!(health.silence().is_zero(), "an error response counts as data");
    let answer = Response::builder().status(429).header("retry-after", "7").body(()).unwrap();
    connections.watches.throttle.observe(answer);
    let started = Instant::now();
    assert_eq!(next(&mut events).await, "Apply(a)");
    assert_eq!(started.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn every_watch_opens_its_own_connection() {
    let server = Loopback::start(|seen| {
        answer(200, &if seen.target().contains("watch=true") { added("b", 2) } else { list(&["a"], 1) })
    })
    .await;
    let cluster = kube::Config::new(server.origin.parse().unwrap());
    let connections = Connections::new(&cluster, Duration::from_secs(30), &Metrics::default()).unwrap();
    let resource = ApiResource::erase::<LiveMessageGroup>(&());
    let api: Api<DynamicObject> = Api::all_with(client(&connections, &Arc::default()), &resource);
    let mut events: Events = Box::pin(watcher(api, watcher::Config::default()));
    while server.seen().len() < 4 {
        next(&mut events).await;
    }
    let used: Vec<_> =
        server.seen()[..4].iter().map(|seen| (seen.connection, seen.header("connection") == Some("close"))).collect();
    assert_eq!(used, [(0, false), (1, true), (2, true), (3, true)]);
}

#[test]
fn order_of_the_fields_of_an_event_does_not_matter() {
    let object = r#"{"metadata": {"name": "room", "uid": "u"}, "spec": {"appId": "demo"}}"#;
    for line in [
        format!("{{\"type\":\"ADDED\",\"object\":{object}}}\n"),
        format!("{{ \"object\":{object}, \"type\" : \"ADDED\"}}\n"),
    ] {
        let complete = Lines::default().add(format!("{line}\n{line}").as_bytes()).unwrap().unwrap();
        let events: Vec<WatchEvent<StoredGroup>> = complete
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(events.len(), 2);
        assert!(events.iter().all(|event| matches!(event, WatchEvent::Added(StoredGroup::Readable(_)))), "{line}");
    }
}
