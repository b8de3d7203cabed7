//! Sends Kubernetes events. The operator sends one event for each transition of an object, not one for each reconcile
//! pass.

use std::time::Duration;

use futures::{StreamExt as _, stream};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::core::Request;
use kube::{Client, Resource as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::keys::ObjectKey;
use super::leader::Leadership;
use super::pass::{EventDraft, EventType};
use crate::resources::{FIELD_MANAGER, LiveMessageGroup, LiveMessageGroupSpec};

/// The maximum number of queued events. Further events are dropped.
const BUFFER: usize = 1024;

/// The maximum number of events that are sent at the same time.
const IN_FLIGHT: usize = 8;

/// The maximum length of a note in bytes. The apiserver accepts 1 KiB.
const NOTE_BYTES: usize = 1000;

/// The maximum length of an object name in bytes.
const NAME_BYTES: usize = 253;

const WARNING: &str = "Warning";

/// The cause that the apiserver reports when it refuses new objects in a terminating namespace.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// Sends events in the background, so that a reconcile pass never waits for them.
#[derive(Debug, Clone)]
pub struct EventSender {
    sender: mpsc::Sender<Event>,
    instance: String,
}

impl EventSender {
    /// Creates the queue, and the task that sends its events.
    pub fn new(client: Client, leadership: Leadership) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, mut events) = mpsc::channel::<Event>(BUFFER);
        let sending = async move {
            let events = stream::poll_fn(|context| events.poll_recv(context));
            let (client, leadership) = (&client, &leadership);
            let send_or_replace = async |event: Event| {
                if leadership.may_send(Instant::now())
                    && send(client, &event).await
                    && let Some(event) = namespace_event(event)
                {
                    send(client, &event).await;
                }
            };
            events.for_each_concurrent(IN_FLIGHT, send_or_replace).await;
        };
        let instance = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        (Self { sender, instance: instance.unwrap_or_else(|| FIELD_MANAGER.to_owned()) }, sending)
    }

    /// Queues an event; drops it if the queue is full.
    pub fn publish(&self, draft: EventDraft) {
        let EventDraft { regarding, action, event_type, reason, note } = draft;
        let now = jiff::Timestamp::now();
        let name = regarding.name.as_deref().unwrap_or_default();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name_of(name, &format!(".{:x}{:04x}", now.as_microsecond(), fastrand::u16(..)))),
                namespace: regarding.namespace.clone(),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(if event_type == EventType::Normal { "Normal" } else { WARNING }.to_owned()),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            note: Some(bounded(note)),
            regarding: Some(regarding),
            reporting_controller: Some(format!("live.alibabacloud.com/{FIELD_MANAGER}")),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        if self.sender.try_send(event).is_err() {
            tracing::debug!("dropped an event because the event queue is full");
        }
    }
}

/// A reference to a LiveMessageGroup, built from its key and uid.
pub fn reference(key: &ObjectKey, uid: &str) -> ObjectReference {
    let mut object = LiveMessageGroup::new(key.name(), LiveMessageGroupSpec::default());
    object.metadata.namespace = Some(key.namespace().to_owned());
    object.metadata.uid = Some(uid.to_owned());
    object.object_ref(&())
}

/// Sends an event. Returns `true` if the apiserver refused it because the namespace is terminating or does not exist.
async fn send(client: &Client, event: &Event) -> bool {
    let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
    let create = async {
        let body = serde_json::to_vec(event).map_err(kube::Error::SerdeError)?;
        let request = Request::new(Event::url_path(&(), Some(namespace))).create(&PostParams::default(), body);
        // The response only repeats the event, so it is not decoded.
        client.request_text(request.map_err(kube::Error::BuildRequest)?).await
    };
    match tokio::time::timeout(Duration::from_secs(5), create).await {
        Ok(Ok(_)) => false,
        Ok(Err(error)) => {
            tracing::debug!(%error, "cannot create an event");
            matches!(error, kube::Error::Api(refusal) if is_terminating(&refusal))
        }
        Err(_) => {
            tracing::debug!("cannot create an event: the apiserver did not respond in time");
            false
        }
    }
}

/// Whether the apiserver refused a request because the namespace is terminating or does not exist. For a terminating
/// namespace and for a missing permission, the apiserver returns the same status 403, but with different causes.
fn is_terminating(refusal: &kube::core::Status) -> bool {
    let causes = refusal.details.iter().flat_map(|details| &details.causes);
    refusal.code == 404 || causes.into_iter().any(|cause| cause.reason == NAMESPACE_TERMINATING)
}

/// Turns a warning about an object into a warning about its namespace. Returns `None` for other events. The new event
/// is stored in the namespace `default`, so that it is not deleted with the object's namespace.
fn namespace_event(event: Event) -> Option<Event> {
    let object = event.regarding.filter(|_| event.type_.as_deref() == Some(WARNING))?;
    let (kind, name) = (object.kind.as_deref().unwrap_or_default(), object.name.as_deref().unwrap_or_default());
    let note = format!("{kind} {name}: {}", event.note.unwrap_or_default());
    let namespace = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Namespace".to_owned()),
        name: object.namespace.clone(),
        ..ObjectReference::default()
    };
    Some(Event {
        metadata: ObjectMeta { namespace: Some("default".to_owned()), ..event.metadata },
        regarding: Some(namespace),
        related: Some(object),
        note: Some(bounded(note)),
        ..event
    })
}

/// The name of an event: the name of its object, shortened if necessary, and a unique suffix.
fn name_of(object: &str, ending: &str) -> String {
    let room = NAME_BYTES.saturating_sub(ending.len());
    let kept = object.get(..room).unwrap_or(object).trim_end_matches(['.', '-']);
    format!("{kept}{ending}")
}

/// Shortens a note to the length that the apiserver accepts.
fn bounded(mut note: String) -> String {
    if note.len() > NOTE_BYTES {
        let end = (0..=NOTE_BYTES).rev().find(|end| note.is_char_boundary(*end)).unwrap_or_default();
        note.truncate(end);
        note.push('…');
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str) -> Event {
        let object = ObjectReference {
            kind: Some("LiveMessageGroup".into()),
            name: Some("room".into()),
            namespace: Some("team".into()),
            ..ObjectReference::default()
        };
        Event {
            metadata: ObjectMeta {
                namespace: Some("team".into()),
                name: Some("room.1".into()),
                ..ObjectMeta::default()
            },
            type_: Some(kind.into()),
            regarding: Some(object),
            note: Some("ü".repeat(NOTE_BYTES / 2)),
            ..Event::default()
        }
    }

    #[test]
    fn only_warnings_are_sent_in_a_terminating_namespace() {
        let warning = namespace_event(event(WARNING)).unwrap();
        let regarding = warning.regarding.unwrap();
        assert_eq!((regarding.kind.as_deref(), regarding.name.as_deref()), (Some("Namespace"), Some("team")));
        assert_eq!((warning.metadata.namespace.as_deref(), regarding.namespace), (Some("default"), None));
        assert_eq!(warning.related.and_then(|object| object.name).as_deref(), Some("room"));
        let note = warning.note.unwrap();
        assert!(note.starts_with("LiveMessageGroup room: ü") && note.len() <= NOTE_BYTES + 3, "{note}");
        assert!(namespace_event(event("Normal")).is_none());
    }

    #[test]
    fn event_of_an_object_with_a_long_name_has_a_valid_name() {
        assert_eq!(name_of("room", ".1f"), "room.1f");
        assert_eq!(name_of(&"a".repeat(253), ".1f"), format!("{}.1f", "a".repeat(250)));
        // The suffix begins with a dot, so the shortened name must not end with a dash or a dot.
        assert_eq!(name_of(&format!("{}-.b", "a".repeat(249)), ".1f"), format!("{}.1f", "a".repeat(249)));
    }

    #[test]
    fn missing_permission_does_not_mean_a_terminating_namespace() {
        let refusal = |causes: serde_json::Value| -> kube::core::Status {
            serde_json::from_value(serde_json::json!({"code": 403, "details": {"causes": causes}})).unwrap()
        };
        assert!(is_terminating(&refusal(serde_json::json!([{"reason": NAMESPACE_TERMINATING}]))));
        assert!(!is_terminating(&refusal(serde_json::json!([]))));
    }
}
