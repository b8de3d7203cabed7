//! The service's clock, as its answers tell it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use jiff::Timestamp;

/// The offset that requests are dated by, and the time of the last answer.
#[derive(Debug)]
pub(super) struct ServiceClock {
    /// Milliseconds the service's clock is ahead of this machine's; 0 until the service refused a request's time.
    offset_ms: AtomicI64,
    /// Another such offset, told by the last refusal: tried by one request, and kept when it helps. One answer of a
    /// gateway whose own clock is wrong must not date everybody's requests.
    trial_ms: AtomicI64,
    /// Milliseconds the `Date` of the last answer was ahead of this machine's clock; 0 within its resolution.
    server_ahead_ms: AtomicI64,
}

/// No offset is to be tried.
const NO_OFFSET: i64 = i64::MIN;

impl Default for ServiceClock {
    fn default() -> Self {
        Self { offset_ms: AtomicI64::new(0), trial_ms: AtomicI64::new(NO_OFFSET), server_ahead_ms: AtomicI64::new(0) }
    }
}

impl ServiceClock {
    /// The offset to be tried by the next request; it is given once.
    pub(super) fn take_trial(&self) -> Option<i64> {
        Some(self.trial_ms.swap(NO_OFFSET, Ordering::Relaxed)).filter(|offset| *offset != NO_OFFSET)
    }

    /// The service refused the time of a request that was sent at `started`: the next one tries the service's.
    pub(super) fn try_next(&self, server_time: Option<SystemTime>, started: SystemTime) {
        let offset = server_time.map_or(NO_OFFSET, |server| milliseconds_ahead(server, started));
        self.trial_ms.store(offset, Ordering::Relaxed);
    }

    /// Now, by the service's clock as its last answer told it; this machine's before the first answer.
    pub(super) fn now(&self) -> Timestamp {
        let ahead = jiff::SignedDuration::from_millis(self.server_ahead_ms.load(Ordering::Relaxed));
        Timestamp::now().checked_add(ahead).unwrap_or_else(|_| Timestamp::now())
    }

    pub(super) fn observe_date(&self, server_time: Option<SystemTime>) {
        if let Some(ahead) = server_time.map(|server| milliseconds_ahead(server, SystemTime::now())) {
            // The header counts whole seconds, and the answer took its way.
            let ahead = if ahead.abs() < 2_000 { 0 } else { ahead };
            self.server_ahead_ms.store(ahead, Ordering::Relaxed);
        }
    }

    /// The request's time, on the service's clock as far as it is known.
    pub(super) fn date(&self, trial: Option<i64>) -> String {
        let offset = trial.unwrap_or_else(|| self.offset_ms.load(Ordering::Relaxed));
        let now = Timestamp::now();
        let dated = now.checked_add(jiff::SignedDuration::from_millis(offset)).unwrap_or(now);
        dated.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// A request was taken: the offset it tried, if it tried one, is the right one.
    pub(super) fn keep(&self, trial: Option<i64>) {
        let Some(offset) = trial else { return };
        let before = self.offset_ms.swap(offset, Ordering::Relaxed);
        if before.abs_diff(offset) > 60_000 {
            tracing::warn!(
                offset_seconds = offset / 1000,
                "this machine's clock differs from the service's: requests are dated by the service's from now on"
            );
        }
    }
}

fn milliseconds_ahead(server: SystemTime, here: SystemTime) -> i64 {
    match server.duration_since(here) {
        Ok(ahead) => i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX),
        Err(behind) => -i64::try_from(behind.duration().as_millis()).unwrap_or(i64::MAX),
    }
}
