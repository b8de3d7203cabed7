//! Tests of the deletion of objects that this version of the operator cannot read.

use super::*;
use crate::resources::{ABANDON_ANNOTATION, FINALIZER, StoredGroup, UnreadableGroup};

/// An object that is being deleted. Only a newer version of the operator can read its spec.
fn deleting() -> Value {
    let mut object = object("room");
    let change = json!({
        "metadata": {"generation": 2, "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]},
        "spec": {"appId": ["of", "a", "newer", "version"]},
        "status": {"appId": "demo", "groupId": "one", "origin": "Created"},
    });
    json_patch::merge(&mut object, &change);
    object
}

/// The stored object, and the writes that the apiserver received.
#[derive(Clone)]
struct Store {
    object: Arc<Mutex<Value>>,
    released: Arc<Notify>,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Store {
    fn new() -> Self {
        Self { object: Arc::new(Mutex::new(deleting())), released: Arc::default(), events: Arc::default() }
    }

    /// An apiserver that contains this object. `is_terminating` determines whether the namespace is being deleted.
    fn client(&self, is_terminating: bool) -> Client {
        let store = self.clone();
        apiserver(move |method, path, body| {
            let mut stored = store.object.lock().unwrap();
            if method == Method::POST && path.ends_with("/events") {
                store.events.lock().unwrap().push(body);
                return std::future::ready((201, json!({})));
            }
            if path == "/api/v1/namespaces/ns" {
                let deleted = is_terminating.then_some("2026-01-01T00:00:00Z");
                let metadata = json!({"name": "ns", "deletionTimestamp": deleted});
                return std::future::ready((200, json!({"kind": "Namespace", "metadata": metadata})));
            }
            if method == Method::PATCH {
                let change = body.as_array().and_then(|body| body.last()).cloned().unwrap_or_default();
                match change["path"].as_str() {
                    Some("/status") => stored["status"] = change["value"].clone(),
                    Some("/metadata/finalizers") if change["value"] == json!([]) => {
                        stored["metadata"]["finalizers"] = json!([]);
                        store.released.notify_one();
                    }
                    other => panic!("{other:?}"),
                }
            }
            std::future::ready((200, stored.clone()))
        })
    }

    /// Delivers the object to the operator as the watch does.
    fn show(&self, context: &Context) {
        let stored = serde_json::from_value(self.object.lock().unwrap().clone());
        let Ok(StoredGroup::Unreadable(object)) = stored else { panic!("the object is readable") };
        let object: UnreadableGroup = *object;
        context.scheduler.with(|scheduler, _| scheduler.observe_unreadable(&ObjectKey::new("ns", "room"), &object, 0));
    }

    fn message(&self) -> String {
        self.object.lock().unwrap()["status"]["conditions"][0]["message"].as_str().unwrap_or_default().to_owned()
    }

    fn notes(&self) -> Vec<(String, String)> {
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        self.events.lock().unwrap().iter().map(|event| (text(event, "reason"), text(event, "note"))).collect()
    }
}

fn released(context: &Context, outcome: &str) -> Option<f64> {
    let name = format!("live_message_operator_finalizers_released_total{{outcome=\"{outcome}\"}}");
    metric_value(context, &name)
}

#[tokio::test(start_paused = true)]
async fn unreadable_object_is_released_when_it_is_abandoned() {
    let store = Store::new();
    let context = context(store.client(false));
    store.show(&context);
    start(&context);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(store.message().contains(ABANDON_ANNOTATION), "{}", store.message());
    store.show(&context);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(store.object.lock().unwrap()["metadata"]["finalizers"], json!([FINALIZER]), "it waits for a user");

    store.object.lock().unwrap()["metadata"]["annotations"] = json!({ABANDON_ANNOTATION: "true"});
    store.show(&context);
    // The next regular check may come a minute later, so the annotation itself must have queued the object.
    tokio::time::timeout(Duration::from_secs(1), store.released.notified()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(released(&context, "Abandoned"), Some(1.0));
    let notes = store.notes();
    let expected = "Group one of app demo is retained: the annotation live.alibabacloud.com/abandon is \"true\"";
    assert!(notes.iter().any(|(reason, note)| reason == "Abandoned" && note.starts_with(expected)), "{notes:?}");
    assert_eq!(notes.iter().filter(|(reason, _)| reason == "InvalidSpec").count(), 1, "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn unreadable_object_does_not_block_its_namespace_for_ever() {
    let store = Store::new();
    // The timeout depends on the wall clock, which a test cannot advance.
    let since = (jiff::Timestamp::now() - Duration::from_secs(590)).to_string();
    let stalled = json!([{"type": "Stalled", "status": "True", "reason": "InvalidSpec", "message": "",
        "observedGeneration": 2, "lastTransitionTime": since}]);
    store.object.lock().unwrap()["status"]["conditions"] = stalled.clone();
    let context = context(store.client(true));
    store.show(&context);
    start(&context);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(released(&context, "TimedOut"), None, "ten seconds are left");
    let since = (jiff::Timestamp::now() - Duration::from_secs(601)).to_string();
    for condition in store.object.lock().unwrap()["status"]["conditions"].as_array_mut().unwrap() {
        condition["lastTransitionTime"] = json!(since);
    }
    tokio::time::timeout(Duration::from_secs(61), store.released.notified()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(released(&context, "TimedOut"), Some(1.0));
    assert!(store.notes().iter().any(|(reason, note)| reason == "Abandoned" && note.contains("for 600 s")));
}
