//! Watching: events become keys with a lane. No object is carried on or kept.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::api::{Api, ObjectMeta};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::time::Instant;

use super::accounts::AccountKey;
use super::causes::{gate_kind, gate_of};
use super::key::Key;
use super::locked::locked;
use super::reconciler::Reconciler;
use super::scrape::GROUPS;
use crate::decide::{GateKind, Lane, triage};
use crate::resources::{ConditionType, LiveMessageGroup};

/// A watch is asked for anew after this long: shorter than the idle time-outs of load balancers in between.
pub(super) const WATCH_SECONDS: u32 = 200;

/// The first delay after a failed list or watch, and the longest.
const DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// An operator of several namespaces works without one that it may not list after this long.
const REFUSED: Duration = Duration::from_secs(30);

/// What a user is told who reads that the operator may not do what it does everywhere else.
pub(super) const LOST_RIGHTS: &str = "with watchNamespaces, a namespace that is deleted takes the operator's Role with \
     it, and objects that hold a finalizer keep it from going: grant what the chart's rbac.groupsClusterWide does, or \
     take their finalizers away";

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
        locked(&self.trouble).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *locked(&self.trouble) = trouble;
    }
}

/// Watches one namespace, or all (`None`), until the process ends; `listed` is called after the first whole list. Where it
/// is one of `several` and may not be listed, the others do not wait for it for ever.
pub async fn watch(
    reconciler: Arc<Reconciler>,
    (namespace, several): (Option<String>, bool),
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
    let following = follow(Arc::clone(&reconciler), (namespace.as_deref(), several), &progress, events, listed);
    tokio::join!(following, warn_of_missing(&reconciler, namespace.as_deref()));
}

/// A namespace that is not there can be watched like an empty one: a mistake in its name would look like nothing to do.
async fn warn_of_missing(reconciler: &Reconciler, namespace: Option<&str>) {
    let Some(namespace) = namespace else { return };
    if matches!(reconciler.objects.namespace(namespace).await, Ok(None)) {
        tracing::warn!(namespace, "there is no such namespace: it is watched until there is; see --watch-namespace");
    }
}

async fn follow(
    reconciler: Arc<Reconciler>,
    (namespace, several): (Option<&str>, bool),
    progress: &Progress,
    events: impl Stream<Item = watcher::Result<Event<DeserializeGuard<LiveMessageGroup>>>>,
    listed: impl FnOnce(),
) {
    let mut events = std::pin::pin!(events);
    let mut listed = Some(listed);
    let mut list = 0;
    let mut trouble = Trouble::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if !matches!(event, Event::Init) {
                    trouble.end(namespace, progress);
                }
                match event {
                    Event::Init => {
                        list = progress.lists.fetch_add(1, Ordering::Relaxed) + 1;
                        reconciler.metrics.lists.get_or_create(&GROUPS).inc();
                    }
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
                reconciler.metrics.watch_errors.get_or_create(&GROUPS).inc();
                let refused_for_long = trouble.tell(&error, (namespace, several), progress);
                if refused_for_long && let Some(listed) = listed.take() {
                    tracing::warn!(namespace, "working without this namespace until it may be listed");
                    listed();
                }
            }
        }
    }
}

/// What the watch of one namespace fails with; others may go on without any trouble.
#[derive(Default)]
struct Trouble {
    what: Option<String>,
    refused: Option<Instant>,
}

impl Trouble {
    /// Tells of a failure where it is another one; whether one of several namespaces has been refused for too long.
    fn tell(
        &mut self,
        error: &watcher::Error,
        (namespace, several): (Option<&str>, bool),
        progress: &Progress,
    ) -> bool {
        let what = explain(error, several);
        progress.undefined.store(is_undefined(error), Ordering::Release);
        if self.what.as_ref() != Some(&what) {
            tracing::warn!(namespace, "{what}");
            self.what = Some(what.clone());
        }
        progress.set_trouble(Some(what));
        if !several || !is_forbidden(error) {
            return false;
        }
        self.refused.get_or_insert_with(Instant::now).elapsed() >= REFUSED
    }

    fn end(&mut self, namespace: Option<&str>, progress: &Progress) {
        if self.what.is_some() {
            tracing::info!(namespace, "watching again");
            *self = Self::default();
            progress.set_trouble(None);
            progress.undefined.store(false, Ordering::Release);
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
            let (new, peers) = reconciler.index().observe_unreadable(&key, uid, generation, list);
            reconciler.wake_all(peers);
            if new {
                reconciler.work.add(&key, Lane::Change);
            }
        }
    }
}

/// An object that waited behind a gate when the last process ended waits behind it again, until one has probed it.
fn remember_gate(reconciler: &Reconciler, key: &Key, object: &LiveMessageGroup) {
    let (Some(reason), Some(ready)) = (object.ready_reason(), object.condition(ConditionType::Ready)) else { return };
    // A full app is counted before anybody creates: nobody needs to run into the refusal.
    let Some(kind) = gate_kind(reason, &ready.message).filter(|kind| *kind != GateKind::Quota) else { return };
    let center = object.spec.data_center.map(|center| center.as_str());
    let gate = gate_of(kind, &AccountKey::of(object), &object.spec.app_id, center);
    let now = Instant::now().into_std();
    reconciler.gates().remember(gate, key, reason, &ready.message, now);
    reconciler.gate_bell.notify_one();
}

/// A failed list or watch, told so that a user knows what to do.
fn explain(error: &watcher::Error, several: bool) -> String {
    let Some(cause) = cause_of(error) else {
        return format!("the watch of LiveMessageGroups is interrupted: {}", with_causes(error));
    };
    match cause {
        _ if is_undefined(error) => {
            "waiting for the CustomResourceDefinition livemessagegroups.live.alibabacloud.com: install it with \
             `live-message-operator crd | kubectl apply -f -` or with the chart"
                .to_owned()
        }
        kube::Error::Api(status) if status.is_forbidden() => {
            let hint = if several { format!("; {LOST_RIGHTS}") } else { String::new() };
            format!("the operator may not list LiveMessageGroups: {}; the chart's roles allow it{hint}", status.message)
        }
        kube::Error::Api(status) if status.code == 401 => {
            "the apiserver does not know the operator: renew its kubeconfig, or the token of its ServiceAccount"
                .to_owned()
        }
        other => format!("waiting for the apiserver: {}", with_causes(other)),
    }
}

/// An error with what is behind it: "client error (Connect)" alone tells nobody whether it is the name, the port or the
/// certificate.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !told.contains(&text) {
            told.push_str(": ");
            told.push_str(&text);
        }
        cause = inner.source();
    }
    told
}

fn cause_of(error: &watcher::Error) -> Option<&kube::Error> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Some(error),
        _ => None,
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    matches!(cause_of(error), Some(kube::Error::Api(status)) if status.is_forbidden())
}

/// Whether no such kind is served. Where nothing of the API group is, the answer is a bare page without a reason.
fn is_undefined(error: &watcher::Error) -> bool {
    matches!(cause_of(error), Some(kube::Error::Api(status)) if status.is_not_found() || status.code == 404)
}

/// Doubling delays with a bound, from the start again after a while without a failure. Not after a success: to begin with
/// a list counts as one, and fails a moment later.
#[derive(Debug)]
pub(super) struct Delays {
    next: Duration,
    failed: Option<Instant>,
}

impl Default for Delays {
    fn default() -> Self {
        Self { next: DELAYS.0, failed: None }
    }
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.failed.replace(now).is_none_or(|failed| failed + 3 * DELAYS.1 < now) {
            self.next = DELAYS.0;
        }
        let delay = self.next;
        self.next = (delay * 2).min(DELAYS.1);
        Some(delay.mul_f64(0.75 + fastrand::f64() / 2.0))
    }
}

impl Backoff for Delays {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lists_that_fail_over_and_over_become_rare_though_each_begins_well() {
        let mut delays = Delays::default();
        let (start, mut failures) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(100) {
            tokio::time::sleep(delays.next().unwrap()).await;
            delays.reset();
            failures += 1;
        }
        assert!((16..=32).contains(&failures), "{failures}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(delays.next().unwrap() < Duration::from_secs(1), "it was well for a minute");
    }
}
