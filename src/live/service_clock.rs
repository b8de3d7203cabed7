//! Estimates the time on the service's clock from the responses of the service.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use jiff::Timestamp;

/// The clock offset for the dates of requests, and the clock difference measured from the last response.
#[derive(Debug)]
pub(super) struct ServiceClock {
    /// The number of milliseconds that are added to the local time for the dates of requests. It is 0 until the service
    /// has accepted an offset from `trial_ms`.
    offset_ms: AtomicI64,
    /// The offset that was computed when the service last refused the time of a request. Only the next request uses
    /// this offset. If the service accepts the time of that request, the offset becomes `offset_ms`. A gateway with a
    /// wrong clock therefore cannot change the dates of all requests.
    trial_ms: AtomicI64,
    /// The number of milliseconds by which the `Date` of the last response was ahead of the local clock. A difference
    /// below 2 s is stored as 0.
    server_ahead_ms: AtomicI64,
}

/// The value of `trial_ms` if there is no offset to try.
const NO_OFFSET: i64 = i64::MIN;

/// If a `Date` differs from the local clock by more than this, it is ignored. Otherwise, a wrong time could be recorded
/// as the time of a create. The Live API rejects a request if its date differs from the service's clock by more than 15
/// minutes.
const MAX_AHEAD_MS: u64 = 15 * 60 * 1000;

impl Default for ServiceClock {
    fn default() -> Self {
        Self { offset_ms: AtomicI64::new(0), trial_ms: AtomicI64::new(NO_OFFSET), server_ahead_ms: AtomicI64::new(0) }
    }
}

impl ServiceClock {
    /// Takes the offset that the next request tries.
    pub(super) fn take_trial(&self) -> Option<i64> {
        Some(self.trial_ms.swap(NO_OFFSET, Ordering::Relaxed)).filter(|offset| *offset != NO_OFFSET)
    }

    /// Records that the service refused the time of a request that was sent at `started`. The next request tries the
    /// offset between `started` and `server_time`.
    pub(super) fn try_next(&self, server_time: Option<SystemTime>, started: SystemTime) {
        let offset = server_time.map_or(NO_OFFSET, |server| milliseconds_ahead(server, started));
        self.trial_ms.store(offset, Ordering::Relaxed);
    }

    /// Returns the current time on the service's clock, estimated from the last response of the service. Before the
    /// first response, this is the local time. Returns `None` if the two clocks differ by more than [`MAX_AHEAD_MS`].
    pub(super) fn now(&self) -> Option<Timestamp> {
        let ahead = self.server_ahead_ms.load(Ordering::Relaxed);
        let is_credible = ahead.unsigned_abs() <= MAX_AHEAD_MS;
        is_credible.then(|| Timestamp::now().checked_add(jiff::SignedDuration::from_millis(ahead)).ok()).flatten()
    }

    pub(super) fn observe_date(&self, server_time: Option<SystemTime>) {
        if let Some(ahead) = server_time.map(|server| milliseconds_ahead(server, SystemTime::now())) {
            // Ignore a difference below 2 s, because the `Date` header has a resolution of one second, and the response
            // was in transit for some time.
            let ahead = if ahead.unsigned_abs() < 2_000 { 0 } else { ahead };
            self.server_ahead_ms.store(ahead, Ordering::Relaxed);
        }
    }

    /// Returns the date of a request: the local time plus the offset to try, or plus `offset_ms` if `trial` is `None`.
    pub(super) fn date(&self, trial: Option<i64>) -> String {
        let offset = trial.unwrap_or_else(|| self.offset_ms.load(Ordering::Relaxed));
        let now = Timestamp::now();
        let dated = now.checked_add(jiff::SignedDuration::from_millis(offset)).unwrap_or(now);
        dated.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Records that the service accepted the time of a request. If the request tried an offset, that offset is kept.
    pub(super) fn keep(&self, trial: Option<i64>) {
        let Some(offset) = trial else { return };
        let before = self.offset_ms.swap(offset, Ordering::Relaxed);
        if before.abs_diff(offset) > 60_000 {
            tracing::warn!(
                offset_seconds = offset / 1000,
                "the local clock differs from the clock of the service; requests use the service's clock from now on"
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
