//! The state behind the readiness probe: whether the operator has listed its objects.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// The state of the watches that the readiness probe reports.
#[derive(Debug, Default)]
pub struct Readiness {
    is_listed: AtomicBool,
    lists: AtomicU64,
    /// Whether the last list or watch failed because the apiserver does not serve the kind.
    is_undefined: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Readiness {
    /// The reason why the operator is not ready; `None` if it is. It is not ready before the first list, and while the
    /// CustomResourceDefinition is missing. An unavailable apiserver does not make it unready: known objects are still
    /// reconciled.
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

    /// Returns the number of a new list. Numbers increase.
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
