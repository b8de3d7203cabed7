//! Whether the operator has listed its objects: what the readiness probe reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// The state of the watches.
#[derive(Debug, Default)]
pub struct Readiness {
    is_listed: AtomicBool,
    lists: AtomicU64,
    /// The last list failed because the kind is not served.
    is_undefined: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Readiness {
    /// What keeps the operator from working: the first list, or a deleted CustomResourceDefinition. An apiserver that is
    /// unavailable for a while does not: known objects are reconciled.
    pub fn waits_for(&self) -> Option<String> {
        if self.is_listed.load(Ordering::Acquire) && !self.is_undefined.load(Ordering::Acquire) {
            return None;
        }
        Some(self.failure.lock().clone().unwrap_or_else(|| "listing LiveMessageGroups".to_owned()))
    }

    /// Every object is known.
    pub fn set_listed(&self) {
        self.is_listed.store(true, Ordering::Release);
    }

    /// The number of a list that starts now.
    pub(super) fn next_list(&self) -> u64 {
        self.lists.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A list or a watch failed.
    pub(super) fn set_failure(&self, failure: String, is_undefined: bool) {
        self.is_undefined.store(is_undefined, Ordering::Release);
        *self.failure.lock() = Some(failure);
    }

    /// The watches work again.
    pub(super) fn clear_failure(&self) {
        self.is_undefined.store(false, Ordering::Release);
        *self.failure.lock() = None;
    }
}
