//! Watching LiveAccounts.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};

use crate::controller::accounts::AccountKey;
use crate::controller::key::Key;
use crate::controller::reconciler::Reconciler;
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
    let events = watcher(api, config).backoff(Delays::default());
    follow(reconciler, namespace.as_deref(), events, listed).await;
}

async fn follow(
    reconciler: Arc<Reconciler>,
    namespace: Option<&str>,
    events: impl Stream<Item = watcher::Result<Event<DeserializeGuard<LiveAccount>>>>,
    listed: impl FnOnce(),
) {
    let mut events = std::pin::pin!(events);
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
                for key in reconciler.accounts.others_than(namespace, &list) {
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

/// Another account under this name, or none: what was known of the old one's credentials, permissions, apps and their
/// places does not hold.
fn changed(reconciler: &Reconciler, key: &Key) {
    let account = AccountKey::Named(key.clone());
    let parked = reconciler.gates().release(&account.scoped(""));
    let placeless = reconciler.places().release(&account.scoped(""));
    let waiting = reconciler.accounts.take_waiting(key);
    reconciler.wake_all(parked.into_iter().chain(placeless).chain(waiting));
    reconciler.work.recheck();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::tests::{apiserver, reconciler, shown};
    use crate::live::logged::logged;

    #[tokio::test]
    async fn every_outage_of_the_watch_is_logged_once_and_so_is_its_end() {
        let log = logged();
        let reconciler = reconciler(apiserver(async |_, path, _| unreachable!("{path}")));
        let lost = || Err(watcher::Error::NoResourceVersion);
        let (again, counted) = ("watching LiveAccounts again", "watch_errors_total{resource=\"liveaccounts\"}");
        let told = || [log.count("LiveAccounts cannot be watched"), log.count(again)];
        let mut seen = Vec::new();
        let steps = [
            // A list that fails a moment later is no end of the outage.
            vec![Ok(Event::Init), lost(), lost(), Ok(Event::Init), lost()],
            vec![Ok(Event::Init), Ok(Event::InitDone)],
            vec![lost(), Ok(Event::Init), lost()],
            vec![Ok(Event::Init), Ok(Event::InitDone)],
        ];
        let events = futures::stream::iter(steps).flat_map(|step| {
            // Asked for the next ones: these were taken in.
            seen.push(told());
            futures::stream::iter(step)
        });
        let mut listed = 0;
        follow(Arc::clone(&reconciler), None, events, || listed += 1).await;
        seen.push(told());
        assert_eq!(seen, [[0, 0], [1, 0], [1, 1], [2, 1], [2, 2]], "{}", log.text());
        assert_eq!((listed, shown(&reconciler, counted)), (1, Some(5.0)));
    }
}
