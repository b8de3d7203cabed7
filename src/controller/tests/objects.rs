//! Tests how many bytes the operator allocates for settled objects. All code runs on the thread of the test, so that
//! allocations of other tests are not counted.

use super::*;

/// The number of objects. It fills the hash tables of the scheduler to the same percentage as 20,000 objects.
const OBJECTS: usize = 1_250;

/// The limit for one settled object.
const BYTES_PER_OBJECT: i64 = 512;

/// The limit for the additional bytes that the operator needs while it processes a list. The JSON text of all objects
/// is 4.5 MB long.
const BYTES_OF_LIST: u64 = 1536 * 1024;

/// The duration of a watch. The watch ends with a line that is not an event, so that the operator lists the objects
/// again.
const WATCH: Duration = Duration::from_secs(15);

fn condition(kind: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": reason, "message": message, "observedGeneration": 1,
        "lastTransitionTime": "2026-01-02T03:04:05Z"})
}

/// A settled object, as JSON text. Its status matches its spec, and its `groupInfo` is 2 KiB long.
fn settled(number: usize) -> String {
    let (name, app) = (format!("room{number}"), format!("demo{}", number % 3));
    let object = json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": {"namespace": "team-of-rooms", "name": name, "uid": format!("6f2a9c3e-0b1d-4c58-9e7f-{number:012x}"),
            "generation": 1, "resourceVersion": "7", "creationTimestamp": "2026-01-02T03:04:05Z",
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {"f:appId": {}, "f:groupInfo": {}}}}]},
        "spec": {"appId": app, "groupName": format!("Room {number}"), "groupInfo": "x".repeat(2048)},
        "status": {
            "observedGeneration": 1, "groupId": name, "appId": app, "origin": "Created",
            "account": {"service": "127.0.0.1:9"},
            "createIntent": {"startedAt": "2026-01-02T03:04:05Z", "answeredAt": "2026-01-02T03:04:06Z"},
            "lastRequestId": "A8C7B033-B339-1A58-B0E0-7B9197BA0000",
            "conditions": [
                condition("Ready", "Created", &format!("Group {name} of app {app} is live.")),
                condition("InSync", "InSync", "Every field of the spec matches the group."),
            ],
        },
    });
    object.to_string()
}

/// The value of a query parameter.
fn parameter(query: &str, name: &str) -> Option<usize> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// One page of a list.
fn page(objects: &[String], query: &str) -> Vec<u8> {
    let start = parameter(query, "continue").unwrap_or_default();
    let end = parameter(query, "limit").map_or(objects.len(), |limit| objects.len().min(start + limit));
    let next = if end < objects.len() { end.to_string() } else { String::new() };
    let items = objects[start..end].join(",");
    format!(r#"{{"metadata":{{"resourceVersion":"1","continue":"{next}"}},"items":[{items}]}}"#).into_bytes()
}

/// An apiserver that contains the LiveMessageGroups in `stored`. The operator lists them again after each watch.
fn listing(stored: &Arc<Mutex<Vec<String>>>) -> Client {
    let stored = Arc::clone(stored);
    let service = tower::service_fn(move |request: Request<Body>| {
        let stored = Arc::clone(&stored);
        async move {
            let query = request.uri().query().unwrap_or_default();
            if query.contains("watch=true") {
                tokio::time::sleep(WATCH).await;
                return Ok(Response::new(Body::from(b"not an event\n".to_vec())));
            }
            let is_groups = request.uri().path().ends_with("livemessagegroups");
            let page = if is_groups { page(&stored.lock().unwrap(), query) } else { page(&[], query) };
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Response::new(Body::from(page)))
        }
    });
    Client::new(service, "default")
}

#[test]
fn memory_of_settled_objects_is_bounded() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let stored: Arc<Mutex<Vec<String>>> = Arc::default();
    let entered = runtime.enter();
    let running = runtime.spawn(run(config(listing(&stored))));
    drop(entered);
    let listed = || {
        let several = || runtime.block_on(async { tokio::time::sleep(WATCH * 4).await });
        allocation_counter::measure(several)
    };
    listed();
    *stored.lock().unwrap() = (0..OBJECTS).map(settled).collect();
    let objects = i64::try_from(OBJECTS).unwrap();
    let first = listed();
    let bytes = first.bytes_current / objects;
    let again = listed();
    println!(
        "bytes: {bytes} per object, {} while all are listed again; first {first:?} again {again:?}",
        again.bytes_max
    );
    assert!(!running.is_finished());
    assert!((256..=BYTES_PER_OBJECT).contains(&bytes), "a settled object takes {bytes} bytes");
    assert!(again.bytes_max <= BYTES_OF_LIST, "a second list takes {} bytes", again.bytes_max);
    assert!(again.bytes_current / objects <= 0, "a second list leaves {} bytes", again.bytes_current);
    stored.lock().unwrap().clear();
    let rest = (bytes * objects + listed().bytes_current) / objects;
    assert!(rest <= bytes / 2, "{rest} bytes of a deleted object remain");
}
