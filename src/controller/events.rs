//! Kubernetes events: on transitions only, never one a pass.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::mpsc;

use super::objects::FIELD_MANAGER;

/// More than this many that wait to be sent are dropped: events are for people, and people read fewer.
const BUFFER: usize = 1024;

/// An event's note ends here (the apiserver's bound is 1 KiB).
const NOTE_BYTES: usize = 1000;

/// The apiserver's bound of a name.
const NAME_BYTES: usize = 253;

const WARNING: &str = "Warning";

/// The cause by which the apiserver refuses to make anything in a namespace that goes away.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// Who hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing to worry about.
    Normal,
    /// Something to look at.
    Warning,
}

/// Where events are handed in; sending them never holds up a reconcile.
#[derive(Debug, Clone)]
pub struct Events {
    sender: mpsc::Sender<Event>,
    reporter: String,
}

impl Events {
    /// Starts the task that sends them.
    pub fn start(client: Client) -> Self {
        let (sender, mut events) = mpsc::channel::<Event>(BUFFER);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if send(&client, &event).await
                    && let Some(event) = of_its_namespace(event)
                {
                    send(&client, &event).await;
                }
            }
        });
        let reporter = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        Self { sender, reporter: reporter.unwrap_or_else(|| FIELD_MANAGER.to_owned()) }
    }

    /// Tells of a transition of `object`.
    pub fn publish<K: kube::Resource<DynamicType = ()>>(
        &self,
        object: &K,
        kind: Kind,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let now = jiff::Timestamp::now();
        let reference: ObjectReference = object.object_ref(&());
        let name = object.meta().name.as_deref().unwrap_or_default();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name_of(name, &format!(".{:x}{:04x}", now.as_microsecond(), fastrand::u16(..)))),
                namespace: object.meta().namespace.clone(),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(if kind == Kind::Normal { "Normal" } else { WARNING }.to_owned()),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            note: Some(bounded(note.to_owned())),
            regarding: Some(reference),
            reporting_controller: Some(format!("live.alibabacloud.com/{FIELD_MANAGER}")),
            reporting_instance: Some(self.reporter.clone()),
            ..Event::default()
        };
        if self.sender.try_send(event).is_err() {
            tracing::debug!("an event was dropped: too many at once");
        }
    }
}

/// Sends an event; whether it was refused because its namespace goes away.
async fn send(client: &Client, event: &Event) -> bool {
    let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    match tokio::time::timeout(Duration::from_secs(5), api.create(&PostParams::default(), event)).await {
        Ok(Ok(_)) => false,
        Ok(Err(error)) => {
            tracing::debug!(%error, "an event was not taken");
            matches!(error, kube::Error::Api(refusal) if is_terminating(&refusal))
        }
        Err(_) => {
            tracing::debug!("the apiserver did not answer to an event");
            false
        }
    }
}

/// Whether nothing can be made in a namespace any more. Missing rights are a 403 too, and told apart by the cause.
fn is_terminating(refusal: &kube::core::Status) -> bool {
    let causes = refusal.details.iter().flat_map(|details| &details.causes);
    refusal.code == 404 || causes.into_iter().any(|cause| cause.reason == NAMESPACE_TERMINATING)
}

/// A warning of an object whose namespace goes away, as one of the namespace itself: those stand in `default`, and stay
/// when it is gone.
fn of_its_namespace(event: Event) -> Option<Event> {
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

/// The name of an event: that of its object, as far as there is room for it, and what makes it one of its own.
fn name_of(object: &str, ending: &str) -> String {
    let room = NAME_BYTES.saturating_sub(ending.len());
    let kept = object.get(..room).unwrap_or(object).trim_end_matches(['.', '-']);
    format!("{kept}{ending}")
}

/// A note that the apiserver takes.
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
    fn a_warning_outlives_its_namespace_and_nothing_else_does() {
        let told = of_its_namespace(event(WARNING)).unwrap();
        let regarding = told.regarding.unwrap();
        assert_eq!((regarding.kind.as_deref(), regarding.name.as_deref()), (Some("Namespace"), Some("team")));
        assert_eq!((told.metadata.namespace.as_deref(), regarding.namespace), (Some("default"), None));
        assert_eq!(told.related.and_then(|object| object.name).as_deref(), Some("room"));
        let note = told.note.unwrap();
        assert!(note.starts_with("LiveMessageGroup room: ü") && note.len() <= NOTE_BYTES + 3, "{note}");
        assert!(of_its_namespace(event("Normal")).is_none());
    }

    #[test]
    fn an_event_of_an_object_with_a_long_name_has_a_name_that_the_apiserver_takes() {
        assert_eq!(name_of("room", ".1f"), "room.1f");
        assert_eq!(name_of(&"a".repeat(253), ".1f"), format!("{}.1f", "a".repeat(250)));
        // No part of a name ends with a dash or begins with a dot.
        assert_eq!(name_of(&format!("{}-.b", "a".repeat(249)), ".1f"), format!("{}.1f", "a".repeat(249)));
    }

    #[test]
    fn a_missing_right_is_no_end_of_a_namespace() {
        let refusal = |causes: serde_json::Value| -> kube::core::Status {
            serde_json::from_value(serde_json::json!({"code": 403, "details": {"causes": causes}})).unwrap()
        };
        assert!(is_terminating(&refusal(serde_json::json!([{"reason": NAMESPACE_TERMINATING}]))));
        assert!(!is_terminating(&refusal(serde_json::json!([]))));
    }
}
