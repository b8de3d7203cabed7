//! Watching LiveAccounts.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};

use super::AccountKey;
use crate::controller::key::Key;
use crate::controller::reconcile::Reconciler;
use crate::controller::scrape::ACCOUNTS;
use crate::controller::watch::{Delays, WATCH_SECONDS, with_causes};
use crate::resources::LiveAccount;

/// Watches the LiveAccounts of one namespace, or all (`None`), until the process ends; `listed` is called after the first
/// whole list, or when it is known that there can be none.
pub async fn watch(reconciler: Arc<Reconciler>, namespace: Option<String>, listed: impl FnOnce()) {
    let client = reconciler.objects.client().clone();
    let api: Api<DeserializeGuard<LiveAccount>> = match &namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let mut events = std::pin::pin!(watcher(api, config).backoff(Delays::default()));
    let (mut listed, mut told) = (Some(listed), false);
    let mut list = HashSet::new();
    while let Some(event) = events.next().await {
        // To begin with a list counts as none: it may fail a moment later.
        if told && matches!(&event, Ok(event) if !matches!(event, Event::Init)) {
            tracing::info!(namespace, "watching LiveAccounts again");
            told = false;
        }
        match event {
            Ok(Event::Init) => {
                reconciler.metrics.lists.get_or_create(&ACCOUNTS).inc();
                list.clear();
            }
            Ok(Event::InitApply(object)) => list.extend(seen(&reconciler, object)),
            Ok(Event::Apply(object)) => drop(seen(&reconciler, object)),
            Ok(Event::Delete(object)) => {
                let metadata = object.0.as_ref().map_or_else(|invalid| &invalid.metadata, |object| &object.metadata);
                if let Some(key) = Key::of(metadata) {
                    vanished(&reconciler, &key);
                }
            }
            Ok(Event::InitDone) => {
                for key in reconciler.accounts.others_than(namespace.as_deref(), &list) {
                    vanished(&reconciler, &key);
                }
                if let Some(listed) = listed.take() {
                    listed();
                }
            }
            Err(error) => {
                reconciler.metrics.watch_errors.get_or_create(&ACCOUNTS).inc();
                if !std::mem::replace(&mut told, true) {
                    let error = with_causes(&error);
                    tracing::warn!(namespace, error, "LiveAccounts cannot be watched: objects that name one wait");
                }
                if is_refused(&error)
                    && let Some(listed) = listed.take()
                {
                    // Objects that name none are not held up by a missing definition or permission.
                    listed();
                }
            }
        }
    }
}

fn is_refused(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => matches!(status.code, 403 | 404),
        _ => false,
    }
}

fn seen(reconciler: &Reconciler, object: DeserializeGuard<LiveAccount>) -> Option<Key> {
    let metadata = object.0.as_ref().map_or_else(|invalid| &invalid.metadata, |object| &object.metadata);
    let key = Key::of(metadata)?;
    match object.0 {
        Ok(object) => {
            if reconciler.accounts.observe(&key, object) {
                changed(reconciler, &key);
            }
        }
        Err(invalid) => {
            tracing::warn!(account = %key, error = invalid.error, "a LiveAccount cannot be read: it counts as missing");
            vanished(reconciler, &key);
        }
    }
    Some(key)
}

/// There is no such account any more: whoever waits for something of it says so.
fn vanished(reconciler: &Reconciler, key: &Key) {
    if reconciler.accounts.vanish(key) {
        changed(reconciler, key);
    }
}

/// Another account under this name, or none: what was known of the old one's credentials, permissions and apps does not hold.
fn changed(reconciler: &Reconciler, key: &Key) {
    let account = AccountKey::Named(key.clone());
    let parked = reconciler.gates().release(&account.scoped(""));
    reconciler.wake_all(parked.into_iter().chain(reconciler.accounts.take_waiting(key)));
    reconciler.work.recheck();
}
