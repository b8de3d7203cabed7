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
                let namespace = event.metadata.namespace.clone().unwrap_or_default();
                let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
                let params = PostParams::default();
                let sending = api.create(&params, &event);
                match tokio::time::timeout(Duration::from_secs(5), sending).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "an event was not taken"),
                    Err(_) => tracing::debug!("the apiserver did not answer to an event"),
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
        let mut note = note.to_owned();
        if note.len() > NOTE_BYTES {
            let end = (0..=NOTE_BYTES).rev().find(|end| note.is_char_boundary(*end)).unwrap_or_default();
            note.truncate(end);
            note.push('…');
        }
        let now = jiff::Timestamp::now();
        let reference: ObjectReference = object.object_ref(&());
        let name = object.meta().name.as_deref().unwrap_or_default();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}{:04x}", now.as_microsecond(), fastrand::u16(..))),
                namespace: object.meta().namespace.clone(),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(if kind == Kind::Normal { "Normal" } else { "Warning" }.to_owned()),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            note: Some(note),
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
