//! Keeps the calls of an operation within a limit, by a pace and a window of permits. The limit applies to the times at
//! which the calls arrive at the receiver.
//!
//! To see why the limit is kept, consider all calls that arrive within the same second. One of them gets its permit
//! last. At that time, every other call has no answer yet, or its answer is less than one second old. In both cases its
//! permit is still in use. The number of calls that arrive in a second is therefore at most the number of permits. This
//! requires that an abandoned call arrives within [`LATE_ARRIVAL`] or not at all. The cost is that the rate cannot
//! exceed `permits / (1 s + round trip)`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::Pace;
use super::adaptive::{Adaptive, Settings};

/// The documented limit of every message group operation, in calls per second and account.
pub const DOCUMENTED_LIMIT: u32 = 50;

/// The longest time after which an abandoned call can still arrive. Its connection is dropped and not reused.
pub const LATE_ARRIVAL: Duration = Duration::from_secs(5);

/// How long a permit remains in use after its call was answered.
const SECOND: Duration = Duration::from_secs(1);

/// The delay of the first permit of a window. A previous process may have sent a call just before it was killed. The
/// delay ensures that this call does not arrive in the same second as the first call of the window.
pub const START_DELAY: Duration = LATE_ARRIVAL.saturating_add(SECOND);

/// The delay of the first permit after the process acquires the Lease. It is shorter than [`START_DELAY`], because all
/// calls of the previous leader arrive before its Lease can expire. The new leader waits one more second, so that its
/// first call does not arrive in the same second as the last call of the previous leader.
pub const TAKEOVER_DELAY: Duration = SECOND;

/// If a grant is at most this late, the later grants keep their times. Timers are always slightly late. Without this
/// rule, 500 small delays would add up to half a second. If a grant is later than this, the delay was not caused by a
/// late timer (for example, no permit was requested), and the pace restarts from that grant.
const CATCH_UP: Duration = Duration::from_millis(100);

/// The weight of one answer in the average round trip is `1 / ROUND_TRIPS`.
const ROUND_TRIPS: f64 = 16.0;

/// How a permit was used, which determines when it can be granted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermitOutcome {
    /// No request was sent, or no connection was established. The permit returns immediately.
    NotSent,
    /// The call was answered. The permit returns after one second.
    Answered,
    /// The call was throttled. The permit returns after one second and the rate drops. If the service requested a
    /// delay, no permit is granted until it has passed.
    Throttled(Option<Duration>),
    /// The answer was lost (timeout, reset). The permit returns one second after [`LATE_ARRIVAL`].
    Lost,
}

/// The result of [`Window::try_acquire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcquireResult {
    /// The permit is granted.
    Now,
    /// No permit is available before this time, and possibly not until later.
    NotBefore(Instant),
    /// All permits are in use and no return is scheduled: try again after the next permit is returned.
    AfterReturn,
}

/// The pace and the permits of one account and operation. The pace is adaptive: see [`Adaptive`].
#[derive(Debug)]
pub struct Window {
    rate: Adaptive,
    next: Instant,
    permits: u32,
    free: u32,
    returns: BinaryHeap<Reverse<Instant>>,
    /// The average time from the grant of a permit to the answer to its call, in seconds.
    round_trip: f64,
}

impl Window {
    /// Creates a window of `permits` (at least 1) with one grant every `1 s / permits`. All permits are in use until
    /// `first_permit_at`, because a previous process may have used them just before: see [`START_DELAY`] and
    /// [`TAKEOVER_DELAY`].
    pub fn new(permits: u32, first_permit_at: Instant) -> Self {
        Self::with(permits, Settings::default(), first_permit_at)
    }

    /// Same as [`Window::new`], with the given settings of the adaptive rate.
    pub fn with(permits: u32, settings: Settings, first_permit_at: Instant) -> Self {
        let permits = permits.max(1);
        let returns = (0..permits).map(|_| Reverse(first_permit_at)).collect();
        Self {
            rate: Adaptive::new(permits, settings),
            next: first_permit_at,
            permits,
            free: 0,
            returns,
            round_trip: 0.0,
        }
    }

    /// Takes a permit if one is available at `now`.
    pub fn try_acquire(&mut self, now: Instant) -> AcquireResult {
        self.collect_returns(now);
        if self.free == 0 {
            return self
                .returns
                .peek()
                .map_or(AcquireResult::AfterReturn, |Reverse(at)| AcquireResult::NotBefore((*at).max(self.next)));
        }
        if now < self.next {
            return AcquireResult::NotBefore(self.next);
        }
        self.free -= 1;
        let rate = self.rate.rate(now);
        // While the rate is reduced, other clients use the rest of the limit. A late grant does not catch up, because
        // the additional calls would be throttled.
        let in_time = !self.rate.is_reduced() && now.saturating_duration_since(self.next) <= CATCH_UP;
        self.next = if in_time { self.next } else { now } + SECOND.div_f64(rate);
        AcquireResult::Now
    }

    /// Whether every permit is free at `now`.
    pub fn is_idle(&mut self, now: Instant) -> bool {
        self.collect_returns(now);
        self.free == self.permits
    }

    /// The number of permits that cannot be granted at `now`.
    pub fn in_use(&mut self, now: Instant) -> u32 {
        self.collect_returns(now);
        self.permits - self.free
    }

    /// The latest time at which a call with a returned permit can still arrive. Its permit is free one second later.
    pub fn last_arrival(&self) -> Option<Instant> {
        let last = self.returns.iter().map(|Reverse(at)| *at).max()?;
        last.checked_sub(SECOND)
    }

    fn collect_returns(&mut self, now: Instant) {
        while self.returns.peek().is_some_and(|Reverse(at)| *at <= now) {
            self.returns.pop();
            self.free += 1;
        }
    }

    /// Returns a permit that [`Window::try_acquire`] granted.
    pub fn return_permit(&mut self, outcome: PermitOutcome, now: Instant) {
        match outcome {
            PermitOutcome::Answered => self.rate.accepted(now),
            PermitOutcome::Throttled(asked) => {
                self.rate.throttled(now);
                self.next = self.next.max(now + asked.unwrap_or_default());
            }
            PermitOutcome::NotSent | PermitOutcome::Lost => {}
        }
        let after = match outcome {
            PermitOutcome::NotSent => Duration::ZERO,
            PermitOutcome::Answered | PermitOutcome::Throttled(_) => SECOND,
            PermitOutcome::Lost => START_DELAY,
        };
        self.returns.push(Reverse(now + after));
    }

    /// Updates the average with one round trip: the time from the grant of a permit to the answer to its call.
    pub fn answered_after(&mut self, round_trip: Duration) {
        self.round_trip += (round_trip.as_secs_f64() - self.round_trip) / ROUND_TRIPS;
    }

    /// Returns how fast waiting calls can be sent. They are sent at the current rate, or more slowly if long round
    /// trips keep the permits in use.
    pub fn pace(&mut self, now: Instant) -> Pace {
        let by_permits = f64::from(self.permits) / (SECOND.as_secs_f64() + self.round_trip);
        let delay = self.next.saturating_duration_since(now);
        Pace { delay, per_second: Some(self.rate(now).min(by_permits)) }
    }

    /// The rate at `now`, in calls per second.
    pub fn rate(&mut self, now: Instant) -> f64 {
        self.rate.rate(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pace_follows_from_the_round_trip_and_the_requested_delay() {
        let start = Instant::now();
        let mut window = Window::new(50, start + at(6_000));
        assert_eq!(window.pace(start), Pace { delay: at(6_000), per_second: Some(50.0) });
        let start = start + at(6_000);
        for _ in 0..200 {
            window.answered_after(at(250));
        }
        let slower = window.pace(start).per_second.unwrap();
        assert!((slower - 40.0).abs() < 0.1, "{slower}");
        window.return_permit(PermitOutcome::Throttled(Some(at(3_000))), start);
        let throttled = window.pace(start);
        assert!(throttled.delay == at(3_000) && throttled.per_second.unwrap() <= slower, "{throttled:?}");
    }

    #[test]
    fn new_window_waits_then_grants_every_20_ms() {
        let start = Instant::now();
        let mut window = Window::new(50, start + START_DELAY);
        assert_eq!(window.try_acquire(start), AcquireResult::NotBefore(start + at(6000)));
        assert_eq!(window.try_acquire(start + at(6000)), AcquireResult::Now);
        assert_eq!(window.try_acquire(start + at(6000)), AcquireResult::NotBefore(start + at(6020)));
        assert_eq!(window.try_acquire(start + at(6020)), AcquireResult::Now);
    }

    #[test]
    fn late_grants_catch_up_and_idle_time_is_not_saved() {
        let start = Instant::now();
        let mut window = Window::new(50, start + START_DELAY);
        assert_eq!(window.try_acquire(start + at(6000)), AcquireResult::Now);
        assert_eq!(window.try_acquire(start + at(6023)), AcquireResult::Now, "3 ms late");
        assert_eq!(window.try_acquire(start + at(6040)), AcquireResult::Now);
        assert_eq!(window.try_acquire(start + at(6200)), AcquireResult::Now, "after an idle period");
        assert_eq!(window.try_acquire(start + at(6219)), AcquireResult::NotBefore(start + at(6220)));
    }

    #[test]
    fn outcome_determines_when_a_permit_returns() {
        let start = Instant::now();
        for (outcome, back) in
            [(PermitOutcome::NotSent, 0), (PermitOutcome::Answered, 1000), (PermitOutcome::Lost, 6000)]
        {
            let mut window = Window::new(1, start + START_DELAY);
            let granted = start + START_DELAY;
            assert_eq!(window.try_acquire(granted), AcquireResult::Now);
            assert_eq!(window.try_acquire(granted + at(5000)), AcquireResult::AfterReturn);
            window.return_permit(outcome, granted + at(5000));
            let due = granted + at(5000 + back);
            if back > 0 {
                assert_eq!(window.try_acquire(due - at(1)), AcquireResult::NotBefore(due));
            }
            assert_eq!(window.try_acquire(due), AcquireResult::Now, "{outcome:?}");
        }
    }

    #[test]
    fn permit_is_in_use_until_a_second_after_the_answer() {
        let start = Instant::now();
        let mut window = Window::new(50, start + START_DELAY);
        assert_eq!(window.in_use(start), 50, "an earlier process may have used all of them");
        let granted = start + START_DELAY;
        assert_eq!((window.in_use(granted), window.try_acquire(granted)), (0, AcquireResult::Now));
        assert_eq!(window.in_use(granted + at(200)), 1);
        window.return_permit(PermitOutcome::Answered, granted + at(200));
        assert_eq!((window.in_use(granted + at(1199)), window.in_use(granted + at(1200))), (1, 0));
    }

    #[test]
    fn requested_delay_blocks_further_grants() {
        let start = Instant::now();
        let mut window = Window::new(50, start + START_DELAY);
        let granted = start + START_DELAY;
        assert_eq!(window.try_acquire(granted), AcquireResult::Now);
        window.return_permit(PermitOutcome::Throttled(Some(at(2000))), granted);
        assert_eq!(window.try_acquire(granted + at(1000)), AcquireResult::NotBefore(granted + at(2000)));
        assert_eq!(window.try_acquire(granted + at(2000)), AcquireResult::Now);
    }

    #[test]
    fn reduced_rate_does_not_catch_up() {
        let start = Instant::now();
        let mut window = Window::new(50, start + START_DELAY);
        let mut now = start + START_DELAY;
        for outcome in (0..50).map(|_| PermitOutcome::Answered).chain([PermitOutcome::Throttled(None)]) {
            assert_eq!(window.try_acquire(now), AcquireResult::Now);
            window.return_permit(outcome, now);
            now += at(20);
        }
        now += at(40);
        assert!(window.rate(now) < 50.0);
        assert_eq!(window.try_acquire(now), AcquireResult::Now, "40 ms late");
        let next = window.try_acquire(now + at(1));
        assert!(matches!(next, AcquireResult::NotBefore(moment) if moment > now + at(20)), "{next:?}");
    }

    #[test]
    fn window_of_zero_permits_grants_one() {
        let start = Instant::now();
        assert_eq!(Window::new(0, start).try_acquire(start), AcquireResult::Now);
    }
}
