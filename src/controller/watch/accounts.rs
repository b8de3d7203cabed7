//! The watch of LiveAccounts.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use kube::Resource as _;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};

use super::backoff::WatchBackoff;
use super::health::WatchHealth;
use super::readiness::Readiness;
use super::{ACCOUNTS, error_chain, stream};
use crate::controller::context::Context;
use crate::controller::keys::{AccountKey, ObjectKey};
use crate::controller::scheduler::AccountState;
use crate::resources::LiveAccount;

/// Watches the LiveAccounts of `namespace` (`None`: all namespaces) until the process ends. Calls `on_listed` after the
/// first complete list, or when the apiserver refuses to list the LiveAccounts.
pub async fn watch(
    context: Arc<Context>,
    namespace: Option<String>,
    readiness: Arc<Readiness>,
    on_listed: impl FnOnce(),
) {
    let health = readiness.add_watch(ACCOUNTS);
    let client = stream::client(context.api.connections(), &health);
    let api: Api<DeserializeGuard<LiveAccount>> = match &namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let config = watcher::Config::default().timeout(health.seconds);
    let events = watcher(api, config).backoff(WatchBackoff::default());
    follow(&context, namespace.as_deref(), &health, events, on_listed).await;
}

async fn follow(
    context: &Context,
    namespace: Option<&str>,
    health: &WatchHealth,
    events: impl Stream<Item = watcher::Result<Event<DeserializeGuard<LiveAccount>>>>,
    on_listed: impl FnOnce(),
) {
    let mut events = std::pin::pin!(events);
    let (mut on_listed, mut has_failed) = (Some(on_listed), false);
    let mut listed = HashSet::new();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = health.recovered() => {
                end_failure(context, namespace, &mut has_failed);
                continue;
            }
        };
        let Some(event) = event else { return };
        // The start of a list does not count as a success, because the list can still fail.
        if matches!(&event, Ok(event) if !matches!(event, Event::Init)) {
            end_failure(context, namespace, &mut has_failed);
        }
        match event {
            Ok(Event::Init) => {
                context.metrics.lists.get_or_create(&ACCOUNTS).inc();
                listed.clear();
            }
            Ok(Event::InitApply(object)) => listed.extend(handle_apply(context, object)),
            Ok(Event::Apply(object)) => drop(handle_apply(context, object)),
            Ok(Event::Delete(object)) => {
                if let Some(key) = ObjectKey::of(object.meta()) {
                    handle_delete(context, &key);
                }
            }
            Ok(Event::InitDone) => {
                for key in context.accounts.unlisted(namespace, &listed) {
                    handle_delete(context, &key);
                }
                if let Some(on_listed) = on_listed.take() {
                    on_listed();
                }
            }
            Err(error) => {
                context.metrics.watch_errors.get_or_create(&ACCOUNTS).inc();
                health.failed();
                if !std::mem::replace(&mut has_failed, true) {
                    let error_text = error_chain(&error);
                    tracing::warn!(namespace, error = error_text, "LiveAccounts cannot be watched");
                }
                // A missing CRD or permission must not delay the objects that use no LiveAccount.
                if is_refused(&error)
                    && let Some(on_listed) = on_listed.take()
                {
                    on_listed();
                }
            }
        }
    }
}

fn end_failure(context: &Context, namespace: Option<&str>, has_failed: &mut bool) {
    if std::mem::take(has_failed) {
        tracing::info!(namespace, "watching LiveAccounts again");
        context.metrics.watch_recoveries.get_or_create(&ACCOUNTS).inc();
    }
}

fn is_refused(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => matches!(status.code, 403 | 404),
        _ => false,
    }
}

fn handle_apply(context: &Context, object: DeserializeGuard<LiveAccount>) -> Option<ObjectKey> {
    let key = ObjectKey::of(object.meta())?;
    match object.0 {
        Ok(object) => {
            if context.accounts.observe(&key, object) {
                changed(context, &key);
            }
        }
        Err(invalid) => {
            tracing::warn!(account = %key, error = invalid.error, "a LiveAccount cannot be read and counts as missing");
            handle_delete(context, &key);
        }
    }
    Some(key)
}

fn handle_delete(context: &Context, key: &ObjectKey) {
    if context.accounts.remove(key) {
        changed(context, key);
    }
}

fn changed(context: &Context, key: &ObjectKey) {
    let account = AccountKey::LiveAccount(key.clone());
    let state = context.accounts.current(&account).map(|current| AccountState {
        service: current.service().clone(),
        is_usable: context.accounts.is_reported_available(key),
        namespaces: None,
    });
    context.scheduler.with(|scheduler, _| scheduler.account_changed(&account, state));
}
