//! The health of a watch: when the apiserver last sent anything, and whether the watch recovered from a failure.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::WATCH_SECONDS;

/// The state of one watch, shared by its connection and its follower.
#[derive(Debug)]
pub struct WatchHealth {
    /// The number of seconds after which the apiserver ends the watch. It is random, so that watches do not end
    /// together.
    pub seconds: u32,
    last_sign: Mutex<Instant>,
    has_failed: AtomicBool,
    recovered: Notify,
}

impl Default for WatchHealth {
    fn default() -> Self {
        Self {
            seconds: fastrand::u32(WATCH_SECONDS),
            last_sign: Mutex::new(Instant::now()),
            has_failed: AtomicBool::new(false),
            recovered: Notify::new(),
        }
    }
}

impl WatchHealth {
    /// Records that the apiserver sent something: an event, a bookmark, a list, a refusal, or the end of a watch.
    pub fn alive(&self) {
        *self.last_sign.lock() = Instant::now();
    }

    /// Records that a list or a watch failed.
    pub fn failed(&self) {
        self.has_failed.store(true, Ordering::Release);
    }

    /// Records that a watch has started.
    pub fn started(&self) {
        if self.has_failed.swap(false, Ordering::AcqRel) {
            self.recovered.notify_one();
        }
    }

    /// Waits until a watch starts after a failure.
    pub async fn recovered(&self) {
        self.recovered.notified().await;
    }

    /// The time since the apiserver last sent anything.
    pub fn silence(&self) -> Duration {
        self.last_sign.lock().elapsed()
    }
}
