//! The rule that keeps an operation within its limit at the receiver: a pace and a window of permits.
//!
//! Take any second at the receiver and, of the calls that arrived in it, the one granted last. Each of the others was
//! then unanswered, or answered less than a second before that grant, so it still held a permit: there are at most as
//! many as permits. This holds for calls that arrive within [`LATE_ARRIVAL`] of being given up. The price is a rate of
//! `permits / (1 s + round trip)`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::adaptive::{Adaptive, Settings};

/// The documented limit of every operation of a message group: calls a second and account.
pub const DOCUMENTED_LIMIT: u32 = 50;

/// L: how long after it was given up a call may still arrive. Its connection is dropped, never reused.
pub const LATE_ARRIVAL: Duration = Duration::from_secs(5);

/// How long an answered call keeps its permit.
const SECOND: Duration = Duration::from_secs(1);

/// A grant that is late by no more than this is made up for by the next ones: a timer is always a little late, and 500
/// times that little is half a second. More than this is no lateness: nobody asked.
const CATCH_UP: Duration = Duration::from_millis(100);

/// What became of a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermitOutcome {
    /// No request was sent with it, or its connection was never made: it comes back at once.
    NotSent,
    /// A complete answer: it comes back after a second.
    Answered,
    /// An answer that refuses the call as one too many: it comes back after a second and the rate falls; nothing is
    /// granted for as long as the service asks to wait.
    Throttled(Option<Duration>),
    /// The answer was lost (time-out, reset): it comes back a second after [`LATE_ARRIVAL`].
    Lost,
}

/// The answer to a request for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcquireResult {
    /// Granted.
    Now,
    /// Not before this moment; it may take longer.
    NotBefore(Instant),
    /// Every permit is out and none is on its way back: ask again after the next return.
    AfterReturn,
}

/// Pace and window of one (account, operation). The pace is adaptive: see [`Adaptive`].
#[derive(Debug)]
pub struct Window {
    rate: Adaptive,
    next: Instant,
    free: u32,
    returns: BinaryHeap<Reverse<Instant>>,
}

impl Window {
    /// A window of `permits` (at least 1), one grant every `1 s / permits`. It starts with all permits taken, as if
    /// that many calls had just been answered: a process that was restarted knows nothing of the calls before.
    pub fn new(permits: u32, now: Instant) -> Self {
        Self::with(permits, Settings::default(), now)
    }

    /// The same with other settings of the adaptive rate.
    pub fn with(permits: u32, settings: Settings, now: Instant) -> Self {
        let permits = permits.max(1);
        let returns = (0..permits).map(|_| Reverse(now + SECOND)).collect();
        Self { rate: Adaptive::new(permits, settings), next: now, free: 0, returns }
    }

    /// Asks for a permit.
    pub fn try_acquire(&mut self, now: Instant) -> AcquireResult {
        while self.returns.peek().is_some_and(|Reverse(at)| *at <= now) {
            self.returns.pop();
            self.free += 1;
        }
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
        // Beside a neighbour, what is made up for would be refused: only the full limit is made use of to the last.
        let in_time = !self.rate.is_reduced() && now.saturating_duration_since(self.next) <= CATCH_UP;
        self.next = if in_time { self.next } else { now } + SECOND.div_f64(rate);
        AcquireResult::Now
    }

    /// Gives a permit back.
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
            PermitOutcome::Lost => LATE_ARRIVAL + SECOND,
        };
        self.returns.push(Reverse(now + after));
    }

    /// Calls a second that are granted now.
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
    fn a_new_window_grants_nothing_for_a_second_and_then_one_every_20_ms() {
        let start = Instant::now();
        let mut window = Window::new(50, start);
        assert_eq!(window.try_acquire(start), AcquireResult::NotBefore(start + SECOND));
        assert_eq!(window.try_acquire(start + at(1000)), AcquireResult::Now);
        assert_eq!(window.try_acquire(start + at(1000)), AcquireResult::NotBefore(start + at(1020)));
        assert_eq!(window.try_acquire(start + at(1020)), AcquireResult::Now);
    }

    #[test]
    fn a_late_timer_slows_nothing_down_and_a_break_saves_nothing_up() {
        let start = Instant::now();
        let mut window = Window::new(50, start);
        assert_eq!(window.try_acquire(start + at(1000)), AcquireResult::Now);
        assert_eq!(window.try_acquire(start + at(1023)), AcquireResult::Now, "3 ms late");
        assert_eq!(window.try_acquire(start + at(1040)), AcquireResult::Now);
        assert_eq!(window.try_acquire(start + at(1200)), AcquireResult::Now, "after a break");
        assert_eq!(window.try_acquire(start + at(1219)), AcquireResult::NotBefore(start + at(1220)));
    }

    #[test]
    fn a_permit_comes_back_by_its_fate() {
        let start = Instant::now();
        for (outcome, back) in
            [(PermitOutcome::NotSent, 0), (PermitOutcome::Answered, 1000), (PermitOutcome::Lost, 6000)]
        {
            let mut window = Window::new(1, start);
            let granted = start + at(1000);
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
    fn the_service_can_ask_to_wait() {
        let start = Instant::now();
        let mut window = Window::new(50, start);
        let granted = start + at(1000);
        assert_eq!(window.try_acquire(granted), AcquireResult::Now);
        window.return_permit(PermitOutcome::Throttled(Some(at(2000))), granted);
        assert_eq!(window.try_acquire(granted + at(1000)), AcquireResult::NotBefore(granted + at(2000)));
        assert_eq!(window.try_acquire(granted + at(2000)), AcquireResult::Now);
    }

    #[test]
    fn beside_a_neighbour_nothing_is_made_up_for() {
        let start = Instant::now();
        let mut window = Window::new(50, start);
        let mut now = start + at(1000);
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
    fn a_window_has_a_permit_at_least() {
        let start = Instant::now();
        assert_eq!(Window::new(0, start).try_acquire(start + SECOND), AcquireResult::Now);
    }
}
