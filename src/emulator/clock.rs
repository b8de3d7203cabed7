//! The emulator's clock: the system clock, or a clock that tests control.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// The source of time for signatures, the rate limit, the purge of deleted groups and the request log. Clones share one
/// clock.
///
/// The system time is read only once, when the clock is created. After that, the monotonic clock measures the elapsed
/// time. A jump of the system clock therefore does not affect the rate limit.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Mutex<Source>>);

#[derive(Debug)]
struct Source {
    /// The time at which the clock was created, unaffected by `set` and `advance`. `None` for a fixed clock.
    origin: Option<(Timestamp, Instant)>,
    base: Timestamp,
    /// The instant at which the clock showed `base`. `None` for a fixed clock.
    running_since: Option<Instant>,
}

impl Clock {
    /// Creates a clock that starts at the system time and runs.
    pub fn system() -> Self {
        let (base, start) = (Timestamp::now(), Instant::now());
        Self::from_source(Source { origin: Some((base, start)), base, running_since: Some(start) })
    }

    /// Creates a clock that shows `time` until [`Clock::advance`] or [`Clock::set`] moves it.
    pub fn fixed(time: Timestamp) -> Self {
        Self::from_source(Source { origin: None, base: time, running_since: None })
    }

    fn from_source(source: Source) -> Self {
        Self(Arc::new(Mutex::new(source)))
    }

    /// Returns the current time, including changes made by [`Clock::advance`] and [`Clock::set`].
    pub fn now(&self) -> Timestamp {
        self.source().now()
    }

    /// Returns the time that a running clock would show if [`Clock::advance`] and [`Clock::set`] had never been called.
    /// The clients' clocks show this time too. For a fixed clock, this method returns the same time as [`Clock::now`].
    pub fn unadjusted(&self) -> Timestamp {
        let source = self.source();
        source.origin.map_or_else(|| source.now(), |(origin, start)| add(origin, start.elapsed()))
    }

    /// Moves the clock forward, at most to the end of the calendar (year 9999).
    pub fn advance(&self, by: Duration) {
        let mut source = self.source();
        source.base = add(source.base, by);
    }

    /// Sets the clock, forward or back. A running clock keeps running, and a fixed clock stays fixed.
    pub fn set(&self, time: Timestamp) {
        let mut source = self.source();
        source.base = time;
        source.running_since = source.running_since.map(|_| Instant::now());
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Source {
    fn now(&self) -> Timestamp {
        match self.running_since {
            Some(start) => add(self.base, start.elapsed()),
            None => self.base,
        }
    }
}

fn add(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| time.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_clock_moves_only_on_request() {
        let clock = Clock::fixed("2026-01-02T03:04:05Z".parse().unwrap());
        assert_eq!(clock.now(), clock.now());
        clock.clone().advance(Duration::from_millis(1500));
        assert_eq!(clock.now().to_string(), "2026-01-02T03:04:06.5Z");
        clock.set(Timestamp::UNIX_EPOCH);
        assert_eq!((clock.now(), clock.unadjusted()), (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn system_clock_runs_and_can_be_moved() {
        let clock = Clock::system();
        let before = clock.now();
        clock.advance(Duration::from_secs(3600));
        assert!(clock.now().duration_since(before) >= SignedDuration::from_hours(1));
        assert!(clock.unadjusted().duration_since(before) < SignedDuration::from_hours(1));
        clock.set(Timestamp::UNIX_EPOCH);
        assert!(clock.unadjusted() >= before);
    }
}
