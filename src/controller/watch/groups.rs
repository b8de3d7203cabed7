//! The watch of LiveMessageGroups.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::Resource as _;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::time::Instant;

use super::backoff::WatchBackoff;
use super::health::WatchHealth;
use super::readiness::Readiness;
use super::{GROUPS, error_chain, stream};
use crate::controller::api::RBAC_HINT;
use crate::controller::context::Context;
use crate::controller::keys::ObjectKey;
use crate::controller::pass::{NOT_DELETED, retained_event};
use crate::controller::reconcile::report_removed;
use crate::controller::scheduler::Seen;
use crate::resources::StoredGroup;
use crate::telemetry::metrics::OutcomeLabels;

/// If the operator watches several namespaces and lacks permission to list one of them, it waits this long for the
/// permission. Then it starts without that namespace.
const FORBIDDEN_GRACE: Duration = Duration::from_secs(30);

/// The number of objects in a page of a list. Each page is processed before the next one is requested, so that a list
/// takes little memory: an object can take more than 64 KB.
const PAGE_SIZE: u32 = 100;

/// The namespaces that one watch covers.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The namespace; `None` for all namespaces.
    pub namespace: Option<String>,
    /// Whether the operator also watches other namespaces. If so, it does not wait forever for a forbidden namespace.
    pub is_one_of_several: bool,
}

/// Watches the LiveMessageGroups of a scope until the process ends. Calls `on_listed` after the first complete list. If
/// the scope is one of several namespaces, also calls it after the namespace has been forbidden for 30 s.
pub async fn watch(context: Arc<Context>, scope: Scope, readiness: Arc<Readiness>, on_listed: impl FnOnce()) {
    let health = readiness.add_watch(GROUPS);
    let client = stream::client(context.api.connections(), &health);
    let api: Api<StoredGroup> = match &scope.namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let config = watcher::Config::default().timeout(health.seconds).page_size(PAGE_SIZE);
    let events = watcher(api, config).backoff(WatchBackoff::default());
    let mut follower = Follower {
        context: &context,
        scope: &scope,
        readiness: &readiness,
        health: &health,
        on_listed: Some(on_listed),
        list: 0,
        failure: WatchFailure::default(),
    };
    tokio::join!(follower.follow(events), warn_if_missing(&context, scope.namespace.as_deref()));
}

/// Warns if the namespace does not exist. The apiserver accepts a watch of a missing namespace, so a wrong name would
/// otherwise go unnoticed.
async fn warn_if_missing(context: &Context, namespace: Option<&str>) {
    let Some(namespace) = namespace else { return };
    if matches!(context.api.namespace(namespace).await, Ok(None)) {
        tracing::warn!(namespace, "the namespace does not exist yet: check --watch-namespace");
    }
}

/// Passes the events of one watch to the scheduler.
struct Follower<'a, F> {
    context: &'a Context,
    scope: &'a Scope,
    readiness: &'a Readiness,
    health: &'a WatchHealth,
    on_listed: Option<F>,
    /// The sequence number of the current list.
    list: u64,
    failure: WatchFailure,
}

impl<F: FnOnce()> Follower<'_, F> {
    async fn follow(&mut self, events: impl Stream<Item = watcher::Result<Event<StoredGroup>>>) {
        let mut events = std::pin::pin!(events);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.health.recovered() => {
                    self.end_failure();
                    continue;
                }
            };
            match event {
                None => return,
                Some(Ok(event)) => self.handle(event),
                Some(Err(error)) => self.handle_error(&error),
            }
        }
    }

    fn handle(&mut self, event: Event<StoredGroup>) {
        if !matches!(event, Event::Init) {
            self.end_failure();
        }
        match event {
            Event::Init => {
                self.list = self.readiness.next_list();
                self.context.metrics.lists.get_or_create(&GROUPS).inc();
            }
            Event::InitApply(object) => self.handle_apply(object, true),
            Event::Apply(object) => self.handle_apply(object, false),
            Event::Delete(object) => self.handle_delete(object),
            Event::InitDone => {
                let (namespace, list) = (self.scope.namespace.as_deref(), self.list);
                let gone = self.context.scheduler.with(|scheduler, now| scheduler.remove_unseen(namespace, list, now));
                for (key, pass) in gone {
                    report_removed(self.context, &key, pass.as_deref());
                }
                self.listed();
            }
        }
    }

    fn handle_apply(&self, object: StoredGroup, is_initial: bool) {
        let Some(key) = ObjectKey::of(object.meta()) else { return };
        let list = self.list;
        self.context.scheduler.with(|scheduler, now| match object {
            StoredGroup::Readable(object) => {
                scheduler.observe(&key, &object, Seen { list, is_initial }, now);
                scheduler.keep_delivered(&key, object);
            }
            StoredGroup::Unreadable(object) => scheduler.observe_unreadable(&key, &object, list),
        });
    }

    fn handle_delete(&self, object: StoredGroup) {
        let Some(key) = ObjectKey::of(object.meta()) else { return };
        if let StoredGroup::Readable(object) = &object
            && self.context.leadership.may_send(Instant::now())
            && let Some(event) = retained_event(object)
        {
            self.context.metrics.released.get_or_create(&OutcomeLabels { outcome: NOT_DELETED }).inc();
            self.context.events.publish(event);
        }
        let pass = self.context.scheduler.with(|scheduler, now| scheduler.remove(&key, now));
        report_removed(self.context, &key, pass.as_deref());
    }

    fn end_failure(&mut self) {
        if self.failure.end(self.scope.namespace.as_deref(), self.readiness) {
            let namespace = self.scope.namespace.as_deref();
            self.context.scheduler.with(|scheduler, _| scheduler.watch_changed(namespace, true));
            self.context.metrics.watch_recoveries.get_or_create(&GROUPS).inc();
        }
    }

    fn handle_error(&mut self, error: &watcher::Error) {
        self.health.failed();
        let namespace = self.scope.namespace.as_deref();
        self.context.scheduler.with(|scheduler, _| scheduler.watch_changed(namespace, false));
        self.context.metrics.watch_errors.get_or_create(&GROUPS).inc();
        if self.failure.report(error, self.scope, self.readiness) && self.on_listed.is_some() {
            tracing::warn!(
                namespace,
                "starting without this namespace; its objects are managed when the operator has permission to list them"
            );
            self.listed();
        }
    }

    fn listed(&mut self) {
        if let Some(on_listed) = self.on_listed.take() {
            on_listed();
        }
    }
}

/// The current failure of one watch. Other watches may be healthy.
#[derive(Default)]
struct WatchFailure {
    text: Option<String>,
    forbidden_since: Option<Instant>,
}

impl WatchFailure {
    /// Logs a failure if it differs from the last one. Returns `true` if the scope is one of several namespaces and has
    /// been forbidden for [`FORBIDDEN_GRACE`].
    fn report(&mut self, error: &watcher::Error, scope: &Scope, readiness: &Readiness) -> bool {
        let text = explain(error, scope.is_one_of_several);
        if self.text.as_ref() != Some(&text) {
            tracing::warn!(namespace = scope.namespace.as_deref(), "{text}");
            self.text = Some(text.clone());
        }
        readiness.set_failure(text, is_undefined(error));
        if !scope.is_one_of_several || !is_forbidden(error) {
            return false;
        }
        self.forbidden_since.get_or_insert_with(Instant::now).elapsed() >= FORBIDDEN_GRACE
    }

    /// Clears the failure, and returns whether there was one.
    fn end(&mut self, namespace: Option<&str>, readiness: &Readiness) -> bool {
        let has_failed = self.text.is_some();
        if has_failed {
            tracing::info!(namespace, "watching again");
            *self = Self::default();
            readiness.clear_failure();
        }
        has_failed
    }
}

/// The log message for a failure, with a remedy where one is known.
fn explain(error: &watcher::Error, is_one_of_several: bool) -> String {
    let Some(cause) = cause_of(error) else {
        let why =
            if let watcher::Error::WatchError(status) = error { status.message.clone() } else { error_chain(error) };
        return format!("the watch of LiveMessageGroups was interrupted, restarting it: {why}");
    };
    match cause {
        _ if is_undefined(error) => {
            "waiting for the CustomResourceDefinition livemessagegroups.live.alibabacloud.com: install it with \
             `live-message-operator crd | kubectl apply -f -` or with the chart"
                .to_owned()
        }
        kube::Error::Api(status) if status.is_forbidden() => {
            let hint = if is_one_of_several { format!("; {RBAC_HINT}") } else { String::new() };
            format!(
                "the operator lacks permission to list LiveMessageGroups ({}): apply the roles of the chart{hint}",
                status.message
            )
        }
        kube::Error::Api(status) if status.code == 401 => {
            "the apiserver rejects the operator's credentials: renew the kubeconfig, or the token of the ServiceAccount"
                .to_owned()
        }
        other => format!("waiting for the apiserver: {}", error_chain(other)),
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

fn is_forbidden(error: &watcher::Error) -> bool {
    matches!(cause_of(error), Some(kube::Error::Api(status)) if status.is_forbidden())
}

/// Whether the watch failed because the apiserver does not serve the kind. If no kind of the API group exists, the 404
/// response has no reason.
fn is_undefined(error: &watcher::Error) -> bool {
    matches!(cause_of(error), Some(kube::Error::Api(status)) if status.is_not_found() || status.code == 404)
}
