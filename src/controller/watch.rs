//! Watching: events become keys with a lane. No object is carried on or kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::api::{Api, ObjectMeta};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};

use super::accounts::AccountKey;
use super::causes::{gate_kind, gate_of};
use super::key::Key;
use super::reconcile::Reconciler;
use crate::decide::{GateKind, Lane, triage};
use crate::resources::{ConditionType, LiveMessageGroup};

/// A watch is asked for anew after this long: shorter than the idle time-outs of load balancers in between.
pub(super) const WATCH_SECONDS: u32 = 200;

/// The first delay after a failed list or watch, and the longest.
const DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// How far the watch is; read by the readiness probe.
#[derive(Debug, Default)]
pub struct Progress {
    listed: AtomicBool,
    lists: AtomicU64,
    /// The last list failed because nothing of this kind is served.
    undefined: AtomicBool,
    trouble: std::sync::Mutex<Option<String>>,
}

impl Progress {
    fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    pub(super) fn set_listed(&self) {
        self.listed.store(true, Ordering::Release);
    }

    /// What keeps the operator from its work: the first list, or a definition that was deleted. An apiserver that is away
    /// for a while does not: what is known is worked on.
    pub fn waits_for(&self) -> Option<String> {
        if self.is_listed() && !self.undefined.load(Ordering::Acquire) {
            return None;
        }
        Some(self.trouble().unwrap_or_else(|| "listing LiveMessageGroups".to_owned()))
    }

    /// What the watch fails with, while it fails.
    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = trouble;
    }
}

/// Watches one namespace, or all (`None`), until the process ends; `listed` is called after the first whole list.
pub async fn watch(
    reconciler: Arc<Reconciler>,
    namespace: Option<String>,
    progress: Arc<Progress>,
    listed: impl FnOnce(),
) {
    let client = reconciler.objects.client().clone();
    let api: Api<DeserializeGuard<LiveMessageGroup>> = match &namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let events = watcher(api, config).backoff(Delays::default());
    follow(reconciler, namespace.as_deref(), &progress, events, listed).await;
}

async fn follow(
    reconciler: Arc<Reconciler>,
    namespace: Option<&str>,
    progress: &Progress,
    events: impl Stream<Item = watcher::Result<Event<DeserializeGuard<LiveMessageGroup>>>>,
    listed: impl FnOnce(),
) {
    let mut events = std::pin::pin!(events);
    let mut listed = Some(listed);
    let mut list = 0;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if progress.trouble().is_some() && !matches!(event, Event::Init) {
                    tracing::info!(namespace, "watching again");
                    progress.set_trouble(None);
                    progress.undefined.store(false, Ordering::Release);
                }
                match event {
                    Event::Init => list = progress.lists.fetch_add(1, Ordering::Relaxed) + 1,
                    Event::InitApply(object) => seen(&reconciler, object, list, true),
                    Event::Apply(object) => seen(&reconciler, object, list, false),
                    Event::Delete(object) => {
                        if let Ok(object) = &object.0 {
                            reconciler.tell_retained(object);
                        }
                        if let Some(key) = Key::of(meta(&object)) {
                            reconciler.forget(&key);
                            // A pass of its may wait for a moment or a permit: it ends when it finds nothing.
                            reconciler.work.nudge(&key);
                        }
                    }
                    Event::InitDone => {
                        let (gone, peers) = reconciler.index().sweep_unseen(namespace, list);
                        for key in gone {
                            reconciler.work.nudge(&key);
                        }
                        reconciler.wake_all(peers);
                        if let Some(listed) = listed.take() {
                            listed();
                        }
                    }
                }
            }
            Err(error) => {
                let what = explain(&error);
                progress.undefined.store(is_undefined(&error), Ordering::Release);
                if progress.trouble().as_deref() != Some(&what) {
                    tracing::warn!(namespace, "{what}");
                    progress.set_trouble(Some(what));
                }
            }
        }
    }
}

fn meta(object: &DeserializeGuard<LiveMessageGroup>) -> &ObjectMeta {
    match &object.0 {
        Ok(object) => &object.metadata,
        Err(invalid) => &invalid.metadata,
    }
}

fn seen(reconciler: &Reconciler, object: DeserializeGuard<LiveMessageGroup>, list: u64, initial: bool) {
    let Some(key) = Key::of(meta(&object)) else { return };
    match object.0 {
        Ok(object) => {
            let peers = reconciler.index().observe(&key, &object, list);
            reconciler.wake_all(peers);
            let lost = || reconciler.index().has_lost(&key).then_some(Lane::Retry);
            let Some(lane) = triage(&object).or_else(lost) else { return };
            if initial && lane != Lane::Change {
                remember_gate(reconciler, &key, &object);
            }
            reconciler.work.add(&key, lane);
        }
        Err(invalid) => {
            let uid = invalid.metadata.uid.as_deref().unwrap_or_default();
            let generation = invalid.metadata.generation.unwrap_or_default();
            if reconciler.index().observe_unreadable(&key, uid, generation, list) {
                reconciler.work.add(&key, Lane::Change);
            }
        }
    }
}

/// An object that waited behind a gate when the last process ended waits behind it again, until one has probed it.
fn remember_gate(reconciler: &Reconciler, key: &Key, object: &LiveMessageGroup) {
    let (Some(reason), Some(ready)) = (object.ready_reason(), object.condition(ConditionType::Ready)) else { return };
    // A full app is counted before anybody creates: nobody needs to run into the refusal.
    let Some(kind) = gate_kind(reason).filter(|kind| *kind != GateKind::Quota) else { return };
    let center = object.spec.data_center.map(|center| center.as_str());
    let gate = gate_of(kind, &AccountKey::of(object), &object.spec.app_id, center);
    let now = tokio::time::Instant::now().into_std();
    reconciler.gates().remember(gate, key, reason, &ready.message, now);
    reconciler.gate_bell.notify_one();
}

/// A failed list or watch, told so that a user knows what to do.
fn explain(error: &watcher::Error) -> String {
    let Some(cause) = cause_of(error) else {
        return format!("the watch of LiveMessageGroups is interrupted: {error}");
    };
    match cause {
        _ if is_undefined(error) => {
            "waiting for the CustomResourceDefinition livemessagegroups.live.alibabacloud.com: install it with \
             `live-message-operator crd | kubectl apply -f -` or with the chart"
                .to_owned()
        }
        kube::Error::Api(status) if status.is_forbidden() => {
            format!("the operator may not list LiveMessageGroups: {}", status.message)
        }
        other => format!("waiting for the apiserver: {other}"),
    }
}

fn cause_of(error: &watcher::Error) -> Option<&kube::Error> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Some(error),
        _ => None,
    }
}

/// Whether no such kind is served. Where nothing of the API group is, the answer is a bare page without a reason.
fn is_undefined(error: &watcher::Error) -> bool {
    matches!(cause_of(error), Some(kube::Error::Api(status)) if status.is_not_found() || status.code == 404)
}

/// Doubling delays with a bound, from the start again after a success.
#[derive(Debug)]
pub(super) struct Delays(Duration);

impl Default for Delays {
    fn default() -> Self {
        Self(DELAYS.0)
    }
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = self.0;
        self.0 = (delay * 2).min(DELAYS.1);
        Some(delay.mul_f64(0.75 + fastrand::f64() / 2.0))
    }
}

impl Backoff for Delays {
    fn reset(&mut self) {
        *self = Self::default();
    }
}
