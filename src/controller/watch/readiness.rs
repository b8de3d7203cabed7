//! The state behind the readiness probe: whether the operator has listed its objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::health::WatchHealth;
use crate::telemetry::metrics::ResourceLabels;

/// The state of the watches.
#[derive(Debug, Default)]
pub struct Readiness {
    is_listed: AtomicBool,
    lists: AtomicU64,
    /// Whether the last list or watch failed because the apiserver does not serve the kind.
    is_undefined: AtomicBool,
    failure: Mutex<Option<String>>,
    watches: Mutex<Vec<(ResourceLabels, Arc<WatchHealth>)>>,
}

impl Readiness {
    /// The reason why the operator is not ready; `None` if it is ready. The operator is not ready before all objects
    /// are listed, or while the CustomResourceDefinition is missing. It stays ready while the apiserver is unavailable,
    /// because it still reconciles the objects that it knows.
    pub fn waits_for(&self) -> Option<String> {
        if self.is_listed.load(Ordering::Acquire) && !self.is_undefined.load(Ordering::Acquire) {
            return None;
        }
        Some(self.failure.lock().clone().unwrap_or_else(|| "listing LiveMessageGroups".to_owned()))
    }

    /// Records that every object is listed.
    pub fn set_listed(&self) {
        self.is_listed.store(true, Ordering::Release);
    }

    /// Registers a watch of this resource.
    pub(super) fn add_watch(&self, resource: ResourceLabels) -> Arc<WatchHealth> {
        let health: Arc<WatchHealth> = Arc::default();
        self.watches.lock().push((resource, Arc::clone(&health)));
        health
    }

    /// The time since the apiserver last sent anything on the watch of this resource. If the operator watches several
    /// namespaces, this is the longest time of all their watches.
    pub(in crate::controller) fn silence(&self, resource: &ResourceLabels) -> Duration {
        let watches = self.watches.lock();
        let of_resource = watches.iter().filter(|(of, _)| of == resource);
        of_resource.map(|(_, health)| health.silence()).max().unwrap_or_default()
    }

    /// Returns the sequence number for a list that starts now.
    pub(super) fn next_list(&self) -> u64 {
        self.lists.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Records the failure of a list or a watch.
    pub(super) fn set_failure(&self, failure: String, is_undefined: bool) {
        self.is_undefined.store(is_undefined, Ordering::Release);
        *self.failure.lock() = Some(failure);
    }

    /// Records that the watches work again.
    pub(super) fn clear_failure(&self) {
        self.is_undefined.store(false, Ordering::Release);
        *self.failure.lock() = None;
    }
}
